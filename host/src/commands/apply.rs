//! `vespiary runs apply`, and the end of `vespiary run --apply`: what isolated agents changed goes into the project, or nothing does.
//! The record is verified, every path is judged again by what the run was granted, and every file is compared with what the
//! agents found, before the first one is written.
//!
//! `--json`: `{schema: "vespiary.apply/1", run, dir, outcome, changes, differs, conflicts}`; `outcome` is `applied`, `dry-run`,
//! `differs`, `conflicts` or `abandoned`; `changes` lists `{path, what}` (of what was abandoned, what is in place), `differs` `{path, why}`,
//! `conflicts` the conflicts.
#![allow(clippy::disallowed_methods, reason = "this is where the note of an unfinished apply is kept")]

use super::{print_json, print_out, runs};
use crate::apply::{Differs, Stopped, Target};
use crate::cli::Output;
use crate::exit::{Exit, Trouble};
use crate::paths::Home;
use crate::report::{count, what};
use crate::terminal::{Style, line};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use vespiary_kernel::change::merge::Conflict;
use vespiary_kernel::change::{Change, ChangeSet};
use vespiary_kernel::event::{Event, Payload};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{Digest, RunId};
use vespiary_kernel::scope::Scope;
use vespiary_kernel::sight::Sight;
use vespiary_ledger::reader::Reader;
use vespiary_ledger::verify::Verdict;

/// Paths listed for a person; `--json` lists all.
const LISTED_MAX: usize = 50;

/// Held while something is applied. No run is called so: it is no run id.
const LOCK: &str = ".lock";

/// How to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct How {
    /// Check everything and write nothing.
    pub(super) dry_run: bool,
    /// Leave the paths in conflict as they are, instead of refusing.
    pub(super) except_conflicts: bool,
    /// Write nothing more of one that was interrupted.
    pub(super) abandon: bool,
}

/// What the record says of a run's changes.
struct Recorded {
    root: PathBuf,
    changes: ChangeSet,
    conflicts: Vec<Conflict>,
    blobs: BTreeSet<Digest>,
}

#[derive(Serialize)]
struct Shape<'a> {
    schema: &'static str,
    run: &'a RunId,
    dir: &'a Path,
    outcome: &'static str,
    changes: Vec<serde_json::Value>,
    differs: Vec<serde_json::Value>,
    conflicts: &'a [Conflict],
}

pub(super) fn apply(id: &RunId, how: How, output: Output) -> Result<Exit, Trouble> {
    let home = Home::locate()?;
    let reader = Reader::open(&home.ledger())?;
    let run = runs::find(&reader, id)?.id;
    let recorded = recorded(&reader, &run)?;
    if how.abandon {
        return abandon(&home, &run, &recorded, output);
    }
    let (outcome, differs) = carry_out(&home, &reader, &run, &recorded, how)?;
    if output.json {
        print_json(&shape(&run, &recorded, outcome, &differs))?;
    } else {
        print_out(&text(&run, &recorded, outcome, &differs, Note::of(&home, &run).exists()))?;
    }
    Ok(if matches!(outcome, "applied" | "dry-run") { Exit::Done } else { Exit::Failed })
}

/// Apply at the end of a run, as `run --apply` does. Says in a line what became of it.
pub(super) fn at_end(home: &Home, run: &RunId) -> Result<String, Trouble> {
    let reader = Reader::open(&home.ledger())?;
    let recorded = recorded(&reader, run)?;
    let how = How { dry_run: false, except_conflicts: false, abandon: false };
    let (outcome, differs) = carry_out(home, &reader, run, &recorded, how)?;
    match outcome {
        "applied" => Ok(format!(
            "{} applied to {}",
            count(recorded.changes.len() as u64, "change"),
            line(&recorded.root.display().to_string())
        )),
        _ => Err(Trouble::failed(
            "the changes of the run were not applied",
            text(run, &recorded, outcome, &differs, false),
            format!("look at them with `vespiary runs apply {run} --dry-run`"),
        )),
    }
}

fn recorded(reader: &Reader, run: &RunId) -> Result<Recorded, Trouble> {
    let broken = |why: String| {
        let next = "do not apply it; `vespiary runs show RUN --verify` says more".to_owned();
        Trouble::failed(format!("the record of {run} cannot be trusted"), why, next)
    };
    if let Verdict::Broken(broke) = reader.verify(run)? {
        return Err(broken(broke.to_string()));
    }
    let (mut start, mut merged, mut ended, mut blobs) = (None, None, false, BTreeSet::new());
    for event in reader.events(run)? {
        match event?.event {
            Event::RunStarted { root, grant, .. } => start = Some((PathBuf::from(root), grant)),
            Event::AgentChanged { artifacts, .. } => blobs.extend(artifacts.iter().map(|artifact| artifact.digest)),
            Event::ChangesMerged { changes, conflicts, artifacts, .. } => {
                blobs.extend(artifacts.iter().map(|artifact| artifact.digest));
                merged = Some((changes, conflicts));
            }
            Event::RunEnded { .. } => ended = true,
            _ => {}
        }
    }
    let (Some((root, grant)), Some((changes, conflicts)), true) = (start, merged, ended) else {
        let why = if ended { "no isolated agent of it changed anything" } else { "it has not ended" };
        return Err(Trouble::usage(
            format!("{run} has no changes to apply"),
            why,
            "`vespiary runs list` names the runs",
        ));
    };
    let changes: ChangeSet = value(reader, &changes).and_then(|v| v.ok_or("it was not kept".into())).map_err(broken)?;
    let conflicts: Vec<Conflict> = value(reader, &conflicts).map_err(broken)?.unwrap_or_default();
    judge(&grant, &changes).map_err(broken)?;
    Ok(Recorded { root, changes, conflicts, blobs })
}

fn value<T: serde::de::DeserializeOwned>(reader: &Reader, payload: &Payload) -> Result<Option<T>, String> {
    let json = reader.value(payload).map_err(|error| error.what)?;
    json.map(|json| json.read().map_err(|error| error.to_string())).transpose()
}

/// Whether the run was granted every path that would be written. Its agents were held to that at each write, so a path that was
/// not granted is no mistake of theirs.
fn judge(grant: &Grant, changes: &ChangeSet) -> Result<(), String> {
    let rules = Scope::whole(grant.clone()).rules(None);
    match changes.iter().find(|(path, _)| rules.sight(path.as_str()) != Sight::Write) {
        None => Ok(()),
        Some((path, _)) => Err(format!("it changes {:?}, which the run was not granted", path.as_str())),
    }
}

fn carry_out(
    home: &Home,
    reader: &Reader,
    run: &RunId,
    recorded: &Recorded,
    how: How,
) -> Result<(&'static str, Vec<Differs>), Trouble> {
    let root = recorded.root.display().to_string();
    let failed = |error: io::Error| {
        let next = "nothing is lost: correct it and run the same command again".to_owned();
        Trouble::failed(format!("the changes of {run} cannot be applied to {}", line(&root)), error, next)
    };
    if !recorded.conflicts.is_empty() && !how.except_conflicts {
        return Ok(("conflicts", Vec::new()));
    }
    let note = Note::of(home, run);
    // Held to the end: two that apply at once would clear away each other's contents.
    let _alone = note.alone().map_err(failed)?;
    note.refuse_others(&recorded.root).map_err(failed)??;
    let target = Target::open(&recorded.root, run.as_str()).map_err(failed)?;
    let differs = target.differences(&recorded.changes, note.exists()).map_err(failed)?;
    if !differs.is_empty() {
        return Ok(("differs", differs));
    }
    if how.dry_run {
        return Ok(("dry-run", differs));
    }
    let begun = note.exists();
    note.write(&recorded.root).map_err(failed)?;
    let applied = target.apply(&recorded.changes, |digest| {
        // Only what the record of this very run names: a digest found elsewhere in the ledger is somebody else's content.
        let known = recorded.blobs.contains(digest);
        let content = if known { reader.blob(digest).map_err(|e| io::Error::other(e.to_string()))? } else { None };
        content.ok_or_else(|| io::Error::other(format!("the content {} was not kept", digest.short())))
    });
    match applied {
        Ok(()) => note.remove().map_err(failed)?,
        Err(Stopped::Before(error)) => {
            // Nothing is half-way, unless something was.
            if !begun {
                note.remove().map_err(failed)?;
            }
            return Err(failed(error));
        }
        Err(Stopped::Amid(error)) => return Err(failed(error)),
    }
    Ok(("applied", differs))
}

/// Leave what an interrupted apply has put in place as it is, and be done with it.
fn abandon(home: &Home, run: &RunId, recorded: &Recorded, output: Output) -> Result<Exit, Trouble> {
    let root = line(&recorded.root.display().to_string()).into_owned();
    let failed = |error: io::Error| {
        let next = "nothing is lost: correct it and run the same command again";
        Trouble::failed(format!("the changes of {run} in {root} cannot be given up"), error, next)
    };
    let note = Note::of(home, run);
    let _alone = note.alone().map_err(failed)?;
    if !note.exists() {
        return Err(Trouble::usage(
            format!("there is nothing of {run} to give up"),
            "no apply of its changes was interrupted",
            format!("`vespiary runs apply {run} --dry-run` says how they stand"),
        ));
    }
    // The directory may be gone, and with it what was half-way into it.
    let placed = match Target::open(&recorded.root, run.as_str()) {
        Ok(target) => {
            target.clear_staging().map_err(failed)?;
            target.in_place(&recorded.changes).map_err(failed)?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    note.remove().map_err(failed)?;
    let placed = placed.into_iter().filter_map(|path| Some((recorded.changes.at(path.as_str())?, path)));
    if output.json {
        let changes = placed.map(|(change, path)| serde_json::json!({ "path": path, "what": what(change) })).collect();
        print_json(&Shape { changes, ..shape(run, recorded, "abandoned", &[]) })?;
    } else {
        let rows: Vec<_> =
            placed.map(|(change, path)| format!("\n  {:<8} {}", what(change), line(path.as_str()))).collect();
        let head = format!(
            "given up: {} of {} in {root}, and nothing more is written",
            count(rows.len() as u64, "change"),
            recorded.changes.len()
        );
        print_out(&format!("{head}{}", rows.concat()))?;
    }
    Ok(Exit::Done)
}

/// A note that an apply has begun, in our own state directory; gone when it has ended.
struct Note {
    dir: PathBuf,
    path: PathBuf,
}

impl Note {
    fn of(home: &Home, run: &RunId) -> Self {
        let dir = home.state().join("applies");
        Self { path: dir.join(run.as_str()), dir }
    }

    /// Wait until nobody else of this user's applies anything.
    fn alone(&self) -> io::Result<fs::File> {
        fs::create_dir_all(&self.dir)?;
        let lock = fs::File::create(self.dir.join(LOCK))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(lock)
    }

    fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Refuse while another run's changes are half-way into the same directory.
    fn refuse_others(&self, root: &Path) -> io::Result<Result<(), Trouble>> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let other = path != self.path && !path.ends_with(LOCK);
            if other && fs::read_to_string(&path)? == root.display().to_string() {
                let other = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                return Ok(Err(Trouble::failed(
                    format!("the changes of {other} are half-way into this directory"),
                    "applying them was interrupted",
                    format!(
                        "finish it first: vespiary runs apply {other} --except-conflicts; or give it up: --abandon"
                    ),
                )));
            }
        }
        Ok(Ok(()))
    }

    fn write(&self, root: &Path) -> io::Result<()> {
        fs::write(&self.path, root.display().to_string())?;
        fs::File::open(&self.path)?.sync_all()
    }

    fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn shape<'a>(run: &'a RunId, recorded: &'a Recorded, outcome: &'static str, differs: &[Differs]) -> Shape<'a> {
    let change = |(path, change): (_, &Change)| serde_json::json!({ "path": path, "what": what(change) });
    let differ = |differs: &Differs| serde_json::json!({ "path": differs.path, "why": differs.why });
    Shape {
        schema: "vespiary.apply/1",
        run,
        dir: &recorded.root,
        outcome,
        changes: recorded.changes.iter().map(change).collect(),
        differs: differs.iter().map(differ).collect(),
        conflicts: &recorded.conflicts,
    }
}

fn text(run: &RunId, recorded: &Recorded, outcome: &str, differs: &[Differs], begun: bool) -> String {
    let style = Style::of_stdout();
    let dir = line(&recorded.root.display().to_string()).into_owned();
    let changes =
        recorded.changes.iter().map(|(path, change)| format!("  {:<8} {}", what(change), line(path.as_str())));
    let differing = differs.iter().map(|d| format!("  {}: {}", line(d.path.as_str()), line(&d.why)));
    let conflicts = recorded.conflicts.iter().map(|c| format!("  {:<12} {}", c.kind.as_str(), line(c.path.as_str())));
    let (head, rows): (String, Vec<String>) = match outcome {
        "applied" => (style.green(&format!("applied to {dir}:")), changes.collect()),
        "dry-run" => (format!("would be applied to {dir}, nothing was written:"), changes.collect()),
        "differs" if begun => (
            style.red(&format!(
                "not finished: an apply was interrupted, and since then {dir} has become neither as the agents found it nor as they left it:"
            )),
            differing.collect(),
        ),
        "differs" => (
            style.red(&format!("not applied: {dir} is not as the agents found it, nothing was written:")),
            differing.collect(),
        ),
        _ => (style.red("not applied: agents disagree, nothing was written:"), conflicts.collect()),
    };
    let mut out = head;
    rows.iter().take(LISTED_MAX).for_each(|row| out.push_str(&format!("\n{row}")));
    if let Some(more) = rows.len().checked_sub(LISTED_MAX).filter(|more| *more > 0) {
        out.push_str(&format!("\n  and {more} more; --json lists all"));
    }
    if outcome == "differs" && begun {
        out.push_str(&format!(
            "\nput these back and run the same command again, or give it up: vespiary runs apply {run} --abandon"
        ));
    }
    if outcome == "conflicts" {
        out.push_str(&format!("\napply the rest with: vespiary runs apply {run} --except-conflicts"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Result<ChangeSet, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn what_was_not_granted_is_not_applied_whatever_the_record_says() {
        let grant = |caps: &[&str]| Grant::of_run(caps.iter().map(|c| c.parse().unwrap()));
        let (wide, narrow) = (grant(&["read:.", "write:."]), grant(&["read:.", "write:out"]));
        let made = |path: &str| set(&serde_json::json!({ path: { "after": "directory" } }).to_string()).unwrap();
        judge(&wide, &made("src/x")).unwrap();
        judge(&narrow, &made("out/x")).unwrap();
        for (grant, path) in [
            (&narrow, "src/x"),
            (&narrow, "outer"),
            (&wide, ".env"),
            (&wide, ".git/hooks/pre-commit"),
            (&wide, "sub/.git"),
            (&wide, "deploy/id_rsa"),
        ] {
            assert!(judge(grant, &made(path)).unwrap_err().contains(path), "{path}");
        }
        assert!(set(r#"{"../x":{"after":"directory"}}"#).is_err());
    }

    #[test]
    fn an_unfinished_apply_of_another_run_is_in_the_way_and_ones_own_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let note = |run: &str| {
            let dir = temp.path().join("applies");
            Note { path: dir.join(run), dir }
        };
        let root = Path::new("/srv/tree");
        let alone = note("one").alone().unwrap();
        assert!(
            rustix::fs::flock(
                fs::File::open(temp.path().join("applies").join(LOCK)).unwrap(),
                rustix::fs::FlockOperation::NonBlockingLockExclusive
            )
            .is_err()
        );
        drop(alone);
        note("one").refuse_others(root).unwrap().unwrap();
        note("one").write(root).unwrap();
        note("one").refuse_others(root).unwrap().unwrap();
        note("two").refuse_others(Path::new("/srv/other")).unwrap().unwrap();
        let refused = note("two").refuse_others(root).unwrap().unwrap_err();
        assert!(refused.next.contains("runs apply one"), "{refused:?}");
        note("one").remove().unwrap();
        note("two").refuse_others(root).unwrap().unwrap();
    }
}
