//! Unified diffs, as `git diff` writes them and `git apply` reads them. What must never live here: reading of files.

use crate::changes::{Content, Difference, End};
use crate::text::quoted;
use gix_hash::ObjectId;
use gix_object::bstr::{BStr, ByteSlice};
use gix_object::tree::EntryKind;
use imara_diff::{Algorithm, Diff, Hunk, InternedInput, sources::byte_lines};
use std::io::Write;
use std::ops::Range;

/// Largest file compared line by line, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most pairs of equal lines among which the smallest set of changes is looked for: a second or two.
const PAIRS_MAX: u64 = 100_000_000;
/// As far as Git looks for the NUL that makes a file binary.
const BINARY_BYTES: usize = 8000;

/// The difference of one file.
#[derive(Clone, Debug, Default)]
pub(crate) struct FilePatch {
    /// Lines added; nothing for a file that has no lines to count.
    pub(crate) additions: Option<u32>,
    /// Lines removed.
    pub(crate) deletions: Option<u32>,
    /// Whether either side is binary.
    pub(crate) binary: bool,
    /// Whether either side was too large to compare.
    pub(crate) too_large: bool,
    /// Whether its text is withheld, since it may hold credentials by its name.
    pub(crate) hidden: bool,
    /// The patch; empty where it was not asked for or is withheld.
    pub(crate) text: Vec<u8>,
}

/// Compares both sides of a difference. `context` is the number of lines kept around a change; without it only lines are
/// counted.
pub(crate) fn compare(
    difference: &Difference,
    old: Option<&Content>,
    new: Option<&Content>,
    context: Option<u32>,
) -> FilePatch {
    let bytes = |content: Option<&Content>| match content {
        None => Some(Default::default()),
        Some(Content::Whole(bytes, _)) => Some(bytes.clone()),
        Some(Content::TooLarge(_)) => None,
    };
    let mut patch = FilePatch::default();
    let mut body = Vec::new();
    match (bytes(old), bytes(new)) {
        (Some(old), Some(new)) if !is_binary(&old) && !is_binary(&new) => {
            let input = InternedInput::new(byte_lines(&old), byte_lines(&new));
            let hunks = changed(&input);
            patch.additions = Some(hunks.iter().map(|hunk| hunk.after.len() as u32).sum());
            patch.deletions = Some(hunks.iter().map(|hunk| hunk.before.len() as u32).sum());
            if let Some(context) = context {
                write_hunks(&input, hunks, context, &mut body);
            }
        }
        (Some(_), Some(_)) => patch.binary = true,
        _ => patch.too_large = true,
    }
    if context.is_some() {
        header(difference, id_of(difference.old, old), id_of(difference.new, new), &mut patch.text);
        let (before, after) = names(difference);
        let _ = match (patch.binary || patch.too_large, body.is_empty()) {
            (true, _) if id_of(difference.old, old) != id_of(difference.new, new) => {
                writeln!(patch.text, "Binary files {before} and {after} differ")
            }
            (true, _) | (_, true) => Ok(()),
            (false, false) => writeln!(patch.text, "--- {}\n+++ {}", ended(&before), ended(&after)),
        };
        patch.text.append(&mut body);
    }
    patch
}

/// Whether content is not text, judged as Git does.
pub(crate) fn is_binary(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(BINARY_BYTES)].contains(&0)
}

/// The mode as Git writes it.
pub(crate) fn mode(kind: EntryKind) -> String {
    format!("{:0>6}", kind.as_octal_str())
}

fn id_of(end: Option<End>, content: Option<&Content>) -> ObjectId {
    let known = match content {
        // A submodule's content is a line about it, and its hash is the commit.
        _ if matches!(end, Some(End::Stored(side)) if side.kind == EntryKind::Commit) => match end {
            Some(End::Stored(side)) => Some(side.id),
            _ => None,
        },
        Some(Content::Whole(_, id)) => Some(*id),
        Some(Content::TooLarge(id)) => *id,
        None => None,
    };
    known.unwrap_or(gix_hash::Kind::Sha1.null())
}

/// Names on the lines `---` and `+++`.
fn names(difference: &Difference) -> (String, String) {
    let name = |prefix, path: &BStr, there: bool| if there { quoted(prefix, path) } else { "/dev/null".to_owned() };
    let old_path = difference.old_path.as_ref().unwrap_or(&difference.path);
    (
        name("a/", old_path.as_bstr(), difference.old.is_some()),
        name("b/", difference.path.as_bstr(), difference.new.is_some()),
    )
}

/// A blank in a name would end it, for some programs; Git ends it with a tab first.
fn ended(name: &str) -> String {
    if name.contains(' ') && !name.starts_with('"') { format!("{name}\t") } else { name.to_owned() }
}

fn header(difference: &Difference, old_id: ObjectId, new_id: ObjectId, out: &mut Vec<u8>) {
    let path = difference.path.as_bstr();
    let old_path = difference.old_path.as_ref().map_or(path, |path| path.as_bstr());
    let mut line = |text: String| {
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    };
    line(format!("diff --git {} {}", quoted("a/", old_path), quoted("b/", path)));
    let (old_mode, new_mode) = (difference.old.map(|end| mode(end.kind())), difference.new.map(|end| mode(end.kind())));
    let mut index_mode = String::new();
    match (old_mode, new_mode) {
        (None, Some(mode)) => line(format!("new file mode {mode}")),
        (Some(mode), None) => line(format!("deleted file mode {mode}")),
        (Some(old), Some(new)) if old != new => line(format!("old mode {old}\nnew mode {new}")),
        (Some(mode), _) => index_mode = format!(" {mode}"),
        (None, None) => {}
    }
    if difference.old_path.is_some() {
        line(format!("similarity index 100%\nrename from {}\nrename to {}", quoted("", old_path), quoted("", path)));
    }
    if old_id != new_id {
        line(format!("index {old_id}..{new_id}{index_mode}"));
    }
}

/// The lines that changed. Where lines repeat too much, all from the first that differs to the last is one change: to find
/// the smallest set would take minutes.
fn changed(input: &InternedInput<&[u8]>) -> Vec<Hunk> {
    let (before, after) = (&input.before, &input.after);
    let lead = before.iter().zip(after).take_while(|(old, new)| old == new).count();
    let shorter = before.len().min(after.len()) - lead;
    let trail = before.iter().rev().zip(after.iter().rev()).take(shorter).take_while(|(old, new)| old == new).count();
    let (before, after) = (lead..before.len() - trail, lead..after.len() - trail);
    if pairs(input, before.clone(), after.clone()) > PAIRS_MAX {
        let range = |lines: Range<usize>| lines.start as u32..lines.end as u32;
        return vec![Hunk { before: range(before), after: range(after) }];
    }
    // Git's own default, so that counts agree with what people see elsewhere.
    let mut diff = Diff::compute(Algorithm::Myers, input);
    diff.postprocess_lines(input);
    diff.hunks().collect()
}

/// How many pairs of an old and a new line are equal.
fn pairs(input: &InternedInput<&[u8]>, before: Range<usize>, after: Range<usize>) -> u64 {
    let mut counts = vec![0_u64; input.interner.num_tokens() as usize];
    for token in &input.before[before] {
        counts[token.0 as usize] += 1;
    }
    input.after[after].iter().map(|token| counts[token.0 as usize]).sum()
}

fn write_hunks(input: &InternedInput<&[u8]>, hunks: Vec<Hunk>, context: u32, out: &mut Vec<u8>) {
    let mut group: Vec<Hunk> = Vec::new();
    for hunk in hunks {
        let apart = group.last().is_some_and(|last| hunk.before.start - last.before.end > context.saturating_mul(2));
        if apart {
            write_group(input, &group, context, out);
            group.clear();
        }
        group.push(hunk);
    }
    write_group(input, &group, context, out);
}

/// Hunks so near to each other that their context meets, as one.
fn write_group(input: &InternedInput<&[u8]>, group: &[Hunk], context: u32, out: &mut Vec<u8>) {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return };
    let lead = context.min(first.before.start);
    let trail = context.min(input.before.len() as u32 - last.before.end);
    let before = first.before.start - lead..last.before.end + trail;
    let after = first.after.start - lead..last.after.end + trail;
    let _ = writeln!(out, "@@ -{} +{} @@", range(&before), range(&after));
    let mut at = before.start;
    for hunk in group {
        lines(input, &input.before, at..hunk.before.start, b' ', out);
        lines(input, &input.before, hunk.before.clone(), b'-', out);
        lines(input, &input.after, hunk.after.clone(), b'+', out);
        at = hunk.before.end;
    }
    lines(input, &input.before, at..before.end, b' ', out);
}

/// Lines count from 1; an empty range names the line before it.
fn range(lines: &Range<u32>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => format!("{}", lines.start + 1),
        len => format!("{},{len}", lines.start + 1),
    }
}

fn lines(input: &InternedInput<&[u8]>, tokens: &[imara_diff::Token], range: Range<u32>, sign: u8, out: &mut Vec<u8>) {
    for token in &tokens[range.start as usize..range.end as usize] {
        let line = input.interner[*token];
        out.push(sign);
        out.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            out.extend_from_slice(b"\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunks(old: &str, new: &str) -> Vec<(Range<u32>, Range<u32>)> {
        let input = InternedInput::new(byte_lines(old.as_bytes()), byte_lines(new.as_bytes()));
        changed(&input).into_iter().map(|hunk| (hunk.before, hunk.after)).collect()
    }

    #[test]
    fn lines_that_changed_are_found() {
        assert_eq!(hunks("a\nb\nc\n", "a\nx\nc\nd\n"), [(1..2, 1..2), (3..3, 3..4)]);
        assert_eq!(hunks("", "a\n"), [(0..0, 0..1)]);
        assert_eq!(hunks("a\na\n", "a\n").len(), 1);
        assert_eq!(hunks("same\n", "same\n"), []);
    }

    #[test]
    fn what_repeats_too_much_is_one_change() {
        let (old, new) = ("x\ny\n".repeat(20_000), "y\ny\nx\n".repeat(20_000));
        let whole = |text: &str, edge: &str| format!("{edge}{text}z\n");
        let found = hunks(&whole(&old, "first\n"), &whole(&new, "first\n"));
        assert_eq!(found, [(1..40_001, 1..60_001)]);
    }
}
