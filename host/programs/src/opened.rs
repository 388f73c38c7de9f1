//! Programs that live: started once, spoken to over their standard input and output for as long as somebody wants them, and ended
//! with everything they started when that is over. They stand behind the same walls as a program that is run to its end.

use crate::Programs;
use crate::confined::{EndedBy, ProgramLimits, Refused};
use crate::output::Kept;
use crate::run::kept;
use crate::runner::within;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::unix::OwnedWriteHalf;
use tokio::process::ChildStdout;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vespiary_kernel::program::{ProgramName, ProgramStatus};
use vespiary_kernel::scope::Scope;

/// What is kept of a living program's standard error, bytes.
const STDERR_KEPT: u64 = 16 << 10;
/// As good as no limit on time: whoever opened it says when it is over.
const AGES: Duration = Duration::from_secs(7 * 24 * 3600);

/// A program that is wanted, and the scope that says what it may touch.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The program.
    pub program: ProgramName,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where it starts, below the project. None: in the project, if it is given anything there.
    pub dir: Option<String>,
    /// Environment variables besides `PATH`, `LANG`, `HOME` and `TMPDIR`.
    pub env: BTreeMap<String, String>,
    /// What it may read, write and reach.
    pub scope: Scope,
    /// The project.
    pub root: PathBuf,
    /// What it may use. Of a program that lives, neither the times nor the output as a whole are bounded by them.
    pub limits: ProgramLimits,
}

/// A program that lives. Dropping `stdin` or `life` ends it, with everything it started.
#[derive(Debug)]
pub struct Opened {
    /// Its standard input.
    pub stdin: OwnedWriteHalf,
    /// Its standard output. At its end no process is left that could write to it.
    pub stdout: ChildStdout,
    /// What else is known of it.
    pub life: Life,
}

/// A living program's standard error, and its end. Dropping it ends the program.
pub struct Life {
    stderr: Arc<Mutex<Kept>>,
    end: watch::Receiver<Option<String>>,
    watching: JoinHandle<()>,
}

impl Programs {
    /// Start a program and leave it running.
    ///
    /// # Errors
    /// When nothing was started, and why. That the program itself could not be executed is its `life`'s end.
    pub async fn open(&self, wanted: Wanted) -> Result<Opened, Refused> {
        let limits = ProgramLimits {
            wall_time_max: AGES,
            idle_time_max: AGES,
            output_bytes_max: u64::MAX,
            kept_bytes_max: STDERR_KEPT,
            ..wanted.limits
        };
        let confined = within(Wanted { limits, ..wanted }).await?;
        let mut run = self.begin(confined).await?;
        let (stdin, stdout) =
            run.take_streams().ok_or_else(|| Refused::Host("the program's streams were taken".into()))?;
        let stderr = Arc::new(Mutex::new(Kept::new(STDERR_KEPT)));
        let (told, end) = watch::channel(None);
        let said = Arc::clone(&stderr);
        let watching = tokio::spawn(async move {
            let how = match run.watch_into(&limits, said).await {
                Ok(ended) => match ended.by {
                    EndedBy::Itself(ProgramStatus::Exited(status)) => format!("it ended with status {status}"),
                    EndedBy::Itself(ProgramStatus::Signalled(signal)) => format!("it was ended by {signal}"),
                    EndedBy::Limit(hit) => format!("it was ended: {hit}"),
                },
                Err(refused) => refused.to_string(),
            };
            told.send_replace(Some(how));
        });
        Ok(Opened { stdin, stdout, life: Life { stderr, end, watching } })
    }
}

impl Life {
    /// What it said on standard error: its beginning and its end. As it came, not neutralized.
    pub fn stderr(&self) -> String {
        kept(&self.stderr).text()
    }

    /// Wait for its end, and say how it came about.
    pub async fn ended(&self) -> String {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await {
            Ok(how) => how.clone().unwrap_or_default(),
            Err(_) => "it was ended".into(),
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // With the task goes the launcher, and with that the warden.
        self.watching.abort();
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Life").finish_non_exhaustive()
    }
}
