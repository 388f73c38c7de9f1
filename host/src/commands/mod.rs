//! The commands, one a file: each parses what clap left as text, does its work through the dispatcher or a reader, and
//! prints. `main` is the only place where an error is printed and becomes an exit code.

mod apply;
mod audit;
mod background;
mod call;
mod check;
mod checkup;
mod doctor;
mod gates;
mod install;
mod mcp;
mod plan;
mod plugin;
mod policy;
mod resume;
mod run;
mod runs;
mod servers;
mod started;
mod told;
mod workflows;

use crate::cli::mcp::McpCommand;
use crate::cli::{AuditCommand, Cli, Command, Output, PluginCommand, PolicyCommand, RunsCommand};
use crate::decide::Wanted;
use crate::exit::{Exit, Trouble};
use crate::terminal::{self, Style, plain};
use clap::Parser as _;
use serde::Serialize;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

/// Run the program on `args`, the program's name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let all: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&all) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and they are no errors.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return exit.into();
        }
    };
    let json = cli.command.output().json;
    let named = cli.policy.as_deref();
    let ended = match cli.command {
        Command::Run(run) if run.detach && cli.as_run.is_none() => run::detach(all, run.output),
        Command::Run(args) => run::run(&args, named, cli.as_run, None),
        Command::Runs(RunsCommand::Resume(args)) if args.detach && cli.as_run.is_none() => {
            run::detach(all, args.output)
        }
        Command::Runs(RunsCommand::Resume(args)) => resume::resume(&args, named, cli.as_run),
        Command::Check { script, dir, strict, output } => check::check(&script, &dir, strict, named, output),
        Command::Workflows { dir, output } => workflows::list(&dir, named, output),
        Command::Call(args) => call::call(&args, named),
        Command::Plugin(PluginCommand::List(output)) => plugin::list(output),
        Command::Plugin(PluginCommand::Inspect { plugin, output }) => plugin::inspect(&plugin, named, output),
        Command::Runs(RunsCommand::List { limit, output }) => runs::list(limit, output),
        Command::Runs(RunsCommand::Show { run, patch: true, .. }) => runs::patch(&run),
        Command::Runs(RunsCommand::Show { run, events, verify, output, .. }) => {
            runs::show(&run, runs::Show { events, verify }, output)
        }
        Command::Runs(RunsCommand::Apply { run, dry_run, except_conflicts, abandon, output }) => {
            apply::apply(&run, apply::How { dry_run, except_conflicts, abandon }, output)
        }
        Command::Runs(RunsCommand::Watch { run, output }) => background::watch(&run, output),
        Command::Runs(RunsCommand::Stop { run, now, output }) => background::stop(&run, now, output),
        Command::Runs(RunsCommand::Approve { run, gate, note, output }) => {
            let wanted = Wanted { run: &run, gate: gate.as_deref(), approved: true, note: note.as_deref() };
            gates::decide(wanted, output)
        }
        Command::Runs(RunsCommand::Deny { run, gate, note, output }) => {
            let wanted = Wanted { run: &run, gate: gate.as_deref(), approved: false, note: note.as_deref() };
            gates::decide(wanted, output)
        }
        Command::Runs(RunsCommand::Export { run, out, output }) => audit::export(&run, &out, output),
        Command::Audit(AuditCommand::Verify { run, bundle, head, seal, output, .. }) => {
            let what = match (&run, &bundle) {
                (Some(run), _) => audit::What::Run(run),
                (None, Some(bundle)) => audit::What::Bundle(bundle),
                (None, None) => audit::What::All,
            };
            audit::verify(what, audit::Noted { head: head.as_ref(), seal: seal.as_ref() }, output)
        }
        Command::Policy(PolicyCommand::Check { file, dir, output }) => policy::check(&file, &dir, named, output),
        Command::Policy(PolicyCommand::Show { dir, output }) => policy::show(&dir, named, output),
        Command::Policy(PolicyCommand::Explain(args)) => policy::explain(&args, named),
        Command::Mcp(args) => match &args.command {
            None => mcp::serve(&args.serve, named),
            Some(McpCommand::Servers { dir, output }) => servers::list(dir, *output),
            Some(McpCommand::Trust(args)) => servers::trust(args, named),
            Some(McpCommand::Untrust { server, dir, output }) => servers::untrust(server, dir, *output),
            Some(McpCommand::Install(args)) => install::install(args, named),
            Some(McpCommand::Doctor { dir, name, output }) => checkup::checkup(dir, name, *output),
        },
        Command::Doctor(output) => doctor::doctor(named, output),
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
    // A cause may be a guest's words. Its further lines are marked as such, so that none passes for what to do next.
    eprintln!("  {}", plain(&trouble.why).trim_end().replace('\n', "\n  | "));
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
            Self::Runs(
                RunsCommand::List { output, .. }
                | RunsCommand::Show { output, .. }
                | RunsCommand::Watch { output, .. }
                | RunsCommand::Stop { output, .. }
                | RunsCommand::Approve { output, .. }
                | RunsCommand::Deny { output, .. }
                | RunsCommand::Export { output, .. }
                | RunsCommand::Apply { output, .. },
            ) => *output,
            Self::Mcp(args) => match &args.command {
                Some(
                    McpCommand::Doctor { output, .. }
                    | McpCommand::Servers { output, .. }
                    | McpCommand::Untrust { output, .. },
                ) => *output,
                Some(McpCommand::Trust(args)) => args.output,
                Some(McpCommand::Install(_)) | None => Output { json: false },
            },
            Self::Runs(RunsCommand::Resume(args)) => args.output,
            Self::Audit(AuditCommand::Verify { output, .. }) => *output,
            Self::Policy(PolicyCommand::Check { output, .. } | PolicyCommand::Show { output, .. }) => *output,
            Self::Policy(PolicyCommand::Explain(args)) => args.output,
            Self::Check { output, .. } | Self::Workflows { output, .. } | Self::Doctor(output) => *output,
        }
    }
}

/// One JSON document on standard output.
fn print_json(value: &impl Serialize) -> Result<(), Trouble> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Trouble::failed("the answer cannot be printed as JSON", error, "run it without --json"))?;
    print_out(&terminal::json(&text))
}

/// `text` and a line end on standard output.
fn print_out(text: &str) -> Result<(), Trouble> {
    print_raw(format!("{text}\n").as_bytes())
}

/// Bytes on standard output as they are. Somebody who stopped reading (`| head`) is no error.
fn print_raw(bytes: &[u8]) -> Result<(), Trouble> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
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
