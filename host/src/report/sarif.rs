//! Findings as SARIF 2.1.0, for code scanning services and editors. Only findings that stand are written: a refuted one is
//! not a result.

use super::Report;
use super::findings::{Finding, Severity};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use serde_sarif::sarif::{
    ArtifactContent, ArtifactLocation, Invocation, Location, Message, MultiformatMessageString, Notification,
    PhysicalLocation, PropertyBag, Region, ReportingConfiguration, ReportingDescriptor, Result as SarifResult,
    ResultKind, ResultLevel, Run, RunAutomationDetails, Sarif, Tool, ToolComponent,
};
use std::collections::BTreeMap;
use vespiary_kernel::event::RunStatus;

/// Everything that is not unreserved in a URI, and not the separator of its parts.
const OUTSIDE_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Name under which our fingerprints are listed; a change of their meaning changes the number.
const FINGERPRINT: &str = "vespiary/v1";

/// The document, indented, and harmless on a terminal.
pub fn render(report: &Report) -> serde_json::Result<String> {
    let text = serde_json::to_string_pretty(&document(report))?;
    Ok(crate::terminal::json(&text).into_owned())
}

fn document(report: &Report) -> Sarif {
    let findings = report.answer.audit().map_or(&[][..], |audit| &audit.findings);
    let mut rules: Vec<ReportingDescriptor> = Vec::new();
    let mut index: BTreeMap<&str, i64> = BTreeMap::new();
    for finding in findings {
        index.entry(&finding.rule).or_insert_with(|| {
            rules.push(rule(finding));
            rules.len() as i64 - 1
        });
    }
    let results: Vec<_> = findings.iter().map(|finding| result(finding, index[finding.rule.as_str()])).collect();
    let driver = ToolComponent::builder().name("Vespiary").version(report.record.version.clone()).rules(rules).build();
    let run = Run::builder()
        .tool(Tool::builder().driver(driver).build())
        .results(results)
        .invocations(vec![invocation(report)])
        .automation_details(RunAutomationDetails::builder().id(format!("vespiary/{}", report.record.id)).build())
        // Columns of findings count bytes; SARIF has no such kind, and for ASCII all kinds agree.
        .column_kind(json!("unicodeCodePoints"))
        .build();
    Sarif::builder().schema(serde_sarif::sarif::SCHEMA_URL).version(json!("2.1.0")).runs(vec![run]).build()
}

fn rule(finding: &Finding) -> ReportingDescriptor {
    // GitHub sorts by this number; its bands are those of CVSS.
    let security_severity = match finding.severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.5",
        Severity::Info => "0.0",
    };
    let properties = PropertyBag::builder()
        .tags(vec!["security".to_owned()])
        .additional_properties(BTreeMap::from([("security-severity".to_owned(), json!(security_severity))]))
        .build();
    let mut rule = ReportingDescriptor::builder()
        .id(finding.rule.clone())
        .short_description(text(&finding.title))
        .default_configuration(ReportingConfiguration::builder().level(json!(level_word(finding.severity))).build())
        .properties(properties)
        .build();
    rule.help = finding.help.as_deref().map(text);
    rule
}

fn result(finding: &Finding, rule_index: i64) -> SarifResult {
    let mut properties = BTreeMap::from([
        ("severity".to_owned(), json!(finding.severity)),
        ("confidence".to_owned(), json!(finding.confidence)),
        ("verdict".to_owned(), json!(finding.judgement())),
    ]);
    if let Some(verdict) = &finding.verdict {
        properties.insert("verdictReason".to_owned(), json!(verdict.reason));
    }
    if !finding.evidence.is_empty() {
        properties.insert("evidence".to_owned(), json!(finding.evidence));
    }
    let mut location = PhysicalLocation::builder()
        .artifact_location(ArtifactLocation::builder().uri(uri(&finding.path)).build())
        .build();
    location.region = region(finding);
    SarifResult::builder()
        .rule_id(finding.rule.clone())
        .rule_index(rule_index)
        .kind(ResultKind::Fail)
        .level(level(finding.severity))
        .message(Message::builder().text(finding.title.clone()).build())
        .locations(vec![Location::builder().physical_location(location).build()])
        .partial_fingerprints(BTreeMap::from([(FINGERPRINT.to_owned(), finding.fingerprint.clone())]))
        .suppressions(vec![])
        .properties(PropertyBag::builder().additional_properties(properties).build())
        .build()
}

/// None where the finding means the whole file: SARIF lines begin at 1.
fn region(finding: &Finding) -> Option<Region> {
    let line = i64::try_from(finding.line).ok().filter(|line| *line > 0)?;
    let mut region = Region::builder().start_line(line).build();
    region.start_column = finding.column.and_then(|column| i64::try_from(column).ok()).filter(|column| *column > 0);
    if !finding.excerpt.is_empty() {
        region.snippet = Some(ArtifactContent::builder().text(finding.excerpt.clone()).build());
    }
    Some(region)
}

/// What was not examined and what failed, so that an empty list of results is not mistaken for a clean tree.
fn invocation(report: &Report) -> Invocation {
    let record = &report.record;
    let failed = record.failed_agents().map(|agent| {
        let why = agent.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        notification("error", format!("{}: {why}", agent.label), None)
    });
    let skipped = report.answer.audit().into_iter().flat_map(|audit| &audit.skipped);
    let skipped =
        skipped.map(|skip| notification("warning", format!("not examined: {}", skip.reason), Some(&skip.path)));
    let notifications: Vec<Notification> = failed.chain(skipped).collect();
    Invocation::builder()
        .execution_successful(record.status == RunStatus::Completed)
        .start_time_utc(super::timestamp(record.started_us))
        .end_time_utc(super::timestamp(record.ended_us))
        .tool_execution_notifications(notifications)
        .build()
}

fn notification(level: &str, what: String, path: Option<&str>) -> Notification {
    let mut notification =
        Notification::builder().message(Message::builder().text(what).build()).level(json!(level)).build();
    notification.locations = path.map(|path| {
        let place =
            PhysicalLocation::builder().artifact_location(ArtifactLocation::builder().uri(uri(path)).build()).build();
        vec![Location::builder().physical_location(place).build()]
    });
    notification
}

/// A relative URI reference. A first part with a colon would read as a scheme, so it is escaped with the rest; two slashes at the
/// beginning would read as a host.
fn uri(path: &str) -> String {
    let below = path.trim_start_matches('/');
    let root = if below.len() < path.len() { "/" } else { "" };
    format!("{root}{}", utf8_percent_encode(below, OUTSIDE_PATH))
}

fn text(text: &str) -> MultiformatMessageString {
    MultiformatMessageString::builder().text(text).build()
}

fn level(severity: Severity) -> ResultLevel {
    match severity {
        Severity::Critical | Severity::High => ResultLevel::Error,
        Severity::Medium => ResultLevel::Warning,
        Severity::Low | Severity::Info => ResultLevel::Note,
    }
}

fn level_word(severity: Severity) -> Value {
    serde_json::to_value(level(severity)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    fn rendered() -> Value {
        serde_json::from_str(&render(&sample()).unwrap()).unwrap()
    }

    #[test]
    fn a_result_says_what_where_and_how_grave() {
        let run = &rendered()["runs"][0];
        let result = &run["results"][0];
        assert_eq!(result["ruleId"], "aws-key");
        assert_eq!(result["level"], "error");
        assert_eq!(result["kind"], "fail");
        assert_eq!(run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize]["id"], "aws-key");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "src/deep/er/a%20b.py");
        assert_eq!(place["region"]["startLine"], 12);
        assert_eq!(place["region"]["startColumn"], 7);
        assert_eq!(result["partialFingerprints"]["vespiary/v1"], "aws-key-12");
        assert_eq!(run["results"].as_array().unwrap().len(), 2, "the refuted one is not a result");
    }

    #[test]
    fn a_degraded_run_does_not_claim_success() {
        let invocation = &rendered()["runs"][0]["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], false);
        let said = invocation["toolExecutionNotifications"].to_string();
        assert!(said.contains("gave up") && said.contains("not examined: binary") && said.contains("z.bin"), "{said}");
    }

    #[test]
    fn paths_become_relative_uris() {
        assert_eq!(uri("c:/x y#z?.txt"), "c%3A/x%20y%23z%3F.txt");
        assert_eq!(uri("caf\u{e9}"), "caf%C3%A9");
    }

    #[test]
    fn a_finding_about_a_whole_file_has_no_region() {
        let mut report = sample();
        let super::super::Answer::Audit(audit) = &mut report.answer else { panic!() };
        audit.findings[0].line = 0;
        let document: Value = serde_json::from_str(&render(&report).unwrap()).unwrap();
        assert!(document["runs"][0]["results"][0]["locations"][0]["physicalLocation"].get("region").is_none());
    }
}
