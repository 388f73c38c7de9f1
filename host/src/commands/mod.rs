//! The commands, one a file: each parses what clap left as text, does its work through the dispatcher or a reader, and
//! prints. `main` is the only place where an error is printed and becomes an exit code.

mod call;
mod doctor;
mod plugin;
mod run;
mod runs;

use crate::cli::{Cli, Command, Output, PluginCommand, RunsCommand};
use crate::exit::{Exit, Trouble};
use crate::terminal::{self, Style, plain};
use clap::Parser as _;
use serde::Serialize;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

/// Run the program on `args`, the program's name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and they are no errors.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return exit.into();
        }
    };
    let json = cli.command.output().json;
    let ended = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Call(args) => call::call(&args),
        Command::Plugin(PluginCommand::List(output)) => plugin::list(output),
        Command::Plugin(PluginCommand::Inspect { plugin, output }) => plugin::inspect(&plugin, output),
        Command::Runs(RunsCommand::List { limit, output }) => runs::list(limit, output),
        Command::Runs(RunsCommand::Show { run, events, verify, output }) => {
            runs::show(&run, runs::Show { events, verify }, output)
        }
        Command::Doctor(output) => doctor::doctor(output),
    };
    let exit = ended.unwrap_or_else(|trouble| {
        complain(&trouble, json);
        trouble.exit
    });
    exit.into()
}

fn complain(trouble: &Trouble, json: bool) {
    let style = Style::of_stderr();
    eprintln!("{} {}", style.red("error:"), style.bold(&plain(&trouble.what)));
    eprintln!("  {}", plain(&trouble.why).trim_end().replace('\n', "\n  "));
    if !trouble.next.is_empty() {
        eprintln!("  {} {}", style.green("next:"), plain(&trouble.next));
    }
    if json {
        let _ = print_json(&trouble.to_json());
    }
}

impl Command {
    fn output(&self) -> Output {
        match self {
            Self::Run(args) => args.output,
            Self::Call(args) => args.output,
            Self::Plugin(PluginCommand::List(output) | PluginCommand::Inspect { output, .. }) => *output,
            Self::Runs(RunsCommand::List { output, .. } | RunsCommand::Show { output, .. }) => *output,
            Self::Doctor(output) => *output,
        }
    }
}

/// One JSON document on standard output.
fn print_json(value: &impl Serialize) -> Result<(), Trouble> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Trouble::failed("the answer cannot be printed as JSON", error, "run it without --json"))?;
    print_out(&terminal::json(&text))
}

/// `text` and a line end on standard output. Somebody who stopped reading (`| head`) is no error.
fn print_out(text: &str) -> Result<(), Trouble> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Trouble::failed("standard output cannot be written", error, "free some space, or print elsewhere"))
        }
        _ => Ok(()),
    }
}

/// The lines of a table, columns padded to their widest cell; the last column is not.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let lines = rows.iter().map(|row| {
        let cells = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(i, (cell, width))| if i + 1 == row.len() { cell.clone() } else { format!("{cell:<width$}") });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = [vec!["a".into(), "bb".into()], vec!["ccc".into(), "d".into()]];
        assert_eq!(table(&rows), "a    bb\nccc  d");
    }

    #[test]
    fn help_is_no_error_and_nonsense_is() {
        let run = |args: &[&str]| main(args.iter().map(OsString::from));
        assert_eq!(format!("{:?}", run(&["vespiary", "--version"])), format!("{:?}", ExitCode::from(0)));
        assert_eq!(format!("{:?}", run(&["vespiary", "frobnicate"])), format!("{:?}", ExitCode::from(2)));
    }
}
