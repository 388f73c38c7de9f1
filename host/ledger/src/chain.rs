//! The chain: which bytes are hashed, in which order. Changing anything here makes every existing ledger unverifiable, so
//! the domain tags carry a version. Pure; no database.
//!
//! ```text
//! genesis(run) = SHA-256( "vespiary/run/1\0"   | len(run) | run )
//! link         = SHA-256( "vespiary/event/1\0" | len(run) | run | seq | previous | time | len(body) | body )
//! ```
//!
//! `run` is the run id in UTF-8; `seq` counts from 1 within the run; `previous` is the 32 bytes of the link before, or of
//! the genesis; `time` is microseconds since 1970 UTC; `body` is the event's JSON text exactly as stored. Every number and
//! length is an unsigned 64-bit integer, big-endian. Lengths stand before everything whose length varies, so no two different
//! records have the same bytes.

use crate::verify::Break;
use sha2::{Digest as _, Sha256};
use vespiary_kernel::event::Event;
use vespiary_kernel::ids::{Digest, RunId};

const RUN: &[u8] = b"vespiary/run/1\0";
const EVENT: &[u8] = b"vespiary/event/1\0";

/// Where the chain of `run` begins.
pub(crate) fn genesis(run: &RunId) -> Digest {
    let mut hash = Sha256::new();
    hash.update(RUN);
    counted(&mut hash, run.as_str().as_bytes());
    Digest::from_bytes(hash.finalize().into())
}

/// The link for one event. `time_us` is never negative in a ledger of ours; a forged negative one hashes to something else.
pub(crate) fn link(run: &RunId, seq: u64, previous: &Digest, time_us: i64, body: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(EVENT);
    counted(&mut hash, run.as_str().as_bytes());
    hash.update(seq.to_be_bytes());
    hash.update(previous.as_bytes());
    hash.update(time_us.to_be_bytes());
    counted(&mut hash, body);
    Digest::from_bytes(hash.finalize().into())
}

/// A chain on its way from the genesis to its head, recomputed link by link.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    /// The link of the last event.
    pub(crate) at: Digest,
    /// Its place.
    pub(crate) seq: u64,
}

impl Chain {
    pub(crate) fn of(run: &RunId) -> Self {
        Self { at: genesis(run), seq: 0 }
    }

    /// The next event as it was found: its place, time, text and link.
    pub(crate) fn link(
        &mut self,
        run: &RunId,
        seq: u64,
        time_us: i64,
        body: &[u8],
        hash: &[u8],
    ) -> Result<Event, Break> {
        let due = self.seq + 1;
        let broken = |what: String, expected: String, found: String| Break { seq: due, what, expected, found };
        if seq != due {
            let what = format!("it is missing; the next one there is {seq}");
            return Err(broken(what, format!("event {due}"), format!("event {seq}")));
        }
        let link = link(run, due, &self.at, time_us, body);
        if link.as_bytes() != hash {
            let what = "its text, time, place or hash is not what was recorded after the event before it".into();
            let found =
                <[u8; 32]>::try_from(hash).map_or("no hash".into(), |hash| Digest::from_bytes(hash).to_string());
            return Err(broken(what, link.to_string(), found));
        }
        (self.at, self.seq) = (link, due);
        serde_json::from_slice(body).map_err(|e| {
            broken(format!("it is as written, but not an event: {e}"), "an event".into(), "other text".into())
        })
    }
}

fn counted(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> RunId {
        text.parse().unwrap()
    }

    /// Computed with a program of another language from the layout above: a change of the layout must not pass unseen.
    #[test]
    fn the_layout_is_the_documented_one() {
        assert_eq!(genesis(&run("r1")).to_string(), GENESIS_R1);
        assert_eq!(
            link(&run("r1"), 1, &genesis(&run("r1")), 1_700_000_000_000_000, br#"{"a":1}"#).to_string(),
            LINK_R1
        );
    }

    const GENESIS_R1: &str = "1c2e8dfb41c3179de77631263370845bab2ecfe99c3bbbc51337325a7187ac0e";
    const LINK_R1: &str = "3ba969b9fe7b0b0cb70dad3f2b28b99cdc6a79934ba2edb22b316db5d36e10ba";

    #[test]
    fn every_field_counts() {
        let start = genesis(&run("r1"));
        let base = link(&run("r1"), 1, &start, 5, b"body");
        for other in [
            link(&run("r2"), 1, &start, 5, b"body"),
            link(&run("r1"), 2, &start, 5, b"body"),
            link(&run("r1"), 1, &genesis(&run("r2")), 5, b"body"),
            link(&run("r1"), 1, &start, 6, b"body"),
            link(&run("r1"), 1, &start, 5, b"bodY"),
            link(&run("r1"), 1, &start, 5, b"body "),
        ] {
            assert_ne!(base, other);
        }
    }
}
