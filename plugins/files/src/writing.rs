//! Changing files: whole, or by replacing one exact piece of text with another.

use vespiary_sdk::fs;
use vespiary_sdk::prelude::*;

/// Arguments of `write`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteArgs {
    /// File to write, relative to the project.
    pub path: String,
    /// Its whole new content.
    pub text: String,
    /// Create missing directories above it.
    #[serde(default)]
    pub create_dirs: bool,
    /// Replace a file that exists. When false, one that exists is an error.
    #[serde(default = "crate::listing::yes")]
    pub overwrite: bool,
}

/// Arguments of `edit`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditArgs {
    /// File to edit, relative to the project.
    pub path: String,
    /// The exact text to replace, white space included.
    pub old: String,
    /// What to put in its place.
    pub new: String,
    /// How often `old` must occur; every occurrence is replaced. 1 when not given.
    #[serde(default = "one")]
    pub expected_count: usize,
}

/// What was written.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Written {
    /// The file.
    pub path: String,
    /// Its bytes now.
    pub bytes: u64,
    /// Whether the file is new.
    pub created: bool,
}

/// What was edited.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Edited {
    /// The file.
    pub path: String,
    /// Its bytes now.
    pub bytes: u64,
    /// Lines at which the replaced texts began, before the edit.
    pub lines: Vec<u64>,
}

fn one() -> usize {
    1
}

/// Write a whole file. The content is complete or not there at all: it is written beside the file and then put in its place.
#[tool]
pub fn write(args: WriteArgs) -> Result<Written> {
    let path = fs::clean(&args.path)?;
    let there = match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => return Err(Error::invalid(format!("{path} is a directory"))),
        Ok(_) => true,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(error.into()),
    };
    if there && !args.overwrite {
        return Err(Error::invalid(format!("{path} exists; set overwrite, or use files.edit to change a part of it")));
    }
    if let Some((above, _)) = path.rsplit_once('/').filter(|_| args.create_dirs) {
        fs::create_dir_all(above)?;
    }
    put(&path, &args.text)?;
    Ok(Written { path, bytes: args.text.len() as u64, created: !there })
}

/// Replace one exact piece of a text file. Fails, changing nothing, when the text occurs more or less often than expected.
#[tool]
pub fn edit(args: EditArgs) -> Result<Edited> {
    if args.old.is_empty() {
        return Err(Error::invalid("old is empty; to write a whole file use files.write"));
    }
    if args.old == args.new {
        return Err(Error::invalid("old and new are the same; there is nothing to do"));
    }
    let path = fs::clean(&args.path)?;
    let text = fs::read_to_string(&path)?;
    let lines = occurrences(&text, &args.old);
    if lines.len() != args.expected_count {
        let place = match lines.as_slice() {
            [] => "; read the file again, white space counts".to_owned(),
            lines => format!(
                ", at lines {}; take more text around it into old, or set expected_count",
                lines.iter().take(20).map(u64::to_string).collect::<Vec<_>>().join(", ")
            ),
        };
        let why = format!("old occurs {} times in {path}, expected {}{place}", lines.len(), args.expected_count);
        return Err(Error::invalid(why));
    }
    let text = text.replace(&args.old, &args.new);
    put(&path, &text)?;
    Ok(Edited { path, bytes: text.len() as u64, lines })
}

/// The lines, from 1, at which `old` begins.
fn occurrences(text: &str, old: &str) -> Vec<u64> {
    let (mut line, mut counted) = (1u64, 0);
    text.match_indices(old)
        .map(|(at, _)| {
            line += text[counted..at].bytes().filter(|byte| *byte == b'\n').count() as u64;
            counted = at;
            line
        })
        .collect()
}

/// Put `text` at `path` in one step.
fn put(path: &str, text: &str) -> Result<()> {
    // A link is written through, as everybody expects of a file; replacing it would leave the real file as it was.
    if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return Ok(fs::write(path, text)?);
    }
    let beside = format!("{path}.vespiary-new");
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        // The first error is the one that matters; a leftover is named in it only when it cannot be removed.
        let left = fs::remove_file(&beside).is_err() && fs::symlink_metadata(&beside).is_ok();
        let mut failure = Error::from(error);
        if left {
            failure = failure.within(format!("{beside} was left behind"));
        }
        return Err(failure);
    }
    Ok(())
}
