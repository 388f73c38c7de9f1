//! A call that was admitted, as a run of a program, and its end as an outcome. Everything the program gets is read off the
//! receipt here and nowhere else.

use crate::Programs;
use crate::confined::{Confined, Ended, EndedBy, ProgramLimits, Refused};
use crate::opened::Wanted;
use crate::output::Kept;
use crate::places::Places;
use crate::world::TEMP;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vespiary_kernel::account::{Account, Resource};
use vespiary_kernel::admit::Admitted;
use vespiary_kernel::call::{Ending, Failure, Level, LogLine, Outcome};
use vespiary_kernel::capability::Capability;
use vespiary_kernel::json::Json;
use vespiary_kernel::legible::is_harmful;
use vespiary_kernel::observed::ReadSet;
use vespiary_kernel::ports::{BoxFuture, Runner, ScriptCell};
use vespiary_kernel::principal::Isolation;
use vespiary_kernel::program::{ProgramArguments, ProgramResult};
use vespiary_kernel::quota::{LimitHit, Quota};
use vespiary_kernel::scope::Scope;
use vespiary_kernel::sight::Access;

/// What a program must be granted to be given the network, together: all of it, this machine's own loopback included. A
/// program opens its own connections, so of a narrower grant nothing could be enforced, and it is given none.
const WHOLE_NETWORK: [&str; 2] = ["net:*:*", "net:127.0.0.1:*"];

/// How many lines of what an ended program had said are kept in the call's log.
const LINES_MAX: usize = 100;
/// How long one of them may be, bytes.
const LINE_BYTES_MAX: usize = 1 << 10;

impl Runner for Programs {
    fn run(&self, admitted: Admitted) -> BoxFuture<'_, Outcome> {
        Box::pin(self.run_admitted(admitted))
    }

    fn open_script(&self, _: Admitted) -> BoxFuture<'_, Result<Box<dyn ScriptCell>, Outcome>> {
        let refused = Outcome::refused(Failure::Unrunnable("host programs run no workflow scripts".into()));
        Box::pin(std::future::ready(Err(refused)))
    }
}

impl Programs {
    async fn run_admitted(&self, admitted: Admitted) -> Outcome {
        let quota = *admitted.quota();
        let confined = match self.confined(&admitted).await {
            Ok(confined) => confined,
            Err(failure) => return Outcome::refused(failure),
        };
        let ran = self.run_confined(confined).await;
        // The receipt, and with it the lease, is held until nothing of the program is left.
        match ran {
            Ok(ended) => outcome(ended, &quota, admitted.account()),
            Err(refused) => Outcome::refused(refused.into()),
        }
    }

    /// Everything the receipt gives to the program.
    async fn confined(&self, admitted: &Admitted) -> Result<Confined, Failure> {
        let arguments = ProgramArguments::read(admitted.arguments()).map_err(Failure::InvalidArguments)?;
        let exec = Capability::Exec(arguments.program().clone());
        if !admitted.scope().grant().covers(&exec) {
            return Err(Failure::Host(format!("a call was admitted without {exec}")));
        }
        let scope = admitted.scope();
        if admitted.isolation() == Isolation::Worktree && scope.paths().any(|(access, _)| access == Access::Write) {
            return Err(Failure::Failed(
                "a host program does not see the worktree of an isolated agent, and must not write into the project \
                 instead; deny the agent write: for this call, or run the program outside of it"
                    .into(),
            ));
        }
        let left = admitted.account().left(Resource::CpuTime);
        let wanted = Wanted {
            program: arguments.program().clone(),
            args: arguments.args().to_vec(),
            dir: arguments.dir().map(ToOwned::to_owned),
            env: variables(scope),
            scope: scope.clone(),
            root: admitted.root().to_owned(),
            limits: limits(&self.config.limits, admitted.quota(), left),
        };
        let stdin = arguments.stdin().map(ToOwned::to_owned);
        Ok(Confined { stdin, ..within(wanted).await? })
    }
}

/// The world that a scope gives a program.
pub(crate) async fn within(wanted: Wanted) -> Result<Confined, Refused> {
    let Wanted { program, args, dir, env, scope, root, limits } = wanted;
    // Looking for what is hidden reads a tree.
    let looked = tokio::task::spawn_blocking(move || Ok((Places::of(&scope, &root)?, canonical(&root)?, scope)));
    let (places, root, scope) = looked.await.map_err(|died| Refused::Host(died.to_string()))??;
    let dir = dir.map_or_else(|| start(&root, &places), |dir| root.join(dir));
    Ok(Confined {
        program,
        args,
        stdin: None,
        dir,
        read: places.read.into_iter().collect(),
        write: places.write.into_iter().collect(),
        hide: places.hide.into_iter().collect(),
        network: has_whole_network(&scope),
        env,
        limits,
    })
}

/// Where a program starts that is told nothing: in the project, or, where it is given nothing there, in its own directory.
fn start(root: &Path, places: &Places) -> PathBuf {
    let there = |place: &PathBuf| place.starts_with(root) || root.starts_with(place);
    if places.read.iter().chain(&places.write).any(there) { root.to_owned() } else { TEMP.into() }
}

fn canonical(root: &Path) -> Result<PathBuf, Refused> {
    std::fs::canonicalize(root).map_err(|error| Refused::Place(format!("{} cannot be used: {error}", root.display())))
}

/// Whether nothing of the network is withheld.
fn has_whole_network(scope: &Scope) -> bool {
    let whole = WHOLE_NETWORK.iter().all(|text| text.parse().is_ok_and(|all| scope.grant().covers(&all)));
    whole && !scope.holes().iter().any(|hole| matches!(hole, Capability::Net(_)))
}

/// The granted variables, as this process has them.
fn variables(scope: &Scope) -> BTreeMap<String, String> {
    scope.variables().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect()
}

/// What a call may use, within what any program may use here.
fn limits(most: &ProgramLimits, quota: &Quota, cpu_us_left: u64) -> ProgramLimits {
    ProgramLimits {
        cpu_time_max: quota.cpu_time_max.min(std::time::Duration::from_micros(cpu_us_left)),
        wall_time_max: quota.wall_time_max,
        idle_time_max: quota.idle_time_max,
        memory_bytes_max: most.memory_bytes_max.min(quota.memory_bytes_max),
        open_files_max: most.open_files_max.min(quota.open_files_max.max(16)),
        file_bytes_max: most.file_bytes_max.min(quota.bytes_written_max),
        // Both streams fit the result even if JSON needs six characters for each byte.
        kept_bytes_max: most.kept_bytes_max.min(quota.result_bytes_max / 13),
        ..*most
    }
}

fn outcome(ended: Ended, quota: &Quota, account: &Account) -> Outcome {
    let Ended { by, stdout, stderr, mut usage } = ended;
    // What was used was used; that it was too much is known at the next call.
    let over = account.charge(Resource::CpuTime, usage.cpu_us).err();
    let truncated = stdout.truncated() || stderr.truncated();
    let ending = match by {
        EndedBy::Limit(hit) => Ending::Failed(Failure::Limit(hit)),
        EndedBy::Itself(status) => {
            let (stdout_bytes, stderr_bytes) = (stdout.bytes(), stderr.bytes());
            let result = ProgramResult {
                status,
                stdout: stdout.text(),
                stderr: stderr.text(),
                truncated,
                stdout_bytes,
                stderr_bytes,
            };
            result
                .to_json()
                .map_or_else(|error| Ending::Failed(Failure::Host(error.to_string())), |json| value(json, quota))
        }
    };
    let ending = match (over, ending) {
        (Some(hit), Ending::Failed(_)) => Ending::Failed(Failure::Limit(hit)),
        (_, ending) => ending,
    };
    // Of a run that gave no value, what it had said is kept.
    let log = match &ending {
        Ending::Done(json) => {
            usage.result_bytes = json.len_bytes();
            Vec::new()
        }
        Ending::Failed(_) => {
            [(&stdout, Level::Info), (&stderr, Level::Warn)].into_iter().flat_map(last_lines).collect()
        }
    };
    usage.log_bytes = log.iter().map(|line: &LogLine| line.text.len() as u64).sum();
    Outcome { call: None, ending, usage, artifacts: Vec::new(), log, reads: ReadSet::default(), reused: None }
}

fn value(json: Json, quota: &Quota) -> Ending {
    let used = json.len_bytes();
    if used <= quota.result_bytes_max {
        return Ending::Done(json);
    }
    Ending::Failed(Failure::Limit(LimitHit { quota: "result-bytes".into(), limit: quota.result_bytes_max, used }))
}

/// The end of a stream as log lines, control characters shown and not obeyed.
fn last_lines((stream, level): (&Kept, Level)) -> Vec<LogLine> {
    let text = stream.text();
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES_MAX)..];
    last.iter().map(|line| LogLine { level, text: neutral(line) }).collect()
}

fn neutral(line: &str) -> String {
    let line = &line[..line.floor_char_boundary(LINE_BYTES_MAX)];
    let harmful = |c: char| is_harmful(c) && c != '\t';
    line.chars().flat_map(|c| if harmful(c) { c.escape_unicode().collect() } else { vec![c] }).collect()
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound(what) => Self::NotFound(what),
            Refused::Unfit(why) | Refused::Place(why) | Refused::NotStarted(why) => Self::Failed(why),
            unconfinable @ Refused::Unconfinable { .. } => Self::Host(unconfinable.to_string()),
            Refused::Host(why) => Self::Host(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vespiary_kernel::grant::Grant;

    fn scope(held: &[&str]) -> Scope {
        Scope::whole(Grant::of_run(held.iter().map(|held| held.parse().unwrap())))
    }

    #[test]
    fn only_the_whole_network_is_a_network() {
        assert!(has_whole_network(&scope(&["net:*:*", "net:127.0.0.1:*"])));
        for part in [
            &["net:*:*"][..],
            &["net:example.com"],
            &["net:*", "net:127.0.0.1:*"],
            &["net:GET *:*", "net:127.0.0.1:*"],
            &[],
        ] {
            assert!(!has_whole_network(&scope(part)), "{part:?}");
        }
    }

    #[test]
    fn a_call_is_held_to_the_lower_of_its_limits() {
        let most = ProgramLimits::default();
        let quota = Quota { result_bytes_max: 130, bytes_written_max: 7, ..Quota::default() };
        let limits = limits(&most, &quota, 5_000);
        assert_eq!(limits.cpu_time_max, std::time::Duration::from_millis(5));
        assert_eq!((limits.kept_bytes_max, limits.file_bytes_max, limits.wall_time_max), (10, 7, quota.wall_time_max));
        assert_eq!(limits.memory_bytes_max, quota.memory_bytes_max, "what was leased is what it may use");
    }

    #[test]
    fn what_a_program_says_does_not_steer_a_terminal() {
        assert_eq!(neutral("a\tb\u{1b}[31m\u{202e}"), "a\tb\\u{1b}[31m\\u{202e}");
        assert!(neutral(&"é".repeat(5_000)).len() <= LINE_BYTES_MAX);
    }
}
