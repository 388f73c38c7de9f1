//! `git.log`. What must never live here: how history is walked.

use super::{check_list, default_path};
use crate::commit::CommitInfo;
use crate::history::{History, Wanted};
use crate::repository::Repository;
use crate::room::Room;
use crate::time;
use crate::tree::Paths;
use vespiary_sdk::prelude::*;

/// Most commits listed in one call.
const LIMIT_MAX: usize = 10_000;
/// Most bytes that they take in the answer.
const COMMITS_ROOM_BYTES: usize = 16 * 1024 * 1024;

/// What to list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogArgs {
    /// A directory in the repository, relative to the project. The repository is looked for there and above.
    #[serde(default = "default_path")]
    path: String,
    /// Where to begin: a hash (also abbreviated), branch, tag, remote branch or HEAD, with ~n or ^n; or a range a..b.
    #[serde(default = "default_rev")]
    rev: String,
    /// Most commits listed; at most 10,000.
    #[serde(default = "default_limit")]
    limit: usize,
    /// Commits left out at the beginning.
    #[serde(default)]
    skip: usize,
    /// Only commits that changed one of these, relative to the root of the repository. No patterns.
    #[serde(default)]
    paths: Vec<String>,
    /// Only commits at or after this time: `2026-01-31`, `2026-01-31T10:00:00Z` or seconds since 1970. Without
    /// an offset it is UTC; relative times are not taken.
    #[serde(default)]
    since: Option<String>,
    /// Only commits at or before this time.
    #[serde(default)]
    until: Option<String>,
    /// Only commits whose author's name or address contains this, whatever its case.
    #[serde(default)]
    author: Option<String>,
}

fn default_rev() -> String {
    "HEAD".to_owned()
}

fn default_limit() -> usize {
    50
}

/// Commits, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Log {
    /// Root of the working tree, relative to the project; the repository itself where it is bare.
    pub root: String,
    /// The commits.
    pub commits: Vec<CommitInfo>,
    /// Whether there are more, past `limit` or for want of room: ask again with a larger `skip`.
    pub more: bool,
    /// Whether this is a shallow clone, whose history ends early.
    pub shallow: bool,
}

/// Lists the commits of a Git repository, newest first, in the order of `git log`.
#[tool]
pub fn log(args: LogArgs) -> Result<Log> {
    check_list("paths", &args.paths)?;
    if args.limit > LIMIT_MAX {
        return Err(Error::invalid(format!("`limit` is {}; at most {LIMIT_MAX} are listed in one call", args.limit)));
    }
    let repository = Repository::discover(&args.path)?;
    let (without, from) = match args.rev.split_once("..") {
        Some((_, to)) if to.starts_with('.') => {
            return Err(Error::invalid(format!("`rev` is {}; of ranges only a..b is supported", args.rev)));
        }
        Some((without, from)) => (Some(repository.resolve_commit(without)?), from),
        None => (None, args.rev.as_str()),
    };
    let wanted = Wanted {
        paths: Paths::new(&args.paths)?,
        since: args.since.as_deref().map(|text| seconds("since", text)).transpose()?,
        until: args.until.as_deref().map(|text| seconds("until", text)).transpose()?,
        author: args.author.map(|author| author.to_lowercase()),
    };
    let mut history = History::new(&repository, repository.resolve_commit(from)?, without, wanted)?;
    let mut commits = Vec::new();
    let mut passed = 0;
    let mut room = Room::new(COMMITS_ROOM_BYTES);
    let more = loop {
        match history.advance()? {
            None => break false,
            Some(_) if passed < args.skip => passed += 1,
            Some(_) if commits.len() == args.limit => break true,
            Some(commit) => {
                let shown = commit.show()?;
                // The first is told whatever it takes, or asking again would never get past it.
                if !room.take(&shown) && !commits.is_empty() {
                    break true;
                }
                commits.push(shown);
            }
        }
    };
    let shallow = !repository.shallow.is_empty();
    Ok(Log { root: repository.work_dir.unwrap_or(repository.git_dir), commits, more, shallow })
}

/// A point in time, in seconds since 1970.
fn seconds(name: &str, text: &str) -> Result<i64> {
    time::seconds(text).ok_or_else(|| {
        Error::invalid(format!(
            "`{name}` is {text:?}; write a date such as 2026-01-31, a time such as 2026-01-31T10:00:00Z, or seconds since 1970"
        ))
    })
}
