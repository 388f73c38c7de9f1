//! One exchange, from a judged request to a response. The order is the safety: judge, count, wait for a turn, resolve once,
//! judge every address, connect to those and no other. Secrets come last, when it is certain where they go.

use crate::HttpEgress;
use crate::body::{Incoming, Outgoing, Progress};
use crate::headers;
use crate::placeholder;
use crate::resolve::ADDRESSES_MAX;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use vespiary_kernel::account::Resource;
use vespiary_kernel::http::{EgressError, HttpRequest, HttpResponse, HttpTimes, NetPass, Phase};
use vespiary_kernel::net::address::canonical;
use vespiary_kernel::net::{NetHost, NetTarget, Scheme};

/// The times of one exchange: what the limits allow, shortened by what the guest asked for.
struct Times {
    connect: Duration,
    first_byte: Duration,
    idle: Duration,
    deadline: Instant,
}

impl Times {
    fn of(pass: &NetPass, asked: HttpTimes) -> Self {
        let limits = pass.limits();
        let least = |limit: Duration, asked: Option<Duration>| asked.map_or(limit, |asked| asked.min(limit));
        Self {
            connect: least(limits.connect_time_max, asked.connect),
            first_byte: least(limits.first_byte_time_max, asked.first_byte),
            idle: least(limits.idle_time_max, asked.idle),
            deadline: Instant::now() + limits.whole_time_max,
        }
    }
}

impl HttpEgress {
    pub(crate) async fn exchange(&self, pass: Arc<NetPass>, request: HttpRequest) -> Result<HttpResponse, EgressError> {
        let HttpRequest { target, headers, body, times } = request;
        pass.scope().judge(&target).map_err(EgressError::Denied)?;
        let length = headers::judge(&headers, pass.limits())?;
        if length.is_some_and(|declared| declared > 0) && body.is_none() {
            return Err(EgressError::BadRequest("it declares a body and has none".into()));
        }
        let wanted = placeholder::judge(&self.secrets, pass.scope(), &target, &headers)?;
        let times = Times::of(&pass, times);

        pass.take(Resource::HttpRequests, 1)?;
        let head = target.path_and_query().len() + target.authority().len() + headers::size(&headers);
        pass.take(Resource::HttpBytesOut, head as u64)?;

        let late = |phase, after| move |_| EgressError::Timeout { phase, after };
        let turn = self.rates.turn(pass.run(), target.host(), pass.limits());
        let turn = timeout_at(times.deadline, turn).await.map_err(late(Phase::Turn, pass.limits().whole_time_max))?;

        let connect_by = (Instant::now() + times.connect).min(times.deadline);
        let addresses = timeout_at(connect_by, self.addresses(&pass, &target))
            .await
            .map_err(late(Phase::Connect, times.connect))??;
        if let Some(name) = wanted.first()
            && target.scheme() == Scheme::Http
            && !addresses.iter().all(IpAddr::is_loopback)
        {
            return Err(EgressError::Denied(placeholder::in_the_clear(pass.scope(), &target, name)));
        }
        let filled = placeholder::fill(&self.secrets, &headers, &wanted)?;
        let client = self
            .connections
            .client(pass.run(), &target, &addresses, times.connect)
            .map_err(|why| EgressError::Connect { peer: peer(&target, &addresses), why })?;

        let progress = Progress::new();
        let mut sent = outgoing_request(&target, filled)?;
        if let Some(body) = body {
            let outgoing = Outgoing {
                body,
                pass: Arc::clone(&pass),
                progress: Arc::clone(&progress),
                owed: length,
                deadline: times.deadline,
                misplaced: placeholder::misplaced(pass.scope(), &target, "a body"),
            };
            *sent.body_mut() = Some(reqwest::Body::wrap_stream(outgoing.into_stream()));
        }
        let response = await_head(&pass, &times, &progress, client.execute(sent))
            .await?
            .map_err(|error| progress.failure().unwrap_or_else(|| self.cause(&error, &target, &addresses, &times)))?;
        let head = self.judge_head(&pass, &response, &addresses, !wanted.is_empty())?;
        let scrubber = self.secrets.scrubber();
        Ok(HttpResponse {
            status: response.status().as_u16(),
            headers: head,
            body: Incoming {
                response,
                pass,
                progress,
                idle_time_max: times.idle,
                deadline: times.deadline,
                scrub: (!scrubber.is_empty()).then(|| scrubber.stream()),
                _turn: turn,
            }
            .into_stream(),
        })
    }

    /// The addresses the request may be made to: all that its host leads to, each of them judged.
    async fn addresses(&self, pass: &NetPass, target: &NetTarget) -> Result<Vec<IpAddr>, EgressError> {
        let addresses = match target.host() {
            NetHost::Address(address) => vec![*address],
            NetHost::Name(name) => {
                let failed = |why: String| EgressError::Dns { host: name.to_string(), why };
                let found = self.lookups.resolve(pass.run(), name).await.map_err(failed)?;
                if found.is_empty() {
                    return Err(failed("it has no address".into()));
                }
                found.into_iter().map(canonical).take(ADDRESSES_MAX).collect()
            }
        };
        // One bad address spoils them all: who mixes public and private answers hopes that the second is tried.
        for address in &addresses {
            pass.scope().judge_address(target, *address).map_err(EgressError::AddressDenied)?;
        }
        Ok(addresses)
    }

    /// The response's headers as the guest may see them.
    fn judge_head(
        &self,
        pass: &NetPass,
        response: &reqwest::Response,
        addresses: &[IpAddr],
        with_secret: bool,
    ) -> Result<Vec<(String, Vec<u8>)>, EgressError> {
        // Pinning has seen to this; were it ever to fail, nothing that came back would be used.
        if let Some(peer) = response.remote_addr()
            && !addresses.contains(&canonical(peer.ip()))
        {
            return Err(EgressError::Protocol("the response came from an address that was not judged".into()));
        }
        if !(200..=599).contains(&response.status().as_u16()) {
            return Err(EgressError::Protocol(format!("the status {} ends no exchange", response.status().as_u16())));
        }
        let limits = pass.limits();
        let oversized = |what, limit: usize| EgressError::Oversized { what, limit: limit as u64 };
        if response.headers().len() > limits.headers_max {
            return Err(oversized("too many headers", limits.headers_max));
        }
        let encoded = response.headers().get("content-encoding").is_some_and(|e| e.as_bytes() != b"identity");
        if with_secret && encoded {
            let why = "it compressed a response although a secret was sent and `identity` asked for";
            return Err(EgressError::Protocol(why.into()));
        }
        if with_secret && response.status() == StatusCode::PARTIAL_CONTENT {
            let why = "it sent a part of its answer although a secret was sent and all of it was asked for";
            return Err(EgressError::Protocol(why.into()));
        }
        // What came is counted, also what the guest is not shown.
        let bytes = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
        if bytes > limits.header_bytes_max {
            return Err(oversized("too many bytes of headers", limits.header_bytes_max));
        }
        pass.take(Resource::HttpBytesIn, bytes as u64)?;
        let scrubber = self.secrets.scrubber();
        let head: Vec<(String, Vec<u8>)> = response
            .headers()
            .iter()
            .filter(|(name, _)| headers::is_for_guest(name.as_str()))
            // Scrubbing changes the length.
            .filter(|(name, _)| scrubber.is_empty() || name.as_str() != "content-length")
            .map(|(name, value)| (name.as_str().to_owned(), scrubber.bytes(value.as_bytes()).into_owned()))
            .collect();
        Ok(head)
    }

    /// Why there is no response.
    fn cause(&self, error: &reqwest::Error, target: &NetTarget, addresses: &[IpAddr], times: &Times) -> EgressError {
        let why = self.secrets.scrubber().text(&why(error)).into_owned();
        if error.is_connect() && error.is_timeout() {
            return EgressError::Timeout { phase: Phase::Connect, after: times.connect };
        }
        let peer = peer(target, addresses);
        if causes(error).any(|cause| cause.is::<rustls::Error>()) {
            EgressError::Tls { peer, why }
        } else if error.is_connect() {
            EgressError::Connect { peer, why }
        } else {
            EgressError::Protocol(why)
        }
    }
}

/// Await a response's headers. The time starts again with every piece of the request's body that is sent.
async fn await_head<T>(
    pass: &NetPass,
    times: &Times,
    progress: &Progress,
    response: impl Future<Output = T>,
) -> Result<T, EgressError> {
    let mut response = pin!(response);
    let connected_by = Instant::now() + times.connect;
    loop {
        let until = connected_by.max(progress.last()) + times.first_byte;
        match timeout_at(until.min(times.deadline), &mut response).await {
            Ok(response) => return Ok(response),
            Err(_) if times.deadline <= until => {
                return Err(EgressError::Timeout { phase: Phase::Whole, after: pass.limits().whole_time_max });
            }
            Err(_) if connected_by.max(progress.last()) + times.first_byte <= Instant::now() => {
                return Err(EgressError::Timeout { phase: Phase::FirstByte, after: times.first_byte });
            }
            Err(_) => {}
        }
    }
}

fn outgoing_request(target: &NetTarget, headers: HeaderMap) -> Result<reqwest::Request, EgressError> {
    let bad = |what: &str| EgressError::BadRequest(format!("its {what} cannot be sent"));
    let (scheme, host, port) = (target.scheme().as_str(), target.host().to_string(), target.port());
    let url = reqwest::Url::parse(&format!("{scheme}://{host}:{port}{}", target.path_and_query()));
    let url = url.map_err(|_| bad("URL"))?;
    // What is sent is what was judged, or nothing is.
    let same = url.host_str() == Some(&*host) && url.port_or_known_default() == Some(port);
    if !same || !url.username().is_empty() || url.password().is_some() {
        return Err(bad("URL"));
    }
    let method = reqwest::Method::from_bytes(target.method().as_str().as_bytes()).map_err(|_| bad("method"))?;
    let mut request = reqwest::Request::new(method, url);
    *request.headers_mut() = headers;
    Ok(request)
}

fn peer(target: &NetTarget, addresses: &[IpAddr]) -> String {
    let at = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("{} ({at})", target.authority())
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        // An I/O error names the cause of its content and skips the content itself.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// The innermost cause, in words that hold no URL.
pub(crate) fn why(error: &reqwest::Error) -> String {
    let last = causes(error).last().filter(|last| !last.is::<reqwest::Error>());
    last.map_or_else(|| "the exchange failed".to_owned(), ToString::to_string)
}
