//! `report.md`: the report for a terminal, a pull request or an archive. Everything that came from outside is escaped, so
//! that no title or path can add a link, a heading or HTML.

use super::findings::{Audit, Finding, Severity};
use super::{Answer, Report, by_severity, count, duration, sides, thousands, timestamp, what};
use std::fmt::{self, Write};
use vespiary_kernel::script::Verdict;

/// Rows listed for one reason; the number of the others is said.
const SKIPPED_MAX: usize = 100;

/// Claims listed for one verdict.
const CLAIMS_MAX: usize = 200;

/// The document.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = document(report, &mut out);
    out
}

fn document(report: &Report, out: &mut String) -> fmt::Result {
    let record = &report.record;
    writeln!(out, "# {}\n", text(&record.title))?;
    writeln!(
        out,
        "**{}** in {}: {}, {}. Run `{}` of {}, on {}.\n",
        record.status.as_str(),
        duration(record.duration_us()),
        count(record.agents.len() as u64, "agent"),
        count(record.calls.calls, "call"),
        record.id,
        timestamp(record.started_us),
        code(&record.root),
    )?;
    if let Some(spent) = super::spent(&record.models) {
        writeln!(out, "{}.\n", text(&spent))?;
    }
    if let Some(error) = &record.error {
        writeln!(out, "The run failed: {}\n", text(&super::error_text(error)))?;
    }
    match &report.answer {
        Answer::Audit(audit) => findings(audit, out)?,
        Answer::Value(value) => writeln!(out, "## Result\n\n{}", block(value))?,
        Answer::None => writeln!(out, "The script returned nothing.\n")?,
    }
    claims(report, out)?;
    gates(report, out)?;
    failures(report, out)?;
    changes(report, out)?;
    coverage(report, out)?;
    how(report, out)
}

/// What was voted on, by what came of it: what was not verified first.
fn claims(report: &Report, out: &mut String) -> fmt::Result {
    let record = &report.record;
    if record.claims.is_empty() {
        return Ok(());
    }
    let of = |verdict| record.claims_of(verdict);
    let (verified, refuted, unverified) = (of(Verdict::Verified), of(Verdict::Refuted), of(Verdict::Unverified));
    writeln!(out, "## Claims\n\n{verified} verified, {refuted} refuted, {unverified} unverified.\n")?;
    for (verdict, word) in
        [(Verdict::Refuted, "refuted"), (Verdict::Unverified, "unverified"), (Verdict::Verified, "verified")]
    {
        let some = record.claims.iter().filter(|claim| claim.verdict == verdict);
        for claim in some.take(CLAIMS_MAX) {
            writeln!(out, "- {word}: {}", text(&claim.text))?;
        }
        if let Some(more) = of(verdict).checked_sub(CLAIMS_MAX as u64).filter(|more| *more > 0) {
            writeln!(out, "- and {more} more {word}")?;
        }
    }
    writeln!(out)
}

/// What was decided, by whom, and what was not.
fn gates(report: &Report, out: &mut String) -> fmt::Result {
    let gates = &report.record.gates;
    if gates.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Gates\n")?;
    for gate in gates {
        match &gate.decision {
            Some(made) => {
                let word = if made.approved { "approved" } else { "denied" };
                let note = made.note.as_ref().map(|note| format!(": {}", text(note))).unwrap_or_default();
                let by = text(&made.by);
                writeln!(out, "- {} {word} by {by} at {}{note}", text(&gate.title), made.at())?;
            }
            None => writeln!(out, "- {} not decided", text(&gate.title))?,
        }
    }
    writeln!(out)
}

fn findings(audit: &Audit, out: &mut String) -> fmt::Result {
    writeln!(out, "## Findings\n\n{}.\n", by_severity(audit))?;
    for severity in Severity::ALL {
        let mut some = audit.of_severity(severity).peekable();
        if some.peek().is_some() {
            writeln!(out, "### {}\n", capitalized(severity.as_str()))?;
        }
        for finding in some {
            one(finding, out)?;
        }
        if audit.of_severity(severity).next().is_some() {
            writeln!(out)?;
        }
    }
    if !audit.refuted.is_empty() {
        writeln!(out, "## Refuted\n\nA second, independent cell looked at these and refuted them.\n")?;
        for finding in &audit.refuted {
            let why = finding.verdict.as_ref().map_or("", |verdict| &verdict.reason);
            writeln!(
                out,
                "- {} {} ({}): {}",
                code(&finding.place()),
                text(&finding.title),
                code(&finding.rule),
                text(why)
            )?;
        }
        writeln!(out)?;
    }
    not_examined(audit, out)?;
    if !audit.stats.is_empty() {
        writeln!(out, "## Counted\n\n| what | how many |\n|---|---:|")?;
        for (name, n) in &audit.stats {
            writeln!(out, "| {} | {} |", text(&name.replace('_', " ")), thousands(*n))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn one(finding: &Finding, out: &mut String) -> fmt::Result {
    writeln!(out, "- **{}** {} {}", text(&finding.title), code(&finding.place()), code(&finding.rule))?;
    if !finding.excerpt.is_empty() {
        writeln!(out, "  <br>{}", code(&finding.excerpt))?;
    }
    let verdict = match &finding.verdict {
        Some(verdict) if verdict.reason.is_empty() => verdict.verdict.as_str().to_owned(),
        Some(verdict) => format!("{}: {}", verdict.verdict.as_str(), text(&verdict.reason)),
        None => "unverified".to_owned(),
    };
    writeln!(out, "  <br>Second look: {verdict}; confidence {:.0} %", finding.confidence.clamp(0.0, 1.0) * 100.0)?;
    if let Some(help) = &finding.help {
        writeln!(out, "  <br>{}", text(help))?;
    }
    Ok(())
}

fn not_examined(audit: &Audit, out: &mut String) -> fmt::Result {
    if audit.skipped.is_empty() && audit.malformed.is_empty() {
        return writeln!(out, "## Not examined\n\nNothing: every listed file was examined.\n");
    }
    writeln!(out, "## Not examined\n")?;
    for (reason, paths) in audit.skipped_by_reason() {
        writeln!(out, "{} ({}):\n", text(reason), count(paths.len() as u64, "path"))?;
        for path in paths.iter().take(SKIPPED_MAX) {
            writeln!(out, "- {}", code(path))?;
        }
        if let Some(more) = paths.len().checked_sub(SKIPPED_MAX).filter(|more| *more > 0) {
            writeln!(out, "- and {} more, all of them in `findings.sarif`", thousands(more as u64))?;
        }
        writeln!(out)?;
    }
    for malformed in audit.malformed.iter().take(SKIPPED_MAX) {
        writeln!(out, "- not understood: {}", text(malformed))?;
    }
    writeln!(out)
}

fn failures(report: &Report, out: &mut String) -> fmt::Result {
    let mut failed = report.record.failed_agents().peekable();
    if failed.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "## Agents that failed\n")?;
    for agent in failed.take(SKIPPED_MAX) {
        let why = agent.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        writeln!(out, "- {} ({}): {}", text(&agent.label), agent.id, text(&why))?;
    }
    writeln!(out)
}

fn changes(report: &Report, out: &mut String) -> fmt::Result {
    let Some(changed) = &report.changed else { return Ok(()) };
    let apply = format!("vespiary runs apply {}", report.record.id);
    writeln!(
        out,
        "## Changes by isolated agents\n\n{}, and {} in conflict. The project is unchanged until they are applied: `{apply}`.\n",
        count(changed.changes.len() as u64, "path"),
        count(changed.conflicts.len() as u64, "path"),
    )?;
    for (path, change) in changed.changes.iter().take(SKIPPED_MAX) {
        writeln!(out, "- {} {}", what(change), code(path.as_str()))?;
    }
    if let Some(more) = changed.changes.len().checked_sub(SKIPPED_MAX).filter(|more| *more > 0) {
        writeln!(out, "- and {} more", thousands(more as u64))?;
    }
    for conflict in changed.conflicts.iter().take(SKIPPED_MAX) {
        writeln!(
            out,
            "- **conflict** ({}) {}: {}",
            conflict.kind.as_str(),
            code(conflict.path.as_str()),
            sides(conflict)
        )?;
    }
    if let Some(more) = changed.conflicts.len().checked_sub(SKIPPED_MAX).filter(|more| *more > 0) {
        writeln!(out, "- and {} more in conflict", thousands(more as u64))?;
    }
    writeln!(out)
}

fn coverage(report: &Report, out: &mut String) -> fmt::Result {
    let Some(coverage) = &report.coverage else { return Ok(()) };
    let (unread, files) = (thousands(coverage.unread), count(coverage.files, "file"));
    let more_there = if coverage.partial { "; the project has more, which were not counted" } else { "" };
    writeln!(out, "## Files that no agent read\n\n{unread} of {files}{more_there}.\n")?;
    for path in coverage.named.iter().take(SKIPPED_MAX) {
        writeln!(out, "- {}", code(path))?;
    }
    if let Some(more) = coverage.unread.checked_sub(SKIPPED_MAX as u64).filter(|more| *more > 0) {
        writeln!(out, "- and {} more", thousands(more))?;
    }
    writeln!(out)
}

fn how(report: &Report, out: &mut String) -> fmt::Result {
    let record = &report.record;
    writeln!(out, "## How it was run\n")?;
    writeln!(out, "- Vespiary {}", text(&record.version))?;
    if let Some(script) = &record.script {
        writeln!(out, "- script `sha256:{script}`")?;
    }
    writeln!(out, "- arguments {}", code(record.args.as_str()))?;
    if let Some(before) = &record.resumes {
        writeln!(out, "- goes on from run `{before}`")?;
    }
    if record.reused > 0 {
        writeln!(out, "- {} answered by finished work of earlier runs", count(record.reused, "request"))?;
    }
    let grant: Vec<_> = record.grant.iter().map(|capability| code(capability)).collect();
    writeln!(out, "- granted {}\n", if grant.is_empty() { "nothing".to_owned() } else { grant.join(" ") })?;
    writeln!(out, "| component | version | calls | sha256 |\n|---|---|---:|---|")?;
    for c in &report.components {
        writeln!(out, "| {} | {} | {} | `{}` |", text(&c.name), text(&c.version), thousands(c.calls), c.digest)?;
    }
    writeln!(out, "\nEvery call is in the ledger: `vespiary runs show {} --events`", record.id)
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Prose: on one line, with nothing left that Markdown or HTML would act on.
///
/// What looks like an address is a link, and what looks like a name may be told that it was named, unless something stands inside it.
fn text(raw: &str) -> String {
    const NOTHING: &str = "<!-- -->";
    let raw = crate::terminal::line(raw);
    let mut out = String::with_capacity(raw.len());
    for (at, c) in raw.char_indices() {
        match c {
            ':' if raw[at..].starts_with("://") => out.extend([":", NOTHING]),
            '@' => out.extend(["@", NOTHING]),
            '.' if raw[..at].ends_with(['w', 'W']) => out.extend([NOTHING, "."]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '!' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// A code span on one line, whatever backticks the text has. Not for tables, where a `|` would end the cell.
fn code(raw: &str) -> String {
    let line = crate::terminal::line(raw);
    let fence = "`".repeat(longest_run(&line) + 1);
    let pad = if line.starts_with('`') || line.ends_with('`') || line.is_empty() { " " } else { "" };
    format!("{fence}{pad}{line}{pad}{fence}")
}

/// A code block.
fn block(raw: &str) -> String {
    let text = crate::terminal::plain(raw);
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    format!("{fence}json\n{text}\n{fence}\n")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn the_report_says_what_matters_and_lets_nothing_through() {
        let md = render(&sample());
        for expected in [
            "# audit &lt;&amp; co&gt;",
            "**degraded** in 50 ms: 6 agents, 14 calls.",
            "1 critical, 1 low.",
            "`src/deep/er/a b.py:12:7`",
            "Second look: confirmed: the value has the provider's checksum; confidence 90 %",
            "## Refuted",
            "binary (1 path):\n\n- `z.bin`\n",
            "- not understood: findings\\[2\\]: missing field",
            "(a6): gave up &lt;b&gt;",
            "1 path, and 1 path in conflict",
            "- made `src/<b>`",
            "- **conflict** (link) ``x`y``: a1 / a2",
            "| files | 5,054 |",
            "granted `read:.` `tool:*`",
            "vespiary runs show 20261121-050000-abcdef --events",
        ] {
            assert!(md.contains(expected), "{expected:?} is missing from:\n{md}");
        }
        let outside_code: String = md.lines().filter(|line| !line.contains("AKIA")).collect();
        assert!(!outside_code.contains("<script>"), "{md}");
    }

    #[test]
    fn neither_an_address_nor_a_name_comes_to_life() {
        assert_eq!(text("see https://evil.example/x"), "see https:<!-- -->//evil.example/x");
        assert_eq!(
            text("WWW.evil.example: a@b.example, @team"),
            "WWW<!-- -->.evil.example: a@<!-- -->b.example, @<!-- -->team"
        );
        assert_eq!(text("src/a.rs:3, 10:20"), "src/a.rs:3, 10:20");
    }

    #[test]
    fn code_spans_hold_any_backticks() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("``a`"), "``` ``a` ```");
        assert_eq!(code("x\ny"), "`x\\u{a}y`");
        assert_eq!(block("```"), "````json\n```\n````\n");
    }
}
