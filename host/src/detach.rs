//! A run that outlives the terminal: this program starts itself once more, in a session of its own, with nothing to read and with
//! files to write to. Whoever started it learns the run's id as soon as the run is under way, or what kept it from that.

use crate::disk;
use crate::exit::Trouble;
use crate::live::{GLANCE, Said, is_live};
use crate::paths::Home;
use std::ffi::OsString;
use std::process::{Command, ExitStatus, Stdio};
use vespiary_kernel::ids::RunId;
use vespiary_ledger::reader::Reader;

/// The flag by which the second process knows its run; people do not see it.
pub const FLAG: &str = "--as";

/// The most of what it said that is kept, bytes.
const SAID_BYTES_MAX: u64 = 1 << 20;

/// What became of it.
#[derive(Debug)]
pub enum Detached {
    /// It is under way, or done already.
    Started(Said),
    /// It ended before there was a run.
    Ended(Early),
}

/// The end of a process that came to no run, and what it said: harmless text, made so by itself.
#[derive(Debug)]
pub struct Early {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: Vec<u8>,
    /// Its standard error.
    pub err: Vec<u8>,
}

/// Start `args` (of this very call, the program's name first) again as `run`.
#[allow(clippy::disallowed_methods, reason = "it starts this very executable again, and nothing else")]
pub fn start(home: &Home, run: &RunId, args: impl IntoIterator<Item = OsString>) -> Result<Detached, Trouble> {
    let cannot = |error: std::io::Error| {
        Trouble::failed("the run cannot be detached", error, "run it without --detach, in a terminal that stays")
    };
    let said = Said::of(home, run);
    let (out, err) = said.create(home, run)?;
    let program = std::env::current_exe().map_err(cannot)?;
    let mut child = Command::new(program)
        .args([FLAG, run.as_str()])
        .args(args.into_iter().skip(1))
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(cannot)?;
    loop {
        if is_live(home, run) {
            return Ok(Detached::Started(said));
        }
        if let Some(status) = child.try_wait().map_err(cannot)? {
            // A short one may be over already.
            if Reader::open(&home.ledger()).is_ok_and(|reader| reader.run(run).is_ok()) {
                return Ok(Detached::Started(said));
            }
            // Both are files of ours that nobody writes to any more.
            let read = |path| disk::read(path, SAID_BYTES_MAX).unwrap_or_default();
            let early = Early { status, out: read(&said.out), err: read(&said.err) };
            said.remove();
            return Ok(Detached::Ended(early));
        }
        std::thread::sleep(GLANCE / 10);
    }
}

/// In the second process: leave the terminal, so that nothing it does reaches this run.
pub fn leave_terminal() -> Result<(), Trouble> {
    rustix::process::setsid().map(drop).map_err(|errno| {
        Trouble::failed("the run cannot leave its terminal", errno, "start it with `vespiary run --detach`")
    })
}
