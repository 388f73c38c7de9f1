//! `vespiary mcp`: the tools, workflows and runs of a project, served to an assistant over MCP, on standard input and output or on
//! HTTP. Standard output belongs to the protocol: nothing else is ever written there.

use crate::cli::mcp::{HttpArgs, ServeArgs};
use crate::disk;
use crate::exit::{Exit, Trouble};
use crate::mcp::bearer::{Guard, Team};
use crate::mcp::door::Door;
use crate::mcp::http::{Front, Listening};
use crate::mcp::launch::Launch;
use crate::mcp::nest::{Nest, Server};
use crate::mcp::streams;
use crate::mcp::voice::ThroughClient;
use crate::models::{self, ProviderSpec};
use crate::paths::Home;
use crate::terminal::line;
use crate::wiring::{self, Before, Host, Person};
use rmcp::ServiceExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::pattern::ToolPattern;

/// Where a token may be told, out of the sight of those who list processes.
const TOKEN_VARIABLE: &str = "VESPIARY_MCP_TOKEN";
/// The longest file with a token, bytes.
const TOKEN_FILE_BYTES_MAX: u64 = 4 << 10;

pub(super) fn serve(args: &ServeArgs, policy: Option<&Path>) -> Result<Exit, Trouble> {
    let root = wiring::project(&args.dir)?;
    let home = Home::locate()?;
    let rules = wiring::rules(&home, policy, &root, &args.permissions)?;
    let shelf = wiring::shelf(&args.permissions, &rules)?.with_servers(&root)?;
    let model = match &args.bounds.provider {
        Some(provider) => Some(models::default_model(&*ProviderSpec::open(provider)?)?),
        None => None,
    };
    let read = ".".parse().map(Capability::Read).ok();
    let defaults = read.into_iter().chain([Capability::Tool(ToolPattern::Any), Capability::Spawn(args.bounds.agents)]);
    let asked = model.as_ref().and_then(|model| format!("model:{}/*", model.provider()).parse().ok());
    let grant = wiring::grant(&args.permissions, defaults.chain(asked));
    let ask_time_max = rules.ask_time_max;
    let person = Person::Elsewhere(Box::new(|time_max| Arc::new(ThroughClient::new(time_max))));
    let host = Host::open(&home, shelf, wiring::capacity_of_server(), rules, person, None, Before::default())?;
    let launch = Launch {
        policy: policy.map(Path::to_owned),
        permissions: args.permissions.clone(),
        catalog: Arc::clone(&host.catalog),
        bounds: args.bounds.clone(),
        started: Default::default(),
    };
    let ledger = Arc::clone(&host.ledger);
    let cells = wiring::runtime_of_server()?;
    let nest = Nest::new(Server {
        home: home.clone(),
        root,
        grant,
        host,
        launch,
        ask_time_max,
        cells: cells.handle().clone(),
    });
    let waiting = wiring::runtime_for_waiting()?;
    let served = waiting.block_on(async {
        let stop = CancellationToken::new();
        let listening = tokio::spawn(until_told(stop.clone()));
        let keeping_up = tokio::spawn(Arc::clone(&nest).keep_up());
        let served = match args.http.http {
            Some(_) => over_http(&args.http, &home, &nest, stop).await,
            None => over_stdio(&nest, stop).await,
        };
        listening.abort();
        keeping_up.abort();
        nest.close();
        served
    });
    // Calls that are cut off are recorded as they are dropped, before the ledger is closed.
    waiting.shutdown_timeout(Duration::from_secs(5));
    cells.shutdown_timeout(Duration::from_secs(5));
    drop(nest);
    ledger.close()?;
    served.map(|()| Exit::Done)
}

async fn over_stdio(nest: &Arc<Nest>, stop: CancellationToken) -> Result<(), Trouble> {
    let door = Door::new(Arc::clone(nest), false);
    let ended = |error: &dyn std::fmt::Display| {
        let next = "start it from an MCP client; `vespiary mcp install CLIENT` writes the entry";
        Trouble::failed("nobody speaks MCP on standard input", error, next)
    };
    // What the tools are is found out while the client still introduces itself.
    let gathering = tokio::spawn({
        let nest = Arc::clone(nest);
        async move {
            nest.offers().await;
        }
    });
    let served = match door.serve_with_ct(streams::standard(), stop).await {
        Ok(running) => running.waiting().await.map(drop).map_err(|error| ended(&error)),
        Err(
            rmcp::service::ServerInitializeError::Cancelled | rmcp::service::ServerInitializeError::ConnectionClosed(_),
        ) => Ok(()),
        Err(error) => Err(ended(&error)),
    };
    gathering.abort();
    served
}

async fn over_http(args: &HttpArgs, home: &Home, nest: &Arc<Nest>, stop: CancellationToken) -> Result<(), Trouble> {
    let Some(address) = args.http else { return Ok(()) };
    let (guard, told) = guard(args, home)?;
    let front = Front {
        address,
        guard,
        hosts: args.allow_host.clone(),
        origins: args.allow_origin.clone(),
        sessions_max: args.sessions,
        public_url: args.public_url.clone(),
    };
    let listening = Listening::bind(front).await?;
    eprintln!("vespiary: MCP at {}; {told}", line(&listening.url()));
    listening.serve(Arc::clone(nest), stop).await;
    Ok(())
}

/// Who is let in, and how that is told to the person who starts the server.
fn guard(args: &HttpArgs, home: &Home) -> Result<(Guard, String), Trouble> {
    if let Some(issuer) = &args.oauth_issuer {
        let (Some(audience), Some(keys)) = (&args.oauth_audience, &args.oauth_jwks) else {
            let next = "give --oauth-audience URL and --oauth-jwks FILE|URL beside it";
            return Err(Trouble::usage("tokens of the team cannot be checked", "only their issuer is known", next));
        };
        let team = Team::new(issuer.clone(), audience.clone(), args.oauth_scope.clone(), keys)?;
        return Ok((Guard::Team(Box::new(team)), format!("for whoever has a token of {}", line(issuer))));
    }
    if let Some(path) = &args.token_file {
        let text = disk::read_text(path, TOKEN_FILE_BYTES_MAX).map_err(|error| {
            Trouble::usage(
                format!("{} cannot be read", path.display()),
                error,
                "name a file that holds the token alone",
            )
        })?;
        return in_file(text.trim(), path);
    }
    if let Some(token) = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()) {
        return Ok((Guard::token(&token)?, format!("its token is in {TOKEN_VARIABLE}")));
    }
    let (token, path) = home.mcp_token()?;
    in_file(&token, &path)
}

/// Whoever has the token that was read from `path`.
fn in_file(token: &str, path: &Path) -> Result<(Guard, String), Trouble> {
    let guard = Guard::token(token)
        .map_err(|trouble| Trouble { what: format!("the token in {} cannot be used", path.display()), ..trouble })?;
    Ok((guard, format!("its token is in {}", path.display())))
}

/// Stop when the person, or who runs this for them, says so.
async fn until_told(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
}
