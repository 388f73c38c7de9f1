//! Who answers for models: which providers this program knows, and how one is named on the command line. Nothing here decides
//! what may be asked or what it may cost; the dispatcher and the fleet do.

pub mod mock;
pub mod scripted;

use crate::exit::Trouble;
use mock::{Mock, MockSettings};
use scripted::Scripted;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use vespiary_fleet::provider::Provider;
use vespiary_kernel::model::ModelName;

/// A provider as a person names it: `mock`, `mock:seed=7,latency-ms=20`, `scripted:answers.jsonl`.
#[derive(Debug, Clone, PartialEq)]
pub enum ProviderSpec {
    /// Answers made up from the schema.
    Mock(MockSettings),
    /// Answers that a file holds.
    Scripted(PathBuf),
}

/// Text that names no provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}; write mock, mock:SETTING=NUMBER,... or scripted:FILE")]
pub struct BadProvider {
    why: String,
}

impl FromStr for ProviderSpec {
    type Err = BadProvider;

    fn from_str(text: &str) -> Result<Self, BadProvider> {
        let refuse = |why: String| BadProvider { why };
        match text.split_once(':') {
            None if text == "mock" => Ok(Self::Mock(MockSettings::default())),
            Some(("mock", settings)) => settings.parse().map(Self::Mock).map_err(refuse),
            Some(("scripted", file)) if !file.is_empty() => Ok(Self::Scripted(file.into())),
            _ => Err(refuse(format!("{text:?} names no provider"))),
        }
    }
}

impl fmt::Display for ProviderSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mock(settings) => write!(f, "mock:{settings}"),
            Self::Scripted(file) => write!(f, "scripted:{}", file.display()),
        }
    }
}

impl ProviderSpec {
    /// The same, whatever directory it is read in.
    pub fn absolute(&self) -> Self {
        match self {
            Self::Scripted(file) => Self::Scripted(std::path::absolute(file).unwrap_or_else(|_| file.clone())),
            Self::Mock(_) => self.clone(),
        }
    }

    /// The provider, ready to be asked.
    pub fn open(&self) -> Result<Arc<dyn Provider>, Trouble> {
        Ok(match self {
            Self::Mock(settings) => Arc::new(Mock::new(*settings)),
            Self::Scripted(file) => Arc::new(Scripted::read(file)?),
        })
    }
}

/// The model that is asked where a script names none.
pub fn default_model(provider: &dyn Provider) -> Result<ModelName, Trouble> {
    format!("{}/{}", provider.name(), provider.default_model())
        .parse()
        .map_err(|error| Trouble::failed("the provider's own model has no name", error, "use another provider"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_named_or_refused_in_words() {
        assert_eq!("mock".parse(), Ok(ProviderSpec::Mock(MockSettings::default())));
        assert_eq!("scripted:a/b.jsonl".parse(), Ok(ProviderSpec::Scripted("a/b.jsonl".into())));
        let ProviderSpec::Mock(settings) = "mock:seed=7,fail=0.25,price-out=15".parse().unwrap() else { panic!() };
        assert_eq!((settings.seed, settings.fail, settings.price_out), (7, 0.25, 15.0));
        for spec in [ProviderSpec::Mock(settings), ProviderSpec::Scripted("a/b.jsonl".into()).absolute()] {
            assert_eq!(spec.to_string().parse(), Ok(spec));
        }
        for (text, why) in [
            ("", "names no provider"),
            ("anthropic", "names no provider"),
            ("scripted:", "names no provider"),
            ("mock:speed=1", "speed"),
            ("mock:seed", "seed"),
            ("mock:fail=2", "between 0 and 1"),
        ] {
            let error = text.parse::<ProviderSpec>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
