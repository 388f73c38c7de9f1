//! Bytes as text: paths and messages need not be UTF-8, and JSON must be. What must never live here: a silent loss.

use crate::room;
use gix_object::bstr::{BStr, ByteSlice};

/// Turns bytes into text, and remembers what was lost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lossy {
    /// Each byte is the character of that number.
    latin_1: bool,
    replaced: bool,
    cut: bool,
}

impl Lossy {
    /// For text in an encoding that a commit names. Of others than UTF-8 only ISO-8859-1 is known, the one for which no table
    /// is needed; text in the rest of them is read as UTF-8, with what does not fit replaced.
    pub(crate) fn of(encoding: Option<&[u8]>) -> Self {
        let plain = |name: &[u8]| name.to_ascii_lowercase().replace("-", "").replace("_", "");
        let latin_1 = encoding.is_some_and(|name| matches!(plain(name).as_slice(), b"iso88591" | b"latin1" | b"l1"));
        Self { latin_1, ..Self::default() }
    }

    /// The bytes as text; what does not fit becomes U+FFFD.
    pub(crate) fn text(&mut self, bytes: impl AsRef<[u8]>) -> String {
        let bytes = bytes.as_ref();
        if self.latin_1 {
            return bytes.iter().copied().map(char::from).collect();
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                self.replaced = true;
                bytes.to_str_lossy().into_owned()
            }
        }
    }

    /// The same, without what would take more than `room_bytes` in an answer.
    pub(crate) fn beginning(&mut self, bytes: impl AsRef<[u8]>, room_bytes: usize) -> String {
        let mut text = self.text(bytes);
        let fits = room::cut(&text, room_bytes).len();
        self.cut |= fits < text.len();
        text.truncate(fits);
        text
    }

    /// Whether anything was replaced so far.
    pub(crate) fn happened(self) -> bool {
        self.replaced
    }

    /// Whether anything was cut so far.
    pub(crate) fn has_cut(self) -> bool {
        self.cut
    }
}

/// A path as Git writes it in a patch: in double quotes and with escapes where a plain reading could go wrong.
pub(crate) fn quoted(prefix: &str, path: &BStr) -> String {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    if path.bytes().all(plain) {
        return format!("{prefix}{path}");
    }
    let mut quoted = format!("\"{prefix}");
    for byte in path.bytes() {
        match byte {
            b'\t' => quoted.push_str("\\t"),
            b'\n' => quoted.push_str("\\n"),
            b'\r' => quoted.push_str("\\r"),
            b'"' => quoted.push_str("\\\""),
            b'\\' => quoted.push_str("\\\\"),
            byte if plain(byte) => quoted.push(char::from(byte)),
            byte => quoted.push_str(&format!("\\{byte:03o}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_needed() {
        assert_eq!(quoted("a/", b"src/a b.rs".as_bstr()), "a/src/a b.rs");
        assert_eq!(quoted("a/", "ä\t\"\\".as_bytes().as_bstr()), "\"a/\\303\\244\\t\\\"\\\\\"");
    }

    #[test]
    fn loss_is_remembered() {
        let mut lossy = Lossy::default();
        assert_eq!(lossy.text("ä"), "ä");
        assert!(!lossy.happened());
        assert_eq!(lossy.text(b"a\xff"), "a\u{fffd}");
        assert!(lossy.happened());
        assert_eq!(lossy.beginning("a\n\nb", 5), "a\n\n");
        assert!(lossy.has_cut());
    }

    #[test]
    fn what_a_commit_says_of_its_encoding_is_obeyed() {
        for (encoding, text, lost) in [
            (Some("ISO-8859-1"), "Grüße", false),
            (Some("latin1"), "Grüße", false),
            (Some("iso_8859-1"), "Grüße", false),
            (Some("ISO-8859-15"), "Gr\u{fffd}\u{fffd}e", true),
            (None, "Gr\u{fffd}\u{fffd}e", true),
        ] {
            let mut lossy = Lossy::of(encoding.map(str::as_bytes));
            assert_eq!((lossy.text(b"Gr\xfc\xdfe").as_str(), lossy.happened()), (text, lost), "{encoding:?}");
        }
    }
}
