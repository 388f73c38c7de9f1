//! Calls that ask a model, run: what is asked is reserved before and settled after, so that no budget is passed by one token; what
//! fails for now is asked again, within bounds; an answer that lacks the shape it was asked for is sent back with the reason.

use crate::breaker::Breaker;
use crate::provider::{ModelAnswer, ModelRequest, Provider, ProviderError};
use crate::shape::{Shape, Shapes};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep, timeout_at};
use vespiary_kernel::account::{Account, Reservation, Resource};
use vespiary_kernel::admit::Admitted;
use vespiary_kernel::call::{Ending, Failure, Level, LogLine, Outcome, Usage};
use vespiary_kernel::json::Json;
use vespiary_kernel::model::ModelArguments;
use vespiary_kernel::ports::{BoxFuture, Runner, ScriptCell};
use vespiary_kernel::quota::{LimitHit, Quota};

/// The manifest of the plugin `model`, whose one tool, `model.run`, asks. A catalog offers it; [`Models`] runs it.
pub const MANIFEST: &str = include_str!("model.toml");

/// The longest answer of one request, tokens.
const OUTPUT_TOKENS_MAX: u64 = 8_192;
/// The shortest that is asked for while others may still give back what they hold and do not use.
const OUTPUT_TOKENS_LEAST: u64 = 1_024;
/// How often one request is made where the provider fails for now.
const ATTEMPTS_MAX: u32 = 4;
/// How often an answer without the right shape is sent back.
const REPAIRS_MAX: u32 = 2;
/// The first wait before asking again; each next one is twice as long.
const BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait that is still waited.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// How much of an answer that could not be used is kept in the log, bytes.
const SALVAGED_BYTES_MAX: usize = 16 << 10;

/// Whether others may still give back some of what has run out.
fn is_shared(hit: &LimitHit) -> bool {
    hit.quota.starts_with("run-") || hit.quota.starts_with("phase-")
}

/// Runs calls of the plugin `model`. Cloning shares the provider.
#[derive(Clone)]
pub struct Models {
    provider: Arc<dyn Provider>,
    under_way: Arc<UnderWay>,
    breaker: Arc<Breaker>,
    shapes: Arc<Shapes>,
}

/// Requests that hold more than they may come to use.
#[derive(Debug, Default)]
struct UnderWay {
    /// Whoever comes next holds this while it waits for enough: first come, first served.
    next: Mutex<()>,
    count: AtomicU64,
    ended: Notify,
}

/// One of them. Dropped after what it held was settled.
struct Counted<'a>(&'a UnderWay);

impl<'a> Counted<'a> {
    fn begin(under_way: &'a UnderWay) -> Self {
        under_way.count.fetch_add(1, Ordering::SeqCst);
        Self(under_way)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::SeqCst);
        self.0.ended.notify_waiters();
    }
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Models").field(&self.provider.name()).finish()
    }
}

impl Models {
    /// One provider.
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        Self { provider, under_way: Arc::default(), breaker: Arc::default(), shapes: Shapes::unbounded() }
    }

    async fn answer(&self, admitted: &Admitted, log: &mut Vec<LogLine>) -> Result<Json, Failure> {
        let arguments = ModelArguments::read(admitted.arguments()).map_err(Failure::InvalidArguments)?;
        if arguments.model.provider() != self.provider.name() {
            let (asked, here) = (arguments.model.provider(), self.provider.name());
            return Err(Failure::NotFound(format!("there is no provider {asked:?}; the one in use is {here:?}")));
        }
        let shape = arguments.schema.as_ref().map(|schema| {
            let unfit = |why: &dyn std::fmt::Display| Failure::InvalidArguments(format!("schema: {why}"));
            let schema = schema.read().map_err(|error| unfit(&error))?;
            self.shapes.shape(schema).map_err(|bad| unfit(&bad))
        });
        let shape = shape.transpose()?;
        let prompt = told(&arguments, shape.as_ref());
        let mut request = ModelRequest {
            model: arguments.model,
            prompt: prompt.clone(),
            schema: arguments.schema,
            effort: arguments.effort,
            output_tokens_max: OUTPUT_TOKENS_MAX,
            attempt: 0,
        };
        let deadline = Instant::now() + admitted.quota().wall_time_max;
        let mut repairs = 0;
        loop {
            let answer = self.ask(&mut request, admitted.account(), admitted.quota(), deadline).await?;
            let Some(shape) = &shape else {
                return Json::of(&answer.text).map_err(|error| Failure::Host(error.to_string()));
            };
            let why = match json_in(&answer.text).ok_or_else(|| "it holds no JSON".to_owned()) {
                Ok(found) => match shape.hold(found) {
                    Ok(held) => return Ok(held),
                    Err(failure) => failure.to_string(),
                },
                Err(why) => why,
            };
            if repairs == REPAIRS_MAX {
                log.push(LogLine { level: Level::Warn, text: salvaged(&answer.text) });
                let times = REPAIRS_MAX + 1;
                return Err(Failure::Failed(format!(
                    "no answer of {times} had the shape that was asked for; of the last: {why}"
                )));
            }
            repairs += 1;
            request.attempt += 1;
            request.prompt = format!(
                "{prompt}\n\nYou answered:\n{}\n\nThat cannot be used: {why}. Answer again, with JSON alone.",
                salvaged(&answer.text)
            );
        }
    }

    /// Ask until there is an answer, the provider refuses, or there is no more time for it.
    async fn ask(
        &self,
        request: &mut ModelRequest,
        account: &Arc<Account>,
        quota: &Quota,
        deadline: Instant,
    ) -> Result<ModelAnswer, Failure> {
        let mut backoff = BACKOFF;
        for attempt in 1.. {
            if let Some(why) = self.breaker.refuses() {
                return Err(Failure::Failed(why));
            }
            let (counted, held) = match timeout_at(deadline, self.hold(request, account)).await {
                Err(_) => return Err(late(quota)),
                Ok(held) => held?,
            };
            let asked = timeout_at(deadline, self.provider.ask(request.clone())).await;
            let (why, after) = match asked {
                Err(_) => return Err(late(quota)),
                Ok(Ok(answer)) => {
                    self.breaker.answered();
                    held.settle(&answer, self.provider.price(&request.model)).map_err(Failure::Limit)?;
                    return Ok(answer);
                }
                Ok(Err(error @ ProviderError::Permanent(_))) => {
                    // It did answer.
                    self.breaker.answered();
                    return Err(Failure::Failed(error.to_string()));
                }
                Ok(Err(error)) => match &error {
                    ProviderError::Temporary { retry_after, .. } => (error.to_string(), *retry_after),
                    ProviderError::Permanent(_) => (error.to_string(), None),
                },
            };
            self.breaker.failed(&why);
            // A request that failed costs nothing: the hold goes back before the wait.
            drop(held);
            drop(counted);
            if attempt == ATTEMPTS_MAX {
                return Err(Failure::Failed(format!("{why}; asked {ATTEMPTS_MAX} times")));
            }
            request.attempt += 1;
            let wait = after.unwrap_or(backoff).max(backoff).min(BACKOFF_MAX);
            if Instant::now() + wait >= deadline {
                return Err(Failure::Failed(format!("{why}; there is no time left to ask again")));
            }
            sleep(wait).await;
            backoff *= 2;
        }
        Err(Failure::Host("a request was made more often than it may be".into()))
    }

    /// Hold what the request can cost, as soon as the run has enough left for it: while others are under way, what they hold and
    /// do not use may still come back. Fails when nobody is.
    async fn hold(&self, request: &mut ModelRequest, account: &Arc<Account>) -> Result<(Counted<'_>, Held), Failure> {
        let _next = self.under_way.next.lock().await;
        loop {
            let mut ended = pin!(self.under_way.ended.notified());
            ended.as_mut().enable();
            let alone = self.under_way.count.load(Ordering::SeqCst) == 0;
            match self.reserve(request, account, alone) {
                Ok(held) => return Ok((Counted::begin(&self.under_way), held)),
                // What an agent has left only it can use: nobody gives it back.
                Err(hit) if alone || !is_shared(&hit) => return Err(Failure::Limit(hit)),
                Err(_) => ended.await,
            }
        }
    }

    /// Hold the most that the request can cost, or say which limit stands in the way. The answer may be as long as what is left
    /// allows; a very short one is asked for only where waiting changes nothing.
    fn reserve(&self, request: &mut ModelRequest, account: &Arc<Account>, alone: bool) -> Result<Held, LimitHit> {
        let input = self.provider.input_tokens_max(request);
        let price = self.provider.price(&request.model);
        let dollars = account.left(Resource::UsdMicros).saturating_sub(price.of(input, 0));
        let payable = dollars.saturating_mul(1_000_000).checked_div(price.output).unwrap_or(u64::MAX);
        let left = account.left(Resource::Tokens).saturating_sub(input).min(payable);
        let left = account.left(Resource::OutputTokens).min(left);
        // Others reserve at the same time: what is left is a wish, what is reserved is a fact.
        let wanted = left.clamp(OUTPUT_TOKENS_LEAST, OUTPUT_TOKENS_MAX);
        let held = self.reserve_for(input, wanted, request, account);
        let held = match held {
            Err(hit) if left > 0 && left < wanted && (alone || !is_shared(&hit)) => {
                self.reserve_for(input, left, request, account)
            }
            held => held,
        }?;
        request.output_tokens_max = held.received.held();
        Ok(held)
    }

    fn reserve_for(
        &self,
        input: u64,
        output: u64,
        request: &ModelRequest,
        account: &Arc<Account>,
    ) -> Result<Held, LimitHit> {
        Ok(Held {
            sent: account.reserve(Resource::InputTokens, input)?,
            received: account.reserve(Resource::OutputTokens, output)?,
            together: account.reserve(Resource::Tokens, input.saturating_add(output))?,
            dollars: account.reserve(Resource::UsdMicros, self.provider.price(&request.model).of(input, output))?,
        })
    }
}

/// What one request may cost, held.
struct Held {
    sent: Reservation,
    received: Reservation,
    together: Reservation,
    dollars: Reservation,
}

impl Held {
    fn settle(self, answer: &ModelAnswer, price: crate::provider::Price) -> Result<(), LimitHit> {
        let (input, output) = (answer.input_tokens, answer.output_tokens);
        let settled = [
            self.sent.settle(input),
            self.received.settle(output),
            self.together.settle(input.saturating_add(output)),
            self.dollars.settle(price.of(input, output)),
        ];
        settled.into_iter().collect()
    }
}

impl Runner for Models {
    fn run(&self, admitted: Admitted) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let begun = Instant::now();
            let mut log = Vec::new();
            let answer = self.answer(&admitted, &mut log).await;
            let quota = admitted.quota();
            let answer = answer.and_then(|value| match value.len_bytes() {
                used if used > quota.result_bytes_max => {
                    Err(Failure::Limit(LimitHit { quota: "result-bytes".into(), limit: quota.result_bytes_max, used }))
                }
                _ => Ok(value),
            });
            let wall_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            let result_bytes = answer.as_ref().map_or(0, Json::len_bytes);
            let usage = Usage { wall_us, result_bytes, ..Usage::default() };
            let ending = match answer {
                Ok(value) => Ending::Done(value),
                Err(failure) => Ending::Failed(failure),
            };
            Outcome { ending, usage, log, ..Outcome::refused(Failure::Cancelled) }
        })
    }

    fn open_script(&self, _: Admitted) -> BoxFuture<'_, Result<Box<dyn ScriptCell>, Outcome>> {
        let refused = Outcome::refused(Failure::Unrunnable("models run no workflow scripts".into()));
        Box::pin(std::future::ready(Err(refused)))
    }
}

/// Everything the model is told.
fn told(arguments: &ModelArguments, shape: Option<&Shape>) -> String {
    let mut text = arguments.prompt.clone();
    if arguments.context.as_str() != "null" {
        text.push_str("\n\nContext, as JSON:\n");
        text.push_str(arguments.context.as_str());
    }
    if let Some(shape) = shape {
        text.push_str("\n\nAnswer with JSON alone, that satisfies this JSON Schema:\n");
        text.push_str(shape.text().as_str());
    }
    text
}

/// The JSON in an answer: all of it, what stands in the first fenced block, or what stands between the outermost brackets.
fn json_in(text: &str) -> Option<Json> {
    let whole = text.trim();
    let fenced = || {
        let (_, rest) = whole.split_once("```")?;
        let rest = rest.split_once('\n')?.1;
        Some(rest.split_once("```")?.0.trim())
    };
    let bracketed = |open: char, close: char| Some(&whole[whole.find(open)?..=whole.rfind(close)?]);
    let braces = || (whole.find('{') < whole.rfind('}')).then(|| bracketed('{', '}')).flatten();
    let brackets = || (whole.find('[') < whole.rfind(']')).then(|| bracketed('[', ']')).flatten();
    let read = |part: &str| Json::parse(part.to_owned()).ok();
    read(whole).or_else(|| read(fenced()?)).or_else(|| read(braces()?)).or_else(|| read(brackets()?))
}

/// As much of an answer as is kept.
fn salvaged(text: &str) -> String {
    let kept = &text[..text.floor_char_boundary(SALVAGED_BYTES_MAX)];
    if kept.len() < text.len() { format!("{kept}…") } else { kept.to_owned() }
}

fn late(quota: &Quota) -> Failure {
    let limit = u64::try_from(quota.wall_time_max.as_millis()).unwrap_or(u64::MAX);
    Failure::Limit(LimitHit { quota: "wall-time-ms".into(), limit, used: limit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::{FAILURES_IN_A_ROW_MAX, PAUSE};
    use crate::provider::Price;
    use std::sync::Mutex;
    use vespiary_kernel::account::Limits;
    use vespiary_kernel::call::{Keep, ToolCall};
    use vespiary_kernel::dispatch::Dispatcher;
    use vespiary_kernel::event::Event;
    use vespiary_kernel::grant::Grant;
    use vespiary_kernel::ids::{Digest, RunId, ToolName};
    use vespiary_kernel::model::ModelName;
    use vespiary_kernel::plugin::{Manifest, Plugin, Trust};
    use vespiary_kernel::policy::{Answer, Policy};
    use vespiary_kernel::pool::{Capacity, Pool};
    use vespiary_kernel::ports::{Approver, Asked, Catalog, Log, LogError};
    use vespiary_kernel::principal::{Principal, RunLimits};

    type Says = Box<dyn Fn(&ModelRequest) -> Result<ModelAnswer, ProviderError> + Send + Sync>;

    /// A provider that says what the test wants, after letting others go first.
    struct Fake {
        says: Says,
        asked: Mutex<Vec<ModelRequest>>,
    }

    impl Provider for Fake {
        fn name(&self) -> &str {
            "fake"
        }
        fn default_model(&self) -> &str {
            "m"
        }
        fn price(&self, _: &ModelName) -> Price {
            Price { input: 1_000_000, output: 5_000_000 }
        }
        fn input_tokens_max(&self, request: &ModelRequest) -> u64 {
            request.prompt.len() as u64
        }
        fn ask(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelAnswer, ProviderError>> {
            Box::pin(async move {
                for _ in 0..request.prompt.len() % 7 {
                    tokio::task::yield_now().await;
                }
                let said = (self.says)(&request);
                self.asked.lock().unwrap().push(request);
                said
            })
        }
    }

    struct Nothing;

    impl Log for Nothing {
        fn append(&self, _: &RunId, _: Event) -> Result<(), LogError> {
            Ok(())
        }
        fn flushed(&self) -> BoxFuture<'_, Result<(), LogError>> {
            Box::pin(async { Ok(()) })
        }
    }

    impl Catalog for Nothing {
        fn find(&self, _: &ToolName) -> Option<Arc<Plugin>> {
            let manifest = Manifest::parse(MANIFEST).unwrap();
            Some(Arc::new(Plugin::new(manifest, Digest::of(b"m"), Trust::Bundled).unwrap()))
        }
        fn component(&self, _: &Digest) -> Option<std::borrow::Cow<'static, [u8]>> {
            None
        }
        fn names(&self) -> Vec<String> {
            vec!["model".into()]
        }
    }

    impl Approver for Nothing {
        fn ask<'a>(&'a self, _: Asked<'a>) -> BoxFuture<'a, Answer> {
            Box::pin(async { panic!("nobody asks") })
        }
    }

    struct Rig {
        dispatcher: Arc<Dispatcher>,
        fake: Arc<Fake>,
    }

    fn rig(says: impl Fn(&ModelRequest) -> Result<ModelAnswer, ProviderError> + Send + Sync + 'static) -> Rig {
        let fake = Arc::new(Fake { says: Box::new(says), asked: Mutex::default() });
        let models = Arc::new(Models::new(Arc::clone(&fake) as _));
        let pool = Pool::new(Capacity::of_places(1, 64, 1, 1));
        let dispatcher =
            Dispatcher::new(Arc::new(Nothing), Arc::new(Nothing), Policy::default(), pool, models, Arc::new(Nothing));
        Rig { dispatcher, fake }
    }

    impl Rig {
        fn who(&self, limits: Limits, grant: &[&str]) -> Principal {
            let grant = Grant::of_run(grant.iter().map(|held| held.parse().unwrap()));
            let limits = RunLimits { run: limits, agent: Limits::NONE, ..RunLimits::default() };
            self.dispatcher.start("r".parse().unwrap(), "/".into(), grant, limits)
        }

        async fn ask(&self, who: &Principal, prompt: &str, schema: Option<&str>) -> Outcome {
            let schema = schema.map(|schema| format!(r#","schema":{schema}"#)).unwrap_or_default();
            let arguments = Json::parse(format!(r#"{{"model":"fake/m","prompt":"{prompt}"{schema}}}"#)).unwrap();
            let call = ToolCall { tool: ToolName::of_model(), arguments, keep: Keep::Value };
            self.dispatcher.dispatch(who, call).await
        }
    }

    const ASKS: &[&str] = &["tool:model.run", "model:fake/*"];

    fn answer(text: &str, input_tokens: u64, output_tokens: u64) -> Result<ModelAnswer, ProviderError> {
        Ok(ModelAnswer { text: text.into(), input_tokens, output_tokens })
    }

    /// However many ask at once, what is billed never passes the budget by one token, and what is left is used.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_thousand_at_once_stay_within_the_budget() {
        for (resource, most) in
            [(Resource::Tokens, 50_000), (Resource::UsdMicros, 90_000), (Resource::OutputTokens, 9_999)]
        {
            let billed = Arc::new(AtomicU64::new(0));
            let bill = Arc::clone(&billed);
            let rig = Arc::new(rig(move |request| {
                let input = request.prompt.len() as u64 / 2;
                let output = (request.prompt.len() as u64 * 37 % 400).min(request.output_tokens_max);
                let cost = match resource {
                    Resource::Tokens => input + output,
                    Resource::OutputTokens => output,
                    _ => input + 5 * output,
                };
                let before = bill.fetch_add(cost, Ordering::SeqCst);
                assert!(before + cost <= most, "{} of {most}", before + cost);
                answer("said", input, output)
            }));
            let who = rig.who(Limits::NONE.with(resource, most), ASKS);
            let mut all = tokio::task::JoinSet::new();
            for n in 0..1_000 {
                let (rig, who) = (Arc::clone(&rig), who.clone());
                all.spawn(async move { rig.ask(&who, &"p".repeat(10 + n % 90), None).await });
            }
            let (mut answered, mut refused) = (0, 0);
            for outcome in all.join_all().await {
                match outcome.ending {
                    Ending::Done(_) => answered += 1,
                    Ending::Failed(Failure::Limit(_)) => refused += 1,
                    other => panic!("{other:?}"),
                }
            }
            let used = who.account().used(resource);
            assert_eq!(used, billed.load(Ordering::SeqCst), "nothing stays held, and nothing is forgotten");
            assert!(used <= most && answered > 0 && answered + refused == 1_000, "{used} {answered} {refused}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_for_now_is_asked_again_and_what_fails_for_good_is_not() {
        let times = AtomicU64::new(0);
        let rig_ = rig(move |_| match times.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Err(ProviderError::Temporary { why: "busy".into(), retry_after: Some(Duration::from_secs(3)) }),
            _ => answer("at last", 4, 6),
        });
        let who = rig_.who(Limits::NONE, ASKS);
        let begun = Instant::now();
        let outcome = rig_.ask(&who, "p", None).await;
        assert!(
            matches!(&outcome.ending, Ending::Done(text) if text.as_str() == "\"at last\""),
            "{:?}",
            outcome.ending
        );
        assert_eq!((outcome.usage.input_tokens, outcome.usage.output_tokens, outcome.usage.usd_micros), (4, 6, 34));
        assert_eq!(begun.elapsed().as_secs(), 6, "as late as the provider asked");
        assert_eq!(rig_.fake.asked.lock().unwrap().iter().map(|r| r.attempt).collect::<Vec<_>>(), [0, 1, 2]);

        let never = rig(|_| Err(ProviderError::Temporary { why: "busy".into(), retry_after: None }));
        let outcome = never.ask(&never.who(Limits::NONE, ASKS), "p", None).await;
        assert!(matches!(&outcome.ending, Ending::Failed(Failure::Failed(why)) if why.contains("4 times")));
        let refuses = rig(|_| Err(ProviderError::Permanent("no".into())));
        let who = refuses.who(Limits::NONE, ASKS);
        assert!(matches!(refuses.ask(&who, "p", None).await.ending, Ending::Failed(Failure::Failed(_))));
        assert_eq!((refuses.fake.asked.lock().unwrap().len(), who.account().used(Resource::Tokens)), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_is_down_is_left_alone_and_tried_again_later() {
        let up = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let is_up = Arc::clone(&up);
        let rig = rig(move |_| match is_up.load(Ordering::SeqCst) {
            true => Ok(ModelAnswer { text: "fine".into(), input_tokens: 1, output_tokens: 1 }),
            false => Err(ProviderError::Temporary { why: "overloaded".into(), retry_after: None }),
        });
        let who = rig.who(Limits::NONE, ASKS);
        let asked = || rig.fake.asked.lock().unwrap().len();
        for _ in 0..FAILURES_IN_A_ROW_MAX / ATTEMPTS_MAX {
            rig.ask(&who, "x", None).await.into_result().unwrap_err();
        }
        assert_eq!(asked(), FAILURES_IN_A_ROW_MAX as usize);
        let refused = rig.ask(&who, "x", None).await.into_result().unwrap_err().to_string();
        assert!(refused.contains("16 requests in a row failed") && refused.contains("overloaded"), "{refused}");
        assert_eq!(asked(), FAILURES_IN_A_ROW_MAX as usize, "nobody asked");
        sleep(PAUSE).await;
        rig.ask(&who, "x", None).await.into_result().unwrap_err();
        assert_eq!(asked(), FAILURES_IN_A_ROW_MAX as usize + 1, "one looked whether it was back, and it was not");
        up.store(true, Ordering::SeqCst);
        sleep(PAUSE).await;
        for _ in 0..3 {
            rig.ask(&who, "x", None).await.into_result().unwrap();
        }
    }

    #[tokio::test]
    async fn an_answer_without_the_shape_is_sent_back_with_the_reason() {
        let schema = r#"{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}"#;
        let rig_ = rig(|request| match request.attempt {
            0 => answer("I think so", 1, 1),
            1 => answer("Here: {\"n\": \"two\"}", 1, 1),
            _ => answer("Of course:\n```json\n{\"n\": 2}\n```\n", 1, 1),
        });
        let who = rig_.who(Limits::NONE, ASKS);
        let outcome = rig_.ask(&who, "p", Some(schema)).await;
        assert!(matches!(&outcome.ending, Ending::Done(json) if json.as_str() == "{\"n\": 2}"), "{:?}", outcome.ending);
        assert_eq!(outcome.usage.output_tokens, 3, "each answer is billed");
        let prompts: Vec<String> = rig_.fake.asked.lock().unwrap().iter().map(|r| r.prompt.clone()).collect();
        assert!(prompts[1].contains("holds no JSON") && prompts[2].contains("two"), "{prompts:?}");

        let never = rig(|_| answer("no JSON for you", 1, 1));
        let outcome = never.ask(&never.who(Limits::NONE, ASKS), "p", Some(schema)).await;
        assert!(matches!(&outcome.ending, Ending::Failed(Failure::Failed(why)) if why.contains("no answer of 3")));
        assert_eq!(outcome.log[0].text, "no JSON for you", "what was said is kept");
    }

    #[tokio::test]
    async fn a_model_that_was_not_granted_is_not_asked() {
        let rig = rig(|_| answer("said", 1, 1));
        for (grant, needed) in
            [(&["tool:model.run"][..], "model:fake/m"), (&["tool:model.run", "model:other/*"], "model:fake/m")]
        {
            match rig.ask(&rig.who(Limits::NONE, grant), "p", None).await.ending {
                Ending::Failed(Failure::Denied(denial)) => assert_eq!(denial.needed, needed),
                other => panic!("{other:?}"),
            }
        }
        assert!(rig.fake.asked.lock().unwrap().is_empty());
    }
}
