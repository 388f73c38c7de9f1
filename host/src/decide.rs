//! A person's decision on a gate, made away from the run's own terminal. A run that goes on takes it up at once; one that has ended
//! has it added to its record, where whatever resumes the run finds it. The first decision holds, whoever else makes one. Who
//! the person is, and that it is one, is for the caller to know.

use crate::exit::Trouble;
use crate::gates::now_ms;
use crate::live::{self, GLANCE, Live};
use crate::paths::Home;
use crate::report::record::{Gate, Record};
use crate::report::timestamp;
use crate::terminal::{clipped, line};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use vespiary_kernel::event::{Event, RunStatus};
use vespiary_kernel::gate::Decision;
use vespiary_kernel::ids::{Digest, RunId};
use vespiary_kernel::ports::Log as _;
use vespiary_ledger::ledger::Ledger;
use vespiary_ledger::reader::Reader;

/// A decision as it was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The run.
    pub run: &'a RunId,
    /// A gate's digest, or a beginning of it that no other gate of the run has; none where there is only one to decide.
    pub gate: Option<&'a str>,
    /// Yes or no.
    pub approved: bool,
    /// What is added.
    pub note: Option<&'a str>,
}

/// A decision that holds.
#[derive(Debug, Clone)]
pub struct Decided {
    /// What it is about.
    pub gate: Gate,
    /// The decision.
    pub decision: Decision,
    /// Whether the run goes on with it; otherwise it has ended, and can be resumed.
    pub goes_on: bool,
}

/// Decide a gate of a run in the name of `by`. Blocks until the run has taken it up.
///
/// # Errors
/// There is no such gate, it is decided already, or its time is over.
pub fn decide(home: &Home, wanted: Wanted<'_>, by: String) -> Result<Decided, Trouble> {
    let run = wanted.run;
    let gate = chosen(&record(home, run)?, wanted.gate)?;
    let (approved, note) = (wanted.approved, wanted.note.map(str::to_owned));
    let decision = Decision { approved, by, note, at_ms: now_ms() };
    let mut left = false;
    let goes_on = loop {
        // One after the other: two that say the same in the same millisecond could not be told apart afterwards.
        let turn = turn(home)?;
        match Live::take(home, run)? {
            // Nobody drives the run, and nobody can begin to while this is held.
            Some(_alone) => {
                chosen(&record(home, run)?, Some(&gate.digest.to_string()))?;
                append(home, run, &gate, &decision)?;
                break false;
            }
            None => {
                let lies_there = live::leave_decision(home, run, &gate.digest, &decision)?;
                match lies_there {
                    None => left = true,
                    // One that was left in vain a moment ago is this very one.
                    Some(first) if left && first == decision => {}
                    Some(first) => return Err(decided(&gate, &first)),
                }
                drop(turn);
                if taken_up(home, run, &gate, &decision)? {
                    break true;
                }
            }
        }
    };
    Ok(Decided { gate, decision, goes_on })
}

/// The record of a run.
fn record(home: &Home, run: &RunId) -> Result<Record, Trouble> {
    Record::read(&Reader::open(&home.ledger())?, run)
}

/// The gate that a person can decide and means: the only one whose digest begins with `prefix`, or the only one that is open.
///
/// A script chooses what its gates are about, and so can have two begin alike. Whoever gives a beginning has seen one of them; if it has
/// been decided or has expired meanwhile, the other must not be taken for it. So a beginning counts for all gates there were.
///
/// # Errors
/// There is none, there are several, or it is too late.
pub fn chosen(record: &Record, prefix: Option<&str>) -> Result<Gate, Trouble> {
    let what = || format!("no gate of {} can be decided", record.id);
    let show = format!("`vespiary runs show {}` lists its gates", record.id);
    if matches!(record.status, RunStatus::Completed | RunStatus::Degraded) {
        let why = format!("the run has ended: {}", record.status.as_str());
        return Err(Trouble::usage(what(), why, show));
    }
    if let Some(prefix) = prefix.filter(|p| p.len() < 4 || !p.bytes().all(|b| b.is_ascii_hexdigit())) {
        let why = format!("{prefix:?} is not the beginning of a gate's digest: at least 4 hex digits");
        return Err(Trouble::usage(what(), why, show));
    }
    let named = prefix.unwrap_or_default().to_ascii_lowercase();
    let begins = |gate: &&Gate| gate.digest.to_string().starts_with(&named);
    if prefix.is_some() {
        // The same one may stand there more than once: asked again when it had been decided.
        let alike: BTreeMap<Digest, &Gate> =
            record.gates.iter().filter(begins).map(|gate| (gate.digest, gate)).collect();
        if alike.len() > 1 {
            let list: Vec<_> = alike.into_values().map(whole_name).collect();
            let why = format!("{} gates of the run begin with {named}: {}", list.len(), list.join("; "));
            return Err(Trouble::usage(what(), why, "look at what each is about, and give the whole digest of one"));
        }
    }
    let people = record.gates.iter().filter(|gate| gate.check.is_none());
    let meant: Vec<&Gate> = people.filter(begins).collect();
    let now = now_ms();
    let open: Vec<&Gate> = meant.iter().copied().filter(|gate| gate.state(now) == "open").collect();
    match (&open[..], &meant[..]) {
        ([gate], _) => Ok((*gate).clone()),
        ([], []) if prefix.is_some() => Err(Trouble::usage(what(), format!("none begins with {named}"), show)),
        ([], []) => Err(Trouble::usage(what(), "it has opened none", show)),
        // Which one was meant is clear, and it is too late.
        ([], [.., gate]) => Err(match (&gate.decision, gate.expires_ms) {
            (Some(first), _) => decided(gate, first),
            (None, at) => {
                let at = timestamp(at.unwrap_or_default().saturating_mul(1_000));
                let why = format!("its time was over at {at}, and it counts as denied");
                Trouble::usage(format!("{} cannot be decided any more", name(gate)), why, show)
            }
        }),
        (several, _) => {
            let list: Vec<_> = several.iter().map(|gate| name(gate)).collect();
            let why = format!("{} are open: {}", several.len(), list.join("; "));
            Err(Trouble::usage(what(), why, "name one by the beginning of its digest"))
        }
    }
}

fn name(gate: &Gate) -> String {
    format!("{} {:?}", gate.digest.short(), clipped(&gate.title, 80))
}

/// The same where the beginning does not tell one from another.
fn whole_name(gate: &Gate) -> String {
    format!("{} {:?}", gate.digest, clipped(&gate.title, 80))
}

/// Wait for those who are deciding; whoever comes next waits while this is held.
fn turn(home: &Home) -> Result<OwnedFd, Trouble> {
    let lock = || {
        let ledger = home.ledger();
        let dir = ledger.parent().unwrap_or(&ledger);
        let dir = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::flock(&dir, FlockOperation::LockExclusive)?;
        Ok::<_, rustix::io::Errno>(dir)
    };
    lock().map_err(|error| Trouble::failed("nothing can be decided", error, "give this user its state directory back"))
}

fn decided(gate: &Gate, first: &Decision) -> Trouble {
    let word = if first.approved { "approved" } else { "denied" };
    let why = format!("{} {word} it at {}, and the first decision holds", line(&first.by), first.at());
    Trouble::usage(format!("{} is decided already", name(gate)), why, "start another run to have it decided anew")
}

/// Add a decision to the record of a run that nobody drives.
fn append(home: &Home, run: &RunId, gate: &Gate, decision: &Decision) -> Result<(), Trouble> {
    let Decision { approved, by, note, at_ms } = decision.clone();
    let ledger = Ledger::open(&home.ledger())?;
    ledger.append(run, Event::GateDecided { gate: gate.digest, approved, by, note, at_ms })?;
    ledger.close()?;
    Ok(())
}

/// Wait until the process that drives the run has recorded the decision. False: it ended without.
fn taken_up(home: &Home, run: &RunId, gate: &Gate, decision: &Decision) -> Result<bool, Trouble> {
    loop {
        // Asked before reading: whatever it wrote before its end is then read.
        let live = live::is_live(home, run);
        if let Some(first) = decision_on(&record(home, run)?, &gate.digest) {
            return if first == *decision { Ok(true) } else { Err(decided(gate, &first)) };
        }
        if !live {
            return Ok(false);
        }
        std::thread::sleep(GLANCE);
    }
}

fn decision_on(record: &Record, gate: &Digest) -> Option<Decision> {
    record.gates.iter().filter(|known| known.digest == *gate).find_map(|known| known.decision.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vespiary_kernel::event::Payload;
    use vespiary_kernel::json::Json;

    fn opened(record: &mut Record, title: &str, expires_ms: Option<u64>, decision: Option<Decision>) -> Digest {
        let digest = Digest::of(title.as_bytes());
        let payload = Payload::Value(Json::null());
        let gate = Gate { digest, title: title.into(), payload, expires_ms, check: None, decision };
        record.gates.push(gate);
        digest
    }

    #[test]
    fn the_gate_that_is_meant_is_found_or_told_why_not() {
        let mut record = Record::fold("r-1".parse().unwrap()).finish();
        let why = |record: &Record, prefix: Option<&str>| chosen(record, prefix).unwrap_err().why;
        assert!(why(&record, None).contains("opened none"));
        let one = opened(&mut record, "one", None, None);
        assert_eq!(chosen(&record, None).unwrap().digest, one);
        let two = opened(&mut record, "two", Some(u64::MAX), None);
        assert!(why(&record, None).contains("2 are open") && why(&record, None).contains("\"two\""));
        assert_eq!(chosen(&record, Some(&two.to_string()[..6])).unwrap().digest, two);
        for wrong in ["", "abc", "zzzz", &"0".repeat(65)] {
            chosen(&record, Some(wrong)).unwrap_err();
        }
        record.gates.remove(0);
        record.gates[0].expires_ms = Some(1_000);
        assert!(why(&record, None).contains("over at 1970-01-01T00:00:01Z"), "{}", why(&record, None));
        record.gates[0].decision = Some(Decision { approved: true, by: "ann\u{1b}".into(), note: None, at_ms: 0 });
        let said = why(&record, None);
        assert!(said.contains("approved it at 1970-01-01T00:00:00.000Z") && !said.contains('\u{1b}'), "{said}");
        record.gates[0].check = Some("true".parse().unwrap());
        assert!(why(&record, None).contains("opened none"), "what a program decides, no person does");
        record.status = RunStatus::Completed;
        assert!(why(&record, None).contains("has ended: completed"));
    }

    /// Two gates whose digests begin alike, as a script can arrange it.
    fn alike(record: &mut Record) -> (Digest, Digest) {
        let [mut one, mut two] = [*Digest::of(b"one").as_bytes(), *Digest::of(b"two").as_bytes()];
        [&mut one, &mut two].into_iter().for_each(|digest| digest[..6].fill(0xab));
        let digests = (Digest::from_bytes(one), Digest::from_bytes(two));
        opened(record, "Run the tests?", Some(1_000), None);
        opened(record, "Delete everything in prod?", None, None);
        (record.gates[0].digest, record.gates[1].digest) = digests;
        digests
    }

    #[test]
    fn a_beginning_given_for_one_gate_decides_no_other_whatever_became_of_the_first() {
        let decided = || Decision { approved: false, by: "ann".into(), note: None, at_ms: 0 };
        for (decision, check) in [(None, None), (Some(decided()), None), (None, Some("true".parse().unwrap()))] {
            let mut record = Record::fold("r-1".parse().unwrap()).finish();
            let (first, second) = alike(&mut record);
            (record.gates[0].decision, record.gates[0].check) = (decision, check);
            for prefix in [&first.to_string()[..12], &first.to_string()[..4], "ABABABABABAB"] {
                let refused = chosen(&record, Some(prefix)).expect_err(prefix);
                assert!(refused.why.starts_with("2 gates of the run begin with abab"), "{}", refused.why);
                assert!(
                    refused.why.contains(&first.to_string()) && refused.why.contains("in prod?"),
                    "{}",
                    refused.why
                );
            }
            // The whole digest is one gate's alone, and so is what lies beyond the part they share.
            assert_eq!(chosen(&record, Some(&second.to_string())).unwrap().digest, second);
            assert_eq!(chosen(&record, Some(&second.to_string()[..20])).unwrap().digest, second);
            chosen(&record, Some(&first.to_string())).expect_err("its time is over, or it is not a person's");
        }
    }

    #[test]
    fn a_gate_that_was_asked_again_is_still_one() {
        let mut record = Record::fold("r-1".parse().unwrap()).finish();
        let denied = Decision { approved: false, by: "ann".into(), note: None, at_ms: 0 };
        let digest = opened(&mut record, "one", None, Some(denied));
        opened(&mut record, "one", None, None);
        assert_eq!(chosen(&record, Some(&digest.to_string()[..6])).unwrap().digest, digest);
    }
}
