//! Which run stands before which. The text of a run's start says so, and thereby its first link covers it: a run that is taken out, or
//! put elsewhere, leaves one behind it that names another. Only the ledger writes that, in the transaction that gives the run its
//! number; whoever starts a run cannot know what another process begins at the same moment. Pure; no database.
//!
//! ```text
//! {"run-started":{..., "after":{"run":"r-7","first":"SHA-256 of its first link"}}}
//! {"run-started":{..., "after":null}}     the first run of a ledger
//! {"run-started":{...}}                   of a program older than schema 3: it says nothing, and nothing of it is checked
//! ```

use crate::verify::Break;
use serde::{Deserialize, Deserializer, Serialize};
use vespiary_kernel::ids::{Digest, RunId};

/// The run before another one. Of its links, it is the first that is named: that one is there, and stays as it is, though the run
/// goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Before {
    pub(crate) run: RunId,
    pub(crate) first: Digest,
}

/// Add to `body`, the text of a run's start, which run stands before it.
pub(crate) fn tell(body: &mut Vec<u8>, before: Option<&Before>) -> serde_json::Result<()> {
    // An event is an object of one field, and of a start that field is an object that is not empty.
    body.truncate(body.len().saturating_sub(2));
    body.extend_from_slice(b",\"after\":");
    serde_json::to_writer(&mut *body, &before)?;
    body.extend_from_slice(b"}}");
    Ok(())
}

/// What the start of a run says: none where it says nothing, and within that none where no run stands before it.
fn told(body: &[u8]) -> serde_json::Result<Option<Option<Before>>> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "run-started")]
        started: Started,
    }
    #[derive(Deserialize)]
    struct Started {
        #[serde(default, deserialize_with = "said")]
        after: Option<Option<Before>>,
    }
    fn said<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<Before>>, D::Error> {
        Option::deserialize(from).map(Some)
    }
    serde_json::from_slice(body).map(|event: Event| event.started.after)
}

/// The runs of a ledger, looked at in their order.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    last: Option<Before>,
    /// A run has said which one stands before it, and so must every later one.
    begun: bool,
}

impl Succession {
    /// The next run, with the text of its start and its first link; what is wrong with its place.
    pub(crate) fn next(&mut self, run: &RunId, start: &[u8], first: Digest) -> Option<Break> {
        let wrong = |what: String| Break { what, ..Break::default() };
        let fault = match told(start) {
            Err(error) => Some(wrong(format!("what stands before {run} cannot be read: {error}"))),
            Ok(None) if self.begun => {
                Some(wrong(format!("{run} does not say which run stands before it, and those before it do")))
            }
            Ok(None) => None,
            Ok(Some(before)) => {
                self.begun = true;
                (before != self.last).then(|| Break {
                    expected: words(before.as_ref()),
                    found: words(self.last.as_ref()),
                    ..wrong(format!("before {run} stands another run than when it was begun"))
                })
            }
        };
        self.last = Some(Before { run: run.clone(), first });
        fault
    }
}

fn words(before: Option<&Before>) -> String {
    before.map_or("no run".into(), |Before { run, first }| format!("{run} with the first link {}", first.short()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"run-started":{"version":"0","grant":[]}}"#;

    fn id(text: &str) -> RunId {
        text.parse().unwrap()
    }

    fn before(run: &str) -> Before {
        Before { run: id(run), first: Digest::of(run.as_bytes()) }
    }

    fn start(before: Option<&Before>) -> Vec<u8> {
        let mut body = OLD.as_bytes().to_vec();
        tell(&mut body, before).unwrap();
        body
    }

    #[test]
    fn what_is_told_is_read_and_nothing_is_not_no_run() {
        let text = String::from_utf8(start(None)).unwrap();
        assert_eq!(text, r#"{"run-started":{"version":"0","grant":[],"after":null}}"#);
        assert_eq!(told(text.as_bytes()).unwrap(), Some(None));
        assert_eq!(told(&start(Some(&before("r1")))).unwrap(), Some(Some(before("r1"))));
        assert_eq!(told(OLD.as_bytes()).unwrap(), None);
        for other in [r#"{"phase":{"title":"t"}}"#, r#"{"run-started":{"after":7}}"#, "", "null"] {
            told(other.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn each_must_stand_where_it_was_begun() {
        let of = |runs: &[(&str, Vec<u8>)]| {
            let mut succession = Succession::default();
            let faults = runs.iter().map(|(run, start)| {
                let first = Digest::of(run.as_bytes());
                succession.next(&id(run), start, first).map(|fault| fault.to_string())
            });
            faults.flatten().collect::<Vec<_>>().join("; ")
        };
        let (one, two, old) = (before("r1"), before("r2"), OLD.as_bytes().to_vec());
        let (first, second, third) = (("r1", start(None)), ("r2", start(Some(&one))), ("r3", start(Some(&two))));
        let all = [first, second, third];
        assert_eq!(of(&all), "");
        assert_eq!(of(&[("r0", old.clone()), ("r1", old.clone()), all[1].clone()]), "", "older ones say nothing");
        let gone = of(&[all[0].clone(), all[2].clone()]);
        assert!(gone.contains("before r3") && gone.contains("expected r2") && gone.contains("found r1"), "{gone}");
        assert!(of(&all[1..]).contains("found no run"));
        assert!(of(&[("r0", old.clone()), all[0].clone()]).contains("expected no run, found r0"));
        assert!(of(&[all[0].clone(), ("r2", old)]).contains("does not say"));
        let forged = Before { first: Digest::of(b"forged"), ..one };
        assert!(of(&[all[0].clone(), ("r2", start(Some(&forged)))]).contains("before r2"));
    }
}
