//! Revisions as people write them: `HEAD~2`, `v1.0^{}`, `main:src/lib.rs`. What must never live here: what is done with the
//! object found.

use crate::commit::Commit;
use crate::objects::{ObjectError, Prefix};
use crate::refs::RefError;
use crate::repository::Repository;
use crate::tree::{self, TreeError};
use gix_hash::ObjectId;
use gix_object::{Kind, TagRef};
use vespiary_sdk::Error;

/// Tags that may point to tags, one to the next.
const TAGS_MAX: usize = 64;
/// Objects looked at where an abbreviated hash fits several.
const CANDIDATES_MAX: usize = 64;
/// Longest revision, in bytes.
const REVISION_BYTES_MAX: usize = 4096;

/// Why a revision names nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevisionError {
    /// It cannot be read.
    #[error("the revision {0:?} cannot be read: {1}; write a hash, a branch, a tag or HEAD, then ~n, ^n or ^{{}}")]
    Syntax(String, &'static str),
    /// It names nothing.
    #[error("the revision {0:?} names nothing in this repository")]
    Unknown(String),
    /// `HEAD` is a branch without a commit.
    #[error("HEAD is on {0}, which has no commit yet")]
    Unborn(String),
    /// An abbreviated hash fits several objects.
    #[error("the abbreviated hash {0} fits several objects: {1}; write more digits")]
    Ambiguous(String, String),
    /// A commit has not so many parents or ancestors.
    #[error("{0} has no parent {1}")]
    NoParent(ObjectId, usize),
    /// A commit's parents were not fetched.
    #[error("the parents of {0} are not in this shallow clone")]
    Shallow(ObjectId),
    /// The tree has no such path.
    #[error("{0} has no path {1:?}")]
    NoPath(String, String),
    /// References are broken.
    #[error(transparent)]
    Ref(#[from] RefError),
    /// An object cannot be had.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A tree is broken.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl From<RevisionError> for Error {
    fn from(error: RevisionError) -> Self {
        use RevisionError as Revision;
        match error {
            Revision::Syntax(..) | Revision::Ambiguous(..) => Self::invalid(error.to_string()),
            Revision::Unknown(_) | Revision::Unborn(_) | Revision::NoParent(..) | Revision::NoPath(..) => {
                Self::not_found(error.to_string())
            }
            Revision::Shallow(_) => Self::failed(error.to_string()),
            Revision::Ref(error) => error.into(),
            Revision::Object(error) => error.into(),
            Revision::Tree(error) => error.into(),
        }
    }
}

impl Repository {
    /// The object that a revision names, whatever its kind.
    pub(crate) fn resolve(&self, revision: &str) -> Result<ObjectId, RevisionError> {
        if revision.len() > REVISION_BYTES_MAX {
            return Err(RevisionError::Syntax(revision.chars().take(40).collect(), "it is too long"));
        }
        if let Some((tree, path)) = revision.split_once(':') {
            if tree.is_empty() {
                let why = "nothing stands before the colon: what is staged cannot be named, HEAD:path is as the last commit has it";
                return Err(RevisionError::Syntax(revision.to_owned(), why));
            }
            let tree = self.tree_of(self.resolve(tree)?)?;
            return match tree::find(&self.objects, tree, path.as_bytes())? {
                Some(entry) => Ok(entry.id),
                None => Err(RevisionError::NoPath(revision.to_owned(), path.to_owned())),
            };
        }
        let name_ends = revision.find(['~', '^']).unwrap_or(revision.len());
        let (name, mut steps) = revision.split_at(name_ends);
        let mut id = self.named(name, !steps.is_empty())?;
        while !steps.is_empty() {
            id = self.step(id, &mut steps, revision)?;
        }
        Ok(id)
    }

    /// The commit that a revision names, through tags.
    pub(crate) fn resolve_commit(&self, revision: &str) -> Result<ObjectId, RevisionError> {
        let id = match Prefix::parse(revision) {
            // Of several objects an abbreviated hash fits, the only commit is meant.
            Some(_) => self.named(revision, true)?,
            None => self.resolve(revision)?,
        };
        self.peel(id, Kind::Commit)
    }

    /// The tree of a commit, of what a tag points to, or the tree itself.
    pub(crate) fn tree_of(&self, id: ObjectId) -> Result<ObjectId, RevisionError> {
        let id = self.peel_tags(id)?;
        let object = self.objects.read(id)?;
        match object.kind {
            Kind::Commit => Ok(Commit::parse(id, object.data)?.tree()),
            Kind::Tree => Ok(id),
            found => Err(ObjectError::Kind { id, found, wanted: Kind::Tree }.into()),
        }
    }

    /// Commits right before this one; none where they were not fetched.
    pub(crate) fn parents(&self, commit: &Commit) -> Vec<ObjectId> {
        if self.shallow.contains(&commit.id) { Vec::new() } else { commit.parents() }
    }

    fn named(&self, name: &str, wants_commit: bool) -> Result<ObjectId, RevisionError> {
        let name = if matches!(name, "" | "@") { "HEAD" } else { name };
        if name == "HEAD" {
            let head = self.refs.head()?;
            return head.id.ok_or_else(|| RevisionError::Unborn(head.reference.unwrap_or_default()));
        }
        if name.contains("@{") {
            return Err(RevisionError::Syntax(name.to_owned(), "@{...} is not supported"));
        }
        let prefix = Prefix::parse(name);
        if let (40, Some(_)) = (name.len(), &prefix) {
            return ObjectId::from_hex(name.to_ascii_lowercase().as_bytes())
                .map_err(|_| RevisionError::Unknown(name.to_owned()));
        }
        if let Some(id) = self.refs.find(name)? {
            return Ok(id);
        }
        match prefix {
            Some(prefix) => self.abbreviated(name, &prefix, wants_commit),
            None => Err(RevisionError::Unknown(name.to_owned())),
        }
    }

    fn abbreviated(&self, name: &str, prefix: &Prefix, wants_commit: bool) -> Result<ObjectId, RevisionError> {
        let mut found = self.objects.beginning(prefix, CANDIDATES_MAX)?;
        if found.len() > 1 && wants_commit {
            let mut commits = Vec::new();
            for id in &found {
                if matches!(self.objects.read(*id)?.kind, Kind::Commit | Kind::Tag) {
                    commits.push(*id);
                }
            }
            if commits.len() == 1 {
                found = commits;
            }
        }
        match found.as_slice() {
            [] => Err(RevisionError::Unknown(name.to_owned())),
            [id] => Ok(*id),
            many => {
                let some: Vec<String> = many.iter().take(4).map(ToString::to_string).collect();
                Err(RevisionError::Ambiguous(name.to_owned(), some.join(", ")))
            }
        }
    }

    /// Takes one `~n`, `^n` or `^{kind}` off `steps` and goes there.
    fn step(&self, id: ObjectId, steps: &mut &str, whole: &str) -> Result<ObjectId, RevisionError> {
        let syntax = |why| RevisionError::Syntax(whole.to_owned(), why);
        let (sign, rest) = steps.split_at(1);
        if let Some(rest) = rest.strip_prefix('{').filter(|_| sign == "^") {
            let (kind, rest) = rest.split_once('}').ok_or_else(|| syntax("a brace is not closed"))?;
            *steps = rest;
            return match kind {
                "" => self.peel_tags(id),
                "commit" => self.peel(id, Kind::Commit),
                "tree" => self.tree_of(id),
                _ => Err(syntax("^{} takes nothing, commit or tree")),
            };
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = rest.split_at(digits);
        *steps = rest;
        let number: usize = match number {
            "" => 1,
            number => number.parse().map_err(|_| syntax("a number is too large"))?,
        };
        let id = self.peel(id, Kind::Commit)?;
        match sign {
            "~" => (0..number).try_fold(id, |id, _| self.parent(id, 1)),
            "^" if number == 0 => Ok(id),
            "^" => self.parent(id, number),
            _ => Err(syntax("~ or ^ must follow")),
        }
    }

    fn parent(&self, id: ObjectId, number: usize) -> Result<ObjectId, RevisionError> {
        let commit = Commit::read(&self.objects, id)?;
        if self.shallow.contains(&id) {
            return Err(RevisionError::Shallow(id));
        }
        commit.parents().get(number - 1).copied().ok_or(RevisionError::NoParent(id, number))
    }

    fn peel(&self, id: ObjectId, wanted: Kind) -> Result<ObjectId, RevisionError> {
        let id = self.peel_tags(id)?;
        self.objects.read_kind(id, wanted)?;
        Ok(id)
    }

    fn peel_tags(&self, id: ObjectId) -> Result<ObjectId, RevisionError> {
        let mut at = id;
        for _ in 0..TAGS_MAX {
            let object = self.objects.read(at)?;
            if object.kind != Kind::Tag {
                return Ok(at);
            }
            let tag = TagRef::from_bytes(&object.data, gix_hash::Kind::Sha1)
                .map_err(|error| ObjectError::Corrupt { id: at, why: error.to_string() })?;
            at = tag.target();
        }
        Err(ObjectError::Corrupt { id, why: format!("more than {TAGS_MAX} tags lead to one another") }.into())
    }
}
