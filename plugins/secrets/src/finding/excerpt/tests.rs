//! Lines, and what is left of them.

use super::*;

fn redacted(line: &[u8], secrets: &[Range<usize>]) -> String {
    super::redacted(Window { text: line, whole_start: true }, secrets)
}

#[test]
fn an_excerpt_never_holds_the_secret() {
    let line = b"  token = 'q7ZxKp2mVt9LwRb4'  # was q7ZxKp2mVt9LwRb4, then other"; // pragma: allowlist secret
    let text = redacted(line, std::slice::from_ref(&(11..27)));
    assert_eq!(text, "token = 'q7Zx…[16 bytes redacted]'  # was q7Zx…[16 bytes redacted], then other");
    assert!(!text.contains("q7ZxK"));
}

#[test]
fn all_secrets_of_a_line_are_masked_and_long_lines_are_cut() {
    let line = format!("{}id='AAAABBBBCCCC' key='DDDDEEEEFFFF'{}", " ".repeat(500), "z".repeat(500));
    let text = redacted(line.as_bytes(), &[504..516, 523..535]);
    assert!(text.contains("AAA…[12 bytes redacted]") && text.contains("DDD…[12 bytes redacted]"), "{text}");
    assert!(text.len() < 250);
}

#[test]
fn control_characters_do_not_reach_the_reader() {
    assert_eq!(
        redacted(b"a\x1b[31m = 'abcd'", std::slice::from_ref(&(10..14))),
        "a\u{FFFD}[31m = 'a…[4 bytes redacted]'"
    );
}

/// The excerpt of a line in which the id is all that was recognised.
fn beside(line: &str) -> String {
    let id = line.find("IDIDIDIDIDIDIDID").unwrap();
    redacted(line.as_bytes(), std::slice::from_ref(&(id..id + 16)))
}

#[test]
fn what_stands_beside_a_secret_is_covered_too() {
    for (line, excerpt) in [
        ("IDIDIDIDIDIDIDID,PtYgjm/3aB", "IDID…[16 bytes redacted]…[11 bytes redacted]"),
        (
            "Session(\"IDIDIDIDIDIDIDID\", \"!Qaz2wsx#EdcV9\")",
            "Session(\"IDID…[16 bytes redacted]\", \"…[14 bytes redacted]\")",
        ),
        ("a='IDIDIDIDIDIDIDID'; password='two words'", "a='IDID…[16 bytes redacted]'; password='…[9 bytes redacted]'"),
        ("a='IDIDIDIDIDIDIDID'; x = q7ZxKp2mVt9L", "a='IDID…[16 bytes redacted]'; x = …[12 bytes redacted]"),
        ("f(b'IDIDIDIDIDIDIDID', rb'it\\'s a secret')", "f(b'IDID…[16 bytes redacted]', rb'…[14 bytes redacted]')"),
        (
            "SET a = N'IDIDIDIDIDIDIDID', b = N'sesame';",
            "SET a = N'IDID…[16 bytes redacted]', b = N'…[6 bytes redacted]';",
        ),
        ("don't 'IDIDIDIDIDIDIDID' 'sesame' won't", "don't 'IDID…[16 bytes redacted]' '…[6 bytes redacted]' won't"),
        (
            "\"{\\\"id\\\": \\\"IDIDIDIDIDIDIDID\\\", \\\"word\\\": \\\"k8Vq2xTz9w\\\"}\"",
            "\"…[8 bytes redacted] \\\"IDID…[16 bytes redacted]\\\", \\\"word\\\": …[15 bytes redacted]\"",
        ),
        (
            "x(IDIDIDIDIDIDIDID, [\"sesame\"], a ? 'sesame' : 'sesame' == b)",
            "x(IDID…[16 bytes redacted], [\"…[6 bytes redacted]\"], a ? '…[6 bytes redacted]' : '…[6 bytes redacted]' == b)",
        ),
        ("login IDIDIDIDIDIDIDID xkqzvbwjhtplmfgd", "login IDID…[16 bytes redacted] …[16 bytes redacted]"),
        (
            "'IDIDIDIDIDIDIDID' + 'not closed k8Vq2xTz9w",
            "'IDID…[16 bytes redacted]' + 'not closed …[10 bytes redacted]",
        ),
    ] {
        assert_eq!(beside(line), excerpt, "{line}");
    }
}

#[test]
fn names_numbers_and_paths_stay_readable() {
    for line in [
        "Access key ID,Secret access key: IDIDIDIDIDIDIDID",
        "session = boto3.Session(aws_access_key_id='IDIDIDIDIDIDIDID', timeout=30, retries=(1, 25))",
        "{\"account\": 12, \"access_key\": \"IDIDIDIDIDIDIDID\", \"secret_access_key\": None}",
        "config[\"access_key\"] = os.environ.get('AWS_ACCESS_KEY', 'IDIDIDIDIDIDIDID')",
        "- export KEY=IDIDIDIDIDIDIDID  # see /usr/lib/python3.11/site-packages/config/settings.py",
        "read(IDIDIDIDIDIDIDID).and_then(|response| self.handler.answer(&response)?);",
    ] {
        assert_eq!(beside(line), line.replace("IDIDIDIDIDIDIDID", "IDID…[16 bytes redacted]"));
    }
}

#[test]
fn a_window_cut_out_of_a_line_covers_on_both_sides_of_a_quote() {
    let line = b"2wsx!Qaz', key='IDIDIDIDIDIDIDID', password='k8Vq2xTz9w', b='"; // pragma: allowlist secret
    let text = super::redacted(Window { text: line, whole_start: false }, std::slice::from_ref(&(16..32)));
    assert!(!text.contains("2wsx") && !text.contains("k8Vq2"), "{text}");
}
