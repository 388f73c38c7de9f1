//! What a server says without being asked: progress and log lines find the call they belong to, a changed list of tools is
//! remembered, and whatever it wants of us is declined. A server gets no model, no person and no file from here.
#![allow(deprecated, reason = "newer revisions drop sampling, roots and logging; the servers there are still use them")]

use crate::text::{lines, neutral};
use rmcp::model::{
    ClientCapabilities, ClientConfig, CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams,
    ElicitResult, ElicitationAction, Implementation, ListRootsResult, LoggingLevel, LoggingMessageNotificationParam,
    ProgressNotificationParam, ProgressToken, ProtocolVersion,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient};
use rmcp::{ClientHandler, ErrorData};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use vespiary_kernel::call::{Level, LogLine};

/// Words that wait to be heard by one call; what comes while it does not listen is dropped.
const UNHEARD_MAX: usize = 64;

/// Who listens, and what was heard.
#[derive(Debug, Default)]
pub(crate) struct Ears {
    calls: Mutex<HashMap<ProgressToken, Sender<Heard>>>,
    stale: AtomicBool,
    /// Why nothing more is read of it, where that was our doing.
    over: Mutex<Option<String>>,
}

/// Something heard during a call: that it goes on, and the lines it says.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) progress: bool,
    pub(crate) lines: Vec<LogLine>,
}

impl Ears {
    fn calls(&self) -> MutexGuard<'_, HashMap<ProgressToken, Sender<Heard>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listen for what belongs to the call of that token.
    pub(crate) fn listen(&self, token: ProgressToken) -> Receiver<Heard> {
        let (heard, hears) = channel(UNHEARD_MAX);
        self.calls().insert(token, heard);
        hears
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
pub(crate) struct Client(pub(crate) Arc<Ears>);

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

    async fn on_progress(&self, said: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let calls = self.0.calls();
        if let Some(call) = calls.get(&said.progress_token) {
            let message = said.message.as_deref().unwrap_or_default();
            let _ = call.try_send(Heard { progress: true, lines: lines(Level::Info, message).collect() });
        }
    }

    async fn on_logging_message(&self, said: LoggingMessageNotificationParam, _: NotificationContext<RoleClient>) {
        let calls = self.0.calls();
        // A line does not say whose it is; with one call under way there is only one answer.
        if let (1, Some(call)) = (calls.len(), calls.values().next()) {
            let text = match &said.data {
                serde_json::Value::String(text) => text.clone(),
                other => neutral(&other.to_string(), 1 << 10),
            };
            let _ = call.try_send(Heard { progress: false, lines: lines(level(said.level), &text).collect() });
        }
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.set_stale();
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
