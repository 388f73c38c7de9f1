//! Asks the person at the terminal. Where there is no person, or none who answers in time, nobody said yes. No text from a
//! model, script or file can answer, because the question goes to the terminal device itself and nothing else; none can pass
//! for part of the question, because every line of it that comes from elsewhere is marked and harmless.
//!
//! A yes is for one call. "Always" is not offered: it would have to be bound to the rule, the tool, the scope and the agent to
//! keep one agent's yes from another's calls, and even then it would say yes to arguments nobody has seen. Whoever does not
//! want to be asked takes the rule away.
#![allow(clippy::disallowed_methods, reason = "this file is meant to touch the world: it opens the terminal")]

use crate::terminal::{clipped, line};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{QueueSelector, tcflush, tcgetpgrp};
use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use vespiary_kernel::gate::Matter;
use vespiary_kernel::ids::{AgentId, RunId};
use vespiary_kernel::policy::Answer;
use vespiary_kernel::ports::{Approver, Asked, BoxFuture};

/// What to do around a question, so that progress on the same terminal does not overwrite it.
pub type Quietly = Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

/// Characters of arguments that are shown; a longer text is cut, and how much is missing is said.
const ARGUMENTS_CHARS_MAX: usize = 600;
/// Characters of one line of the scope.
const LINE_CHARS_MAX: usize = 400;
/// Lines of the scope that are shown. A scope with more is not one that a person can judge.
const SCOPE_LINES_MAX: usize = 40;
/// How often a waiting question looks whether it still matters.
const GLANCE: Duration = Duration::from_millis(200);

/// Asks on `/dev/tty`, one question at a time.
pub struct AtTerminal {
    quietly: Quietly,
    time_max: Duration,
    /// Since when nobody has answered: whoever had been waiting by then waits no longer. Held by whoever asks.
    unanswered: Mutex<Option<Instant>>,
    /// Calls that wait to be asked about. A gate, which may wait for long, lets them go first.
    calls: AtomicUsize,
}

/// Counted while it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for AtTerminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtTerminal")
    }
}

impl AtTerminal {
    /// Asks inside `quietly`, and waits at most `time_max` for each answer.
    pub fn new(quietly: Quietly, time_max: Duration) -> Self {
        Self { quietly, time_max, unanswered: Mutex::new(None), calls: AtomicUsize::new(0) }
    }

    /// Have the person at the terminal decide a gate. There is no time limit, and no answer that is taken for one: only a yes or a
    /// no ends it. None: there is no person, or no longer. Dropping the future takes the question back.
    pub async fn decide(self: &Arc<Self>, run: &RunId, matter: &Matter) -> Option<bool> {
        // Without either, nobody sees the question where it is asked, or what came before it.
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return None;
        }
        let text = gate_text(run, matter);
        let taken_back = TakenBack::default();
        loop {
            let turn = self.unanswered.lock().await;
            let (this, gone, text) = (Arc::clone(self), Arc::clone(&taken_back.0), text.clone());
            let asking = tokio::task::spawn_blocking(move || {
                let mut said = Said::Nobody;
                (this.quietly)(&mut || said = ask_gate(&text, &this.calls, &gone));
                said
            });
            let said = asking.await.unwrap_or(Said::Nobody);
            drop(turn);
            match said {
                Said::Yes => return Some(true),
                Said::No => return Some(false),
                Said::Nobody => return None,
                Said::Later => tokio::time::sleep(GLANCE).await,
            }
        }
    }
}

impl Approver for AtTerminal {
    fn ask<'a>(&'a self, asked: Asked<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let since = Instant::now();
            let text = match text(asked, self.time_max) {
                Ok(text) => text,
                Err(why) => return Answer::Nobody(why),
            };
            let waiting = Waiting::among(&self.calls);
            let mut unanswered = self.unanswered.lock().await;
            drop(waiting);
            // A thousand agents that each wait their minute in turn would hang for a night.
            if unanswered.is_some_and(|at| since < at) {
                return Answer::Nobody("nobody answered a question that was asked before".into());
            }
            let taken_back = TakenBack::default();
            let (quietly, time_max, gone) = (Arc::clone(&self.quietly), self.time_max, Arc::clone(&taken_back.0));
            let asking = tokio::task::spawn_blocking(move || {
                let mut answer = Answer::Nobody("the question was never shown".into());
                quietly(&mut || answer = ask(&text, time_max, &gone));
                answer
            });
            let answer = asking.await.unwrap_or_else(|_| Answer::Nobody("the question could not be shown".into()));
            if matches!(answer, Answer::Nobody(_)) {
                *unanswered = Some(Instant::now());
            }
            answer
        })
    }
}

/// Tells the thread at the terminal that the call is gone.
#[derive(Default)]
struct TakenBack(Arc<AtomicBool>);

impl Drop for TakenBack {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The question as it is shown at the terminal.
fn text(asked: Asked<'_>, time_max: Duration) -> Result<String, String> {
    let said = question(asked)?;
    let seconds = time_max.as_secs();
    Ok(format!("\n{said}Allow this one call? Without an answer in {seconds} seconds: no. [y/N] "))
}

/// The question as a person reads it, line by line, wherever they are asked; or why it is none that a person can judge.
pub fn question(asked: Asked<'_>) -> Result<String, String> {
    let question = asked.question;
    let whose = match asked.agent {
        AgentId::ROOT => "the run itself".to_owned(),
        agent => format!("agent {agent}"),
    };
    let mut out = format!("vespiary asks about one call in run {}\n", line(asked.run.as_str()));
    out.push_str(&format!("  tool   {}\n  for    {whose}\n", line(question.tool.as_str())));
    // Whatever stands behind a bar comes from a script, a model or a guest.
    let arguments = asked.arguments.as_str();
    let chars = arguments.chars().count();
    let rest = chars.saturating_sub(ARGUMENTS_CHARS_MAX);
    let shown: String = arguments.chars().take(ARGUMENTS_CHARS_MAX).collect();
    out.push_str(&format!("  with | {}\n", line(&shown)));
    if rest > 0 {
        out.push_str(&format!("       | ({rest} more characters, not shown)\n"));
    }
    let scope: Vec<String> = question.scope.iter().map(ToString::to_string).collect();
    if scope.len() > SCOPE_LINES_MAX || scope.iter().any(|held| held.chars().count() > LINE_CHARS_MAX) {
        return Err(format!(
            "its scope is too long to be judged at a terminal: {} capabilities; grant fewer, broader ones",
            scope.len()
        ));
    }
    for (at, held) in scope.iter().enumerate() {
        out.push_str(&format!("  {} {}\n", if at == 0 { "holds " } else { "      " }, line(held)));
    }
    if scope.is_empty() {
        out.push_str("  holds  nothing: no directory and no other tool\n");
    }
    let rule = line(&question.rule.to_string()).into_owned();
    out.push_str(&format!("  asked because of ask {rule} ({})\n", clipped(&question.place, LINE_CHARS_MAX)));
    Ok(out)
}

/// What came of asking about a gate.
enum Said {
    Yes,
    No,
    /// A call has to be asked about first.
    Later,
    Nobody,
}

/// Characters of a payload that are shown at the terminal; how many more there are is said, and where to read them.
const PAYLOAD_CHARS_MAX: usize = 4_000;

/// A gate as it is shown at the terminal.
fn gate_text(run: &RunId, matter: &Matter) -> String {
    let said = gate_question(run, matter);
    format!("\n{said}Approve exactly this? It can also be decided elsewhere. [y/n] ")
}

/// A gate as a person reads it, wherever they are asked. Whatever stands behind a bar comes from the script.
pub fn gate_question(run: &RunId, matter: &Matter) -> String {
    let payload = matter.payload().as_str();
    let rest = payload.chars().count().saturating_sub(PAYLOAD_CHARS_MAX);
    let shown: String = payload.chars().take(PAYLOAD_CHARS_MAX).collect();
    let mut out = format!(
        "vespiary: run {} waits for your decision\n  gate    {}\n  about | {}\n  with  | {}\n",
        line(run.as_str()),
        matter.digest().short(),
        line(matter.title()),
        line(&shown)
    );
    if rest > 0 {
        out.push_str(&format!("        | ({rest} more characters; `vespiary runs show {run}` has them)\n"));
    }
    out
}

/// Show `text` at the terminal and wait for a yes or a no.
fn ask_gate(text: &str, calls: &AtomicUsize, taken_back: &AtomicBool) -> Said {
    let Ok(mut tty) = open_terminal() else { return Said::Nobody };
    if tcflush(&tty, QueueSelector::IFlush).is_err() || tty.write_all(text.as_bytes()).is_err() {
        return Said::Nobody;
    }
    loop {
        if taken_back.load(Ordering::Relaxed) {
            let _ = tty.write_all(b"decided elsewhere, or no longer asked\n");
            return Said::Nobody;
        }
        if calls.load(Ordering::Relaxed) > 0 {
            let _ = tty.write_all(b"asked again later\n");
            return Said::Later;
        }
        let wait = Timespec { tv_sec: 0, tv_nsec: GLANCE.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&tty, PollFlags::IN)], Some(&wait)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => return Said::Nobody,
        }
        let mut line = [0; 64];
        match tty.read(&mut line) {
            Ok(n @ 1..) => match line[..n].trim_ascii().to_ascii_lowercase().as_slice() {
                b"y" | b"yes" => return Said::Yes,
                b"n" | b"no" => return Said::No,
                _ if tty.write_all(b"y or n: ").is_ok() => {}
                _ => return Said::Nobody,
            },
            _ => return Said::Nobody,
        }
    }
}

/// Have the person at the terminal say yes or no to `text`, which ends in the question. None: there is none. Blocks.
pub fn confirm(text: &str) -> Option<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return None;
    }
    match ask_gate(text, &AtomicUsize::new(0), &AtomicBool::new(false)) {
        Said::Yes => Some(true),
        Said::No => Some(false),
        Said::Later | Said::Nobody => None,
    }
}

/// The terminal device, if this program may ask there.
fn open_terminal() -> Result<File, &'static str> {
    let open = File::options().read(true).write(true).open("/dev/tty");
    let tty = open.ok().filter(|tty| tty.is_terminal()).ok_or("there is no terminal")?;
    // Reading from the background would stop the whole program.
    if tcgetpgrp(&tty).ok() != Some(rustix::process::getpgrp()) {
        return Err("this program is not in the terminal's foreground");
    }
    Ok(tty)
}

/// Show `text` at the terminal and read one line of answer.
fn ask(text: &str, time_max: Duration, taken_back: &AtomicBool) -> Answer {
    let nobody = |why: &str| Answer::Nobody(why.to_owned());
    let mut tty = match open_terminal() {
        Ok(tty) => tty,
        Err(why) => return nobody(why),
    };
    // What was typed before the question was shown answers nothing.
    if tcflush(&tty, QueueSelector::IFlush).is_err() || tty.write_all(text.as_bytes()).is_err() {
        return nobody("the terminal cannot be written to");
    }
    let until = Instant::now() + time_max;
    let answer = loop {
        if taken_back.load(Ordering::Relaxed) {
            break nobody("the call was given up");
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break nobody(&format!("{} seconds were over", time_max.as_secs()));
        }
        let left = left.min(GLANCE);
        let wait = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().max(1).into() };
        match poll(&mut [PollFd::new(&tty, PollFlags::IN)], Some(&wait)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => break read(&mut tty),
            Err(_) => break nobody("the terminal is gone"),
        }
    };
    if matches!(answer, Answer::Nobody(_)) {
        let _ = tty.write_all(b"no answer\n");
    }
    answer
}

/// One line, which the terminal hands over when it is complete.
fn read(tty: &mut File) -> Answer {
    let mut line = [0; 64];
    match tty.read(&mut line) {
        Ok(n @ 1..) => match line[..n].trim_ascii().to_ascii_lowercase().as_slice() {
            b"y" | b"yes" => Answer::Yes,
            _ => Answer::No,
        },
        _ => Answer::Nobody("the terminal is gone".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vespiary_kernel::grant::Grant;
    use vespiary_kernel::ids::RunId;
    use vespiary_kernel::json::Json;
    use vespiary_kernel::policy::Question;

    fn shown(arguments: serde_json::Value, scope: &[&str]) -> Result<String, String> {
        let question = Question {
            tool: "files.write".parse().unwrap(),
            scope: Grant::of_run(scope.iter().map(|c| c.parse().unwrap())),
            rule: "write:out".parse().unwrap(),
            place: "/etc/vespiary/policy.toml:3".into(),
        };
        let (run, arguments): (RunId, _) = ("r-1".parse().unwrap(), Json::of(&arguments).unwrap());
        text(
            Asked { run: &run, agent: AgentId::ROOT, arguments: &arguments, question: &question },
            Duration::from_secs(60),
        )
    }

    #[test]
    fn a_question_lists_its_scope_line_by_line() {
        let text = shown(serde_json::json!({ "path": "out/a" }), &["read:.", "write:out"]).unwrap();
        assert_eq!(
            text,
            "\nvespiary asks about one call in run r-1\n  tool   files.write\n  for    the run itself\n  with | {\"path\":\"out/a\"}\n  \
             holds  read:.\n         write:out\n  asked because of ask write:out (/etc/vespiary/policy.toml:3)\n\
             Allow this one call? Without an answer in 60 seconds: no. [y/N] "
        );
        assert!(shown(serde_json::json!({}), &[]).unwrap().contains("holds  nothing"));
    }

    #[test]
    fn arguments_can_neither_forge_a_line_nor_hide_the_end() {
        let forged = "x\n  holds  nothing\u{1b}[1A\u{202e}\r".repeat(100);
        let text = shown(serde_json::json!({ "path": forged }), &["write:out"]).unwrap();
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains('\r'));
        assert_eq!(text.lines().filter(|line| line.starts_with("  holds")).collect::<Vec<_>>(), ["  holds  write:out"]);
        assert!(text.contains("more characters, not shown)"));
        assert!(text.ends_with("[y/N] "));
    }

    #[test]
    fn a_gate_shows_what_is_decided_and_nothing_of_it_is_obeyed() {
        let payload = Json::of(&serde_json::json!({ "to": "prod\n  gate    000\u{1b}[2J\u{202e}" })).unwrap();
        let matter = Matter::new("Deploy?\r\n  about | nothing\u{9b}2J", &payload).unwrap();
        let text = gate_text(&"r-1".parse().unwrap(), &matter);
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{9b}', '\r']), "{text:?}");
        assert_eq!(text.lines().filter(|line| line.starts_with("  gate ")).count(), 1);
        assert_eq!(text.lines().filter(|line| line.starts_with("  about |")).count(), 1);
        assert!(text.contains(&matter.digest().short()) && text.ends_with("[y/n] "));
        let long = Json::of(&"x".repeat(9_000)).unwrap();
        let text = gate_text(&"r-1".parse().unwrap(), &Matter::new("t", &long).unwrap());
        assert!(text.contains("(5002 more characters; `vespiary runs show r-1` has them)"), "{text}");
    }

    #[test]
    fn a_scope_nobody_can_read_is_not_asked_about() {
        let many: Vec<String> = (0..50).map(|n| format!("read:dir{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(shown(serde_json::json!({}), &many).unwrap_err().contains("too long"));
    }
}
