//! How the program ends: the exit codes, and the one error type of the roof, which always says what happened, why, and what
//! to do next. The only place where an error becomes a number. Nothing here prints.

use serde::Serialize;
use std::fmt;
use std::process::ExitCode;
use vespiary_kernel::call::Failure;
use vespiary_kernel::event::RunStatus;
use vespiary_kernel::ports::LogError;

/// Exit codes; stable, for scripts and CI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// It was tried and failed, or a person stopped it.
    Failed = 1,
    /// What was asked for makes no sense: flags, names, paths, arguments.
    Usage = 2,
    /// A permission was missing.
    Denied = 3,
    /// A run's budget was spent.
    OutOfBudget = 4,
    /// A person must decide first.
    AwaitingGate = 5,
    /// The work ended, but parts of it failed.
    Degraded = 6,
}

impl Exit {
    /// The code for a run that ended with `status`.
    pub fn of_run(status: RunStatus) -> Self {
        match status {
            RunStatus::Completed => Self::Done,
            RunStatus::Degraded => Self::Degraded,
            RunStatus::OutOfBudget => Self::OutOfBudget,
            RunStatus::AwaitingGate => Self::AwaitingGate,
            RunStatus::Failed | RunStatus::Stopped | RunStatus::Running => Self::Failed,
        }
    }

    /// The code that another process of this program ended with; a failure where it is none of ours.
    pub fn of_code(code: Option<i32>) -> Self {
        let all = [
            Self::Done,
            Self::Usage,
            Self::Denied,
            Self::OutOfBudget,
            Self::AwaitingGate,
            Self::Degraded,
            Self::Failed,
        ];
        all.into_iter().find(|exit| Some(*exit as i32) == code).unwrap_or(Self::Failed)
    }

    /// The code for a call that ended with `failure`.
    pub fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::Denied(_) => Self::Denied,
            Failure::InvalidArguments(_) => Self::Usage,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// What went wrong, why, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What could not be done.
    pub what: String,
    /// The cause.
    pub why: String,
    /// What the reader can do about it.
    pub next: String,
    /// How the program ends because of it.
    pub exit: Exit,
}

impl Trouble {
    /// The request itself is wrong.
    pub fn usage(what: impl Into<String>, why: impl fmt::Display, next: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.to_string(), next: next.into(), exit: Exit::Usage }
    }

    /// The request was sound and could not be carried out.
    pub fn failed(what: impl Into<String>, why: impl fmt::Display, next: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.to_string(), next: next.into(), exit: Exit::Failed }
    }

    /// The shape of an error under `--json`.
    pub fn to_json(&self) -> impl Serialize + use<'_> {
        #[derive(Serialize)]
        struct Shape<'a> {
            schema: &'static str,
            what: &'a str,
            why: &'a str,
            next: &'a str,
            exit: u8,
        }
        Shape { schema: "vespiary.error/1", what: &self.what, why: &self.why, next: &self.next, exit: self.exit as u8 }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for Trouble {}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        Self::failed("the ledger cannot record", error.what, error.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vespiary_kernel::policy::Denial;

    #[test]
    fn codes_are_the_promised_numbers() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Denied,
            Exit::OutOfBudget,
            Exit::AwaitingGate,
            Exit::Degraded,
        ];
        assert_eq!(all.map(|exit| exit as u8), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_stopped_or_degraded_run_never_looks_done() {
        for status in [
            RunStatus::OutOfBudget,
            RunStatus::AwaitingGate,
            RunStatus::Degraded,
            RunStatus::Failed,
            RunStatus::Stopped,
            RunStatus::Running,
        ] {
            assert_ne!(Exit::of_run(status), Exit::Done);
        }
    }

    #[test]
    fn a_denial_has_a_code_of_its_own() {
        let denial = Denial { needed: "write:.".into(), held: String::new(), hint: "h".into(), rule: None };
        assert_eq!(Exit::of_failure(&Failure::Denied(denial)), Exit::Denied);
        assert_eq!(Exit::of_failure(&Failure::Cancelled), Exit::Failed);
    }
}
