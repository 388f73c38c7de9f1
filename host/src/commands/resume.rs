//! `vespiary runs resume`: a new run that goes on from a recorded one, with its script, arguments, grants and limits. What was
//! finished answers again; it is looked up by what was asked, not by when. `--plan` prints what `plan` says, the rest what
//! `run` does.

use super::started::{Onward, Started};
use super::{run, runs};
use crate::cli::{Bounds, InDoubt, Permissions, ResumeArgs, RunArgs};
use crate::disk;
use crate::exit::{Exit, Trouble};
use crate::models::ProviderSpec;
use crate::paths::Home;
use crate::workflows::Script;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vespiary_fleet::drive::SCRIPT_BYTES_MAX;
use vespiary_kernel::event::RunStatus;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::reuse::Doubt;
use vespiary_ledger::lineage::Lineage;
use vespiary_ledger::reader::Reader;

pub(super) fn resume(args: &ResumeArgs, policy: Option<&Path>, as_run: Option<RunId>) -> Result<Exit, Trouble> {
    let home = Home::locate()?;
    let lineage = lineage(&Reader::open(&home.ledger())?, args)?;
    let started: Started = lineage.settings.read().map_err(|error| {
        let next = "start it anew with `vespiary run`";
        Trouble::failed("the run cannot be resumed", format!("how it was started cannot be read: {error}"), next)
    })?;
    let provider =
        match (&args.provider, &started.provider) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(text)) => Some(text.parse::<ProviderSpec>().map_err(|error| {
                Trouble::failed("the run cannot be resumed", error, "name a provider with --provider")
            })?),
            (None, None) => None,
        };
    let script = match &args.script {
        None => {
            let (title, source) = (lineage.title.clone(), lineage.source.clone());
            Script { path: PathBuf::from(&title), title, source, by_name: false }
        }
        Some(path) => {
            let source = disk::read_text(path, SCRIPT_BYTES_MAX).map_err(|why| {
                let what = format!("the script {} cannot be read", path.display());
                Trouble::usage(what, why, "name a JavaScript file, or leave --script out")
            })?;
            Script { path: path.clone(), title: lineage.title.clone(), source, by_name: false }
        }
    };
    let allow = started.allow.into_iter().chain(args.allow.iter().cloned()).collect();
    let run_args = RunArgs {
        script: script.path.clone(),
        dir: args.dir.clone().unwrap_or_else(|| PathBuf::from(&lineage.root)),
        out: args.out.clone().unwrap_or(started.out),
        args: None,
        arg: Vec::new(),
        bounds: Bounds {
            provider,
            tokens: args.tokens.or(started.tokens),
            usd: args.usd.or(started.usd_micros),
            time: args.time.or(started.time_ms.map(Duration::from_millis)),
            agents: started.agents,
        },
        ask_above: None,
        permissions: Permissions {
            allow,
            deny: started.deny,
            ask: started.ask,
            only: started.only,
            plugin: started.plugins,
            plugin_is: args.plugin_is.clone(),
        },
        at_once: started.at_once,
        output: args.output,
        quiet: args.quiet,
        detach: args.detach,
        apply: args.apply,
        fresh: false,
    };
    let doubt = match args.in_doubt {
        InDoubt::Ask => Doubt::Ask,
        InDoubt::Redo => Doubt::Redo,
        InDoubt::Skip => Doubt::Skip,
    };
    let onward = Onward { runs: lineage.runs, script, args: lineage.args, doubt, plan: args.plan };
    run::run(&run_args, policy.or(started.policy.as_deref()), as_run, Some(onward))
}

/// What the run, or the latest that goes on from it, needs to go on.
fn lineage(reader: &Reader, args: &ResumeArgs) -> Result<Lineage, Trouble> {
    let asked = runs::find(reader, &args.run)?;
    let latest = reader.latest_of(&asked.id)?;
    let run = reader.run(&latest)?;
    if run.status == RunStatus::Completed && args.script.is_none() && !args.plan {
        return Err(Trouble::usage(
            format!("{latest} cannot be resumed"),
            "it has completed; nothing of it is left to do",
            "start it anew with `vespiary run`, or give an edited script with --script",
        ));
    }
    reader.lineage(&latest)?.ok_or_else(|| {
        Trouble::usage(
            format!("{latest} cannot be resumed"),
            "its record holds no script: it is a single call, or an older version made it",
            "start it anew with `vespiary run`",
        )
    })
}
