//! `vespiary mcp install`: the entry by which a client starts this server, shown before it is written.

use super::print_out;
use crate::approve;
use crate::cli::Cli;
use crate::cli::mcp::InstallArgs;
use crate::disk;
use crate::exit::{Exit, Trouble};
use crate::mcp::install::{App, Entry, Reach};
use crate::terminal::plain;
use crate::wiring;
use clap::Parser as _;
use imara_diff::{Algorithm, BasicLineDiffPrinter, Diff, InternedInput, UnifiedDiffConfig};
use std::io;
use std::path::{Path, PathBuf};

/// The largest file of settings that is looked at, bytes.
pub(super) const SETTINGS_BYTES_MAX: u64 = 16 << 20;

pub(super) fn install(args: &InstallArgs) -> Result<Exit, Trouble> {
    let root = wiring::project(&args.dir)?;
    let file = places(args.client, args.scope, &root)?;
    let entry = entry(args)?;
    let before = settings(&file)?;
    let after = args.client.with(before.as_deref().unwrap_or_default(), &args.name, &entry)?;
    let before = before.unwrap_or_default();
    let title = args.client.title();
    if before == after {
        print_out(&format!("{title} starts it already: {}", file.display()))?;
        return Ok(Exit::Done);
    }
    let change = format!("{}\n{}", file.display(), change(&before, &after));
    if args.dry_run {
        print_out(&plain(&change))?;
        return Ok(Exit::Done);
    }
    if args.yes {
        eprintln!("{}", plain(&change));
    } else {
        match approve::confirm(&format!("{}\nWrite this? [y/n] ", plain(&change))) {
            Some(true) => {}
            Some(false) => {
                print_out("nothing was written")?;
                return Ok(Exit::Denied);
            }
            None => {
                eprintln!("{}", plain(&change));
                let next = "run it at a terminal, or with --yes; --dry-run only shows the change";
                let what = format!("{} was not written", file.display());
                return Err(Trouble { exit: Exit::Denied, ..Trouble::usage(what, "nobody is there to agree", next) });
            }
        }
    }
    disk::replace(&file, &after).map_err(|error| {
        Trouble::failed(
            format!("{} cannot be written", file.display()),
            error,
            "make it writable, or put the entry there by hand",
        )
    })?;
    print_out(&format!("{title} starts it from now on: {}; `vespiary mcp doctor` checks it", file.display()))?;
    Ok(Exit::Done)
}

/// The file that holds a client's entries.
pub(super) fn places(app: App, reach: Reach, root: &Path) -> Result<PathBuf, Trouble> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = variable("HOME");
    if reach == Reach::User && home.is_none() {
        let next = "set HOME, or install for the project: --scope project";
        return Err(Trouble::usage("your own settings cannot be found", "HOME names no absolute directory", next));
    }
    let home = home.unwrap_or_default();
    let config = variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
    Ok(app.file(reach, root, &home, &config))
}

/// A client's settings; none where there are none yet.
pub(super) fn settings(file: &Path) -> Result<Option<String>, Trouble> {
    match disk::read_text(file, SETTINGS_BYTES_MAX) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Trouble::usage(format!("{} cannot be read", file.display()), error, "make it a readable file in UTF-8"))
        }
    }
}

/// What the client is to run. Flags are read as the server would read them, so that an entry that is written can be started.
fn entry(args: &InstallArgs) -> Result<Entry, Trouble> {
    let mut line = vec!["mcp".to_owned()];
    let names_a_project = args.flags.iter().any(|flag| flag == "--dir" || flag.starts_with("--dir="));
    if let Some(project) = args.client.project().filter(|_| !names_a_project) {
        line.extend(["--dir".to_owned(), project.to_owned()]);
    }
    line.extend(args.flags.iter().cloned());
    Cli::try_parse_from(std::iter::once("vespiary").chain(line.iter().map(String::as_str))).map_err(|error| {
        let why = error.render().to_string();
        let why = why.trim_start_matches("error: ").lines().next().unwrap_or_default().to_owned();
        Trouble::usage("no server can be started so", why, "`vespiary mcp --help` lists the flags")
    })?;
    Ok(Entry { command: program()?, args: line })
}

/// This program, as a client finds it: by its name where that is how it is found here, so that the entry holds for others as well.
fn program() -> Result<String, Trouble> {
    let unknown = |error: &dyn std::fmt::Display| {
        Trouble::failed("this program does not know where it is", error, "put the entry there by hand")
    };
    let this = std::env::current_exe().and_then(|path| path.canonicalize()).map_err(|error| unknown(&error))?;
    let named = this.file_name().unwrap_or_default();
    let on_path = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).map(|dir| dir.join(named)).find_map(|found| found.canonicalize().ok())
            == Some(this.clone())
    });
    let command = if on_path { PathBuf::from(named) } else { this };
    command.into_os_string().into_string().map_err(|path| unknown(&format!("{} is no text", path.display())))
}

/// The difference between two texts, line by line.
fn change(before: &str, after: &str) -> String {
    let input = InternedInput::new(before, after);
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    diff.unified_diff(&BasicLineDiffPrinter(&input.interner), UnifiedDiffConfig::default(), &input).to_string()
}
