//! Compiling in a process of its own. A compiler cannot be interrupted and takes what memory it likes, so where an executable
//! for it is named, each component is compiled by a child that can be killed: when its time or memory is used up, and when
//! nobody waits for it any more. What comes back is machine code, taken only from this very program.
#![allow(clippy::disallowed_methods, reason = "it starts the compiler")]

use crate::compiler::{ENTRY, HEADER, MAGIC, settings};
use crate::shape::CompileLimits;
use crate::text;
use crate::walls::time_hit;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use vespiary_kernel::call::Failure;
use vespiary_kernel::quota::LimitHit;
use wasmtime::Engine;

/// The most compiled code that is read back, bytes.
const CODE_BYTES_MAX: u64 = 1 << 30;
/// The most a dying compiler may say, bytes.
const WORDS_BYTES_MAX: u64 = 16 << 10;
/// Compilers at work at once: each uses every core, and memory up to its limit.
const AT_ONCE: usize = 2;

/// SIGXCPU and SIGKILL: by which the kernel ends who used up its processor time, softly and for good.
const TIME_IS_UP: [i32; 2] = [24, KILLED];
const KILLED: i32 = 9;
/// SIGABRT: how a program ends that is refused memory.
const ABORTED: i32 = 6;

/// The executable that compiles.
#[derive(Debug)]
pub(crate) struct Compiler {
    path: PathBuf,
    stack_bytes: usize,
    places: Semaphore,
}

/// Machine code that a compiler process of this program made just now.
pub(crate) struct Code(Vec<u8>);

impl Code {
    /// The code, without what stands before it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0[HEADER..]
    }
}

impl Compiler {
    /// For engines whose guests have `stack_bytes` of stack.
    pub(crate) fn new(path: PathBuf, stack_bytes: usize) -> Self {
        Self { path, stack_bytes, places: Semaphore::new(AT_ONCE) }
    }

    /// Compile a component for `engine`. Dropping the future kills the compiler.
    ///
    /// # Errors
    /// Why it cannot be compiled, or the limit at which the compiler was ended.
    pub(crate) async fn compile(&self, bytes: &[u8], engine: &Engine, limits: &CompileLimits) -> Result<Code, Failure> {
        // Waiting for a place is nobody's fault and counts for nobody.
        let _place = self.places.acquire().await.map_err(|error| Failure::Host(error.to_string()))?;
        let started = Instant::now();
        let mut child = start(&self.path, self.stack_bytes, limits)?;
        let ran = timeout(limits.compile_time_max, run(&mut child, bytes)).await;
        let late = || Failure::Limit(time_hit("compile-time-ms", limits.compile_time_max, started.elapsed()));
        let Ok(ran) = ran else {
            // Gone before the answer is: what it held is the machine's again.
            let _ = child.kill().await;
            return Err(late());
        };
        let (status, code, words) =
            ran.map_err(|error| Failure::Host(format!("the compiler process was lost: {error}")))?;
        match status.signal() {
            None if status.success() => taken(code, engine),
            Some(signal) if TIME_IS_UP.contains(&signal) && may_be_late(started.elapsed(), limits) => Err(late()),
            Some(KILLED) => Err(Failure::Host(
                "the compiler process was killed from outside; does the machine have memory for it?".into(),
            )),
            _ => Err(ended_badly(status, words, limits)),
        }
    }
}

/// Whether it can have used up its processor time by now. Who is short of memory kills with the same signal, and that is not for ever.
fn may_be_late(elapsed: Duration, limits: &CompileLimits) -> bool {
    let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
    elapsed.saturating_mul(cores) >= limits.compile_time_max
}

fn start(path: &Path, stack_bytes: usize, limits: &CompileLimits) -> Result<Child, Failure> {
    // A second more than the clock allows, for what one core does not do at once.
    let seconds = limits.compile_time_max.as_secs().saturating_add(1);
    Command::new(path)
        .arg(ENTRY)
        .args([limits.compile_memory_bytes_max, seconds, stack_bytes as u64].map(|number| number.to_string()))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::Host(format!("the compiler {} could not be started: {error}", path.display())))
}

/// Hand the component over, and read what comes back until the process has ended.
async fn run(child: &mut Child, bytes: &[u8]) -> std::io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A compiler that refuses early reads no further; its words say why.
            let _ = stdin.write_all(bytes).await;
        }
    };
    let ((), code, words) = tokio::join!(feed, read(stdout, CODE_BYTES_MAX), read(stderr, WORDS_BYTES_MAX));
    Ok((child.wait().await?, code?, words?))
}

async fn read(from: Option<impl AsyncRead + Unpin>, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(bytes_max).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The code, if it was made for this engine.
fn taken(code: Vec<u8>, engine: &Engine) -> Result<Code, Failure> {
    let header = [&MAGIC[..], &settings(engine).to_le_bytes()].concat();
    if code.starts_with(&header) {
        return Ok(Code(code));
    }
    Err(Failure::Host(
        "the compiler process has other settings than this one; restart Vespiary if it was updated".into(),
    ))
}

fn ended_badly(status: ExitStatus, words: Vec<u8>, limits: &CompileLimits) -> Failure {
    let words = String::from_utf8_lossy(&words).trim().to_owned();
    // The first is Rust's allocator giving up, the others the kernel's answer to whoever asked it.
    let starved = ["memory allocation of", "Cannot allocate memory", "Resource temporarily unavailable"];
    if starved.iter().any(|sign| words.contains(sign)) {
        let limit = limits.compile_memory_bytes_max;
        return Failure::Limit(LimitHit { quota: "compile-memory-bytes".into(), limit, used: limit.saturating_add(1) });
    }
    let how = match status.signal() {
        None if status.code() == Some(1) => {
            return Failure::Unrunnable(text::cause(format!("it does not compile: {words}")));
        }
        Some(ABORTED) | None => "gave up".to_owned(),
        Some(signal) => format!("died of signal {signal}"),
    };
    Failure::Unrunnable(text::cause(format!("the compiler {how} over it: {words}")))
}
