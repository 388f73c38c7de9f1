//! What work that a client asked for has to say before it is done: questions for the person, and how far it is. The work runs on
//! its own; who attends to it passes both on, by whatever way the client's revision of the protocol has.

use crate::approve;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use vespiary_kernel::policy::Answer;
use vespiary_kernel::ports::{Approver, Asked, BoxFuture};

tokio::task_local! {
    /// The voice of the work that this task does.
    static VOICE: Voice;
}

/// A question on its way to the person.
#[derive(Debug)]
pub struct Ask {
    /// What is asked, as the person reads it.
    pub text: String,
    /// What a yes is to.
    pub yes_to: &'static str,
    /// How long it may wait.
    pub time_max: Duration,
    /// Where the answer goes. Dropped: nobody answered.
    pub reply: oneshot::Sender<Answer>,
}

/// How far work is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Far {
    /// Done so far; only ever grows.
    pub done: f64,
    /// Of how much, where that is known.
    pub of: Option<f64>,
    /// In words.
    pub message: String,
}

/// The work's end of both.
#[derive(Debug, Clone)]
pub struct Voice {
    asks: mpsc::Sender<Ask>,
    far: watch::Sender<Far>,
}

/// The other end.
#[derive(Debug)]
pub struct Ear {
    /// Questions, one after the other.
    pub asks: mpsc::Receiver<Ask>,
    /// How far it is.
    pub far: watch::Receiver<Far>,
}

/// Both ends.
pub fn voice() -> (Voice, Ear) {
    let (asks, asked) = mpsc::channel(8);
    let (far, seen) = watch::channel(Far::default());
    (Voice { asks, far }, Ear { asks: asked, far: seen })
}

impl Voice {
    /// Do `work` with this voice: a call in it that has to be asked about is.
    pub async fn within<T>(self, work: impl Future<Output = T>) -> T {
        VOICE.scope(self, work).await
    }

    /// Say how far the work is.
    pub fn say(&self, far: Far) {
        self.far.send_replace(far);
    }

    /// Have the person answer.
    pub async fn ask(&self, text: String, yes_to: &'static str, time_max: Duration) -> Answer {
        let (reply, answer) = oneshot::channel();
        if self.asks.send(Ask { text, yes_to, time_max, reply }).await.is_err() {
            return Answer::Nobody("whoever asked for this is gone".into());
        }
        match tokio::time::timeout(time_max, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Answer::Nobody("the client that would ask them is gone".into()),
            Err(_) => Answer::Nobody(format!("{} seconds were over", time_max.as_secs())),
        }
    }
}

/// Asks the person through the client whose call it is.
#[derive(Debug)]
pub struct ThroughClient {
    time_max: Duration,
}

impl ThroughClient {
    /// Waits at most `time_max` for an answer.
    pub fn new(time_max: Duration) -> Self {
        Self { time_max }
    }
}

impl Approver for ThroughClient {
    fn ask<'a>(&'a self, asked: Asked<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let text = match approve::question(asked) {
                Ok(text) => text,
                Err(why) => return Answer::Nobody(why),
            };
            match VOICE.try_with(Clone::clone) {
                Ok(voice) => voice.ask(text, "Allow this one call", self.time_max).await,
                Err(_) => Answer::Nobody("this call belongs to no client that could ask".into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_finds_its_question_and_silence_is_nobody() {
        let (voice, mut ear) = voice();
        let asking = voice.clone();
        let asked = tokio::spawn(async move { asking.ask("really?".into(), "Yes", Duration::from_secs(60)).await });
        let ask = ear.asks.recv().await.unwrap();
        assert_eq!(ask.text, "really?");
        ask.reply.send(Answer::Yes).unwrap();
        assert_eq!(asked.await.unwrap(), Answer::Yes);

        let asking = voice.clone();
        let asked = tokio::spawn(async move { asking.ask("again?".into(), "Yes", Duration::from_secs(60)).await });
        drop(ear.asks.recv().await.unwrap());
        assert!(matches!(asked.await.unwrap(), Answer::Nobody(_)));

        assert!(matches!(voice.ask("late?".into(), "Yes", Duration::from_millis(5)).await, Answer::Nobody(_)));
        drop(ear);
        assert!(matches!(voice.ask("gone?".into(), "Yes", Duration::from_secs(60)).await, Answer::Nobody(_)));
    }
}
