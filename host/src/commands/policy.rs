//! `vespiary policy`: which rules there are, what is wrong with them, and what they say of a call. Nothing is run, and nobody
//! is asked.
//!
//! `--json`: `check` prints `{schema: "vespiary.policy-check/1", ok, files, faults, doubts}`, `show` prints `{schema:
//! "vespiary.policy/1", layers, ...}`, `explain` prints `{schema: "vespiary.policy-explanation/1", verdict, steps, ...}`.

use super::call::{arguments, defaults, named as plugin_of};
use super::{print_json, print_out, table};
use crate::catalog::Shelf;
use crate::cli::{CallArgs, Output, Permissions};
use crate::exit::{Exit, Trouble};
use crate::paths::Home;
use crate::policy::doubt::strangers;
use crate::policy::fault::Fault;
use crate::policy::places::Places;
use crate::policy::secret::SecretRule;
use crate::policy::sheet::Sheet;
use crate::policy::{Flags, Rules, Source};
use crate::report::{count, thousands};
use crate::terminal::{Style, line, plain};
use crate::wiring;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vespiary_kernel::account::{Limits, Resource};
use vespiary_kernel::capability::Capability;
use vespiary_kernel::dispatch::needs_of_call;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::host::HostLimits;
use vespiary_kernel::plugin::Plugin;
use vespiary_kernel::policy::{Case, Effect, Layer, LayerKind, PluginRule, Rule, Step, Verdict};
use vespiary_kernel::principal::RunLimits;
use vespiary_kernel::quota::Quota;

/// `policy check`
pub(super) fn check(files: &[PathBuf], dir: &Path, named: Option<&Path>, output: Output) -> Result<Exit, Trouble> {
    let known: Vec<String> = Shelf::bundled()?.iter().map(|entry| entry.plugin.name.to_string()).collect();
    let (sources, faults, mut doubts) = match files {
        [] => {
            let (home, root) = (Home::locate()?, wiring::project(dir)?);
            let places = Places::of(&home, named, &root);
            let sources = places.find().into_iter().map(|f| Source { kind: f.kind, path: f.path }).collect();
            match Rules::load(&places, &root, Flags::default()) {
                Ok(rules) => {
                    let strange = rules.layers.iter().flat_map(|layer| strangers(layer, &known));
                    (sources, Vec::new(), rules.doubts.into_iter().chain(strange).collect())
                }
                Err(faults) => (sources, faults.0, Vec::new()),
            }
        }
        files => of_files(files, &known),
    };
    doubts.sort();
    let exit = if faults.is_empty() { Exit::Done } else { Exit::Usage };
    if output.json {
        let files: Vec<_> = sources
            .iter()
            .map(|source| json!({ "path": source.path.to_string_lossy(), "layer": source.kind }))
            .collect();
        print_json(&json!({
            "schema": "vespiary.policy-check/1", "ok": faults.is_empty(), "files": files, "faults": faults, "doubts": doubts,
        }))?;
    } else {
        print_out(&check_text(&sources, &faults, &doubts, Style::of_stdout()))?;
    }
    Ok(exit)
}

/// What is wrong with each of `files`, whoever's they may become.
fn of_files(files: &[PathBuf], known: &[String]) -> (Vec<Source>, Vec<Fault>, Vec<Fault>) {
    let (mut sources, mut faults, mut doubts) = (Vec::new(), Vec::new(), Vec::new());
    for path in files {
        let kind = if path.ends_with(".vespiary/policy.toml") { LayerKind::Project } else { LayerKind::Administrator };
        sources.push(Source { kind, path: path.clone() });
        let file: Arc<str> = path.to_string_lossy().into();
        match crate::policy::places::read(path)
            .map_err(|fault| vec![fault])
            .and_then(|text| Sheet::read(&text, &file, kind))
        {
            Ok(sheet) => {
                doubts.extend(strangers(&sheet.layer, known));
                doubts.extend(sheet.doubts);
            }
            Err(found) => faults.extend(found),
        }
    }
    (sources, faults, doubts)
}

fn check_text(sources: &[Source], faults: &[Fault], doubts: &[Fault], style: Style) -> String {
    let mut lines: Vec<String> = faults.iter().map(|fault| format!("{}  {fault}", style.red("fault"))).collect();
    lines.extend(doubts.iter().map(|doubt| format!("{}  {doubt}", style.yellow("doubt"))));
    lines.push(match (sources.len() as u64, faults.len() as u64, doubts.len() as u64) {
        (0, 0, _) => "no policy file: grants are what the command line gives".into(),
        (files, 0, 0) => format!("{}: {} read, nothing to say", style.green("sound"), count(files, "file")),
        (files, 0, n) => format!("{}: {} read, {}", style.yellow("sound"), count(files, "file"), count(n, "doubt")),
        (_, n, _) => format!("{}: {}; nothing runs until they are corrected", style.red("unsound"), count(n, "fault")),
    });
    lines.join("\n")
}

/// `policy show`
pub(super) fn show(dir: &Path, named: Option<&Path>, output: Output) -> Result<Exit, Trouble> {
    let (home, root) = (Home::locate()?, wiring::project(dir)?);
    let rules = Rules::load(&Places::of(&home, named, &root), &root, Flags::default())?;
    if output.json {
        print_json(&show_json(&rules))?;
    } else {
        print_out(&show_text(&rules, Style::of_stdout()))?;
    }
    Ok(Exit::Done)
}

/// What calls, agents and runs may use under the rules.
fn limits(rules: &Rules) -> (Quota, Limits, Limits, u64) {
    let of = RunLimits::default();
    let (agent, run) = rules.policy.limits(of.agent, of.run);
    (rules.policy.quota(&Quota::default()), agent, run, rules.policy.agents_max(of.agents_max))
}

fn show_text(rules: &Rules, style: Style) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let mut say = |text: &str| {
        let _ = writeln!(out, "{text}");
    };
    let written = rules.layers.iter().filter(|layer| layer.kind != LayerKind::Run);
    for layer in written {
        say(&style.bold(&layer.kind.to_string()));
        if let Some(place) = &layer.locked {
            say(&format!("  locked  nothing below adds a plugin, host, model or program  {}", at(place, style)));
        }
        match layer.allow.as_deref() {
            Some([]) => say("  allow   nothing at all"),
            allow => list(&mut say, "allow", allow.unwrap_or_default(), style),
        }
        list(&mut say, "ask", &layer.ask, style);
        list(&mut say, "deny", &layer.deny, style);
        for rule in layer.plugins.iter().flatten() {
            say(&format!("  plugin  {}  {}", plugin(rule), at(&rule.place, style)));
        }
        if layer.plugins.as_ref().is_some_and(Vec::is_empty) {
            say("  plugin  none but the bundled ones");
        }
    }
    if rules.sources.is_empty() {
        say("no policy file: grants are what the command line gives");
    }
    say(&style.bold("built in"));
    say("  deny    write:.vespiary  unless --allow names it");
    if !rules.secrets.is_empty() {
        say(&style.bold("secrets"));
    }
    for SecretRule { name, source, header, place } in &rules.secrets {
        say(&format!("  {name}  from {} into {}  {}", line(&source.to_string()), header.as_str(), at(place, style)));
    }
    let (call, agent, run, agents_max) = limits(rules);
    let host = rules.policy.host(HostLimits::default());
    say(&format!("{}  a question waits {} seconds", style.bold("limits"), rules.ask_time_max.as_secs()));
    let number = |n: u64| if n == u64::MAX { "-".to_owned() } else { thousands(n) };
    let of_call = call.rows().into_iter().map(|(name, most, _)| vec![format!("  {name}"), number(most)]);
    say(&table(&std::iter::once(vec!["  A CALL".into(), "AT MOST".into()]).chain(of_call).collect::<Vec<_>>()));
    let mut rows = vec![["  TOGETHER", "AN AGENT", "A RUN"].map(str::to_owned).to_vec()];
    rows.extend(Resource::all().map(|r| vec![format!("  {}", r.name()), number(agent.of(r)), number(run.of(r))]));
    rows.push(vec!["  agents".into(), "-".into(), number(agents_max)]);
    say(&table(&rows));
    let of_host = host.rows().into_iter().map(|(name, most, _)| vec![format!("  {name}"), number(most)]);
    say(&table(&std::iter::once(vec!["  THE HOST".into(), "AT MOST".into()]).chain(of_host).collect::<Vec<_>>()));
    out.trim_end().to_owned()
}

fn list(say: &mut impl FnMut(&str), name: &str, rules: &[Rule], style: Style) {
    for rule in rules {
        say(&format!("  {name:<7} {}  {}", line(&rule.capability.to_string()), at(&rule.place, style)));
    }
}

fn at(place: &vespiary_kernel::policy::Place, style: Style) -> String {
    style.dim(&line(&place.to_string()))
}

fn plugin(rule: &PluginRule) -> String {
    match &rule.digest {
        Some(digest) => format!("{} sha256:{digest}", rule.name),
        None => format!("{} with any component", rule.name),
    }
}

fn show_json(rules: &Rules) -> Value {
    let place = |place: &vespiary_kernel::policy::Place| json!({ "file": &*place.source, "line": place.line });
    let list = |rules: &[Rule]| -> Vec<Value> {
        rules.iter().map(|r| json!({ "capability": r.capability, "place": place(&r.place) })).collect()
    };
    let layer = |layer: &Layer| {
        let plugins = layer.plugins.as_ref().map(|plugins| {
            plugins
                .iter()
                .map(|r| json!({ "name": r.name, "sha256": r.digest, "place": place(&r.place) }))
                .collect::<Vec<_>>()
        });
        json!({
            "layer": layer.kind, "locked": layer.locked.as_ref().map(place), "allow": layer.allow.as_deref().map(list),
            "ask": list(&layer.ask), "deny": list(&layer.deny), "plugins": plugins,
        })
    };
    let secret = |secret: &SecretRule| {
        json!({
            "name": secret.name.as_str(), "from": secret.source.to_string(), "header": secret.header.as_str(),
            "place": place(&secret.place),
        })
    };
    let (call, agent, run, agents_max) = limits(rules);
    let together = |limits: &Limits| -> serde_json::Map<String, Value> {
        Resource::all().map(|r| (format!("{}_max", r.name().replace('-', "_")), json!(limits.of(r)))).collect()
    };
    let mut of_run = together(&run);
    of_run.insert("agents_max".into(), json!(agents_max));
    json!({
        "schema": "vespiary.policy/1",
        "files": rules.sources.iter().map(|s| json!({ "path": s.path.to_string_lossy(), "layer": s.kind })).collect::<Vec<_>>(),
        "layers": rules.layers.iter().filter(|l| l.kind != LayerKind::Run).map(layer).collect::<Vec<_>>(),
        "secrets": rules.secrets.iter().map(secret).collect::<Vec<_>>(),
        "ask_timeout_seconds": rules.ask_time_max.as_secs(),
        "quota": {
            "call": named_json(call.rows()), "agent": together(&agent), "run": of_run,
            "host": named_json(rules.policy.host(HostLimits::default()).rows()),
        },
    })
}

fn named_json(rows: Vec<(&str, u64, &str)>) -> serde_json::Map<String, Value> {
    rows.into_iter().map(|(name, most, _)| (format!("{}_max", name.replace('-', "_")), json!(most))).collect()
}

/// `policy explain`
pub(super) fn explain(args: &CallArgs, named: Option<&Path>) -> Result<Exit, Trouble> {
    let arguments = arguments(&args.arguments)?;
    let (home, root) = (Home::locate()?, wiring::project(&args.dir)?);
    let rules = wiring::rules(&home, named, &root, &args.permissions)?;
    let shelf = wiring::shelf(&Permissions { plugin: Vec::new(), ..args.permissions.clone() }, &rules)?;
    let shelf = shelf.with_servers(&root)?;
    // A plugin that is not admitted is what there is to explain.
    let shelf = args
        .permissions
        .plugin
        .iter()
        .try_fold(shelf.with_models()?, |mut shelf, path| shelf.load(path).map(|_| shelf))?;
    let plugin = plugin_of(&shelf, &args.tool)?;
    let grant = wiring::grant(&args.permissions, defaults(&plugin, &args.tool));
    let extra = needs_of_call(&plugin, &arguments, &grant)
        .map_err(|failure| Trouble::of_failure("what the call needs cannot be told", &failure))?;
    let case = Case { tool: &args.tool, grant: &grant, plugin: &plugin, extra: &extra };
    let (verdict, steps) = rules.policy.explain(case);
    let told = Told { case, grant: &grant, plugin: &plugin, verdict: &verdict, steps: &steps, rules: &rules };
    if args.output.json {
        print_json(&told.as_json())?;
    } else {
        print_out(&told.as_text(Style::of_stdout()))?;
    }
    Ok(match verdict {
        Verdict::Allow(_) => Exit::Done,
        Verdict::Deny(_) => Exit::Denied,
        Verdict::Ask(..) => Exit::AwaitingGate,
    })
}

/// An explained judgement.
struct Told<'a> {
    case: Case<'a>,
    grant: &'a Grant,
    plugin: &'a Plugin,
    verdict: &'a Verdict,
    steps: &'a [Step],
    rules: &'a Rules,
}

impl Told<'_> {
    fn as_text(&self, style: Style) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let mut say = |text: String| {
            let _ = writeln!(out, "{text}");
        };
        let verdict = match self.verdict {
            Verdict::Allow(_) => style.green("allowed"),
            Verdict::Deny(_) => style.red("denied"),
            Verdict::Ask(..) => style.yellow("a person would be asked"),
        };
        say(format!("{}: {verdict}\n", style.bold(self.case.tool.as_str())));
        say(format!("held      {}", or_nothing(line(&self.grant.to_string()).into_owned())));
        for need in self.plugin.needs_of(self.case.tool.local()).chain(self.case.extra) {
            let optional = if need.optional { ", if there is any" } else { "" };
            say(format!("needed    {}{optional}: {}", need.capability, line(&need.reason)));
        }
        say(String::new());
        for step in self.steps {
            let effect = match step.effect {
                Effect::Passes => style.green("passes "),
                Effect::Narrows => style.yellow("narrows"),
                Effect::Asks => style.yellow("asks   "),
                Effect::Denies => style.red("denies "),
            };
            let whose = step.layer.map_or_else(|| "grant".to_owned(), |layer| layer.to_string());
            let place = step.place.as_ref().map(|place| format!("  {}", at(place, style))).unwrap_or_default();
            say(format!("{effect}  {whose:<13} {}{place}", line(&step.finding)));
        }
        match self.verdict {
            Verdict::Deny(denial) => {
                say(format!("\nneeded    {}", line(&denial.needed)));
                if let Some(rule) = &denial.rule {
                    say(format!("rule      {}", line(rule)));
                }
                say(format!("next      {}", plain(&denial.hint)));
            }
            Verdict::Allow(scope) | Verdict::Ask(_, scope) => {
                say(format!("\nscope     {}", or_nothing(line(&scope.grant().to_string()).into_owned())));
                for hole in scope.holes() {
                    say(format!("  except  {}", line(&hole.to_string())));
                }
                if scope.grant().iter().any(|held| matches!(held, Capability::Read(_) | Capability::Write(_))) {
                    say("          a path in the arguments is judged when the call opens it, within this".into());
                }
                if let Verdict::Ask(question, _) = self.verdict {
                    let seconds = self.rules.ask_time_max.as_secs();
                    say(format!("asked     ask {} ({})", line(&question.rule.to_string()), line(&question.place)));
                    say(format!("          without a yes within {seconds} seconds it is denied"));
                }
                let rows = self.rules.policy.quota(&self.plugin.quota).rows();
                say(format!("\n{}", style.bold("limits of the call")));
                say(table(
                    &rows.iter().map(|(name, most, _)| vec![format!("  {name}"), thousands(*most)]).collect::<Vec<_>>(),
                ));
            }
        }
        out.trim_end().to_owned()
    }

    fn as_json(&self) -> Value {
        let steps = self.steps.iter().map(|step| {
            json!({
                "layer": step.layer, "file": step.place.as_ref().map(|place| &*place.source),
                "line": step.place.as_ref().map(|place| place.line), "finding": step.finding, "effect": step.effect,
            })
        });
        let (verdict, scope, denial, question) = match self.verdict {
            Verdict::Allow(scope) => ("allow", Some(scope), None, None),
            Verdict::Deny(denial) => ("deny", None, Some(denial), None),
            Verdict::Ask(question, scope) => ("ask", Some(scope), None, Some(question)),
        };
        json!({
            "schema": "vespiary.policy-explanation/1", "tool": self.case.tool, "verdict": verdict, "held": self.grant,
            "needs": self.plugin.needs_of(self.case.tool.local()).chain(self.case.extra)
                .map(|need| json!({ "capability": need.capability, "reason": need.reason, "optional": need.optional }))
                .collect::<Vec<_>>(),
            "steps": steps.collect::<Vec<_>>(),
            "scope": scope.map(|scope| scope.grant()), "except": scope.map(|scope| scope.holes()),
            "denial": denial,
            "question": question.map(|q| json!({
                "rule": q.rule, "place": q.place, "timeout_seconds": self.rules.ask_time_max.as_secs(),
            })),
            "quota": named_json(self.rules.policy.quota(&self.plugin.quota).rows()),
        })
    }
}

fn or_nothing(text: String) -> String {
    if text.is_empty() { "nothing".into() } else { text }
}
