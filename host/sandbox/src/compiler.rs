//! The compiler process: this program once more, which reads a component, writes machine code and ends. It holds nothing and
//! may reach nothing, so that a component that subverts the compiler has subverted a process without files, network or
//! children. How it is started and judged is in `compile`.

use crate::engine;
use landlock::{ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::ffi::OsString;
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;
use wasmtime::Engine;

/// The first argument by which an executable knows that it is to compile. Not for people.
pub const ENTRY: &str = "__compile";

/// What the answer begins with; the hash of the compiler's settings follows, then the code.
pub(crate) const MAGIC: &[u8; 8] = b"vcode  1";

/// Both together, bytes.
pub(crate) const HEADER: usize = MAGIC.len() + 8;

/// What is mapped but not counted as memory used: stacks of threads, arenas of the allocator.
const ADDRESSES_BYTES: u64 = 4 << 30;

/// Compile what standard input holds. To be called with the arguments that follow the executable's name when the first is
/// [`ENTRY`], before any thread is started.
pub fn enter(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let numbers: Vec<u64> = args.into_iter().skip(1).filter_map(|arg| arg.to_str()?.parse().ok()).collect();
    let [memory_bytes_max, time_secs_max, stack_bytes] = numbers[..] else {
        eprintln!("{ENTRY} is how Vespiary compiles components for itself; it is not a command");
        return ExitCode::from(2);
    };
    match confine(memory_bytes_max, time_secs_max).and_then(|()| compile(stack_bytes)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// A number that is the same only where compiled code fits.
pub(crate) fn settings(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

fn compile(stack_bytes: u64) -> Result<(), String> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(|error| format!("the component could not be read: {error}"))?;
    let stack_bytes = usize::try_from(stack_bytes).unwrap_or(usize::MAX);
    let engine = engine::for_compiling(stack_bytes).map_err(|error| format!("{error:#}"))?;
    let code = engine.precompile_component(&bytes).map_err(|error| format!("{error:#}"))?;
    let mut out = io::stdout().lock();
    let mut write =
        |bytes: &[u8]| out.write_all(bytes).map_err(|error| format!("the code could not be written: {error}"));
    write(MAGIC)?;
    write(&settings(&engine).to_le_bytes())?;
    write(&code)
}

/// Bound this process, and take from it what a compiler does not need. Limits must take effect; the walls are beside the
/// point that makes this process worth having, so a kernel without them compiles all the same.
fn confine(memory_bytes_max: u64, time_secs_max: u64) -> Result<(), String> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let limits = [
        (Resource::Data, memory_bytes_max),
        (Resource::As, memory_bytes_max.saturating_add(ADDRESSES_BYTES)),
        // Should the host be killed, nobody watches the clock.
        (Resource::Cpu, time_secs_max.saturating_mul(cores)),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
    ];
    for (resource, most) in limits {
        let most = getrlimit(resource).maximum.map_or(most, |held| held.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|error| format!("the compiler could not be bounded: {error}"))?;
    }
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    enclose();
    Ok(())
}

/// Take files, network and children from this thread and all it starts.
fn enclose() {
    let _ = rustix::thread::set_no_new_privs(true);
    // No rule is added: everything handled is denied.
    let landlock = || -> Result<(), landlock::RulesetError> {
        let ruleset = Ruleset::default().handle_access(AccessFs::from_all(ABI::V5))?;
        ruleset.handle_access(AccessNet::from_all(ABI::V5))?.create()?.restrict_self().map(drop)
    };
    let _ = landlock();
    let _ = refuse_system_calls();
}

/// Refuse what leads out of a process that cannot open files: other processes, sockets, and the kernel's large doors.
fn refuse_system_calls() -> Option<()> {
    let refused = [
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_connect,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_send_signal,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        libc::SYS_fchown,
        libc::SYS_fchownat,
        libc::SYS_utimensat,
        libc::SYS_setxattr,
        libc::SYS_shmget,
        libc::SYS_memfd_create,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chmod,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown,
    ];
    let rules: BTreeMap<i64, _> = refused.into_iter().map(|call| (call, Vec::new())).collect();
    let arch = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let eperm = SeccompAction::Errno(libc::EPERM as u32);
    let program: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, eperm, arch).ok()?.try_into().ok()?;
    seccompiler::apply_filter(&program).ok()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests reach for the world")]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_compiler_has_no_file_no_network_and_no_child() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (to, dir) = (server.local_addr().unwrap(), temp.path().to_owned());
        let reaches = move || {
            [
                ("read", std::fs::read(&file).is_ok()),
                ("write", std::fs::write(&file, "y").is_ok()),
                ("list", std::fs::read_dir(&dir).is_ok()),
                ("make a socket", std::os::unix::net::UnixDatagram::unbound().is_ok()),
                ("connect", std::net::TcpStream::connect(to).is_ok()),
                ("start", Command::new("/bin/true").status().is_ok()),
            ]
        };
        assert!(reaches().into_iter().all(|(_, done)| done), "this test would notice nothing here");
        // A thread of its own, since there is no way back.
        let enclosed = std::thread::spawn(move || {
            enclose();
            reaches()
        });
        for (what, done) in enclosed.join().unwrap() {
            assert!(!done, "it could {what}");
        }
    }
}
