//! The way to a server over HTTP: the protocol's requests, sent through the kernel's egress. So each of them is judged like any
//! other request of a call, its host resolved once and every address judged; a redirect is an error that says where to.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http::{HeaderName, HeaderValue};
use rmcp::model::{ClientJsonRpcMessage, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::{Sse, SseStream};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use vespiary_kernel::call::Failure;
use vespiary_kernel::http::{BodyStream, Egress, EgressError, HttpRequest, HttpResponse, HttpTimes, NetPass};
use vespiary_kernel::net::NetTarget;

/// The longest answer, and the longest event of a stream, bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// How much of a refusal is read, bytes.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

const SESSION: &str = "mcp-session-id";
const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";

/// Sends the protocol's requests. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Way {
    egress: Arc<dyn Egress>,
    pass: Arc<NetPass>,
    /// Headers that go with every request.
    headers: Arc<BTreeMap<String, String>>,
    /// What stood in the way of the last request, where it was no fault of the server's.
    refused: Arc<Mutex<Option<Failure>>>,
}

/// A request that brought no answer.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Unsent(EgressError);

type Failed = StreamableHttpError<Unsent>;

impl Way {
    pub(crate) fn new(egress: Arc<dyn Egress>, pass: Arc<NetPass>, headers: BTreeMap<String, String>) -> Self {
        Self { egress, pass, headers: Arc::new(headers), refused: Arc::default() }
    }

    /// Why the last request was not sent, where a permission or a limit stood in its way. Told once.
    pub(crate) fn take_refused(&self) -> Option<Failure> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, error: EgressError) -> Failed {
        let failure = match &error {
            EgressError::Denied(denial) | EgressError::AddressDenied(denial) => Some(Failure::Denied(denial.clone())),
            EgressError::Limit(hit) => Some(Failure::Limit(hit.clone())),
            _ => None,
        };
        if failure.is_some() {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        }
        StreamableHttpError::Client(Unsent(error))
    }

    async fn send(&self, method: &str, uri: &str, sent: Sent<'_>) -> Result<HttpResponse, Failed> {
        let target = NetTarget::of_url(method, uri)
            .map_err(|bad| StreamableHttpError::UnexpectedServerResponse(bad.to_string().into()))?;
        let mut headers: BTreeMap<String, Vec<u8>> =
            self.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
        for (name, value) in sent.custom {
            headers.insert(name.as_str().to_owned(), value.as_bytes().to_vec());
        }
        headers.insert("accept".into(), sent.accept.into());
        headers.extend(sent.session.map(|session| (SESSION.to_owned(), session.as_bytes().to_vec())));
        headers.extend(sent.last_event.map(|event| ("last-event-id".to_owned(), event.into_bytes())));
        let body = sent.body.map(|body| {
            headers.insert("content-type".into(), JSON.into());
            headers.insert("content-length".into(), body.len().to_string().into_bytes());
            Box::pin(stream::once(std::future::ready(Ok(Bytes::from(body))))) as BodyStream
        });
        let request = HttpRequest { target, headers: headers.into_iter().collect(), body, times: HttpTimes::default() };
        self.egress.send(Arc::clone(&self.pass), request).await.map_err(|error| self.note(error))
    }

    /// The answer to a message that was posted.
    async fn answer(
        &self,
        message: &ClientJsonRpcMessage,
        with_session: bool,
        response: HttpResponse,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let awaits = matches!(message, ClientJsonRpcMessage::Request(_));
        let session = header(&response, SESSION).map(str::to_owned);
        let sort = header(&response, "content-type").unwrap_or_default().to_ascii_lowercase();
        match response.status {
            202 | 204 => Ok(StreamableHttpPostResponse::Accepted),
            404 if with_session => Err(StreamableHttpError::SessionExpired),
            200..=299 if sort.starts_with(EVENTS) => {
                Ok(StreamableHttpPostResponse::Sse(events(response.body), session))
            }
            // What a server says to a message that asks for nothing means nothing.
            200..=299 if !awaits => Ok(StreamableHttpPostResponse::Accepted),
            200..=299 => {
                let body = self.whole(response.body, MESSAGE_BYTES_MAX).await?;
                if !sort.starts_with(JSON) {
                    return Err(StreamableHttpError::UnexpectedContentType(Some(sort)));
                }
                Ok(StreamableHttpPostResponse::Json(serde_json::from_slice(&body)?, session))
            }
            _ => self.refusal(response).await.map(|error| StreamableHttpPostResponse::Json(error, session)),
        }
    }

    /// What a status other than success means: an error of the protocol, or a sentence about what to do.
    async fn refusal(&self, response: HttpResponse) -> Result<ServerJsonRpcMessage, Failed> {
        let status = response.status;
        let say = |why: String| Err(StreamableHttpError::UnexpectedServerResponse(why.into()));
        if (300..400).contains(&status) {
            let to = header(&response, "location").unwrap_or("nowhere").to_owned();
            return say(format!(
                "it redirects (HTTP {status}) to {to}, and redirects are not followed; if that is meant, write it as the server's url"
            ));
        }
        if matches!(status, 401 | 403) {
            return say(format!(
                "it wants to know who asks (HTTP {status}); give it a header, for example Authorization = \"Bearer ${{TOKEN}}\""
            ));
        }
        let body = self.whole(response.body, REFUSAL_BYTES_MAX).await.unwrap_or_default();
        match serde_json::from_slice::<ServerJsonRpcMessage>(&body) {
            Ok(error @ JsonRpcMessage::Error(_)) => Ok(error),
            _ => {
                let text = String::from_utf8_lossy(&body);
                let text = &text[..text.floor_char_boundary(300)];
                say(format!("HTTP {status}: {}", text.trim()))
            }
        }
    }

    /// All of a body, up to a bound.
    async fn whole(&self, mut body: BodyStream, bytes_max: usize) -> Result<Vec<u8>, Failed> {
        let mut all = Vec::new();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| self.note(error))?;
            if all.len() + piece.len() > bytes_max {
                return Err(StreamableHttpError::ResponseBodyTooLarge { max_size: bytes_max });
            }
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}

/// What goes with one request.
struct Sent<'a> {
    accept: &'a str,
    session: Option<Arc<str>>,
    last_event: Option<String>,
    custom: HashMap<HeaderName, HeaderValue>,
    body: Option<Vec<u8>>,
}

fn header<'a>(response: &'a HttpResponse, name: &str) -> Option<&'a str> {
    let value = response.headers.iter().find(|(own, _)| own == name)?;
    std::str::from_utf8(&value.1).ok()
}

/// A body as events, none of them longer than a message may be.
fn events(body: BodyStream) -> BoxStream<'static, Result<Sse, SseError>> {
    let mut event = Event::default();
    let pieces = body.map(move |piece| {
        let piece = piece.map_err(io::Error::other)?;
        event.observe(&piece)?;
        Ok::<_, io::Error>(piece)
    });
    SseStream::from_bytes_stream(pieces).boxed()
}

/// How long the event that is being read is so far.
#[derive(Default)]
struct Event {
    bytes: usize,
    line: usize,
}

impl Event {
    fn observe(&mut self, piece: &[u8]) -> io::Result<()> {
        for byte in piece {
            self.bytes += 1;
            match byte {
                b'\n' if self.line == 0 => self.bytes = 0,
                b'\n' => self.line = 0,
                b'\r' => {}
                _ => self.line += 1,
            }
            if self.bytes > MESSAGE_BYTES_MAX {
                return Err(io::Error::other(format!("an event of more than {MESSAGE_BYTES_MAX} bytes")));
            }
        }
        Ok(())
    }
}

impl StreamableHttpClient for Way {
    type Error = Unsent;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        custom: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let with_session = session.is_some();
        let body = Some(serde_json::to_vec(&message)?);
        let accept = "application/json, text/event-stream";
        let sent = Sent { accept, session, last_event: None, custom, body };
        let response = self.send("POST", &uri, sent).await?;
        self.answer(&message, with_session, response).await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        _: Option<String>,
        custom: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failed> {
        let sent = Sent { accept: JSON, session: Some(session), last_event: None, custom, body: None };
        self.send("DELETE", &uri, sent).await.map(drop)
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _: Option<String>,
        custom: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failed> {
        let with_session = session.is_some();
        let sent = Sent { accept: EVENTS, session, last_event, custom, body: None };
        let response = self.send("GET", &uri, sent).await?;
        let sort = header(&response, "content-type").unwrap_or_default().to_ascii_lowercase();
        match response.status {
            405 => Err(StreamableHttpError::ServerDoesNotSupportSse),
            404 if with_session => Err(StreamableHttpError::SessionExpired),
            200..=299 if sort.starts_with(EVENTS) => Ok(events(response.body)),
            200..=299 => Err(StreamableHttpError::UnexpectedContentType(Some(sort))),
            status => match self.refusal(response).await {
                Ok(_) => {
                    Err(StreamableHttpError::UnexpectedServerResponse(format!("HTTP {status} for its events").into()))
                }
                Err(error) => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_ends_at_an_empty_line_and_is_bounded() {
        let mut event = Event::default();
        let half = vec![b'x'; MESSAGE_BYTES_MAX / 2 + 10];
        for _ in 0..4 {
            event.observe(b"data: ").unwrap();
            event.observe(&half).unwrap();
            event.observe(b"\r\n\r\n").unwrap();
        }
        event.observe(&half).unwrap();
        event.observe(b"\n").unwrap();
        assert!(event.observe(&half).unwrap_err().to_string().contains("more than"));
    }
}
