//! The command line as clap reads it: flags and their help, nothing that acts on them. Names given by people are parsed into
//! the kernel's types here, so no command ever sees a capability or a tool as bare text.

pub mod mcp;

use crate::cli::mcp::McpArgs;
use crate::models::ProviderSpec;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::ids::{Digest, RunId, ToolName};

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
    /// One more policy file, as strict as the administrator's: it narrows what may be done and never widens it.
    #[arg(long, global = true, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Given to the process of a detached run by the one that started it.
    #[arg(long = "as", global = true, hide = true, value_name = "RUN")]
    pub as_run: Option<RunId>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a workflow script and write a report.
    Run(Box<RunArgs>),
    /// List the workflows that can be run by name, and what each is for.
    Workflows {
        /// The project directory, whose workflows are listed with the user's.
        #[arg(long, value_name = "PATH", default_value = ".")]
        dir: PathBuf,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Look for mistakes in a workflow without running it.
    #[command(
        after_help = "Exit codes: 0 nothing that fails, 1 errors (or, with --strict, warnings), 2 there is no such script."
    )]
    Check {
        /// A JavaScript file, or the name of a workflow.
        #[arg(value_name = "SCRIPT|NAME")]
        script: PathBuf,
        /// The project directory, whose workflows are known by name.
        #[arg(long, value_name = "PATH", default_value = ".")]
        dir: PathBuf,
        /// Warnings fail, too.
        #[arg(long)]
        strict: bool,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Call one tool and print what it answers.
    Call(CallArgs),
    /// Look at the plugins that can be called.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Check the policy, show it, or explain what it says of a call.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Look at recorded runs.
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Prove that a record is what was written.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Serve tools, workflows and runs of a project to an assistant over MCP: on standard input and output, or with --http.
    Mcp(Box<McpArgs>),
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
#[derive(Debug, Clone, Default, Args)]
pub struct Permissions {
    /// Grant a capability beside the default ones: read:PATH, write:PATH, net:HOST, env:NAME, tool:PLUGIN.TOOL,
    /// mcp:SERVER.TOOL, exec:PROGRAM, spawn:N.
    #[arg(long, value_name = "CAP")]
    pub allow: Vec<Capability>,
    /// Take this away from every call, whatever it is granted.
    #[arg(long, value_name = "CAP")]
    pub deny: Vec<Capability>,
    /// Ask a person, at the terminal or through an MCP client, before a call that would hold any part of this.
    #[arg(long, value_name = "CAP")]
    pub ask: Vec<Capability>,
    /// Grant only what --allow names, not the defaults.
    #[arg(long)]
    pub only: bool,
    /// A component to load beside the bundled plugins; its manifest is FILE.toml or plugin.toml beside it.
    #[arg(long, value_name = "FILE.wasm")]
    pub plugin: Vec<PathBuf>,
    /// What a server took up: any other form of a component and its manifest is refused.
    #[arg(long, value_name = "SHA256", hide = true)]
    pub plugin_is: Vec<Digest>,
}

/// `vespiary run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The workflow: a JavaScript file, for example examples/audit.js, or the name of one that `vespiary workflows` lists.
    #[arg(value_name = "SCRIPT|NAME")]
    pub script: PathBuf,
    /// The project directory, to which relative paths and capabilities refer.
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub dir: PathBuf,
    /// Where report.md, report.html and findings.sarif go.
    #[arg(long, value_name = "DIR", default_value = "vespiary-report")]
    pub out: PathBuf,
    /// The script's `args`, as a JSON object or @FILE; the script sees `dir` and these.
    #[arg(long, value_name = "JSON")]
    pub args: Option<String>,
    /// One member of `args`: a string, or JSON where the value reads as JSON. Given after --args, it wins.
    #[arg(long, value_name = "K=V")]
    pub arg: Vec<String>,
    /// Who answers for models, and how much the run may use.
    #[command(flatten)]
    pub bounds: Bounds,
    /// Ask at the terminal before the run starts if this workflow cost more than this many US dollars the last time.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    pub ask_above: Option<u64>,
    /// What the run may do. Default: read:. tool:* spawn:1000
    #[command(flatten)]
    pub permissions: Permissions,
    /// Run at most this many agents at the same time; those beyond the machine's own places wait for one. Default: by its cores,
    /// and 64 where there is a provider.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub at_once: Option<u32>,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
    /// No progress; only the summary.
    #[arg(long)]
    pub quiet: bool,
    /// Let the run go on without this terminal, and print its id at once.
    #[arg(long)]
    pub detach: bool,
    /// When the run has completed, write what its isolated agents changed into the project, as `runs apply` does.
    #[arg(long)]
    pub apply: bool,
    /// Run everything, also what earlier runs over this project have answered from the same files.
    #[arg(long)]
    pub fresh: bool,
}

/// Who answers for models in a run, and how much it may use.
#[derive(Debug, Clone, Args)]
pub struct Bounds {
    /// Who answers for models: mock, mock:SETTING=NUMBER,... or scripted:FILE. The run is then granted its models. The settings
    /// are seed, latency-ms, fail, refuse, tokens, price-in and price-out.
    #[arg(long, value_name = "PROVIDER")]
    pub provider: Option<ProviderSpec>,
    /// Let models cost the run at most this many tokens, sent and received together: the script's `budget.total`.
    #[arg(long, value_name = "N")]
    pub tokens: Option<u64>,
    /// Let models cost the run at most this many US dollars.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    pub usd: Option<u64>,
    /// Start nothing new once the run has taken this long, for example 90s, 20m or 2h; agents that run may finish.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub time: Option<Duration>,
    /// Start at most this many agents in the whole run.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub agents: u32,
}

/// `vespiary runs resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The run's id, or `last`.
    pub run: RunId,
    /// Say what is known already and what would run. Runs nothing, records nothing, costs nothing.
    #[arg(long)]
    pub plan: bool,
    /// An edited script, in place of the recorded one: what is the same in it need not run again.
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// As of a run.
    #[arg(long, value_name = "SHA256", hide = true)]
    pub plugin_is: Vec<Digest>,
    /// Where the project is now, if it is no longer where it was.
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,
    /// What to do about a call that was interrupted and may have had its effect: ask at the terminal, make it again, or let it
    /// fail.
    #[arg(long, value_name = "HOW", default_value = "ask")]
    pub in_doubt: InDoubt,
    /// Where report.md, report.html and findings.sarif go. Default: where the run's own went.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Who answers for models, in place of who did.
    #[arg(long, value_name = "PROVIDER")]
    pub provider: Option<ProviderSpec>,
    /// Let models cost all parts of the run together at most this many tokens. Default: as the run was started.
    #[arg(long, value_name = "N")]
    pub tokens: Option<u64>,
    /// The same in US dollars.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    pub usd: Option<u64>,
    /// Start nothing new once this part of the run has taken this long. Default: as the run was started.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub time: Option<Duration>,
    /// Grant a capability beside those that the run was started with.
    #[arg(long, value_name = "CAP")]
    pub allow: Vec<Capability>,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
    /// No progress; only the summary.
    #[arg(long)]
    pub quiet: bool,
    /// Let the run go on without this terminal, and print its id at once.
    #[arg(long, conflicts_with = "plan")]
    pub detach: bool,
    /// When the run has completed, write what its isolated agents changed into the project.
    #[arg(long, conflicts_with = "plan")]
    pub apply: bool,
}

/// What to do about an effect that may have been had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InDoubt {
    /// Ask at the terminal.
    Ask,
    /// Make the call again.
    Redo,
    /// Let it fail.
    Skip,
}

/// US dollars as millionths of one.
fn dollars(text: &str) -> Result<u64, String> {
    let dollars = text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    // A float to an integer saturates.
    dollars.map(|n| (n * 1e6).floor() as u64).ok_or_else(|| "give a number of dollars, for example 2.50".into())
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

/// `vespiary policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Read policy files, and tell every fault and every doubt. Without FILE, those in force. Exits 2 where there is a fault.
    Check {
        /// Files to read in place of those in force; one at PROJECT/.vespiary/policy.toml is read as a project's.
        file: Vec<PathBuf>,
        /// The project directory, whose policy is read too.
        #[arg(long, value_name = "PATH", default_value = ".")]
        dir: PathBuf,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// The rules in force, layer by layer, with file and line, and the limits they leave.
    Show {
        /// The project directory, whose policy is read too.
        #[arg(long, value_name = "PATH", default_value = ".")]
        dir: PathBuf,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Why a call would be allowed, refused or asked about, rule by rule. Runs nothing.
    #[command(after_help = "Exit codes: 0 it would be allowed, 3 refused, 5 a person would be asked.")]
    Explain(CallArgs),
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
        /// Print what its isolated agents changed, as one patch, and nothing else.
        #[arg(long, conflicts_with_all = ["events", "verify", "json"])]
        patch: bool,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Follow a run that goes on elsewhere, to its end. Exits as the run does; Ctrl-C ends only the watching.
    Watch {
        /// The run's id, or `last`.
        run: RunId,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Stop a run that goes on elsewhere: agents that run may finish, and no new one starts.
    Stop {
        /// The run's id, or `last`.
        run: RunId,
        /// End every cell at once.
        #[arg(long)]
        now: bool,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Go on with a run that was stopped, killed, or lacks something: what is finished is neither made nor paid for again.
    Resume(Box<ResumeArgs>),
    /// Approve what a run waits for. The first decision holds.
    Approve {
        /// The run's id, or `last`.
        run: RunId,
        /// The beginning of the gate's digest; not needed where only one is open.
        gate: Option<String>,
        /// Words to go with the decision; the script is given them.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Deny what a run waits for. The first decision holds.
    Deny {
        /// The run's id, or `last`.
        run: RunId,
        /// The beginning of the gate's digest; not needed where only one is open.
        gate: Option<String>,
        /// Words to go with the decision; the script is given them.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Put a run into one file: its events with their chain, its blobs, its report.
    Export {
        /// The run's id, or `last`.
        run: RunId,
        /// The file to write; it is replaced where it exists.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Write what a run's isolated agents changed into its project: all of it, or nothing.
    Apply {
        /// The run's id, or `last`.
        run: RunId,
        /// Check everything, write nothing.
        #[arg(long)]
        dry_run: bool,
        /// Where agents disagree, leave the project as it is, and apply the rest.
        #[arg(long)]
        except_conflicts: bool,
        /// Give up an apply that was interrupted: say what of it is in place, and write nothing more.
        #[arg(long, conflicts_with_all = ["dry_run", "except_conflicts"])]
        abandon: bool,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

/// `vespiary audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check the hash chain and the blobs of a run, of a bundle, or of the whole ledger, and name the first broken link.
    #[command(
        after_help = "Exit codes: 0 everything is as it was written, 1 something was changed. Whoever rewrites a whole record \
                            makes a new one that holds in itself: to notice, keep a run's head elsewhere and give it with --head; of a bundle the seal, with --seal."
    )]
    Verify {
        /// The run's id, or `last`. Without it, and without --bundle, the whole ledger.
        #[arg(group = "one")]
        run: Option<RunId>,
        /// A file that `runs export` wrote, here or elsewhere.
        #[arg(long, value_name = "FILE", group = "one")]
        bundle: Option<PathBuf>,
        /// Every run of the ledger, and that there is nothing beside them.
        #[arg(long, conflicts_with_all = ["run", "bundle", "head", "seal"])]
        all: bool,
        /// The hash of the last event, as it was noted elsewhere.
        #[arg(long, value_name = "SHA256", requires = "one")]
        head: Option<Digest>,
        /// What `runs export` sealed the bundle with, as it was noted elsewhere: with it the reports are checked, too.
        #[arg(long, value_name = "SHA256", requires = "bundle")]
        seal: Option<Digest>,
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
        assert_eq!(
            (run.dir.to_str(), run.out.to_str(), run.bounds.agents),
            (Some("."), Some("vespiary-report"), 1_000)
        );
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
