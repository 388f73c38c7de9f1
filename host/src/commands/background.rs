//! `vespiary runs watch` and `runs stop`: a run that another process drives, seen and ended from here. What is seen comes from the
//! ledger, so it can be watched from any terminal of the same user, and as often as one likes.
//!
//! `--json`: `watch` prints, at the end, what `runs show` prints; `stop` prints `{schema: "vespiary.run-stop/1", run, asked}`.

use super::{print_json, print_out, runs};
use crate::cli::Output;
use crate::exit::{Exit, Trouble};
use crate::live::{self, GLANCE};
use crate::paths::Home;
use crate::progress::{Display, Total};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vespiary_fleet::watch::{Progress, Watch as _};
use vespiary_kernel::event::{Event, RunStatus};
use vespiary_kernel::gate::Decision;
use vespiary_kernel::ids::{AgentId, Digest, RunId};
use vespiary_ledger::reader::{Reader, RunSummary};
use vespiary_ledger::store::FaultKind;

pub(super) fn watch(id: &RunId, output: Output) -> Result<Exit, Trouble> {
    let home = Home::locate()?;
    let (reader, run) = wait_for(&home, id)?;
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    // Of every agent the ledger tells, whoever started it.
    let totals = move || Total { calls: counted.load(Ordering::Relaxed), agents_of_agents: 0 };
    let display = (!output.json).then(|| Display::start(Arc::new(totals)));
    let ended = follow(&home, &reader, &run, display.as_deref(), &calls);
    if let Some(display) = &display {
        display.finish();
    }
    match ended? {
        Some(status) => {
            runs::show(&run.id, runs::Show { events: false, verify: false }, output)?;
            Ok(Exit::of_run(status))
        }
        None => Err(Trouble::failed(
            format!("{} has no end", run.id),
            "no process drives it any more: it was killed, or the machine was switched off",
            format!("what was recorded is kept: `vespiary runs resume {}` goes on with it", run.id),
        )),
    }
}

/// A run that has just been started may not be in the ledger yet.
fn wait_for(home: &Home, id: &RunId) -> Result<(Reader, RunSummary), Trouble> {
    loop {
        let live = live::is_live(home, id);
        match Reader::open(&home.ledger()) {
            Ok(reader) => match reader.run(id) {
                Err(error) if live && error.kind == FaultKind::Missing => {}
                _ => return runs::find(&reader, id).map(|run| (reader, run)),
            },
            Err(error) if live && error.kind == FaultKind::Missing => {}
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(GLANCE);
    }
}

/// Tell the display what happens until the run ends. None: its process is gone.
fn follow(
    home: &Home,
    reader: &Reader,
    run: &RunSummary,
    display: Option<&Display>,
    calls: &AtomicU64,
) -> Result<Option<RunStatus>, Trouble> {
    let see = |progress: Progress<'_>| {
        if let Some(display) = display {
            display.see(progress);
        }
    };
    // Phases that are over took as long as they took, and not as long as reading about them does: they are left out.
    let mut phase_now = 0;
    for recorded in reader.events(&run.id)? {
        let recorded = recorded?;
        if matches!(recorded.event, Event::Phase { .. }) {
            phase_now = recorded.seq;
        }
    }
    see(Progress::Checked { name: &run.title, phases: &[] });
    let (mut seq, mut labels) = (0, HashMap::<AgentId, String>::new());
    let mut gates = HashMap::<Digest, String>::new();
    loop {
        // Asked before reading: whatever it wrote before its end is then read.
        let live = live::is_live(home, &run.id);
        for recorded in reader.events_after(&run.id, seq)? {
            let recorded = recorded?;
            seq = recorded.seq;
            match &recorded.event {
                Event::Phase { title } if seq >= phase_now => see(Progress::Phase(title)),
                Event::Log { text } => see(Progress::Log(text)),
                Event::WorkflowStarted { name, .. } => see(Progress::WorkflowStarted(name)),
                Event::GateOpened { gate, title, check: None, .. } => {
                    see(Progress::GateOpened { gate: *gate, title });
                    gates.insert(*gate, title.clone());
                }
                Event::GateDecided { gate, approved, by, note, at_ms } => {
                    let (by, note) = (by.clone(), note.clone());
                    let decision = Decision { approved: *approved, by, note, at_ms: *at_ms };
                    let title = gates.get(gate).map_or("", String::as_str);
                    see(Progress::GateDecided { title, decision: &decision });
                }
                Event::CallIntended { .. } => drop(calls.fetch_add(1, Ordering::Relaxed)),
                Event::AgentStarted { agent, label, .. } => {
                    see(Progress::AgentQueued);
                    see(Progress::AgentStarted { agent: *agent, label });
                    labels.insert(*agent, label.clone());
                }
                Event::AgentEnded { agent, failure } => {
                    let label = labels.remove(agent).unwrap_or_default();
                    see(Progress::AgentEnded { agent: *agent, label: &label, failure: failure.as_ref() });
                }
                Event::RunEnded { status, .. } => return Ok(Some(*status)),
                _ => {}
            }
        }
        if !live {
            return Ok(None);
        }
        std::thread::sleep(GLANCE);
    }
}

pub(super) fn stop(id: &RunId, now: bool, output: Output) -> Result<Exit, Trouble> {
    let home = Home::locate()?;
    let (_, run) = wait_for(&home, id)?;
    // A process that is writing its report lives on for a moment after the run has its end.
    if run.status != RunStatus::Running || !live::is_live(&home, &run.id) {
        let what = format!("{} cannot be stopped", run.id);
        return Err(match run.status {
            RunStatus::Running => Trouble::failed(
                what,
                "no process drives it any more",
                format!("what was recorded is kept: `vespiary runs show {}`", run.id),
            ),
            ended => {
                Trouble::usage(what, format!("it has ended: {}", ended.as_str()), "`vespiary runs list` names the runs")
            }
        });
    }
    live::ask_to_stop(&home, &run.id, now)?;
    if output.json {
        let asked = if now { "now" } else { "gently" };
        print_json(&serde_json::json!({ "schema": "vespiary.run-stop/1", "run": run.id, "asked": asked }))?;
    } else if now {
        print_out(&format!("{}: asked to end every cell; what is recorded is kept", run.id))?;
    } else {
        print_out(&format!(
            "{0}: asked to stop: agents that run may finish, no new one starts; `vespiary runs stop {0} --now` ends them",
            run.id
        ))?;
    }
    Ok(Exit::Done)
}
