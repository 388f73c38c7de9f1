//! `git.diff`, and what `git.show` tells of a commit's changes. What must never live here: how changes are found.

use super::status::{ChangeKind, Skipped, change_kind};
use super::{check_list, default_path};
use crate::changes::{self, Difference};
use crate::hidden;
use crate::index::Index;
use crate::patch::{self, FILE_BYTES_MAX, FilePatch};
use crate::repository::Repository;
use crate::room::Room;
use crate::text::Lossy;
use crate::tree::Paths;
use vespiary_sdk::prelude::*;

/// Largest patch given, in bytes.
const PATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most bytes that the patch takes in the answer, where a control character is six.
const PATCH_ROOM_BYTES: usize = 20 * 1024 * 1024;
/// Most files listed.
const FILES_MAX: usize = 10_000;
/// Most bytes that the list of files takes in the answer, and that of what could not be looked at.
const FILES_ROOM_BYTES: usize = 6 * 1024 * 1024;
const SKIPPED_ROOM_BYTES: usize = 1024 * 1024;
/// Most lines of context.
const CONTEXT_MAX: u32 = 10_000;

/// What to compare.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffArgs {
    /// A directory in the repository, relative to the project. The repository is looked for there and above.
    #[serde(default = "default_path")]
    path: String,
    /// The older side: a commit. Without it: the index, or HEAD where `staged`.
    #[serde(default)]
    from: Option<String>,
    /// The newer side: a commit. Without it: the working tree, or the index where `staged`.
    #[serde(default)]
    to: Option<String>,
    /// Compare with the index in place of the working tree.
    #[serde(default)]
    staged: bool,
    /// Only these files and directories, relative to the root of the repository. No patterns. Of files that may hold
    /// credentials (`.env`, private keys) the patch shows only those that are named here.
    #[serde(default)]
    paths: Vec<String>,
    /// Lines kept around each change.
    #[serde(default = "default_context")]
    context: u32,
    /// Count lines only; no patch.
    #[serde(default)]
    stat: bool,
    /// Largest patch in bytes, at most 8 MiB. Files past it are listed and counted without their patch.
    #[serde(default = "default_patch_bytes")]
    max_patch_bytes: usize,
}

pub(super) fn default_context() -> u32 {
    3
}

pub(super) fn default_patch_bytes() -> usize {
    1024 * 1024
}

/// What differs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DiffResult {
    /// Root of the working tree, relative to the project; the repository itself where it is bare.
    pub root: String,
    /// What differs.
    #[serde(flatten)]
    pub diff: DiffInfo,
    /// What of the working tree could not be looked at; whether it differs is not known.
    pub skipped: Vec<Skipped>,
}

/// Files that differ, and how.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct DiffInfo {
    /// The files, in order of their paths.
    pub files: Vec<FileDiff>,
    /// Files that differ, those not listed included.
    pub files_changed: usize,
    /// Lines added in the files listed.
    pub additions: u64,
    /// Lines removed in the files listed.
    pub deletions: u64,
    /// A unified diff that `git apply` takes; binary, too large and hidden files are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// Whether something was left out of a list or of the patch for want of room.
    pub truncated: bool,
    /// Whether bytes that are not UTF-8 were replaced by U+FFFD; such a patch does not apply.
    pub lossy: bool,
}

/// One file that differs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FileDiff {
    /// Its path.
    pub path: String,
    /// The path it had before it was renamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_path: Option<String>,
    /// What happened to it.
    pub status: ChangeKind,
    /// Its mode before, as Git writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_mode: Option<String>,
    /// Its mode after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_mode: Option<String>,
    /// Lines added; null where lines cannot be counted.
    pub additions: Option<u32>,
    /// Lines removed; null where lines cannot be counted.
    pub deletions: Option<u32>,
    /// Whether it is binary.
    pub binary: bool,
    /// Whether it is larger than the 4 MiB that are compared line by line.
    pub too_large: bool,
    /// Whether its part of the patch was left out for want of room.
    pub patch_omitted: bool,
    /// Whether it may hold credentials by its name, so that its part of the patch is left out: `paths` of `git.diff` can name
    /// it, or `path` of `git.show`.
    pub hidden: bool,
}

/// Compares two states of a Git repository: commit with commit, commit with working tree, index with working tree, or commit
/// with index (`staged`). Gives the files, their counts of lines and a unified diff.
#[tool]
pub fn diff(args: DiffArgs) -> Result<DiffResult> {
    check_list("paths", &args.paths)?;
    if args.staged && args.to.is_some() {
        return Err(Error::invalid("`staged` compares with the index, so `to` must not be given"));
    }
    if args.from.is_none() && args.to.is_some() {
        return Err(Error::invalid("`to` needs `from`: name the older commit too, for example `to`~1"));
    }
    let repository = Repository::discover(&args.path)?;
    let paths = Paths::new(&args.paths)?;
    // A tree within a commit is named by nobody's path, so what hides a file above it would not be seen.
    let tree = |rev: &str| repository.tree_of(repository.resolve_commit(rev)?);
    let index = || Index::read(&repository.git_dir);
    let committed = |differences| (differences, Vec::new());
    let (differences, unknown) = match (args.from.as_deref(), args.to.as_deref()) {
        (Some(from), Some(to)) => {
            committed(changes::between_trees(&repository.objects, Some(tree(from)?), Some(tree(to)?), &paths)?)
        }
        (from, _) if args.staged => {
            let from = match from {
                Some(from) => Some(tree(from)?),
                None => repository.refs.head()?.id.map(|id| repository.tree_of(id)).transpose()?,
            };
            committed(changes::tree_to_index(&repository.objects, from, &index()?, &paths)?)
        }
        (Some(from), _) => changes::tree_to_worktree(&repository, Some(tree(from)?), &index()?, &paths)?,
        (None, _) => changes::index_to_worktree(&repository, &index()?, &paths)?,
    };
    let context = (!args.stat).then_some(args.context);
    let mut diff = tell(&repository, differences, &paths, context, args.max_patch_bytes)?;
    let mut skipped: Vec<Skipped> = unknown.into_iter().map(|(path, reason)| Skipped { path, reason }).collect();
    let mut room = Room::new(SKIPPED_ROOM_BYTES);
    diff.truncated |= room.cut(&mut skipped, FILES_MAX);
    Ok(DiffResult { root: repository.work_dir.unwrap_or(repository.git_dir), diff, skipped })
}

/// Reads and compares the files that differ. Without `context` no patch is made. Of hidden files the patch shows those that
/// `paths` names.
pub(super) fn tell(
    repository: &Repository,
    differences: Vec<Difference>,
    paths: &Paths,
    context: Option<u32>,
    patch_bytes_max: usize,
) -> Result<DiffInfo> {
    let patch_bytes_max = patch_bytes_max.min(PATCH_BYTES_MAX);
    let mut told = DiffInfo::default();
    let mut lossy = Lossy::default();
    let mut patch = Vec::new();
    let (mut files_room, mut patch_room) = (Room::new(FILES_ROOM_BYTES), Room::new(PATCH_ROOM_BYTES));
    let mut is_full = false;
    for difference in differences {
        is_full |= told.files.len() == FILES_MAX;
        if is_full {
            told.files_changed += 1;
            told.truncated = true;
            continue;
        }
        let Some(mut file) = compared(repository, &difference, paths, context)? else { continue };
        told.files_changed += 1;
        let in_patch = !(file.binary || file.too_large);
        let fits = file.text.len() <= patch_bytes_max - patch.len();
        let omitted = !fits || in_patch && !patch_room.take(&String::from_utf8_lossy(&file.text));
        told.truncated |= omitted;
        let shown = shown(&difference, &file, omitted, &mut lossy);
        if !files_room.take(&shown) {
            (is_full, told.truncated) = (true, true);
            continue;
        }
        if in_patch && !omitted {
            patch.append(&mut file.text);
        }
        told.additions += u64::from(file.additions.unwrap_or(0));
        told.deletions += u64::from(file.deletions.unwrap_or(0));
        told.files.push(shown);
    }
    told.patch = context.map(|_| lossy.text(&patch));
    told.lossy = lossy.happened();
    Ok(told)
}

/// What differs in one file; nothing where its time alone does.
fn compared(
    repository: &Repository,
    difference: &Difference,
    paths: &Paths,
    context: Option<u32>,
) -> Result<Option<FilePatch>> {
    let read = |path, end| changes::content(repository, path, end, FILE_BYTES_MAX);
    let old_path = difference.old_path.as_ref().unwrap_or(&difference.path);
    let old = difference.old.map(|end| read(old_path, end)).transpose()?;
    let new = difference.new.map(|end| read(&difference.path, end)).transpose()?;
    if is_unchanged(difference, old.as_ref(), new.as_ref()) {
        return Ok(None);
    }
    // A file that had a hidden name still holds the same.
    let hidden = [old_path, &difference.path].iter().any(|path| hidden::is_hidden(repository, path, paths));
    // Not even the hashes are told: from that of a short text the text can be guessed.
    let context = context.map(|context| context.min(CONTEXT_MAX)).filter(|_| !hidden);
    Ok(Some(FilePatch { hidden, ..patch::compare(difference, old.as_ref(), new.as_ref(), context) }))
}

fn shown(difference: &Difference, file: &FilePatch, patch_omitted: bool, lossy: &mut Lossy) -> FileDiff {
    FileDiff {
        path: lossy.text(&difference.path),
        old_path: difference.old_path.as_ref().map(|path| lossy.text(path)),
        status: change_kind(difference),
        old_mode: difference.old.map(|end| patch::mode(end.kind())),
        new_mode: difference.new.map(|end| patch::mode(end.kind())),
        additions: file.additions,
        deletions: file.deletions,
        binary: file.binary,
        too_large: file.too_large,
        patch_omitted,
        hidden: file.hidden,
    }
}

fn is_unchanged(difference: &Difference, old: Option<&changes::Content>, new: Option<&changes::Content>) -> bool {
    use changes::Content::Whole;
    let same_kind = difference.old.map(|end| end.kind()) == difference.new.map(|end| end.kind());
    let same_content = matches!((old, new), (Some(Whole(_, old)), Some(Whole(_, new))) if old == new);
    difference.old_path.is_none() && same_kind && same_content
}
