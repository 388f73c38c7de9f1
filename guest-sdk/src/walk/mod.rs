//! One walk over a directory tree, for every plugin that looks at many files. What lives here: order, ignore rules, and
//! what is passed over. What must never live here: what a plugin does with a file.
//!
//! - Entries come depth first, each directory sorted by name, a directory before what is in it.
//! - Symbolic links are entries and are never followed, so a walk ends whatever the tree looks like.
//! - `.git` is an entry and is never entered.
//! - Whatever cannot be looked at (a name that is not UTF-8, a directory that cannot be read) is a [`Skipped`] step and
//!   ends nothing.

mod gitignore;
mod rules;

use crate::fs::{self, Dir, File, FileType, Size};
use rules::{Judgement, Rules};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::rc::Rc;

/// What a walk visits.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Leave out what `.gitignore` and `.ignore` files name, those above the start included. A `.ignore` rule beats a
    /// `.gitignore` rule; among equals the deeper file wins.
    pub ignore: bool,
    /// Visit names that begin with a dot, too.
    pub hidden: bool,
    /// How many levels to go down: 1 visits the start's own entries. `None` goes all the way.
    pub depth_max: Option<usize>,
}

impl Default for Options {
    /// Ignore rules honoured, hidden names left out, all the way down.
    fn default() -> Self {
        Self { ignore: true, hidden: false, depth_max: None }
    }
}

/// Something that was passed over, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// Path of the file or directory; of the directory where the entry has no usable name.
    pub path: String,
    /// Why it was passed over.
    pub reason: String,
}

/// One step of a walk.
#[derive(Debug)]
pub enum Step {
    /// A file, directory, link or other thing.
    Entry(Entry),
    /// Something that could not be looked at.
    Skipped(Skipped),
}

/// A thing a walk came by.
#[derive(Debug)]
pub struct Entry {
    /// Its path in plain form.
    pub path: String,
    /// What kind of thing it is; symbolic links are not followed.
    pub file_type: FileType,
    /// Whether a listing named it, rather than the caller.
    listed: bool,
}

impl Entry {
    /// The last name of its path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether a listing named it, rather than the caller: then it is what `file_type` says and no link to that.
    pub fn was_listed(&self) -> bool {
        self.listed
    }

    /// Opens the file for reading; a symbolic link put in its place meanwhile is not followed.
    ///
    /// # Errors
    /// It is gone, or cannot be read.
    pub fn open(&self) -> io::Result<File> {
        if self.listed { File::open_listed(&self.path) } else { File::open(&self.path) }
    }

    /// Reads the file into `bytes`: see [`File::read_whole`].
    ///
    /// # Errors
    /// Those of [`Entry::open`].
    pub fn read_whole(&self, bytes: &mut Vec<u8>, limit: u64) -> io::Result<Size> {
        self.open()?.read_whole(bytes, limit)
    }

    /// What is known of it, at the cost of asking the host.
    ///
    /// # Errors
    /// It is gone.
    pub fn metadata(&self) -> io::Result<fs::Metadata> {
        if self.listed { fs::symlink_metadata(&self.path) } else { fs::metadata(&self.path) }
    }
}

/// Walks the tree below `start`; a `start` that is a file is the only entry.
///
/// # Errors
/// `start` is missing, is not granted, or cannot be listed.
pub fn walk(start: impl AsRef<Path>, options: Options) -> io::Result<Walk> {
    let path = fs::clean(start)?;
    let mut walk = Walk { options, levels: Vec::new(), ready: VecDeque::new(), below: None };
    match Dir::open(&path) {
        Ok(dir) => {
            let rules = if options.ignore { Rules::above(dir.path(), &mut walk.ready) } else { None };
            let mut entries = Vec::new();
            let mut unnamed = 0;
            for entry in dir.entries()? {
                match entry {
                    Ok(entry) => entries.push((entry.name().to_owned(), entry.file_type())),
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => unnamed += 1,
                    Err(error) => walk.ready.push_back(skipped(dir.path(), error.to_string())),
                }
            }
            walk.enter(dir.path(), entries, unnamed, rules);
        }
        Err(error) => match fs::metadata(&path) {
            Ok(there) if !there.is_dir() => {
                walk.ready.push_back(Step::Entry(Entry { path, file_type: there.file_type(), listed: false }));
            }
            _ => return Err(error),
        },
    }
    Ok(walk)
}

/// A walk under way.
#[derive(Debug)]
pub struct Walk {
    options: Options,
    levels: Vec<Level>,
    ready: VecDeque<Step>,
    /// The directory given last, to be entered next.
    below: Option<Below>,
}

/// A directory that is about to be entered.
#[derive(Debug)]
struct Below {
    rules: Option<Rc<Rules>>,
    path: String,
}

/// A directory that is being gone through.
#[derive(Debug)]
struct Level {
    dir: String,
    rules: Option<Rc<Rules>>,
    /// Sorted by name, the next one last.
    entries: Vec<(String, FileType)>,
}

impl Iterator for Walk {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(below) = self.below.take() {
                self.descend(below);
            }
            if let Some(step) = self.ready.pop_front() {
                return Some(step);
            }
            let level = self.levels.last_mut()?;
            let Some((name, file_type)) = level.entries.pop() else {
                self.levels.pop();
                continue;
            };
            let path = fs::join(&level.dir, &name);
            if self.options.leaves_out(level.rules.as_deref(), &name, &path, file_type) {
                continue;
            }
            if file_type.is_dir() && name != ".git" {
                let rules = level.rules.clone();
                if self.goes_deeper() {
                    self.below = Some(Below { rules, path: path.clone() });
                }
            }
            return Some(Step::Entry(Entry { path, file_type, listed: true }));
        }
    }
}

impl Walk {
    /// Does not enter the directory that was given last.
    pub fn prune(&mut self) {
        self.below = None;
    }

    fn descend(&mut self, below: Below) {
        let Below { rules, path } = below;
        match fs::list(&path) {
            Ok((entries, unnamed)) => self.enter(&path, entries, unnamed, rules),
            Err(error) => self.ready.push_back(skipped(&path, error.to_string())),
        }
    }

    fn goes_deeper(&self) -> bool {
        self.options.depth_max.is_none_or(|depth_max| self.levels.len() < depth_max)
    }

    fn enter(&mut self, dir: &str, mut entries: Vec<(String, FileType)>, unnamed: usize, above: Option<Rc<Rules>>) {
        for _ in 0..unnamed {
            self.ready.push_back(skipped(dir, "an entry's name is not UTF-8".to_owned()));
        }
        entries.sort_unstable_by(|(left, _), (right, _)| right.cmp(left));
        let rules = if self.options.ignore { Rules::inside(dir, &entries, above, &mut self.ready) } else { None };
        self.levels.push(Level { dir: dir.to_owned(), rules, entries });
    }
}

fn skipped(path: &str, reason: String) -> Step {
    Step::Skipped(Skipped { path: path.to_owned(), reason })
}

impl Options {
    fn leaves_out(self, rules: Option<&Rules>, name: &str, path: &str, file_type: FileType) -> bool {
        match rules.map_or(Judgement::Silent, |rules| rules.judge(path, file_type.is_dir())) {
            Judgement::Ignored => true,
            Judgement::Wanted => false,
            Judgement::Silent => !self.hidden && name.starts_with('.'),
        }
    }
}

#[cfg(test)]
mod tests;
