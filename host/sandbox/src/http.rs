//! A cell's way out over HTTP: `wasi:http` on one side, the kernel's `Egress` on the other. It reads what a guest asks for and
//! tells it what became of that; what may be sent, and how, is decided behind the port. Sockets have no place here.

use crate::cell::Cell;
use crate::report::LogStream;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vespiary_kernel::http::{Egress, EgressError, HttpRequest, HttpResponse, HttpTimes, NetPass, NetScope, Phase};
use vespiary_kernel::net::{BadTarget, NetTarget, Scheme};
use vespiary_kernel::policy::Denial;
use vespiary_kernel::quota::LimitHit;
use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::{Error, RequestOptions, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks};

/// Names and values of one set of headers, as they lie in memory, bytes.
const FIELDS_BYTES_MAX: usize = 128 << 10;

/// Pieces a guest may write ahead of the connection, and the size of one, bytes.
const PIECES_AHEAD: usize = 2;
const PIECE_BYTES_MAX: usize = 64 << 10;

/// The interfaces linked here.
pub(crate) const INTERFACES: [&str; 2] = ["wasi:http/types", "wasi:http/outgoing-handler"];

/// What a cell keeps for its requests.
pub(crate) struct Http {
    ctx: WasiHttpCtx,
    hooks: Hooks,
}

struct Hooks {
    /// None in a cell that may ask nobody.
    way: Option<Way>,
    noted: Arc<Noted>,
    log: LogStream,
}

/// Where requests go, and with which permission.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) egress: Arc<dyn Egress>,
    pub(crate) pass: Arc<NetPass>,
}

/// What the host remembers of a cell's requests, whatever the guest makes of it.
#[derive(Default)]
struct Noted {
    inner: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    over: Option<LimitHit>,
    denied: Option<Denial>,
}

impl Noted {
    fn inner(&self) -> MutexGuard<'_, Remembered> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Http {
    pub(crate) fn new(way: Option<Way>, log: LogStream) -> Self {
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(FIELDS_BYTES_MAX);
        Self { ctx, hooks: Hooks { way, noted: Arc::default(), log } }
    }

    /// The quota that a request used up: it ends the call, whatever the guest goes on to do.
    pub(crate) fn over(&self) -> Option<LimitHit> {
        self.hooks.noted.inner().over.clone()
    }

    /// The request that was last denied.
    pub(crate) fn denied(&self) -> Option<Denial> {
        self.hooks.noted.inner().denied.clone()
    }
}

/// Link outgoing HTTP, and of `wasi:http` nothing else.
pub(crate) fn link(linker: &mut Linker<Cell>) -> wasmtime::Result<()> {
    outgoing_handler::add_to_linker::<Cell, WasiHttp>(linker, Cell::http)?;
    types::add_to_linker::<Cell, WasiHttp>(linker, &LinkOptions::default().into(), Cell::http)
}

impl Cell {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let report = &self.report;
        let http = self.http.get_or_insert_with(|| Box::new(Http::new(None, report.network())));
        WasiHttpCtxView { ctx: &mut http.ctx, hooks: &mut http.hooks, table: &mut self.table }
    }
}

type GuestBody = UnsyncBoxBody<Bytes, Error>;
type Worker = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(http::Response<GuestBody>, Worker), Error>;

impl WasiHttpHooks for Hooks {
    /// The host header is the egress's to write.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: http::Request<GuestBody>,
        options: Option<RequestOptions>,
        _told: Worker,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let exchange = Exchange {
            what: format!("{} {}", request.method(), place(request.uri())),
            noted: Arc::clone(&self.noted),
            log: self.log.clone(),
        };
        let way = self.way.clone();
        Box::new(async move {
            let read = read(request, options).map_err(|bad| exchange.unreadable(&bad))?;
            let Some(Way { egress, pass }) = way else {
                return Err(exchange.failed(&nothing_held(&read.target)));
            };
            let response = egress.send(pass, read).await.map_err(|error| exchange.failed(&error))?;
            let worker: Worker = Box::new(std::future::ready(Ok(())));
            Ok((exchange.told(response)?, worker))
        })
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        PIECES_AHEAD
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE_BYTES_MAX
    }
}

/// One request under way, as far as the guest and the log are told of it.
struct Exchange {
    /// Method and place, for the log.
    what: String,
    noted: Arc<Noted>,
    log: LogStream,
}

impl Exchange {
    /// Remember and log what went wrong, and say it in the guest's terms.
    fn failed(&self, error: &EgressError) -> Error {
        match error {
            EgressError::Limit(hit) => {
                self.noted.inner().over.get_or_insert_with(|| hit.clone());
            }
            EgressError::Denied(denial) | EgressError::AddressDenied(denial) => {
                self.noted.inner().denied = Some(denial.clone());
            }
            _ => {}
        }
        self.log.line(format!("{}: {error}", self.what));
        code(error)
    }

    fn unreadable(&self, bad: &BadTarget) -> Error {
        self.log.line(format!("{}: {bad}", self.what));
        Error::HttpRequestUriInvalid
    }

    /// The response as the guest reads it.
    fn told(self, response: HttpResponse) -> Result<http::Response<GuestBody>, Error> {
        let mut told = http::Response::builder().status(response.status);
        for (name, value) in response.headers {
            told = told.header(name, value);
        }
        let pieces = response.body.map(move |piece| match piece {
            Ok(piece) => Ok(Frame::data(piece)),
            Err(error) => Err(self.failed(&error)),
        });
        told.body(BodyExt::boxed_unsync(StreamBody::new(pieces))).map_err(|_| Error::HttpProtocolError)
    }
}

/// What the guest asks for, read once and for all.
fn read(request: http::Request<GuestBody>, options: Option<RequestOptions>) -> Result<HttpRequest, BadTarget> {
    let (parts, body) = request.into_parts();
    let uri = &parts.uri;
    let scheme = match uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _ => return Err(BadTarget { why: "the scheme is neither http nor https".into() }),
    };
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let path_and_query = uri.path_and_query().map_or("/", |path| path.as_str());
    let path_and_query = match path_and_query.strip_prefix('?') {
        Some(query) => format!("/?{query}"),
        None => path_and_query.to_owned(),
    };
    let target = NetTarget::of_parts(parts.method.as_str(), scheme, authority, &path_and_query)?;
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    let options = options.unwrap_or_default();
    Ok(HttpRequest {
        target,
        headers: headers.collect(),
        body: (!body.is_end_stream() && body.size_hint().exact() != Some(0)).then(|| pieces(body)),
        times: HttpTimes {
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            idle: options.between_bytes_timeout,
        },
    })
}

/// A guest's body, piece by piece. Trailers are between the host and the server, so a body that brings some is not sent whole.
fn pieces(body: GuestBody) -> Pin<Box<dyn stream::Stream<Item = Result<Bytes, EgressError>> + Send>> {
    let frames = stream::unfold(Some(body), |state| async move {
        let mut body = state?;
        match body.frame().await? {
            Ok(frame) => match frame.into_data() {
                Ok(piece) => Some((Ok(piece), Some(body))),
                Err(_) => {
                    Some((Err(EgressError::BadRequest("its body has trailers, which are not sent".into())), None))
                }
            },
            Err(_) => Some((Err(EgressError::BodyAborted), None)),
        }
    });
    Box::pin(frames)
}

fn nothing_held(target: &NetTarget) -> EgressError {
    match NetScope::default().judge(target) {
        Err(denial) => EgressError::Denied(denial),
        Ok(()) => EgressError::BadRequest("this cell has no way out".into()),
    }
}

/// Where a request goes, without its query.
fn place(uri: &http::Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("https");
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    // Whoever writes a password into an authority need not find it in a log.
    let host = authority.rsplit('@').next().unwrap_or("");
    format!("{scheme}://{host}{}", uri.path())
}

/// The guest's word for what went wrong. The sentence stands in the call's log.
fn code(error: &EgressError) -> Error {
    match error {
        EgressError::Denied(_) => Error::HttpRequestDenied,
        EgressError::AddressDenied(_) => Error::DestinationIpProhibited,
        EgressError::Limit(hit) => Error::InternalError(Some(format!("limit reached: {hit}"))),
        EgressError::BadRequest(_) => Error::InternalError(Some(error.to_string())),
        EgressError::Secret { .. } => Error::ConfigurationError,
        EgressError::Dns { why, .. } => Error::DnsError { rcode: Some(why.clone()), info_code: None },
        EgressError::Connect { why, .. } if why.contains("refused") => Error::ConnectionRefused,
        EgressError::Connect { .. } => Error::DestinationUnavailable,
        EgressError::Tls { why, .. } if why.contains("certificate") => Error::TlsCertificateError,
        EgressError::Tls { .. } => Error::TlsProtocolError,
        EgressError::Timeout { phase, .. } => match phase {
            Phase::Turn => Error::ConnectionLimitReached,
            Phase::Connect => Error::ConnectionTimeout,
            Phase::FirstByte | Phase::Whole => Error::HttpResponseTimeout,
            Phase::Idle => Error::ConnectionReadTimeout,
        },
        EgressError::Oversized { limit, .. } => Error::HttpResponseHeaderSectionSize(u32::try_from(*limit).ok()),
        EgressError::Protocol(_) | EgressError::BodyAborted => Error::HttpProtocolError,
    }
}
