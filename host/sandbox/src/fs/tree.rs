//! One tree, and how a guest's path becomes a canonical one. A path without links needs no resolving: the operation itself, which
//! follows none, proves that. Only where it meets a link is the path walked name by name, and the operation done again on
//! what came out. Whoever swaps a directory for a link in between gets `ELOOP`.

use super::backing::{Backing, Kind, Stat};
use super::seen::Seen;
use rustix::io::Errno;
use std::io;
use vespiary_kernel::sight::{Rules, Sight};

/// Symbolic links followed for one path; what Linux allows.
const LINKS_MAX: usize = 40;

/// Bytes of a path, with the directory it is taken from; what Linux allows. What is longer is not even judged: that takes time for
/// each name, and no host function is interrupted.
pub(crate) const PATH_BYTES_MAX: usize = 4_095;

/// One root and everything a cell may see below it.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) backing: Box<dyn Backing>,
    pub(crate) rules: Rules,
}

/// A canonical path to act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) path: String,
    /// It was written with a slash at its end: only a directory will do.
    pub(crate) slash: bool,
    /// Its last name was `.` or `..`: what it leads to is there already, and has another name.
    pub(crate) dot: bool,
}

/// Why something cannot be done to a path.
#[derive(Debug)]
pub(crate) enum Refused {
    /// By the rules, by the text of the path, or by what is in the record: whoever meets the same again is told the same.
    Decided(Errno),
    /// By the system, for a reason that the record does not hold.
    Met(io::Error),
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self::Decided(errno)
    }
}

/// What a tree's backing says is the system's word, until the record holds what explains it (see [`Tree::explained`]).
impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Met(error)
    }
}

impl Refused {
    /// What the cell is told. What the record cannot explain makes it partial.
    fn told(self, seen: &mut Seen) -> io::Error {
        match self {
            Self::Decided(errno) => errno.into(),
            Self::Met(error) => {
                seen.missed();
                error
            }
        }
    }

    /// A link was met that should have been followed.
    fn met_link(&self) -> bool {
        match self {
            Self::Decided(errno) => *errno == Errno::LOOP,
            Self::Met(error) => is(error, Errno::LOOP),
        }
    }
}

/// What is done about a symbolic link that is the last name of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    Follow,
    /// Not followed, unless the path says by a slash at its end that it means a directory.
    Keep,
    /// Not followed: the name itself is meant, to be moved or removed.
    Name,
}

impl Tree {
    pub(crate) fn new(backing: Box<dyn Backing>, rules: Rules) -> Self {
        Self { backing, rules }
    }

    /// Do `act` to `path`, taken from the directory `base`. `act` judges the path it is given, follows no link, and fails with
    /// `ELOOP` where it meets one it should have followed; it may be called twice.
    pub(crate) fn at<R>(
        &self,
        base: &str,
        path: &str,
        last: Last,
        seen: &mut Seen,
        mut act: impl FnMut(&Target, &mut Seen) -> Result<R, Refused>,
    ) -> io::Result<R> {
        if let Some(target) = plain(base, path)? {
            match act(&target, seen) {
                Err(refused) if refused.met_link() => {}
                done => return done.map_err(|refused| refused.told(seen)),
            }
        }
        let done = self.walk(base, path, last, seen).and_then(|target| act(&target, seen));
        done.map_err(|refused| refused.told(seen))
    }

    /// The same for two paths at once.
    pub(crate) fn at_both<R>(
        &self,
        from: (&str, &str),
        to: (&str, &str),
        seen: &mut Seen,
        mut act: impl FnMut(&Target, &Target, &mut Seen) -> Result<R, Refused>,
    ) -> io::Result<R> {
        if let (Some(from), Some(to)) = (plain(from.0, from.1)?, plain(to.0, to.1)?) {
            match act(&from, &to, seen) {
                Err(refused) if refused.met_link() => {}
                done => return done.map_err(|refused| refused.told(seen)),
            }
        }
        let mut walked = || {
            let from = self.walk(from.0, from.1, Last::Name, seen)?;
            let to = self.walk(to.0, to.1, Last::Name, seen)?;
            act(&from, &to, seen)
        };
        walked().map_err(|refused| refused.told(seen))
    }

    /// Walk a path name by name, following the links that the cell may see. What a guest writes never leads above `base`;
    /// what a link says never leads above the root.
    fn walk(&self, base: &str, written: &str, last: Last, seen: &mut Seen) -> Result<Target, Refused> {
        let mut done: Vec<String> = base.split('/').filter(|name| *name != ".").map(str::to_owned).collect();
        let mut floor = done.len();
        let mut links = 0;
        let mut slash = ends_with_slash(written);
        let dot = ends_with_dot(written);
        // The names still to go, the next one last.
        let mut rest: Vec<String> = names(written).rev().map(str::to_owned).collect();
        while let Some(name) = rest.pop() {
            if name == ".." {
                if done.len() <= floor {
                    return Err(Errno::PERM.into());
                }
                // That it is a directory decides where this leads.
                seen.passed(&self.rules, &done.join("/"));
                done.pop();
                continue;
            }
            let here = join(&done, &name);
            let is_last = rest.is_empty();
            match self.rules.sight(&here) {
                Sight::Outside => return Err(Errno::PERM.into()),
                Sight::Hidden => return Err(Errno::NOENT.into()),
                Sight::Passage | Sight::Read | Sight::Write => {}
            }
            let stat = match self.backing.stat(&here) {
                Ok(stat) => stat,
                Err(error) if is_last && is(&error, Errno::NOENT) => {
                    done.push(name);
                    continue;
                }
                Err(error) => return Err(self.why(&here, error, seen)),
            };
            let follow = match last {
                _ if !is_last || dot => true,
                Last::Follow => true,
                Last::Keep => slash,
                Last::Name => false,
            };
            match stat.kind {
                Kind::Link if follow => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Errno::LOOP.into());
                    }
                    let target = self.read_link(&here, seen)?;
                    if target.starts_with('/') {
                        return Err(Errno::PERM.into());
                    }
                    let ahead: usize = rest.iter().map(|name| name.len() + 1).sum();
                    let behind: usize = done.iter().map(|name| name.len() + 1).sum();
                    if behind + target.len() + ahead > PATH_BYTES_MAX {
                        return Err(Errno::NAMETOOLONG.into());
                    }
                    slash |= is_last && ends_with_slash(&target);
                    rest.extend(names(&target).rev().map(str::to_owned));
                    floor = 0;
                }
                Kind::Dir => done.push(name),
                _ if is_last => done.push(name),
                _ => return Err(self.in_the_way(&here, &stat, seen)),
            }
        }
        let path = if done.is_empty() { ".".to_owned() } else { done.join("/") };
        Ok(Target { path, slash, dot })
    }

    /// What a link says, when the cell may read it.
    pub(crate) fn read_link(&self, path: &str, seen: &mut Seen) -> Result<String, Refused> {
        if self.rules.sight(path) < Sight::Read {
            // A link on the way to something granted is no directory, and nothing else is shown there.
            seen.absent(&self.rules, path);
            return Err(Errno::NOENT.into());
        }
        let target = self.explained(path, self.backing.read_link(path), seen)?;
        // The record holds text.
        let target = target.into_string().map_err(|_| Refused::Met(Errno::ILSEQ.into()))?;
        seen.link(&self.rules, path, &target);
        Ok(target)
    }

    /// What the cell may do at `path` when it only wants to look. Fails as if nothing were there where it must not know.
    pub(crate) fn look(&self, path: &str) -> Result<Sight, Errno> {
        match self.rules.sight(path) {
            Sight::Outside => Err(Errno::PERM),
            Sight::Hidden => Err(Errno::NOENT),
            sight => Ok(sight),
        }
    }

    /// Fails unless the cell may change what is at `path`; the same whether or not something is there.
    pub(crate) fn may_change(&self, path: &str) -> Result<(), Errno> {
        match self.rules.sight(path) {
            Sight::Write => Ok(()),
            _ => Err(Errno::PERM),
        }
    }

    /// What the backing answered of `path`, which was judged. An error that comes from what is there goes into the record as that.
    pub(crate) fn explained<T>(&self, path: &str, found: io::Result<T>, seen: &mut Seen) -> Result<T, Refused> {
        found.map_err(|error| self.why(path, error, seen))
    }

    fn why(&self, path: &str, error: io::Error, seen: &mut Seen) -> Refused {
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => {
                seen.absent(&self.rules, path);
                Errno::NOENT.into()
            }
            // Something on the way is no directory, or what is there.
            Some(Errno::NOTDIR) => {
                let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
                for step in ends.map(|end| &path[..end]) {
                    match self.backing.stat(step) {
                        Ok(stat) if stat.kind == Kind::Dir => {}
                        Ok(stat) => return self.in_the_way(step, &stat, seen),
                        Err(_) => break,
                    }
                }
                Refused::Met(error)
            }
            // It is a link, a socket, or no link.
            Some(errno @ (Errno::LOOP | Errno::NXIO | Errno::INVAL)) => match self.backing.stat(path) {
                Ok(stat) if self.rules.sight(path) >= Sight::Read && explains(stat.kind, errno) => {
                    seen.found(&self.rules, path, &stat);
                    errno.into()
                }
                _ => Refused::Met(error),
            },
            _ => Refused::Met(error),
        }
    }

    /// `path` leads on, and what is there is no directory.
    fn in_the_way(&self, path: &str, stat: &Stat, seen: &mut Seen) -> Refused {
        if self.rules.sight(path) < Sight::Read || matches!(stat.kind, Kind::Dir | Kind::Link) {
            return Refused::Met(Errno::NOTDIR.into());
        }
        seen.found(&self.rules, path, stat);
        Errno::NOTDIR.into()
    }
}

/// Whether opening, or reading as a link, what is of this kind gives this error.
fn explains(kind: Kind, errno: Errno) -> bool {
    match kind {
        Kind::Link => errno == Errno::LOOP,
        Kind::File | Kind::Dir => errno == Errno::INVAL,
        Kind::BlockDevice | Kind::CharDevice | Kind::Other => errno != Errno::LOOP,
    }
}

pub(crate) fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// The canonical form of a path that climbs nowhere, taken that it meets no link. `None` for one that has to be walked.
fn plain(base: &str, path: &str) -> Result<Option<Target>, Errno> {
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    let above = if base == "." { 0 } else { base.len() + 1 };
    if above + path.len() > PATH_BYTES_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    if path.starts_with('/') {
        return Err(Errno::PERM);
    }
    if path.contains('\0') {
        return Err(Errno::INVAL);
    }
    let mut joined = String::with_capacity(base.len() + 1 + path.len());
    if base != "." {
        joined.push_str(base);
    }
    for name in names(path) {
        if name == ".." {
            return Ok(None);
        }
        if !joined.is_empty() {
            joined.push('/');
        }
        joined.push_str(name);
    }
    if joined.is_empty() {
        joined.push('.');
    }
    Ok(Some(Target { path: joined, slash: ends_with_slash(path), dot: ends_with_dot(path) }))
}

/// The names of a path, `.` and nothing left out.
fn names(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}

/// `a/` and `a/.` mean a directory.
fn ends_with_slash(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.")
}

/// `a/.`, `a/..` and `a/./` name by another name.
fn ends_with_dot(path: &str) -> bool {
    let last = path.trim_end_matches('/').rsplit('/').next();
    matches!(last, Some("." | ".."))
}

fn join(dir: &[String], name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{}/{name}", dir.join("/")) }
}

/// A link made at `path` that says `target`: whether it stays inside the tree, as far as its text tells.
pub(crate) fn stays_inside(path: &str, target: &str) -> bool {
    if target.is_empty() || target.starts_with('/') || target.contains('\0') {
        return false;
    }
    let mut depth = path.split('/').count() - 1;
    for name in names(target) {
        depth = match (name, depth) {
            ("..", 0) => return false,
            ("..", depth) => depth - 1,
            (_, depth) => depth + 1,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_joined_and_climbing_ones_walked() {
        let form = |base, path| plain(base, path).unwrap().map(|target| (target.path, target.slash));
        let is = |path: &str, slash| Some((path.to_owned(), slash));
        assert_eq!(form(".", "a//b/./c"), is("a/b/c", false));
        assert_eq!(form("x/y", "a/"), is("x/y/a", true));
        assert_eq!(form(".", "."), is(".", false));
        assert_eq!(form("x", "./."), is("x", true));
        assert_eq!(form(".", "a/../b"), None);
        for (bad, errno) in [("", Errno::NOENT), ("/a", Errno::PERM), ("a\0b", Errno::INVAL)] {
            assert_eq!(plain(".", bad).unwrap_err(), errno);
        }
    }

    #[test]
    fn a_link_stays_inside_by_its_text() {
        for (path, target) in [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../x/y"), ("a", "b/../c")] {
            assert!(stays_inside(path, target), "{path} -> {target}");
        }
        for (path, target) in [("a", "../b"), ("a/b", "../../c"), ("a", "/etc"), ("a", ""), ("a/b", "../x/../../y")] {
            assert!(!stays_inside(path, target), "{path} -> {target}");
        }
    }
}
