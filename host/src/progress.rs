//! What a person sees while a run goes: phases, agents done, running and queued, calls a second. A bar on a terminal, plain
//! lines elsewhere, on standard error. The run only counts into atomics and hands over lines; a thread of our own draws, so
//! drawing never holds a run up.

use crate::approve::Quietly;
use crate::report::{count, duration, thousands};
use crate::terminal::{Style, clipped};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vespiary_fleet::watch::{Progress, Watch};

/// How often the bar is brought up to date.
const REDRAW: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Lines that wait to be drawn; more are counted and dropped: all of them are in the ledger.
const LINES_MAX: usize = 1_000;

/// What there has been so far.
pub type Totals = Arc<dyn Fn() -> Total + Send + Sync>;

/// What nobody tells the display one by one.
#[derive(Debug, Clone, Copy)]
pub struct Total {
    /// Calls, those of all agents.
    pub calls: u64,
    /// Agents that an agent started and of which the display was not told.
    pub agents_of_agents: u64,
}

/// Follows one run.
#[derive(Debug)]
pub struct Display {
    counts: Arc<Counts>,
    lines: Mutex<Option<SyncSender<Line>>>,
    drawer: Mutex<Option<JoinHandle<()>>>,
    bars: MultiProgress,
}

#[derive(Debug, Default)]
struct Counts {
    queued: AtomicU64,
    started: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    lines_dropped: AtomicU64,
}

#[derive(Debug)]
enum Line {
    Name(String),
    Phase(String),
    Log(String),
    Failed(String),
}

impl Display {
    /// Start drawing.
    pub fn start(totals: Totals) -> Arc<Self> {
        let terminal = std::io::stderr().is_terminal();
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15));
        let counts = Arc::new(Counts::default());
        let (lines, queue) = sync_channel(LINES_MAX);
        let drawer = Drawer::new(Arc::clone(&counts), totals, bars.clone());
        let drawer = std::thread::Builder::new()
            .name("progress".into())
            .spawn(move || if terminal { drawer.bars(&queue) } else { drawer.plain(&queue) });
        // Without the thread nothing is drawn, and the run goes on all the same.
        Arc::new(Self { counts, lines: Mutex::new(Some(lines)), drawer: Mutex::new(drawer.ok()), bars })
    }

    /// A way to use the terminal without the bar in between.
    pub fn quietly(&self) -> Quietly {
        let bars = self.bars.clone();
        Arc::new(move |f| bars.suspend(f))
    }

    /// Draw what is left and stop.
    pub fn finish(&self) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(drawer) = self.drawer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = drawer.join();
        }
    }

    fn say(&self, line: Line) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.as_ref().is_some_and(|lines| lines.try_send(line).is_err()) {
            self.counts.lines_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Watch for Display {
    fn see(&self, progress: Progress<'_>) {
        let one_more = |n: &AtomicU64| n.fetch_add(1, Ordering::Relaxed);
        match progress {
            Progress::Checked { name, .. } => self.say(Line::Name(clipped(name, 80))),
            Progress::Phase(title) => self.say(Line::Phase(clipped(title, 60))),
            Progress::Log(text) => self.say(Line::Log(clipped(text, 300))),
            Progress::WorkflowStarted(name) => self.say(Line::Log(format!("workflow {}", clipped(name, 80)))),
            Progress::GateOpened { gate, title } => {
                self.say(Line::Log(format!("gate {} waits for a decision: {}", gate.short(), clipped(title, 200))));
            }
            Progress::GateDecided { title, decision } => {
                let word = if decision.approved { "approved" } else { "denied" };
                self.say(Line::Log(format!("{word} by {}: {}", clipped(&decision.by, 80), clipped(title, 200))));
            }
            Progress::AgentQueued => drop(one_more(&self.counts.queued)),
            Progress::AgentStarted { .. } => drop(one_more(&self.counts.started)),
            Progress::AgentEnded { label, failure, agent } => {
                one_more(&self.counts.done);
                if let Some(failure) = failure {
                    one_more(&self.counts.failed);
                    let (label, why) = (clipped(label, 120), clipped(&failure.to_string(), 300));
                    self.say(Line::Failed(format!("{label} ({agent}): {why}")));
                }
            }
            _ => {}
        }
    }
}

struct Drawer {
    counts: Arc<Counts>,
    totals: Totals,
    style: Style,
    bars: MultiProgress,
    bar: Option<ProgressBar>,
    phase: Option<Phase>,
    rate: Rate,
    said: Instant,
}

/// The phase that goes on, and the counts when it began.
struct Phase {
    title: String,
    began: Instant,
    queued: u64,
    done: u64,
    failed: u64,
    calls: u64,
}

struct Rate {
    at: Instant,
    calls: u64,
    per_second: u64,
}

impl Rate {
    fn update(&mut self, calls: u64) {
        let elapsed = self.at.elapsed();
        if elapsed >= Duration::from_millis(500) {
            self.per_second = ((calls - self.calls) as f64 / elapsed.as_secs_f64()) as u64;
            (self.at, self.calls) = (Instant::now(), calls);
        }
    }
}

impl Drawer {
    fn new(counts: Arc<Counts>, totals: Totals, bars: MultiProgress) -> Self {
        let (style, now) = (Style::of_stderr(), Instant::now());
        let rate = Rate { at: now, calls: 0, per_second: 0 };
        Self { counts, totals, style, bars, bar: None, phase: None, rate, said: now }
    }

    fn bars(mut self, lines: &Receiver<Line>) {
        loop {
            match lines.recv_timeout(REDRAW) {
                Ok(line) => self.line(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.draw();
        }
        self.end_phase();
        self.dropped();
    }

    fn plain(mut self, lines: &Receiver<Line>) {
        loop {
            match lines.recv_timeout(REDRAW) {
                Ok(line) => self.line(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.rate.update(self.calls());
            if self.said.elapsed() >= PLAIN_EVERY {
                self.print(&format!("  {}", self.standing()));
                self.said = Instant::now();
            }
        }
        self.end_phase();
        self.dropped();
    }

    fn line(&mut self, line: Line) {
        match line {
            Line::Name(name) => self.print(&self.style.bold(&name)),
            Line::Phase(title) => {
                self.end_phase();
                self.begin_phase(title);
            }
            Line::Log(text) => self.print(&format!("  {text}")),
            Line::Failed(text) => self.print(&format!("  {} {text}", self.style.red("failed"))),
        }
    }

    fn begin_phase(&mut self, title: String) {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        self.phase = Some(Phase {
            title,
            began: Instant::now(),
            queued: load(&self.counts.queued),
            done: load(&self.counts.done),
            failed: load(&self.counts.failed),
            calls: self.calls(),
        });
    }

    /// One line for the phase that ended.
    fn end_phase(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let Some(phase) = self.phase.take() else { return };
        let done = self.counts.done.load(Ordering::Relaxed) - phase.done;
        let failed = self.counts.failed.load(Ordering::Relaxed) - phase.failed;
        let mark = if failed == 0 { self.style.green("\u{2713}") } else { self.style.yellow("!") };
        let took = u64::try_from(phase.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut said = format!("{mark} {:<12} {}", phase.title, duration(took));
        if done > 0 {
            said.push_str(&format!(", {}", count(done, "agent")));
        }
        if failed > 0 {
            said.push_str(&self.style.red(&format!(", {} failed", thousands(failed))));
        }
        said.push_str(&self.style.dim(&format!(", {}", count(self.calls() - phase.calls, "call"))));
        self.print(&said);
    }

    fn draw(&mut self) {
        self.rate.update(self.calls());
        let standing = self.standing();
        let Some(phase) = &self.phase else { return };
        let queued = self.counts.queued.load(Ordering::Relaxed).saturating_sub(phase.queued);
        let bar = self.bar.get_or_insert_with(|| {
            let bar = self.bars.add(ProgressBar::new(0));
            bar.set_prefix(phase.title.clone());
            bar
        });
        // A phase without agents has nothing to fill a bar with.
        let template = match queued {
            0 => "{spinner} {prefix:<12} {wide_msg}",
            _ => "{spinner} {prefix:<12} {bar:28} {pos}/{len}  {wide_msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("\u{2501}\u{2578}\u{2500}").tick_chars("\u{2b22}\u{2b21}\u{2b22}"));
        }
        bar.set_length(queued);
        bar.set_position(self.counts.done.load(Ordering::Relaxed).saturating_sub(phase.done));
        bar.set_message(standing);
        bar.tick();
    }

    fn standing(&self) -> String {
        // Read from the end of an agent's life to its beginning, so that no difference is negative.
        let done = self.counts.done.load(Ordering::Acquire);
        let started = self.counts.started.load(Ordering::Acquire).max(done);
        let queued = self.counts.queued.load(Ordering::Acquire).max(started);
        let Total { calls, agents_of_agents } = (self.totals)();
        let below = match agents_of_agents {
            0 => String::new(),
            n => format!("; {} started by agents", thousands(n)),
        };
        format!(
            "{} running, {} queued, {} done{below}; {}, {}/s",
            thousands(started - done),
            thousands(queued - started),
            thousands(done),
            count(calls, "call"),
            thousands(self.rate.per_second),
        )
    }

    fn calls(&self) -> u64 {
        (self.totals)().calls
    }

    fn dropped(&self) {
        let dropped = self.counts.lines_dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            self.print(&format!("  {} not shown; they are in the ledger", count(dropped, "line")));
        }
    }

    fn print(&self, line: &str) {
        self.bars.suspend(|| eprintln!("{line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(agents_of_agents: u64) -> String {
        let counts = Arc::new(Counts::default());
        for (count, n) in [(&counts.queued, 9), (&counts.started, 5), (&counts.done, 2)] {
            count.store(n, Ordering::Relaxed);
        }
        let totals: Totals = Arc::new(move || Total { calls: 1_234, agents_of_agents });
        Drawer::new(counts, totals, MultiProgress::with_draw_target(ProgressDrawTarget::hidden())).standing()
    }

    #[test]
    fn agents_that_agents_start_are_told_apart_from_those_of_the_script() {
        assert_eq!(standing(0), "3 running, 4 queued, 2 done; 1,234 calls, 0/s");
        assert_eq!(standing(70), "3 running, 4 queued, 2 done; 70 started by agents; 1,234 calls, 0/s");
    }
}
