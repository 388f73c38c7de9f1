//! What the dispatcher needs from the world, as traits. Pillars implement them; the kernel knows no implementation.

use crate::admit::Admitted;
use crate::call::Outcome;
use crate::event::Event;
use crate::ids::{AgentId, Digest, RunId, ToolName};
use crate::json::Json;
use crate::plugin::Plugin;
use crate::policy::{Answer, Question};
use crate::script::{Budget, Completion, ScriptError, Turn};
use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A boxed future, as the traits below return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs what was admitted, and only that.
pub trait Runner: Send + Sync {
    /// Run one tool call or agent task in a fresh cell. Every way a guest can end is an outcome; this never panics because of
    /// a guest. Dropping the future ends the cell.
    fn run(&self, admitted: Admitted) -> BoxFuture<'_, Outcome>;

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
