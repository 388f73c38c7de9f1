//! Bodies on their way, in both directions: counted as they pass, cut off where a limit is reached, never kept waiting longer
//! than the limits say. What goes out is searched for placeholders, what comes in is scrubbed of secrets.

use crate::rates::Turn;
use crate::scrub::ScrubStream;
use crate::secrets::PLACEHOLDER;
use crate::send::why;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use vespiary_kernel::account::Resource;
use vespiary_kernel::http::{BodyStream, EgressError, NetPass, Phase};
use vespiary_kernel::policy::Denial;

/// What an outgoing body tells the exchange it belongs to.
pub(crate) struct Progress {
    last: Mutex<Instant>,
    failure: Mutex<Option<EgressError>>,
}

impl Progress {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { last: Mutex::new(Instant::now()), failure: Mutex::new(None) })
    }

    /// When something was last sent.
    pub(crate) fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the body was cut off, if it was: the true cause of whatever went wrong afterwards.
    pub(crate) fn failure(&self) -> Option<EgressError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn moved(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn fail(&self, error: EgressError) -> EgressError {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error).clone()
    }
}

/// A request's body on its way out.
pub(crate) struct Outgoing {
    pub(crate) body: BodyStream,
    pub(crate) pass: Arc<NetPass>,
    pub(crate) progress: Arc<Progress>,
    /// What the guest declared and still owes.
    pub(crate) owed: Option<u64>,
    /// The whole exchange's end.
    pub(crate) deadline: Instant,
    /// What to say when a placeholder is found.
    pub(crate) misplaced: Denial,
}

impl Outgoing {
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Bytes, EgressError>> + Send + 'static {
        let seen = Tripwire::default();
        stream::unfold(Some((self, seen)), |state| async move {
            let (mut outgoing, mut seen) = state?;
            match outgoing.next(&mut seen).await {
                Ok(Some(piece)) => Some((Ok(piece), Some((outgoing, seen)))),
                Ok(None) => None,
                Err(error) => Some((Err(outgoing.progress.fail(error)), None)),
            }
        })
    }

    async fn next(&mut self, seen: &mut Tripwire) -> Result<Option<Bytes>, EgressError> {
        let idle = self.pass.limits().idle_time_max;
        let piece = within(idle, self.deadline, &self.pass, self.body.next()).await?;
        let Some(piece) = piece.transpose()? else {
            return match self.owed {
                None | Some(0) => Ok(None),
                Some(owed) => Err(EgressError::BadRequest(format!("its body ends {owed} bytes before content-length"))),
            };
        };
        let length = piece.len() as u64;
        if let Some(owed) = &mut self.owed {
            *owed = owed
                .checked_sub(length)
                .ok_or_else(|| EgressError::BadRequest("its body is longer than content-length".into()))?;
        }
        if seen.trips(&piece) {
            return Err(EgressError::Denied(self.misplaced.clone()));
        }
        self.pass.take(Resource::HttpBytesOut, length)?;
        self.progress.moved();
        Ok(Some(piece))
    }
}

/// Finds a placeholder that is cut by the border of two pieces.
#[derive(Default)]
struct Tripwire {
    tail: Vec<u8>,
}

impl Tripwire {
    fn trips(&mut self, piece: &[u8]) -> bool {
        let needle = PLACEHOLDER.as_bytes();
        let border = needle.len() - 1;
        self.tail.extend_from_slice(&piece[..piece.len().min(border)]);
        let found = holds(&self.tail, needle) || holds(piece, needle);
        if piece.len() >= border {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - border..]);
        } else {
            self.tail.drain(..self.tail.len().saturating_sub(border));
        }
        found
    }
}

pub(crate) fn holds(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

/// A response's body on its way in.
pub(crate) struct Incoming {
    pub(crate) response: reqwest::Response,
    pub(crate) pass: Arc<NetPass>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) idle_time_max: Duration,
    pub(crate) deadline: Instant,
    pub(crate) scrub: Option<ScrubStream>,
    /// Held for as long as the exchange lasts.
    pub(crate) _turn: Turn,
}

impl Incoming {
    pub(crate) fn into_stream(self) -> BodyStream {
        let pieces = stream::unfold(Some(self), |state| async move {
            let mut incoming = state?;
            match incoming.next().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(incoming))),
                // The end: what was held back is sure to be clean now, and the turn is given back.
                Ok(None) => {
                    let rest = incoming.scrub.take().map(|mut scrub| scrub.finish()).unwrap_or_default();
                    (!rest.is_empty()).then(|| (Ok(rest.into()), None))
                }
                Err(error) => Some((Err(error), None)),
            }
        });
        Box::pin(pieces)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, EgressError> {
        loop {
            let piece = within(self.idle_time_max, self.deadline, &self.pass, self.response.chunk()).await?;
            let piece = piece.map_err(|error| self.progress.failure().unwrap_or_else(|| broken(&error)))?;
            let Some(piece) = piece else { return Ok(None) };
            self.pass.take(Resource::HttpBytesIn, piece.len() as u64)?;
            let clean = match &mut self.scrub {
                None => piece,
                Some(scrub) => scrub.push(&piece).into(),
            };
            if !clean.is_empty() {
                return Ok(Some(clean));
            }
        }
    }
}

fn broken(error: &reqwest::Error) -> EgressError {
    EgressError::Protocol(format!("the response's body broke off: {}", why(error)))
}

/// Await the next piece, for as long as one piece and the whole exchange may take.
async fn within<T>(
    idle: Duration,
    deadline: Instant,
    pass: &NetPass,
    next: impl Future<Output = T>,
) -> Result<T, EgressError> {
    let until = Instant::now() + idle;
    timeout_at(until.min(deadline), next).await.map_err(|_| match deadline < until {
        true => EgressError::Timeout { phase: Phase::Whole, after: pass.limits().whole_time_max },
        false => EgressError::Timeout { phase: Phase::Idle, after: idle },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_placeholder_is_found_however_it_is_cut(
            before in "[{s]{0,12}", after in "[}a]{0,5}", cuts in prop::collection::vec(0usize..6, 1..30)
        ) {
            let whole = format!("{before}{PLACEHOLDER}{after}");
            let mut wire = Tripwire::default();
            let (mut rest, mut found) = (whole.as_bytes(), false);
            for cut in cuts {
                let (piece, more) = rest.split_at(cut.min(rest.len()));
                found |= wire.trips(piece);
                rest = more;
            }
            found |= wire.trips(rest);
            prop_assert!(found);
        }

        #[test]
        fn nothing_is_found_where_nothing_is(text in "[{scret:]{0,40}", cut in 0usize..40) {
            prop_assume!(!text.contains(PLACEHOLDER));
            let (a, b) = text.as_bytes().split_at(cut.min(text.len()));
            let mut wire = Tripwire::default();
            prop_assert!(!wire.trips(a) && !wire.trips(b));
        }
    }
}
