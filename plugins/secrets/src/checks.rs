//! Checks that a string of some form must pass: checksums, decodable headers, a spread of characters.
//!
//! Everything here looks at the secret alone. Context (the file, the line, comments) is judged elsewhere.

use crate::measure::{self, Classes};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// What a rule asks of its matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Varied characters: no filler such as `xxxxxxxx` or `123456789`.
    Random,
    /// `Random`, with small letters, capitals and digits.
    MixedCase,
    /// `MixedCase`, or a long string of hex digits.
    MixedCaseOrHex,
    /// The last six characters are the CRC-32 of those between prefix and checksum, in base 62.
    Base62Crc,
    /// Anything a person might have chosen, so only the judge of values can say.
    Password,
    /// Base64 of `user:password`.
    UserColonPassword,
    /// The first segment decodes to a JSON object with `alg`.
    Jwt,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Outcome {
    /// Passed. The confidence is multiplied by the factor; the note says what was seen.
    Passes { factor: f32, note: Option<&'static str> },
    /// The form is there, but the content cannot be a credential.
    Fails(&'static str),
}

pub(crate) const PASSED: Outcome = Outcome::Passes { factor: 1.0, note: None };

impl Check {
    /// Apply to one secret.
    pub(crate) fn apply(self, secret: &[u8]) -> Outcome {
        match self {
            Self::Password => PASSED,
            Self::Random => random(secret),
            Self::MixedCase => mixed_case(secret),
            Self::MixedCaseOrHex if measure::alphabet(secret) == measure::Alphabet::Hex => random(secret),
            Self::MixedCaseOrHex => mixed_case(secret),
            Self::Base62Crc => match base62_crc_holds(secret) {
                Some(true) => Outcome::Passes { factor: 1.05, note: Some("its checksum is right") },
                _ => match random(secret) {
                    Outcome::Passes { .. } => Outcome::Passes { factor: 0.4, note: Some("its checksum is wrong") },
                    failed => failed,
                },
            },
            Self::UserColonPassword => user_colon_password(secret),
            Self::Jwt => jwt(secret),
        }
    }
}

fn random(secret: &[u8]) -> Outcome {
    let longest_run = secret.chunk_by(|a, b| a == b).map(<[u8]>::len).max().unwrap_or(0);
    if longest_run >= 6 || measure::is_sequence(secret) {
        return Outcome::Fails("filler characters");
    }
    if secret.len() >= 16 && measure::shannon(secret) < 2.6 {
        return Outcome::Fails("too few different characters");
    }
    PASSED
}

fn mixed_case(secret: &[u8]) -> Outcome {
    let classes = Classes::of(secret);
    if classes.lower == 0 || classes.upper == 0 || classes.digit == 0 {
        return Outcome::Fails("no mix of small letters, capitals and digits");
    }
    if measure::surprise(secret) < 4.3 {
        return Outcome::Fails("reads like words");
    }
    random(secret)
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether the base 62 CRC-32 at the end of a token such as `ghp_...` or `npm_...` is right. `None` when the token is too short
/// or has no prefix.
pub(crate) fn base62_crc_holds(token: &[u8]) -> Option<bool> {
    let prefix = memchr::memchr(b'_', token)? + 1;
    let (random, checksum) = token.get(prefix..)?.split_last_chunk::<6>()?;
    let mut rest = crc32fast::hash(random);
    let mut expected = [b'0'; 6];
    for place in expected.iter_mut().rev() {
        *place = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    Some(expected == *checksum)
}

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Decode base64 of either alphabet, padded or not.
pub(crate) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let url_safe = text.iter().any(|b| matches!(b, b'-' | b'_'));
    if url_safe { URL_SAFE.decode(text) } else { STANDARD.decode(text) }.ok()
}

fn user_colon_password(secret: &[u8]) -> Outcome {
    let Some(decoded) = decode_base64(secret) else {
        return Outcome::Fails("not base64");
    };
    if !decoded.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
        return Outcome::Fails("does not decode to text");
    }
    let Some(colon) = memchr::memchr(b':', &decoded) else {
        return Outcome::Fails("does not decode to user:password");
    };
    match crate::value::placeholder(&decoded[colon + 1..]).or(crate::value::weak(&decoded[colon + 1..])) {
        Some(why) => Outcome::Fails(why),
        None => Outcome::Passes { factor: 1.0, note: Some("decodes to user:password") },
    }
}

fn jwt(secret: &[u8]) -> Outcome {
    let Some(header) = secret.split(|&b| b == b'.').next().and_then(decode_base64) else {
        return Outcome::Fails("its header is not base64");
    };
    let Ok(serde_json::Value::Object(header)) = serde_json::from_slice(&header) else {
        return Outcome::Fails("its header is not a JSON object");
    };
    match header.get("alg").and_then(|alg| alg.as_str()) {
        None => Outcome::Fails("its header names no algorithm"),
        Some(alg) if alg.eq_ignore_ascii_case("none") => Outcome::Fails("it is not signed"),
        Some(_) => Outcome::Passes { factor: 1.0, note: Some("its header decodes") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token of that prefix whose checksum is right.
    fn minted(prefix: &str, random: &str) -> String {
        let mut rest = crc32fast::hash(random.as_bytes());
        let mut tail = Vec::new();
        for _ in 0..6 {
            tail.insert(0, BASE62[(rest % 62) as usize]);
            rest /= 62;
        }
        format!("{prefix}_{random}{}", String::from_utf8_lossy(&tail))
    }

    #[test]
    fn a_checksum_is_right_or_wrong() {
        let token = minted("ghp", "q7ZxKp2mVt9LwRb4Ns8Dy3Hc6Jf1Ga");
        assert_eq!(base62_crc_holds(token.as_bytes()), Some(true));
        let changed = token.replace('q', "r");
        assert_eq!(base62_crc_holds(changed.as_bytes()), Some(false));
        assert_eq!(base62_crc_holds(b"ghp_x"), None);
    }

    #[test]
    fn a_jwt_needs_a_header_with_a_signing_algorithm() {
        let encode = |json: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
        let token =
            |header: &str| format!("{}.{}.{}", encode(header), encode("{\"sub\":\"a\"}"), "c2lnbmF0dXJlc2lnbmF0dXJl");
        assert!(matches!(Check::Jwt.apply(token("{\"alg\":\"RS256\"}").as_bytes()), Outcome::Passes { .. }));
        assert!(matches!(Check::Jwt.apply(token("{\"alg\":\"none\"}").as_bytes()), Outcome::Fails(_)));
        assert!(matches!(Check::Jwt.apply(token("{\"typ\":\"x\"}").as_bytes()), Outcome::Fails(_)));
        assert!(matches!(Check::Jwt.apply(b"eyJhbGc.x.y"), Outcome::Fails(_)));
    }

    #[test]
    fn filler_is_not_random() {
        assert!(matches!(Check::Random.apply(b"xxxxxxxxxxxxxxxxxxxx"), Outcome::Fails(_)));
        assert!(matches!(Check::Random.apply(b"q7ZxKp2mVt9LwRb4"), Outcome::Passes { .. }));
        assert!(matches!(Check::MixedCase.apply(b"theSecretAccessKeyOfTheUser1"), Outcome::Fails(_)));
    }

    #[test]
    fn basic_credentials_decode_to_a_pair() {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        assert!(matches!(
            Check::UserColonPassword.apply(encode("deploy:k8Vq2xTz9w").as_bytes()),
            Outcome::Passes { .. }
        ));
        assert!(matches!(Check::UserColonPassword.apply(encode("user:password").as_bytes()), Outcome::Fails(_)));
        assert!(matches!(Check::UserColonPassword.apply(encode("no pair at all").as_bytes()), Outcome::Fails(_)));
    }
}
