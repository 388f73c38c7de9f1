//! Where a path leads: its plain form, and the preopen that covers it. What must never live here: host calls.

use super::backend::{self, Handle};
use super::error;
use std::io;
use std::path::Path;

/// A path found: the preopen that covers it, and the rest below that.
pub(super) struct Located {
    /// The granted directory.
    pub(super) base: &'static Handle,
    /// The path inside `base`; `.` where they are the same.
    pub(super) inner: String,
    /// The path in plain form, for messages and for joining.
    pub(super) path: String,
}

/// The plain form of a path: `/` between names, no `.` but for the root itself, nothing doubled.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for `..`, a NUL, or a path that is not UTF-8.
pub fn clean(path: impl AsRef<Path>) -> io::Result<String> {
    let path = path.as_ref();
    let text = path.to_str().ok_or_else(|| refused(path, "is not UTF-8"))?;
    if text.contains('\0') {
        return Err(refused(path, "contains NUL"));
    }
    let mut plain = String::with_capacity(text.len());
    if text.starts_with('/') {
        plain.push('/');
    }
    for name in text.split('/').filter(|name| !name.is_empty() && *name != ".") {
        if name == ".." {
            return Err(refused(path, "contains `..`; write the path from the project root or an absolute one"));
        }
        if !plain.is_empty() && !plain.ends_with('/') {
            plain.push('/');
        }
        plain.push_str(name);
    }
    if plain.is_empty() {
        plain.push('.');
    }
    Ok(plain)
}

/// Finds the longest preopen that covers a path.
pub(super) fn locate(path: &Path) -> io::Result<Located> {
    let path = clean(path)?;
    let covering = backend::preopens()
        .iter()
        .filter_map(|preopen| Some((preopen, below(&path, &preopen.name)?)))
        .max_by_key(|(preopen, _)| preopen.name.len());
    match covering {
        Some((preopen, inner)) => {
            let inner = if inner.is_empty() { ".".to_owned() } else { inner.to_owned() };
            Ok(Located { base: &preopen.handle, inner, path })
        }
        None => Err(error::outside(&path)),
    }
}

/// `name` in the directory `dir`, where `.` is the root.
pub(crate) fn join(dir: &str, name: &str) -> String {
    match dir {
        "." => name.to_owned(),
        "/" => format!("/{name}"),
        _ => format!("{dir}/{name}"),
    }
}

/// What is left of `path` below `dir`; both in plain form.
fn below<'a>(path: &'a str, dir: &str) -> Option<&'a str> {
    match dir {
        "." if !path.starts_with('/') => Some(path),
        _ => {
            let rest = path.strip_prefix(dir)?;
            match rest.strip_prefix('/') {
                Some(rest) => Some(rest),
                None if rest.is_empty() || dir.ends_with('/') => Some(rest),
                None => None,
            }
        }
    }
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("the path {path:?} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_forms() {
        for (given, plain) in
            [("", "."), (".", "."), ("./a//b/", "a/b"), ("a/./b", "a/b"), ("/", "/"), ("//x/.", "/x"), ("..a", "..a")]
        {
            assert_eq!(clean(given).unwrap(), plain);
        }
    }

    #[test]
    fn ways_out_are_refused() {
        for path in ["..", "a/../b", "/..", "a\0b"] {
            assert_eq!(clean(path).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn only_whole_names_cover() {
        assert_eq!(below("src/a", "src"), Some("a"));
        assert_eq!(below("src", "src"), Some(""));
        assert_eq!(below("src2/a", "src"), None);
        assert_eq!(below("src/a", "."), Some("src/a"));
        assert_eq!(below("/abs/x", "."), None);
        assert_eq!(below("/abs/x", "/"), Some("abs/x"));
        assert_eq!(below("/abs/x", "/abs"), Some("x"));
    }

    #[test]
    fn names_join() {
        assert_eq!(join(".", "a"), "a");
        assert_eq!(join("/", "a"), "/a");
        assert_eq!(join("a/b", "c"), "a/b/c");
    }
}
