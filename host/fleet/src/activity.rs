//! Whether anything in a run can still get on by itself. Everything that can holds a token; a script that waits for its jobs and
//! a gate that waits for somebody far away hold none. When the last token is gone, the run is over: nobody can start anything
//! any more, so what was seen as the end is the end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The tokens of one run.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    state: Mutex<State>,
    over: Notify,
}

#[derive(Debug, Default)]
struct State {
    tokens: usize,
    over: bool,
}

/// Held by what gets on by itself.
#[derive(Debug)]
pub(crate) struct Token(Arc<Activity>);

impl Activity {
    /// A token. None: the run is over.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Token> {
        let mut state = self.state();
        if state.over {
            return None;
        }
        state.tokens += 1;
        drop(state);
        Some(Token(Arc::clone(self)))
    }

    /// The same, for what has nothing left to do when the run is over: it waits to be taken down.
    pub(crate) async fn resume(self: &Arc<Self>) -> Token {
        match self.begin() {
            Some(token) => token,
            None => std::future::pending().await,
        }
    }

    /// Resolves when the last token is gone.
    pub(crate) async fn over(&self) {
        loop {
            let told = self.over.notified();
            if self.state().over {
                return;
            }
            told.await;
        }
    }

    /// A poisoned lock only means that a thread died between two counts; the numbers are what they were.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.tokens -= 1;
        if state.tokens == 0 {
            state.over = true;
            self.0.over.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_token_ends_it_for_good() {
        let soon = |future| tokio::time::timeout(std::time::Duration::from_secs(1), future);
        let activity = Arc::new(Activity::default());
        let (one, two) = (activity.begin().unwrap(), activity.begin().unwrap());
        drop(one);
        assert!(soon(activity.over()).await.is_err());
        let three = activity.begin().unwrap();
        drop(two);
        drop(three);
        assert!(soon(activity.over()).await.is_ok());
        assert!(activity.begin().is_none(), "what comes later comes too late");
    }
}
