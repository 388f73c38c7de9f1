//! Secrets: where their values come from, which header each may go into, and the placeholder a guest writes instead. A value
//! is read when it is first needed, wiped when dropped, and never printed; whatever has been read is scrubbed everywhere.
//! What must never live here: a decision about hosts; the pass makes that.

#![allow(clippy::disallowed_methods, reason = "reads secrets from the files that hold them")]

use crate::scrub::{Scrubber, VALUE_BYTES_MAX, VALUE_BYTES_MIN};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use vespiary_kernel::net::SecretName;
use zeroize::Zeroizing;

/// How a placeholder begins; it ends with `}}`.
pub(crate) const PLACEHOLDER: &str = "{{secret:";

/// Where a value is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// `env:VAR`: an environment variable of this process.
    Env(String),
    /// `file:PATH`: the content of a file, without its last line break.
    File(PathBuf),
    /// `keyring:SERVICE/USER`: a key of type `user` with the description `SERVICE/USER` in this session's or user's Linux
    /// keyring, as `keyctl padd user SERVICE/USER @u` puts it there.
    Keyring(String),
}

/// One secret, as configuration declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSpec {
    /// The name in placeholders and in `secret:NAME@HOST`.
    pub name: SecretName,
    /// Where its value is kept.
    pub source: SecretSource,
    /// The only header it may go into, lower case.
    pub header: String,
}

impl SecretSpec {
    /// A secret that goes into the header `authorization`.
    pub fn new(name: SecretName, source: SecretSource) -> Self {
        Self { name, source, header: "authorization".into() }
    }
}

/// A secret that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// The text names no source.
    #[error("{0:?} is no source of a secret; write env:VAR, file:PATH or keyring:SERVICE/USER")]
    Source(String),
    /// Two secrets have one name.
    #[error("the secret {0} is declared twice")]
    Twice(SecretName),
    /// No configuration declares it.
    #[error("no secret of that name is configured; declare where its value is kept")]
    Undeclared,
    /// The source does not give it.
    #[error("{0}")]
    Unreadable(String),
    /// The value is none that a header can carry and a scrubber can find.
    #[error("its value is unfit: {0}")]
    Unfit(&'static str),
}

/// The secrets of this process.
#[derive(Default)]
pub struct Secrets {
    specs: BTreeMap<SecretName, SecretSpec>,
    read: RwLock<Read>,
}

#[derive(Default)]
struct Read {
    values: BTreeMap<SecretName, Arc<Zeroizing<Vec<u8>>>>,
    scrubber: Scrubber,
}

impl Secrets {
    /// These secrets. Nothing is read yet.
    pub fn new(specs: impl IntoIterator<Item = SecretSpec>) -> Result<Self, BadSecret> {
        let mut all = BTreeMap::new();
        for mut spec in specs {
            spec.header.make_ascii_lowercase();
            if let Some(twin) = all.insert(spec.name.clone(), spec) {
                return Err(BadSecret::Twice(twin.name));
            }
        }
        Ok(Self { specs: all, read: RwLock::default() })
    }

    /// A scrubber for every value read so far: for logs, results and whatever else leaves the host.
    pub fn scrubber(&self) -> Scrubber {
        self.read.read().unwrap_or_else(PoisonError::into_inner).scrubber.clone()
    }

    /// Read all that is declared now, so that the scrubber knows it before anybody asks. Gives what could not be read.
    pub fn read_all(&self) -> Vec<(SecretName, BadSecret)> {
        self.specs.keys().filter_map(|name| self.value(name).err().map(|bad| (name.clone(), bad))).collect()
    }

    /// The declaration of `name`.
    pub(crate) fn spec(&self, name: &SecretName) -> Option<&SecretSpec> {
        self.specs.get(name)
    }

    /// The value of `name`. Reads it when it was not read before, which blocks for as long as a small file takes.
    pub(crate) fn value(&self, name: &SecretName) -> Result<Arc<Zeroizing<Vec<u8>>>, BadSecret> {
        if let Some(value) = self.read.read().unwrap_or_else(PoisonError::into_inner).values.get(name) {
            return Ok(Arc::clone(value));
        }
        let spec = self.spec(name).ok_or(BadSecret::Undeclared)?;
        let value = Arc::new(fit(spec.source.read()?)?);
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        read.values.insert(name.clone(), Arc::clone(&value));
        read.scrubber = Scrubber::of(read.values.iter().map(|(name, value)| (name, value.as_slice())));
        Ok(value)
    }
}

/// Names only.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.specs.keys()).finish()
    }
}

impl SecretSource {
    fn read(&self) -> Result<Zeroizing<Vec<u8>>, BadSecret> {
        let unreadable = |what: String| BadSecret::Unreadable(what);
        let mut value = match self {
            Self::Env(variable) => std::env::var(variable)
                .map(|value| Zeroizing::new(value.into_bytes()))
                .map_err(|_| unreadable(format!("the environment variable {variable} is not set (or not UTF-8)")))?,
            Self::File(path) => std::fs::read(path)
                .map(Zeroizing::new)
                .map_err(|e| unreadable(format!("the file {} cannot be read: {e}", path.display())))?,
            Self::Keyring(description) => keyring(description)?,
        };
        for ending in [b'\n', b'\r'] {
            if !matches!(self, Self::Env(_)) && value.last() == Some(&ending) {
                value.pop();
            }
        }
        Ok(value)
    }
}

#[cfg(target_os = "linux")]
fn keyring(description: &str) -> Result<Zeroizing<Vec<u8>>, BadSecret> {
    use linux_keyutils::{KeyRing, KeyRingIdentifier};
    let mut last = String::from("there is no keyring");
    for ring in [KeyRingIdentifier::Session, KeyRingIdentifier::User] {
        let found = KeyRing::from_special_id(ring, false).and_then(|ring| ring.search(description));
        match found.and_then(|key| key.read_to_vec()) {
            Ok(value) => return Ok(Zeroizing::new(value)),
            Err(error) => last = error.to_string(),
        }
    }
    Err(BadSecret::Unreadable(format!(
        "the key {description} cannot be read: {last}; put it there with `keyctl padd user {description} @u`"
    )))
}

#[cfg(not(target_os = "linux"))]
fn keyring(_description: &str) -> Result<Zeroizing<Vec<u8>>, BadSecret> {
    Err(BadSecret::Unreadable("this system has no Linux keyring; use env: or file:".into()))
}

fn fit(value: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, BadSecret> {
    if value.len() < VALUE_BYTES_MIN {
        return Err(BadSecret::Unfit("it has fewer than 8 bytes, and would be found in innocent text"));
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(BadSecret::Unfit("it has more than 16 KiB"));
    }
    if !value.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
        return Err(BadSecret::Unfit("it holds more than visible ASCII, which a header cannot carry"));
    }
    Ok(value)
}

impl FromStr for SecretSource {
    type Err = BadSecret;

    fn from_str(text: &str) -> Result<Self, BadSecret> {
        match text.split_once(':') {
            Some(("env", variable)) if !variable.is_empty() && !variable.contains(['=', '\0']) => {
                Ok(Self::Env(variable.into()))
            }
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("keyring", key)) if key.split_once('/').is_some_and(|(s, u)| !s.is_empty() && !u.is_empty()) => {
                Ok(Self::Keyring(key.into()))
            }
            _ => Err(BadSecret::Source(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(variable) => write!(f, "env:{variable}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Keyring(key) => write!(f, "keyring:{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(source: SecretSource) -> (SecretName, Secrets) {
        let name: SecretName = "TOKEN".parse().unwrap();
        (name.clone(), Secrets::new([SecretSpec::new(name, source)]).unwrap())
    }

    #[test]
    fn a_file_is_read_once_and_then_scrubbed() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("token");
        std::fs::write(&path, "file-held-secret\r\n").unwrap();
        let (name, secrets) = secrets(SecretSource::File(path.clone()));
        assert_eq!(secrets.scrubber().text("a file-held-secret"), "a file-held-secret");
        assert_eq!(secrets.value(&name).unwrap().as_slice(), b"file-held-secret");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(secrets.value(&name).unwrap().as_slice(), b"file-held-secret");
        assert_eq!(secrets.scrubber().text("a file-held-secret"), "a [secret:TOKEN]");
        assert!(!format!("{secrets:?} {:?}", secrets.scrubber()).contains("held"));
    }

    #[test]
    fn unfit_values_are_refused_without_being_shown() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("token");
        for bad in [&b"short"[..], b"two\nlines here", b"caf\xc3\xa9 au lait", b"nul\0inside", &[b'x'; 20_000]] {
            std::fs::write(&path, bad).unwrap();
            let (name, secrets) = secrets(SecretSource::File(path.clone()));
            let error = secrets.value(&name).unwrap_err();
            assert!(matches!(error, BadSecret::Unfit(_)), "{error}");
        }
        let (name, missing) = secrets(SecretSource::Env("VESPIARY_NO_SUCH_VARIABLE".into()));
        assert!(missing.value(&name).unwrap_err().to_string().contains("VESPIARY_NO_SUCH_VARIABLE"));
        assert_eq!(missing.read_all().len(), 1);
    }

    #[test]
    fn sources_have_one_form() {
        for text in ["env:GITHUB_TOKEN", "file:/run/secrets/token", "keyring:github/ci"] {
            assert_eq!(text.parse::<SecretSource>().unwrap().to_string(), text);
        }
        for bad in ["", "env:", "env:A=B", "file:", "keyring:", "keyring:a", "keyring:/b", "vault:x", "GITHUB_TOKEN"] {
            bad.parse::<SecretSource>().expect_err(bad);
        }
    }

    #[test]
    fn the_kernel_keyring_gives_what_was_put_there() {
        use linux_keyutils::{KeyRing, KeyRingIdentifier};
        let description = format!("vespiary-test/{}", std::process::id());
        // A container may forbid keyrings altogether; then the error must say so.
        let put = KeyRing::from_special_id(KeyRingIdentifier::User, true)
            .and_then(|ring| ring.add_key(&description, b"keyring-held-secret"));
        let (name, secrets) = secrets(SecretSource::Keyring(description.clone()));
        match put {
            Ok(key) => {
                assert_eq!(secrets.value(&name).unwrap().as_slice(), b"keyring-held-secret");
                key.invalidate().unwrap();
            }
            Err(_) => assert!(secrets.value(&name).unwrap_err().to_string().contains(&description)),
        }
    }
}
