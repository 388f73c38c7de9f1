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
use std::path::Path;
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
/// How soon it may be tried again to fetch keys, whatever came of it the last time: anybody can send a token that names an unknown one.
const BETWEEN_FETCHES: Duration = Duration::from_secs(60);
/// From when on newer keys are fetched, while those there are still hold.
const KEYS_AGE_GOOD: Duration = Duration::from_secs(300);
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
    keys: Keys,
}

/// The keys of a team.
#[derive(Debug)]
enum Keys {
    /// As they were in a file.
    Read(Arc<JwkSet>),
    /// As they are at a URL.
    Fetched(Arc<Fetched>),
}

/// Keys from a URL, fetched when they are needed.
#[derive(Debug)]
struct Fetched {
    source: Source,
    state: RwLock<Fetches>,
    /// Held by whoever fetches.
    fetching: Mutex<()>,
}

/// What has been fetched so far.
#[derive(Debug, Clone, Default)]
struct Fetches {
    /// The latest keys, and since when they are known.
    known: Option<(Instant, Arc<JwkSet>)>,
    /// When it was last tried, with or without success.
    tried: Option<Instant>,
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
        let keys = match Source::is_url(keys) {
            true => Keys::Fetched(Arc::new(Fetched::from(Source::new(keys).map_err(|why| wrong(&why))?))),
            false => Keys::Read(Arc::new(read_keys(Path::new(keys)).map_err(|why| wrong(&why))?)),
        };
        Ok(Self { issuer, audience, scope, keys })
    }

    async fn admit(&self, token: &str) -> Result<Subject, Refused> {
        let header = decode_header(token).map_err(|_| Refused::BadToken)?;
        let keys = match &self.keys {
            Keys::Read(keys) => Arc::clone(keys),
            Keys::Fetched(fetched) => fetched.keys_with(header.kid.as_deref()).await.ok_or(Refused::BadToken)?,
        };
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
        Ok(Subject::of(&claims.sub))
    }
}

impl From<Source> for Fetched {
    fn from(source: Source) -> Self {
        Self { source, state: RwLock::default(), fetching: Mutex::new(()) }
    }
}

impl Fetched {
    /// The team's keys, among which is the one that is named; fetched where there are none, or that one is not among them. Nobody waits
    /// for more than one attempt, and nobody for newer keys while theirs hold.
    async fn keys_with(self: &Arc<Self>, kid: Option<&str>) -> Option<Arc<JwkSet>> {
        if let Some((age, keys)) = self.held(kid) {
            if age > KEYS_AGE_GOOD && self.may_fetch() {
                tokio::spawn(Arc::clone(self).renew());
            }
            return Some(keys);
        }
        // The attempt is nobody's own: whoever hangs up while it is made must not spend everybody's.
        let (own, named) = (Arc::clone(self), kid.map(str::to_owned));
        let attempt = tokio::spawn(async move { own.fetch_for(named.as_deref()).await });
        let _ = attempt.await;
        self.held(kid).map(|(_, keys)| keys)
    }

    /// Fetch them, unless somebody else has meanwhile, or could not.
    async fn fetch_for(&self, kid: Option<&str>) {
        let _one = self.fetching.lock().await;
        if self.held(kid).is_none() && self.may_fetch() {
            self.fetch().await;
        }
    }

    /// Fetch newer ones, unless somebody does.
    async fn renew(self: Arc<Self>) {
        let Ok(_one) = self.fetching.try_lock() else { return };
        if self.may_fetch() {
            self.fetch().await;
        }
    }

    /// Keys that hold, with the one that is named, and how old they are.
    fn held(&self, kid: Option<&str>) -> Option<(Duration, Arc<JwkSet>)> {
        let (at, keys) = self.state().known?;
        let age = at.elapsed();
        (age < KEYS_AGE_MAX && kid.is_none_or(|kid| keys.find(kid).is_some())).then_some((age, keys))
    }

    fn may_fetch(&self) -> bool {
        self.state().tried.is_none_or(|at| at.elapsed() >= BETWEEN_FETCHES)
    }

    /// Try it once.
    async fn fetch(&self) {
        self.change(|state| state.tried = Some(Instant::now()));
        match fetched(&self.source).await {
            Ok(keys) => self.change(|state| state.known = Some((Instant::now(), Arc::new(keys)))),
            Err(why) => {
                let again = BETWEEN_FETCHES.as_secs();
                eprintln!(
                    "vespiary: the keys at {} cannot be had: {}; tried again in {again} seconds at the earliest",
                    self.source.url(),
                    crate::terminal::line(&why)
                );
            }
        }
    }

    fn state(&self) -> Fetches {
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Fetches)) {
        change(&mut self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner));
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
    use std::io::{Read as _, Write as _};
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    /// A place that answers every request so. Gives its URL, and how often it was asked.
    fn place(status: &'static str, body: String) -> (String, Arc<AtomicUsize>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.read(&mut [0; 4096]);
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        (url, asked)
    }

    /// A minute is longer than this test: whatever strangers send, one attempt is made in it.
    #[tokio::test]
    async fn keys_are_not_fetched_again_at_once_whatever_came_of_it() {
        let keys = Keys::new();
        let guard = |url: &str| Guard::Team(Box::new(Team::new(ISSUER.into(), AUDIENCE.into(), None, url).unwrap()));
        let token = |kid: &str| keys.token(json!({ "alg": "EdDSA", "kid": kid }), claims(json!({})));
        let (url, asked) = place("500 Internal Server Error", String::new());
        let failing = guard(&url);
        let all = [token("ed"), token("no"), token("nor this")];
        let together = futures_util::future::join_all(all.iter().cycle().take(30).map(|token| admits(&failing, token)));
        assert!(together.await.iter().all(|came| *came == Err(Refused::BadToken)));
        assert_eq!(admits(&failing, &all[0]).await, Err(Refused::BadToken));
        assert_eq!(asked.load(Ordering::Relaxed), 1, "an attempt that fails counts as well");

        let (url, asked) = place("200 OK", keys.set().to_string());
        let sound = guard(&url);
        for _ in 0..3 {
            assert_eq!(admits(&sound, &all[0]).await, Ok(Some(Subject("ann".into()))));
            assert_eq!(admits(&sound, &all[1]).await, Err(Refused::BadToken));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    /// Whoever hangs up while the keys are fetched for them does not spend the attempt of everybody else.
    #[tokio::test]
    async fn an_attempt_goes_on_without_whoever_asked_for_it() {
        let keys = Keys::new();
        let (url, asked) = place("200 OK", keys.set().to_string());
        let guard = Guard::Team(Box::new(Team::new(ISSUER.into(), AUDIENCE.into(), None, &url).unwrap()));
        let token = |kid: &str| keys.token(json!({ "alg": "EdDSA", "kid": kid }), claims(json!({})));
        let stranger = token("no");
        let asking = Box::pin(admits(&guard, &stranger));
        assert!(futures_util::future::poll_immediate(asking).await.is_none(), "it hung up at once");
        assert_eq!(admits(&guard, &token("ed")).await, Ok(Some(Subject("ann".into()))));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn keys_come_over_a_safe_way_or_not_at_all() {
        let team = |keys: &str| Team::new(ISSUER.into(), AUDIENCE.into(), None, keys);
        assert!(team("http://login.example.com/jwks").unwrap_err().why.contains("not https"));
        assert!(team("https://login.example.com/jwks").is_ok());
        assert!(team("/nowhere/jwks.json").unwrap_err().why.contains("No such file"));
    }
}
