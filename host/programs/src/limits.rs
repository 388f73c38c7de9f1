//! The limits the kernel itself keeps. Each holds for one process, but for their number; what all processes of a run use
//! together is counted in `warden`. Set before anything is started, and inherited.
#![allow(clippy::disallowed_methods, reason = "one limit is a file of /proc")]

use crate::confined::{ProgramLimits, Refused};
use rustix::io::Result;
use rustix::process::{Resource, Rlimit, setrlimit};

/// What the warden's own few megabytes need.
const DATA_BYTES_LEAST: u64 = 32 << 20;

/// Process numbers below this are given out once only.
const RESERVED_PIDS: u64 = 300;

/// Bound how many processes and threads there can be in this namespace, whoever runs them. The resource limit that counts
/// processes does not hold for root, and watching is too slow: a fork bomb makes ten thousand between two looks.
pub(crate) fn bound_processes(limits: &ProgramLimits) -> std::result::Result<(), Refused> {
    let root = rustix::process::geteuid().is_root();
    let bounded = match own_pid_max() {
        // Before, this was one number for the whole machine, and root could change it from here.
        false => Err("this kernel cannot bound the processes of a namespace".to_owned()),
        true => {
            let most = limits.processes_max.saturating_add(RESERVED_PIDS + 4).min(1 << 22);
            std::fs::write("/proc/sys/kernel/pid_max", most.to_string()).map_err(|error| error.to_string())
        }
    };
    match bounded {
        Err(why) if root => Err(Refused::Unconfinable {
            missing: format!("the number of processes that root starts has no limit ({why})"),
            remedy: "run Vespiary as an ordinary user, or use Linux 6.14 or newer".into(),
        }),
        // An ordinary user's are counted by the resource limit.
        _ => Ok(()),
    }
}

/// Whether each namespace has a largest process number of its own, as it has since Linux 6.14.
fn own_pid_max() -> bool {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 14)
}

/// Bound this process and all it starts. `setrlimit` never raises a hard limit without privilege, so a host that is
/// bounded tighter stays so.
pub(crate) fn apply(limits: &ProgramLimits) -> Result<()> {
    // The warden looks at the tree some forty times a second for as long as the run lasts, on the same account.
    let watching = limits.wall_time_max.as_secs() / 200;
    let cpu = limits.cpu_time_max.as_secs() + 2 + watching;
    let most = [
        // One process that spins is ended even if nobody counted it.
        (Resource::Cpu, cpu),
        // Of private memory, not of address space: runtimes reserve terabytes that they never touch.
        (Resource::Data, limits.memory_bytes_max.max(DATA_BYTES_LEAST)),
        (Resource::Fsize, limits.file_bytes_max),
        (Resource::Nofile, limits.open_files_max.max(16)),
        // Counted in this user namespace alone, so what else the user runs does not matter. The warden has three threads.
        (Resource::Nproc, limits.processes_max.saturating_add(3)),
        // A core file would hold what the program had read.
        (Resource::Core, 0),
        // Memory that no counter here sees.
        (Resource::Memlock, 64 << 10),
        (Resource::Msgqueue, 0),
        (Resource::Sigpending, 1_024),
        (Resource::Stack, 64 << 20),
        // Nothing may run before others.
        (Resource::Nice, 0),
        (Resource::Rtprio, 0),
    ];
    for (resource, most) in most {
        let held = rustix::process::getrlimit(resource);
        let maximum = held.maximum.map_or(most, |held| held.min(most));
        // Programs expect the stack they are used to; they may ask for more, up to the limit.
        let current = match resource {
            Resource::Stack => held.current.map_or(8 << 20, |held| held.min(8 << 20)),
            _ => maximum,
        };
        setrlimit(resource, Rlimit { current: Some(current.min(maximum)), maximum: Some(maximum) })?;
    }
    Ok(())
}
