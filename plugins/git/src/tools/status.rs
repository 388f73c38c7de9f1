//! `git.status`. What must never live here: how states are found out.

use super::{check_list, default_path};
use crate::changes::{self, End};
use crate::index::Index;
use crate::repository::{Repository, beside};
use crate::room::Room;
use crate::text::Lossy;
use crate::tree::Paths;
use crate::worktree::{self, State};
use gix_object::tree::EntryKind;
use std::collections::BTreeMap;
use vespiary_sdk::fs;
use vespiary_sdk::prelude::*;

/// Most bytes that all lists take in the answer.
const LISTS_ROOM_BYTES: usize = 24 * 1024 * 1024;

/// What to look at.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusArgs {
    /// A directory in the repository, relative to the project. The repository is looked for there and above.
    #[serde(default = "default_path")]
    path: String,
    /// Only these files and directories, relative to the root of the repository. No patterns.
    #[serde(default)]
    paths: Vec<String>,
    /// How untracked files are listed: as directories where nothing in one is tracked, file by file, or not.
    #[serde(default)]
    untracked: UntrackedArg,
    /// Most entries in each list.
    #[serde(default = "default_limit")]
    limit: usize,
}

/// How untracked files are listed.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum UntrackedArg {
    /// A directory with nothing tracked in it is one entry that ends in `/`.
    #[default]
    Directories,
    /// Each file.
    Files,
    /// Not at all, which is faster.
    None,
}

fn default_limit() -> usize {
    1_000
}

/// The state of a repository.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    /// Root of the working tree, relative to the project. Other paths here are relative to it.
    pub root: String,
    /// The branch checked out; null when HEAD is detached.
    pub branch: Option<String>,
    /// The commit checked out; null before the first one.
    pub head: Option<String>,
    /// Whether HEAD names a commit rather than a branch.
    pub detached: bool,
    /// What is under way, for example `merge` or `rebase`.
    pub in_progress: Vec<String>,
    /// What the next commit would change.
    pub staged: Vec<FileStatus>,
    /// What the working tree changes further.
    pub unstaged: Vec<FileStatus>,
    /// Files that are neither tracked nor ignored. Directories end in `/`.
    pub untracked: Vec<String>,
    /// Files in conflict.
    pub conflicted: Vec<Conflict>,
    /// Whether all four lists are empty.
    pub clean: bool,
    /// Whether a list was cut, at `limit` or for want of room.
    pub truncated: bool,
    /// What could not be looked at, and tracked files that are not there and would be hidden if they were (`.env`, private
    /// keys).
    pub skipped: Vec<Skipped>,
    /// Whether a path is not UTF-8 and had bytes replaced by U+FFFD.
    pub lossy: bool,
}

/// One changed file.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FileStatus {
    /// Its path.
    pub path: String,
    /// What happened to it.
    pub status: ChangeKind,
    /// The path it had before it was renamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_path: Option<String>,
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// Its content or mode changed.
    Modified,
    /// It is gone.
    Deleted,
    /// It is a link where a file was, or the other way round.
    TypeChanged,
    /// It moved, its content unchanged.
    Renamed,
}

/// One file in conflict.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Conflict {
    /// Its path.
    pub path: String,
    /// What the two sides did, for example `both_modified` or `deleted_by_them`.
    pub kind: &'static str,
}

/// Something that could not be looked at.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Skipped {
    /// Its path.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Tells the state of a Git repository: branch or detached HEAD, staged, unstaged, untracked (ignore rules honoured) and
/// conflicted files. Whether a file is executable cannot be seen in the working tree and is not compared; line endings and
/// filters are not converted; ignore rules outside the repository are not seen.
#[tool]
pub fn status(args: StatusArgs) -> Result<Status> {
    check_list("paths", &args.paths)?;
    let repository = Repository::discover(&args.path)?;
    let index = Index::read(&repository.git_dir)?;
    let paths = Paths::new(&args.paths)?;
    let untracked = match args.untracked {
        UntrackedArg::Directories => worktree::Untracked::Directories,
        UntrackedArg::Files => worktree::Untracked::Files,
        UntrackedArg::None => worktree::Untracked::None,
    };
    let scan = worktree::scan(&repository, &index, &paths, untracked)?;
    let head = repository.refs.head()?;
    let head_tree = head.id.map(|id| repository.tree_of(id)).transpose()?;
    let mut lossy = Lossy::default();
    let conflicts = conflicts(&index, &paths);
    let staged = changes::tree_to_index(&repository.objects, head_tree, &index, &paths)?;
    let staged = staged.into_iter().filter(|change| !conflicts.contains_key(change.path.as_slice())).collect();
    let staged: Vec<FileStatus> = joined(staged)
        .into_iter()
        .map(|(change, kind)| FileStatus {
            path: lossy.text(&change.path),
            status: kind,
            old_path: change.old_path.as_ref().map(|path| lossy.text(path)),
        })
        .collect();
    let mut unstaged = Vec::new();
    for (path, state) in &scan.changed {
        let announced = index.at(path).first().is_some_and(|entry| entry.announced);
        let status = match state {
            State::Same => continue,
            State::Modified if announced => ChangeKind::Added,
            State::Modified => ChangeKind::Modified,
            State::TypeChanged => ChangeKind::TypeChanged,
            State::Deleted => ChangeKind::Deleted,
        };
        unstaged.push(FileStatus { path: lossy.text(path), status, old_path: None });
    }
    let conflicted: Vec<Conflict> = conflicts
        .iter()
        .map(|(path, stages)| Conflict { path: lossy.text(path), kind: conflict_kind(*stages) })
        .collect();
    let skipped = scan.skipped.into_iter().map(|(path, reason)| Skipped { path, reason }).collect();
    let branch = head.reference.as_deref().map(|name| name.strip_prefix("refs/heads/").unwrap_or(name).to_owned());
    let clean = staged.is_empty() && unstaged.is_empty() && scan.untracked.is_empty() && conflicted.is_empty();
    let mut status = Status {
        root: repository.work_dir.clone().unwrap_or_default(),
        detached: branch.is_none(),
        branch,
        head: head.id.map(|id| id.to_string()),
        in_progress: in_progress(&repository),
        staged,
        unstaged,
        untracked: scan.untracked,
        conflicted,
        clean,
        truncated: scan.cut,
        skipped,
        lossy: lossy.happened(),
    };
    let mut room = Room::new(LISTS_ROOM_BYTES);
    status.truncated |= room.cut(&mut status.staged, args.limit) | room.cut(&mut status.unstaged, args.limit);
    status.truncated |= room.cut(&mut status.untracked, args.limit) | room.cut(&mut status.conflicted, args.limit);
    status.truncated |= room.cut(&mut status.skipped, args.limit);
    Ok(status)
}

/// A file that became a link comes as two differences, for patches; here it is one change of type.
fn joined(differences: Vec<changes::Difference>) -> Vec<(changes::Difference, ChangeKind)> {
    let mut joined: Vec<(changes::Difference, ChangeKind)> = Vec::with_capacity(differences.len());
    for difference in differences {
        if let Some((last, kind)) = joined.last_mut()
            && last.path == difference.path
        {
            *kind = ChangeKind::TypeChanged;
            continue;
        }
        let kind = change_kind(&difference);
        joined.push((difference, kind));
    }
    joined
}

pub(super) fn change_kind(difference: &changes::Difference) -> ChangeKind {
    match (difference.old, difference.new) {
        _ if difference.old_path.is_some() => ChangeKind::Renamed,
        (None, _) => ChangeKind::Added,
        (_, None) => ChangeKind::Deleted,
        (Some(old), Some(new)) if is_link(old) != is_link(new) => ChangeKind::TypeChanged,
        _ => ChangeKind::Modified,
    }
}

fn is_link(end: End) -> bool {
    end.kind() == EntryKind::Link
}

/// Paths in conflict, with a bit for each stage there is.
fn conflicts<'a>(index: &'a Index, paths: &Paths) -> BTreeMap<&'a [u8], u8> {
    let mut conflicts = BTreeMap::new();
    for entry in index.entries.iter().filter(|entry| entry.stage != 0 && paths.cover(&entry.path)) {
        *conflicts.entry(entry.path.as_slice()).or_default() |= 1 << entry.stage;
    }
    conflicts
}

fn conflict_kind(stages: u8) -> &'static str {
    match stages >> 1 {
        0b001 => "both_deleted",
        0b010 => "added_by_us",
        0b100 => "added_by_them",
        0b011 => "deleted_by_them",
        0b101 => "deleted_by_us",
        0b110 => "both_added",
        _ => "both_modified",
    }
}

fn in_progress(repository: &Repository) -> Vec<String> {
    let marks = [
        ("MERGE_HEAD", "merge"),
        ("rebase-merge", "rebase"),
        ("rebase-apply", "rebase"),
        ("CHERRY_PICK_HEAD", "cherry_pick"),
        ("REVERT_HEAD", "revert"),
        ("BISECT_LOG", "bisect"),
    ];
    let there = |file: &str| fs::metadata(beside(&repository.git_dir, file)).is_ok();
    marks.into_iter().filter(|(file, _)| there(file)).map(|(_, what)| what.to_owned()).collect()
}
