//! How a server's program is started, as a trait: the roof knows who can, and behind which walls.

use std::collections::BTreeMap;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncWrite};
use vespiary_kernel::call::Failure;
use vespiary_kernel::ports::BoxFuture;
use vespiary_kernel::program::ProgramName;
use vespiary_kernel::scope::Scope;

/// Starts programs that live.
pub trait Launch: Send + Sync {
    /// Start what is ordered, with what its scope gives it and nothing else.
    ///
    /// # Errors
    /// When nothing was started, and why.
    fn launch<'a>(&'a self, order: Order<'a>) -> BoxFuture<'a, Result<Launched, Failure>>;
}

/// A program to start.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// The program.
    pub program: &'a ProgramName,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, besides what every program is given.
    pub env: BTreeMap<String, String>,
    /// Where it starts, below the project.
    pub dir: Option<&'a str>,
    /// What it may touch.
    pub scope: &'a Scope,
    /// The project.
    pub root: &'a Path,
    /// Memory of all its processes together, bytes.
    pub memory_bytes_max: u64,
}

/// A program that lives. Dropping any part ends it with everything it started.
pub struct Launched {
    /// Its standard input.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// Its standard output.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// What else is known of it.
    pub life: Box<dyn Life>,
}

/// What is known of a program that lives. Dropping it ends the program.
pub trait Life: Send + Sync {
    /// What it said on standard error, bounded.
    fn stderr(&self) -> String;

    /// Wait for its end, and say how it came about.
    fn ended(&self) -> BoxFuture<'_, String>;
}
