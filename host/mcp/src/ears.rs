//! What a server says without being asked: progress and log lines find the call they belong to, a changed list of tools is
//! remembered, and whatever it wants of us is declined. A server gets no model, no person and no file from here.
#![allow(deprecated, reason = "newer revisions drop sampling, roots and logging; the servers there are still use them")]

use crate::text::{lines, neutral};
use rmcp::model::{
    ClientCapabilities, ClientConfig, ClientRequest, CreateMessageRequestParams, CreateMessageResult,
    ElicitRequestParams, ElicitResult, ElicitationAction, GetMeta, Implementation, JsonRpcMessage, ListRootsResult,
    LoggingLevel, ProgressToken, ProtocolVersion, ServerNotification,
};
use rmcp::service::{RequestContext, RoleClient, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::{ClientHandler, ErrorData};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use vespiary_kernel::call::{Level, LogLine};

/// Words that wait to be heard by one call; what comes while it does not listen is dropped.
const UNHEARD_MAX: usize = 64;

/// How long a call may take from when its request leaves until it listens.
const COMING_TIME_MAX: Duration = Duration::from_secs(10);

/// Who listens, and what was heard.
#[derive(Debug, Default)]
pub(crate) struct Ears {
    calls: Mutex<HashMap<ProgressToken, Listener>>,
    stale: AtomicBool,
    /// Why nothing more is read of it, where that was our doing.
    over: Mutex<Option<String>>,
}

/// Where what belongs to a call goes. The call listens from when its request leaves; until it has come to, what was heard waits here.
#[derive(Debug)]
struct Listener {
    heard: Sender<Heard>,
    waiting: Option<(Receiver<Heard>, Instant)>,
}

/// Something heard during a call: that it goes on, and the lines it says.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) progress: bool,
    pub(crate) lines: Vec<LogLine>,
}

impl Ears {
    fn calls(&self) -> MutexGuard<'_, HashMap<ProgressToken, Listener>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request of a call leaves: a quick server may speak before the call has come to listen.
    fn expect(&self, token: ProgressToken) {
        let mut calls = self.calls();
        // Of a call that was given up in that very moment, nobody comes.
        calls.retain(|_, call| call.waiting.as_ref().is_none_or(|(_, since)| since.elapsed() < COMING_TIME_MAX));
        // It may also have been the quicker one.
        calls.entry(token).or_insert_with(|| {
            let (heard, hears) = channel(UNHEARD_MAX);
            Listener { heard, waiting: Some((hears, Instant::now())) }
        });
    }

    /// Listen for what belongs to the call of that token.
    pub(crate) fn listen(&self, token: ProgressToken) -> Receiver<Heard> {
        let mut calls = self.calls();
        let waiting = calls.get_mut(&token).and_then(|call| call.waiting.take());
        waiting.map_or_else(
            || {
                let (heard, hears) = channel(UNHEARD_MAX);
                calls.insert(token, Listener { heard, waiting: None });
                hears
            },
            |(hears, _)| hears,
        )
    }

    /// Listen no longer.
    pub(crate) fn forget(&self, token: &ProgressToken) {
        self.calls().remove(token);
    }

    /// Whether the server has said that its tools are others now. Told once.
    pub(crate) fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn set_stale(&self) {
        self.stale.store(true, Ordering::Release);
    }

    /// Remember why it was ended.
    pub(crate) fn set_over(&self, why: String) {
        self.over.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }

    /// Why it was ended, where we did it.
    pub(crate) fn over(&self) -> Option<String> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The client's side of one connection, as the protocol sees it.
pub(crate) struct Client;

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(ClientCapabilities::default(), Implementation::new("vespiary", env!("CARGO_PKG_VERSION")))
            // The newest revision that begins with `initialize`, which the servers there are understand.
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        Err(ErrorData::invalid_request("declined: no model is lent to servers here", None))
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Ok(ListRootsResult::default())
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Ok(ElicitResult::new(ElicitationAction::Decline))
    }
}

/// A connection whose every message is heard in the order in which it came, before anything is done about it: the library hands
/// notices to tasks of their own, which an answer may overtake.
pub(crate) struct Hearing<T> {
    inner: T,
    ears: Arc<Ears>,
}

impl<T> Hearing<T> {
    pub(crate) fn new(inner: T, ears: &Arc<Ears>) -> Self {
        Self { inner, ears: Arc::clone(ears) }
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Hearing<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        if let JsonRpcMessage::Request(asked) = &item
            && let ClientRequest::CallToolRequest(_) = &asked.request
            && let Some(token) = asked.request.get_meta().get_progress_token()
        {
            self.ears.expect(token);
        }
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        let message = self.inner.receive().await?;
        if let JsonRpcMessage::Notification(said) = &message {
            self.ears.hear(&said.notification);
        }
        Some(message)
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}

impl Ears {
    fn hear(&self, said: &ServerNotification) {
        match said {
            ServerNotification::ProgressNotification(said) => {
                if let Some(call) = self.calls().get(&said.params.progress_token).map(|call| &call.heard) {
                    let message = said.params.message.as_deref().unwrap_or_default();
                    let _ = call.try_send(Heard { progress: true, lines: lines(Level::Info, message) });
                }
            }
            ServerNotification::LoggingMessageNotification(said) => {
                let calls = self.calls();
                // A line does not say whose it is; with one call under way there is only one answer.
                if let (1, Some(Listener { heard: call, .. })) = (calls.len(), calls.values().next()) {
                    let text = match &said.params.data {
                        serde_json::Value::String(text) => text.clone(),
                        other => neutral(&other.to_string(), 1 << 10),
                    };
                    let lines = lines(level(said.params.level), &text);
                    let _ = call.try_send(Heard { progress: false, lines });
                }
            }
            ServerNotification::ToolListChangedNotification(_) => self.set_stale(),
            _ => {}
        }
    }
}

fn level(level: LoggingLevel) -> Level {
    match level {
        LoggingLevel::Debug => Level::Debug,
        LoggingLevel::Info | LoggingLevel::Notice => Level::Info,
        LoggingLevel::Warning => Level::Warn,
        LoggingLevel::Error | LoggingLevel::Critical | LoggingLevel::Alert | LoggingLevel::Emergency => Level::Error,
    }
}
