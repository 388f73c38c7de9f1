//! Who may come in over the network: whoever has this server's token, or a token that a team's authorization server has signed. A
//! token is compared in constant time; a signature is checked by `ring`, and only under a key of the team's own set.

use crate::disk;
use crate::exit::Trouble;
use crate::mcp::door::Subject;
use axum::http::HeaderValue;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, Validation, decode, decode_header};
use ring::signature as sig;
use serde::Deserialize;
use signature::Verifier;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq as _;
use tokio::sync::Mutex;
use vespiary_egress::fetch::Source;
use vespiary_kernel::ids::Digest;

/// The shortest token a person may choose, characters.
const TOKEN_CHARS_MIN: usize = 24;
/// The longest token that is looked at, bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// The largest set of keys, bytes.
const KEYS_BYTES_MAX: u64 = 1 << 20;
/// How soon keys may be fetched again when a token names one that is not known.
const KEYS_AGE_MIN: Duration = Duration::from_secs(60);
/// How long fetched keys hold.
const KEYS_AGE_MAX: Duration = Duration::from_secs(600);
/// How far the clocks of two machines may be apart, seconds.
const CLOCKS_APART: u64 = 30;

/// Why somebody was not let in. Told to them in general words only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There was no token.
    NoToken,
    /// There was one, and it is not good.
    BadToken,
    /// It is good, and for something else.
    WrongScope,
}

/// Who is let in.
#[derive(Debug)]
pub enum Guard {
    /// Whoever has the token of this digest.
    Token(Digest),
    /// Whoever has a token of this issuer.
    Team(Box<Team>),
}

/// A team's authorization server, as this one knows it.
#[derive(Debug)]
pub struct Team {
    /// Its identifier, as tokens name it.
    pub issuer: String,
    /// What a token must be for.
    pub audience: String,
    /// The scope that a token must have.
    pub scope: Option<String>,
    keys: KeySource,
    known: RwLock<Option<(Instant, Arc<JwkSet>)>>,
    fetching: Mutex<()>,
}

#[derive(Debug)]
enum KeySource {
    File(PathBuf),
    Url(Source),
}

#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    scope: Option<String>,
}

impl Guard {
    /// Let in whoever has `token`.
    ///
    /// # Errors
    /// It is short enough to be guessed, or no header can carry it.
    pub fn token(token: &str) -> Result<Self, Trouble> {
        let wrong = |why: String| {
            let next = "take 32 random bytes in hex, or leave it out and let one be made";
            Trouble::usage("the token cannot be used", why, next)
        };
        if token.chars().count() < TOKEN_CHARS_MIN {
            return Err(wrong(format!("it has fewer than {TOKEN_CHARS_MIN} characters")));
        }
        if HeaderValue::from_str(token).is_err() || token.contains(char::is_whitespace) || token.len() > TOKEN_BYTES_MAX
        {
            return Err(wrong("it has characters that a header cannot carry, or too many".into()));
        }
        Ok(Self::Token(Digest::of(token.as_bytes())))
    }

    /// Whether `authorization`, the value of that header, lets its sender in, and in whose name.
    pub async fn admit(&self, authorization: Option<&HeaderValue>) -> Result<Option<Subject>, Refused> {
        let text = authorization.ok_or(Refused::NoToken)?.to_str().map_err(|_| Refused::BadToken)?;
        let (scheme, token) = text.split_once(' ').ok_or(Refused::BadToken)?;
        let token = token.trim_start_matches(' ');
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return Err(Refused::BadToken);
        }
        match self {
            Self::Token(known) => {
                // Digests are of one length, so that not even the token's is told by the time this takes.
                let same = Digest::of(token.as_bytes()).as_bytes().ct_eq(known.as_bytes());
                if bool::from(same) { Ok(None) } else { Err(Refused::BadToken) }
            }
            Self::Team(team) => team.admit(token).await.map(Some),
        }
    }
}

impl Team {
    /// A team whose keys are in a file, or at a URL from which they are fetched when they are needed.
    ///
    /// # Errors
    /// The file cannot be read, or the URL is neither `https` nor this machine's own.
    pub fn new(issuer: String, audience: String, scope: Option<String>, keys: &str) -> Result<Self, Trouble> {
        let wrong = |why: &dyn std::fmt::Display| {
            let next = "give --oauth-jwks a file with a JWK set, or an https URL of one";
            Trouble::usage("tokens of the team cannot be checked", why, next)
        };
        install();
        let source = match Source::is_url(keys) {
            true => KeySource::Url(Source::new(keys).map_err(|why| wrong(&why))?),
            false => KeySource::File(keys.into()),
        };
        let known = match &source {
            KeySource::File(path) => Some((Instant::now(), Arc::new(read_keys(path).map_err(|why| wrong(&why))?))),
            KeySource::Url(_) => None,
        };
        Ok(Self { issuer, audience, scope, keys: source, known: RwLock::new(known), fetching: Mutex::new(()) })
    }

    async fn admit(&self, token: &str) -> Result<Subject, Refused> {
        let header = decode_header(token).map_err(|_| Refused::BadToken)?;
        let keys = self.keys_with(header.kid.as_deref()).await.ok_or(Refused::BadToken)?;
        let key = chosen(&keys, header.kid.as_deref(), header.alg).ok_or(Refused::BadToken)?;
        let decoding = DecodingKey::from_jwk(key).map_err(|_| Refused::BadToken)?;
        // One algorithm, and that one fits the key: a token cannot have a public key taken for a shared secret.
        let mut wanted = Validation::new(header.alg);
        wanted.set_issuer(&[&self.issuer]);
        wanted.set_audience(&[&self.audience]);
        wanted.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        wanted.validate_nbf = true;
        wanted.leeway = CLOCKS_APART;
        let claims = decode::<Claims>(token, &decoding, &wanted).map_err(|_| Refused::BadToken)?.claims;
        if let Some(scope) = &self.scope
            && !claims.scope.as_deref().unwrap_or_default().split(' ').any(|held| held == scope)
        {
            return Err(Refused::WrongScope);
        }
        Ok(Subject(crate::terminal::clipped(&claims.sub, 200)))
    }

    /// The team's keys; fetched where they are old, or lack the one that is named.
    async fn keys_with(&self, kid: Option<&str>) -> Option<Arc<JwkSet>> {
        let KeySource::Url(source) = &self.keys else { return self.known().map(|(_, keys)| keys) };
        let good = |known: Option<(Instant, Arc<JwkSet>)>| {
            let (at, keys) = known?;
            let has = kid.is_none_or(|kid| keys.find(kid).is_some());
            (at.elapsed() < KEYS_AGE_MIN || at.elapsed() < KEYS_AGE_MAX && has).then_some(keys)
        };
        if let Some(keys) = good(self.known()) {
            return Some(keys);
        }
        let _one = self.fetching.lock().await;
        // Somebody else has fetched them meanwhile.
        if let Some(keys) = good(self.known()) {
            return Some(keys);
        }
        match fetched(source).await {
            Ok(keys) => {
                let keys = Arc::new(keys);
                *self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner) =
                    Some((Instant::now(), Arc::clone(&keys)));
                Some(keys)
            }
            Err(why) => {
                eprintln!("vespiary: the keys at {} cannot be had: {}", source.url(), crate::terminal::line(&why));
                None
            }
        }
    }

    fn known(&self) -> Option<(Instant, Arc<JwkSet>)> {
        self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// The key that a token names, or the only one there is, if it is one for this algorithm.
fn chosen<'a>(keys: &'a JwkSet, kid: Option<&str>, algorithm: Algorithm) -> Option<&'a Jwk> {
    let key = match (kid, &keys.keys[..]) {
        (Some(kid), _) => keys.find(kid)?,
        (None, [only]) => only,
        (None, _) => return None,
    };
    let for_signing = key.common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature);
    let named = key.common.key_algorithm.as_ref().map(ToString::to_string);
    let fits = named.is_none_or(|named| named.parse::<Algorithm>().is_ok_and(|of| of == algorithm));
    (for_signing && fits && verification(algorithm).is_some()).then_some(key)
}

fn read_keys(path: &Path) -> Result<JwkSet, String> {
    let text = disk::read_text(path, KEYS_BYTES_MAX).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is no JWK set: {error}", path.display()))
}

async fn fetched(source: &Source) -> Result<JwkSet, String> {
    let text = source.fetch(KEYS_BYTES_MAX).await?;
    serde_json::from_slice(&text).map_err(|error| format!("they are no JWK set: {error}"))
}

/// Have tokens checked by `ring`, which is in this program already.
fn install() {
    static RING: CryptoProvider = CryptoProvider {
        signer_factory: no_signer,
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    // A second time changes nothing.
    let _ = RING.install_default();
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, JwtError> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, JwtError> {
    verification(*algorithm).ok_or(ErrorKind::InvalidAlgorithm)?;
    Ok(Box::new(ByRing { algorithm: *algorithm, key: key.clone() }))
}

/// How a signature is checked: with the two numbers of an RSA key, or with a public key's bytes.
enum Verification {
    Rsa(&'static sig::RsaParameters),
    Bytes(&'static dyn sig::VerificationAlgorithm),
}

/// None: not with a public key, and therefore not here.
fn verification(algorithm: Algorithm) -> Option<Verification> {
    Some(match algorithm {
        Algorithm::RS256 => Verification::Rsa(&sig::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Verification::Rsa(&sig::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Verification::Rsa(&sig::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Verification::Rsa(&sig::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Verification::Rsa(&sig::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Verification::Rsa(&sig::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Verification::Bytes(&sig::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Verification::Bytes(&sig::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Verification::Bytes(&sig::ED25519),
        _ => return None,
    })
}

struct ByRing {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for ByRing {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let checked = match (verification(self.algorithm), self.key.kind()) {
            (Some(Verification::Rsa(how)), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                sig::RsaPublicKeyComponents { n, e }.verify(how, message, signature)
            }
            (Some(Verification::Bytes(how)), DecodingKeyKind::SecretOrDer(key)) => {
                sig::UnparsedPublicKey::new(how, key).verify(message, signature)
            }
            _ => Err(ring::error::Unspecified),
        };
        checked.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for ByRing {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set up what they look at")]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::rand::SystemRandom;
    use ring::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
    use serde_json::{Value, json};

    const ISSUER: &str = "https://login.example.com";
    const AUDIENCE: &str = "http://127.0.0.1:8765/mcp";

    struct Keys {
        ed: Ed25519KeyPair,
        ec: EcdsaKeyPair,
    }

    impl Keys {
        fn new() -> Self {
            let random = SystemRandom::new();
            let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
            let fixed = &sig::ECDSA_P256_SHA256_FIXED_SIGNING;
            let ec = EcdsaKeyPair::generate_pkcs8(fixed, &random).unwrap();
            Self {
                ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
                ec: EcdsaKeyPair::from_pkcs8(fixed, ec.as_ref(), &random).unwrap(),
            }
        }

        fn set(&self) -> Value {
            let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let point = self.ec.public_key().as_ref();
            json!({ "keys": [
                { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA", "use": "sig", "x": text(self.ed.public_key().as_ref()) },
                { "kty": "EC", "crv": "P-256", "kid": "ec", "x": text(&point[1..33]), "y": text(&point[33..]) },
                { "kty": "oct", "kid": "shared", "alg": "HS256", "k": text(b"a secret that everybody can read in the set") },
            ] })
        }

        fn token(&self, header: Value, claims: Value) -> String {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let message = format!("{}.{}", part(&header), part(&claims));
            let signature = match header["alg"].as_str() {
                Some("EdDSA") => self.ed.sign(message.as_bytes()).as_ref().to_vec(),
                Some("ES256") => self.ec.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
                Some("HS256") => {
                    let key =
                        ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"a secret that everybody can read in the set");
                    ring::hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
                }
                _ => Vec::new(),
            };
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
    }

    fn now() -> u64 {
        crate::gates::now_ms() / 1_000
    }

    fn claims(changed: Value) -> Value {
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": now() + 300, "nbf": now() - 5, "scope": "mcp tools",
        });
        for (key, value) in changed.as_object().unwrap() {
            claims[key] = value.clone();
        }
        claims
    }

    async fn admits(guard: &Guard, token: &str) -> Result<Option<Subject>, Refused> {
        guard.admit(Some(&HeaderValue::from_str(&format!("Bearer {token}")).unwrap())).await
    }

    #[tokio::test]
    async fn only_the_whole_token_lets_in() {
        let token = "0123456789abcdef0123456789abcdef";
        let guard = Guard::token(token).unwrap();
        assert_eq!(admits(&guard, token).await, Ok(None));
        for bad in ["0123456789abcdef0123456789abcdee", "0123456789abcdef", "", "0123456789ABCDEF0123456789ABCDEF"] {
            assert_eq!(admits(&guard, bad).await, Err(Refused::BadToken), "{bad}");
        }
        assert_eq!(guard.admit(None).await, Err(Refused::NoToken));
        for header in ["Basic 0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef", "Bearer"] {
            assert_eq!(guard.admit(Some(&HeaderValue::from_static(header))).await, Err(Refused::BadToken), "{header}");
        }
        assert!(Guard::token("short").is_err() && Guard::token(&"a b".repeat(20)).is_err());
    }

    #[tokio::test]
    async fn a_teams_token_is_good_for_one_server_one_time_and_one_issuer() {
        let keys = Keys::new();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.json");
        std::fs::write(&file, keys.set().to_string()).unwrap();
        let team = |scope: Option<&str>| {
            let file = file.to_str().unwrap();
            Guard::Team(Box::new(Team::new(ISSUER.into(), AUDIENCE.into(), scope.map(Into::into), file).unwrap()))
        };
        let guard = team(None);
        for (alg, kid) in [("EdDSA", "ed"), ("ES256", "ec")] {
            let good = keys.token(json!({ "alg": alg, "kid": kid }), claims(json!({})));
            assert_eq!(admits(&guard, &good).await, Ok(Some(Subject("ann".into()))), "{alg}");
            let mut bent = good.clone().into_bytes();
            let at = bent.len() - 10;
            bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(admits(&guard, &String::from_utf8(bent).unwrap()).await, Err(Refused::BadToken));
        }
        let ed = json!({ "alg": "EdDSA", "kid": "ed" });
        for (why, header, claims) in [
            ("it is too old", ed.clone(), claims(json!({ "exp": now() - 60 }))),
            ("it is too new", ed.clone(), claims(json!({ "nbf": now() + 600 }))),
            ("it is for another server", ed.clone(), claims(json!({ "aud": "https://other.example.com" }))),
            ("it is of another issuer", ed.clone(), claims(json!({ "iss": "https://evil.example.com" }))),
            ("it names nobody", ed.clone(), claims(json!({ "sub": null }))),
            ("its time is a text", ed.clone(), claims(json!({ "exp": (now() + 300).to_string() }))),
            ("it is not signed", json!({ "alg": "none", "kid": "ed" }), claims(json!({}))),
            ("its key is everybody's", json!({ "alg": "HS256", "kid": "shared" }), claims(json!({}))),
            ("its key is of another kind", json!({ "alg": "EdDSA", "kid": "ec" }), claims(json!({}))),
            ("its key is unknown", json!({ "alg": "EdDSA", "kid": "no" }), claims(json!({}))),
            ("it names no key of many", json!({ "alg": "EdDSA" }), claims(json!({}))),
        ] {
            assert_eq!(admits(&guard, &keys.token(header, claims)).await, Err(Refused::BadToken), "{why}");
        }
        let good = keys.token(ed, claims(json!({})));
        assert_eq!(admits(&team(Some("tools")), &good).await, Ok(Some(Subject("ann".into()))));
        assert_eq!(admits(&team(Some("tool")), &good).await, Err(Refused::WrongScope));
        assert_eq!(admits(&guard, "no.jwt").await, Err(Refused::BadToken));
    }

    #[test]
    fn keys_come_over_a_safe_way_or_not_at_all() {
        let team = |keys: &str| Team::new(ISSUER.into(), AUDIENCE.into(), None, keys);
        assert!(team("http://login.example.com/jwks").unwrap_err().why.contains("not https"));
        assert!(team("https://login.example.com/jwks").is_ok());
        assert!(team("/nowhere/jwks.json").unwrap_err().why.contains("No such file"));
    }
}
