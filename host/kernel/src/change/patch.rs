//! A change set as people and `git apply` read it: one unified patch, in git's dialect. Names and contents come from guests, so
//! a name is quoted wherever it could be taken for something else.

use super::text::{Hunk, hunks, lines, of};
use super::{Change, ChangeSet, Contents, Node, TreePath};
use std::fmt::{self, Write};

/// Lines shown before and after a change.
const CONTEXT: usize = 3;

/// After so many bytes no further change is told. One content can stand in any number of files, so a patch may be far longer than
/// all that agents wrote; nobody reads that, and the change set has every change.
const PATCH_BYTES_MAX: usize = 64 << 20;

/// The patch. A content that is no text, or was not kept, is told by length and digest, with git's own words for a file it
/// cannot patch: whoever applies the patch is stopped there and not left with half of it. Directories, which git does not
/// know, are told in lines that it passes over. Once the patch is longer than 64 MiB, the next change that git knows is told so,
/// and how many more there are: git is stopped there, too.
pub fn render(set: &ChangeSet, contents: &impl Contents) -> String {
    within(PATCH_BYTES_MAX, set, contents)
}

pub(super) fn within(bytes_max: usize, set: &ChangeSet, contents: &impl Contents) -> String {
    let mut out = String::new();
    for (told, (path, change)) in set.iter().enumerate() {
        // Writing to a string cannot fail.
        if out.len() > bytes_max {
            let _ = untold(set, told, &mut out);
            break;
        }
        let _ = one(path, change, contents, &mut out);
    }
    out
}

/// What stands in place of all changes after the first `told`.
fn untold(set: &ChangeSet, told: usize, out: &mut String) -> fmt::Result {
    let rest = || set.iter().skip(told);
    let first = rest().find(|(_, change)| file(change.before()).or(file(change.after())).is_some());
    if let Some((path, change)) = first {
        let (a, b) = (quoted("a/", path.as_str()), quoted("b/", path.as_str()));
        writeln!(out, "diff --git {a} {b}")?;
        modes(file(change.before()), file(change.after()), out)?;
        writeln!(out, "Binary files {a} and {b} differ")?;
    }
    writeln!(out, "# {} more changes are only in the change set: the patch would be too long", rest().count())
}

fn one(path: &TreePath, change: &Change, contents: &impl Contents, out: &mut String) -> fmt::Result {
    let directory = |node: Option<&Node>| node.is_some_and(Node::is_dir);
    if directory(change.before()) {
        writeln!(out, "# directory removed: {}", quoted("", path.as_str()))?;
    }
    let (before, after) = (file(change.before()), file(change.after()));
    // git tells a file that becomes a link as one that goes and one that comes.
    match (before, after) {
        (Some(old), Some(new)) if mode(old) != mode(new) && (is_link(old) || is_link(new)) => {
            file_pair(path, Some(old), None, contents, out)?;
            file_pair(path, None, Some(new), contents, out)?;
        }
        (None, None) => {}
        (before, after) => file_pair(path, before, after, contents, out)?,
    }
    if directory(change.after()) {
        writeln!(out, "# directory made: {}", quoted("", path.as_str()))?;
    }
    Ok(())
}

fn file_pair(
    path: &TreePath,
    before: Option<&Node>,
    after: Option<&Node>,
    contents: &impl Contents,
    out: &mut String,
) -> fmt::Result {
    let (a, b) = (quoted("a/", path.as_str()), quoted("b/", path.as_str()));
    writeln!(out, "diff --git {a} {b}")?;
    modes(before, after, out)?;
    let (old, new) = (said(before, contents), said(after, contents));
    let (Some(old), Some(new)) = (old.as_deref().and_then(of), new.as_deref().and_then(of)) else {
        writeln!(out, "# from {}\n# to   {}", identity(before), identity(after))?;
        return writeln!(out, "Binary files {a} and {b} differ");
    };
    if old == new {
        return Ok(());
    }
    let name = |there: bool, name: String| if there { name } else { "/dev/null".to_owned() };
    writeln!(out, "--- {}\n+++ {}", name(before.is_some(), a), name(after.is_some(), b))?;
    unified(old, new, out)
}

fn modes(before: Option<&Node>, after: Option<&Node>, out: &mut String) -> fmt::Result {
    match (before.map(mode), after.map(mode)) {
        (None, Some(new)) => writeln!(out, "new file mode {new}"),
        (Some(old), None) => writeln!(out, "deleted file mode {old}"),
        (Some(old), Some(new)) if old != new => writeln!(out, "old mode {old}\nnew mode {new}"),
        _ => Ok(()),
    }
}

/// The hunks, each with the lines around it; those that come close share what lies between them.
fn unified(old: &str, new: &str, out: &mut String) -> fmt::Result {
    let (old, new) = (lines(old), lines(new));
    let all = hunks(&old, &new);
    let mut rest = &all[..];
    // How much further down the new text is than the old one.
    let mut shift = 0isize;
    while let Some(first) = rest.first() {
        let together = rest.windows(2).take_while(|pair| pair[1].start - pair[0].end <= 2 * CONTEXT).count() + 1;
        let (group, later) = rest.split_at(together);
        let from = first.start.saturating_sub(CONTEXT);
        let to = group.last().map_or(first.end, |last| last.end).saturating_add(CONTEXT).min(old.len());
        let growth: isize = group.iter().map(grown).sum();
        let (was, is) = (to - from, (to - from).saturating_add_signed(growth));
        let place = |start: usize, lines: usize| if lines == 0 { start } else { start + 1 };
        let (old_at, new_at) = (place(from, was), place(from.saturating_add_signed(shift), is));
        writeln!(out, "@@ -{old_at},{was} +{new_at},{is} @@")?;
        let mut at = from;
        for hunk in group {
            old[at..hunk.start].iter().try_for_each(|text| line(' ', text, out))?;
            old[hunk.start..hunk.end].iter().try_for_each(|text| line('-', text, out))?;
            hunk.lines.iter().try_for_each(|text| line('+', text, out))?;
            at = hunk.end;
        }
        old[at..to].iter().try_for_each(|text| line(' ', text, out))?;
        shift += growth;
        rest = later;
    }
    Ok(())
}

fn grown(hunk: &Hunk<'_>) -> isize {
    hunk.lines.len() as isize - (hunk.end - hunk.start) as isize
}

fn line(sign: char, text: &str, out: &mut String) -> fmt::Result {
    match text.strip_suffix('\n') {
        Some(text) => writeln!(out, "{sign}{text}"),
        None => writeln!(out, "{sign}{text}\n\\ No newline at end of file"),
    }
}

fn file(node: Option<&Node>) -> Option<&Node> {
    node.filter(|node| !node.is_dir())
}

fn is_link(node: &Node) -> bool {
    matches!(node, Node::Link { .. })
}

fn mode(node: &Node) -> &'static str {
    match node {
        Node::File { executable: false, .. } => "100644",
        Node::File { executable: true, .. } => "100755",
        Node::Link { .. } => "120000",
        Node::Directory => "040000",
    }
}

/// What stands in a file, or what a link says; nothing where there is neither.
fn said(node: Option<&Node>, contents: &impl Contents) -> Option<std::sync::Arc<[u8]>> {
    match node {
        None | Some(Node::Directory) => Some([].into()),
        Some(Node::Link { target }) => Some(target.as_bytes().into()),
        Some(Node::File { bytes: 0, .. }) => Some([].into()),
        Some(Node::File { digest, .. }) => contents.content(digest),
    }
}

fn identity(node: Option<&Node>) -> String {
    match node {
        Some(Node::File { digest, bytes, .. }) => format!("sha256:{digest}, {bytes} bytes"),
        Some(Node::Link { .. }) => "a link".to_owned(),
        Some(Node::Directory) | None => "nothing".to_owned(),
    }
}

/// A name as git writes it: bare where it is plain, and otherwise in quotes with everything unusual as an escape.
fn quoted(prefix: &str, name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    if name.bytes().all(plain) {
        return format!("{prefix}{name}");
    }
    let mut out = format!("\"{prefix}");
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' ' => out.push(' '),
            byte if byte.is_ascii_graphic() => out.push(char::from(byte)),
            byte => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
    out.push('"');
    out
}
