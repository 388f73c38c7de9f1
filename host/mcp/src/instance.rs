//! One living server: connected to, asked for its tools, and asked to call them for everybody who may. When it is dropped its
//! program ends, or its session.

use crate::Server;
use crate::config::Way as Configured;
use crate::ears::{Client, Ears, Hearing};
use crate::guard::{Guarded, Heard};
use crate::launch::{Launch, Launched, Life, Order};
use crate::pin::Tool;
use crate::text::last_words;
use crate::way::Way;
use rmcp::model::{
    ClientRequest, Implementation, ListToolsRequest, ListToolsResult, PaginatedRequestParams, ServerResult,
};
use rmcp::service::{Peer, RoleClient, RunningService};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::{StreamableHttpClientTransport, StreamableHttpClientTransportConfig};
use rmcp::{ServiceError, ServiceExt as _};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use vespiary_kernel::account::{Account, Limits};
use vespiary_kernel::call::Failure;
use vespiary_kernel::http::{Egress, HttpLimits, NetPass, NetScope};
use vespiary_kernel::ids::RunId;
use vespiary_kernel::scope::Scope;

/// How long a server may take to say hello, and to list its tools.
const HELLO_TIME_MAX: Duration = Duration::from_secs(30);
/// How long is waited for the cause once a server has hung up.
const CAUSE_TIME_MAX: Duration = Duration::from_secs(2);
/// Pages of tools, tools, and bytes of their descriptions, that are read of one server.
const PAGES_MAX: usize = 100;
const TOOLS_MAX: usize = 2_000;
const TOOLS_BYTES_MAX: usize = 16 << 20;
/// Longer than any call waits: the calls keep the time.
const AGES: Duration = Duration::from_secs(7 * 24 * 3600);

/// Everything an instance is started with.
pub(crate) struct Start<'a> {
    pub(crate) server: &'a Server,
    /// What it may touch: the scope of the call that was admitted, without the tool it was admitted for.
    pub(crate) scope: &'a Scope,
    pub(crate) root: &'a Path,
    pub(crate) run: &'a RunId,
    pub(crate) launch: &'a dyn Launch,
    pub(crate) egress: &'a Arc<dyn Egress>,
    pub(crate) variables: &'a BTreeMap<String, String>,
}

/// A living server.
pub(crate) struct Instance {
    service: RunningService<RoleClient, Client>,
    ears: Arc<Ears>,
    life: Option<Box<dyn Life>>,
    way: Option<Way>,
    tools: tokio::sync::Mutex<Arc<BTreeMap<String, Tool>>>,
    begun: Instant,
    used: AtomicU64,
    /// Why it can no longer be asked, once that is known.
    end: Mutex<Option<String>>,
}

impl Instance {
    /// Start the server, or connect to it, and read what tools it has.
    pub(crate) async fn start(start: Start<'_>) -> Result<Self, Failure> {
        let name = &start.server.config.name;
        let hello = async {
            let mut instance = match &start.server.config.way {
                Configured::Program { .. } => Self::of_program(&start).await?,
                Configured::Http { .. } => Self::over_http(&start).await?,
            };
            let tools = instance.list().await?;
            *instance.tools.get_mut() = Arc::new(tools);
            Ok(instance)
        };
        let late = || Failure::Failed(format!("the server {name} did not say hello within {HELLO_TIME_MAX:?}"));
        timeout(HELLO_TIME_MAX, hello).await.unwrap_or_else(|_| Err(late()))
    }

    async fn of_program(start: &Start<'_>) -> Result<Self, Failure> {
        let Configured::Program { program, args, env, dir } = &start.server.config.way else {
            return Err(Failure::Host("a server was started in the wrong way".into()));
        };
        let value = |name: &str| granted(start, name);
        let unset = |error: crate::config::NotSet| Failure::Failed(error.to_string());
        let args = args.iter().map(|arg| arg.filled(value)).collect::<Result<_, _>>().map_err(unset)?;
        let env = env
            .iter()
            .map(|(name, text)| Ok((name.clone(), text.filled(value)?)))
            .collect::<Result<_, _>>()
            .map_err(unset)?;
        let memory_bytes_max = start.server.config.memory_bytes_max;
        let (scope, root, dir) = (start.scope, start.root, dir.as_deref());
        let order = Order { program, args, env, dir, scope, root, memory_bytes_max };
        let Launched { stdin, stdout, life } = start.launch.launch(order).await?;
        let ears: Arc<Ears> = Arc::default();
        let over = || {
            let ears = Arc::clone(&ears);
            move |why| ears.set_over(why)
        };
        let (stdout, stdin) = (Guarded::new(stdout, over()), Heard::new(stdin, over()));
        let transport = AsyncRwTransport::<RoleClient, _, _>::new(stdout, stdin);
        match Client.serve(Hearing::new(transport, &ears)).await {
            Ok(service) => Ok(Self::new(service, ears, Some(life), None)),
            Err(error) => {
                let cause = cause_of(&ears, Some(life.as_ref())).await;
                let why = cause.unwrap_or_else(|| chain(&error));
                Err(Failure::Failed(format!("the server {} did not say hello: {why}", start.server.config.name)))
            }
        }
    }

    async fn over_http(start: &Start<'_>) -> Result<Self, Failure> {
        let Configured::Http { url, headers } = &start.server.config.way else {
            return Err(Failure::Host("a server was started in the wrong way".into()));
        };
        let headers = headers
            .iter()
            .map(|(name, text)| Ok((name.clone(), text.filled(|name| granted(start, name))?)))
            .collect::<Result<_, crate::config::NotSet>>()
            .map_err(|error| Failure::Failed(error.to_string()))?;
        // What it may reach is the scope's; how long and how often, the calls and the server's own rate say.
        let limits = HttpLimits {
            first_byte_time_max: AGES,
            idle_time_max: AGES,
            whole_time_max: AGES,
            requests_per_second_per_host: u32::MAX,
            concurrent_per_host: 1_024,
            ..HttpLimits::default()
        };
        let account = Account::of_run(Limits::NONE);
        let pass = Arc::new(NetPass::new(start.run.clone(), NetScope::of(start.scope), limits, account));
        let way = Way::new(Arc::clone(start.egress), pass, headers);
        let config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
            .max_concurrent_requests(start.server.config.requests_at_once_max as usize);
        let transport = StreamableHttpClientTransport::with_client(way.clone(), config);
        let ears: Arc<Ears> = Arc::default();
        match Client.serve(Hearing::new(transport, &ears)).await {
            Ok(service) => Ok(Self::new(service, ears, None, Some(way))),
            Err(error) => Err(way.take_refused().unwrap_or_else(|| {
                Failure::Failed(format!("the server {} did not say hello: {}", start.server.config.name, chain(&error)))
            })),
        }
    }

    fn new(
        service: RunningService<RoleClient, Client>,
        ears: Arc<Ears>,
        life: Option<Box<dyn Life>>,
        way: Option<Way>,
    ) -> Self {
        let (tools, begun) = (tokio::sync::Mutex::default(), Instant::now());
        Self { service, ears, life, way, tools, begun, used: AtomicU64::new(0), end: Mutex::default() }
    }

    pub(crate) fn peer(&self) -> &Peer<RoleClient> {
        self.service.peer()
    }

    pub(crate) fn ears(&self) -> &Arc<Ears> {
        &self.ears
    }

    /// Who it says it is.
    pub(crate) fn who(&self) -> Option<Implementation> {
        self.peer().peer_info()?.server_info.clone()
    }

    /// Whether nothing can be asked of it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.peer().is_transport_closed() || self.ears.over().is_some()
    }

    /// Note that it is of use now.
    pub(crate) fn touch(&self) {
        self.used.store(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// For how long nobody has used it.
    pub(crate) fn unused(&self) -> Duration {
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.used.load(Ordering::Relaxed)))
    }

    /// Its tools as it describes them now: as they were read last, unless it has said that they are others.
    pub(crate) async fn tools(&self) -> Result<Arc<BTreeMap<String, Tool>>, Failure> {
        let mut tools = self.tools.lock().await;
        if self.ears.take_stale() {
            let listed = timeout(HELLO_TIME_MAX, self.list()).await;
            let late = || Failure::Failed(format!("the server did not list its tools within {HELLO_TIME_MAX:?}"));
            match listed.unwrap_or_else(|_| Err(late())) {
                Ok(now) => *tools = Arc::new(now),
                Err(failure) => {
                    self.ears.set_stale();
                    return Err(failure);
                }
            }
        }
        Ok(Arc::clone(&tools))
    }

    async fn list(&self) -> Result<BTreeMap<String, Tool>, Failure> {
        let wrong = |why: String| Failure::Failed(format!("the server's list of tools cannot be used: {why}"));
        let mut tools = BTreeMap::new();
        if self.peer().peer_info().is_some_and(|info| info.capabilities.tools.is_none()) {
            return Ok(tools);
        }
        let (mut cursor, mut bytes) = (None, 0);
        for _ in 0..PAGES_MAX {
            let page = self.page(cursor.take()).await?;
            for tool in page.tools {
                let described = serde_json::to_value(&tool).map_err(|error| wrong(error.to_string()))?;
                let tool = Tool::of(&described).map_err(wrong)?;
                bytes += tool.json().as_str().len();
                if bytes > TOOLS_BYTES_MAX || tools.len() >= TOOLS_MAX {
                    return Err(wrong(format!("more than {TOOLS_MAX} tools, or than {TOOLS_BYTES_MAX} bytes of them")));
                }
                if let Some(twice) = tools.insert(tool.name(), tool) {
                    return Err(wrong(format!("{:?} is in it twice", twice.name())));
                }
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(tools);
            }
        }
        Err(wrong(format!("it has more than {PAGES_MAX} pages")))
    }

    /// One page. Asked for by hand: what the protocol's library keeps of earlier answers is not what the server says now.
    async fn page(&self, cursor: Option<String>) -> Result<ListToolsResult, Failure> {
        let request = ListToolsRequest {
            method: Default::default(),
            params: cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor))),
            extensions: Default::default(),
        };
        match self.peer().send_request(ClientRequest::ListToolsRequest(request)).await {
            Ok(ServerResult::ListToolsResult(page)) => Ok(page),
            Ok(_) => Err(Failure::Failed("the server did not answer with a list of tools".into())),
            Err(error) => Err(self.failure(&error).await),
        }
    }

    /// Why a request failed: what stood in its way, what the server said, or how the server ended.
    pub(crate) async fn failure(&self, error: &ServiceError) -> Failure {
        if let ServiceError::McpError(refusal) = error {
            let said = last_words(&refusal.message);
            return Failure::Failed(format!("the server refused: {said} (code {})", refusal.code.0));
        }
        if let Some(refused) = self.way.as_ref().and_then(Way::take_refused) {
            return refused;
        }
        let ended = self.ending().await;
        Failure::Failed(match ended {
            Some(how) => format!("the server ended before it answered: {how}"),
            None => format!("the server could not be asked: {}", chain(error)),
        })
    }

    /// How it ended, where it has.
    pub(crate) async fn ending(&self) -> Option<String> {
        if !self.is_over() {
            return None;
        }
        let known = self.end.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() {
            return known;
        }
        let how = cause_of(&self.ears, self.life.as_deref()).await.unwrap_or_else(|| "it hung up".into());
        Some(self.end.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(how).clone())
    }
}

/// A variable's value, for whoever was granted it.
fn granted<'a>(start: &Start<'a>, name: &str) -> Option<&'a str> {
    let held = start.scope.variables().any(|held| held == name);
    if held { start.variables.get(name).map(String::as_str) } else { None }
}

/// Why a program ended: our doing, or its own, with its last words.
async fn cause_of(ears: &Ears, life: Option<&dyn Life>) -> Option<String> {
    if let Some(over) = ears.over() {
        return Some(format!("{over}, so it was ended"));
    }
    let life = life?;
    let how = timeout(CAUSE_TIME_MAX, life.ended()).await.ok()?;
    let said = last_words(&life.stderr());
    Some(if said.is_empty() { how } else { format!("{how}; it said: {said}") })
}

/// An error with everything below it that it does not say itself, harmless.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        below = cause.source();
    }
    last_words(&text)
}
