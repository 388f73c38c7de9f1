//! Walking from commit to commit, newest first. What must never live here: how a commit is told.

use crate::commit::Commit;
use crate::repository::Repository;
use crate::tree::{self, Paths, TreeEntry};
use gix_hash::ObjectId;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use vespiary_sdk::Error;

/// Most commits met in one walk.
const COMMITS_MAX: usize = 1_500_000;

/// Which commits are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Only those that changed one of these.
    pub(crate) paths: Paths,
    /// Only those committed at or after this time, in seconds since 1970.
    pub(crate) since: Option<i64>,
    /// Only those committed at or before this time.
    pub(crate) until: Option<i64>,
    /// Only those whose author's name or address contains this, in lower case.
    pub(crate) author: Option<String>,
}

/// A walk over the ancestors of some commits, newest first and in Git's order.
pub(crate) struct History<'a> {
    repository: &'a Repository,
    wanted: Wanted,
    /// The range's own end, and what is reached from it: left out.
    without: Option<ObjectId>,
    excluded: HashSet<ObjectId>,
    met: HashSet<ObjectId>,
    /// By time, then in the order they were met.
    waiting: BinaryHeap<(i64, Reverse<usize>, Reverse<ById>)>,
}

/// A commit that takes part in no ordering: time and turn are unique.
struct ById(Commit);

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl<'a> History<'a> {
    /// The ancestors of `from`, itself included, but not those of `without`.
    ///
    /// # Errors
    /// A commit cannot be read.
    pub(crate) fn new(
        repository: &'a Repository,
        from: ObjectId,
        without: Option<ObjectId>,
        wanted: Wanted,
    ) -> Result<Self, Error> {
        let excluded = without.map_or_else(|| Ok(HashSet::new()), |id| ancestors(repository, id))?;
        let (met, waiting) = (HashSet::new(), BinaryHeap::new());
        let mut history = Self { repository, wanted, without, excluded, met, waiting };
        history.meet(from)?;
        Ok(history)
    }

    /// The next commit that is wanted.
    ///
    /// # Errors
    /// A commit or a tree cannot be read, or there are too many.
    pub(crate) fn advance(&mut self) -> Result<Option<Commit>, Error> {
        while let Some((_, _, Reverse(ById(commit)))) = self.waiting.pop() {
            let parents = self.repository.parents(&commit);
            if self.wanted.since.is_some_and(|since| commit.seconds < since) {
                continue;
            }
            let (follow, changed) = self.simplify(&commit, parents)?;
            for parent in follow {
                self.meet(parent)?;
            }
            let in_time = self.wanted.until.is_none_or(|until| commit.seconds <= until);
            let by_author = self.wanted.author.as_ref().is_none_or(|author| commit.is_by(author));
            if changed && in_time && by_author {
                return Ok(Some(commit));
            }
        }
        Ok(None)
    }

    /// The parents to go on with, and whether the commit changed anything wanted. As Git does by default, a merge that took
    /// one side as it was leads on along that side only. A side outside the range would lead nowhere and hide what the others
    /// did, so it has no say where there is another; the range's own end has.
    fn simplify(&self, commit: &Commit, parents: Vec<ObjectId>) -> Result<(Vec<ObjectId>, bool), Error> {
        if self.wanted.paths.each().is_empty() {
            return Ok((parents, true));
        }
        let here = self.standing(commit.tree())?;
        if parents.is_empty() {
            return Ok((parents, here.iter().any(Option::is_some)));
        }
        let (mut inside, mut differs_outside) = (false, false);
        for parent in &parents {
            let has_say = !self.excluded.contains(parent) || self.without == Some(*parent);
            let parent = Commit::read(&self.repository.objects, *parent)?;
            let same = self.standing(parent.tree())? == here;
            if same && has_say {
                return Ok((vec![parent.id], false));
            }
            inside |= has_say;
            differs_outside |= !same && !has_say;
        }
        Ok((parents, inside || differs_outside))
    }

    fn standing(&self, tree: ObjectId) -> Result<Vec<Option<TreeEntry>>, Error> {
        let paths = self.wanted.paths.each().iter();
        Ok(paths.map(|path| tree::find(&self.repository.objects, tree, path)).collect::<Result<_, _>>()?)
    }

    fn meet(&mut self, id: ObjectId) -> Result<(), Error> {
        if !self.excluded.contains(&id) && self.met.insert(id) {
            check_count(self.excluded.len() + self.met.len())?;
            let commit = Commit::read(&self.repository.objects, id)?;
            self.waiting.push((commit.seconds, Reverse(self.met.len()), Reverse(ById(commit))));
        }
        Ok(())
    }
}

fn ancestors(repository: &Repository, from: ObjectId) -> Result<HashSet<ObjectId>, Error> {
    let mut met = HashSet::from([from]);
    let mut waiting = vec![from];
    while let Some(id) = waiting.pop() {
        check_count(met.len())?;
        let commit = Commit::read(&repository.objects, id)?;
        waiting.extend(repository.parents(&commit).into_iter().filter(|parent| met.insert(*parent)));
    }
    Ok(met)
}

fn check_count(met: usize) -> Result<(), Error> {
    if met > COMMITS_MAX {
        return Err(Error::failed(format!(
            "the walk met more than {COMMITS_MAX} commits; name `since` or a range a..b"
        )));
    }
    Ok(())
}
