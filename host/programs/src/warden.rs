//! Process 1 of a program's world: it closes the world, starts the program, looks after what the program starts, and ends
//! it all. It cannot be killed or looked into from inside, and when it ends the kernel kills every process of its world.
#![allow(clippy::disallowed_methods, reason = "it starts the program")]

use crate::confined::{ProgramLimits, Refused};
use crate::launch::no_namespaces;
use crate::tree::{Account, Sample};
use crate::wire::{Order, Report, Used};
use crate::{limits, walls, world};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::DumpableBehavior;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How often the tree is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What a pipe that takes anything takes without waiting, bytes.
const PIPE_ROOM: usize = 4096;
/// How often the host hears of it.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// What the warden waits for.
enum Event {
    /// A process ended; the program or something it left behind.
    Ended(WaitStatus),
    /// There is no process left.
    Alone,
}

/// Read the order, close the world, run the program, report its end.
pub(crate) fn watch(socket: &UnixStream) -> Result<(), Refused> {
    // Only as process 1 is it true that ending everything ends nobody else's processes.
    if nix::unistd::getpid().as_raw() != 1 {
        return Err(no_namespaces("the warden is not the first process of a namespace"));
    }
    let host = |what: &str, error: io::Error| Refused::Host(format!("{what}: {error}"));
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| host("the warden would outlive its launcher", error.into()))?;
    let mut order = Order::from_reader(socket).map_err(|error| host("the order was not understood", error))?;
    // If memory runs out, this goes before anything of the user's. Refused where it was higher already, which is as good.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    world::enter(&order)?;
    rustix::system::sethostname(b"cell").map_err(|error| host("the host's name would show", error.into()))?;
    // Same user, same Landlock domain: without this a program could write into its warden's memory.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| host("the warden could be looked into", error.into()))?;
    std::env::set_current_dir(&order.dir)
        .map_err(|error| Refused::Place(format!("the program cannot start in {}: {error}", order.dir.display())))?;
    limits::apply(&order.limits).map_err(|error| walls::unconfinable(format!("limits were refused ({error})")))?;
    walls::raise(&order)?;
    let stdin = match order.live {
        true => Some(pass_on(socket)?),
        false => {
            end_with_host(socket)?;
            order.stdin.take().map(feed).transpose()?
        }
    };
    // Every thread the warden needs stands before the program does, which may leave no room for another.
    let (begin, ended) = reaper()?;
    let program = start(&order, stdin)?;
    drop(begin);
    let report = look_after(program, &ended, &order.limits, socket)?;
    report.send(socket).map_err(|error| host("the host stopped listening", error))
}

/// Start the program with its streams: standard output and error are the host's pipes.
fn start(order: &Order, stdin: Option<PipeReader>) -> Result<Pid, Refused> {
    let not_started = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "; its interpreter or loader may lie outside what was granted",
            io::ErrorKind::PermissionDenied => "; it may not be executed, or lies outside what was granted",
            _ => "",
        };
        Refused::NotStarted(format!("{} could not be started: {error}{hint}", order.program.display()))
    };
    let mut command = Command::new(&order.program);
    command.arg0(&order.name).args(&order.args).env_clear().envs(&order.env).process_group(0);
    command.stdin(stdin.map_or_else(Stdio::null, Stdio::from));
    let child = command.spawn().map_err(not_started)?;
    Ok(Pid::from_raw(i32::try_from(child.id()).map_err(|error| Refused::Host(error.to_string()))?))
}

/// A pipe out of which `text` comes.
fn feed(text: String) -> Result<PipeReader, Refused> {
    let (reader, mut writer) = io::pipe().map_err(|error| Refused::Host(format!("no pipe: {error}")))?;
    // A program need not read what it is given; then the pipe breaks, or the thread ends with the warden.
    thread("stdin", move || drop(writer.write_all(text.as_bytes())))?;
    Ok(reader)
}

/// Die when the host hangs up: it changed its mind, or it is gone.
fn end_with_host(socket: &UnixStream) -> Result<(), Refused> {
    let mut socket = socket.try_clone().map_err(|error| Refused::Host(error.to_string()))?;
    thread("host", move || {
        // The host sends nothing after its order, so whatever this gives is the end.
        let _ = socket.read(&mut [0]);
        std::process::exit(1);
    })
}

/// A pipe out of which comes what the host sends from now on. Die when it hangs up, also while the program does not read.
fn pass_on(socket: &UnixStream) -> Result<PipeReader, Refused> {
    let (reader, stdin) = io::pipe().map_err(|error| Refused::Host(format!("no pipe: {error}")))?;
    let mut socket = socket.try_clone().map_err(|error| Refused::Host(error.to_string()))?;
    thread("host", move || {
        let mut stdin = Some(stdin);
        let mut piece = [0; PIPE_ROOM];
        loop {
            let read = socket.read(&mut piece).unwrap_or(0);
            if read == 0 || !has_room(&socket, &mut stdin) {
                std::process::exit(1);
            }
            // There is room, so this does not wait. A program may close its standard input and go on.
            if stdin.as_mut().is_some_and(|stdin| stdin.write_all(&piece[..read]).is_err()) {
                stdin = None;
            }
        }
    })?;
    Ok(reader)
}

/// Wait until the pipe takes a piece, or until nobody reads it any more. False: the host hung up meanwhile.
fn has_room(socket: &UnixStream, stdin: &mut Option<PipeWriter>) -> bool {
    while let Some(pipe) = stdin.as_ref() {
        let mut waited = [PollFd::new(pipe, PollFlags::OUT), PollFd::new(socket, PollFlags::RDHUP)];
        match poll(&mut waited, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return false,
            Ok(_) => {}
        }
        let [pipe, host] = waited.map(|of| of.revents());
        if host.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR) {
            return false;
        }
        if pipe.intersects(PollFlags::ERR | PollFlags::HUP) {
            *stdin = None;
        } else if pipe.contains(PollFlags::OUT) {
            return true;
        }
    }
    true
}

/// Wait for the program's end, or end it at a limit; then end all that it left behind.
fn look_after(
    program: Pid,
    ended: &Receiver<Event>,
    limits: &ProgramLimits,
    socket: &UnixStream,
) -> Result<Report, Refused> {
    let mut account = Account::default();
    let mut told = (Instant::now(), Used::default());
    loop {
        match ended.recv_timeout(LOOK_EVERY) {
            Ok(Event::Ended(status)) if status.pid() == Some(program) => {
                let used = end_all(ended, &mut account);
                return Ok(report(status, limits, used));
            }
            Ok(Event::Ended(_)) => continue,
            Ok(Event::Alone) | Err(RecvTimeoutError::Disconnected) => {
                return Err(Refused::Host("the program's end was missed".into()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let sample = match Sample::take() {
            Ok(sample) => sample,
            Err(error) => {
                end_all(ended, &mut account);
                return Err(Refused::Host(format!("what a program uses cannot be counted any more: {error}")));
            }
        };
        let used = account.note(&sample);
        if let Some((quota, limit, over)) = over(limits, &sample, &used) {
            let so_far = end_all(ended, &mut account);
            return Ok(Report::Over { quota: quota.into(), limit, used: over, so_far });
        }
        if told.0.elapsed() >= TELL_EVERY && told.1 != used {
            told = (Instant::now(), used);
            // A host that is gone ends this process by itself.
            let _ = Report::Beat(used).send(socket);
        }
    }
}

/// The limit that was passed, if one was: its name, itself, and what was used.
fn over(limits: &ProgramLimits, sample: &Sample, used: &Used) -> Option<(&'static str, u64, u64)> {
    let cpu_ms = u64::try_from(limits.cpu_time_max.as_millis()).unwrap_or(u64::MAX);
    [
        ("cpu-time-ms", cpu_ms, used.cpu_us / 1000),
        ("memory-bytes", limits.memory_bytes_max, sample.memory_bytes),
        ("processes", limits.processes_max, sample.processes),
    ]
    .into_iter()
    .find(|(_, limit, used)| used > limit)
}

/// Kill every process of this world at once, and wait until none is left.
fn end_all(ended: &Receiver<Event>, account: &mut Account) -> Used {
    // To all but the sender, in one step: no process can fork its way past it. Refused when there is none, which is fine.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    while let Ok(Event::Ended(_)) = ended.recv() {}
    account.note(&Sample::of_ended())
}

/// Whoever waits for processes as they end, the program's orphans too. It begins when the first half is dropped: before
/// the program there is nothing to wait for.
fn reaper() -> Result<(Sender<()>, Receiver<Event>), Refused> {
    let (begin, begun) = channel();
    let (events, ended) = channel();
    thread("reaper", move || {
        let _ = begun.recv();
        loop {
            let event = match wait() {
                Ok(status) => Event::Ended(status),
                Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => Event::Alone,
            };
            let alone = matches!(event, Event::Alone);
            if events.send(event).is_err() || alone {
                return;
            }
        }
    })?;
    Ok((begin, ended))
}

fn report(status: WaitStatus, limits: &ProgramLimits, used: Used) -> Report {
    let over =
        |quota: &str, limit: u64, value: u64| Report::Over { quota: quota.into(), limit, used: value, so_far: used };
    match status {
        WaitStatus::Exited(_, status) => Report::Exited { status, used },
        // The kernel's own word that a limit was reached.
        WaitStatus::Signaled(_, Signal::SIGXCPU, _) => {
            over("cpu-time-ms", u64::try_from(limits.cpu_time_max.as_millis()).unwrap_or(u64::MAX), used.cpu_us / 1000)
        }
        WaitStatus::Signaled(_, Signal::SIGXFSZ, _) => {
            over("file-bytes", limits.file_bytes_max, limits.file_bytes_max.saturating_add(1))
        }
        WaitStatus::Signaled(_, signal, _) => Report::Signalled { signal: signal.as_str().into(), used },
        other => Report::NotStarted(format!("the program ended in a way nobody knows: {other:?}")),
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Refused> {
    std::thread::Builder::new()
        .name(name.into())
        .stack_size(256 << 10)
        .spawn(work)
        .map(drop)
        .map_err(|error| Refused::Host(format!("a thread could not be started: {error}")))
}
