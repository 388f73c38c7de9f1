//! Private keys: PEM and PuTTY blocks, JSON Web Keys, and key numbers written out in code.
//!
//! A header alone is no key: programs that read keys are full of headers. Each form is followed into its body.

use crate::checks::decode_base64;
use std::ops::Range;

/// A private key in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    /// From the first byte of the header or value to the last of the body.
    pub(crate) range: Range<usize>,
    /// Bytes at the start of `range` that are no secret: the header.
    pub(crate) header: usize,
    pub(crate) note: &'static str,
}

/// The forms a key comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pem,
    EncryptedPem,
    Putty,
    Der,
    Jwk,
    Numbers,
}

/// Longest key block followed, in bytes. An 8,192-bit RSA key in PEM takes 6,500; quoted line by line in a program, 10,000.
pub(crate) const BLOCK_MAX: usize = 12 * 1024;

/// A PEM block whose label ends in `PRIVATE KEY`, given where these words are.
pub(crate) fn pem(text: &[u8], words_at: usize) -> Option<Key> {
    let from = words_at.saturating_sub(40);
    let lead = &text[from..words_at];
    let begin = memchr::memmem::rfind(lead, b"BEGIN ")?;
    if lead[begin..].contains(&b'\n') || lead[..begin].iter().rev().take_while(|&&b| b == b'-').count() < 4 {
        return None;
    }
    let label = &lead[begin + 6..];
    let dashes = lead[..begin].iter().rev().take_while(|&&b| b == b'-').count();
    let start = from + begin - dashes;
    let after = words_at + b"PRIVATE KEY".len();
    let limit = text.len().min(after + BLOCK_MAX);
    let end = memchr::memmem::find(&text[after..limit], b"END ").map_or(limit, |at| after + at);
    let body = body_of(&text[after..end]);
    let encrypted = label.starts_with(b"ENCRYPTED")
        || label.starts_with(b"SSH2 ENC")
        || memchr::memmem::find(&text[after..end], b"ENCRYPTED").is_some();
    if body.len() < 40 || crate::measure::shannon(&body) < 3.5 {
        return None;
    }
    let decoded = decode_base64(&body[..body.len() / 4 * 4]).unwrap_or_default();
    let note = if decoded.starts_with(b"openssh-key-v1") {
        "its body is an OpenSSH key"
    } else if decoded.first() == Some(&0x30) {
        "its body is DER"
    } else {
        "its body is base64"
    };
    let encrypted = encrypted || openssh_cipher(&decoded).is_some_and(|cipher| cipher != b"none");
    let kind = if encrypted { Kind::EncryptedPem } else { Kind::Pem };
    let closing = text[after..end].iter().take_while(|&&b| b.is_ascii_uppercase() || matches!(b, b' ' | b'-')).count();
    Some(Key { kind, range: start..end.min(start + BLOCK_MAX), header: after + closing - start, note })
}

/// The base64 of a PEM body, whatever it is wrapped in: string literals, escapes, comments, headers. It ends at the first thing that
/// is neither base64 nor wrapping, so that a header quoted in a program has no body.
pub(crate) fn body_of(block: &[u8]) -> Vec<u8> {
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let mut body = Vec::new();
    let mut skipped = 0;
    for line in unescape(block).split(|&b| b == b'\n' || b == b'\r') {
        // Headers such as `Proc-Type: 4,ENCRYPTED`.
        if body.is_empty() && memchr::memchr(b':', line).is_some() && memchr::memmem::find(line, b"://").is_none() {
            skipped += 1;
            continue;
        }
        for token in line.split(|b| matches!(b, b'"' | b'\'' | b'`' | b' ' | b'\t' | b',' | b';')) {
            let from = token.iter().position(is_base64).unwrap_or(token.len());
            let to = token.iter().rposition(is_base64).map_or(from, |last| last + 1);
            let piece = &token[from..to];
            // The prefix of a string literal, the marks of a comment.
            if piece.is_empty() || matches!(piece, b"b" | b"r" | b"u" | b"//" | b"///" | b"+" | b"n") {
                continue;
            }
            let fits = piece.iter().all(is_base64) && !token[to..].starts_with(b"..");
            if fits && (piece.len() >= 16 || !body.is_empty()) {
                body.extend_from_slice(piece);
            } else if body.is_empty() && skipped == 0 && piece.len() < 4 {
                skipped += 1;
            } else {
                body.retain(|b| *b != b'=');
                return body;
            }
        }
        if skipped > 8 {
            break;
        }
    }
    body.retain(|b| *b != b'=');
    body
}

/// `\n` and `\r` of string literals as line breaks. A backslash at the end of a line, which joins lines, goes.
fn unescape(block: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(block.len());
    let mut bytes = block.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            text.push(byte);
        } else {
            if matches!(bytes.peek(), Some(b'n' | b'r' | b't')) {
                bytes.next();
            }
            text.push(b'\n');
        }
    }
    text
}

/// A private key in DER, as base64 without a PEM header around it, given where one of `DER_STARTS` is.
pub(crate) fn der(text: &[u8], at: usize) -> Option<Key> {
    if !DER_STARTS.iter().any(|start| text[at..].starts_with(start.as_bytes())) {
        return None;
    }
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let begin = at - text[..at].iter().rev().take(8).take_while(|b| is_base64(b)).count();
    // `M` is the tag of a SEQUENCE: all these structures begin with one.
    if text[begin] != b'M' || at - begin > 6 {
        return None;
    }
    let limit = text.len().min(begin + BLOCK_MAX);
    let body = body_of(&text[begin..limit]);
    let decoded = decode_base64(&body[..body.len() / 4 * 4])?;
    let (length, header) = der_length(&decoded)?;
    // Most of the structure must be there.
    if length < 40 || decoded.len() + 4 < (length + header).min(400) {
        return None;
    }
    // The block goes on, line by line, until it holds what its length announces. Line breaks may be written as escapes.
    let wanted = ((length + header) * 4).div_ceil(3).min(body.len());
    let is_break = |at: &usize| text[*at] == b'\n' || text[*at..].starts_with(b"\\n");
    let breaks = (begin..limit).filter(is_break).take(DER_LINES_MAX);
    let end = breaks.chain([limit]).find(|&end| body_of(&text[begin..end]).len() >= wanted).unwrap_or(limit);
    // On the line where it ends, it ends with its last character.
    let trailing = text[begin..end].iter().rev().take_while(|&b| !is_base64(b) && *b != b'=').count();
    let first_line = text[begin..end].iter().take_while(|b| is_base64(b)).count();
    let end = if first_line >= wanted { begin + first_line } else { end - trailing };
    Some(Key { kind: Kind::Der, range: begin..end.min(limit), header: 0, note: "base64 of a private key in DER" })
}

/// Lines of base64 in which a key must end. An RSA key of 8,192 bits has 102.
const DER_LINES_MAX: usize = 160;

/// How base64 of a private key begins, a few characters in: PKCS #8 (RSA, EC, Ed25519, X25519), PKCS #1 of the usual sizes, SEC 1.
pub(crate) const DER_STARTS: [&str; 11] = [
    "IBADANBgkqhkiG9w0BAQEF",
    "gIBADANBgkqhkiG9w0BAQEF",
    "IBAAKCAQEA",
    "IBAAKBgQ",
    "IBAAKCAgEA",
    "IBAAJBA",
    "HAgEAMBMGByqGSM49",
    "AgEAMBAGByqGSM49",
    "C4CAQAwBQYDK2Vw",
    "HcCAQEEI",
    "GkAgEBBD",
];

/// The content length and header length of the DER value that `der` begins with.
pub(crate) fn der_length(der: &[u8]) -> Option<(usize, usize)> {
    match *der {
        [0x30, length @ 0..=0x7f, ..] => Some((usize::from(length), 2)),
        [0x30, 0x81, length, ..] => Some((usize::from(length), 3)),
        [0x30, 0x82, high, low, ..] => Some((usize::from(high) << 8 | usize::from(low), 4)),
        _ => None,
    }
}

/// The cipher that an OpenSSH private key names: `none` where it is not encrypted.
fn openssh_cipher(decoded: &[u8]) -> Option<&[u8]> {
    let (length, rest) = decoded.strip_prefix(b"openssh-key-v1\0")?.split_first_chunk::<4>()?;
    rest.get(..u32::from_be_bytes(*length) as usize)
}

/// How a PuTTY private key file begins.
pub(crate) const PUTTY: &str = "PuTTY-User-Key-File-";

/// A PuTTY private key file, given where `PuTTY-User-Key-File-` is.
pub(crate) fn putty(text: &[u8], at: usize) -> Option<Key> {
    let limit = text.len().min(at + BLOCK_MAX);
    let private = at + memchr::memmem::find(&text[at..limit], b"Private-Lines:")?;
    let line_end = private + memchr::memchr(b'\n', &text[private..limit])?;
    let body = body_of(&text[line_end..limit.min(line_end + 200)]);
    let end = memchr::memmem::find(&text[private..limit], b"Private-MAC").map_or(limit, |mac| private + mac);
    (body.len() >= 40).then_some(Key {
        kind: Kind::Putty,
        range: at..end,
        header: PUTTY.len(),
        note: "it has private lines",
    })
}

/// The private member of a JSON Web Key, given where its `"kty"` is.
pub(crate) fn jwk(text: &[u8], kty_at: usize) -> Option<Key> {
    // The members of one object: from the brace before to the brace after.
    let from =
        memchr::memrchr(b'{', &text[kty_at.saturating_sub(4096)..kty_at]).map(|at| kty_at.saturating_sub(4096) + at)?;
    let to = memchr::memchr(b'}', &text[kty_at..text.len().min(kty_at + 4096)]).map(|at| kty_at + at)?;
    let object = &text[from..to];
    let symmetric = member(object, b"kty").is_some_and(|range| object[range].eq_ignore_ascii_case(b"oct"));
    let value = member(object, if symmetric { b"k" } else { b"d" })?;
    let secret = &object[value.clone()];
    let random = secret.len() >= 22
        && crate::measure::alphabet(secret) != crate::measure::Alphabet::Free
        && crate::measure::surprise(secret) > 4.2;
    let fits =
        random && secret.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'=' | b'+' | b'/'));
    let note = if symmetric { "the member k of a symmetric key" } else { "the member d of a key pair" };
    // The other private members stand in the same object.
    fits.then_some(Key { kind: Kind::Jwk, range: from + value.start..to.max(from + value.end), header: 0, note })
}

/// The string value of a member, in JSON or in a program's literal of the same look.
fn member(object: &[u8], name: &[u8]) -> Option<Range<usize>> {
    let mut from = 0;
    while let Some(found) = memchr::memmem::find(&object[from..], name) {
        let at = from + found;
        from = at + name.len();
        let quoted = at > 0 && matches!(object[at - 1], b'"' | b'\'') && object.get(from) == object.get(at - 1);
        if !quoted {
            continue;
        }
        let mut value = from + 1;
        while object.get(value).is_some_and(|b| b.is_ascii_whitespace() || matches!(b, b':' | b'\\' | b'(' | b'b')) {
            value += 1;
        }
        let quote = *object.get(value)?;
        if !matches!(quote, b'"' | b'\'') {
            continue;
        }
        let length = object[value + 1..].iter().take_while(|&&b| b != quote && b != b'\\').count();
        return Some(value + 1..value + 1 + length);
    }
    None
}

/// The numbers of a private key written out: `RSAPrivateNumbers(p=int("e0f1...", 16), ...)`. `at` is after the constructor's name.
pub(crate) fn numbers(text: &[u8], at: usize) -> Option<Key> {
    let limit = text.len().min(at + BLOCK_MAX);
    let open = at + text[at..limit.min(at + 24)].iter().position(|&b| b == b'(' || b == b'{')?;
    if !text[at..open].iter().all(|b| b.is_ascii_alphanumeric() || b.is_ascii_whitespace()) {
        return None;
    }
    let mut depth = 0usize;
    let mut end = None;
    for (offset, byte) in text[open..limit].iter().enumerate() {
        match byte {
            b'(' | b'{' => depth += 1,
            b')' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    end = Some(open + offset + 1);
                    break;
                }
            }
            _ => {}
        }
    }
    let end = end?;
    let digits = text[open..end]
        .split(|b| !b.is_ascii_alphanumeric())
        .map(|word| word.strip_prefix(b"0x").unwrap_or(word))
        .filter(|word| word.len() >= 16 && word.iter().all(u8::is_ascii_hexdigit))
        .map(<[u8]>::len)
        .sum::<usize>();
    (digits >= 40).then_some(Key {
        kind: Kind::Numbers,
        range: open..end,
        header: 1,
        note: "long numbers in a private key's constructor",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Base64 that looks like a key's body, made here so that no scanner flags this file.
    pub(crate) fn body(lines: usize) -> Vec<String> {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut state = 7u32;
        let mut line = || {
            let mut text = String::new();
            for _ in 0..64 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push(char::from(alphabet[(state >> 26) as usize]));
            }
            text
        };
        (0..lines).map(|_| line()).collect()
    }

    fn block(label: &str, lines: &[String], join: &str) -> String {
        let dashes = "-".repeat(5);
        format!("{dashes}BEGIN {label}{dashes}{join}{}{join}{dashes}END {label}{dashes}", lines.join(join))
    }

    fn find(text: &str) -> Option<Key> {
        pem(text.as_bytes(), text.find(&["PRIVATE", "KEY"].join(" "))?)
    }

    #[test]
    fn a_block_in_any_wrapping_is_a_key() {
        let label = ["RSA PRIVATE", "KEY"].join(" ");
        for join in ["\n", "\\n", "\\n\" +\n    \"", "\r\n", "\n    "] {
            let text = format!("x = \"{}\"", block(&label, &body(4), join));
            let key = find(&text).unwrap_or_else(|| panic!("{join:?}"));
            assert_eq!(key.kind, Kind::Pem);
            assert!(key.range.len() > 256);
        }
    }

    #[test]
    fn an_encrypted_block_says_so() {
        assert_eq!(
            find(&block(&["ENCRYPTED PRIVATE", "KEY"].join(" "), &body(4), "\n")).map(|key| key.kind),
            Some(Kind::EncryptedPem)
        );
        let mut lines = body(4);
        lines.insert(0, "Proc-Type: 4,ENCRYPTED".to_owned());
        assert_eq!(
            find(&block(&["RSA PRIVATE", "KEY"].join(" "), &lines, "\n")).map(|key| key.kind),
            Some(Kind::EncryptedPem)
        );
    }

    #[test]
    fn an_openssh_key_names_its_cipher() {
        assert_eq!(openssh_cipher(b"openssh-key-v1\0\0\0\0\x04none rest"), Some(b"none".as_slice()));
        assert_eq!(openssh_cipher(b"openssh-key-v1\0\0\0\0\x0aaes256-ctr"), Some(b"aes256-ctr".as_slice()));
        assert_eq!(openssh_cipher(b"openssh-key-v1\0\0\0\x09\x04none"), None);
    }

    #[test]
    fn a_header_without_a_body_is_no_key() {
        let words = ["PRIVATE", "KEY"].join(" ");
        let dashes = "-".repeat(5);
        for text in [
            format!("if line == \"{dashes}BEGIN {words}{dashes}\" {{ return read_the_body_of_the_key(line); }}"),
            format!("{dashes}BEGIN {words}{dashes}\n...\n{dashes}END {words}{dashes}"),
            format!("{dashes}BEGIN {words}{dashes}\nMIIEvQIBADANBg...\n{dashes}END {words}{dashes}"),
            format!("the {words} of the user"),
        ] {
            assert_eq!(find(&text), None, "{text}");
        }
    }

    #[test]
    fn the_private_member_of_a_jwk_is_found_and_public_keys_are_not() {
        let secret = &body(1)[0].replace(['+', '/'], "x")[..43];
        let text = format!("{{\"kty\": \"EC\", \"crv\": \"P-256\", \"x\": \"abc\", \"d\": \"{secret}\"}}");
        let key = jwk(text.as_bytes(), text.find("\"kty\"").unwrap()).unwrap();
        assert!(text[key.range].starts_with(secret));
        let public = format!("{{\"kty\": \"EC\", \"x\": \"{secret}\", \"kid\": \"d\"}}");
        assert_eq!(jwk(public.as_bytes(), 1), None);
    }

    #[test]
    fn numbers_in_a_constructor() {
        let hex = "0123456789abcdef".repeat(3);
        let text = format!("Numbers(\n p=int(\n \"{hex}\",\n 16), d=1)\nafter");
        let key = numbers(text.as_bytes(), 7).unwrap();
        assert!(text[key.range].ends_with("d=1)"));
        assert_eq!(numbers(b"Numbers(p, q, d)", 7), None);
        assert_eq!(numbers(b"Numbers is a class(with)", 7), None);
    }
}
