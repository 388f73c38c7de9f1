//! Words of strangers, cut to what is kept of them. A script names its agents and a model answers it as long as they like; what
//! they say goes into the record, onto the screen and into what others are told, over and over.

/// The longest label and title of a phase that are shown and recorded, bytes.
pub(crate) const TITLE_BYTES_MAX: usize = 200;

/// The longest reason that is told on, bytes.
pub(crate) const WHY_BYTES_MAX: usize = 2 << 10;

/// Cut `text` between characters, with a mark where it was cut.
pub(crate) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
}

/// As much of `text` as is kept.
pub(crate) fn brief(mut text: String, bytes_max: usize) -> String {
    cut(&mut text, bytes_max);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_stays_and_what_is_long_is_cut_between_characters() {
        assert_eq!(brief("short".into(), 5), "short");
        assert_eq!(brief("ééé".into(), 5), "éé…");
        assert_eq!(brief(String::new(), 0), "");
    }
}
