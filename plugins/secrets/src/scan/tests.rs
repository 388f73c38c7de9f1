//! Planted secrets, built piece by piece so that no scanner flags this repository.

use super::planted::{ALNUM, HEX, planted, random};
use super::*;

fn rules_in(path: &str, text: &str) -> Vec<String> {
    let findings = scan_text(path, text);
    for finding in &findings {
        let shown = serde_json::to_string(finding).unwrap();
        assert!(!shown.contains(&random(1, 20, ALNUM)), "a finding holds a planted secret: {shown}");
    }
    findings.into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn each_planted_secret_is_found_by_its_rule_once() {
    for (rule, path, text) in planted() {
        assert_eq!(rules_in(path, &text), [rule], "{path}: {text}");
    }
}

#[test]
fn an_allow_comment_silences_each() {
    for (rule, path, text) in planted() {
        if !text.contains('\n') {
            assert!(rules_in(path, &format!("{text} # vespiary:allow secret")).is_empty(), "{rule}");
            assert!(rules_in(path, &format!("# vespiary:allow next-line secret\n{text}")).is_empty(), "{rule}");
        }
    }
}

#[test]
fn stand_ins_and_look_alikes_are_left_alone() {
    let cases = [
        ("a.py", format!("id = '{}IOSFODNN7EXAMPLE'", ["AK", "IA"].concat())),
        ("a.py", "aws_secret_access_key = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'".to_owned()),
        ("a.py", format!("{}_{}", ["g", "hp"].concat(), "x".repeat(36))),
        ("a.py", "password = 'password'".to_owned()),
        ("a.py", "password = getpass('Enter password: ')".to_owned()),
        ("a.yml", "password: ${DB_PASSWORD}".to_owned()),
        ("a.yml", "password: !vault |".to_owned()),
        ("a.yml", "password: \"{{ lookup('env', 'X') }}\"".to_owned()),
        ("a.js", "const tokenType = 'access_token_type';".to_owned()),
        ("a.js", "headers['Authorization'] = 'Bearer ' + token".to_owned()),
        ("a.py", "url = 'https://user:password@example.com/'".to_owned()),
        ("a.py", "cache_key = 'user.profile.settings'".to_owned()),
        ("package-lock.json", format!("\"integrity\": \"sha512-{}==\"", random(1, 86, ALNUM))),
        ("a.py", format!("sha256 = '{}'", random(1, 64, HEX))),
        ("a.py", format!("token_id = '{}'", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6")),
        ("tests/test_a.py", "client.login(username='joe', password='hunter42')".to_owned()),
        ("locale/de/a.po", "msgid \"Password: k8Vq2xTz9w\"".to_owned()),
    ];
    for (path, text) in cases {
        assert_eq!(rules_in(path, &text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn what_stays_in_memory_is_small() {
    assert!(LEADS.automaton.memory_usage() < 450_000, "{} bytes", LEADS.automaton.memory_usage());
}

#[test]
fn places_are_exact() {
    let text = format!("one\ntwo\n  token = '{}'\n", random(1, 32, ALNUM));
    let finding = &scan_text("a.py", &text)[0];
    assert_eq!((finding.line, finding.column, finding.evidence.end_line), (3, 12, 3));
    assert_eq!(finding.evidence.length, 32);
}

#[test]
fn the_header_of_a_key_is_shown_and_its_body_is_not() {
    let words = ["PRIVATE", "KEY"].join(" ");
    let dashes = "-".repeat(5);
    let body = random(1, 200, ALNUM);
    let one_line =
        scan_text("a.py", &format!("k = '{dashes}BEGIN {words}{dashes}\\n{body}\\n{dashes}END {words}{dashes}'"));
    assert!(one_line[0].excerpt.starts_with(&format!("k = '{dashes}BEGIN {words}{dashes}")), "{}", one_line[0].excerpt);
    assert!(!one_line[0].excerpt.contains(&body[..5]));
    let lines = scan_text("a.pem", &format!("{dashes}BEGIN {words}{dashes}\n{body}\n{dashes}END {words}{dashes}\n"));
    assert_eq!(lines[0].excerpt, format!("{dashes}BEGIN {words}{dashes}"));
}

#[test]
fn a_secret_that_repeats_is_one_finding() {
    let line = format!("token = '{}'\n", random(1, 32, ALNUM));
    let findings = scan_text("a.py", &line.repeat(3));
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].evidence.other_lines, [2, 3]);
}

#[test]
fn a_file_in_pieces_gives_what_the_whole_file_gives() {
    let mut text = String::new();
    for (index, (_, _, planted)) in planted().into_iter().enumerate() {
        text.push_str(&"filler words of prose, é\n".repeat(400 + index));
        text.push_str(&planted);
        text.push('\n');
    }
    // A long line without any break, with a secret in it.
    text.push_str(&"lorem ipsum ".repeat(9000));
    text.push_str(&format!(" {}_{} ", ["g", "hp"].concat(), random(77, 36, ALNUM)));
    text.push_str(&"dolor sit ".repeat(9000));
    let whole = scan_text("a.py", &text);
    for size in [5_000, 30_000, 70_001] {
        let mut file = FileScan::new("a.py");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let cut = (size.min(rest.len())..=rest.len()).find(|&at| rest.is_char_boundary(at)).unwrap();
            file.push(&rest[..cut], cut == rest.len());
            rest = &rest[cut..];
        }
        let places = |findings: &[Finding]| {
            findings.iter().map(|f| (f.rule.clone(), f.line, f.column, f.fingerprint.clone())).collect::<Vec<_>>()
        };
        assert_eq!(places(&file.finish()), places(&whole), "pieces of {size}");
    }
}

#[test]
fn hostile_text_is_survived() {
    for text in [
        "-----BEGIN PRIVATE KEY",
        "\"kty\"",
        "://",
        "a://:@",
        "password=",
        "password=\"",
        "RSAPrivateNumbers(((((",
        "\u{FFFD}eyJ.",
        "\\password",
        "--password",
    ] {
        scan_text("a.env", text);
        scan_text("a.py", &text.repeat(2000));
    }
}
