//! Asks the person at the terminal. Where there is no person, the answer is no; no text from a model, script or file can
//! answer, because the question goes to the terminal device itself and nothing else.
#![allow(clippy::disallowed_methods, reason = "this file is meant to touch the world: it opens the terminal")]

use crate::terminal::line;
use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::sync::Arc;
use tokio::sync::Mutex;
use vespiary_kernel::ids::RunId;
use vespiary_kernel::policy::Question;
use vespiary_kernel::ports::{Approver, BoxFuture};

/// What to do around a question, so that progress on the same terminal does not overwrite it.
pub type Quietly = Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

/// Asks on `/dev/tty`, one question at a time.
pub struct AtTerminal {
    quietly: Quietly,
    one_at_a_time: Mutex<()>,
}

impl std::fmt::Debug for AtTerminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtTerminal")
    }
}

impl AtTerminal {
    /// Asks inside `quietly`.
    pub fn new(quietly: Quietly) -> Self {
        Self { quietly, one_at_a_time: Mutex::new(()) }
    }
}

impl Approver for AtTerminal {
    fn ask<'a>(&'a self, _run: &'a RunId, question: &'a Question) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let _turn = self.one_at_a_time.lock().await;
            let scope = match question.scope.to_string() {
                scope if scope.is_empty() => "nothing: no directory and no other tool".to_owned(),
                scope => scope,
            };
            let text = format!(
                "\nvespiary: {} wants to run and would hold: {}\n          (asked because of --ask {})\n          Allow this call? [y/N] ",
                line(question.tool.as_str()),
                line(&scope),
                line(&question.rule.to_string()),
            );
            let quietly = Arc::clone(&self.quietly);
            let asked = tokio::task::spawn_blocking(move || {
                let mut yes = false;
                quietly(&mut || yes = ask(&text).unwrap_or(false));
                yes
            });
            asked.await.unwrap_or(false)
        })
    }
}

/// `None` where there is no terminal.
fn ask(text: &str) -> Option<bool> {
    let mut tty = File::options().read(true).write(true).open("/dev/tty").ok()?;
    if !tty.is_terminal() {
        return None;
    }
    tty.write_all(text.as_bytes()).ok()?;
    let mut answer = String::new();
    BufReader::new(tty).read_line(&mut answer).ok()?;
    Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
