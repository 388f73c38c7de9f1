//! `vespiary mcp install`: the entry by which a client starts this server, shown before it is written.

use super::print_out;
use crate::approve;
use crate::cli::mcp::InstallArgs;
use crate::cli::{Cli, Command};
use crate::disk;
use crate::exit::{Exit, Trouble};
use crate::mcp::install::{App, Entry, Reach};
use crate::servers::file::SHARED;
use crate::terminal::plain;
use crate::wiring;
use clap::Parser as _;
use imara_diff::{Algorithm, BasicLineDiffPrinter, Diff, InternedInput, UnifiedDiffConfig};
use serde::de::IgnoredAny;
use std::io;
use std::path::{Path, PathBuf};

/// The largest file of settings that is looked at, bytes.
pub(super) const SETTINGS_BYTES_MAX: u64 = 16 << 20;

/// What some editors put before a text. It stays where it is, and is no part of the settings.
const MARK: &str = "\u{feff}";

pub(super) fn install(args: &InstallArgs, policy: Option<&Path>) -> Result<Exit, Trouble> {
    let root = wiring::project(&args.dir)?;
    let file = places(args.client, args.scope, &root)?;
    let entry = entry(args, policy)?;
    let title = args.client.title();
    let mut agreed = None;
    // Clients write there as well, and a person takes their time: after a yes it is read again, and that is what is written to.
    let after = loop {
        let (before, after) = edited(args, &file, &entry)?;
        if before == after {
            print_out(&format!("{title} starts it already: {}", file.display()))?;
            return Ok(Exit::Done);
        }
        let change = format!("{}\n{}{}", file.display(), change(&before, &after), remark(&file, &after));
        if args.dry_run {
            print_out(&plain(&change))?;
            return Ok(Exit::Done);
        }
        match &agreed {
            Some(to) if *to == change => break after,
            Some(_) => eprintln!("somebody else has written there meanwhile; with that, the change is another"),
            None => {}
        }
        if !agrees(args, &file, &change)? {
            print_out("nothing was written")?;
            return Ok(Exit::Denied);
        }
        agreed = Some(change);
    };
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

/// The settings as they are, and as they are with the entry.
fn edited(args: &InstallArgs, file: &Path, entry: &Entry) -> Result<(String, String), Trouble> {
    if file.is_symlink() && !file.exists() {
        let next = "make the file that it leads to, or remove the link";
        let what = format!("{} cannot be written", file.display());
        return Err(Trouble::usage(what, "it is a link, and what it leads to is not there", next));
    }
    let before = read(file)?.unwrap_or_default();
    let (mark, text) = before.strip_prefix(MARK).map_or(("", &*before), |text| (MARK, text));
    let after = format!("{mark}{}", args.client.with(text, &args.name, entry)?);
    Ok((before, after))
}

/// Whether the person agrees to a change, or has done so beforehand.
fn agrees(args: &InstallArgs, file: &Path, change: &str) -> Result<bool, Trouble> {
    if args.yes {
        eprintln!("{}", plain(change));
        return Ok(true);
    }
    approve::confirm(&format!("{}\nWrite this? [y/n] ", plain(change))).ok_or_else(|| {
        eprintln!("{}", plain(change));
        let next = "run it at a terminal, or with --yes; --dry-run only shows the change";
        let what = format!("{} was not written", file.display());
        Trouble { exit: Exit::Denied, ..Trouble::usage(what, "nobody is there to agree", next) }
    })
}

/// What there is to know of the settings that are to be written: many clients take comments, and the file that they share is read
/// strictly here.
fn remark(file: &Path, text: &str) -> &'static str {
    let shared = file.file_name().is_some_and(|name| name == SHARED);
    match shared && serde_json::from_str::<IgnoredAny>(text.trim_start_matches(MARK)).is_err() {
        true => {
            "\nIt has comments, or commas at the end of a list. They stay; JSON has none, and `vespiary mcp servers` cannot read \
             the file until they are gone.\n"
        }
        false => "",
    }
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
    Ok(read(file)?.map(|text| text.strip_prefix(MARK).map(str::to_owned).unwrap_or(text)))
}

/// The file as it is.
fn read(file: &Path) -> Result<Option<String>, Trouble> {
    match disk::read_text(file, SETTINGS_BYTES_MAX) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Trouble::usage(format!("{} cannot be read", file.display()), error, "make it a readable file in UTF-8"))
        }
    }
}

/// What the client is to run, under the policy that this command was given. Flags are read as the server would read them, so that an
/// entry that is written can be started.
fn entry(args: &InstallArgs, policy: Option<&Path>) -> Result<Entry, Trouble> {
    let wrong = |why: &str, next: &str| Trouble::usage("no server can be started so", why, next);
    let named = |flag: &str| {
        args.flags
            .iter()
            .any(|given| given.strip_prefix(flag).is_some_and(|rest| matches!(rest.chars().next(), None | Some('='))))
    };
    let mut line = Vec::new();
    if let Some(policy) = policy {
        if named("--policy") {
            return Err(wrong("it names two policies", "give --policy once"));
        }
        line.extend(["--policy".to_owned(), absolute(policy)?]);
    }
    line.push("mcp".to_owned());
    if let Some(project) = args.client.project().filter(|_| !named("--dir")) {
        line.extend(["--dir".to_owned(), project.to_owned()]);
    }
    line.extend(args.flags.iter().cloned());
    let parsed = Cli::try_parse_from(std::iter::once("vespiary").chain(line.iter().map(String::as_str)));
    let parsed = parsed.map_err(|error| {
        let why = error.render().to_string();
        let why = why.trim_start_matches("error: ").lines().next().unwrap_or_default();
        wrong(why, "`vespiary mcp --help` lists the flags")
    })?;
    match &parsed.command {
        Command::Mcp(mcp) if mcp.command.is_none() && mcp.serve.http.http.is_none() => {}
        _ => {
            let next =
                "leave out what says otherwise; `vespiary mcp --http` is started by you, and a client is given its URL";
            return Err(wrong("a client speaks with what it starts on standard input and output", next));
        }
    }
    Ok(Entry { command: program()?, args: line })
}

/// A policy's path, as it is found from wherever the client starts the server.
fn absolute(policy: &Path) -> Result<String, Trouble> {
    let unusable = |error: &dyn std::fmt::Display| {
        let next = "name a policy file that you can read";
        Trouble::usage(format!("{} cannot be the server's policy", policy.display()), error, next)
    };
    disk::read(policy, SETTINGS_BYTES_MAX).map_err(|error| unusable(&error))?;
    let path = std::path::absolute(policy).map_err(|error| unusable(&error))?;
    path.into_os_string().into_string().map_err(|_| unusable(&"its name is no text"))
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
