//! Who decides the gates of a run: the person at its terminal, or one at another terminal of the same user who leaves a decision
//! in the run's own directory. What lies there counts only while no tool of the run can write there.

use crate::approve::AtTerminal;
use crate::disk;
use crate::exit::Trouble;
use crate::live::Live;
use crate::paths::Home;
use crate::report::record::Record;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use vespiary_fleet::gatekeeper::Gatekeeper;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::gate::{Decision, Matter};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{Digest, RunId};
use vespiary_kernel::ports::BoxFuture;
use vespiary_ledger::reader::Reader;

/// The longest list of users that is looked through, bytes.
const USERS_BYTES_MAX: u64 = 4 << 20;

/// The gatekeeper of one run.
#[derive(Debug)]
pub struct AtRun {
    run: RunId,
    live: Arc<Live>,
    terminal: Arc<AtTerminal>,
    earlier: HashMap<Digest, Decision>,
    distrusts: Option<String>,
}

/// What a gatekeeper is made for.
#[derive(Debug)]
pub struct Place<'a> {
    /// Where the ledger and the directories of runs are.
    pub home: &'a Home,
    /// The run.
    pub run: &'a RunId,
    /// Its project.
    pub root: &'a Path,
    /// What it was granted.
    pub grant: &'a Grant,
}

impl AtRun {
    /// For the run that `live` is held for. What was decided in the runs `earlier`, which this one goes on from, holds here too:
    /// of several decisions on the same, the first. A gate of theirs whose time is over counts as denied.
    ///
    /// # Errors
    /// The record of an earlier run cannot be read.
    pub fn new(
        place: &Place<'_>,
        live: Arc<Live>,
        terminal: Arc<AtTerminal>,
        earlier: &[RunId],
    ) -> Result<Self, Trouble> {
        let mut decisions: HashMap<Digest, Decision> = HashMap::new();
        if !earlier.is_empty() {
            let reader = Reader::open(&place.home.ledger())?;
            let now = now_ms();
            for run in earlier {
                for gate in Record::read(&reader, run)?.gates.into_iter().filter(|gate| gate.check.is_none()) {
                    let expired = gate.expires_ms.filter(|at| *at <= now).map(Decision::expired);
                    let Some(decision) = gate.decision.or(expired) else { continue };
                    match decisions.get(&gate.digest) {
                        Some(first) if first.at_ms <= decision.at_ms => {}
                        _ => drop(decisions.insert(gate.digest, decision)),
                    }
                }
            }
        }
        let distrusts = writer_of(place.home.state(), place.root, place.grant).map(|held| {
            format!(
                "the run holds {held}, so its tools could write where decisions are kept ({}); grant less, or set VESPIARY_HOME \
                 to a directory outside of it",
                place.home.state().display()
            )
        });
        Ok(Self { run: place.run.clone(), live, terminal, earlier: decisions, distrusts })
    }
}

impl Gatekeeper for AtRun {
    fn distrusts(&self) -> Option<String> {
        self.distrusts.clone()
    }

    fn decided(&self, gate: &Digest) -> Option<Decision> {
        self.earlier.get(gate).cloned()
    }

    fn left(&self, gate: &Digest) -> Option<Decision> {
        self.live.decision(gate)
    }

    fn ask<'a>(&'a self, matter: &'a Matter) -> BoxFuture<'a, Option<Decision>> {
        Box::pin(async move {
            let approved = self.terminal.decide(&self.run, matter).await?;
            Some(Decision { approved, by: user(), note: None, at_ms: now_ms() })
        })
    }
}

/// A capability by which something in the state directory could be written.
fn writer_of(state: &Path, root: &Path, grant: &Grant) -> Option<Capability> {
    let state = disk::directory(state).unwrap_or_else(|_| state.to_owned());
    let below = state.strip_prefix(root).ok().map(Path::to_owned);
    let forms = [Some(state), below].into_iter().flatten();
    let forms: Vec<Option<Capability>> = forms.map(|path| format!("write:{}", path.display()).parse().ok()).collect();
    let reaches = |held: &&Capability| {
        matches!(held, Capability::Write(_))
            // A path that no capability can name may lie anywhere.
            && forms.iter().any(|form| form.as_ref().is_none_or(|form| held.touches(form)))
    };
    grant.iter().find(reaches).cloned()
}

/// The name of whoever runs this program; the number where it has no name. Not from the environment, where anybody can write
/// anything.
pub fn user() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let users = disk::read_text(Path::new("/etc/passwd"), USERS_BYTES_MAX).unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("uid {uid}"))
}

/// Milliseconds since 1970 UTC.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_can_write_where_decisions_lie_decides_nothing() {
        let held = |root: &str, caps: &[&str]| {
            let grant = Grant::of_run(caps.iter().map(|c| c.parse().unwrap()));
            writer_of(Path::new("/h/ann/.local/state/vespiary"), Path::new(root), &grant).map(|held| held.to_string())
        };
        for (root, harmless) in [
            ("/srv/tree", &["read:.", "write:.", "tool:*"][..]),
            ("/h/ann", &["read:.", "read:/h/ann/.local/state"]),
            ("/h/ann", &["write:out", "write:src/**/*.rs"]),
            ("/h/ann/project", &["write:.", "write:/h/ann/.local/share"]),
        ] {
            assert_eq!(held(root, harmless), None, "{root} {harmless:?}");
        }
        for (root, reaching) in [
            ("/h/ann", "write:."),
            ("/h/ann", "write:.local/state"),
            ("/h", "write:ann"),
            ("/srv/tree", "write:/h/ann"),
            ("/srv/tree", "write:/h/ann/.local/state/vespiary/runs/x"),
            ("/h/ann/.local/state/vespiary/runs", "write:/"),
        ] {
            assert!(held(root, &["read:.", reaching]).is_some(), "{root} {reaching}");
        }
    }

    #[test]
    fn a_user_has_a_name_or_a_number() {
        let user = user();
        assert!(!user.is_empty() && !user.contains(':'), "{user}");
    }
}
