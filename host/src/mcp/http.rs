//! The server on a network: streamable HTTP, behind a token, for hosts and origins that were named. It speaks plain HTTP; where it
//! is reached from another machine, a proxy in front of it ends TLS.
#![allow(clippy::disallowed_types, reason = "this file is meant to touch the world: it listens")]

use crate::exit::Trouble;
use crate::mcp::bearer::{Guard, Refused};
use crate::mcp::door::{Door, Subject};
use crate::mcp::nest::Nest;
use crate::mcp::own::WAIT_TIME_MAX;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio_util::sync::CancellationToken;

/// Where the protocol is spoken.
pub const PATH: &str = "/mcp";
/// Where a client learns which authorization server to ask.
const METADATA: &str = "/.well-known/oauth-protected-resource";

/// The largest request, bytes.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Connections at once; further ones wait to be taken.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a client may take to send the head of a request.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// How long it may then take to send the body.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a session is kept of which nothing is heard. Longer than any one call may take: of one that waits, nothing is heard.
const SESSION_IDLE_MAX: Duration = Duration::from_secs(20 * 60);
const _: () = assert!(WAIT_TIME_MAX.as_secs() < SESSION_IDLE_MAX.as_secs());
/// The header by which a request belongs to a session.
const SESSION: &str = "mcp-session-id";

/// What is served to whom.
#[derive(Debug)]
pub struct Front {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who is let in.
    pub guard: Guard,
    /// Hosts by which it may be called, beside this machine's own names.
    pub hosts: Vec<String>,
    /// Origins from which a browser may call it, beside this machine's own.
    pub origins: Vec<String>,
    /// Sessions at once.
    pub sessions_max: usize,
    /// How it is called from outside, where that is not its address.
    pub public_url: Option<String>,
}

/// A server that listens.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    front: Front,
    /// Its address, with the port that it was given.
    pub address: SocketAddr,
}

struct Gate {
    guard: Guard,
    sessions: Arc<LocalSessionManager>,
    sessions_max: usize,
    /// Held by whoever opens a session: two that come at once would both take the last place.
    opening: AsyncMutex<()>,
    /// Who has opened which session, where tokens have names.
    owners: Mutex<HashMap<String, Subject>>,
    resource: String,
}

impl Listening {
    /// Listen, and serve nobody yet.
    ///
    /// # Errors
    /// The address is in use, not this machine's, or open to others without a name for it.
    pub async fn bind(front: Front) -> Result<Self, Trouble> {
        let address = front.address;
        if !address.ip().is_loopback() && front.hosts.is_empty() {
            return Err(Trouble::usage(
                format!("{address} cannot be listened at"),
                "other machines reach it, and no host name was given by which they may call it",
                "name it with --allow-host, and put a proxy that ends TLS before it; or listen at 127.0.0.1",
            ));
        }
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Trouble::failed(
                format!("{address} cannot be listened at"),
                error,
                "choose another with --http ADDRESS:PORT",
            )
        })?;
        let address = listener.local_addr().unwrap_or(address);
        Ok(Self { listener, front, address })
    }

    /// The URL that a client is given.
    pub fn url(&self) -> String {
        self.front.public_url.clone().unwrap_or_else(|| format!("http://{}{PATH}", self.address))
    }

    /// Serve until `stop`.
    pub async fn serve(self, nest: Arc<Nest>, stop: CancellationToken) {
        let resource = self.url();
        let Self { listener, front, address } = self;
        let app = router(nest, front, resource, address, &stop);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &places) => accepted,
                () = stop.cancelled() => break,
            };
            let Some((stream, place)) = accepted else { continue };
            let (service, stop) = (TowerToHyperService::new(app.clone()), stop.clone());
            tokio::spawn(async move {
                let _place = place;
                let serving = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIME_MAX)
                    .serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    // How a connection ends is its client's business.
                    _ = serving => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, place))
        }
        Err(_) => {
            // Out of descriptors, most likely: others must close first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

fn router(nest: Arc<Nest>, front: Front, resource: String, address: SocketAddr, stop: &CancellationToken) -> Router {
    let mut manager = LocalSessionManager::default();
    manager.session_config.keep_alive = Some(SESSION_IDLE_MAX);
    let sessions = Arc::new(manager);
    let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec();
    hosts.extend(front.hosts);
    if address.ip().is_loopback() {
        hosts.push(address.ip().to_string());
    }
    let mut origins: Vec<String> =
        ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*", "https://localhost:*"]
            .map(String::from)
            .to_vec();
    origins.extend(front.origins);
    let config = StreamableHttpServerConfig::default()
        .with_allowed_hosts(hosts)
        .with_allowed_origins(origins)
        .enforce_origin_validation()
        .with_max_request_body_bytes(REQUEST_BYTES_MAX)
        .with_cancellation_token(stop.child_token());
    let door = move || Ok(Door::new(Arc::clone(&nest), true));
    let service = StreamableHttpService::new(door, Arc::clone(&sessions), config);
    let metadata = match &front.guard {
        Guard::Token(_) => None,
        Guard::Team(team) => Some(
            json!({
                "resource": resource, "authorization_servers": [team.issuer], "bearer_methods_supported": ["header"],
                "scopes_supported": team.scope.iter().collect::<Vec<_>>(), "resource_name": "Vespiary",
            })
            .to_string(),
        ),
    };
    let gate = Arc::new(Gate {
        guard: front.guard,
        sessions,
        sessions_max: front.sessions_max,
        opening: AsyncMutex::default(),
        owners: Mutex::default(),
        resource,
    });
    let guarded = Router::new().route_service(PATH, service).layer(from_fn_with_state(gate, admit));
    match metadata {
        None => guarded,
        Some(text) => {
            let tell = move || {
                let text = text.clone();
                async move { ([(header::CONTENT_TYPE, "application/json")], text) }
            };
            // Whoever has no token yet has to find out where to get one.
            let open = Router::new().route(METADATA, get(tell.clone())).route(&format!("{METADATA}{PATH}"), get(tell));
            guarded.merge(open)
        }
    }
}

/// Let a request in, or say what it lacks.
async fn admit(State(gate): State<Arc<Gate>>, mut request: Request<Body>, next: Next) -> Response {
    let subject = match gate.guard.admit(request.headers().get(header::AUTHORIZATION)).await {
        Ok(subject) => subject,
        Err(refused) => return gate.refuse(refused),
    };
    // As the library reads it: what is no text names no session.
    let session = request.headers().get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
    if let Some(subject) = &subject {
        if let Some(session) = &session
            && !gate.lets_into(session, subject).await
        {
            return (StatusCode::NOT_FOUND, "there is no such session").into_response();
        }
        request.extensions_mut().insert(subject.clone());
    }
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = match whole(body, BODY_TIME_MAX).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(),
    };
    let opens = session.is_none() && may_open(&body);
    let request = Request::from_parts(parts, Body::from(body));
    if opens { gate.open(subject, request, next).await } else { next.run(request).await }
}

/// All of a body, if it comes in time.
async fn whole(body: Body, time_max: Duration) -> Result<Bytes, (StatusCode, String)> {
    match tokio::time::timeout(time_max, to_bytes(body, REQUEST_BYTES_MAX)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => {
            let why = format!("the request is longer than {REQUEST_BYTES_MAX} bytes, or it broke off");
            Err((StatusCode::PAYLOAD_TOO_LARGE, why))
        }
        Err(_) => {
            let why = format!("the request was not there after {} seconds", time_max.as_secs());
            Err((StatusCode::REQUEST_TIMEOUT, why))
        }
    }
}

/// Whether a request that belongs to no session may open one. What cannot be told may.
fn may_open(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Named {
        method: Option<String>,
    }
    match serde_json::from_slice::<Named>(body) {
        Ok(named) => named.method.is_some_and(|method| method == "initialize"),
        Err(_) => true,
    }
}

impl Gate {
    /// Have a session opened, if there is a place for it.
    async fn open(&self, subject: Option<Subject>, request: Request<Body>, next: Next) -> Response {
        let _alone = self.opening.lock().await;
        if self.sessions.sessions.read().await.len() >= self.sessions_max {
            let why =
                format!("{} sessions are open, and no more are; close some, or come back later", self.sessions_max);
            return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "30")], why).into_response();
        }
        let response = next.run(request).await;
        let opened = response.headers().get(SESSION).and_then(|id| id.to_str().ok());
        if let (Some(subject), Some(session)) = (subject, opened) {
            let open = self.sessions.sessions.read().await;
            let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
            // A session ends in many ways. Whose it was is forgotten here at the latest, so that there are never more than places.
            owners.retain(|session, _| open.contains_key(session.as_str()));
            owners.insert(session.to_owned(), subject);
        }
        response
    }

    /// Whether `session` is this subject's. One that is not open is nobody's, as they are told further on.
    async fn lets_into(&self, session: &str, subject: &Subject) -> bool {
        let owner = self.owners.lock().unwrap_or_else(PoisonError::into_inner).get(session).cloned();
        match owner {
            Some(owner) => owner == *subject,
            None => !self.sessions.sessions.read().await.contains_key(session),
        }
    }

    fn refuse(&self, refused: Refused) -> Response {
        let (status, error) = match refused {
            Refused::NoToken => (StatusCode::UNAUTHORIZED, None),
            Refused::BadToken => (StatusCode::UNAUTHORIZED, Some("invalid_token")),
            Refused::WrongScope => (StatusCode::FORBIDDEN, Some("insufficient_scope")),
        };
        let mut challenge = "Bearer realm=\"vespiary\"".to_owned();
        if let Some(error) = error {
            challenge.push_str(&format!(", error=\"{error}\""));
        }
        let mut say = "send the server's token: Authorization: Bearer TOKEN".to_owned();
        if let Guard::Team(team) = &self.guard {
            let at = self.resource.strip_suffix(PATH).unwrap_or(&self.resource);
            challenge.push_str(&format!(", resource_metadata=\"{at}{METADATA}{PATH}\""));
            if let Some(scope) = &team.scope {
                challenge.push_str(&format!(", scope=\"{scope}\""));
            }
            say = format!("send a token that {} has issued for {}", team.issuer, team.audience);
        }
        let mut response = (status, say).into_response();
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_comes_in_time_and_is_not_too_long() {
        let (soon, late) = (Duration::from_millis(1), Duration::from_secs(60));
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(whole(never, soon).await.unwrap_err().0, StatusCode::REQUEST_TIMEOUT);
        let long = Body::from(vec![b' '; REQUEST_BYTES_MAX + 1]);
        assert_eq!(whole(long, late).await.unwrap_err().0, StatusCode::PAYLOAD_TOO_LARGE);
        let most = Body::from(vec![b' '; REQUEST_BYTES_MAX]);
        assert_eq!(whole(most, late).await.unwrap().len(), REQUEST_BYTES_MAX);
    }

    #[test]
    fn whatever_could_open_a_session_needs_a_place() {
        for opens in [
            r#"{"method":"initialize"}"#,
            r#"{"method":"initial\u0069ze"}"#,
            r#"{"method":"a","method":"initialize"}"#,
            "{",
        ] {
            assert!(may_open(opens.as_bytes()), "{opens}");
        }
        for none in [r#"{"method":"tools/call","params":{"method":"initialize"}}"#, r#"{"id":1,"result":{}}"#] {
            assert!(!may_open(none.as_bytes()), "{none}");
        }
    }
}
