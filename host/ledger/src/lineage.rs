//! Which run goes on from which, and which were over the same project: read from how each of them began.

use crate::reader::{Reader, RunSummary};
use crate::store::LedgerError;
use std::collections::HashSet;
use vespiary_kernel::event::{Event, RunStatus};
use vespiary_kernel::ids::RunId;
use vespiary_kernel::json::Json;

/// The script of a run and what it takes to start it again, with the runs it goes on from, the nearest first and itself before them.
#[derive(Debug, Clone)]
pub struct Lineage {
    /// The run and those before it.
    pub runs: Vec<RunId>,
    /// The script's source.
    pub source: String,
    /// The script's name.
    pub title: String,
    /// The script's arguments.
    pub args: Json,
    /// The project directory.
    pub root: String,
    /// What the program that started it noted for itself.
    pub settings: Json,
}

/// How many runs may follow each other before one must be started anew; a chain that turns in a circle ends here too.
const LINEAGE_MAX: usize = 1_000;

impl Reader {
    /// What it takes to go on with `run`. `None` when it is no workflow, or one that an older version recorded.
    pub fn lineage(&self, run: &RunId) -> Result<Option<Lineage>, LedgerError> {
        let mut runs = vec![run.clone()];
        let mut found = None;
        loop {
            let mut start = None;
            let mut before = None;
            let here = &runs[runs.len() - 1];
            for event in self.opening(here)? {
                match event {
                    Event::RunStarted { title, args, root, .. } => start = Some((title, args, root)),
                    Event::RunPrepared { source, settings, resumes } => {
                        before = resumes;
                        if let (None, Some((title, args, root)), Some(source)) =
                            (&found, start.take(), self.value(&source)?)
                            && let Ok(source) = source.read::<String>()
                        {
                            found = Some(Lineage { runs: Vec::new(), source, title, args, root, settings });
                        }
                    }
                    _ => {}
                }
            }
            match before {
                Some(before) if runs.len() < LINEAGE_MAX && !runs.contains(&before) => runs.push(before),
                _ => break,
            }
        }
        Ok(found.map(|found| Lineage { runs, ..found }))
    }

    /// The latest run that goes on from `run`, directly or not; `run` itself where none does. Looks at the runs that began later.
    pub fn latest_of(&self, run: &RunId) -> Result<RunId, LedgerError> {
        let mut latest = run.clone();
        for later in self.started_after(run)? {
            if self.resumes(&later)?.as_ref() == Some(&latest) {
                latest = later;
            }
        }
        Ok(latest)
    }

    /// The runs over the project at `root`, newest first, in which a new one of the workflow `title` may find its answers: those of
    /// the same workflow up to one that completed, since its record has all that it asked for, and of others the last that did.
    /// At most `most`, among the latest `look_at`.
    pub fn workflows_over(
        &self,
        root: &str,
        title: &str,
        most: usize,
        look_at: usize,
    ) -> Result<Vec<RunId>, LedgerError> {
        let mut found = Vec::new();
        let mut whole = HashSet::new();
        for run in self.runs(look_at)? {
            let completed = run.status == RunStatus::Completed;
            if whole.contains(&run.title) || (!completed && run.title != title) {
                continue;
            }
            let over =
                |event: &Event| matches!(event, Event::RunStarted { root: of, script: Some(_), .. } if of == root);
            if self.opening(&run.id)?.first().is_some_and(over) {
                found.push(run.id);
                if completed {
                    whole.insert(run.title);
                }
            }
            if found.len() == most {
                break;
            }
        }
        Ok(found)
    }

    /// The runs over the project at `root`, newest first: at most `most`, among the latest `look_at`.
    pub fn runs_over(&self, root: &str, most: usize, look_at: usize) -> Result<Vec<RunSummary>, LedgerError> {
        let over = |event: &Event| matches!(event, Event::RunStarted { root: of, .. } if of == root);
        let mut found = Vec::new();
        for run in self.runs(look_at)? {
            if found.len() == most {
                break;
            }
            if self.opening(&run.id)?.first().is_some_and(over) {
                found.push(run);
            }
        }
        Ok(found)
    }

    fn resumes(&self, run: &RunId) -> Result<Option<RunId>, LedgerError> {
        Ok(match self.opening(run)?.pop() {
            Some(Event::RunPrepared { resumes, .. }) => resumes,
            _ => None,
        })
    }
}
