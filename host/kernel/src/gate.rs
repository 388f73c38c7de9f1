//! Gates: what a script asks to have decided before it goes on, the digest that a decision is bound to, and the decision. Data
//! and its one written form; who asks and who decides stands elsewhere.

use crate::ids::Digest;
use crate::json::Json;
use crate::program::ProgramName;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The longest title, bytes.
pub const TITLE_BYTES_MAX: usize = 500;

/// The longest payload, bytes. A person has to read it.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 10;

/// The deepest nesting of a payload.
const DEPTH_MAX: usize = 64;

/// What is to be decided. A decision holds for exactly this and nothing that differs from it in any byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matter {
    title: String,
    payload: Json,
    digest: Digest,
}

/// What cannot be decided on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMatter {
    /// Nobody could tell what it is about.
    #[error("the title is empty")]
    NoTitle,
    /// More than a person reads.
    #[error("the {what} has {found} bytes; at most {most} are allowed")]
    TooLong {
        /// `title` or `payload`.
        what: &'static str,
        /// Bytes.
        found: usize,
        /// Bytes.
        most: usize,
    },
    /// More than can be shown.
    #[error("the payload is nested more than {DEPTH_MAX} levels deep")]
    TooDeep,
}

impl Matter {
    /// What a person decides: a title, and any JSON value. Its digest is the SHA-256 of the canonical JSON of
    /// `{"payload": ..., "title": ...}`: no blanks, the fields of every object in the order of their names, strings as
    /// `serde_json` writes them, numbers as they were written.
    ///
    /// ```
    /// use vespiary_kernel::{gate::Matter, json::Json};
    /// let of = |text: &str| Matter::new("Deploy?", &Json::parse(text).unwrap()).unwrap().digest();
    /// assert_eq!(of(r#"{"to":"prod","n":1}"#), of(r#"{ "n": 1, "to": "\u0070rod" }"#));
    /// assert_ne!(of(r#"{"to":"prod"}"#), of(r#"{"to":"prod "}"#));
    /// ```
    pub fn new(title: &str, payload: &Json) -> Result<Self, BadMatter> {
        Self::with(title, payload, None)
    }

    /// What a program decides. Its digest is another than that of the same title and payload for a person, whatever they are:
    /// the canonical JSON has a third field, `check`. What a program found is never taken for what a person said.
    pub fn for_program(title: &str, payload: &Json, program: &ProgramName) -> Result<Self, BadMatter> {
        Self::with(title, payload, Some(program))
    }

    fn with(title: &str, payload: &Json, check: Option<&ProgramName>) -> Result<Self, BadMatter> {
        if title.is_empty() {
            return Err(BadMatter::NoTitle);
        }
        let within = |what, found, most| {
            if found > most { Err(BadMatter::TooLong { what, found, most }) } else { Ok(()) }
        };
        within("title", title.len(), TITLE_BYTES_MAX)?;
        within("payload", payload.as_str().len(), PAYLOAD_BYTES_MAX)?;
        let mut canonical = String::from("{");
        if let Some(program) = check {
            canonical.push_str(&format!("\"check\":{},", string(program.as_str())));
        }
        canonical.push_str("\"payload\":");
        let from = canonical.len();
        write(payload.as_str(), &mut canonical, DEPTH_MAX).ok_or(BadMatter::TooDeep)?;
        let payload = Json::parse(&canonical[from..]).map_err(|_| BadMatter::TooDeep)?;
        canonical.push_str(&format!(",\"title\":{}}}", string(title)));
        Ok(Self { title: title.to_owned(), payload, digest: Digest::of(canonical.as_bytes()) })
    }

    /// What it is about. A script's words: not neutralized.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What is decided on, in canonical form: what is shown is what was hashed.
    pub fn payload(&self) -> &Json {
        &self.payload
    }

    /// What a decision is bound to.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// Append the canonical form of one JSON value. None: it is nested too deeply. Each level is read anew, which bounds the depth
/// of recursion and keeps numbers as they were written.
fn write(text: &str, out: &mut String, depth: usize) -> Option<()> {
    let text = text.trim();
    let depth = depth.checked_sub(1)?;
    match text.as_bytes().first()? {
        b'{' => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            out.push('{');
            for (at, (name, value)) in fields.into_iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                out.push_str(&string(&name));
                out.push(':');
                write(value.get(), out, depth)?;
            }
            out.push('}');
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            out.push('[');
            for (at, item) in items.into_iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                write(item.get(), out, depth)?;
            }
            out.push(']');
        }
        b'"' => out.push_str(&string(&serde_json::from_str::<String>(text).ok()?)),
        _ => out.push_str(text),
    }
    Some(())
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What was decided, by whom and when. The first one made is the one that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether the script may go on.
    pub approved: bool,
    /// The user's name, `exec:PROGRAM`, or `expiry`.
    pub by: String,
    /// What they added.
    pub note: Option<String>,
    /// Milliseconds since 1970 UTC.
    pub at_ms: u64,
}

/// Who decided a gate that nobody decided in time.
pub const EXPIRY: &str = "expiry";

impl Decision {
    /// Nobody decided in time.
    pub fn expired(at_ms: u64) -> Self {
        Self { approved: false, by: EXPIRY.into(), note: None, at_ms }
    }

    /// When, as scripts and people read it: RFC 3339 in UTC, to the millisecond.
    pub fn at(&self) -> String {
        let (days, ms) = (self.at_ms / 86_400_000, self.at_ms % 86_400_000);
        let (s, ms) = (ms / 1_000, ms % 1_000);
        let (year, month, day) = date(days);
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z", s / 3_600, s / 60 % 60, s % 60)
    }
}

/// Year, month and day of the day that lies `days` after 1970-01-01, in the Gregorian calendar. Years are counted from March,
/// so that a leap day ends one; 400 of them have 146,097 days.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (of_year, day) = ((month + 2) % 12 + 1, day - (153 * month + 2) / 5 + 1);
    (era * 400 + year + u64::from(of_year <= 2), of_year, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn matter(title: &str, payload: &str) -> Matter {
        Matter::new(title, &json(payload)).unwrap()
    }

    #[test]
    fn a_digest_is_that_of_the_canonical_form() {
        let m = matter("Go \"now\"?", "{ \"b\": [1.0, null, \"\\u00e9\"], \"a\": {\"z\":1e400,\"y\":-0} }");
        let canonical =
            "{\"payload\":{\"a\":{\"y\":-0,\"z\":1e400},\"b\":[1.0,null,\"é\"]},\"title\":\"Go \\\"now\\\"?\"}";
        assert_eq!(m.digest(), Digest::of(canonical.as_bytes()));
        assert_eq!(m.payload().as_str(), "{\"a\":{\"y\":-0,\"z\":1e400},\"b\":[1.0,null,\"é\"]}");
    }

    #[test]
    fn whatever_differs_has_another_digest() {
        let all = [
            matter("t", "null"),
            matter("t ", "null"),
            matter("t", "\"null\""),
            matter("t", "[null]"),
            matter("t", "{\"title\":\"t\"}"),
            matter("t", "1"),
            matter("t", "1.0"),
            Matter::for_program("t", &json("null"), &"true".parse().unwrap()).unwrap(),
            Matter::for_program("t", &json("null"), &"false".parse().unwrap()).unwrap(),
        ];
        let digests: std::collections::BTreeSet<_> = all.iter().map(Matter::digest).collect();
        assert_eq!(digests.len(), all.len());
        assert_eq!(matter("t", "{\"a\":1,\"b\":2}").digest(), matter("t", " {\"b\":2,\t\"a\" : 1} ").digest());
    }

    #[test]
    fn what_nobody_can_judge_is_refused() {
        let deep = |n: usize| json(&("[".repeat(n) + &"]".repeat(n)));
        assert!(Matter::new("t", &deep(60)).is_ok());
        for n in [65, 200, 30_000] {
            assert_eq!(Matter::new("t", &deep(n)), Err(BadMatter::TooDeep), "{n}");
        }
        let long = json(&format!("\"{}\"", "x".repeat(PAYLOAD_BYTES_MAX)));
        assert!(Matter::new("t", &long).unwrap_err().to_string().contains("65538 bytes"));
        assert!(Matter::new(&"x".repeat(TITLE_BYTES_MAX + 1), &json("1")).is_err());
        assert_eq!(Matter::new("", &json("1")), Err(BadMatter::NoTitle));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |at_ms| Decision::expired(at_ms).at();
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_795_237_200_042), "2026-11-21T05:00:00.042Z");
        assert_eq!(at(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }
}
