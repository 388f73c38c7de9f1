//! Where a policy says secrets are kept. Only the place of a value and the header it goes into are read here, never a value.

use super::sheet::{Reading, Value};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use vespiary_kernel::net::SecretName;
use vespiary_kernel::pattern::VariableName;
use vespiary_kernel::policy::Place;

/// The most secrets one file declares.
const SECRETS_MAX: usize = 1_000;

/// Headers that say how a message is carried: a secret has no business in them, and whoever could set them could redirect it.
const OF_TRANSPORT: [&str; 10] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "keep-alive",
    "proxy-connection",
];

/// A declared secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRule {
    /// Its name in `secret:NAME@HOST`.
    pub name: SecretName,
    /// Where its value is kept.
    pub source: SecretSource,
    /// The one header it may go into, in lower case.
    pub header: Header,
    /// Where it is declared.
    pub place: Place,
}

/// Where the value of a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// `env:VAR`
    Variable(VariableName),
    /// `file:PATH`, absolute.
    File(PathBuf),
    /// `keyring:SERVICE/USER`
    Keyring {
        /// The service.
        service: String,
        /// The user.
        user: String,
    },
}

impl FromStr for SecretSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a secret is kept in env:VAR, file:/ABSOLUTE/PATH or keyring:SERVICE/USER".to_owned();
        if text.chars().any(char::is_control) {
            return Err(wrong());
        }
        match text.split_once(':').ok_or_else(wrong)? {
            ("env", name) => name.parse().map(Self::Variable),
            ("file", path) if path.starts_with('/') => Ok(Self::File(path.into())),
            ("file", _) => Err("the file must be named from the root, so that it is the same everywhere".into()),
            ("keyring", key) => match key.split_once('/') {
                Some((service, user)) if !service.is_empty() && !user.is_empty() => {
                    Ok(Self::Keyring { service: service.into(), user: user.into() })
                }
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Keyring { service, user } => write!(f, "keyring:{service}/{user}"),
        }
    }
}

/// The name of a header, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header(Arc<str>);

impl Header {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.to_ascii_lowercase();
        let fits = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !fits {
            return Err("a header's name has 1 to 64 letters, digits and '-'".into());
        }
        if OF_TRANSPORT.contains(&name.as_str()) {
            return Err("this header says how the message is carried; no secret goes into it".into());
        }
        Ok(Self(name.into()))
    }
}

/// `[secrets.NAME]`, all of them.
pub(super) fn read(reading: &mut Reading<'_>, value: Value<'_, '_>) -> Vec<SecretRule> {
    const EXAMPLE: &str = "[secrets.NAME] with from = \"env:NAME\" below it";
    let Some(table) = value.get_ref().as_table().filter(|table| table.len() <= SECRETS_MAX) else {
        reading.sort(value, "secrets", &format!("a table of at most {SECRETS_MAX}"), EXAMPLE);
        return Vec::new();
    };
    let mut rules = Vec::new();
    for (key, value) in table.iter() {
        let name = key.get_ref().parse::<SecretName>();
        if let Err(why) = &name {
            reading.fault(&key.span(), format!("{:?} names no secret: {why}", key.get_ref()), "choose another name");
        }
        let Some(members) = value.get_ref().as_table() else {
            reading.sort(value, &format!("secrets.{}", key.get_ref()), "a table", EXAMPLE);
            continue;
        };
        let source = reading.member::<SecretSource>(members, "from", "env:NAME");
        let header = match members.get("header") {
            Some(_) => reading.member::<Header>(members, "header", "authorization"),
            None => "authorization".parse().ok(),
        };
        for (key, _) in members.iter().filter(|(key, _)| !matches!(key.get_ref().as_ref(), "from" | "header")) {
            reading.unknown(&key.span(), key.get_ref(), "a secret", &["from", "header"]);
        }
        if members.get("from").is_none() {
            let what = format!("the secret {:?} is kept nowhere", key.get_ref());
            reading.fault(&key.span(), what, "add from = \"env:VAR\", \"file:PATH\" or \"keyring:SERVICE/USER\"");
        }
        if let (Ok(name), Some(source), Some(header)) = (name, source, header) {
            rules.push(SecretRule { name, source, header, place: reading.place(&key.span()) });
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_one_of_three() {
        for good in ["env:TOKEN", "file:/run/secrets/token", "keyring:github/me"] {
            assert_eq!(good.parse::<SecretSource>().unwrap().to_string(), good);
        }
        for bad in
            ["", "TOKEN", "env:", "env:A B", "file:token", "file:~/token", "keyring:github", "keyring:/x", "cmd:ls"]
        {
            assert!(bad.parse::<SecretSource>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_does_not_go_into_a_header_of_transport() {
        assert_eq!("X-Api-Key".parse::<Header>().unwrap().as_str(), "x-api-key");
        for bad in ["Host", "content-length", "", "a b", "a\r\nb", "a:b"] {
            assert!(bad.parse::<Header>().is_err(), "{bad:?}");
        }
    }
}
