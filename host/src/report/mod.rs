//! What people and other programs read after a run: `report.md`, `report.html` and `findings.sarif`, made from the ledger's
//! record and from what the script returned. Everything in them came from guests, files and scripts, so each writer escapes
//! for its own format. Nothing here runs or decides anything.

pub mod coverage;
pub mod findings;
pub mod following;
pub mod graph;
pub mod html;
pub mod markdown;
pub mod record;
pub mod recorded;
pub mod sarif;
pub mod there;
pub mod timeline;
pub mod write;

use coverage::Coverage;
use findings::{Audit, Severity};
use record::Record;
use std::time::{Duration, UNIX_EPOCH};
use vespiary_fleet::changes::Changed;
use vespiary_kernel::change::merge::{Conflict, Side};
use vespiary_kernel::change::{Change, Node};
use vespiary_kernel::event::RunError;
use vespiary_kernel::json::Json;

/// One run, ready to be written down.
#[derive(Debug)]
pub struct Report {
    /// What the ledger knows.
    pub record: Record,
    /// What the script returned, understood as findings or as plain JSON.
    pub answer: Answer,
    /// `name@digest` facts about the components that ran.
    pub components: Vec<Component>,
    /// What isolated agents changed; nothing of it is in the project unless it was applied.
    pub changed: Option<Changed>,
    /// Which files no agent read; none where no agent read any, or where the project is not looked at.
    pub coverage: Option<Coverage>,
}

/// A component that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The plugin's name.
    pub name: String,
    /// Its version; empty where the catalog no longer has it.
    pub version: String,
    /// SHA-256 of the component, hex.
    pub digest: String,
    /// How many of the run's calls it answered.
    pub calls: u64,
}

/// What a script returned.
#[derive(Debug)]
pub enum Answer {
    /// Findings, and what was not examined.
    Audit(Audit),
    /// Anything else: indented JSON text.
    Value(String),
    /// Nothing: the run did not get that far.
    None,
}

impl Answer {
    /// Understand `value`: findings when it has a list of that name, otherwise itself.
    pub fn of(value: Option<&Json>) -> Self {
        let Some(value) = value else { return Self::None };
        match Audit::read(value) {
            Some(audit) => Self::Audit(audit),
            None => Self::Value(pretty(value)),
        }
    }

    /// The findings, if that is what it is.
    pub fn audit(&self) -> Option<&Audit> {
        match self {
            Self::Audit(audit) => Some(audit),
            Self::Value(_) | Self::None => None,
        }
    }
}

/// Indented JSON; the text itself where it is nested too deeply to be read as a tree.
pub fn pretty(value: &Json) -> String {
    value
        .read::<serde_json::Value>()
        .ok()
        .and_then(|tree| serde_json::to_string_pretty(&tree).ok())
        .unwrap_or_else(|| value.as_str().to_owned())
}

/// An RFC 3339 time in UTC, whole seconds.
pub fn timestamp(unix_us: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_micros(unix_us)).to_string()
}

/// What a change does to its path, in a word.
pub fn what(change: &Change) -> &'static str {
    match (change.before(), change.after()) {
        (None, Some(Node::Directory)) => "made",
        (None, _) => "added",
        (_, None) => "removed",
        (Some(Node::File { .. }), Some(Node::File { .. })) => "changed",
        _ => "replaced",
    }
}

/// The agents on each side of a conflict: `a1, a3 / a2`.
pub fn sides(conflict: &Conflict) -> String {
    let side = |side: &Side| side.agents.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    conflict.sides.iter().map(side).collect::<Vec<_>>().join(" / ")
}

/// Why a run failed, in words.
pub fn error_text(error: &RunError) -> String {
    match error {
        RunError::Script(error) => error.to_string(),
        RunError::Engine(failure) => failure.to_string(),
        RunError::Other(why) => why.clone(),
    }
}

/// `1.2 s`, `340 ms`, `2 min 5 s`.
pub fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} \u{b5}s"),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..60_000_000 => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
        _ => format!("{} min {} s", us / 60_000_000, us % 60_000_000 / 1_000_000),
    }
}

/// `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What models cost, in one line; nothing where none was asked.
pub fn spent(models: &record::ModelCount) -> Option<String> {
    if models.is_none() {
        return None;
    }
    let dollars = |micros: u64| format!("${}.{:04}", micros / 1_000_000, micros % 1_000_000 / 100);
    let mut line = format!(
        "models: {} sent, {} received, {}",
        count(models.input_tokens, "token"),
        count(models.output_tokens, "token"),
        dollars(models.usd_micros)
    );
    if models.lost_tokens > 0 {
        let lost = (count(models.lost_tokens, "token"), dollars(models.lost_usd_micros));
        line.push_str(&format!("; of it {} and {} on work that failed", lost.0, lost.1));
    }
    Some(line)
}

/// `1 agent`, `1,000 agents`.
pub fn count(n: u64, one: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {one}{plural}", thousands(n))
}

/// `3 high, 1 low`, or `no findings`.
pub fn by_severity(audit: &Audit) -> String {
    let parts: Vec<_> = Severity::ALL
        .into_iter()
        .map(|severity| (audit.of_severity(severity).count(), severity))
        .filter(|(n, _)| *n > 0)
        .map(|(n, severity)| format!("{} {severity}", thousands(n as u64)))
        .collect();
    if parts.is_empty() { "no findings".into() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use vespiary_kernel::change::ChangeSet;
    use vespiary_kernel::change::merge::Merge;
    use vespiary_kernel::ids::AgentId;

    fn changed() -> Changed {
        let made = |path: &str| serde_json::json!({ path: { "after": "directory" } }).to_string();
        let changes: ChangeSet = serde_json::from_str(&made("src/<b>")).unwrap();
        let mut merge = Merge::default();
        for (agent, after) in [(1, "a"), (2, "b")] {
            let link = serde_json::json!({ "x`y": { "after": { "link": { "target": after } } } });
            merge.add(AgentId(agent), &serde_json::from_value(link).unwrap());
        }
        let conflicts = merge.resolve(&BTreeMap::new()).conflicts;
        Changed { changes, conflicts }
    }

    pub(super) fn sample() -> Report {
        let component = Component { name: "files".into(), version: "0.1.0".into(), digest: "ab".repeat(32), calls: 7 };
        Report {
            record: record::tests::sample(),
            answer: Answer::Audit(findings::tests::sample()),
            components: vec![component],
            changed: Some(changed()),
            coverage: Some(Coverage {
                files: 9,
                unread: 2,
                named: vec!["a<b>".into(), "c\u{1b}".into()],
                partial: false,
            }),
        }
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(timestamp(1_795_237_200_000_000), "2026-11-21T05:00:00Z");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([950, 45_000, 1_250_000, 125_000_000].map(duration), ["950 µs", "45 ms", "1.2 s", "2 min 5 s"]);
        assert_eq!((count(1, "agent"), count(1_000, "agent")), ("1 agent".into(), "1,000 agents".into()));
    }

    #[test]
    fn any_other_value_is_shown_as_json() {
        let value = Json::parse(r#"{"a":[1,2]}"#).unwrap();
        assert!(matches!(Answer::of(Some(&value)), Answer::Value(text) if text.contains("\n")));
        let deep = Json::parse("[".repeat(500) + &"]".repeat(500)).unwrap();
        assert!(matches!(Answer::of(Some(&deep)), Answer::Value(text) if text.len() == 1000));
    }
}
