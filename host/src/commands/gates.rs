//! `vespiary runs approve` and `runs deny`: a person's decision on a gate, from any terminal of the same user. A run that goes on
//! takes it up at once; one that has ended has it added to its record, where whatever resumes the run finds it. The first
//! decision holds, whoever else makes one.
//!
//! `--json`: `{schema: "vespiary.gate/1", run, gate, title, approved, by, at, note, goes_on}`.

use super::{print_json, print_out, runs};
use crate::cli::Output;
use crate::decide::{Decided, Wanted};
use crate::exit::{Exit, Trouble};
use crate::gates::user;
use crate::paths::Home;
use crate::terminal::clipped;
use vespiary_ledger::reader::Reader;

/// The longest note, bytes.
const NOTE_BYTES_MAX: usize = 2_000;

pub(super) fn decide(wanted: Wanted<'_>, output: Output) -> Result<Exit, Trouble> {
    if let Some(note) = wanted.note.filter(|note| note.len() > NOTE_BYTES_MAX) {
        let why = format!("it has {} bytes; at most {NOTE_BYTES_MAX} are kept", note.len());
        return Err(Trouble::usage("the note is too long", why, "shorten it"));
    }
    let home = Home::locate()?;
    let run = runs::find(&Reader::open(&home.ledger())?, wanted.run)?.id;
    let Decided { gate, decision, goes_on } = crate::decide::decide(&home, Wanted { run: &run, ..wanted }, user())?;
    if output.json {
        print_json(&serde_json::json!({
            "schema": "vespiary.gate/1", "run": run, "gate": gate.digest, "title": gate.title, "approved": decision.approved,
            "by": decision.by, "at": decision.at(), "note": decision.note, "goes_on": goes_on,
        }))?;
    } else {
        let word = if decision.approved { "approved" } else { "denied" };
        let next = match goes_on {
            true => "the run goes on".to_owned(),
            false => format!("`vespiary runs resume {run}` goes on with it"),
        };
        print_out(&format!("{word}: {} (gate {}); {next}", clipped(&gate.title, 200), gate.digest.short()))?;
    }
    Ok(Exit::Done)
}
