//! A run that is only looked at: the script runs, on what is known of earlier runs, and nothing else does. What would run, and what
//! a person would be asked, is told; nothing is recorded and nothing is spent.

use crate::runners::Runners;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use vespiary_kernel::admit::Admitted;
use vespiary_kernel::call::{Failure, Outcome};
use vespiary_kernel::change::ChangeSet;
use vespiary_kernel::event::Event;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::observed::Observation;
use vespiary_kernel::policy::Answer;
use vespiary_kernel::ports::{Approver, Asked, BoxFuture, Log, LogError, Runner, ScriptCell};
use vespiary_kernel::scope::Scope;

/// Questions that are told; a plan with more is read by nobody.
const QUESTIONS_MAX: usize = 1_000;

/// Runs scripts, and no call.
#[derive(Debug)]
pub struct Unrun(pub Runners);

impl Runner for Unrun {
    fn run(&self, _: Admitted) -> BoxFuture<'_, Outcome> {
        Box::pin(std::future::ready(Outcome::refused(Failure::Cancelled)))
    }

    fn unchanged(&self, root: &Path, scope: &Scope, seen: &[&Observation]) -> bool {
        self.0.unchanged(root, scope, seen)
    }

    fn is_base(&self, root: &Path, changes: &ChangeSet) -> bool {
        self.0.is_base(root, changes)
    }

    fn open_script(&self, admitted: Admitted) -> BoxFuture<'_, Result<Box<dyn ScriptCell>, Outcome>> {
        self.0.open_script(admitted)
    }
}

/// Keeps nothing.
#[derive(Debug)]
pub struct Unrecorded;

impl Log for Unrecorded {
    fn append(&self, _: &RunId, _: Event) -> Result<(), LogError> {
        Ok(())
    }

    fn flushed(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Says yes to everything, since nothing runs, and keeps what was asked.
#[derive(Debug, Default)]
pub struct Questions(Mutex<Vec<String>>);

impl Questions {
    /// What a person would be asked, a line each.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Approver for Questions {
    fn ask<'a>(&'a self, asked: Asked<'a>) -> BoxFuture<'a, Answer> {
        let mut questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if questions.len() < QUESTIONS_MAX {
            questions.push(format!("{}: {}", asked.question.tool, asked.question.place));
        }
        Box::pin(std::future::ready(Answer::Yes))
    }
}
