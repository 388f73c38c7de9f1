//! `report.html`: one file that needs nothing else, not even a script. This file prepares plain values; the template in
//! `templates/` places them, and askama escapes every one. What askama does not know of, text that reorders or hides other
//! text, is made visible here.

use super::findings::{Audit, Finding, Judgement, Severity};
use super::graph::{self, Graph};
use super::record::{Gate, Record};
use super::timeline::{self, Timeline};
use super::{Answer, Component, Report, count, duration, sides, thousands, timestamp, what};
use crate::terminal::{line, plain};
use askama::Template;
use vespiary_kernel::script::Verdict;

/// Findings drawn; a page of more helps nobody, and all of them are in `findings.sarif`.
const FINDINGS_MAX: usize = 2_000;
/// Paths drawn for one reason, and rows of other lists.
const ROWS_MAX: usize = 1_000;
/// Rows of the table of places.
const PLACES_MAX: usize = 15;

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    title: String,
    root: String,
    status: &'static str,
    lead: String,
    run: String,
    started: String,
    version: String,
    script: Option<String>,
    args: String,
    grant: Vec<String>,
    components: Vec<Component>,
    error: Option<String>,
    audit: Option<AuditView>,
    value: Option<String>,
    failed: Vec<FailedView>,
    changed: Option<ChangedView>,
    unread: Option<UnreadView>,
    gates: Vec<(String, String)>,
    claims: Option<ClaimsView>,
    log: Vec<String>,
    timeline: Timeline,
    timeline_width: f64,
    graph: Graph,
    graph_width: f64,
    facts: Vec<Fact>,
}

/// What isolated agents changed.
struct ChangedView {
    changes: Vec<(&'static str, String)>,
    more: usize,
    conflicts: Vec<(&'static str, String, String)>,
    more_conflicts: usize,
    apply: String,
}

/// What no agent read.
struct UnreadView {
    lead: String,
    paths: Vec<String>,
    more: u64,
}

/// What was voted on.
struct ClaimsView {
    lead: String,
    rows: Vec<(&'static str, String)>,
    more: usize,
}

/// A number with its name.
struct Fact {
    number: String,
    name: String,
}

struct AuditView {
    tallies: Vec<Tally>,
    groups: Vec<Group>,
    total: usize,
    left_out: usize,
    confirmed: usize,
    uncertain: usize,
    unverified: usize,
    refuted: Vec<FindingView>,
    places: Vec<Place>,
    skipped: Vec<Reason>,
    skipped_total: usize,
    malformed: Vec<String>,
    stats: Vec<Fact>,
}

struct Tally {
    severity: &'static str,
    count: usize,
    percent: f64,
}

struct Group {
    severity: &'static str,
    /// Whether it is shown unfolded.
    open: bool,
    findings: Vec<FindingView>,
}

struct FindingView {
    severity: &'static str,
    title: String,
    rule: String,
    place: String,
    excerpt: String,
    verdict: &'static str,
    reason: String,
    confidence: String,
    help: Option<String>,
    evidence: Option<String>,
    fingerprint: String,
}

struct Place {
    path: String,
    cells: Vec<Cell>,
    total: usize,
}

struct Cell {
    severity: &'static str,
    count: usize,
    /// From 0 to 1: how strongly the cell is coloured.
    heat: f64,
}

/// Paths that were not examined for the same reason.
struct Reason {
    reason: String,
    total: usize,
    paths: Vec<String>,
}

struct FailedView {
    label: String,
    id: String,
    why: String,
}

/// The page.
pub fn render(report: &Report) -> askama::Result<String> {
    page(report).render()
}

fn page(report: &Report) -> Page {
    let record = &report.record;
    let seconds = record.duration_us() as f64 / 1e6;
    let rate = if seconds > 0.0 { (record.calls.calls as f64 / seconds).round() as u64 } else { record.calls.calls };
    let fact = |number: String, name: &str| Fact { number, name: name.to_owned() };
    let failed = record.failed_agents().count() as u64;
    let mut facts = vec![
        fact(duration(record.duration_us()), "from start to end"),
        fact(thousands(record.agents.len() as u64), "agents"),
        fact(thousands(record.calls.calls), "calls, each in a fresh cell"),
        fact(thousands(rate), "calls a second"),
    ];
    if failed > 0 {
        facts.push(fact(thousands(failed), "agents failed"));
    }
    let failed = record.failed_agents().take(ROWS_MAX).map(|agent| FailedView {
        label: line(&agent.label).into_owned(),
        id: agent.id.to_string(),
        why: agent.failure.as_ref().map(|failure| plain(&failure.to_string()).into_owned()).unwrap_or_default(),
    });
    let mut timeline = timeline::of(record);
    for title in timeline.bars.iter_mut().map(|b| &mut b.title).chain(timeline.bands.iter_mut().map(|b| &mut b.title)) {
        *title = line(title).into_owned();
    }
    Page {
        title: line(&record.title).into_owned(),
        root: line(&record.root).into_owned(),
        status: record.status.as_str(),
        lead: lead(report),
        run: record.id.to_string(),
        started: timestamp(record.started_us).replace('T', " ").replace('Z', " UTC"),
        version: record.version.clone(),
        script: record.script.map(|digest| digest.to_string()),
        args: line(record.args.as_str()).into_owned(),
        grant: record.grant.iter().map(|capability| line(capability).into_owned()).collect(),
        components: report.components.clone(),
        error: record.error.as_ref().map(|error| plain(&super::error_text(error)).into_owned()),
        audit: report.answer.audit().map(audit),
        value: match &report.answer {
            Answer::Value(value) => Some(plain(value).into_owned()),
            Answer::Audit(_) | Answer::None => None,
        },
        failed: failed.collect(),
        changed: report.changed.as_ref().map(|changed| ChangedView {
            changes: changed
                .changes
                .iter()
                .take(ROWS_MAX)
                .map(|(p, c)| (what(c), line(p.as_str()).into_owned()))
                .collect(),
            more: changed.changes.len().saturating_sub(ROWS_MAX),
            conflicts: (changed.conflicts.iter().take(ROWS_MAX))
                .map(|c| (c.kind.as_str(), line(c.path.as_str()).into_owned(), sides(c)))
                .collect(),
            more_conflicts: changed.conflicts.len().saturating_sub(ROWS_MAX),
            apply: format!("vespiary runs apply {}", record.id),
        }),
        unread: report.coverage.as_ref().map(|coverage| UnreadView {
            lead: format!(
                "{} of {}{}",
                thousands(coverage.unread),
                count(coverage.files, "file"),
                if coverage.partial { "; the project has more, which were not counted" } else { "" }
            ),
            paths: coverage.named.iter().take(ROWS_MAX).map(|path| line(path).into_owned()).collect(),
            more: coverage.unread.saturating_sub(coverage.named.len().min(ROWS_MAX) as u64),
        }),
        gates: record.gates.iter().map(|gate| (line(&gate.title).into_owned(), decided(gate))).collect(),
        claims: (!record.claims.is_empty()).then(|| claims(record)),
        log: record.log.iter().map(|text| line(text).into_owned()).collect(),
        timeline,
        timeline_width: timeline::WIDTH,
        graph: graph::of(record),
        graph_width: graph::WIDTH,
        facts,
    }
}

/// What came of a gate, in a line.
fn decided(gate: &Gate) -> String {
    let Some(made) = &gate.decision else { return "not decided".into() };
    let word = if made.approved { "approved" } else { "denied" };
    let note = made.note.as_ref().map(|note| format!(": {}", line(note))).unwrap_or_default();
    format!("{word} by {} at {}{note}", line(&made.by), made.at())
}

/// Claims, what was not verified first.
fn claims(record: &Record) -> ClaimsView {
    let word = |verdict| match verdict {
        Verdict::Refuted => "refuted",
        Verdict::Unverified => "unverified",
        Verdict::Verified => "verified",
    };
    let order = [Verdict::Refuted, Verdict::Unverified, Verdict::Verified];
    let lead = order.map(|verdict| format!("{} {}", thousands(record.claims_of(verdict)), word(verdict))).join(", ");
    let sorted = order.iter().flat_map(|of| record.claims.iter().filter(move |claim| claim.verdict == *of));
    let rows = sorted.take(ROWS_MAX).map(|claim| (word(claim.verdict), line(&claim.text).into_owned())).collect();
    ClaimsView { lead, rows, more: record.claims.len().saturating_sub(ROWS_MAX) }
}

/// The one sentence for someone who reads no further.
fn lead(report: &Report) -> String {
    let Some(audit) = report.answer.audit() else {
        return match &report.answer {
            Answer::Value(_) => "The script returned a value that is not a list of findings; it is shown below.".into(),
            _ => "The script returned nothing.".into(),
        };
    };
    let mut lead = match audit.findings.len() {
        0 => "Nothing was found".to_owned(),
        n => format!("{}: {}", count(n as u64, "finding"), super::by_severity(audit)),
    };
    if !audit.refuted.is_empty() {
        lead.push_str(&format!("; {} refuted by a second look", thousands(audit.refuted.len() as u64)));
    }
    if !audit.skipped.is_empty() {
        lead.push_str(&format!("; {} not examined", count(audit.skipped.len() as u64, "path")));
    }
    lead + "."
}

fn audit(audit: &Audit) -> AuditView {
    let total = audit.findings.len();
    let tallies = Severity::ALL.map(|severity| {
        let count = audit.of_severity(severity).count();
        Tally { severity: severity.as_str(), count, percent: 100.0 * count as f64 / total.max(1) as f64 }
    });
    let mut room = FINDINGS_MAX;
    let groups = Severity::ALL.into_iter().filter_map(|severity| {
        let findings: Vec<_> = audit.of_severity(severity).take(room).map(finding).collect();
        room -= findings.len();
        // The less grave are folded where they are many, so that they do not bury what matters.
        let open = severity <= Severity::Medium || findings.len() <= 20;
        (!findings.is_empty()).then(|| Group { severity: severity.as_str(), open, findings })
    });
    AuditView {
        groups: groups.collect(),
        tallies: tallies.into(),
        total,
        left_out: total.saturating_sub(FINDINGS_MAX),
        confirmed: audit.judged(Judgement::Confirmed),
        uncertain: audit.judged(Judgement::Uncertain),
        unverified: audit.judged(Judgement::Unverified),
        refuted: audit.refuted.iter().take(FINDINGS_MAX).map(finding).collect(),
        places: places(audit),
        skipped: audit.skipped_by_reason().into_iter().map(|(reason, paths)| self::reason(reason, &paths)).collect(),
        skipped_total: audit.skipped.len(),
        malformed: audit.malformed.iter().take(ROWS_MAX).map(|text| line(text).into_owned()).collect(),
        stats: audit
            .stats
            .iter()
            .map(|(name, n)| Fact { number: thousands(*n), name: line(&name.replace('_', " ")).into_owned() })
            .collect(),
    }
}

fn reason(reason: &str, paths: &[&str]) -> Reason {
    let shown = paths.iter().take(ROWS_MAX).map(|path| line(path).into_owned()).collect();
    Reason { reason: line(reason).into_owned(), total: paths.len(), paths: shown }
}

fn places(audit: &Audit) -> Vec<Place> {
    let mut places = audit.by_place();
    if places.len() > PLACES_MAX {
        let rest = places.split_off(PLACES_MAX - 1);
        let name = format!("{} more places", rest.len());
        let sum = rest.iter().fold([0; 5], |mut sum, (_, counts)| {
            sum.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
            sum
        });
        places.push((name, sum));
    }
    let most = places.iter().flat_map(|(_, counts)| counts).copied().max().unwrap_or(1).max(1) as f64;
    places
        .into_iter()
        .map(|(path, counts)| Place {
            path: line(&path).into_owned(),
            total: counts.iter().sum(),
            cells: Severity::ALL
                .into_iter()
                .zip(counts)
                .map(|(severity, count)| Cell {
                    severity: severity.as_str(),
                    count,
                    // A logarithm, because one place with a thousand must not blank out the others.
                    heat: if count == 0 { 0.0 } else { 0.25 + 0.75 * (count as f64).ln_1p() / most.ln_1p() },
                })
                .collect(),
        })
        .collect()
}

fn finding(finding: &Finding) -> FindingView {
    FindingView {
        severity: finding.severity.as_str(),
        title: line(&finding.title).into_owned(),
        rule: line(&finding.rule).into_owned(),
        place: line(&finding.place()).into_owned(),
        excerpt: plain(finding.excerpt.trim_end()).into_owned(),
        verdict: finding.judgement().as_str(),
        reason: finding.verdict.as_ref().map(|verdict| line(&verdict.reason).into_owned()).unwrap_or_default(),
        confidence: format!("{:.0} %", finding.confidence.clamp(0.0, 1.0) * 100.0),
        help: finding.help.as_deref().filter(|help| !help.is_empty()).map(|help| plain(help).into_owned()),
        evidence: (!finding.evidence.is_empty())
            .then(|| serde_json::to_string_pretty(&finding.evidence).ok())
            .flatten()
            .map(|json| plain(&json).into_owned()),
        fingerprint: line(&finding.fingerprint).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn the_page_needs_nothing_else_and_lets_nothing_through() {
        let page = render(&sample()).unwrap();
        assert!(!page.contains("<script"), "a script, from us or from a finding");
        for outside in ["src=", "href=\"http", "url(", "@import", "<link", "<iframe"] {
            assert!(!page.contains(outside), "{outside} reaches outside");
        }
        assert!(page.contains("default-src &#39;none&#39;") || page.contains("default-src 'none'"));
        assert!(!page.contains('\u{1b}'));
    }

    #[test]
    fn the_page_shows_what_was_found_and_how() {
        let page = render(&sample()).unwrap();
        for expected in [
            "src/deep/er/a b.py:12:7",
            "AKIA****",
            "2 findings: 1 critical, 1 low; 1 refuted by a second look; 2 paths not examined.",
            "z.bin",
            "20261121-050000-abcdef",
            "did not answer",
            "gave up &#60;b&#62;",
        ] {
            assert!(page.contains(expected), "{expected:?} is missing");
        }
        assert_eq!(page.matches("class=\"bar ").count(), 6);
    }

    #[test]
    fn a_plain_value_has_a_page_too() {
        let mut report = sample();
        report.answer = Answer::Value("{\n  \"a\": \"</pre><b>\"\n}".into());
        let page = render(&report).unwrap();
        assert!(page.contains("&#60;/pre&#62;&#60;b&#62;"), "{page}");
    }

    #[test]
    fn a_crowd_of_places_is_summed_up() {
        let mut audit = super::super::findings::tests::sample();
        let one = audit.findings[0].clone();
        audit.findings = (0..40).map(|i| Finding { path: format!("d{i}/x"), ..one.clone() }).collect();
        let places = places(&audit);
        assert_eq!(places.len(), PLACES_MAX);
        assert_eq!(places.iter().map(|place| place.total).sum::<usize>(), 40);
    }
}
