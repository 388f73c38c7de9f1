//! Over the host's `wasi:http`. What must never live here: judgement; the host decides, and this says what it said.

use super::{Body, Request, Response};
use crate::{Denial, Error, Result};
use std::time::Duration;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
    http_error_code,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

/// What is asked for in one read.
const READ_BYTES: u64 = 64 << 10;

/// A body on its way. The stream goes before the body it belongs to.
pub(super) struct Incoming {
    stream: Option<InputStream>,
    _body: IncomingBody,
    what: String,
}

impl Incoming {
    pub(super) fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(stream) = &self.stream else { return Ok(None) };
        loop {
            match stream.blocking_read(READ_BYTES) {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Ok(Some(piece)),
                Err(StreamError::Closed) => {
                    self.stream = None;
                    return Ok(None);
                }
                Err(StreamError::LastOperationFailed(error)) => {
                    let failure = match http_error_code(&error) {
                        Some(code) => refused(&self.what, code),
                        None => Error::failed(format!("{}: the body broke off", self.what)),
                    };
                    drop(error);
                    self.stream = None;
                    return Err(failure);
                }
            }
        }
    }
}

pub(super) fn send(request: &Request) -> Result<Response> {
    let (scheme, authority, path) = request.parts()?;
    let place = path.split('?').next().unwrap_or("/");
    let what = format!("{} {authority}{place}", request.method);
    let out = OutgoingRequest::new(fields(request)?);
    let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
    let set = out
        .set_method(&method(&request.method))
        .and_then(|()| out.set_scheme(Some(&scheme)))
        .and_then(|()| out.set_authority(Some(authority)))
        .and_then(|()| out.set_path_with_query(Some(path)));
    set.map_err(|()| Error::invalid(format!("{what}: the method or the URL is not one that can be sent")))?;
    let body = match &request.body {
        Some(_) => Some(out.body().map_err(|()| Error::failed(format!("{what}: the body cannot be sent")))?),
        None => None,
    };
    let coming = handle(out, Some(options(request)?)).map_err(|code| refused(&what, code))?;
    if let Some((body, bytes)) = body.zip(request.body.as_deref()) {
        // A server may answer without reading all of a body; what it answers then says more than that the body broke off.
        if write(&body, bytes) {
            OutgoingBody::finish(body, None).map_err(|code| refused(&what, code))?;
        }
    }
    coming.subscribe().block();
    match coming.get() {
        Some(Ok(Ok(response))) => read(&response, what),
        Some(Ok(Err(code))) => Err(refused(&what, code)),
        Some(Err(())) | None => Err(Error::failed(format!("{what}: the host gave no response"))),
    }
}

fn fields(request: &Request) -> Result<Fields> {
    let fields = Fields::new();
    let length = request.body.as_ref().map(|body| ("content-length".to_owned(), body.len().to_string()));
    for (name, value) in request.headers.iter().chain(&length) {
        fields
            .append(name, value.as_bytes())
            .map_err(|error| Error::invalid(format!("the header {name:?} cannot be sent: {error}")))?;
    }
    Ok(fields)
}

fn options(request: &Request) -> Result<RequestOptions> {
    let options = RequestOptions::new();
    let nanos = |time: Option<Duration>| time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let set = options
        .set_connect_timeout(nanos(request.connect_timeout))
        .and_then(|()| options.set_first_byte_timeout(nanos(request.timeout)))
        .and_then(|()| options.set_between_bytes_timeout(nanos(request.timeout)));
    set.map_err(|()| Error::failed("the host takes no time limits"))?;
    Ok(options)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

/// Whether all of it was taken.
fn write(body: &OutgoingBody, bytes: &[u8]) -> bool {
    let Ok(stream) = body.write() else { return false };
    write_all(&stream, bytes).is_ok()
}

fn write_all(stream: &OutputStream, mut bytes: &[u8]) -> Result<(), StreamError> {
    while !bytes.is_empty() {
        let room = usize::try_from(stream.check_write()?).unwrap_or(usize::MAX);
        if room == 0 {
            stream.subscribe().block();
            continue;
        }
        let (piece, rest) = bytes.split_at(room.min(bytes.len()));
        stream.write(piece)?;
        bytes = rest;
    }
    stream.blocking_flush()
}

fn read(response: &IncomingResponse, what: String) -> Result<Response> {
    let gone = || Error::failed(format!("{what}: the response has no body to read"));
    let (status, headers) = (response.status(), response.headers().entries());
    let body = response.consume().map_err(|()| gone())?;
    let stream = body.stream().map_err(|()| gone())?;
    Ok(Response { status, headers, body: Body::Coming(Incoming { stream: Some(stream), _body: body, what }) })
}

/// The host's refusal in words. What was held and what to grant stands in the call's log, where the host writes it.
fn refused(what: &str, code: ErrorCode) -> Error {
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => Error::Denied(Denial {
            needed: format!("net:{what}"),
            held: String::new(),
            hint: "The call's log says what was held and what to grant.".into(),
        }),
        ErrorCode::HttpRequestUriInvalid => Error::invalid(format!("{what}: the URL cannot be sent")),
        ErrorCode::InternalError(Some(why)) => Error::failed(format!("{what}: {why}")),
        ErrorCode::DnsError(error) => {
            Error::failed(format!("{what}: the name cannot be resolved: {}", error.rcode.unwrap_or_default()))
        }
        ErrorCode::ConnectionRefused => Error::failed(format!("{what}: the connection was refused")),
        ErrorCode::ConnectionTimeout => Error::failed(format!("{what}: no connection in time")),
        ErrorCode::HttpResponseTimeout => Error::failed(format!("{what}: no response in time")),
        ErrorCode::ConnectionReadTimeout => Error::failed(format!("{what}: the server stopped sending")),
        ErrorCode::TlsCertificateError => Error::failed(format!("{what}: the server's certificate is not trusted")),
        ErrorCode::HttpProtocolError => Error::failed(format!("{what}: the server broke HTTP")),
        other => Error::failed(format!("{what}: {other}")),
    }
}
