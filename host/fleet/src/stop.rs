//! How a person stops a run: first gently, then firmly. Gentle lets running agents finish and starts no new ones, so the
//! script sees `null` for them and can still return what it has. Firm ends every cell at once.

use tokio::sync::watch;

/// How urgently a run should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Go on.
    None,
    /// Start nothing new.
    Gentle,
    /// End everything.
    Firm,
}

/// The handle; clone it into whatever listens for the person.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<Urgency>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(Urgency::None))
    }
}

impl Stop {
    /// Stop gently; asked again, firmly. Gives the urgency now in force.
    pub fn ask(&self) -> Urgency {
        self.0.send_modify(|urgency| {
            *urgency = if *urgency == Urgency::None { Urgency::Gentle } else { Urgency::Firm };
        });
        self.urgency()
    }

    /// Stop firmly at once.
    pub fn now(&self) {
        self.0.send_replace(Urgency::Firm);
    }

    /// What has been asked so far.
    pub fn urgency(&self) -> Urgency {
        *self.0.borrow()
    }

    /// Resolves when a stop of at least `urgency` has been asked.
    pub(crate) async fn reached(&self, urgency: Urgency) {
        let mut asked = self.0.subscribe();
        if asked.wait_for(|now| *now >= urgency).await.is_err() {
            // The sender lives in `self`, so it cannot be gone while we wait.
            std::future::pending::<()>().await;
        }
    }
}
