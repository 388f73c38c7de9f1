//! Text by lines: what turns one text into another, and whether several such edits of one text can stand side by side. Contents
//! come from guests, so the search for differences is one whose cost stays near linear whatever it is given.

use imara_diff::{Algorithm, Diff, InternedInput};
use std::collections::BTreeSet;
use std::ops::Range;

/// The longest content that is compared line by line, bytes.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// One piece of an edit: these lines of the old text become those of the new one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hunk<'a> {
    /// Lines of the old text, from 0.
    pub(super) start: usize,
    pub(super) end: usize,
    /// What stands in their place, each with its line end.
    pub(super) lines: Vec<&'a str>,
}

/// The content as text, when it is text and not too long to be compared.
pub(super) fn of(content: &[u8]) -> Option<&str> {
    if content.len() > TEXT_BYTES_MAX || content.contains(&0) {
        return None;
    }
    std::str::from_utf8(content).ok()
}

/// The lines of a text, each with its line end; only the last may have none.
pub(super) fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// What turns the lines `old` into the lines `new`, in order.
pub(super) fn hunks<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Hunk<'a>> {
    let mut input: InternedInput<&str> = InternedInput::default();
    input.update_before(old.iter().copied());
    input.update_after(new.iter().copied());
    // Myers' algorithm with its heuristics: repeated lines, which a guest can make as many of as it likes, cost it little.
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    diff.postprocess_no_heuristic(&input);
    let place = |range: Range<u32>| (range.start as usize, range.end as usize);
    diff.hunks()
        .map(|hunk| {
            let ((start, end), (from, to)) = (place(hunk.before), place(hunk.after));
            Hunk { start, end, lines: new[from..to].to_vec() }
        })
        .collect()
}

/// The text in which every edit of `base` in `sides` was made. `None` where two that differ touch the same or neighbouring
/// lines: then nobody but a person can tell what is meant. The order of `sides` makes no difference.
pub(super) fn merged(base: &str, sides: &[&str]) -> Option<String> {
    let old = lines(base);
    let mut all = BTreeSet::new();
    for side in sides {
        all.extend(hunks(&old, &lines(side)));
    }
    let all: Vec<Hunk<'_>> = all.into_iter().collect();
    // Sorted by where they begin, so a hunk that touches none of its neighbours touches no other.
    if all.windows(2).any(|pair| pair[1].start <= pair[0].end) {
        return None;
    }
    let mut out = String::with_capacity(base.len());
    let mut at = 0;
    for hunk in &all {
        out.extend(old[at..hunk.start].iter().copied());
        out.extend(hunk.lines.iter().copied());
        at = hunk.end;
    }
    out.extend(old[at..].iter().copied());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(numbers: &[u32]) -> String {
        numbers.iter().map(|n| format!("{n}\n")).collect()
    }

    #[test]
    fn edits_far_apart_stand_side_by_side_and_the_same_edit_counts_once() {
        let base = text(&[1, 2, 3, 4, 5, 6]);
        let (first, last) = (text(&[10, 2, 3, 4, 5, 6]), text(&[1, 2, 3, 4, 5, 60, 61]));
        assert_eq!(merged(&base, &[&first, &last]), Some(text(&[10, 2, 3, 4, 5, 60, 61])));
        let both = text(&[10, 2, 3, 40, 5, 6]);
        assert_eq!(merged(&base, &[&first, &both]), Some(both));
    }

    #[test]
    fn edits_that_touch_are_nobody_s_to_join() {
        let base = text(&[1, 2, 3, 4]);
        for (ours, theirs) in [
            (vec![10, 2, 3, 4], vec![11, 2, 3, 4]),
            (vec![10, 2, 3, 4], vec![1, 20, 3, 4]),
            (vec![1, 2, 7, 3, 4], vec![1, 2, 8, 3, 4]),
            (vec![1, 4], vec![1, 2, 30, 4]),
            (vec![1, 2, 3, 4, 5], vec![1, 2, 3, 4, 6]),
        ] {
            assert_eq!(merged(&base, &[&text(&ours), &text(&theirs)]), None, "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn a_last_line_without_an_end_stays_so() {
        assert_eq!(merged("a\nb\nc", &["x\na\nb\nc", "a\nb\nc"]).as_deref(), Some("x\na\nb\nc"));
        assert_eq!(merged("a\nb\nc", &["x\nb\nc", "a\nb\nc\n"]).as_deref(), Some("x\nb\nc\n"));
        assert_eq!(merged("a", &["a\nb", "a\nc"]), None);
    }

    #[test]
    fn what_is_no_text_is_not_compared() {
        assert!(of(b"a\0b").is_none() && of(&[0xff]).is_none() && of(&vec![b'a'; TEXT_BYTES_MAX + 1]).is_none());
    }
}
