//! Natively, a test says what comes back. What must never live here: a socket.

use super::{Request, Response};
use crate::{Error, Result};
use std::cell::RefCell;

type Answer = Box<dyn Fn(&Request) -> Result<Response>>;

thread_local! {
    static ANSWER: RefCell<Option<Answer>> = const { RefCell::new(None) };
}

/// Answers every request sent on this thread from now on. Native only, for tests.
pub fn mock(answer: impl Fn(&Request) -> Result<Response> + 'static) {
    ANSWER.set(Some(Box::new(answer)));
}

pub(super) fn send(request: &Request) -> Result<Response> {
    // Taken out while it runs, so that an answer may itself install another.
    let answer = ANSWER.take().ok_or_else(|| {
        Error::failed(format!(
            "nothing answers {} {} here: install answers with http::mock",
            request.method, request.url
        ))
    })?;
    let response = answer(request);
    ANSWER.with_borrow_mut(|slot| {
        slot.get_or_insert(answer);
    });
    response
}
