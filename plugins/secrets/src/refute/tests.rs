//! Claims about text held in memory.

use super::*;
use base64::Engine as _;

fn verdict(rule: &str, path: &str, text: &str, line: u32) -> Refutation {
    let claim = Claim { rule: rule.into(), path: path.into(), line, fingerprint: None };
    judge(&claim, text.as_bytes(), 1)
}

fn assert_is(expected: Verdict, rule: &str, path: &str, text: &str) {
    let refutation = verdict(rule, path, text, 1);
    assert_eq!(refutation.verdict, expected, "{path}: {text}: {}", refutation.reason);
}

const TOKEN: &str = concat!("q7ZxKp2mVt9L", "wRb4Ns8Dy3Hc6Jf1Ga");

#[test]
fn a_random_literal_in_source_is_confirmed() {
    assert_is(Verdict::Confirmed, "token-literal", "src/a.py", &format!("api_token = '{TOKEN}'\n"));
}

#[test]
fn comments_beside_it_refute() {
    for text in [format!("api_token = '{TOKEN}'  # not a real token\n"), format!("api_token = '{TOKEN}'\n# dummy\n")] {
        assert_is(Verdict::Refuted, "token-literal", "src/a.py", &text);
    }
    let far = format!("# fake\n\n\n\n\n\napi_token = '{TOKEN}'\n");
    assert_eq!(verdict("token-literal", "src/a.py", &far, 7).verdict, Verdict::Confirmed);
}

#[test]
fn a_line_that_changed_refutes() {
    assert_is(Verdict::Refuted, "token-literal", "src/a.py", "api_token = read_token()\n");
    assert_eq!(verdict("token-literal", "src/a.py", "x\n", 90).verdict, Verdict::Refuted);
}

#[test]
fn a_wrong_checksum_refutes() {
    let token = format!("{}_{TOKEN}abcdef", ["g", "hp"].concat());
    assert_is(Verdict::Refuted, "github-token", "src/a.py", &format!("t = '{token}'\n"));
}

#[test]
fn staged_places_leave_doubt_or_refute() {
    assert_is(Verdict::Refuted, "token-literal", "tests/a.py", &format!("api_token = '{TOKEN}'\n"));
    assert_is(
        Verdict::Uncertain,
        "sendgrid-key",
        "tests/a.py",
        &format!("t = '{}.{}.{}'\n", ["S", "G"].concat(), &TOKEN[..22], [TOKEN, &TOKEN[5..18]].concat()),
    );
}

#[test]
fn a_key_that_is_cut_short_is_refuted_and_a_whole_one_is_not() {
    let words = ["PRIVATE", "KEY"].join(" ");
    let dashes = "-".repeat(5);
    let mut state = 3u32;
    let mut der: Vec<u8> = (0..604)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    der[..4].copy_from_slice(&[0x30, 0x82, 0x02, 0x58]);
    let pem = |der: &[u8]| {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("{dashes}BEGIN {words}{dashes}\n{}\n{dashes}END {words}{dashes}\n", lines.join("\n"))
    };
    assert_is(Verdict::Confirmed, "private-key", "src/key.pem", &pem(&der));
    assert_is(Verdict::Uncertain, "private-key", "tests/key.pem", &pem(&der));
    assert_is(Verdict::Refuted, "private-key", "src/key.pem", &pem(&der[..300]));
}

#[test]
fn words_and_repetition_refute() {
    assert_is(Verdict::Refuted, "password-literal", "src/a.py", "password = 'horse-battery7'\n");
    let repeated = "q7Zx".repeat(8);
    let place = format!("api_token = '{repeated}'\n");
    assert_eq!(verdict("token-literal", "src/a.py", &place, 1).verdict, Verdict::Refuted);
}

#[test]
fn an_example_of_a_web_token_is_refuted() {
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let token = |claims: &str| {
        format!("t = '{}.{}.{}'\n", encode("{\"alg\":\"HS256\"}"), encode(claims), [TOKEN, &TOKEN[..13]].concat())
    };
    assert_is(Verdict::Refuted, "jwt", "src/a.js", &token("{\"sub\":\"1234567890\",\"name\":\"John Doe\"}"));
    assert_is(Verdict::Refuted, "jwt", "src/a.js", &token("{\"sub\":\"u81\",\"iss\":\"id.corp\",\"exp\":1300819380}"));
    assert_is(
        Verdict::Confirmed,
        "jwt",
        "src/a.js",
        &token("{\"sub\":\"u81\",\"iss\":\"id.corp\",\"exp\":1999999999}"),
    );
}

#[test]
fn no_reason_holds_the_secret() {
    for path in ["src/a.py", "tests/a.py"] {
        assert!(!verdict("token-literal", path, &format!("api_token = '{TOKEN}'\n"), 1).reason.contains(&TOKEN[..5]));
    }
}
