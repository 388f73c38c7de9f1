//! Speaks the protocol with one client: its requests become calls through the dispatcher, and what comes of them becomes results.
//! Every revision that is spoken is the library's to tell apart, save for one thing: how a person is asked. Where the server
//! may send requests, the question is sent; where it may not, the call comes back unfinished with the question in it, and goes on
//! when the client calls again with the answer.

use crate::exit::Trouble;
use crate::live;
use crate::mcp::account::{Account, State};
use crate::mcp::form::{answer, can_ask, form};
use crate::mcp::nest::{Nest, Parked, Pending, Work};
use crate::mcp::offers::{Offer, PAGE};
use crate::mcp::own::{self, Own, Started};
use crate::mcp::results::{done, failed, failed_in_words, in_words, result};
use crate::mcp::shown;
use crate::mcp::told;
use crate::mcp::visit::{Client, Stay, Visit};
use crate::mcp::voice::{self, Ask, Far};
use crate::terminal::clipped;
use rmcp::ErrorData;
use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, CreateTaskResult, DetailedTask,
    ElicitRequest, ElicitResult, GetTaskParams, GetTaskResult, Implementation, InputRequest, InputRequests,
    InputRequiredResult, InputResponses, JsonObject, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, ServerCapabilities, ServerConfig, SubscriptionFilter, Task, TaskPayload,
    TaskStatus, Tool, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, RoleServer, SubscriptionContext};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::task::AbortOnDropHandle;
use vespiary_kernel::call::{Failure, Keep, Outcome, ToolCall};
use vespiary_kernel::event::RunStatus;
use vespiary_kernel::ids::{Digest, RunId};
use vespiary_kernel::json::Json;
use vespiary_kernel::policy::Answer;

/// How often a client that wants to know is told how far a call is.
const BEAT: Duration = Duration::from_secs(1);

/// How often it is looked whether a person has the client's run stopped.
const GLANCE: Duration = Duration::from_millis(500);

/// How soon a client does well to ask again about a task, milliseconds.
const POLL_MS: u64 = 1_000;

/// The longest name of a token's bearer that is shown whole.
const SUBJECT_CHARS_MAX: usize = 200;

/// The question in an unfinished call, and in a task.
const ASK: &str = "ask";

/// The door for one client.
#[derive(Debug)]
pub struct Door {
    nest: Arc<Nest>,
    visit: Visit,
    over_http: bool,
    /// Tells the client that its tools have changed; ends with the door.
    announcing: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// Who sent a request, as the token it came with says. Put there by whoever checked the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(pub String);

impl Subject {
    /// Whoever a token names so, as people can read it. Two names that would read the same are still two.
    pub fn of(name: &str) -> Self {
        let shown = clipped(name, SUBJECT_CHARS_MAX);
        match shown == name {
            true => Self(shown),
            false => Self(format!("{shown} sha256:{}", Digest::of(name.as_bytes()))),
        }
    }
}

impl Door {
    /// A door for a client that has just come.
    pub fn new(nest: Arc<Nest>, over_http: bool) -> Self {
        Self { visit: Visit::new(&nest), nest, over_http, announcing: Mutex::default() }
    }

    /// Where the calls of this request are recorded.
    fn stay(&self, context: &RequestContext<RoleServer>) -> Result<Arc<Stay>, Trouble> {
        if self.over_http && is_without_sessions(context) {
            let client = client(context);
            return self.nest.visit_of(&client).stay(|| client);
        }
        self.visit.stay(|| client(context))
    }

    /// Begin what the client asks for. `Err` in the inner result: it could not begin, which is told as the call's own failure.
    async fn begin(
        &self,
        name: &str,
        arguments: JsonObject,
        context: &RequestContext<RoleServer>,
    ) -> Result<Begun, ErrorData> {
        if let Some(offer) = self.nest.offers().await.get().and_then(|offers| offers.find(name)) {
            let begun = self.stay(context).map(|stay| call(&self.nest, Arc::clone(offer), stay, arguments));
            return Ok(begun.unwrap_or_else(|trouble| Begun::Done(failed(&trouble))));
        }
        let own = match Own::read(name, arguments) {
            None => return Err(ErrorData::invalid_params(format!("there is no tool {:?}", clipped(name, 80)), None)),
            Some(Err(trouble)) => return Ok(Begun::Done(failed(&trouble))),
            Some(Ok(own)) => own,
        };
        let (own, started) = match self.start(own, context).await? {
            Ok(both) => both,
            Err(trouble) => return Ok(Begun::Done(failed(&trouble))),
        };
        let takes_tasks = context.client_capabilities().is_some_and(|able| able.supports_tasks());
        let started = match started {
            Some(started) if takes_tasks && is_without_sessions(context) => return Ok(Begun::Task(started)),
            started => started,
        };
        let (voice, ear) = voice::voice();
        let (nest, client) = (Arc::clone(&self.nest), client(context));
        let work = async move {
            match own.give(nest, client, started, voice).await {
                Ok(value) => done(value, &JsonObject::new()),
                Err(trouble) => failed(&trouble),
            }
        };
        Ok(Begun::Pending(Pending { work: AbortOnDropHandle::new(tokio::spawn(work)), ear }))
    }

    /// Start the run that `own` asks for, if it asks for one. Whoever takes the request back meanwhile waits for nothing, and no run is
    /// left over.
    async fn start(
        &self,
        own: Own,
        context: &RequestContext<RoleServer>,
    ) -> Result<Result<(Own, Option<Started>), Trouble>, ErrorData> {
        let nest = Arc::clone(&self.nest);
        let starting = tokio::task::spawn_blocking(move || start(&nest, &own).map(|started| (own, started)));
        tokio::select! {
            biased;
            () = context.ct.cancelled() => Err(cancelled()),
            started = starting => Ok(started.unwrap_or_else(|died| {
                Err(Trouble::failed("the run could not be started", died, "call again"))
            })),
        }
    }

    /// Pass on what the work says until it is done.
    async fn attend(
        &self,
        mut pending: Pending,
        call: Digest,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let token = context.meta.get_progress_token();
        let since = Instant::now();
        let mut beat = interval_at(since + BEAT, BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = 0.0;
        let mut asking = true;
        loop {
            tokio::select! {
                biased;
                () = context.ct.cancelled() => {
                    // Dropping the work ends its cell, and the record says that it was cancelled.
                    drop(pending);
                    return Err(cancelled());
                }
                done = &mut pending.work => {
                    return done.map(CallToolResponse::Complete).map_err(|died| {
                        ErrorData::internal_error(format!("the server failed: {died}; call again, and report it"), None)
                    });
                }
                asked = pending.ear.asks.recv(), if asking => match asked {
                    None => asking = false,
                    Some(ask) => match self.ask(ask, context).await {
                        None => {}
                        Some(ask) => return self.come_back(pending, ask, call),
                    },
                },
                _ = beat.tick(), if token.is_some() => {
                    let far = pending.ear.far.borrow_and_update().clone();
                    let far = match far.message.is_empty() {
                        true => Far { done: since.elapsed().as_secs_f64(), message: "it runs".into(), of: None },
                        false => far,
                    };
                    if far.done > told && let Some(token) = &token {
                        told = far.done;
                        let mut progress = ProgressNotificationParam::new(token.clone(), far.done).with_message(far.message);
                        progress.total = far.of;
                        // A client that is gone is noticed elsewhere.
                        let _ = context.peer.notify_progress(progress).await;
                    }
                }
            }
        }
    }

    /// Have the person answer through the client. The question is given back where the client has to come for it.
    async fn ask(&self, ask: Ask, context: &RequestContext<RoleServer>) -> Option<Ask> {
        if !can_ask(context) {
            let why = "the client cannot ask a person; use one that supports elicitation".to_owned();
            let _ = ask.reply.send(Answer::Nobody(why));
            return None;
        }
        if is_without_sessions(context) {
            return Some(ask);
        }
        let Ask { text, yes_to, time_max, reply } = ask;
        let asked = context.peer.create_elicitation_with_timeout(form(&text, yes_to), Some(time_max));
        let answer = tokio::select! {
            answered = asked => match answered {
                Ok(result) => answer(&result),
                Err(error) => Answer::Nobody(clipped(&error.to_string(), 200)),
            },
            () = context.ct.cancelled() => return None,
        };
        let _ = reply.send(answer);
        None
    }

    /// Let the client come back with the answer.
    fn come_back(&self, pending: Pending, ask: Ask, call: Digest) -> Result<CallToolResponse, ErrorData> {
        let request = InputRequest::Elicitation(ElicitRequest::new(form(&ask.text, ask.yes_to)));
        match self.nest.park(Parked { pending, ask, call }) {
            Some(word) => {
                let requests: InputRequests = BTreeMap::from([(ASK.to_owned(), request)]);
                Ok(InputRequiredResult::new(Some(requests), Some(word)).into())
            }
            None => Err(ErrorData::internal_error(
                "too many questions wait for an answer; answer some, then call again",
                None,
            )),
        }
    }

    /// The client is back.
    fn back(&self, word: &str, call: Digest, mut answers: Option<InputResponses>) -> Result<Pending, ErrorData> {
        let parked = self.nest.take_parked(word).ok_or_else(|| {
            let why = "the question it answers waits no longer, or never did; call again without requestState";
            ErrorData::invalid_params(why, None)
        })?;
        if parked.call != call {
            // Somebody else's yes, or a yes to other arguments, is none.
            return Err(ErrorData::invalid_params("the answer belongs to a call with other arguments", None));
        }
        let said = answers.as_mut().and_then(|answers| answers.remove(ASK));
        let answer = match said.map(serde_json::from_value::<ElicitResult>) {
            Some(Ok(result)) => answer(&result),
            Some(Err(_)) => Answer::Nobody("the client's answer is none".into()),
            None => Answer::Nobody("the client brought no answer".into()),
        };
        let _ = parked.ask.reply.send(answer);
        Ok(parked.pending)
    }

    /// How a task stands, which is how its run stands.
    async fn task(&self, id: &str, can_ask: bool) -> Result<DetailedTask, ErrorData> {
        let run: RunId = id.parse().map_err(|_| no_task(id))?;
        let nest = Arc::clone(&self.nest);
        let looked = tokio::task::spawn_blocking(move || {
            let reader = nest.reader()?;
            let account = Account::read(&nest, &reader, &run)?;
            let (payload, message) = match account.state() {
                State::Working => (TaskPayload::Working, None),
                State::AwaitingGate if !can_ask => {
                    let why = format!("a person must decide a gate: `vespiary runs approve {}`", account.record.id);
                    (TaskPayload::Working, Some(why))
                }
                State::AwaitingGate => {
                    let requests = account.open_gates().map(|gate| {
                        let matter = super::account::matter(&reader, gate)?;
                        let text = crate::approve::gate_question(&account.record.id, &matter);
                        let request =
                            InputRequest::Elicitation(ElicitRequest::new(form(&text, "Approve exactly this")));
                        Ok((gate.digest.to_string(), request))
                    });
                    let input_requests = requests.collect::<Result<InputRequests, Trouble>>()?;
                    (TaskPayload::InputRequired { input_requests }, Some("a person must decide a gate".to_owned()))
                }
                State::Ended(RunStatus::Stopped) => (TaskPayload::Cancelled, None),
                State::Interrupted | State::Ended(_) => {
                    let mut result = done(account.result(&reader)?, &JsonObject::new());
                    let failed = !matches!(account.state(), State::Ended(RunStatus::Completed | RunStatus::Degraded));
                    result.is_error = Some(failed);
                    let result = match serde_json::to_value(&result) {
                        Ok(Value::Object(result)) => result,
                        _ => JsonObject::new(),
                    };
                    (TaskPayload::Completed { result }, Some(account.word().to_owned()))
                }
            };
            let (from, to) = (account.record.started_us, account.record.ended_us);
            let times = [from, to].map(crate::report::timestamp);
            let [created, updated] = times;
            let mut task =
                Task::new(account.asked.as_str(), TaskStatus::Working, created, updated).with_poll_interval_ms(POLL_MS);
            task.status_message = message;
            Ok::<_, Trouble>(DetailedTask::new(task, payload))
        });
        looked.await.map_err(|died| ErrorData::internal_error(died.to_string(), None))?.map_err(|_| no_task(id))
    }
}

/// What became of a request.
enum Begun {
    /// It is under way.
    Pending(Pending),
    /// It is over.
    Done(CallToolResult),
    /// It is a run that the client will ask about.
    Task(Started),
}

impl ServerHandler for Door {
    fn get_info(&self) -> ServerConfig {
        let mut able =
            ServerCapabilities::builder().enable_tools().enable_tool_list_changed().enable_resources().build();
        able.extensions.get_or_insert_default().insert(rmcp::model::TASKS_EXTENSION_ID.to_owned(), JsonObject::new());
        let held = self.nest.grant();
        ServerConfig::new(able)
            .with_server_info(Implementation::new("vespiary", env!("CARGO_PKG_VERSION")).with_title("Vespiary"))
            .with_instructions(format!(
                "Every tool runs in a fresh sealed cell over one project, with these capabilities and no others: {held}. There is no \
                 shell, no environment and no network beyond them, and no call can grant more: where one is denied, tell the \
                 person what it needed. For work on many files, start one run with run_workflow or spawn_subagents rather than \
                 many calls: its agents work at the same time, and its record can be resumed and verified. Runs wait at \
                 gates for the person; approve takes a gate to them."
            ))
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let (mut changes, peer) = (self.nest.changes(), context.peer);
        let announcing = tokio::spawn(async move {
            while changes.changed().await.is_ok() && peer.notify_tool_list_changed().await.is_ok() {}
        });
        let mut slot = self.announcing.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(AbortOnDropHandle::new(announcing));
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.nest.changes();
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                changed = changes.changed() => {
                    if changed.is_err() || context.sink().notify_tool_list_changed().await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let gathered = self.nest.offers().await;
        let mut all: Vec<Tool> = Vec::new();
        if let Some(offers) = gathered.get() {
            all.extend(offers.iter().map(|offer| offer.tool.clone()));
            all.extend(told::tools(&self.nest, offers));
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let (tools, next) = page(all, |tool| tool.name.to_string(), request)?;
        let mut result = ListToolsResult::with_all_items(tools);
        result.next_cursor = next;
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let CallToolRequestParams { name, arguments, input_responses, request_state, .. } = request;
        let arguments = arguments.unwrap_or_default();
        let call = call_digest(&name, &arguments, subject(&context));
        let begun = match request_state {
            Some(word) => Begun::Pending(self.back(&word, call, input_responses)?),
            None => self.begin(&name, arguments, &context).await?,
        };
        match begun {
            Begun::Pending(pending) => self.attend(pending, call, &context).await,
            Begun::Done(result) => Ok(CallToolResponse::Complete(result)),
            Begun::Task(started) => {
                let now = crate::report::timestamp(crate::gates::now_ms().saturating_mul(1_000));
                let task = Task::new(started.run().as_str(), TaskStatus::Working, now.clone(), now)
                    .with_poll_interval_ms(POLL_MS);
                started.leave();
                Ok(CreateTaskResult::new(task).into())
            }
        }
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let nest = Arc::clone(&self.nest);
        let all = reading(move || shown::list(&nest)).await?;
        let (resources, next) = page(all, |resource| resource.uri.clone(), request)?;
        let mut result = ListResourcesResult::with_all_items(resources);
        result.next_cursor = next;
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(shown::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let (nest, uri) = (Arc::clone(&self.nest), request.uri.clone());
        let found = reading(move || shown::read(&nest, &uri)).await?;
        let contents = found.ok_or_else(|| {
            let uri = clipped(&request.uri, 200);
            ErrorData::resource_not_found(format!("there is no resource {uri}"), Some(json!({ "uri": uri })))
        })?;
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        Ok(GetTaskResult::new(self.task(&request.task_id, can_ask(&context)).await?))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let run: RunId = request.task_id.parse().map_err(|_| no_task(&request.task_id))?;
        // Whoever says that it can ask nobody brings nobody's answer.
        if !can_ask(&context) {
            return Err(ErrorData::invalid_params(
                "the client cannot ask a person; use one that supports elicitation",
                None,
            ));
        }
        for (gate, said) in request.input_responses {
            let Ok(result) = serde_json::from_value::<ElicitResult>(said) else { continue };
            let approved = match answer(&result) {
                Answer::Yes => true,
                Answer::No => false,
                // It can be asked again.
                Answer::Nobody(_) => continue,
            };
            let (nest, run, client) = (Arc::clone(&self.nest), run.clone(), client(&context));
            reading(move || own::decided(&nest, &run, &gate, approved, &client)).await?;
        }
        Ok(())
    }

    async fn cancel_task(&self, request: CancelTaskParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        let run: RunId = request.task_id.parse().map_err(|_| no_task(&request.task_id))?;
        own::stop(&self.nest, run, true)
            .await
            .map(drop)
            .map_err(|trouble| ErrorData::invalid_params(in_words(&trouble), None))
    }
}

/// Weigh what `own` asks for, and start the run that this is. None: it asks for none. Blocks until the run has a record.
fn start(nest: &Arc<Nest>, own: &Own) -> Result<Option<Started>, Trouble> {
    let Some(order) = own.order(nest)? else { return Ok(None) };
    let run = nest.launch().start(nest.home(), nest.root(), &order)?;
    let started = Started::new(Arc::clone(nest), run);
    let run = started.run();
    // It has its lock before it has a record.
    while live::is_live(nest.home(), run) && nest.reader().and_then(|reader| Ok(reader.run(run)?)).is_err() {
        std::thread::sleep(live::GLANCE / 10);
    }
    Ok(Some(started))
}

/// What is said to whoever took the request back.
fn cancelled() -> ErrorData {
    ErrorData::internal_error("cancelled", None)
}

/// Call a plugin's tool in the client's own run.
fn call(nest: &Arc<Nest>, offer: Arc<Offer>, stay: Arc<Stay>, arguments: JsonObject) -> Begun {
    let (voice, ear) = voice::voice();
    let dispatcher = Arc::clone(&nest.host().dispatcher);
    let quickness = Arc::clone(&offer.quickness);
    let stays = quickness.may_stay();
    let work = async move {
        let arguments = match &offer.of_server {
            None => Json::of(&arguments),
            Some(tool) => Json::of(&json!({ "tool": tool, "arguments": arguments })),
        };
        let Ok(arguments) = arguments else { return failed_in_words("the arguments are no JSON", JsonObject::new()) };
        let call = ToolCall { tool: offer.call.clone(), arguments, keep: Keep::Digest };
        let outcome = {
            let dispatched = dispatcher.dispatch(stay.who(), call);
            let mut dispatched = std::pin::pin!(voice.within(dispatched));
            loop {
                tokio::select! {
                    biased;
                    outcome = &mut dispatched => break outcome,
                    () = stay.stopped().cancelled() => break Outcome::refused(Failure::Cancelled),
                    () = tokio::time::sleep(GLANCE) => stay.glance(),
                }
            }
        };
        if !stays {
            offer.quickness.took_elsewhere(Duration::from_micros(outcome.usage.cpu_us));
        }
        result(&offer, stay.who().run().id(), outcome)
    };
    let begun = if stays { nest.compute_here(work, &quickness) } else { nest.compute(work) };
    match begun {
        Work::Done(result) => Begun::Done(result),
        Work::UnderWay(work) => Begun::Pending(Pending { work, ear }),
    }
}

/// One page of a list that is in the order of `key`, and the cursor of the next. A cursor is the key of the last one sent.
fn page<T>(
    all: Vec<T>,
    key: impl Fn(&T) -> String,
    request: Option<PaginatedRequestParams>,
) -> Result<(Vec<T>, Option<String>), ErrorData> {
    let after = match request.and_then(|request| request.cursor) {
        None => 0,
        Some(cursor) => {
            let at = all.iter().position(|item| key(item) == cursor);
            at.ok_or_else(|| ErrorData::invalid_params("the cursor is of no page; list from the start", None))? + 1
        }
    };
    let rest = all.len() - after;
    let items: Vec<T> = all.into_iter().skip(after).take(PAGE).collect();
    let next = (rest > PAGE).then(|| items.last().map(&key)).flatten();
    Ok((items, next))
}

async fn reading<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, ErrorData> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|died| ErrorData::internal_error(died.to_string(), None))?;
    done.map_err(|trouble| ErrorData::internal_error(in_words(&trouble), None))
}

fn no_task(id: &str) -> ErrorData {
    ErrorData::invalid_params(format!("there is no task {:?}", clipped(id, 80)), None)
}

/// What was called and by whom, so that an answer counts for exactly that.
fn call_digest(name: &str, arguments: &JsonObject, subject: Option<&str>) -> Digest {
    // Text and JSON can always be written.
    Digest::of(&serde_json::to_vec(&(name, arguments, subject)).unwrap_or_default())
}

/// Whether the client speaks a revision in which every request stands for itself, and a server sends none.
fn is_without_sessions(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

fn client(context: &RequestContext<RoleServer>) -> Client {
    let name = context.client_info().map_or_else(
        || "a client without a name".to_owned(),
        |info| format!("{} {}", clipped(&info.name, 60), clipped(&info.version, 30)),
    );
    let protocol = context.protocol_version().map(|version| clipped(version.as_str(), 20)).unwrap_or_default();
    Client { name, protocol, subject: subject(context).map(str::to_owned) }
}

/// Whose token the request came with, where tokens have names.
fn subject(context: &RequestContext<RoleServer>) -> Option<&str> {
    let parts = context.extensions.get::<axum::http::request::Parts>()?;
    parts.extensions.get::<Subject>().map(|subject| subject.0.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_to_the_whole_list() {
        let all: Vec<String> = (0..250).map(|n| format!("{n:03}")).collect();
        let (mut got, mut cursor) = (Vec::new(), None);
        loop {
            let request = cursor.take().map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
            let (items, next) = page(all.clone(), Clone::clone, request).unwrap();
            assert!(items.len() <= PAGE && !items.is_empty());
            got.extend(items);
            match next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(got, all);
        let request = PaginatedRequestParams::default().with_cursor(Some("no such".to_owned()));
        assert!(page(all, Clone::clone, Some(request)).is_err());
    }

    #[test]
    fn two_bearers_are_never_one() {
        assert_eq!(Subject::of("ann"), Subject("ann".into()));
        let long = "a".repeat(SUBJECT_CHARS_MAX);
        assert_ne!(Subject::of(&format!("{long}nn")), Subject::of(&format!("{long}nb")));
        assert_ne!(Subject::of("ann\u{1b}"), Subject::of("ann\u{1a}"));
    }

    #[test]
    fn a_yes_belongs_to_one_call() {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        let of = |name, path, subject| call_digest(name, &object(json!({ "path": path })), subject);
        let one = of("t", "a", Some("ann"));
        assert_eq!(one, of("t", "a", Some("ann")));
        for other in
            [of("t", "b", Some("ann")), of("u", "a", Some("ann")), of("t", "a", Some("bob")), of("t", "a", None)]
        {
            assert_ne!(one, other);
        }
    }
}
