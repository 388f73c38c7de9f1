//! What `runs resume --plan` says: what is known of a run's work, and what would run now.
//!
//! `--json`: `{schema: "vespiary.plan/1", complete, reused, to_run, questions}`. `complete`: nothing would run. `reused` and
//! `to_run` are lists of `{label, agent_type}`, `agent_type` `null` for a tool that the script itself calls; `reused` has `from`,
//! `{run, call}`, too. What would follow from the answers of what would run cannot be known. `questions` are what a person would
//! be asked.

use super::{print_json, print_out};
use crate::cli::Output;
use crate::exit::{Exit, Trouble};
use crate::report::{count, thousands};
use crate::terminal::{Style, clipped, line};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use vespiary_fleet::drive::{Planned, RunReport};

/// Labels of one type that are shown.
const LABELS_SHOWN: usize = 10;

pub(super) fn show(ended: &RunReport, questions: Vec<String>, output: Output) -> Result<Exit, Trouble> {
    let (reused, to_run): (Vec<&Planned>, Vec<&Planned>) = ended.planned.iter().partition(|job| job.reused.is_some());
    if output.json {
        let shape = |job: &&Planned| {
            let mut shape = json!({ "label": job.label, "agent_type": job.agent_type });
            if let Some(origin) = &job.reused {
                shape["from"] = json!({ "run": origin.run, "call": origin.call });
            }
            shape
        };
        let list = |jobs: &[&Planned]| Value::from(jobs.iter().map(shape).collect::<Vec<_>>());
        print_json(&json!({
            "schema": "vespiary.plan/1", "complete": to_run.is_empty(),
            "reused": list(&reused), "to_run": list(&to_run), "questions": questions,
        }))?;
        return Ok(Exit::Done);
    }
    let style = Style::of_stdout();
    let mut out = format!("{} known already, and taken over\n", count(reused.len() as u64, "answer"));
    if to_run.is_empty() {
        out.push_str("nothing would run\n");
    } else {
        out.push_str(&format!("{} would run now:\n", style.bold(&count(to_run.len() as u64, "request"))));
        let mut by_type: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for job in &to_run {
            by_type.entry(job.agent_type.as_deref().unwrap_or("tools of the script")).or_default().push(&job.label);
        }
        for (of_type, labels) in by_type {
            out.push_str(&format!("  {} {}\n", thousands(labels.len() as u64), line(of_type)));
            for label in labels.iter().take(LABELS_SHOWN) {
                out.push_str(&format!("    {}\n", clipped(label, 100)));
            }
            if let Some(more) = labels.len().checked_sub(LABELS_SHOWN).filter(|more| *more > 0) {
                out.push_str(&format!("    {}\n", style.dim(&format!("and {} more", thousands(more as u64)))));
            }
        }
        out.push_str("and whatever the script makes of their answers\n");
    }
    for question in &questions {
        out.push_str(&format!("{} {}\n", style.yellow("a person would be asked about"), clipped(question, 200)));
    }
    print_out(out.trim_end())?;
    Ok(Exit::Done)
}
