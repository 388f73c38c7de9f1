//! Host programs as calls see them: how one is named, what a call may say about its run, and what comes back. Names and
//! bounds only: which file a name means, and whether it may be started, a pillar finds out.

use crate::json::{Json, NotJson};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest path that names a program, bytes.
const PATH_BYTES_MAX: usize = 1_024;
/// Most arguments of one run.
const ARGS_MAX: usize = 1_024;
/// Longest argument, bytes. Linux takes 128 KiB with the closing NUL.
const ARG_BYTES_MAX: usize = 100 << 10;
/// All arguments together, bytes. Linux takes a quarter of the stack's limit, which is 2 MiB.
const ARGS_BYTES_MAX: usize = 1 << 20;
/// Standard input, bytes.
const STDIN_BYTES_MAX: usize = 8 << 20;
/// Longest directory, bytes.
const DIR_BYTES_MAX: usize = 1_024;

/// What a program is called: `rg`, looked for in the system's own directories and nowhere else, or `/opt/tool/bin/check`,
/// that very file. Two names are the same program only when they are the same text.
///
/// ```
/// use vespiary_kernel::program::ProgramName;
/// assert!("cargo".parse::<ProgramName>().is_ok());
/// assert!("/usr/bin/../../tmp/cargo".parse::<ProgramName>().is_err());
/// assert!("./cargo".parse::<ProgramName>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProgramName(Arc<str>);

/// Text that does not name a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} does not name a program: {why}")]
pub struct BadProgram {
    text: String,
    why: &'static str,
}

impl ProgramName {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names one file, rather than a name to look for.
    pub fn is_path(&self) -> bool {
        self.0.starts_with('/')
    }
}

impl FromStr for ProgramName {
    type Err = BadProgram;

    fn from_str(text: &str) -> Result<Self, BadProgram> {
        let fault = match text.strip_prefix('/') {
            Some(rest) => path_fault(rest),
            None => name_fault(text),
        };
        match fault {
            None => Ok(Self(text.into())),
            Some(why) => Err(BadProgram { text: text.chars().take(80).collect(), why }),
        }
    }
}

fn name_fault(name: &str) -> Option<&'static str> {
    if name.contains('/') {
        return Some("a path starts with '/'; a name has no '/'");
    }
    if !(1..=64).contains(&name.len()) {
        return Some("a name has 1 to 64 characters");
    }
    if name.starts_with(['.', '-']) {
        return Some("a name does not start with '.' or '-'");
    }
    let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-'));
    (!fits).then_some("a name has only letters, digits, '.', '_', '+' and '-'")
}

/// What is wrong with the path `/rest`.
fn path_fault(rest: &str) -> Option<&'static str> {
    if rest.len() >= PATH_BYTES_MAX {
        return Some("the path is too long");
    }
    if rest.chars().any(|c| c.is_control() || matches!(c, '*' | '?' | '[' | '\\')) {
        return Some("a path has no control characters and no '*', '?', '[' or '\\'; name one file");
    }
    rest.split('/')
        .any(|part| matches!(part, "" | "." | ".."))
        .then_some("a path has no empty part, no '.' and no '..'; write it as it is on disk")
}

impl fmt::Display for ProgramName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ProgramName {
    type Error = BadProgram;
    fn try_from(text: String) -> Result<Self, BadProgram> {
        text.parse()
    }
}

impl From<ProgramName> for String {
    fn from(name: ProgramName) -> String {
        name.0.as_ref().to_owned()
    }
}

/// The arguments of a call that runs a program. Reading them checks every bound, so whoever holds one need not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct ProgramArguments {
    program: ProgramName,
    args: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dir: Option<String>,
}

/// The same as written, before its bounds are known to hold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    program: ProgramName,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    stdin: Option<String>,
    #[serde(default)]
    dir: Option<String>,
}

/// Arguments that a program is not started with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadArguments {
    /// More than there may be.
    #[error("{what}: {found}; at most {most} are allowed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: usize,
        /// How much there may be.
        most: usize,
    },
    /// A character with which nothing can be started.
    #[error("argument {0} holds a NUL character; no program can be given one")]
    Nul(usize),
    /// A directory that is not below the project.
    #[error(
        "{0:?} is not a directory below the project: write it relative to the project, without '..', for example tests"
    )]
    Dir(String),
}

impl ProgramArguments {
    /// The JSON Schema of what a call carries.
    pub const SCHEMA: &'static str = r#"{"type":"object","properties":{"program":{"type":"string","description":"a program's name, or its absolute path, as granted by exec:"},"args":{"type":"array","items":{"type":"string"},"maxItems":1024,"default":[]},"stdin":{"type":"string","description":"text for standard input; without it standard input is empty"},"dir":{"type":"string","description":"where to start it, relative to the project directory"}},"required":["program"],"additionalProperties":false}"#;

    /// Read what a call carries.
    ///
    /// # Errors
    /// A sentence that names the first field that does not fit.
    pub fn read(arguments: &Json) -> Result<Self, String> {
        arguments.read().map_err(|error| format!("exec.run takes {{program, args?, stdin?, dir?}}: {error}"))
    }

    /// The program to run.
    pub fn program(&self) -> &ProgramName {
        &self.program
    }

    /// Its arguments, without its own name.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// Its standard input. None: empty.
    pub fn stdin(&self) -> Option<&str> {
        self.stdin.as_deref()
    }

    /// Where it starts, relative to the project, `/`-separated, without `.` and `..`. None: in the project directory.
    pub fn dir(&self) -> Option<&str> {
        self.dir.as_deref()
    }
}

impl TryFrom<Written> for ProgramArguments {
    type Error = BadArguments;

    fn try_from(written: Written) -> Result<Self, BadArguments> {
        let Written { program, args, stdin, dir } = written;
        let within = |what, found, most| match found <= most {
            true => Ok(()),
            false => Err(BadArguments::TooMany { what, found, most }),
        };
        within("arguments", args.len(), ARGS_MAX)?;
        within("bytes of arguments", args.iter().map(|arg| arg.len() + 1).sum(), ARGS_BYTES_MAX)?;
        for (at, arg) in args.iter().enumerate() {
            within("bytes of one argument", arg.len(), ARG_BYTES_MAX)?;
            if arg.contains('\0') {
                return Err(BadArguments::Nul(at + 1));
            }
        }
        within("bytes of standard input", stdin.as_ref().map_or(0, String::len), STDIN_BYTES_MAX)?;
        let dir = dir.map(below_project).transpose()?.flatten();
        Ok(Self { program, args, stdin, dir })
    }
}

/// `dir` in its one form, or `None` for the project directory itself.
fn below_project(dir: String) -> Result<Option<String>, BadArguments> {
    let bad = |dir: &str| BadArguments::Dir(dir.chars().take(80).collect());
    if dir.len() > DIR_BYTES_MAX || dir.is_empty() || dir.starts_with('/') || dir.chars().any(char::is_control) {
        return Err(bad(&dir));
    }
    let parts: Vec<_> = dir.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(bad(&dir));
    }
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}

/// How a program ended by itself: a status, or a signal that somebody sent it or that it earned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ProgramStatus {
    /// Its exit status; 0 is success by custom.
    Exited(i32),
    /// The signal's name, `SIGSEGV`.
    Signalled(String),
}

/// What a program left. A status other than 0 is a result like any other: only the caller knows what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramResult {
    /// How it ended.
    pub status: ProgramStatus,
    /// Its standard output as text; bytes that are not UTF-8 became U+FFFD. When too long, its beginning and its end.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
    /// Whether a part of either was left out.
    pub truncated: bool,
    /// How long standard output was, bytes, with what was left out.
    pub stdout_bytes: u64,
    /// How long standard error was, bytes, with what was left out.
    pub stderr_bytes: u64,
}

impl ProgramResult {
    /// The JSON Schema of what comes back.
    pub const SCHEMA: &'static str = r#"{"type":"object","properties":{"status":{"description":"exit status, or the name of the signal that ended it","anyOf":[{"type":"integer"},{"type":"string"}]},"stdout":{"type":"string"},"stderr":{"type":"string"},"truncated":{"type":"boolean","description":"whether a part of the output was left out"},"stdout_bytes":{"type":"integer"},"stderr_bytes":{"type":"integer"}},"required":["status","stdout","stderr","truncated","stdout_bytes","stderr_bytes"]}"#;

    /// As a call's value.
    ///
    /// # Errors
    /// None that can happen: every field has a form in JSON.
    pub fn to_json(&self) -> Result<Json, NotJson> {
        Json::of(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<ProgramArguments, String> {
        ProgramArguments::read(&Json::parse(text).unwrap())
    }

    #[test]
    fn names_and_clean_paths_name_programs() {
        for good in ["rg", "cargo", "g++", "python3.11", "/usr/bin/env", "/opt/a b/c"] {
            let name: ProgramName = good.parse().unwrap();
            assert_eq!(name.to_string(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "-rf",
            ".hidden",
            "a b",
            "a/b",
            "./a",
            "../a",
            "a;b",
            "a\0",
            "ä",
            "*",
            "/",
            "//bin/sh",
            "/bin/",
            "/bin//sh",
            "/bin/./sh",
            "/bin/../sh",
            "/bin/s\nh",
            "/bin/*",
            "~/bin/x",
            "$HOME",
        ] {
            let error = bad.parse::<ProgramName>().expect_err(bad).to_string();
            assert!(error.len() > bad.len() + 30, "{error} does not explain itself");
        }
        assert!("x".repeat(65).parse::<ProgramName>().is_err());
        assert!(format!("/{}", "x".repeat(2_000)).parse::<ProgramName>().unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn arguments_are_read_with_their_bounds() {
        let all = read(r#"{"program":"sort","args":["-u"],"stdin":"b\na\n","dir":"./src//x/"}"#).unwrap();
        assert_eq!((all.program().as_str(), all.args(), all.stdin()), ("sort", &["-u".to_owned()][..], Some("b\na\n")));
        assert_eq!(all.dir(), Some("src/x"));
        assert_eq!(read(r#"{"program":"ls","dir":"."}"#).unwrap().dir(), None);
        for (bad, part) in [
            (r#"{}"#.to_owned(), "program"),
            (r#"{"program":"ls","shell":true}"#.to_owned(), "unknown field"),
            (r#"{"program":"ls -la"}"#.to_owned(), "does not name a program"),
            (r#"{"program":"ls","dir":"/etc"}"#.to_owned(), "below the project"),
            (r#"{"program":"ls","dir":"a/../../b"}"#.to_owned(), "below the project"),
            (r#"{"program":"ls","dir":""}"#.to_owned(), "below the project"),
            (r#"{"program":"ls","args":["a\u0000b"]}"#.to_owned(), "NUL"),
            (format!(r#"{{"program":"ls","args":[{}"x"]}}"#, r#""x","#.repeat(ARGS_MAX)), "arguments: 1025"),
            (format!(r#"{{"program":"ls","args":["{}"]}}"#, "x".repeat(ARG_BYTES_MAX + 1)), "one argument"),
            (format!(r#"{{"program":"ls","stdin":"{}"}}"#, "x".repeat(STDIN_BYTES_MAX + 1)), "standard input"),
        ] {
            let error = read(&bad).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_schemas_are_json_and_match_the_types() {
        for schema in [ProgramArguments::SCHEMA, ProgramResult::SCHEMA] {
            Json::parse(schema).unwrap();
        }
        let result = ProgramResult {
            status: ProgramStatus::Signalled("SIGKILL".into()),
            stdout: "out".into(),
            stderr: String::new(),
            truncated: false,
            stdout_bytes: 3,
            stderr_bytes: 0,
        };
        let json = result.to_json().unwrap();
        assert!(json.as_str().starts_with(r#"{"status":"SIGKILL","stdout":"out""#), "{json}");
        assert_eq!(json.read::<ProgramResult>().unwrap(), result);
    }

    proptest! {
        #[test]
        fn a_name_reads_back_what_it_prints(text in "\\PC{0,20}") {
            if let Ok(name) = text.parse::<ProgramName>() {
                prop_assert_eq!(name.as_str(), text.as_str());
                prop_assert_eq!(name.to_string().parse(), Ok(name));
            }
        }

        #[test]
        fn a_directory_that_is_taken_stays_below(dir in "[a./]{0,12}") {
            let json = format!(r#"{{"program":"ls","dir":"{dir}"}}"#);
            if let Ok(arguments) = read(&json) {
                let inside = arguments.dir().unwrap_or("x");
                prop_assert!(!inside.starts_with('/') && inside.split('/').all(|p| !matches!(p, "" | "." | "..")));
            }
        }
    }
}
