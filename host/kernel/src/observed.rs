//! What a call saw of the files outside its cell: each path, and the state in which it was found. Whoever finds every path in
//! the same state again may expect the same answer from a deterministic tool. Never a content, only its digest.

use crate::hex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// All that one call saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSet {
    /// One entry a path, sorted by path.
    pub observations: Vec<Observation>,
    /// Whether everything is listed, with a digest of each content and listing that was read. Where it is false the call saw
    /// more than was kept, and its answer must not be reused.
    pub complete: bool,
}

/// One path, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Relative to the project directory, or absolute: as capabilities write it.
    pub path: String,
    /// How it was found, before the call itself changed anything there.
    pub state: Observed,
}

/// How a path was found. Times are no part of it: they differ from machine to machine, and a tool that calls itself
/// deterministic must not depend on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", try_from = "Parts")]
pub enum Observed {
    /// Nothing was there, or nothing the call could see.
    Absent,
    /// A regular file.
    File {
        /// Its length.
        bytes: u64,
        /// Whether any of its content was read.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        read: bool,
        /// Of the whole content, once any of it was read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<ContentDigest>,
    },
    /// A directory.
    Directory {
        /// Of the names and kinds the call was shown, once it was listed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        listing: Option<ContentDigest>,
    },
    /// A symbolic link.
    Link {
        /// What it says, once it was read or followed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
    /// A device, a socket or the like; nothing of it was given to the call.
    Special,
}

/// The same as it is read: records hold thousands, and what has its tag among its members is otherwise kept apart until that is found.
#[derive(Deserialize)]
struct Parts {
    kind: Kind,
    bytes: Option<u64>,
    #[serde(default)]
    read: bool,
    content: Option<ContentDigest>,
    listing: Option<ContentDigest>,
    target: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Absent,
    File,
    Directory,
    Link,
    Special,
}

impl TryFrom<Parts> for Observed {
    type Error = &'static str;

    fn try_from(parts: Parts) -> Result<Self, &'static str> {
        let Parts { kind, bytes, read, content, listing, target } = parts;
        Ok(match kind {
            Kind::Absent => Self::Absent,
            Kind::File => Self::File { bytes: bytes.ok_or("a file without its length (`bytes`)")?, read, content },
            Kind::Directory => Self::Directory { listing },
            Kind::Link => Self::Link { target },
            Kind::Special => Self::Special,
        })
    }
}

impl Observed {
    /// Keep the fuller of two sights of the same path: a content says more than a length. Where they contradict each other
    /// the path changed while the call ran; the first is kept, and the answer is no.
    #[must_use]
    pub fn refine(&mut self, later: Observed) -> bool {
        match (self, later) {
            (Self::File { bytes, read, content }, Self::File { bytes: now, read: also, content: found }) => {
                *read |= also;
                match (&content, found) {
                    (Some(one), Some(other)) => *one == other,
                    (Some(_), None) => *bytes == now,
                    (None, found) => {
                        *content = found;
                        std::mem::replace(bytes, now) == now
                    }
                }
            }
            (Self::Directory { listing: listing @ None }, Self::Directory { listing: later }) => {
                *listing = later;
                true
            }
            (Self::Directory { listing: Some(one) }, Self::Directory { listing: Some(other) }) => *one == other,
            (Self::Link { target: target @ None }, Self::Link { target: later }) => {
                *target = later;
                true
            }
            (Self::Link { target: Some(one) }, Self::Link { target: Some(other) }) => *one == other,
            (Self::Directory { .. }, Self::Directory { .. }) | (Self::Link { .. }, Self::Link { .. }) => true,
            (Self::Absent, Self::Absent) | (Self::Special, Self::Special) => true,
            _ => false,
        }
    }
}

/// BLAKE3 of a content. Contents are hashed while they pass, which a slower function would make felt.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest(pub [u8; 32]);

/// Text that is not a content digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a content digest is 64 lower-case hexadecimal digits")]
pub struct NotADigest;

impl FromStr for ContentDigest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        hex::read(text).map(Self).ok_or(NotADigest)
    }
}

impl Serialize for ContentDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        hex::deserialize(deserializer).map(Self)
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Option<ContentDigest> = Some(ContentDigest([1; 32]));
    const TWO: Option<ContentDigest> = Some(ContentDigest([2; 32]));

    #[test]
    fn a_fuller_sight_replaces_a_poorer_one_and_a_contradiction_is_told() {
        let looked_at = Observed::File { bytes: 3, read: false, content: None };
        let read = Observed::File { bytes: 3, read: true, content: ONE };
        let mut seen = looked_at.clone();
        assert!(seen.refine(read.clone()) && seen == read);
        assert!(seen.refine(looked_at) && seen == read, "a length takes nothing away from a content");
        assert!(
            !seen.refine(Observed::File { bytes: 3, read: true, content: TWO }),
            "the content changed under the call"
        );
        assert!(!seen.refine(Observed::Absent) && seen == read);
        let mut listed = Observed::Directory { listing: None };
        assert!(listed.refine(Observed::Directory { listing: ONE }));
        assert!(!listed.refine(Observed::Directory { listing: TWO }));
    }

    #[test]
    fn read_sets_are_written_and_read_back() {
        let set = ReadSet {
            observations: vec![
                Observation { path: "a".into(), state: Observed::File { bytes: 1, read: true, content: ONE } },
                Observation { path: "b".into(), state: Observed::Absent },
                Observation { path: "c".into(), state: Observed::Link { target: Some("a".into()) } },
            ],
            complete: true,
        };
        let text = serde_json::to_string(&set).unwrap();
        assert!(text.contains(&"01".repeat(32)), "{text}");
        assert_eq!(serde_json::from_str::<ReadSet>(&text).unwrap(), set);
        for bad in [
            r#"{"kind":"file"}"#,
            r#"{"kind":"pipe"}"#,
            r#"{"kind":"file","bytes":1,"content":"01"}"#,
            r#"{"bytes":1}"#,
        ] {
            assert!(serde_json::from_str::<Observed>(bad).is_err(), "{bad}");
        }
        assert!("0".repeat(63).parse::<ContentDigest>().is_err() && "G".repeat(64).parse::<ContentDigest>().is_err());
    }
}
