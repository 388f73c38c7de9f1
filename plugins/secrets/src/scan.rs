//! The scanner: text in, findings out.
//!
//! One pass of an automaton over the text finds the literals that any finding must contain; only around them does anything
//! slower run. No I/O here: whoever has the text brings it, in pieces where it is large.

use crate::assignment;
use crate::checks::Outcome;
use crate::finding::{self, Finding, Severity, Window};
use crate::keys::{self, Kind};
use crate::known;
use crate::place::{self, Place};
use crate::rules::{self, Anchor, RULES};
use crate::value::{self, Name, Verdict};
use crate::{allow, pair, url};
use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

/// Findings of one file, given whole.
pub fn scan_text(path: &str, text: &str) -> Vec<Finding> {
    let mut file = FileScan::new(path);
    file.push(text, true);
    file.finish()
}

/// Something that may be a secret, before allow comments and repetition are looked at.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) rule: &'static str,
    pub(crate) title: &'static str,
    pub(crate) severity: Severity,
    pub(crate) confidence: f32,
    pub(crate) range: Range<usize>,
    /// Bytes at the start of `range` that everyone may see: the header line of a key.
    header: usize,
    /// Of two that overlap, the higher stays.
    rank: u8,
    pub(crate) notes: Vec<&'static str>,
}

/// What a literal in the automaton leads to.
#[derive(Debug, Clone, Copy)]
enum Lead {
    Rule(usize),
    Pem,
    Putty,
    Der,
    Jwk,
    Numbers,
    Url,
    Name,
}

struct Leads {
    automaton: AhoCorasick,
    /// By pattern of the automaton.
    leads: Vec<Vec<Lead>>,
}

/// Bytes of a rule's keyword that the automaton looks for. The rule itself looks at the rest; a table of whole keywords would be three
/// times as large.
const LEAD_BYTES: usize = 4;
/// The same for keys in DER, which begin like much other base64.
const DER_LEAD_BYTES: usize = 8;

/// Parts of names whose values are looked at.
const NAME_PARTS: [&str; 14] = [
    "passw",
    "pass",
    "pwd",
    "secret",
    "token",
    "key",
    "cred",
    "auth",
    "salt",
    "cookie",
    "session",
    "bearer",
    "kennwort",
    "contrasena",
];

#[expect(clippy::expect_used, reason = "built from literals; every test that scans builds it")]
static LEADS: LazyLock<Leads> = LazyLock::new(|| {
    let mut by_literal: Vec<(String, Vec<Lead>)> = Vec::new();
    let mut add = |literal: &str, lead: Lead| {
        let literal = literal.to_ascii_lowercase();
        match by_literal.iter_mut().find(|(known, _)| *known == literal) {
            Some((_, leads)) => leads.push(lead),
            None => by_literal.push((literal, vec![lead])),
        }
    };
    for (index, rule) in RULES.iter().enumerate() {
        // Keywords may be equal in their first bytes: one lead is enough.
        let starts: std::collections::BTreeSet<&str> =
            rule.keywords.iter().map(|keyword| &keyword[..keyword.len().min(LEAD_BYTES)]).collect();
        starts.into_iter().for_each(|start| add(start, Lead::Rule(index)));
    }
    add("private key", Lead::Pem);
    add(keys::PUTTY, Lead::Putty);
    keys::DER_STARTS.iter().for_each(|start| add(&start[..start.len().min(DER_LEAD_BYTES)], Lead::Der));
    add("\"kty", Lead::Jwk);
    add("'kty", Lead::Jwk);
    for constructor in ["privatenumbers", "privatekeyparts", "rsaprivatekey", "privatekeyspec"] {
        add(constructor, Lead::Numbers);
    }
    add("://", Lead::Url);
    NAME_PARTS.iter().for_each(|part| add(part, Lead::Name));
    let automaton = AhoCorasickBuilder::new()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .kind(Some(AhoCorasickKind::DFA))
        .build(by_literal.iter().map(|(literal, _)| literal))
        .expect("an automaton of a few hundred literals");
    Leads { automaton, leads: by_literal.into_iter().map(|(_, leads)| leads).collect() }
});

/// Build everything that does not depend on a file. Called before a cell's memory is frozen, so that no call pays for it.
pub fn warm() {
    LazyLock::force(&LEADS);
}

/// All candidates in `text`, in order of place, without overlaps.
pub(crate) fn candidates(path: &str, text: &[u8]) -> Vec<Candidate> {
    let place = Place::of(path);
    let bare = place::has_bare_values(path);
    let mut found = Vec::new();
    let mut searched_to = vec![0usize; RULES.len()];
    let mut names_read_to = 0;
    for hit in LEADS.automaton.find_overlapping_iter(text) {
        let at = hit.start();
        for lead in &LEADS.leads[hit.pattern().as_usize()] {
            match *lead {
                Lead::Rule(index) => {
                    if RULES[index].anchor == Anchor::Prefix || at >= searched_to[index] {
                        searched_to[index] = by_rule(index, text, at, place, &mut found).max(searched_to[index]);
                    }
                }
                Lead::Name if at >= names_read_to => names_read_to = by_name(text, at, bare, place, &mut found),
                Lead::Name => {}
                Lead::Url => found.extend(by_url(text, at, place)),
                Lead::Pem => found.extend(keys::pem(text, at).map(|key| by_key(key, place))),
                Lead::Putty => found.extend(keys::putty(text, at).map(|key| by_key(key, place))),
                Lead::Der => found.extend(keys::der(text, at).map(|key| by_key(key, place))),
                Lead::Jwk => found.extend(keys::jwk(text, at + 1).map(|key| by_key(key, place))),
                Lead::Numbers => found.extend(keys::numbers(text, hit.end()).map(|key| by_key(key, place))),
            }
        }
    }
    without_overlaps(text, found)
}

fn without_overlaps(text: &[u8], mut found: Vec<Candidate>) -> Vec<Candidate> {
    found.retain(|c| known::published(&text[c.range.clone()]).is_none());
    found.sort_by_key(|c| (std::cmp::Reverse(c.rank), c.range.start, std::cmp::Reverse(c.range.len())));
    let mut kept: Vec<Candidate> = Vec::with_capacity(found.len());
    let mut taken = std::collections::BTreeMap::<usize, usize>::new();
    for candidate in found {
        let before = taken.range(..candidate.range.end).next_back();
        if before.is_none_or(|(_, &end)| end <= candidate.range.start) {
            taken.insert(candidate.range.start, candidate.range.end);
            kept.push(candidate);
        }
    }
    kept.sort_by_key(|c| c.range.start);
    kept
}

fn by_rule(index: usize, text: &[u8], at: usize, place: Place, found: &mut Vec<Candidate>) -> usize {
    let rule = &RULES[index];
    let (ranges, searched_to) = rule.matches(text, at);
    for range in ranges {
        let secret = &text[range.clone()];
        let Outcome::Passes { factor, note } = rule.check.apply(secret) else { continue };
        // A token that says what it is cannot be a word, so only stand-ins are dropped here.
        if stands_in(secret) {
            continue;
        }
        let password = rule.check == crate::checks::Check::Password;
        if password && matches!(value::judge(Name::Password, b"password", secret, false, place), Verdict::No(_)) {
            continue;
        }
        let staged = if place.is_staged() { 0.7 } else { 1.0 };
        found.push(Candidate {
            rule: rule.id,
            title: rule.title,
            severity: if factor < 0.5 { Severity::Low } else { rule.severity },
            confidence: (rule.confidence * factor * staged).min(0.99),
            range: range.clone(),
            header: 0,
            rank: rule.rank(),
            notes: note.into_iter().collect(),
        });
        if rule.id == "aws-access-key-id" {
            found.extend(by_id_beside(text, &range, place));
        }
    }
    searched_to
}

/// The key that belongs to the id at `id`, under the rule that finds it by its name elsewhere.
fn by_id_beside(text: &[u8], id: &Range<usize>, place: Place) -> Option<Candidate> {
    let rule = rules::by_id("aws-secret-access-key")?;
    let range = pair::aws_secret_access_key(text, id)?;
    let secret = &text[range.clone()];
    if stands_in(secret) || matches!(rule.check.apply(secret), Outcome::Fails(_)) {
        return None;
    }
    Some(Candidate {
        rule: rule.id,
        title: rule.title,
        severity: rule.severity,
        confidence: rule.confidence * if place.is_staged() { 0.7 } else { 1.0 },
        range,
        header: 0,
        rank: rule.rank(),
        notes: vec!["it stands beside an access key id"],
    })
}

/// Stand-ins that keep a provider's form.
fn stands_in(secret: &[u8]) -> bool {
    let lower = secret.to_ascii_lowercase();
    [
        "example",
        "xxxx",
        "placeholder",
        "changeme",
        "your_",
        "your-",
        "yourk",
        "yours",
        "dummy",
        "redacted",
        "notreal",
        "fake",
    ]
    .iter()
    .any(|word| memchr::memmem::find(&lower, word.as_bytes()).is_some())
}

fn by_name(text: &[u8], at: usize, bare: bool, place: Place, found: &mut Vec<Candidate>) -> usize {
    let name = assignment::name_around(text, at);
    let read_to = name.end.max(at + 1);
    if matches!(place, Place::Generated | Place::Translation) {
        return read_to;
    }
    let Some(kind) = value::name_of(&text[name.clone()]) else { return read_to };
    let Some(read) = assignment::read(text, name.clone(), bare) else { return read_to };
    let secret = &text[read.value.clone()];
    if let Verdict::Yes(confidence, why) = value::judge(kind, &text[name], secret, read.quoted, place) {
        let (rule, title, severity) = match kind {
            Name::Password => ("password-literal", "Password in a literal", Severity::High),
            Name::Token => ("token-literal", "Token or API key in a literal", Severity::High),
            Name::Secret => ("secret-literal", "Secret in a literal", Severity::High),
            Name::Hint => ("random-literal", "Random-looking string under the name of a key", Severity::Medium),
        };
        let severity = if place.is_staged() { severity.lowered().lowered() } else { severity };
        let long =
            secret.strip_suffix(b"\r").map_or(read.value.clone(), |s| read.value.start..read.value.start + s.len());
        found.push(Candidate { rule, title, severity, confidence, range: long, header: 0, rank: 0, notes: vec![why] });
    }
    read_to
}

fn by_url(text: &[u8], at: usize, place: Place) -> Option<Candidate> {
    let (range, host) = url::password(text, at)?;
    let secret = &text[range.clone()];
    let plausible = match url::host_of(host) {
        url::Host::Staged => false,
        url::Host::Role => !place.is_staged() && value::looks_random(secret),
        url::Host::Named => true,
    };
    if !plausible || value::placeholder(secret).is_some() || value::weak(secret).is_some() || range.len() < 5 {
        return None;
    }
    if place.is_staged() && (secret.len() < 8 || crate::measure::surprise(secret) < 4.3) {
        return None;
    }
    let severity = if place.is_staged() { Severity::Low } else { Severity::High };
    Some(Candidate {
        rule: "url-password",
        title: "Password in an address",
        severity,
        confidence: if place.is_staged() { 0.4 } else { 0.75 },
        range,
        header: 0,
        rank: 1,
        notes: Vec::new(),
    })
}

fn by_key(key: keys::Key, place: Place) -> Candidate {
    let (rule, title, severity, confidence) = match key.kind {
        Kind::Pem => ("private-key", "Private key", Severity::Critical, 0.97),
        Kind::EncryptedPem => ("encrypted-private-key", "Private key under a passphrase", Severity::Medium, 0.9),
        Kind::Putty => ("putty-private-key", "PuTTY private key", Severity::Critical, 0.95),
        Kind::Der => ("der-private-key", "Private key in DER", Severity::Critical, 0.9),
        Kind::Jwk => ("jwk-private-key", "Private JSON Web Key", Severity::Critical, 0.9),
        Kind::Numbers => ("private-key-numbers", "Private key written out as numbers", Severity::High, 0.8),
    };
    let (severity, confidence) =
        if place.is_staged() { (severity.lowered().lowered(), confidence * 0.8) } else { (severity, confidence) };
    Candidate {
        rule,
        title,
        severity,
        confidence,
        range: key.range,
        header: key.header,
        rank: 4,
        notes: vec![key.note],
    }
}

/// The scan of one file, which may come in pieces.
pub struct FileScan {
    path: String,
    /// Text not yet done with. Begins at `line` and `column`.
    rest: String,
    line: u32,
    column: u32,
    /// Candidates that begin before this byte of `rest` were reported with the piece before.
    reported_to: usize,
    line_before: Vec<u8>,
    findings: Vec<Finding>,
    by_fingerprint: HashMap<String, usize>,
}

/// Bytes at the end of a piece that are looked at again with the next, so that nothing is cut in two. Longer than any key block.
const OVERLAP: usize = 2 * keys::BLOCK_MAX;
/// Longest start of a line kept for the next piece: files without line breaks must not pile up.
const LINE_KEPT_MAX: usize = 4096;

impl FileScan {
    /// Begin a file.
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            rest: String::new(),
            line: 1,
            column: 1,
            reported_to: 0,
            line_before: Vec::new(),
            findings: Vec::new(),
            by_fingerprint: HashMap::new(),
        }
    }

    /// Scan the next piece of the file. `last` says that none follows.
    pub fn push(&mut self, piece: &str, last: bool) {
        self.rest.push_str(piece);
        if !last && self.rest.len() <= OVERLAP {
            return;
        }
        let text = std::mem::take(&mut self.rest);
        let limit = if last { text.len() } else { text.len() - OVERLAP };
        self.report(text.as_bytes(), limit, last);
        if last {
            return;
        }
        let line_start = memchr::memrchr(b'\n', &text.as_bytes()[..limit]).map_or(0, |newline| newline + 1);
        let cut = if limit - line_start > LINE_KEPT_MAX { limit - LINE_KEPT_MAX } else { line_start };
        let cut = (cut..=limit).find(|&at| text.is_char_boundary(at)).unwrap_or(limit);
        let done = &text.as_bytes()[..cut];
        self.line += memchr::memchr_iter(b'\n', done).count() as u32;
        self.column = match memchr::memrchr(b'\n', done) {
            Some(newline) => (cut - newline) as u32,
            None => self.column + cut as u32,
        };
        if cut > 0 && done[cut - 1] == b'\n' {
            self.line_before = done[..cut - 1].rsplit(|&b| b == b'\n').next().unwrap_or_default().to_vec();
        }
        self.reported_to = limit - cut;
        self.rest = text[cut..].to_owned();
    }

    /// The findings of the whole file, in order of line.
    pub fn finish(self) -> Vec<Finding> {
        self.findings
    }

    /// Turn the candidates that begin within `reported_to..limit` into findings.
    fn report(&mut self, text: &[u8], limit: usize, last: bool) {
        let all = candidates(&self.path, text);
        let place = Place::of(&self.path).as_str();
        let (mut line, mut counted_to) = (self.line, 0);
        for candidate in &all {
            let start = candidate.range.start;
            if start < self.reported_to || (start >= limit && !last) {
                continue;
            }
            line += memchr::memchr_iter(b'\n', &text[counted_to..start]).count() as u32;
            counted_to = start;
            let line_start = memchr::memrchr(b'\n', &text[..start]).map_or(0, |newline| newline + 1);
            let line_end = memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |newline| start + newline);
            let before = match line_start {
                0 => Some(self.line_before.as_slice()),
                _ => text[..line_start - 1].rsplit(|&b| b == b'\n').next(),
            };
            // Allow comments are looked for near the secret, not across megabytes of a minified line.
            let near = &text[line_start.max(start.saturating_sub(LINE_KEPT_MAX))
                ..line_end.min(candidate.range.end.min(line_end) + LINE_KEPT_MAX)];
            if allow::allowed(near, before).is_some() {
                continue;
            }
            let secret = &text[candidate.range.clone()];
            let fingerprint = finding::fingerprint(candidate.rule, secret, &self.path);
            if let Some(&known) = self.by_fingerprint.get(&fingerprint) {
                let evidence = &mut self.findings[known].evidence;
                if evidence.other_lines.len() < 20 {
                    evidence.other_lines.push(line);
                }
                continue;
            }
            let end_line = line + memchr::memchr_iter(b'\n', secret).count() as u32;
            let from = line_start.max(start.saturating_sub(200));
            let to = line_end.min(candidate.range.end.min(line_end) + 200);
            let masks = masks(candidate, &all, from..to);
            let whole_start = from == line_start && (line_start > 0 || self.column == 1);
            self.by_fingerprint.insert(fingerprint.clone(), self.findings.len());
            self.findings.push(Finding {
                rule: candidate.rule.to_owned(),
                title: candidate.title.to_owned(),
                severity: candidate.severity,
                path: self.path.clone(),
                line,
                column: (start - line_start) as u32 + if line_start == 0 { self.column } else { 1 },
                excerpt: finding::redacted(Window { text: &text[from..to], whole_start }, &masks),
                fingerprint,
                confidence: (candidate.confidence * 100.0).round() / 100.0,
                evidence: finding::evidence(secret, place, end_line, &candidate.notes),
                help: help(candidate.rule).to_owned(),
            });
        }
    }
}

/// Where the line part `window` holds secrets, as ranges within it: the finding's own first.
fn masks(own: &Candidate, all: &[Candidate], window: Range<usize>) -> Vec<Range<usize>> {
    let others = all.iter().filter(|other| other.range.start < window.end && other.range.end > window.start);
    let within = |candidate: &Candidate| {
        let start = (candidate.range.start + candidate.header).clamp(window.start, window.end);
        start - window.start..candidate.range.end.clamp(start, window.end) - window.start
    };
    std::iter::once(own).chain(others).map(within).collect()
}

fn help(rule: &str) -> &'static str {
    match rule {
        "private-key"
        | "encrypted-private-key"
        | "putty-private-key"
        | "der-private-key"
        | "jwk-private-key"
        | "private-key-numbers" => {
            "Replace the key pair and remove the private half from the history. A key made for tests only may stay: mark its line with the comment `vespiary:allow secret`."
        }
        "password-literal"
        | "url-password"
        | "connection-string-password"
        | "command-line-password"
        | "random-literal"
        | "secret-literal" => {
            "If it is live, change it, then read it from the environment or a secret store. If it is not, mark the line with the comment `vespiary:allow secret`."
        }
        _ => {
            "Revoke it with its provider first, then read the new one from the environment or a secret store. If it is not live, mark the line with the comment `vespiary:allow secret`."
        }
    }
}

#[cfg(test)]
mod neighbours;
#[cfg(test)]
mod planted;
#[cfg(test)]
mod rates;
#[cfg(test)]
mod tests;
