//! `vespiary check`: what is wrong with a workflow, or likely is, without running it: the engine's own check of syntax and `meta`,
//! as `run` makes it before it starts, then the lint.
//!
//! `--json`: `{schema: "vespiary.check/1", script, title, ok, errors, warnings, findings: [{rule, severity, line, column, message,
//! hint, excerpt}]}`.

use super::{print_json, print_out};
use crate::cli::{Output, Permissions};
use crate::examine::Examiner;
use crate::exit::{Exit, Trouble};
use crate::lint::called::called;
use crate::lint::{Finding, Gravity, lint};
use crate::paths::Home;
use crate::report::count;
use crate::terminal::{Style, line, plain};
use crate::wiring;
use crate::workflows::{Script, Shelves};
use serde::Serialize;
use std::path::Path;
use vespiary_fleet::excerpt::excerpt;
use vespiary_fleet::library::Library;
use vespiary_kernel::script::{ErrorKind, ScriptError};

#[derive(Serialize)]
struct Shape<'a> {
    schema: &'static str,
    script: &'a Path,
    title: &'a str,
    ok: bool,
    errors: usize,
    warnings: usize,
    findings: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    excerpt: String,
}

pub(super) fn check(
    asked: &Path,
    dir: &Path,
    strict: bool,
    policy: Option<&Path>,
    output: Output,
) -> Result<Exit, Trouble> {
    let root = wiring::project(dir)?;
    let home = Home::locate()?;
    let shelves = Shelves::of(&root, &home);
    let script = shelves.find(asked)?;
    let rules = wiring::rules(&home, policy, &root, &Permissions::default())?;
    let shelf = wiring::shelf(&Permissions::default(), &rules)?;
    let examined = Examiner::new(&home, shelf, rules, root)?.examine(&script.source);
    let examined = examined
        .map_err(|failure| Trouble::of_failure(&format!("{} cannot be checked", script.path.display()), &failure))?;
    let mut findings = lint(&script.source);
    findings.extend(called(&script.source, |name| Library::find(&shelves, name).map(|found| found.source)));
    findings.sort_by_key(|finding| (finding.line, finding.column, finding.rule));
    if let Err(error) = examined {
        // Where the engine cannot read on, neither can the lint; the engine says it better.
        findings.retain(|finding| finding.rule != "unread" && finding.line != error.line);
        findings.insert(0, of_engine(&error));
    }
    let of = |gravity| findings.iter().filter(|finding| finding.severity == gravity).count();
    let (errors, warnings) = (of(Gravity::Error), of(Gravity::Warning));
    let ok = errors == 0 && !(strict && warnings > 0);
    if output.json {
        let shown = findings.iter().map(|finding| Shown { finding, excerpt: excerpt_of(&script, finding) });
        let shown = shown.collect();
        let (schema, title) = ("vespiary.check/1", script.title.as_str());
        print_json(&Shape { schema, script: &script.path, title, ok, errors, warnings, findings: shown })?;
    } else {
        print_out(&as_text(&script, &findings, errors, warnings))?;
    }
    Ok(if ok { Exit::Done } else { Exit::Failed })
}

fn of_engine(error: &ScriptError) -> Finding {
    let (rule, hint) = match error.kind {
        ErrorKind::Meta => ("meta", "begin the script with: export const meta = { name: '...', description: '...' }"),
        _ => ("syntax", "correct the script; it cannot be read beyond this"),
    };
    Finding {
        rule,
        severity: Gravity::Error,
        line: error.line,
        column: error.column,
        message: error.message.clone(),
        hint: hint.into(),
    }
}

fn excerpt_of(script: &Script, finding: &Finding) -> String {
    excerpt(&script.source, finding.line, finding.column)
}

fn as_text(script: &Script, findings: &[Finding], errors: usize, warnings: usize) -> String {
    let style = Style::of_stdout();
    let path = line(&script.path.display().to_string()).into_owned();
    let mut out = String::new();
    for finding in findings {
        let gravity = match finding.severity {
            Gravity::Error => style.red(finding.severity.as_str()),
            Gravity::Warning => style.yellow(finding.severity.as_str()),
        };
        let place = style.bold(&format!("{path}:{}:{}", finding.line, finding.column));
        out.push_str(&format!("{place}: {gravity}: {} [{}]\n", line(&finding.message), finding.rule));
        let excerpt = excerpt_of(script, finding);
        if !excerpt.is_empty() {
            out.push_str(&format!("{}\n", plain(excerpt.trim_end())));
        }
        out.push_str(&format!("  {} {}\n\n", style.green("hint:"), line(&finding.hint)));
    }
    let sum = match (errors, warnings) {
        (0, 0) => style.green("nothing found"),
        (0, w) => style.yellow(&count(w as u64, "warning")),
        (e, 0) => style.red(&count(e as u64, "error")),
        (e, w) => style.red(&format!("{}, {}", count(e as u64, "error"), count(w as u64, "warning"))),
    };
    out.push_str(&format!("{path}: {sum}"));
    out
}
