//! The command line as clap reads it: flags and their help, nothing that acts on them. Names given by people are parsed into
//! the kernel's types here, so no command ever sees a capability or a tool as bare text.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::ids::{RunId, ToolName};

/// A nest of sealed WebAssembly cells for the tools that AI agents use.
#[derive(Debug, Parser)]
#[command(
    name = "vespiary",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed or stopped, 2 usage, 3 denied, 4 out of budget, 5 awaiting a gate, 6 degraded.\n\
                  Files: the ledger and compiled code follow the XDG directories; VESPIARY_HOME moves them all."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a workflow script and write a report.
    Run(Box<RunArgs>),
    /// Call one tool and print what it answers.
    Call(CallArgs),
    /// Look at the plugins that can be called.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Look at recorded runs.
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Check this machine, and say what to do where something is wrong.
    Doctor(Output),
}

/// How to print.
#[derive(Debug, Clone, Copy, Args)]
pub struct Output {
    /// Print one JSON document, for programs.
    #[arg(long)]
    pub json: bool,
}

/// What a call or run may do.
#[derive(Debug, Clone, Args)]
pub struct Permissions {
    /// Grant a capability beside the default ones: read:PATH, write:PATH, tool:PLUGIN.TOOL, spawn:N.
    #[arg(long, value_name = "CAP")]
    pub allow: Vec<Capability>,
    /// Refuse every call that would hold any part of this.
    #[arg(long, value_name = "CAP")]
    pub deny: Vec<Capability>,
    /// Ask at the terminal before a call that would hold any part of this.
    #[arg(long, value_name = "CAP")]
    pub ask: Vec<Capability>,
    /// Grant only what --allow names, not the defaults.
    #[arg(long)]
    pub only: bool,
    /// A component to load beside the bundled plugins; its manifest is FILE.toml or plugin.toml beside it.
    #[arg(long, value_name = "FILE.wasm")]
    pub plugin: Vec<PathBuf>,
}

/// `vespiary run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The workflow: a JavaScript file, for example examples/audit.js.
    pub script: PathBuf,
    /// The project directory, to which relative paths and capabilities refer.
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub dir: PathBuf,
    /// Where report.md, report.html and findings.sarif go.
    #[arg(long, value_name = "DIR", default_value = "vespiary-report")]
    pub out: PathBuf,
    /// The script's `args`, as a JSON object; the script sees `dir` and these.
    #[arg(long, value_name = "JSON")]
    pub args: Option<String>,
    /// One member of `args`: a string, or JSON where the value reads as JSON. Given after --args, it wins.
    #[arg(long, value_name = "K=V")]
    pub arg: Vec<String>,
    /// What the run may do. Default: read:. tool:* spawn:1000
    #[command(flatten)]
    pub permissions: Permissions,
    /// Start at most this many agents in the whole run.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub agents: u32,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
    /// No progress; only the summary.
    #[arg(long)]
    pub quiet: bool,
}

/// `vespiary call`.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// PLUGIN.TOOL, for example files.read; an agent plugin's is PLUGIN.run.
    pub tool: ToolName,
    /// Its arguments: a JSON object, `-` for standard input, or @FILE.
    #[arg(default_value = "{}")]
    pub arguments: String,
    /// The project directory, to which relative paths and capabilities refer.
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub dir: PathBuf,
    /// What the call may do. Default: read:. and the tool itself; for an agent plugin, every tool.
    #[command(flatten)]
    pub permissions: Permissions,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

/// `vespiary plugin`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// The bundled plugins.
    List(Output),
    /// What a plugin offers, what it needs and why, and what its component imports.
    Inspect {
        /// A bundled plugin's name, or the path of a component with its manifest beside it.
        plugin: String,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

/// `vespiary runs`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Recorded runs, newest first.
    List {
        /// How many.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// One run: how it ended, its agents, its calls.
    Show {
        /// The run's id, or `last`.
        run: RunId,
        /// Every recorded event, in order.
        #[arg(long)]
        events: bool,
        /// Check the run's hash chain and blobs.
        #[arg(long)]
        verify: bool,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_run_has_the_promised_defaults() {
        let cli =
            Cli::try_parse_from(["vespiary", "run", "a.js", "--allow", "write:out", "--deny", "read:private"]).unwrap();
        let Command::Run(run) = cli.command else { panic!() };
        assert_eq!((run.dir.to_str(), run.out.to_str(), run.agents), (Some("."), Some("vespiary-report"), 1_000));
        assert_eq!(run.permissions.allow, ["write:out".parse().unwrap()]);
    }

    #[test]
    fn a_wrong_capability_is_refused_with_its_reason() {
        let error = Cli::try_parse_from(["vespiary", "run", "a.js", "--allow", "read:../x"]).unwrap_err().to_string();
        assert!(error.contains("'..' is not allowed"), "{error}");
        let error = Cli::try_parse_from(["vespiary", "call", "files", "{}"]).unwrap_err().to_string();
        assert!(error.contains("PLUGIN.TOOL"), "{error}");
    }
}
