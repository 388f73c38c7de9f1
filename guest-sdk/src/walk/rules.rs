//! Ignore rules: which file decides about a path. What must never live here: pattern syntax; that is the `ignore` crate's, and
//! what Git has otherwise is in `gitignore`.

use super::{Skipped, Step, gitignore};
use crate::fs::{self, FileType};
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::collections::VecDeque;
use std::rc::Rc;

/// What the rules say of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Leave it out.
    Ignored,
    /// A `!` rule names it: visit it, hidden or not.
    Wanted,
    /// No rule names it.
    Silent,
}

/// The rules that hold in one directory: its own files', then those above.
#[derive(Debug)]
pub(super) struct Rules {
    own: Option<Gitignore>,
    git: Option<Gitignore>,
    /// Git's rules end at a repository's root; those above speak of another repository.
    repository_root: bool,
    above: Option<Rc<Rules>>,
}

const OWN_NAME: &str = ".ignore";
const GIT_NAME: &str = ".gitignore";

impl Rules {
    /// The rules above a walk's start, as far up as the cell may read.
    pub(super) fn above(start: &str, notes: &mut VecDeque<Step>) -> Option<Rc<Self>> {
        let mut rules = None;
        for dir in ancestors(start) {
            let own = load(&dir, OWN_NAME, notes);
            let git = load(&dir, GIT_NAME, notes);
            let repository_root = fs::symlink_metadata(fs::join(&dir, ".git")).is_ok();
            rules = Self { own, git, repository_root, above: rules }.useful();
        }
        rules
    }

    /// The rules inside a directory whose entries are known, so that nothing is looked for in vain.
    pub(super) fn inside(
        dir: &str,
        entries: &[(String, FileType)],
        above: Option<Rc<Self>>,
        notes: &mut VecDeque<Step>,
    ) -> Option<Rc<Self>> {
        let has = |wanted: &str| entries.binary_search_by(|(name, _)| wanted.cmp(name)).is_ok();
        let own = if has(OWN_NAME) { load(dir, OWN_NAME, notes) } else { None };
        let git = if has(GIT_NAME) { load(dir, GIT_NAME, notes) } else { None };
        let repository_root = has(".git");
        if own.is_none() && git.is_none() && !repository_root {
            return above;
        }
        Self { own, git, repository_root, above }.useful()
    }

    fn useful(self) -> Option<Rc<Self>> {
        let speaks = self.own.is_some() || self.git.is_some() || self.above.is_some();
        speaks.then(|| Rc::new(self))
    }

    pub(super) fn judge(&self, path: &str, is_dir: bool) -> Judgement {
        let own = self.upwards().filter_map(|level| level.own.as_ref()).map(|rules| judged(rules, path, is_dir));
        if let Some(judgement) = own.into_iter().find(|judgement| *judgement != Judgement::Silent) {
            return judgement;
        }
        for level in self.upwards() {
            let judgement = level.git.as_ref().map_or(Judgement::Silent, |rules| judged(rules, path, is_dir));
            if judgement != Judgement::Silent || level.repository_root {
                return judgement;
            }
        }
        Judgement::Silent
    }

    fn upwards(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |level| level.above.as_deref())
    }
}

fn judged(rules: &Gitignore, path: &str, is_dir: bool) -> Judgement {
    match rules.matched(path, is_dir) {
        Match::None => Judgement::Silent,
        Match::Ignore(_) => Judgement::Ignored,
        Match::Whitelist(_) => Judgement::Wanted,
    }
}

/// Reads one rules file. A missing one is no rules; a bad line is noted and the others hold.
fn load(dir: &str, name: &str, notes: &mut VecDeque<Step>) -> Option<Gitignore> {
    let path = fs::join(dir, name);
    let bytes = fs::read(&path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut builder = GitignoreBuilder::new(dir);
    for (line, number) in text.strip_prefix('\u{feff}').unwrap_or(&text).split('\n').zip(1..) {
        let line = if name == GIT_NAME { gitignore::rule(line) } else { Some(line.into()) };
        let Some(line) = line else { continue };
        if let Err(error) = builder.add_line(None, &line) {
            notes.push_back(bad_rule(&path, number, &error));
        }
    }
    match builder.build() {
        Ok(rules) if rules.is_empty() => None,
        Ok(rules) => Some(rules),
        Err(error) => {
            notes.push_back(Step::Skipped(Skipped { path, reason: format!("rules not applied: {error}") }));
            None
        }
    }
}

fn bad_rule(path: &str, line: usize, error: &ignore::Error) -> Step {
    let reason = format!("line {line} is no ignore rule and was passed over: {error}");
    Step::Skipped(Skipped { path: path.to_owned(), reason })
}

/// The directories above a path, outermost first.
fn ancestors(path: &str) -> Vec<String> {
    if path == "." || path == "/" {
        return Vec::new();
    }
    let root = if path.starts_with('/') { "/" } else { "." };
    let ends = path.match_indices('/').map(|(end, _)| end).filter(|end| *end > 0);
    std::iter::once(root.to_owned()).chain(ends.map(|end| path[..end].to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_come_outermost_first() {
        assert_eq!(ancestors("."), [""; 0]);
        assert_eq!(ancestors("a"), ["."]);
        assert_eq!(ancestors("a/b/c"), [".", "a", "a/b"]);
        assert_eq!(ancestors("/a/b"), ["/", "/a"]);
    }
}
