//! `git.show`. What must never live here: how objects are read.

use super::default_path;
use super::diff::{DiffInfo, default_context, default_patch_bytes, tell};
use crate::changes;
use crate::commit::{Commit, CommitInfo, MESSAGE_ROOM_BYTES, NAME_ROOM_BYTES, Person};
use crate::objects::{Object, ObjectError};
use crate::patch::{self, is_binary};
use crate::repository::Repository;
use crate::room::{self, Room};
use crate::text::Lossy;
use crate::tree::{self, Paths};
use gix_hash::ObjectId;
use gix_object::{Kind, TagRef};
use vespiary_sdk::prelude::*;

/// Largest content given, in bytes.
const CONTENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most bytes that it takes in the answer, where a control character is six; also those of a tree's entries.
const CONTENT_ROOM_BYTES: usize = 20 * 1024 * 1024;
/// Most entries of a tree given.
const ENTRIES_MAX: usize = 20_000;

/// What to show.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowArgs {
    /// The object: a hash (also abbreviated), branch, tag, remote branch or HEAD, with ~n or ^n; or `rev:path/in/tree`.
    rev: String,
    /// A file or directory as of that revision, relative to the root of the repository, in place of the object itself. Also
    /// one that may hold credentials, such as `.env`, which is left out of a commit's patch.
    #[serde(default)]
    path: Option<String>,
    /// A directory in the repository, relative to the project. The repository is looked for there and above.
    #[serde(default = "default_path")]
    repo: String,
    /// Lines kept around each change of a commit.
    #[serde(default = "default_context")]
    context: u32,
    /// For a commit, count lines only; no patch.
    #[serde(default)]
    stat: bool,
    /// Largest patch or content in bytes, at most 8 MiB.
    #[serde(default = "default_patch_bytes")]
    max_bytes: usize,
}

/// One object of a repository.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// Its hash.
    pub id: String,
    /// What it is.
    #[serde(flatten)]
    pub object: ShownObject,
}

/// What an object is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ShownObject {
    /// A commit, compared with its first parent, or with nothing where it has none.
    Commit {
        /// The commit.
        commit: Box<CommitInfo>,
        /// What it changed.
        diff: Box<DiffInfo>,
    },
    /// A directory.
    Tree {
        /// What it holds.
        entries: Vec<ShownEntry>,
        /// Whether there are more entries.
        truncated: bool,
        /// Whether a name is not UTF-8 and had bytes replaced by U+FFFD.
        lossy: bool,
    },
    /// A file.
    Blob {
        /// Its size in bytes.
        size: u64,
        /// How `text` was made: `utf-8`, `utf-8-lossy` or `binary`.
        encoding: &'static str,
        /// Its content; empty for a binary file.
        text: String,
        /// Whether there is more content.
        truncated: bool,
    },
    /// An annotated tag.
    Tag {
        /// Its name.
        name: String,
        /// The object it names.
        target: String,
        /// What that object is.
        target_kind: String,
        /// Who made the tag.
        tagger: Option<Person>,
        /// Its message.
        message: String,
        /// Whether it carries a signature. The signature is not checked.
        signed: bool,
        /// Whether the message was cut, past 1 MiB, or a name.
        truncated: bool,
        /// Whether bytes that are not UTF-8 were replaced by U+FFFD.
        lossy: bool,
    },
}

/// One entry of a tree.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShownEntry {
    /// Its name.
    pub name: String,
    /// Its mode as Git writes it.
    pub mode: String,
    /// `blob`, `tree`, or `commit` for a submodule.
    pub kind: &'static str,
    /// Its object's hash.
    pub id: String,
}

/// Shows one object of a Git repository: a commit with its changes, a tree, the content of a file, or a tag.
#[tool]
pub fn show(args: ShowArgs) -> Result<Shown> {
    let repository = Repository::discover(&args.repo)?;
    let id = match &args.path {
        Some(path) if args.rev.contains(':') => {
            return Err(Error::invalid(format!("`rev` names a path already, so `path` ({path:?}) must not be given")));
        }
        Some(path) => repository.resolve(&format!("{}:{path}", args.rev))?,
        None => repository.resolve(&args.rev)?,
    };
    let object = repository.objects.read(id)?;
    let object = match object.kind {
        Kind::Commit => show_commit(&repository, id, &object, &args)?,
        Kind::Tree => show_tree(&repository, id)?,
        Kind::Blob => show_blob(&object.data, args.max_bytes.min(CONTENT_BYTES_MAX)),
        Kind::Tag => show_tag(id, &object)?,
    };
    Ok(Shown { id: id.to_string(), object })
}

fn show_commit(repository: &Repository, id: ObjectId, object: &Object, args: &ShowArgs) -> Result<ShownObject> {
    let commit = Commit::parse(id, object.data.clone())?;
    let before = match repository.parents(&commit).first() {
        Some(parent) => Some(Commit::read(&repository.objects, *parent)?.tree()),
        None => None,
    };
    let differences = changes::between_trees(&repository.objects, before, Some(commit.tree()), &Paths::default())?;
    let context = (!args.stat).then_some(args.context);
    let diff = tell(repository, differences, &Paths::default(), context, args.max_bytes)?;
    Ok(ShownObject::Commit { commit: Box::new(commit.show()?), diff: Box::new(diff) })
}

fn show_tree(repository: &Repository, id: ObjectId) -> Result<ShownObject> {
    let entries = tree::entries(&repository.objects, id)?;
    let mut lossy = Lossy::default();
    let shown = entries.into_iter().map(|entry| ShownEntry {
        name: lossy.text(&entry.name),
        mode: patch::mode(entry.kind),
        kind: match entry.kind {
            gix_object::tree::EntryKind::Tree => "tree",
            gix_object::tree::EntryKind::Commit => "commit",
            _ => "blob",
        },
        id: entry.id.to_string(),
    });
    let mut entries = shown.collect();
    let truncated = Room::new(CONTENT_ROOM_BYTES).cut(&mut entries, ENTRIES_MAX);
    Ok(ShownObject::Tree { entries, truncated, lossy: lossy.happened() })
}

fn show_blob(data: &[u8], bytes_max: usize) -> ShownObject {
    let size = data.len() as u64;
    if is_binary(data) {
        return ShownObject::Blob { size, encoding: "binary", text: String::new(), truncated: false };
    }
    let mut end = data.len().min(bytes_max);
    let mut truncated = end < data.len();
    // Not within a character: its bytes after the first begin with 10.
    while truncated && end > 0 && data[end] & 0xc0 == 0x80 && bytes_max - end < 3 {
        end -= 1;
    }
    let mut lossy = Lossy::default();
    let text = lossy.text(&data[..end]);
    let fits = room::cut(&text, CONTENT_ROOM_BYTES);
    truncated |= fits.len() < text.len();
    let text = fits.to_owned();
    let encoding = if lossy.happened() { "utf-8-lossy" } else { "utf-8" };
    ShownObject::Blob { size, encoding, text, truncated }
}

fn show_tag(id: ObjectId, object: &Object) -> Result<ShownObject> {
    let tag = TagRef::from_bytes(&object.data, gix_hash::Kind::Sha1)
        .map_err(|error| ObjectError::Corrupt { id, why: format!("it is no tag ({error})") })?;
    let mut lossy = Lossy::default();
    Ok(ShownObject::Tag {
        name: lossy.beginning(tag.name, NAME_ROOM_BYTES),
        target: tag.target().to_string(),
        target_kind: tag.target_kind.to_string(),
        tagger: tag.tagger.map(|tagger| Person::new(tagger, &mut lossy)),
        message: lossy.beginning(tag.message, MESSAGE_ROOM_BYTES),
        signed: tag.signature.is_some(),
        truncated: lossy.has_cut(),
        lossy: lossy.happened(),
    })
}
