//! One run as one file, to be kept or sent: events with their chain, blobs, report. It is a tar archive of one exact form, so that
//! two exports of a run are the same bytes, and no byte can be changed without being seen: what is not as `export` would have
//! written it is refused, whether it is a link, a path, a time, another order, a file too many, or what pads a block.
//!
//! ```text
//! bundle.json          Manifest: the run, how many events and blobs, the head of the chain, SHA-256 of each report
//! events.jsonl         {"seq":1,"time_us":...,"hash":"...","body":"the event's JSON text as hashed"}, one a line
//! blobs/SHA256         each blob that an event names, in the order of their digests
//! report/NAME          what people read, in the order of their names
//! ```
//!
//! A bundle may come from anybody. Reading one needs memory for its longest event and for the names of its blobs; both are bounded.

use crate::chain::{self, Chain};
use crate::reader::{KEY_MASK, Reader};
use crate::store::{FaultKind, LedgerError};
use crate::verify::{Break, Intact, Verdict, blobs_of};
use crate::writer::{BLOB_BYTES_MAX, SEQ_BITS};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use vespiary_kernel::event::Event;
use vespiary_kernel::ids::{Digest, RunId};

const SCHEMA: &str = "vespiary.bundle/1";
const MANIFEST: &str = "bundle.json";
const EVENTS: &str = "events.jsonl";

/// The unit of a tar archive, bytes.
const BLOCK: usize = 512;
/// The longest event, manifest and report, bytes; and blobs of one bundle.
const LINE_BYTES_MAX: u64 = 16 << 20;
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
const REPORT_BYTES_MAX: u64 = 256 << 20;
const BLOBS_MAX: usize = 1 << 20;
/// The most bytes of one part that the form of archive can hold.
const PART_BYTES_MAX: u64 = 0o77_777_777_777;

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    schema: String,
    /// The run.
    pub run: RunId,
    /// How many events.
    pub events: u64,
    /// The hash of the last one.
    pub head: Digest,
    /// Whether the run recorded its end.
    pub ended: bool,
    /// How many blobs.
    pub blobs: u64,
    /// SHA-256 of each report, by its name.
    pub report: BTreeMap<String, Digest>,
}

impl Manifest {
    /// SHA-256 of it as it stands in the bundle. It names the head, which names all events and through them all blobs, and it names
    /// the reports: whoever knows it knows every byte.
    pub fn seal(&self) -> Digest {
        Digest::of(&manifest_text(self))
    }
}

/// What verifying a bundle found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The run it says it holds; none where not even that can be read.
    pub run: Option<RunId>,
    /// The seal of what it says; none where not even that can be read.
    pub seal: Option<Digest>,
    /// Whether it is whole and as it was written.
    pub verdict: Verdict,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    seq: u64,
    time_us: i64,
    hash: Digest,
    body: String,
}

/// One event as the ledger keeps it.
struct Row {
    seq: u64,
    time_us: i64,
    body: String,
    hash: Digest,
}

impl Reader {
    /// Write the run as a bundle, with `report` (name and content each). The same run and report give the same bytes. Fails when the
    /// record does not hold: a bundle of it would prove nothing.
    pub fn export(
        &self,
        id: &RunId,
        report: &BTreeMap<String, Vec<u8>>,
        into: impl Write,
    ) -> Result<Manifest, LedgerError> {
        // One snapshot, though the run may be going on.
        let snapshot = self.connection.unchecked_transaction().map_err(|e| self.fault(e))?;
        let intact = match self.verify_now(id)? {
            Verdict::Intact(intact) => intact,
            Verdict::Broken(broken) => {
                let what = format!("the record of {id} was changed: {broken}");
                return Err(LedgerError::new(
                    FaultKind::Corrupt,
                    what,
                    "a bundle of it would prove nothing; keep the ledger itself",
                ));
            }
        };
        let too_large = |what: String| LedgerError::new(FaultKind::Refused, what, "keep the ledger's file itself");
        let (mut bytes, mut blobs) = (0u64, BTreeMap::new());
        self.rows(id, |row| {
            let line = line_of(&row)?;
            if line.len() as u64 > LINE_BYTES_MAX {
                return Err(too_large(format!("event {} is longer than a bundle can hold", row.seq)));
            }
            bytes += line.len() as u64;
            let event: Event = serde_json::from_str(&row.body).map_err(|e| too_large(e.to_string()))?;
            blobs.extend(blobs_of(&event).into_iter().map(|digest| (digest, row.seq)));
            Ok(())
        })?;
        if bytes > PART_BYTES_MAX || blobs.len() > BLOBS_MAX {
            return Err(too_large(format!("{id} has more events or blobs than a bundle can hold")));
        }
        let manifest = Manifest {
            schema: SCHEMA.into(),
            run: id.clone(),
            events: intact.events,
            head: intact.head,
            ended: intact.ended,
            blobs: blobs.len() as u64,
            report: report.iter().map(|(name, content)| (name.clone(), Digest::of(content))).collect(),
        };
        let cannot = |error: io::Error| {
            LedgerError::new(
                FaultKind::Other,
                format!("the bundle cannot be written: {error}"),
                "free some space, or write it elsewhere",
            )
        };
        let mut pack = Pack { into };
        pack.part(MANIFEST, &manifest_text(&manifest)).map_err(cannot)?;
        pack.begin(EVENTS, bytes).map_err(cannot)?;
        self.rows(id, |row| pack.into.write_all(line_of(&row)?.as_bytes()).map_err(cannot))?;
        pack.pad(bytes).map_err(cannot)?;
        for digest in blobs.keys() {
            let content = self.blob(digest)?.unwrap_or_default();
            pack.part(&blob_name(digest), &content).map_err(cannot)?;
        }
        for (name, content) in report {
            pack.part(&report_name(name), content).map_err(cannot)?;
        }
        pack.end().map_err(cannot)?;
        drop(snapshot);
        Ok(manifest)
    }

    fn rows(&self, id: &RunId, mut each: impl FnMut(Row) -> Result<(), LedgerError>) -> Result<(), LedgerError> {
        let fault = |e| self.fault(e);
        let first = self.number(id)? << SEQ_BITS;
        let sql = "SELECT key, time_us, body, hash FROM events WHERE key > ?1 AND key <= ?2 ORDER BY key";
        let mut statement = self.connection.prepare_cached(sql).map_err(fault)?;
        let mut rows = statement.query([first, first | KEY_MASK]).map_err(fault)?;
        while let Some(row) = rows.next().map_err(fault)? {
            let key: i64 = row.get(0).map_err(fault)?;
            each(Row {
                seq: (key & KEY_MASK) as u64,
                time_us: row.get(1).map_err(fault)?,
                body: row.get(2).map_err(fault)?,
                hash: Digest::from_bytes(row.get(3).map_err(fault)?),
            })?;
        }
        Ok(())
    }
}

fn line_of(row: &Row) -> Result<String, LedgerError> {
    let line = Line { seq: row.seq, time_us: row.time_us, hash: row.hash, body: row.body.clone() };
    text_of(&line)
        .map_err(|e| LedgerError::new(FaultKind::Other, format!("an event is not text: {e}"), "report this as a fault"))
}

/// The one form of a line.
fn text_of(line: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(line).map(|text| text + "\n")
}

fn manifest_text(manifest: &Manifest) -> Vec<u8> {
    text_of(manifest).unwrap_or_default().into_bytes()
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{digest}")
}

/// Whether it is the name of a file and of nothing else.
fn is_report(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.starts_with('.') && (1..=80).contains(&name.len()) && name.bytes().all(plain)
}

fn report_name(name: &str) -> String {
    format!("report/{name}")
}

/// The one header that a part can have: a plain file, of nobody, from no time.
fn header(name: &str, bytes: u64) -> io::Result<[u8; BLOCK]> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes);
    header.set_cksum();
    Ok(*header.as_bytes())
}

fn padding(bytes: u64) -> usize {
    (BLOCK - (bytes % BLOCK as u64) as usize) % BLOCK
}

struct Pack<W> {
    into: W,
}

impl<W: Write> Pack<W> {
    fn part(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let bytes = content.len() as u64;
        self.begin(name, bytes)?;
        self.into.write_all(content)?;
        self.pad(bytes)
    }

    fn begin(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        self.into.write_all(&header(name, bytes)?)
    }

    fn pad(&mut self, bytes: u64) -> io::Result<()> {
        self.into.write_all(&[0; BLOCK][..padding(bytes)])
    }

    fn end(&mut self) -> io::Result<()> {
        self.into.write_all(&[0; 2 * BLOCK])?;
        self.into.flush()
    }
}

/// Check a bundle from its first byte to its last. Fails only when `source` cannot be read; whatever is wrong with what is read is
/// a verdict.
pub fn verify(source: impl Read, path: &Path) -> Result<Opened, LedgerError> {
    let mut unpack = Unpack { source: BufReader::with_capacity(64 << 10, source), at: 0, run: None, seal: None };
    let verdict = match unpack.all() {
        Ok(intact) => Verdict::Intact(intact),
        Err(Stop::Broken(broken)) => Verdict::Broken(broken),
        Err(Stop::Unreadable(error)) => {
            let what = format!("{} cannot be read: {error}", path.display());
            return Err(LedgerError::new(FaultKind::Other, what, "check the file and the disk it is on"));
        }
    };
    Ok(Opened { run: unpack.run, seal: unpack.seal, verdict })
}

enum Stop {
    Broken(Break),
    Unreadable(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl From<Break> for Stop {
    fn from(broken: Break) -> Self {
        Self::Broken(broken)
    }
}

struct Unpack<R> {
    source: BufReader<R>,
    /// Bytes read so far.
    at: u64,
    run: Option<RunId>,
    seal: Option<Digest>,
}

impl<R: Read> Unpack<R> {
    fn all(&mut self) -> Result<Intact, Stop> {
        let manifest = self.manifest()?;
        (self.run, self.seal) = (Some(manifest.run.clone()), Some(manifest.seal()));
        if let Some(name) = manifest.report.keys().find(|name| !is_report(name)) {
            let what = format!("{MANIFEST}: no report is called {name:?}");
            return Err(Break { what, ..Break::default() }.into());
        }
        let (chain, ended, blobs) = self.events(&manifest)?;
        for (digest, seq) in &blobs {
            let bytes = self.begin(&blob_name(digest), *seq, BLOB_BYTES_MAX as u64)?;
            let found = self.digest(bytes, *seq)?;
            if found != *digest {
                let what = "its blob was changed".into();
                return Err(Break { seq: *seq, what, expected: digest.to_string(), found: found.to_string() }.into());
            }
        }
        for (name, digest) in &manifest.report {
            let bytes = self.begin(&report_name(name), 0, REPORT_BYTES_MAX)?;
            let found = self.digest(bytes, 0)?;
            if found != *digest {
                let what = format!("{} was changed", report_name(name));
                return Err(Break { seq: 0, what, expected: digest.to_string(), found: found.to_string() }.into());
            }
        }
        self.end()?;
        Ok(Intact { events: chain.seq, blobs: blobs.len() as u64, head: chain.at, ended })
    }

    fn manifest(&mut self) -> Result<Manifest, Stop> {
        let bytes = self.begin(MANIFEST, 0, MANIFEST_BYTES_MAX)?;
        let mut text = vec![0; bytes as usize];
        self.fill(&mut text, 0)?;
        self.pad(bytes, 0)?;
        let wrong = |why: String| Break { what: format!("{MANIFEST}: {why}"), ..Break::default() };
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        if manifest.schema != SCHEMA {
            let (expected, found) = (SCHEMA.into(), manifest.schema);
            return Err(Break { expected, found, ..wrong("it is a bundle of another version".into()) }.into());
        }
        if manifest_text(&manifest) != text {
            return Err(wrong("it is not in the form in which it was written".into()).into());
        }
        Ok(manifest)
    }

    /// The whole chain; whether the run ended in it; every blob that it names, with the first event that does.
    fn events(&mut self, manifest: &Manifest) -> Result<(Chain, bool, BTreeMap<Digest, u64>), Stop> {
        let bytes = self.begin(EVENTS, 0, PART_BYTES_MAX)?;
        let (mut chain, mut ended, mut blobs) = (chain::Chain::of(&manifest.run), false, BTreeMap::new());
        let (mut left, mut text) = (bytes, Vec::new());
        while left > 0 {
            let seq = chain.seq + 1;
            text.clear();
            (&mut self.source).take(left.min(LINE_BYTES_MAX)).read_until(b'\n', &mut text)?;
            left -= text.len() as u64;
            self.at += text.len() as u64;
            let wrong = |what: String| Break { seq, what, ..Break::default() };
            if !text.ends_with(b"\n") {
                let what = if left == 0 || text.len() as u64 == LINE_BYTES_MAX {
                    "its line does not end, or is longer than 16 MiB".to_owned()
                } else {
                    format!("the bundle ends at byte {}, within its line", self.at)
                };
                return Err(wrong(what).into());
            }
            let line: Line =
                serde_json::from_slice(&text).map_err(|e| wrong(format!("its line cannot be read: {e}")))?;
            if !text_of(&line).is_ok_and(|form| form.as_bytes() == text) {
                return Err(wrong("its line is not in the form in which it was written".into()).into());
            }
            let event =
                chain.link(&manifest.run, line.seq, line.time_us, line.body.as_bytes(), line.hash.as_bytes())?;
            ended |= matches!(event, Event::RunEnded { .. });
            for digest in blobs_of(&event) {
                blobs.entry(digest).or_insert(seq);
            }
            if blobs.len() > BLOBS_MAX {
                return Err(wrong(format!("the events name more than {BLOBS_MAX} blobs")).into());
            }
        }
        self.pad(bytes, chain.seq)?;
        let told = (manifest.events, manifest.head, manifest.ended, manifest.blobs);
        let found = (chain.seq, chain.at, ended, blobs.len() as u64);
        if told != found {
            let words = |(events, head, ended, blobs): (u64, Digest, bool, u64)| {
                format!("{events} events ending in {head}, {blobs} blobs, {}", if ended { "ended" } else { "no end" })
            };
            let what = format!("{MANIFEST} and the events do not agree");
            return Err(Break { seq: 0, what, expected: words(told), found: words(found) }.into());
        }
        Ok((chain, ended, blobs))
    }

    /// The header of the part that must come now; its length.
    fn begin(&mut self, name: &str, seq: u64, bytes_max: u64) -> Result<u64, Stop> {
        let (at, mut block) = (self.at, [0; BLOCK]);
        self.fill(&mut block, seq)?;
        let wrong = |what: String, found: String| Break { seq, what, expected: name.to_owned(), found };
        if block == [0; BLOCK] {
            return Err(wrong(format!("{name} is missing"), "the end of the bundle".into()).into());
        }
        let there = String::from_utf8_lossy(block[..100].split(|b| *b == 0).next().unwrap_or_default()).into_owned();
        if there != name {
            return Err(wrong(format!("{name} is missing, or something stands before it"), there).into());
        }
        let bytes = tar::Header::from_byte_slice(&block).entry_size().unwrap_or(u64::MAX);
        if bytes > bytes_max {
            return Err(
                wrong(format!("{name} says it is larger than {bytes_max} bytes"), format!("{bytes} bytes")).into()
            );
        }
        if header(name, bytes)? != block {
            let what = format!(
                "the header of {name} at byte {at} is not as it was written: it must be a plain file, and nothing more"
            );
            return Err(wrong(what, "another header".into()).into());
        }
        Ok(bytes)
    }

    fn digest(&mut self, bytes: u64, seq: u64) -> Result<Digest, Stop> {
        let (mut hash, mut left, mut piece) = (Sha256::new(), bytes, [0; 16 << 10]);
        while left > 0 {
            let part = left.min(piece.len() as u64) as usize;
            self.fill(&mut piece[..part], seq)?;
            hash.update(&piece[..part]);
            left -= part as u64;
        }
        self.pad(bytes, seq)?;
        Ok(Digest::from_bytes(hash.finalize().into()))
    }

    fn pad(&mut self, bytes: u64, seq: u64) -> Result<(), Stop> {
        let (at, mut rest) = (self.at, [0; BLOCK]);
        let length = padding(bytes);
        self.fill(&mut rest[..length], seq)?;
        if rest != [0; BLOCK] {
            let what = format!("there is something after byte {at}, where nothing belongs");
            return Err(Break { seq, what, expected: "zeros".into(), found: "other bytes".into() }.into());
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let (at, mut blocks) = (self.at, [0; 2 * BLOCK]);
        self.fill(&mut blocks, 0)?;
        let more = !self.source.fill_buf()?.is_empty();
        if blocks != [0; 2 * BLOCK] || more {
            let there =
                String::from_utf8_lossy(blocks[..100].split(|b| *b == 0).next().unwrap_or_default()).into_owned();
            let found = if there.is_empty() { "more bytes".to_owned() } else { there };
            let what = format!("there is something after byte {at}, where the bundle ends");
            return Err(Break { seq: 0, what, expected: "the end".into(), found }.into());
        }
        Ok(())
    }

    fn fill(&mut self, into: &mut [u8], seq: u64) -> Result<(), Stop> {
        match self.source.read_exact(into) {
            Ok(()) => {
                self.at += into.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let what = format!("the bundle ends too early, after byte {}", self.at);
                Err(Break { seq, what, expected: format!("{} bytes more", into.len()), found: "the end".into() }.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}
