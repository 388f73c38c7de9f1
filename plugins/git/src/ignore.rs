//! Ignore rules: `.gitignore` of each directory and `info/exclude`. What must never live here: the walk that asks.
//!
//! The user's own list (`core.excludesFile`) lies outside the project and is not seen.

use crate::disk;
use crate::repository::{Repository, beside};
use gix_ignore::glob::pattern::Case;
use gix_ignore::glob::search::pattern::List;
use gix_ignore::search::{Ignore, pattern_matching_relative_path};
use gix_object::bstr::ByteSlice;
use std::io;
use std::path::Path;
use std::rc::Rc;

/// Largest list of rules read, in bytes.
const RULES_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The rules that hold in a directory: its own, then those of the directories above.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Option<Rc<Layer>>);

#[derive(Debug)]
struct Layer {
    list: List<Ignore>,
    above: Rules,
}

impl Rules {
    /// What holds everywhere in a repository.
    pub(crate) fn of(repository: &Repository) -> io::Result<Self> {
        Self::default().with(&beside(&repository.common_dir, "info/exclude"), "exclude")
    }

    /// With the rules of a directory added. `dir` is relative to the root of the working tree, empty for the root itself.
    pub(crate) fn enter(&self, work_dir: &str, dir: &str) -> io::Result<Self> {
        let source = if dir.is_empty() { ".gitignore".to_owned() } else { format!("{dir}/.gitignore") };
        self.with(&beside(work_dir, &source), &source)
    }

    fn with(&self, file: &str, source: &str) -> io::Result<Self> {
        let Some(text) = disk::small(file, RULES_BYTES_MAX)? else { return Ok(self.clone()) };
        let list = List::from_bytes(&text, source.into(), Some(Path::new("")), Ignore::default())?;
        if list.patterns.is_empty() {
            return Ok(self.clone());
        }
        Ok(Self(Some(Rc::new(Layer { list, above: self.clone() }))))
    }

    /// Whether a path in this directory is ignored. The directory itself must not be: nothing below an ignored one counts.
    pub(crate) fn ignore(&self, path: &str, is_dir: bool) -> bool {
        let name_at = path.rfind('/').map(|slash| slash + 1);
        let mut at = self;
        while let Some(layer) = &at.0 {
            let path = path.as_bytes().as_bstr();
            if let Some(rule) =
                pattern_matching_relative_path(&layer.list, path, name_at, Some(is_dir), Case::Sensitive)
            {
                return !rule.pattern.is_negative();
            }
            at = &layer.above;
        }
        false
    }
}
