//! What answers for a model: the trait that every provider implements, and what goes through it. A provider is asked once and
//! says what came of it; whether to ask again, and what it may cost, is decided in `model`.

use std::time::Duration;
use vespiary_kernel::json::Json;
use vespiary_kernel::model::ModelName;
use vespiary_kernel::ports::BoxFuture;

/// One request.
#[derive(Debug, Clone)]
pub struct ModelRequest {
    /// Which model.
    pub model: ModelName,
    /// Everything it is told, as text.
    pub prompt: String,
    /// The JSON Schema of the answer; providers that can hold their model to one, do.
    pub schema: Option<Json>,
    /// How much it is to think, in the provider's words.
    pub effort: Option<String>,
    /// The longest answer, tokens. A provider never bills more.
    pub output_tokens_max: u64,
    /// How often the same was asked before: 0 at first.
    pub attempt: u32,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelAnswer {
    /// What the model said.
    pub text: String,
    /// Tokens sent, by the provider's own count.
    pub input_tokens: u64,
    /// Tokens received, by the provider's own count.
    pub output_tokens: u64,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// For now: asked again later, it may answer.
    #[error("the provider did not answer: {why}")]
    Temporary {
        /// What it said.
        why: String,
        /// When it wants to be asked again at the soonest.
        retry_after: Option<Duration>,
    },
    /// For good: the same request fails again.
    #[error("the provider refused: {0}")]
    Permanent(String),
}

/// What a request may cost, millionths of a US dollar for a million tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Price {
    /// Tokens sent.
    pub input: u64,
    /// Tokens received.
    pub output: u64,
}

impl Price {
    /// What so many tokens cost, millionths of a US dollar, rounded up.
    pub fn of(&self, input_tokens: u64, output_tokens: u64) -> u64 {
        let all =
            u128::from(self.input) * u128::from(input_tokens) + u128::from(self.output) * u128::from(output_tokens);
        u64::try_from(all.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// Answers for models.
pub trait Provider: Send + Sync {
    /// Its name: what stands before the slash.
    fn name(&self) -> &str;

    /// The model that is asked where nobody names one: what stands behind the slash.
    fn default_model(&self) -> &str;

    /// What its models cost.
    fn price(&self, model: &ModelName) -> Price;

    /// The most tokens that sending `request` can be billed as. A provider never bills more.
    fn input_tokens_max(&self, request: &ModelRequest) -> u64;

    /// Ask once. Dropping the future gives the request up.
    fn ask(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelAnswer, ProviderError>>;
}
