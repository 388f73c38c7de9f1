//! The second look: reads the place of a finding itself and tries to show that the scanner was wrong.
//!
//! The scanner's excerpt, confidence and notes are not used; the candidate is found anew from rule, path and line. The tests differ
//! from those of the scan: words instead of letter pairs, expected counts of character classes, structure of keys, and the lines
//! around. Doubt is an answer of its own.

use crate::checks::{base62_crc_holds, decode_base64};
use crate::finding;
use crate::keys;
use crate::known;
use crate::measure::{self, Alphabet, Classes};
use crate::place::Place;
use crate::rules;
use crate::scan::{Candidate, candidates};
use crate::source;
use crate::words;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vespiary_sdk::{Error, Result};

/// What is needed of a finding to look for it again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Claim {
    /// The rule that matched.
    pub rule: String,
    /// The file.
    pub path: String,
    /// Line where the secret begins, from 1.
    pub line: u32,
    /// Fingerprint, which tells two secrets of one line apart.
    #[serde(default)]
    pub fingerprint: Option<String>,
}

/// The outcome of the second look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every test that could have refuted it failed to.
    Confirmed,
    /// It is no live secret.
    Refuted,
    /// Neither could be shown.
    Uncertain,
}

/// Verdict and reason. The reason never holds any of the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refutation {
    /// The verdict.
    pub verdict: Verdict,
    /// What decided it.
    pub reason: String,
}

/// Lines read before and after the place. A key of 16,384 bits has 220 lines.
const LINES_BEFORE: u32 = 25;
const LINES_AFTER: u32 = 230;

/// Read the place of `claim` and judge it.
///
/// # Errors
/// `InvalidArguments` for a line 0; what `files.read` answered where the file cannot be read.
pub(crate) fn refute(claim: &Claim) -> Result<Refutation> {
    if claim.line == 0 {
        return Err(Error::invalid("finding.line counts from 1"));
    }
    let first_line = claim.line.saturating_sub(LINES_BEFORE).max(1);
    let text = source::lines(&claim.path, first_line, claim.line + LINES_AFTER)?;
    Ok(refute_text(claim, &text, first_line))
}

/// The same about text at hand: `text` begins at `first_line` of the claim's file, which is not after the claim's line.
pub fn refute_text(claim: &Claim, text: &str, first_line: u32) -> Refutation {
    judge(claim, text.as_bytes(), first_line.clamp(1, claim.line.max(1)))
}

fn judge(claim: &Claim, text: &[u8], first_line: u32) -> Refutation {
    let Some(place) = Surroundings::locate(claim, text, first_line) else {
        return refuted(format!("nothing on line {} has the form of {} any more", claim.line, claim.rule));
    };
    let tests: [fn(&Surroundings<'_>) -> Option<Refutation>; 9] =
        [comment, published, checksum, key_structure, web_token, repetition, dictionary, hash_context, statistics];
    tests.iter().find_map(|test| test(&place)).unwrap_or_else(|| staged_or_confirmed(&place))
}

/// A candidate and what stands around it.
struct Surroundings<'a> {
    text: &'a [u8],
    candidate: Candidate,
    secret: &'a [u8],
    line: &'a [u8],
    /// Three lines before and one after.
    near: &'a [u8],
    place: Place,
}

impl<'a> Surroundings<'a> {
    fn locate(claim: &Claim, text: &'a [u8], first_line: u32) -> Option<Self> {
        let mut starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text).map(|newline| newline + 1));
        let from = starts.nth((claim.line - first_line) as usize)?;
        let to = memchr::memchr(b'\n', &text[from..]).map_or(text.len(), |newline| from + newline);
        let here = candidates(&claim.path, text)
            .into_iter()
            .filter(|c| c.rule == claim.rule && (from..=to).contains(&c.range.start));
        let mut here: Vec<Candidate> = here.collect();
        let named = here.iter().position(|c| {
            claim.fingerprint.as_deref() == Some(&finding::fingerprint(c.rule, &text[c.range.clone()], &claim.path))
        });
        let candidate = (!here.is_empty()).then(|| here.swap_remove(named.unwrap_or(0)))?;
        let mut near_from = from;
        for _ in 0..3 {
            near_from = memchr::memrchr(b'\n', &text[..near_from.saturating_sub(1)]).map_or(0, |newline| newline + 1);
        }
        let end = candidate.range.end.max(to);
        let near_to = memchr::memchr_iter(b'\n', &text[end..]).nth(1).map_or(text.len(), |newline| end + newline);
        Some(Self {
            text,
            secret: &text[candidate.range.clone()],
            line: &text[from..to],
            near: &text[near_from..near_to],
            place: Place::of(&claim.path),
            candidate,
        })
    }

    fn is_key(&self) -> bool {
        matches!(
            self.candidate.rule,
            "private-key"
                | "encrypted-private-key"
                | "putty-private-key"
                | "der-private-key"
                | "jwk-private-key"
                | "private-key-numbers"
        )
    }

    /// The rule knew a value only by the name it was given to.
    fn is_literal(&self) -> bool {
        self.candidate.rule.ends_with("-literal")
            || matches!(self.candidate.rule, "url-password" | "connection-string-password" | "command-line-password")
    }

    /// The secret without the prefix its provider gives every one.
    fn random_part(&self) -> &'a [u8] {
        let fixed = rules::by_id(self.candidate.rule).map_or(0, |rule| {
            rule.keywords.iter().filter(|k| self.secret.starts_with(k.as_bytes())).map(|k| k.len()).max().unwrap_or(0)
        });
        &self.secret[fixed..]
    }
}

fn refuted(reason: impl Into<String>) -> Refutation {
    Refutation { verdict: Verdict::Refuted, reason: reason.into() }
}

fn confirmed(reason: impl Into<String>) -> Refutation {
    Refutation { verdict: Verdict::Confirmed, reason: reason.into() }
}

fn uncertain(reason: impl Into<String>) -> Refutation {
    Refutation { verdict: Verdict::Uncertain, reason: reason.into() }
}

/// Words around the place by which its author says that it is not live.
fn comment(place: &Surroundings<'_>) -> Option<Refutation> {
    // The secret itself could hold such a word by chance.
    let mut around = place.near.to_ascii_lowercase();
    let secret = place.secret.to_ascii_lowercase();
    if let Some(at) = memchr::memmem::find(&around, &secret) {
        around.drain(at..at + secret.len());
    }
    const SAYINGS: [&str; 18] = [
        "allowlist secret",
        "gitleaks:allow",
        "vespiary:allow",
        "nosec",
        "not a real",
        "not real",
        "fake",
        "dummy",
        "for testing only",
        "for tests only",
        "for test only",
        "test only",
        "test key",
        "do not use in production",
        "example key",
        "sample key",
        "insecure key",
        "revoked",
    ];
    let saying = SAYINGS.iter().find(|saying| memchr::memmem::find(&around, saying.as_bytes()).is_some())?;
    Some(refuted(format!("the text beside it says `{saying}`")))
}

fn published(place: &Surroundings<'_>) -> Option<Refutation> {
    known::published(place.secret).map(|from| refuted(format!("published for everyone: {from}")))
}

fn checksum(place: &Surroundings<'_>) -> Option<Refutation> {
    if !matches!(place.candidate.rule, "github-token" | "npm-token") {
        return None;
    }
    match base62_crc_holds(place.secret)? {
        true => Some(confirmed("its checksum is right, which made-up tokens' are not")),
        false => Some(refuted("its checksum is wrong: no token of this provider has these last six characters")),
    }
}

/// Whether the body of a key holds together: the lengths written inside it against what is there.
fn key_structure(place: &Surroundings<'_>) -> Option<Refutation> {
    if !place.is_key() {
        return None;
    }
    let body = match place.candidate.rule {
        "private-key" => {
            let words = memchr::memmem::find(place.secret, b"PRIVATE KEY")? + b"PRIVATE KEY".len();
            keys::body_of(&place.secret[words..])
        }
        "der-private-key" => keys::body_of(place.secret),
        _ => return Some(staged_key(place, "it has the form of private key material")),
    };
    let decoded = decode_base64(&body[..body.len() / 4 * 4]).unwrap_or_default();
    if decoded.starts_with(b"openssh-key-v1\0") {
        return Some(staged_key(place, "its body is a whole OpenSSH key"));
    }
    let Some((content, header)) = keys::der_length(&decoded) else {
        // OpenPGP and old formats have no such length.
        return (body.len() >= 200).then(|| staged_key(place, "its body is long base64"));
    };
    let whole = content + header;
    if decoded.len() + 3 < whole {
        return Some(refuted(format!(
            "its body is cut short: {whole} bytes are announced, {} are there",
            decoded.len()
        )));
    }
    Some(staged_key(place, "the lengths written in its body fit what is there"))
}

fn staged_key(place: &Surroundings<'_>, why: &str) -> Refutation {
    if place.place.is_staged() {
        uncertain(format!(
            "{why}, but the file is of the kind {}: most such keys were made for it",
            place.place.as_str()
        ))
    } else {
        confirmed(why)
    }
}

/// Claims of a JSON Web Token that only examples make.
fn web_token(place: &Surroundings<'_>) -> Option<Refutation> {
    if place.candidate.rule != "jwt" {
        return None;
    }
    let payload = place.secret.split(|&b| b == b'.').nth(1).and_then(decode_base64)?;
    let Ok(serde_json::Value::Object(claims)) = serde_json::from_slice(&payload) else {
        return Some(refuted("its payload is not a JSON object"));
    };
    let text = String::from_utf8_lossy(&payload).to_ascii_lowercase();
    if claims.is_empty()
        || ["john doe", "jane doe", "1234567890", "example", "\"foo\"", "\"bar\"", "\"test\"", "hello"]
            .iter()
            .any(|sign| text.contains(sign))
    {
        return Some(refuted("its claims are those of an example"));
    }
    // Ten years after the format came up. A token that ended before then is of no use to anyone.
    const LONG_AGO: u64 = 1_735_689_600;
    if claims.get("exp").and_then(serde_json::Value::as_u64).is_some_and(|end| end < LONG_AGO) {
        return Some(refuted("it expired before 2025"));
    }
    (!claims.contains_key("iss") && !claims.contains_key("aud") && place.place.is_staged())
        .then(|| refuted("it names no issuer and no audience, and the file is staged"))
}

/// The same block again and again, or the value standing beside itself as a name.
fn repetition(place: &Surroundings<'_>) -> Option<Refutation> {
    let secret = place.random_part();
    let half = secret.len() / 2;
    let periodic = (1..=half)
        .any(|n| secret.iter().zip(&secret[n..]).filter(|(a, b)| a == b).count() * 10 >= (secret.len() - n) * 9);
    if secret.len() >= 8 && (periodic || measure::is_sequence(secret)) {
        return Some(refuted("it repeats itself"));
    }
    None
}

fn dictionary(place: &Surroundings<'_>) -> Option<Refutation> {
    if !place.is_literal() {
        return None;
    }
    let share = words::share_of_words(place.secret);
    (share >= 0.75).then(|| refuted("it is made of dictionary words"))
}

/// Names around a hex string that make it a digest.
fn hash_context(place: &Surroundings<'_>) -> Option<Refutation> {
    let hex = matches!(measure::alphabet(place.secret), Alphabet::Hex)
        && matches!(place.secret.len(), 32 | 40 | 56 | 64 | 96 | 128);
    if !hex || !place.is_literal() {
        return None;
    }
    let line = place.line.to_ascii_lowercase();
    [
        "sha1",
        "sha224",
        "sha256",
        "sha384",
        "sha512",
        "md5",
        "checksum",
        "digest",
        "integrity",
        "etag",
        "commit",
        "revision",
        "hash",
    ]
    .iter()
    .find(|word| memchr::memmem::find(&line, word.as_bytes()).is_some())
    .map(|word| refuted(format!("the line speaks of `{word}`, and the length is that of a digest")))
}

/// Whether the counts of character classes are those of a random string over its alphabet.
fn statistics(place: &Surroundings<'_>) -> Option<Refutation> {
    let secret = place.random_part();
    let chosen = ["password", "url", "command"].iter().any(|start| place.candidate.rule.starts_with(start));
    if chosen || secret.len() < 20 {
        return None;
    }
    let alphabet = match measure::alphabet(secret) {
        Alphabet::Hex => 16.0,
        Alphabet::Base64 => 62.0,
        Alphabet::Decimal => 10.0,
        _ => return None,
    };
    if measure::variety(secret, alphabet) < 0.6 {
        return Some(refuted("it has far fewer different characters than a random string of its length"));
    }
    let classes = Classes::of(secret);
    // One in 1,000 random strings over letters of both cases and digits has no digit at this length.
    let mixed = classes.lower > 0 && classes.upper > 0;
    if alphabet > 16.0 && mixed && classes.digit == 0 && secret.len() >= 40 {
        return Some(refuted("no digit among so many letters: random strings have some"));
    }
    None
}

/// No test refuted it: the kind of file decides between confirmed and uncertain.
fn staged_or_confirmed(place: &Surroundings<'_>) -> Refutation {
    let kind = place.place.as_str();
    if place.place.is_staged() {
        if place.is_literal() {
            return refuted(format!("a value in a file of the kind {kind}, with no form of a provider's"));
        }
        return uncertain(format!("it has its provider's form, but the file is of the kind {kind}"));
    }
    if runs_on(place) {
        return uncertain("the literal is only a part: the expression goes on");
    }
    if place.is_literal() && place.secret.len() < 12 {
        return uncertain("too short to tell from a word by statistics");
    }
    confirmed("not words, not repetitive, not a digest, no comment beside it, and not in a test or a document")
}

/// A literal followed by an operator that adds to it.
fn runs_on(place: &Surroundings<'_>) -> bool {
    let after = &place.text[place.candidate.range.end..];
    let rest: Vec<u8> =
        after.iter().copied().take(24).skip_while(|b| matches!(b, b'"' | b'\'' | b'`' | b' ' | b')')).collect();
    rest.starts_with(b"+ ") || rest.starts_with(b"% ") || rest.starts_with(b".format(") || rest.starts_with(b". $")
}

#[cfg(test)]
mod tests;
