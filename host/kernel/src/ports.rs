//! What the dispatcher needs from the world, as traits. Pillars implement them; the kernel knows no implementation.

use crate::admit::Admitted;
use crate::call::Outcome;
use crate::change::ChangeSet;
use crate::event::Event;
use crate::ids::{AgentId, Digest, RunId, ToolName};
use crate::json::Json;
use crate::observed::Observation;
use crate::plugin::Plugin;
use crate::policy::{Answer, Question};
use crate::reuse::{Doubt, Origin, Past};
use crate::scope::Scope;
use crate::script::{Budget, Completion, ScriptError, Turn};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

/// A boxed future, as the traits below return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs what was admitted, and only that.
pub trait Runner: Send + Sync {
    /// Run one tool call or agent task in a fresh cell. Every way a guest can end is an outcome; this never panics because of
    /// a guest. Dropping the future ends the cell.
    fn run(&self, admitted: Admitted) -> BoxFuture<'_, Outcome>;

    /// Whether a call under `scope` in the project at `root` would meet everything in `seen` as it was seen. Blocks for reading it.
    fn unchanged(&self, _root: &Path, _scope: &Scope, _seen: &[&Observation]) -> bool {
        false
    }

    /// Whether everything that `changes` changes in the project at `root` is still what it was before. Blocks for reading it.
    fn is_base(&self, _root: &Path, _changes: &ChangeSet) -> bool {
        false
    }

    /// Open a script engine's cell, which lives until dropped.
    fn open_script(&self, admitted: Admitted) -> BoxFuture<'_, Result<Box<dyn ScriptCell>, Outcome>>;
}

/// A live script engine. After an `Err` the cell is dead and every further call gives the same error.
pub trait ScriptCell: Send {
    /// Read `meta` and check the syntax, running nothing.
    fn check<'a>(&'a mut self, source: &'a str) -> BoxFuture<'a, Result<Result<Json, ScriptError>, Outcome>>;

    /// Run the script until it waits or ends. Call once.
    fn start<'a>(&'a mut self, source: &'a str, args: &'a Json, budget: Budget)
    -> BoxFuture<'a, Result<Turn, Outcome>>;

    /// Hand in answers, with the tokens that models have cost the run by now, and run on.
    fn step(&mut self, completions: Vec<Completion>, spent: u64) -> BoxFuture<'_, Result<Turn, Outcome>>;

    /// What the cell has used so far; the final outcome's usage when the session closes.
    fn usage(&self) -> crate::call::Usage;
}

/// The record. Appending is quick and in order; what is appended reaches the disk in groups.
pub trait Log: Send + Sync {
    /// Append one event to a run's chain. After an error nothing more is accepted: no record, no run. May block the thread
    /// for a moment when the disk falls behind.
    fn append(&self, run: &RunId, event: Event) -> Result<(), LogError>;

    /// Resolves when everything appended so far is on disk.
    fn flushed(&self) -> BoxFuture<'_, Result<(), LogError>>;
}

/// Why the ledger cannot record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {remedy}")]
pub struct LogError {
    /// What happened, with the file.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// What can be called.
pub trait Catalog: Send + Sync {
    /// The plugin a tool belongs to. Whether the plugin really has that tool, its component says.
    fn find(&self, tool: &ToolName) -> Option<Arc<Plugin>>;

    /// The bytes of a component of this catalog.
    fn component(&self, digest: &Digest) -> Option<Cow<'static, [u8]>>;

    /// Names to suggest when `find` found nothing.
    fn names(&self) -> Vec<String>;
}

/// Knows what earlier calls came to. What it tells is judged, and looked at again, before it counts.
pub trait Recall: Send + Sync {
    /// How many finished calls this key names.
    fn count(&self, key: &Digest) -> usize;

    /// The `nth` of them, those of the nearest run first; `None` where it stands for another call already, or cannot be read back.
    fn past(&self, key: &Digest, nth: usize) -> Option<Past>;

    /// Have `past` stand for one call now. False where it does for another already.
    fn take(&self, past: &Past) -> bool;

    /// A call of this key that was allowed to change something, and of which nobody knows whether it did. Told once.
    fn take_interrupted(&self, key: &Digest) -> Option<Origin>;

    /// What to do about one.
    fn doubt(&self) -> Doubt;

    /// Whether the runs that this one goes on from may themselves have changed what is at `path`.
    fn may_have_changed(&self, path: &str) -> bool;

    /// What a finished call of an isolated agent changed; `None` where that is not known.
    fn changes(&self, origin: &Origin) -> Option<ChangeSet>;

    /// The recorded contents that a change set names, by digest.
    fn contents(&self, changes: &ChangeSet) -> BTreeMap<Digest, Arc<[u8]>>;
}

/// Remembers nothing: every call runs.
#[derive(Debug, Clone, Copy)]
pub struct NoRecall;

impl Recall for NoRecall {
    fn count(&self, _: &Digest) -> usize {
        0
    }
    fn past(&self, _: &Digest, _: usize) -> Option<Past> {
        None
    }
    fn take(&self, _: &Past) -> bool {
        false
    }
    fn take_interrupted(&self, _: &Digest) -> Option<Origin> {
        None
    }
    fn doubt(&self) -> Doubt {
        Doubt::Ask
    }
    fn may_have_changed(&self, _: &str) -> bool {
        false
    }
    fn changes(&self, _: &Origin) -> Option<ChangeSet> {
        None
    }
    fn contents(&self, _: &ChangeSet) -> BTreeMap<Digest, Arc<[u8]>> {
        BTreeMap::new()
    }
}

/// One call that waits for a person.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The run it belongs to.
    pub run: &'a RunId,
    /// Who would make it.
    pub agent: AgentId,
    /// What it would be called with. From a script, a model or a guest.
    pub arguments: &'a Json,
    /// What is asked.
    pub question: &'a Question,
}

/// Asks a person.
pub trait Approver: Send + Sync {
    /// Whether the call may run. No person, no answer, or no time: nobody, and that is as good as no. Dropping the future
    /// takes the question back.
    fn ask<'a>(&'a self, asked: Asked<'a>) -> BoxFuture<'a, Answer>;
}
