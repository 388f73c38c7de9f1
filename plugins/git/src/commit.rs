//! Commits, and the JSON shapes of commits and people. What must never live here: walking from one commit to the next.

use crate::objects::{ObjectError, Objects};
use crate::text::Lossy;
use gix_hash::ObjectId;
use gix_object::{CommitRef, Kind, bstr::ByteSlice};
use schemars::JsonSchema;
use serde::Serialize;
use std::rc::Rc;

/// Most bytes that a message takes in an answer, and that a name or an address does.
pub(crate) const MESSAGE_ROOM_BYTES: usize = 1024 * 1024;
pub(crate) const NAME_ROOM_BYTES: usize = 16 * 1024;

/// A commit that parses.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    /// Its hash.
    pub(crate) id: ObjectId,
    tree: ObjectId,
    parents: Vec<ObjectId>,
    /// When it was committed, in seconds since 1970.
    pub(crate) seconds: i64,
    data: Rc<Vec<u8>>,
}

impl Commit {
    /// Reads a commit.
    pub(crate) fn read(objects: &Objects, id: ObjectId) -> Result<Self, ObjectError> {
        Self::parse(id, objects.read_kind(id, Kind::Commit)?)
    }

    /// Parses a commit's content.
    pub(crate) fn parse(id: ObjectId, data: Rc<Vec<u8>>) -> Result<Self, ObjectError> {
        let commit = parsed(id, &data)?;
        // A commit whose time makes no sense is old, as it is to Git.
        let seconds = commit.committer().map_or(0, |committer| committer.seconds());
        Ok(Self { id, tree: commit.tree(), parents: commit.parents().collect(), seconds, data: data.clone() })
    }

    /// Its tree.
    pub(crate) fn tree(&self) -> ObjectId {
        self.tree
    }

    /// Its parents as it names them; see [`crate::repository::Repository`] for those that are there.
    pub(crate) fn parents(&self) -> Vec<ObjectId> {
        self.parents.clone()
    }

    /// Whether the author's `Name <email>` contains a text, whatever its case. `wanted` is in lower case.
    pub(crate) fn is_by(&self, wanted: &str) -> bool {
        let author = |commit: CommitRef<'_>| Lossy::of(encoding(&commit)).text(commit.author);
        parsed(self.id, &self.data).is_ok_and(|commit| author(commit).to_lowercase().contains(wanted))
    }

    /// What is told of it.
    pub(crate) fn show(&self) -> Result<CommitInfo, ObjectError> {
        let commit = parsed(self.id, &self.data)?;
        let mut lossy = Lossy::of(encoding(&commit));
        let message = lossy.beginning(commit.message, MESSAGE_ROOM_BYTES);
        let (subject, body) = subject_and_body(&message);
        Ok(CommitInfo {
            id: self.id.to_string(),
            tree: self.tree.to_string(),
            parents: self.parents.iter().map(ToString::to_string).collect(),
            author: Person::new(commit.author, &mut lossy),
            committer: Person::new(commit.committer, &mut lossy),
            encoding: commit.encoding.map(|name| lossy.beginning(name, NAME_ROOM_BYTES)),
            signed: commit.extra_headers.iter().any(|(name, _)| *name == "gpgsig"),
            subject,
            body,
            truncated: lossy.has_cut(),
            lossy: lossy.happened(),
        })
    }
}

fn encoding<'a>(commit: &CommitRef<'a>) -> Option<&'a [u8]> {
    commit.encoding.map(|name| name.as_bytes())
}

fn parsed(id: ObjectId, data: &[u8]) -> Result<CommitRef<'_>, ObjectError> {
    CommitRef::from_bytes(data, gix_hash::Kind::Sha1)
        .map_err(|error| ObjectError::Corrupt { id, why: format!("it is no commit ({error})") })
}

/// The first paragraph in one line, and the rest, as `git log --format=%s` and `%b` have them.
fn subject_and_body(message: &str) -> (String, String) {
    let message = message.trim_start_matches('\n');
    let mut subject: Vec<&str> = Vec::new();
    let mut rest = message;
    while let Some((line, after)) = rest.split_once('\n').or((!rest.is_empty()).then_some((rest, ""))) {
        rest = after;
        if line.trim().is_empty() {
            break;
        }
        subject.push(line.trim_end());
    }
    (subject.join(" "), rest.trim_start_matches('\n').to_owned())
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CommitInfo {
    /// Its hash.
    pub id: String,
    /// Hash of its tree.
    pub tree: String,
    /// Hashes of its parents, as the commit names them.
    pub parents: Vec<String>,
    /// Who wrote the change.
    pub author: Person,
    /// Who made the commit.
    pub committer: Person,
    /// First paragraph of the message, in one line.
    pub subject: String,
    /// The rest of the message.
    pub body: String,
    /// The encoding of message and names, where the commit names one. ISO-8859-1 is decoded; of others what is not UTF-8 is
    /// replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Whether it carries a signature. The signature is not checked.
    pub signed: bool,
    /// Whether the message was cut, past 1 MiB, or a name.
    pub truncated: bool,
    /// Whether bytes that are not UTF-8 were replaced by U+FFFD.
    pub lossy: bool,
}

/// Someone, at some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Person {
    /// Their name.
    pub name: String,
    /// Their address.
    pub email: String,
    /// When, in ISO 8601 with their offset from UTC. Seconds since 1970 where that cannot be written.
    pub time: String,
    /// When, in seconds since 1970.
    pub seconds: i64,
}

impl Person {
    /// Reads `Name <email> seconds offset`. What cannot be read is kept as the name.
    pub(crate) fn new(raw: &[u8], lossy: &mut Lossy) -> Self {
        match gix_actor::SignatureRef::from_bytes(raw) {
            Err(_) => Self {
                name: lossy.beginning(raw, NAME_ROOM_BYTES),
                email: String::new(),
                time: String::new(),
                seconds: 0,
            },
            Ok(signature) => {
                let signature = signature.trim();
                let time = signature.time().unwrap_or_default();
                Self {
                    name: lossy.beginning(signature.name, NAME_ROOM_BYTES),
                    email: lossy.beginning(signature.email, NAME_ROOM_BYTES),
                    time: crate::time::iso(time.seconds, time.offset).unwrap_or_else(|| time.seconds.to_string()),
                    seconds: signature.seconds(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_split() {
        for (message, subject, body) in [
            ("one\n", "one", ""),
            ("one\ntwo\n\nthree\n\nfour\n", "one two", "three\n\nfour\n"),
            ("\n\none", "one", ""),
            ("", "", ""),
            ("one\n   \n\nbody", "one", "body"),
        ] {
            assert_eq!(subject_and_body(message), (subject.to_owned(), body.to_owned()), "{message:?}");
        }
    }
}
