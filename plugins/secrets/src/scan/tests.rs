//! Planted secrets, built piece by piece so that no scanner flags this repository.

use super::*;
use base64::Engine as _;

/// Random text over an alphabet, the same at every run.
fn random(seed: u32, length: usize, alphabet: &[u8]) -> String {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(99);
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(alphabet[(state >> 16) as usize % alphabet.len()])
        })
        .collect()
}

const ALNUM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &[u8] = b"0123456789abcdef";
const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn rules_in(path: &str, text: &str) -> Vec<String> {
    let findings = scan_text(path, text);
    for finding in &findings {
        let shown = serde_json::to_string(finding).unwrap();
        assert!(!shown.contains(&random(1, 20, ALNUM)), "a finding holds a planted secret: {shown}");
    }
    findings.into_iter().map(|finding| finding.rule).collect()
}

/// One planted secret a rule: (rule, file, text).
fn planted() -> Vec<(&'static str, &'static str, String)> {
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let a = |n| random(1, n, ALNUM);
    let h = |n| random(2, n, HEX);
    let key_body = (0..6).map(|i| random(i + 10, 64, ALNUM)).collect::<Vec<_>>().join("\n");
    let dashes = "-".repeat(5);
    let private = ["PRIVATE", "KEY"].join(" ");
    vec![
        ("aws-access-key-id", "a.py", format!("id = '{}{}'", ["AK", "IA"].concat(), random(3, 16, BASE32))),
        ("aws-secret-access-key", "a.py", format!("aws_secret_access_key = '{}'", a(40))),
        ("aws-secret-access-key", "credentials", format!("[default]\naws_secret_access_key = {}\n", a(40))),
        ("github-token", "a.py", format!("{}_{}", ["g", "hp"].concat(), a(36))),
        (
            "github-fine-grained-token",
            "a.py",
            format!("{}_pat_{}_{}", ["git", "hub"].concat(), a(22), random(4, 59, ALNUM)),
        ),
        ("gitlab-token", "a.yml", format!("token: {}-{}", ["gl", "pat"].concat(), a(20))),
        ("slack-token", "a.js", format!("'{}-123456789012-1234567890123-{}'", ["xo", "xb"].concat(), a(24))),
        (
            "slack-webhook",
            "a.js",
            format!(
                "https://hooks.{}/services/T{}/B{}/{}",
                ["slack", ".com"].concat(),
                random(5, 9, BASE32),
                random(6, 9, BASE32),
                a(24)
            ),
        ),
        ("stripe-live-key", "a.rb", format!("'{}_live_{}'", ["s", "k"].concat(), a(24))),
        ("google-api-key", "a.html", format!("key={}{}&x", ["AI", "za"].concat(), a(35))),
        ("google-oauth-client-secret", "a.json", format!("\"{}-{}\"", ["GOC", "SPX"].concat(), a(28))),
        ("azure-storage-key", "a.config", format!("AccountName=x;{}={}==;", ["Account", "Key"].concat(), a(86))),
        ("npm-token", ".npmrc", format!("//r/:_authToken={}_{}", ["n", "pm"].concat(), a(36))),
        ("pypi-token", "a.cfg", format!("password = {}IcHlwaS5vcmc{}", ["pypi", "-AgE"].concat(), a(60))),
        ("docker-hub-token", "a.sh", format!("login -p {}_pat_{}", ["dc", "kr"].concat(), a(27))),
        ("sendgrid-key", "a.py", format!("'{}.{}.{}'", ["S", "G"].concat(), a(22), random(7, 43, ALNUM))),
        ("twilio-api-key", "a.py", format!("'{}{}'", ["S", "K"].concat(), h(32))),
        ("mailgun-key", "a.py", format!("'{}-{}'", ["k", "ey"].concat(), h(32))),
        ("mailchimp-key", "a.py", format!("'{}-us12'", h(32))),
        ("anthropic-key", "a.py", format!("'{}-ant-api03-{}AA'", ["s", "k"].concat(), a(93))),
        (
            "openai-key",
            "a.py",
            format!("'{}-{}{}{}'", ["s", "k"].concat(), a(20), ["T3Blbk", "FJ"].concat(), random(8, 20, ALNUM)),
        ),
        ("digitalocean-token", "a.tf", format!("token = \"{}_v1_{}\"", ["d", "op"].concat(), h(64))),
        ("telegram-bot-token", "a.py", format!("'123456789:AA{}'", a(33))),
        ("shopify-token", "a.rb", format!("'{}_{}'", ["sh", "pat"].concat(), h(32))),
        ("square-token", "a.rb", format!("'{}-{}'", ["sq0", "atp"].concat(), a(22))),
        ("artifactory-api-key", "a.xml", format!("<k>{}{}</k>", ["AK", "Cp"].concat(), a(60))),
        (
            "jwt",
            "a.js",
            format!("'{}.{}.{}'", encode("{\"alg\":\"HS256\"}"), encode("{\"sub\":\"someone\",\"admin\":true}"), a(43)),
        ),
        (
            "private-key",
            "a.pem",
            format!("{dashes}BEGIN {private}{dashes}\n{key_body}\n{dashes}END {private}{dashes}\n"),
        ),
        (
            "private-key",
            "sa.json",
            format!(
                "{{\"type\": \"service_account\", \"private_key\": \"{dashes}BEGIN {private}{dashes}\\n{}\\n{dashes}END {private}{dashes}\\n\"}}",
                key_body.replace('\n', "\\n")
            ),
        ),
        (
            "der-private-key",
            "a.py",
            format!(
                "k = b'{}{}'",
                ["MIICdwIBADANBgkqhki", "G9w0BAQEFAASCAmEwggJdAgEAAoGBAL"].concat(),
                random(11, 780, ALNUM)
            ),
        ),
        ("url-password", "a.py", format!("db = 'postgres://app:{}@db.internal/app'", a(16))),
        ("password-literal", "a.py", format!("db_password = '{}'", a(12))),
        ("token-literal", "a.env", format!("API_TOKEN={}\n", a(32))),
        (
            "secret-literal",
            "settings.py",
            format!("SECRET_KEY = \"{}\"", random(9, 50, b"abcdefghijkmnpqrstuvwz0123456789!@^&*-_=+")),
        ),
        (
            "docker-config-auth",
            "config.json",
            format!("\"auth\": \"{}\"", base64::engine::general_purpose::STANDARD.encode(format!("ci:{}", a(20)))),
        ),
        (
            "connection-string-password",
            "a.config",
            format!("Server=db.internal;Database=x;User Id=sa;{}={};", ["Pass", "word"].concat(), a(14)),
        ),
    ]
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
