//! The host's side of a run: start the launcher, hand it the order, read what comes out, and keep the clocks. Whatever
//! happens here, dropping the future included, the program and all it started end.

use crate::confined::{Confined, Ended, EndedBy, ProgramLimits, Refused};
use crate::find::{Found, find};
use crate::launch::{CLOSED, ENTRY, NETWORKED};
use crate::output::Kept;
use crate::wire::{Order, REPORT_BYTES_MAX, Report, Used};
use crate::world::{SYSTEM, TEMP, is_givable};
use crate::{Programs, ProgramsConfig};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, sleep_until, timeout};
use vespiary_kernel::call::Usage;
use vespiary_kernel::program::ProgramStatus;
use vespiary_kernel::quota::LimitHit;

/// How long the launcher may take to end after it was told to; then it is killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to read its order, which even a busy machine does in a moment.
const ORDER_TIME_MAX: Duration = Duration::from_secs(30);
/// How much of a stream is read at once, bytes.
const CHUNK: usize = 64 << 10;

impl Programs {
    /// Run one program to its end, or to a limit. Dropping the future ends it with everything it started.
    ///
    /// # Errors
    /// When nothing was run, and why.
    pub async fn run_confined(&self, confined: Confined) -> Result<Ended, Refused> {
        let limits = confined.limits;
        let launcher = self.launcher()?;
        let found = find(&confined.program, &self.config)?;
        let order = order(confined, found, &self.config)?;
        Run::start(launcher, &order).await?.watch(&limits).await
    }

    /// Start one program that is spoken to while it runs: its standard input and output are the caller's.
    pub(crate) async fn begin(&self, confined: Confined) -> Result<Run, Refused> {
        let launcher = self.launcher()?;
        let found = find(&confined.program, &self.config)?;
        let order = Order { live: true, ..order(confined, found, &self.config)? };
        Run::start(launcher, &order).await
    }

    fn launcher(&self) -> Result<&Path, Refused> {
        self.config.launcher.as_deref().ok_or_else(|| Refused::Unconfinable {
            missing: "this process knows no launcher".into(),
            remedy: "use the vespiary program, or have yours call `enter` and name it as launcher".into(),
        })
    }

    /// Whether this machine can confine programs: runs one that does nothing.
    ///
    /// # Errors
    /// What is missing, and what to do about it.
    pub async fn check(&self) -> Result<(), Refused> {
        let nothing = Confined {
            program: "true".parse().map_err(|error| Refused::Host(format!("{error}")))?,
            args: Vec::new(),
            stdin: None,
            dir: TEMP.into(),
            read: Vec::new(),
            write: Vec::new(),
            hide: Vec::new(),
            network: false,
            env: Default::default(),
            limits: ProgramLimits { wall_time_max: Duration::from_secs(10), ..ProgramLimits::default() },
        };
        match self.run_confined(nothing).await?.by {
            EndedBy::Itself(ProgramStatus::Exited(0)) => Ok(()),
            other => Err(Refused::Host(format!("a program that does nothing ended with {other:?}"))),
        }
    }
}

fn order(confined: Confined, found: Found, config: &ProgramsConfig) -> Result<Order, Refused> {
    let Confined { args, stdin, dir, mut read, write, hide, network, mut env, limits, .. } = confined;
    config.system.iter().chain(&read).chain(&write).try_for_each(|path| is_givable(path))?;
    let covered = |path: &Path| {
        let granted = config.system.iter().chain(&read).chain(&write).map(PathBuf::as_path);
        SYSTEM.iter().map(Path::new).chain(granted).any(|place| path.starts_with(place))
    };
    // A program outside all that comes with its one file; what else it needs must be granted. It is told the name it was
    // called by, since some do as they are called.
    let program = if covered(&found.path) { found.path.clone() } else { found.real.clone() };
    if !covered(&found.real) {
        is_givable(&found.real)?;
        read.push(found.real);
    }
    let name = found.path;
    let search: Vec<_> = config.search.iter().map(|dir| dir.to_string_lossy()).collect();
    for (name, value) in [("PATH", search.join(":").as_str()), ("LANG", "C.UTF-8"), ("HOME", TEMP), ("TMPDIR", TEMP)] {
        env.insert(name.into(), value.into());
    }
    for (name, value) in &env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(Refused::Host(format!("the environment variable {name:?} cannot be set")));
        }
    }
    Ok(Order {
        program,
        name,
        args,
        stdin,
        live: false,
        dir,
        system: config.system.clone(),
        read,
        write,
        hide,
        network,
        env,
        limits,
    })
}

/// A launcher at work, and its ends of everything.
pub(crate) struct Run {
    launcher: Child,
    /// While it is held, the program may live. Somebody else's, once it is the program's standard input.
    hold: Option<OwnedWriteHalf>,
    reports: BufReader<OwnedReadHalf>,
}

/// What is known of a run while it lasts.
struct Progress {
    end: Option<Result<EndedBy, Refused>>,
    used: Used,
    stdout: Kept,
    stderr: Arc<Mutex<Kept>>,
    alive: Instant,
}

impl Run {
    async fn start(launcher: &Path, order: &Order) -> Result<Self, Refused> {
        let host = |what: &str, error: std::io::Error| Refused::Host(format!("{what}: {error}"));
        let (ours, theirs) =
            std::os::unix::net::UnixStream::pair().map_err(|error| host("no socket for the launcher", error))?;
        ours.set_nonblocking(true).map_err(|error| host("no socket for the launcher", error))?;
        let launcher = Command::new(launcher)
            .args([ENTRY, if order.network { NETWORKED } else { CLOSED }])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| host(&format!("the launcher {} could not be started", launcher.display()), error))?;
        let ours = UnixStream::from_std(ours).map_err(|error| host("no socket for the launcher", error))?;
        let (reports, mut hold) = ours.into_split();
        let bytes = order.to_bytes().map_err(|error| host("the order could not be written", error))?;
        // A launcher that refuses at once has hung up; what it has to say is still to be read.
        if timeout(ORDER_TIME_MAX, hold.write_all(&bytes)).await.is_err() {
            return Err(Refused::Host("the launcher does not read its order; this machine is too busy".into()));
        }
        Ok(Self { launcher, hold: Some(hold), reports: BufReader::with_capacity(REPORT_BYTES_MAX, reports) })
    }

    /// The program's standard input and output, once.
    pub(crate) fn take_streams(&mut self) -> Option<(OwnedWriteHalf, ChildStdout)> {
        self.hold.take().zip(self.launcher.stdout.take())
    }

    async fn watch(self, limits: &ProgramLimits) -> Result<Ended, Refused> {
        self.watch_into(limits, Arc::new(Mutex::new(Kept::new(limits.kept_bytes_max)))).await
    }

    /// The same, where others see what it says on standard error as it says it.
    pub(crate) async fn watch_into(
        mut self,
        limits: &ProgramLimits,
        stderr: Arc<Mutex<Kept>>,
    ) -> Result<Ended, Refused> {
        let started = Instant::now();
        let mut progress = Progress {
            end: None,
            used: Used::default(),
            stdout: Kept::new(limits.kept_bytes_max),
            stderr,
            alive: started,
        };
        let over = self.read_all(&mut progress, limits, started).await;
        if let Some(hit) = over {
            progress.end = Some(Ok(EndedBy::Limit(hit)));
        }
        self.end().await;
        let usage = Usage {
            cpu_us: progress.used.cpu_us,
            wall_us: Usage::micros(started.elapsed()),
            memory_bytes_peak: progress.used.memory_bytes_peak,
            ..Usage::default()
        };
        let by = progress.end.unwrap_or_else(|| Err(Refused::Host("the launcher ended without a word".into())))?;
        let stderr = kept(&progress.stderr).clone();
        Ok(Ended { by, stdout: progress.stdout, stderr, usage })
    }

    /// Read streams and reports until all have ended, which is when no process is left that could write. The limit, if one
    /// of the host's own was passed first.
    async fn read_all(
        &mut self,
        progress: &mut Progress,
        limits: &ProgramLimits,
        started: Instant,
    ) -> Option<LimitHit> {
        let (mut stdout, mut stderr) = (self.launcher.stdout.take(), self.launcher.stderr.take());
        let (mut out, mut err, mut line) = (vec![0; CHUNK], vec![0; CHUNK], Vec::new());
        let mut listening = true;
        while stdout.is_some() || stderr.is_some() || listening {
            let idle_at = progress.alive + limits.idle_time_max;
            tokio::select! {
                read = some(&mut stdout, &mut out) => {
                    if read == 0 { stdout = None }
                    progress.hear(read).stdout.push(&out[..read]);
                }
                read = some(&mut stderr, &mut err) => {
                    if read == 0 { stderr = None }
                    kept(&progress.hear(read).stderr).push(&err[..read]);
                }
                read = next_line(&mut self.reports, &mut line), if listening => {
                    listening = read.is_ok_and(|bytes| bytes > 0) && progress.note(&line);
                    line.clear();
                }
                () = sleep_until(started + limits.wall_time_max) => {
                    return Some(hit("wall-time-ms", limits.wall_time_max, started.elapsed()));
                }
                () = sleep_until(idle_at) => {
                    return Some(hit("idle-time-ms", limits.idle_time_max, progress.alive.elapsed()));
                }
            }
            let bytes = progress.stdout.bytes() + kept(&progress.stderr).bytes();
            if bytes > limits.output_bytes_max {
                return Some(LimitHit { quota: "output-bytes".into(), limit: limits.output_bytes_max, used: bytes });
            }
        }
        None
    }

    /// Hang up, upon which the warden ends and the kernel ends the rest; the launcher ends when all of it is gone.
    async fn end(mut self) {
        drop(self.hold);
        drop(self.reports);
        if timeout(PATIENCE, self.launcher.wait()).await.is_err() {
            // The warden dies with its launcher.
            let _ = self.launcher.kill().await;
        }
    }
}

impl Progress {
    /// Note that there was output.
    fn hear(&mut self, bytes: usize) -> &mut Self {
        if bytes > 0 {
            self.alive = Instant::now();
        }
        self
    }

    /// Take in a report. Whether another may follow.
    fn note(&mut self, line: &[u8]) -> bool {
        let end = match serde_json::from_slice(line) {
            Ok(Report::Beat(used)) => {
                if used.cpu_us > self.used.cpu_us {
                    self.alive = Instant::now();
                }
                self.used = used;
                return true;
            }
            Ok(Report::Exited { status, used }) => {
                self.used = used;
                Ok(EndedBy::Itself(ProgramStatus::Exited(status)))
            }
            Ok(Report::Signalled { signal, used }) => {
                self.used = used;
                Ok(EndedBy::Itself(ProgramStatus::Signalled(signal)))
            }
            Ok(Report::Over { quota, limit, used, so_far }) => {
                self.used = so_far;
                Ok(EndedBy::Limit(LimitHit { quota, limit, used }))
            }
            Ok(Report::Unconfinable { missing, remedy }) => Err(Refused::Unconfinable { missing, remedy }),
            Ok(Report::Place(why)) => Err(Refused::Place(why)),
            Ok(Report::NotStarted(why)) => Err(Refused::NotStarted(why)),
            Err(error) => Err(Refused::Host(format!("the launcher was not understood: {error}"))),
        };
        // The first word about the end is the true one.
        self.end.get_or_insert(end);
        true
    }
}

/// Read up to the next line's end; what was read stays in `line` when this is dropped and called again.
async fn next_line(reports: &mut BufReader<OwnedReadHalf>, line: &mut Vec<u8>) -> std::io::Result<usize> {
    reports.take(REPORT_BYTES_MAX as u64).read_until(b'\n', line).await
}

/// Read from a stream that may have ended; then wait for ever. An error ends it too.
async fn some(stream: &mut Option<impl AsyncRead + Unpin>, into: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(into).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// A poisoned lock only means that a thread died while it copied bytes.
pub(crate) fn kept(stream: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hit(quota: &str, limit: Duration, used: Duration) -> LimitHit {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    LimitHit { quota: quota.into(), limit: ms(limit), used: ms(used) }
}
