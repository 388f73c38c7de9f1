//! Requests over HTTP, to the hosts the plugin declared and the caller granted. The host judges each one, connects and speaks
//! TLS; a plugin never sees an address or a secret. Redirects come back as responses: follow one by sending a new request.
//!
//! ```
//! # vespiary_sdk::http::mock(|_| Ok(vespiary_sdk::http::Response::new(200, r#"{"stars": 3}"#)));
//! use vespiary_sdk::http::{Request, secret};
//!
//! let stars: serde_json::Value = Request::get("https://api.example.com/repos/bees")
//!     .header("authorization", format!("Bearer {}", secret("API_TOKEN")))
//!     .send()?
//!     .json()?;
//! # assert_eq!(stars["stars"], 3);
//! # Ok::<(), vespiary_sdk::Error>(())
//! ```
//!
//! What lives here: what authors use. What must never live here: a connection; natively a test answers, see [`mock`].

#[cfg(target_family = "wasm")]
mod cell;
#[cfg(not(target_family = "wasm"))]
mod native;

#[cfg(target_family = "wasm")]
use cell as sys;
#[cfg(not(target_family = "wasm"))]
use native as sys;
#[cfg(not(target_family = "wasm"))]
pub use native::mock;

use crate::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;
use std::time::Duration;

/// The placeholder of a secret. The host puts the value in its place, in the header the secret is bound to and for the hosts
/// it is granted for; anywhere else the request is refused.
pub fn secret(name: &str) -> String {
    format!("{{{{secret:{name}}}}}")
}

/// A request to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// In capital letters.
    pub method: String,
    /// Absolute, `https://HOST/PATH`.
    pub url: String,
    /// In the order in which they were given.
    pub headers: Vec<(String, String)>,
    /// Sent with its length.
    pub body: Option<Vec<u8>>,
    /// The longest to wait for a connection; the host's own limit holds too.
    pub connect_timeout: Option<Duration>,
    /// The longest to wait for the response, and between its pieces; the host's own limits hold too.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request with any method, in capital letters.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        let (method, url) = (method.into(), url.into());
        Self { method, url, headers: Vec::new(), body: None, connect_timeout: None, timeout: None }
    }

    /// A `GET` request.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A `POST` request.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Some(bytes.into());
        self
    }

    /// Sets a body of JSON, and its content type.
    ///
    /// # Errors
    /// `Failed` where `value` cannot be JSON.
    pub fn json(self, value: &impl Serialize) -> Result<Self> {
        let bytes = serde_json::to_vec(value)?;
        Ok(self.header("content-type", "application/json").body(bytes))
    }

    /// Waits no longer than this for the response, and between its pieces.
    #[must_use]
    pub fn timeout(mut self, longest: Duration) -> Self {
        self.timeout = Some(longest);
        self
    }

    /// Sends it, and waits for the response's headers. Any status is a response: see [`Response::success`].
    ///
    /// # Errors
    /// `Denied` where the caller did not grant it, `InvalidArguments` where it cannot be sent at all, `Failed` where there is no
    /// response. The call's log says more.
    pub fn send(&self) -> Result<Response> {
        sys::send(self)
    }

    /// Scheme, authority, and path with query.
    #[cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "natively nothing is sent"))]
    fn parts(&self) -> Result<(&str, &str, &str)> {
        let url = self.url.split('#').next().unwrap_or("");
        let (scheme, rest) = url
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
            .ok_or_else(|| Error::invalid(format!("{:?} is no URL: write https://HOST/PATH", self.url)))?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        Ok((scheme, authority, if path.is_empty() { "/" } else { path }))
    }
}

/// Headers are named, not shown: some hold what nobody should read in a log.
impl fmt::Debug for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        out.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &self.url)
            .field("headers", &names)
            .finish()
    }
}

/// What came back. The body is read from the network as it is asked for.
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Body,
}

enum Body {
    Whole(Option<Vec<u8>>),
    #[cfg(target_family = "wasm")]
    Coming(cell::Incoming),
}

impl Response {
    /// A response with a whole body, for tests.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: Body::Whole(Some(body.into())) }
    }

    /// The same with a header, for tests.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.as_bytes().to_vec()));
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header of that name, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// All headers, names in lower case.
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.headers
    }

    /// This response where its status is 200 to 299.
    ///
    /// # Errors
    /// `NotFound` for 404 and 410, `Failed` for every other status, with the beginning of the body.
    pub fn success(mut self) -> Result<Self> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let said = self.chunk()?.unwrap_or_default();
        let said = String::from_utf8_lossy(&said[..said.len().min(200)]).into_owned();
        let message = format!("the server answered {}: {said}", self.status);
        Err(if matches!(self.status, 404 | 410) { Error::not_found(message) } else { Error::failed(message) })
    }

    /// The next piece of the body, or `None` at its end.
    ///
    /// # Errors
    /// `Failed` where the body breaks off.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        match &mut self.body {
            Body::Whole(bytes) => Ok(bytes.take().filter(|bytes| !bytes.is_empty())),
            #[cfg(target_family = "wasm")]
            Body::Coming(body) => body.chunk(),
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// `Failed` where the body breaks off.
    pub fn bytes(mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = self.chunk()? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// `Failed` where it breaks off or is not UTF-8.
    pub fn text(self) -> Result<String> {
        Ok(String::from_utf8(self.bytes()?)?)
    }

    /// The whole body, read from JSON.
    ///
    /// # Errors
    /// `Failed` where it breaks off or does not have the shape of `R`.
    pub fn json<R: DeserializeOwned>(self) -> Result<R> {
        Ok(serde_json::from_slice(&self.bytes()?)?)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let parts = |url: &str| Request::get(url).parts().map(|(s, a, p)| format!("{s} {a} {p}"));
        assert_eq!(parts("https://a.example/b?c#d").unwrap(), "https a.example /b?c");
        assert_eq!(parts("http://[::1]:80?c").unwrap(), "http [::1]:80 ?c");
        assert_eq!(parts("https://a.example").unwrap(), "https a.example /");
        assert!(parts("a.example/b").is_err() && parts("file:///etc/passwd").is_err());
    }

    #[test]
    fn a_status_becomes_an_error_when_asked_to() {
        assert!(Response::new(204, "").success().is_ok());
        assert!(
            matches!(Response::new(404, "no bees").success(), Err(Error::NotFound(why)) if why.contains("no bees"))
        );
        assert!(matches!(Response::new(503, "").success(), Err(Error::Failed(_))));
    }

    #[test]
    fn without_answers_nothing_is_sent() {
        let refused = Request::get("https://a.example/").send().unwrap_err();
        assert!(refused.to_string().contains("http::mock"), "{refused}");
        mock(|request| Ok(Response::new(200, request.url.clone()).with("X-Seen", "yes")));
        let answer = Request::get("https://a.example/").header("authorization", secret("T")).send().unwrap();
        assert_eq!((answer.header("x-seen"), answer.status()), (Some("yes"), 200));
        assert_eq!(answer.text().unwrap(), "https://a.example/");
    }

    #[test]
    fn what_is_in_a_header_is_not_printed() {
        assert!(!format!("{:?}", Request::get("https://a.example/").header("x", "hidden")).contains("hidden"));
        assert_eq!(secret("A"), "{{secret:A}}");
    }
}
