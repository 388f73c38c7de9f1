//! Requests past the SDK, which is polite, and the arguments of all attacks.

use schemars::JsonSchema;
use serde::Deserialize;
use vespiary_sdk::http::Request;
use vespiary_sdk::{Error, Result};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, Scheme};

/// What an attack is aimed at.
#[derive(Deserialize, JsonSchema)]
pub struct Target {
    /// A host the attack may be allowed to ask.
    pub host: String,
    /// The port of the server on this machine.
    pub port: u16,
}

impl Target {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.host, self.port)
    }
}

/// One request, as badly formed as the interface lets it be.
pub struct Raw<'a> {
    pub method: &'a str,
    pub scheme: Scheme,
    pub authority: &'a str,
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a [u8])],
    pub body: &'a [u8],
}

impl Raw<'_> {
    pub fn get<'a>(authority: &'a str, path: &'a str) -> Raw<'a> {
        Raw { method: "GET", scheme: Scheme::Http, authority, path, headers: &[], body: &[] }
    }

    /// The status of the response, or how far it came.
    pub fn send(&self) -> Result<u16> {
        let fields = Fields::new();
        for (name, value) in self.headers {
            fields.append(name, value).map_err(|error| Error::failed(format!("{name}: {error}")))?;
        }
        let request = OutgoingRequest::new(fields);
        let no = |what: &str| Error::failed(format!("{what}: refused when it was set"));
        request.set_method(&Method::Other(self.method.into())).map_err(|()| no("method"))?;
        request.set_scheme(Some(&self.scheme)).map_err(|()| no("scheme"))?;
        request.set_authority(Some(self.authority)).map_err(|()| no("authority"))?;
        request.set_path_with_query(Some(self.path)).map_err(|()| no("path"))?;
        let body = if self.body.is_empty() { None } else { request.body().ok() };
        let coming = handle(request, None).map_err(|code| Error::failed(format!("handle: {code}")))?;
        if let Some(body) = body {
            if let Ok(stream) = body.write() {
                let _ = stream.blocking_write_and_flush(self.body);
            }
            let _ = OutgoingBody::finish(body, None);
        }
        coming.subscribe().block();
        match coming.get() {
            Some(Ok(Ok(response))) => Ok(response.status()),
            Some(Ok(Err(code))) => Err(Error::failed(format!("refused: {code:?}"))),
            _ => Err(Error::failed("no answer")),
        }
    }
}

/// Tries all of them. One that gets through is the attack's success; otherwise all refusals are told, one a line.
pub fn each<'a, T: std::fmt::Debug>(tries: impl IntoIterator<Item = (&'a str, Result<T>)>) -> Result<String> {
    let mut told = Vec::new();
    for (what, tried) in tries {
        match tried {
            Ok(loot) => return Ok(format!("{what} got through: {loot:?}")),
            Err(error) => told.push(format!("{what}: {error}")),
        }
    }
    Err(Error::failed(told.join("\n")))
}

/// The body of an answer.
pub fn fetch(url: impl Into<String>) -> Result<String> {
    Request::get(url).send()?.text()
}
