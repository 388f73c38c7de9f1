//! What a program is run with, and what came of it. Plain values; nothing here starts anything.

use crate::output::Kept;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use vespiary_kernel::call::Usage;
use vespiary_kernel::program::{ProgramName, ProgramStatus};
use vespiary_kernel::quota::LimitHit;

const MIB: u64 = 1 << 20;

/// One run of a program, and all it may touch.
#[derive(Debug, Clone)]
pub struct Confined {
    /// The program.
    pub program: ProgramName,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its standard input; empty when there is none.
    pub stdin: Option<String>,
    /// Where it starts: absolute, at or below one of the directories it may read or write.
    pub dir: PathBuf,
    /// Files and directories it may read and execute from: absolute, without symbolic links.
    pub read: Vec<PathBuf>,
    /// Files and directories it may change as well, likewise.
    pub write: Vec<PathBuf>,
    /// Files and directories below those that it must not see into, likewise. Their names stay visible.
    pub hide: Vec<PathBuf>,
    /// Whether it may use the network. There is no halfway: a program that may connect may connect to anything this
    /// machine reaches, its own loopback included.
    pub network: bool,
    /// Environment variables besides `PATH`, `LANG`, `HOME` and `TMPDIR`.
    pub env: BTreeMap<String, String>,
    /// What it may use.
    pub limits: ProgramLimits,
}

/// What one run may use. Where it says "together", all processes it starts are counted as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramLimits {
    /// Time on processors, together.
    pub cpu_time_max: Duration,
    /// Time from start to end.
    pub wall_time_max: Duration,
    /// Time without output and without time on a processor.
    pub idle_time_max: Duration,
    /// Private and shared memory, together; also the data segment of each process.
    pub memory_bytes_max: u64,
    /// Processes and threads at once.
    pub processes_max: u64,
    /// Files open at once, in each process.
    pub open_files_max: u64,
    /// The size of each file written.
    pub file_bytes_max: u64,
    /// Everything in its private temporary directory, which is memory.
    pub temp_bytes_max: u64,
    /// What is kept of each output stream; more is read and left out.
    pub kept_bytes_max: u64,
    /// Both output streams together, kept or not.
    pub output_bytes_max: u64,
}

impl Default for ProgramLimits {
    fn default() -> Self {
        Self {
            cpu_time_max: Duration::from_secs(60),
            wall_time_max: Duration::from_secs(300),
            idle_time_max: Duration::from_secs(120),
            memory_bytes_max: 1024 * MIB,
            processes_max: 256,
            open_files_max: 512,
            file_bytes_max: 512 * MIB,
            temp_bytes_max: 256 * MIB,
            kept_bytes_max: MIB,
            output_bytes_max: 256 * MIB,
        }
    }
}

/// A run that is over.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Why it is over.
    pub by: EndedBy,
    /// Standard output.
    pub stdout: Kept,
    /// Standard error.
    pub stderr: Kept,
    /// What it cost. `memory_bytes_peak` is the most that was seen at once, looking every few milliseconds.
    pub usage: Usage,
}

/// Why a run is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndedBy {
    /// The program ended.
    Itself(ProgramStatus),
    /// It was ended at a limit.
    Limit(LimitHit),
}

/// Why a program was not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The program does not exist where it is looked for.
    #[error("{0}")]
    NotFound(String),
    /// It exists, and will not be started.
    #[error("{0}")]
    Unfit(String),
    /// A directory cannot be given to a program.
    #[error("{0}")]
    Place(String),
    /// This machine cannot confine a program, so it runs none.
    #[error("host programs cannot be confined here, so none is run: {missing}; {remedy}")]
    Unconfinable {
        /// What is missing.
        missing: String,
        /// What to do about it.
        remedy: String,
    },
    /// The kernel would not start it.
    #[error("{0}")]
    NotStarted(String),
    /// The host failed.
    #[error("{0}")]
    Host(String),
}
