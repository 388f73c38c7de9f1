//! What a file may say, and every way in which it is refused.

use super::*;

fn read(text: &str) -> Result<Sheet, Vec<String>> {
    Sheet::read(text, &"p.toml".into(), LayerKind::Administrator)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let faults = read(text).map(|sheet| sheet.layer).expect_err(text);
    for part in parts {
        assert!(faults.iter().any(|fault| fault.contains(part)), "{part:?} is not in {faults:#?}");
    }
}

const WHOLE: &str = r#"
locked = true
allow = [
    "read:.", "write:out", "tool:*",
    "net:api.example.com",
]
ask = ["write:out/keep"]
deny = ["read:private"]
ask-timeout-seconds = 30

[quota.call]
memory-bytes-max = 0x100000
wall-time-ms-max = 1_000

[quota.agent]
tool-calls-max = 10

[quota.run]
usd-micros-max = 5_000_000
agents-max = 100

[[plugins]]
name = "mine"
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

[[plugins]]
name = "other"

[secrets.API_KEY]
from = "keyring:api/me"
header = "X-Api-Key"
"#;

#[test]
fn everything_has_its_place() {
    let sheet = read(WHOLE).unwrap();
    let layer = &sheet.layer;
    assert_eq!(layer.locked.as_ref().unwrap().to_string(), "p.toml:2");
    assert_eq!(layer.allow.as_ref().unwrap()[3].place.line, 5);
    assert_eq!((layer.ask[0].place.line, layer.deny[0].place.line), (7, 8));
    assert_eq!((layer.call.memory_bytes_max, layer.call.wall_time_ms_max), (Some(1 << 20), Some(1_000)));
    assert_eq!((layer.agent.tool_calls_max, layer.run.usd_micros_max), (Some(10), Some(5_000_000)));
    assert_eq!((layer.agents_max, sheet.ask_time_max), (Some(100), Some(Duration::from_secs(30))));
    let plugins = layer.plugins.as_ref().unwrap();
    assert!(plugins[0].digest.is_some() && plugins[1].digest.is_none() && plugins[1].place.line == 26);
    assert_eq!((sheet.secrets[0].name.as_str(), sheet.secrets[0].header.as_str()), ("API_KEY", "x-api-key"));
    assert_eq!(sheet.doubts, []);
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let text = "alow = []\nlocked = 'yes'\nask = ['read', 3, 'tool:files']\n[quota.call]\nmemory-bytes = 1\n\
                cpu-time-ms-max = 0\n[quota.machine]\n[[plugins]]\nsha256 = 'ab'\n[secrets.'a b']\nfrom = 'cmd:ls'\n";
    refused(
        text,
        &[
            "p.toml:1:1: a policy has no key \"alow\"; did you mean \"allow\"?",
            "p.toml:2:10: locked is text and must be true or false",
            "p.toml:3:8: \"read\" is not a capability",
            "p.toml:3:16: an entry of ask is a whole number",
            "p.toml:3:19: \"tool:files\" is not a capability",
            "p.toml:5:1: quota.call has no key \"memory-bytes\"; did you mean \"memory-bytes-max\"?",
            "p.toml:6:19: cpu-time-ms-max is 0; it must lie between 1 and",
            "p.toml:7:8: quota has no key \"machine\"; the keys are call, agent, run",
            "p.toml:8:1: a plugin has no name",
            "p.toml:9:10: sha256 is \"ab\"",
            "p.toml:10:10: \"a b\" names no secret",
            "p.toml:11:8: from is \"cmd:ls\"",
        ],
    );
}

#[test]
fn broken_toml_tells_all_its_breaks_and_no_echo() {
    let faults = read("allow = [\n\"read:.\"\nlocked = = true\nallow = []\nb = 1\n").map(|s| s.layer).unwrap_err();
    assert!(faults.iter().all(|fault| fault.starts_with("p.toml:")), "{faults:#?}");
    assert!(faults.iter().any(|fault| fault.contains("this is not TOML")), "{faults:#?}");
}

#[test]
fn a_digest_that_cannot_be_read_is_no_rule_for_any_component() {
    refused("[[plugins]]\nname = 'a'\nsha256 = 'AB'\n", &["sha256 is \"AB\"", "lower-case"]);
    refused("[[plugins]]\nname = 'a'\nsha256 = 5\n", &["sha256 is a whole number"]);
}

#[test]
fn numbers_have_bounds() {
    refused("ask-timeout-seconds = 0", &["choose a value between 1 and 86400"]);
    refused("ask-timeout-seconds = 1.5", &["a number with a point"]);
    refused("[quota.run]\nagents-max = 100_001", &["between 0 and 100000"]);
    refused("[quota.run]\ntool-calls-max = -1", &["tool-calls-max is -1"]);
    refused("[quota.run]\ntool-calls-max = 99999999999999999999", &["tool-calls-max is 9999"]);
    refused("[quota.agent]\nagents-max = 1", &["quota.agent has no key \"agents-max\""]);
}

#[test]
fn a_question_that_nobody_can_be_asked_is_no_rule() {
    refused(
        "ask = [\n  'write:.',\n  'spawn:1',\n  'spawn:500',\n]\n",
        &[
            "p.toml:3:3: spawn:1 cannot be asked about; deny it, or lower agents-max in [quota.run]",
            "p.toml:4:3: spawn:500 cannot be asked about",
        ],
    );
    let sheet = read("allow = ['tool:*', 'spawn:9']\ndeny = ['spawn:1']\nask = ['tool:*']\n").unwrap();
    assert_eq!((sheet.layer.ask.len(), sheet.layer.deny.len()), (1, 1));
}

#[test]
fn the_many_faults_of_one_file_are_cut_short() {
    let text: String = (0..500).map(|n| format!("unknown{n} = 1\n")).collect();
    let faults = read(&text).map(|s| s.layer).unwrap_err();
    assert!(faults.len() == FAULTS_MAX + 1 && faults.last().unwrap().contains("and 450 more faults"));
}
