//! No part of a secret leaves with the finding of another: lines with something that no rule knows beside what one does.

use super::planted::{ALNUM, BASE32, random};
use super::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

/// Bytes of a secret that an answer may show.
const SHOWN_MAX: usize = 4;

/// The answer holds no longer part of `secret`. Only what is made of the file's text is asked: the words that stand in every answer, and
/// the 64 digits of a fingerprint, hold five letters of anything now and then.
pub(super) fn assert_covered(path: &str, text: &str, secret: &str) -> Result<usize, TestCaseError> {
    let findings = scan_text(path, text);
    for finding in &findings {
        let told = format!("{} {:?} {}", finding.excerpt, finding.evidence.notes, finding.path);
        for part in secret.as_bytes().windows(SHOWN_MAX + 1) {
            let part = std::str::from_utf8(part).unwrap();
            prop_assert!(!told.contains(part), "{text}: {part} of {secret} in {told}");
        }
    }
    Ok(findings.len())
}

fn id(seed: u32) -> String {
    format!("{}{}", ["AK", "IA"].concat(), random(seed, 16, BASE32))
}

#[test]
fn the_other_half_of_a_credential_is_found_and_covered() {
    for seed in 0..200 {
        let (id, key) = (id(seed), random(seed + 900, 40, ALNUM));
        for (path, text) in [
            ("accessKeys.csv", format!("Access key ID,Secret access key\n{id},{key}\n")),
            ("a.py", format!("Session(\"{id}\", \"{key}\")\n")),
            ("a.py", format!("Session(\n    \"{id}\",\n    \"{key}\",\n)\n")),
        ] {
            assert_covered(path, &text, &key).unwrap();
            let rules: Vec<String> = scan_text(path, &text).into_iter().map(|finding| finding.rule).collect();
            // One in a hundred has no digit, no capital or no small letter, and might be words.
            if crate::checks::Check::MixedCase.apply(key.as_bytes()) == crate::checks::PASSED {
                assert_eq!(rules, ["aws-access-key-id", "aws-secret-access-key"], "{text}");
            }
        }
    }
}

#[test]
fn a_digest_beside_an_id_is_no_key() {
    let text = format!("{} {}", id(1), random(2, 40, super::planted::HEX));
    assert_eq!(scan_text("a.txt", &text).len(), 1);
}

/// A line around the id with a literal in it.
const WITH_LITERAL: [(&str, &str, &str); 7] = [
    ("a.py", "a='ID'; password='", "'"),
    ("a.py", "Session(\"ID\", \"", "\")"),
    ("a.js", "f({k: 'ID', p: `", "`})"),
    ("a.csv", "\"ID\",\"", "\""),
    ("a.py", "login('", "', 'ID')"),
    ("a.yaml", "x: {id: ID, p: \"", "\"}"),
    ("a.rb", "p '", "' # ID"),
];

/// The same with a bare value.
const WITH_BARE: [(&str, &str, &str); 8] = [
    ("accessKeys.csv", "ID,", ""),
    ("accessKeys.csv", "bob,", ",ID"),
    ("a.py", "# ID ", ""),
    ("a.sh", "run --id ID --other ", " -v"),
    (".env", "A=ID B=", ""),
    ("a.txt", "ID:", ""),
    ("a.txt", "ID/", "/x"),
    ("a.log", "GET /x?id=ID&s=", " HTTP/1.1"),
];

fn config() -> Config {
    // The rule for bare values is one of statistics: the same samples at every run.
    Config {
        cases: 2000,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        max_global_rejects: 100_000,
        ..Config::default()
    }
}

/// `secret` in the line that `(path, before, after)` describes, with an id in place of the word `ID`.
fn line((path, before, after): (&'static str, &str, &str), seed: u32, secret: &str) -> (&'static str, String) {
    let around = |part: &str| part.replace("ID", &id(seed));
    (path, format!("{}{secret}{}", around(before), around(after)))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_literal_beside_an_id_is_covered(
        seed in 0u32..1000,
        place in 0..WITH_LITERAL.len(),
        secret in "[ !#-&(-\\[\\]-_a-~]{6,60}",
        words in 0usize..400,
    ) {
        let (path, text) = line(WITH_LITERAL[place], seed, &secret);
        let text = format!("{}{text}", "x ".repeat(words));
        let findings = assert_covered(path, &text, &secret)?;
        prop_assert!(findings > 0);
    }

    #[test]
    fn a_run_beside_an_id_is_covered(
        seed in 0u32..1000,
        place in 0..WITH_BARE.len(),
        secret in prop_oneof![
            "[!#-&(-\\[\\]-_a-~]{12,60}",
            "[A-Za-z0-9]{12,60}",
            "[A-Za-z0-9+/]{12,60}",
            "[a-z0-9._-]{12,60}",
            "[a-f0-9]{12,64}",
        ],
    ) {
        prop_assume!(secret.bytes().any(|b| b.is_ascii_digit()) && secret.bytes().any(|b| b.is_ascii_alphabetic()));
        let (path, text) = line(WITH_BARE[place], seed, &secret);
        let findings = assert_covered(path, &text, &secret)?;
        prop_assert!(findings > 0);
    }
}
