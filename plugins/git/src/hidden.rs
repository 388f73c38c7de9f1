//! Which files of a repository are told without their content unless somebody names them: those that the host hides from a
//! broad grant. What must never live here: a list of its own.

use crate::repository::{Repository, beside};
use crate::tree::Paths;
use gix_object::bstr::ByteSlice;
use std::ops::Range;

/// The host's list, pure data and its matching, compiled in as it stands: a copy would go stale, and a cell cannot ask what is
/// hidden from it, since to a cell that does not exist.
#[allow(dead_code, unreachable_pub, reason = "the host asks more of its list than this plugin does")]
#[path = "../../../host/kernel/src/hidden.rs"]
mod host;

/// Where in `path`, below the root of the working tree, the names stand that hide it: from the beginning of the first to the
/// end of the last. Nothing where it is shown.
pub(crate) fn hiding(work_dir: Option<&str>, path: &[u8]) -> Option<Range<usize>> {
    let path = path.to_str_lossy();
    let whole = beside(work_dir.unwrap_or("."), &path);
    // Names above the root hide nothing: who reads the repository was granted them.
    let above = whole.len() - path.len();
    let names = host::hiding(&whole).filter(|hiding| hiding.at >= above);
    let places = names.map(|hiding| hiding.at - above..hiding.at - above + hiding.name.len());
    places.reduce(|one, other| one.start.min(other.start)..one.end.max(other.end))
}

/// Whether `path` is hidden and none of `paths` spells out all that hides it.
pub(crate) fn is_hidden(repository: &Repository, path: &[u8], paths: &Paths) -> bool {
    hiding(repository.work_dir.as_deref(), path).is_some_and(|names| !paths.spell_out(path, names.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hide_below_the_root_and_together_with_it() {
        assert_eq!(hiding(Some("."), b"deploy/.env"), Some(7..11));
        assert_eq!(hiding(Some("."), b".ssh/id_rsa"), Some(5..11));
        assert_eq!(hiding(Some("a"), b"x.key/y/.env"), Some(0..12));
        assert_eq!(hiding(None, b"\xff/.env"), Some(4..8));
        assert_eq!((hiding(Some("."), b"config.json"), hiding(Some("."), b".env.example")), (None, None));
        assert_eq!(hiding(Some("home/.docker"), b"config.json"), Some(0..11));
        assert_eq!((hiding(Some("x.key"), b"a"), hiding(Some("/"), b"a.pem")), (None, Some(0..5)));
    }
}
