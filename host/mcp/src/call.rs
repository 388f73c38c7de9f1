//! One call of a server's tool: asked, listened to while it runs, ended at its limits, taken back when nobody waits for it any
//! more; and its answer as a value or a failure.

use crate::ears::{Ears, Heard};
use crate::instance::Instance;
use crate::text::neutral;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest, ContentBlock, JsonObject, ServerResult,
};
use rmcp::service::{PeerRequestOptions, RequestHandle, RoleClient};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use vespiary_kernel::call::{Failure, LogLine};
use vespiary_kernel::json::Json;
use vespiary_kernel::quota::{LimitHit, Quota};

/// How much of a tool's own words about its failure is kept, bytes.
const FAILURE_BYTES_MAX: usize = 8 << 10;
/// How long telling a server that nobody waits any more may take.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(5);

/// The lines that a call has heard, within its quota.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) lines: Vec<LogLine>,
    bytes: u64,
    bytes_max: u64,
}

impl Log {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { lines: Vec::new(), bytes: 0, bytes_max }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn take(&mut self, lines: Vec<LogLine>) -> Result<(), LimitHit> {
        for line in lines {
            let used = self.bytes + line.text.len() as u64;
            if used > self.bytes_max {
                return Err(LimitHit { quota: "log-bytes".into(), limit: self.bytes_max, used });
            }
            self.bytes = used;
            self.lines.push(line);
        }
        Ok(())
    }
}

/// A request under way. Dropping it before it was answered tells the server that nobody waits any more.
struct Asked {
    handle: Option<RequestHandle<RoleClient>>,
    ears: Arc<Ears>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Some(handle) = self.handle.take() else { return };
        self.ears.forget(&handle.progress_token);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // A server that does not listen is told nothing; its answer is dropped when it comes.
                let _ = timeout(FAREWELL_TIME_MAX, handle.cancel(Some("nobody waits for it any more".into()))).await;
            });
        }
    }
}

/// Call `tool` and wait for its answer, no longer than until `deadline` and not for longer in silence than `quota` allows.
pub(crate) async fn call(
    instance: &Instance,
    tool: String,
    arguments: JsonObject,
    quota: &Quota,
    deadline: Deadline,
    log: &mut Log,
) -> Result<Json, Failure> {
    let params = CallToolRequestParams::new(tool).with_arguments(arguments);
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
    let sent = instance.peer().send_cancellable_request(request, PeerRequestOptions::no_options()).await;
    let handle = match sent {
        Ok(handle) => handle,
        Err(error) => return Err(instance.failure(&error).await),
    };
    let mut hears = instance.ears().listen(handle.progress_token.clone());
    let mut asked = Asked { handle: Some(handle), ears: Arc::clone(instance.ears()) };
    let mut alive = Instant::now();
    let answered = loop {
        let Some(handle) = asked.handle.as_mut() else {
            return Err(Failure::Host("a request was lost".into()));
        };
        tokio::select! {
            biased;
            // First what it said, so that a call's own words are in its log.
            Some(Heard { progress, lines }) = hears.recv() => {
                if progress {
                    alive = Instant::now();
                }
                log.take(lines).map_err(Failure::Limit)?;
            }
            answered = &mut handle.rx => break answered,
            () = sleep_until(deadline.at) => return Err(Failure::Limit(deadline.hit())),
            () = sleep_until(alive + quota.idle_time_max) => {
                return Err(Failure::Limit(late("idle-time-ms", quota.idle_time_max, alive.elapsed())));
            }
        }
    };
    let done = asked.handle.take();
    if let Some(handle) = &done {
        instance.ears().forget(&handle.progress_token);
    }
    match answered {
        Ok(Ok(result)) => value(result, quota),
        Ok(Err(error)) => Err(instance.failure(&error).await),
        Err(_) => Err(instance.failure(&rmcp::ServiceError::TransportClosed).await),
    }
}

/// When a call has taken too long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    begun: Instant,
    pub(crate) at: Instant,
    time_max: Duration,
}

impl Deadline {
    pub(crate) fn after(time_max: Duration) -> Self {
        let begun = Instant::now();
        Self { begun, at: begun + time_max, time_max }
    }

    pub(crate) fn hit(&self) -> LimitHit {
        late("wall-time-ms", self.time_max, self.begun.elapsed())
    }
}

fn late(quota: &str, limit: Duration, used: Duration) -> LimitHit {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    LimitHit { quota: quota.into(), limit: ms(limit), used: ms(used) }
}

/// What the call comes to.
fn value(result: ServerResult, quota: &Quota) -> Result<Json, Failure> {
    let result = match result {
        ServerResult::CallToolResult(result) => result,
        ServerResult::InputRequiredResult(_) => {
            return Err(Failure::Failed(
                "the tool asked for input while it ran, which is declined here; give it everything as arguments".into(),
            ));
        }
        _ => return Err(Failure::Failed("the server answered with something that is no result of a tool".into())),
    };
    if result.is_error == Some(true) {
        return Err(Failure::Failed(words(&result)));
    }
    let value = match result.structured_content {
        Some(structured) => Json::of(&structured),
        None => Json::of(&json!({ "content": result.content })),
    };
    let value = value.map_err(|error| Failure::Host(error.to_string()))?;
    let used = value.len_bytes();
    if used > quota.result_bytes_max {
        return Err(Failure::Limit(LimitHit { quota: "result-bytes".into(), limit: quota.result_bytes_max, used }));
    }
    Ok(value)
}

/// A tool's own words about its failure.
fn words(result: &CallToolResult) -> String {
    let texts = result.content.iter().filter_map(|block| match block {
        ContentBlock::Text(text) => Some(text.text.as_str()),
        _ => None,
    });
    let text = texts.collect::<Vec<_>>().join("\n");
    match text.trim() {
        "" => "the tool failed and did not say why".into(),
        said => neutral(said, FAILURE_BYTES_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use vespiary_kernel::call::Level;

    fn of(result: Value) -> Result<Json, Failure> {
        let result: CallToolResult = serde_json::from_value(result).unwrap();
        value(ServerResult::CallToolResult(result), &Quota { result_bytes_max: 200, ..Quota::default() })
    }

    #[test]
    fn an_answer_is_structured_or_content_or_a_failure() {
        let text = json!([{ "type": "text", "text": "four" }]);
        assert_eq!(of(json!({ "content": text, "structuredContent": { "sum": 4 } })).unwrap().as_str(), r#"{"sum":4}"#);
        let plain = of(json!({ "content": text })).unwrap().read::<Value>().unwrap();
        assert_eq!(plain["content"][0]["text"], "four");
        let failed = of(json!({ "content": [{ "type": "text", "text": "no\u{1b}[2J" }], "isError": true }));
        assert_eq!(failed.unwrap_err(), Failure::Failed("no\\u{1b}[2J".into()));
        assert!(
            matches!(of(json!({ "content": [], "isError": true })), Err(Failure::Failed(why)) if why.contains("did not say"))
        );
        let long = json!({ "content": [{ "type": "text", "text": "x".repeat(300) }] });
        assert!(matches!(of(long), Err(Failure::Limit(hit)) if hit.quota == "result-bytes" && hit.limit == 200));
    }

    #[test]
    fn a_log_ends_at_its_quota() {
        let mut log = Log::new(10);
        let line = |text: &str| vec![LogLine { level: Level::Info, text: text.into() }];
        log.take(line("12345")).unwrap();
        log.take(line("12345")).unwrap();
        let hit = log.take(line("1")).unwrap_err();
        assert_eq!((hit.quota.as_str(), hit.used, log.lines.len()), ("log-bytes", 11, 2));
    }
}
