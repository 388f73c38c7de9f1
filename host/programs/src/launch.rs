//! The launcher: the host's executable once more, in a process that does nothing but leave the host's namespaces and start
//! the warden in new ones. It runs before any thread exists, because the kernel lets only such a process do this.
#![allow(clippy::disallowed_methods, reason = "it writes its own id maps and starts the warden")]

use crate::confined::Refused;
use crate::warden;
use crate::wire::Report;
use nix::sched::{CloneFlags, unshare};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};

/// The first argument by which an executable knows that it is to be the launcher. Not for people.
pub const ENTRY: &str = "__confine";

/// The second argument: what this process is to be.
pub(crate) const CLOSED: &str = "closed";
pub(crate) const NETWORKED: &str = "networked";
const WARDEN: &str = "warden";

/// Be the launcher, or the warden. To be called with the arguments that follow the executable's name when the first is
/// [`ENTRY`], before any thread is started and any file is opened. Standard input must be the host's socket.
pub fn enter(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<_> = args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    close_inherited();
    let Ok(socket) = host_socket() else {
        eprintln!("{ENTRY} is how Vespiary starts programs for itself; it is not a command");
        return ExitCode::from(2);
    };
    let ended = match args[..] {
        [ENTRY, CLOSED] => leave(CloneFlags::CLONE_NEWNET),
        [ENTRY, NETWORKED] => leave(CloneFlags::empty()),
        [ENTRY, WARDEN] => warden::watch(&socket),
        _ => Err(Refused::Host("the launcher was called wrongly".into())),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(refused) => {
            // A host that no longer listens needs no reason.
            let _ = Report::from(refused).send(&socket);
            ExitCode::FAILURE
        }
    }
}

/// Standard input as the socket it must be, under a descriptor that no program inherits.
fn host_socket() -> io::Result<UnixStream> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.peer_addr()?;
    Ok(socket)
}

/// Leave the host's namespaces, start the warden in the new ones, and wait for its end.
fn leave(also: CloneFlags) -> Result<(), Refused> {
    // A session of its own has no terminal, whose input queue a program could fill.
    rustix::process::setsid().map_err(|error| host("no new session", error))?;
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    unshare(
        CloneFlags::CLONE_NEWUSER
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWCGROUP
            | also,
    )
    .map_err(|error| no_namespaces(&format!("new namespaces were refused ({error})")))?;
    let maps =
        [("setgroups", "deny".into()), ("uid_map", format!("{uid} {uid} 1")), ("gid_map", format!("{gid} {gid} 1"))];
    for (file, text) in maps {
        fs::write(format!("/proc/self/{file}"), text)
            .map_err(|error| no_namespaces(&format!("/proc/self/{file} could not be written ({error})")))?;
    }
    keep_privileges()
        .map_err(|error| no_namespaces(&format!("privileges in the new namespaces were refused ({error})")))?;
    let mut warden = Command::new("/proc/self/exe")
        .args([ENTRY, WARDEN])
        .env_clear()
        .stdin(Stdio::inherit())
        .spawn()
        .map_err(|error| host("the warden could not be started", error))?;
    warden.wait().map_err(|error| host("the warden was lost", error))?;
    Ok(())
}

/// Whoever makes a user namespace holds every capability in it, until the next program. Take along what the warden needs
/// to lay out a world, and to drop all of it afterwards.
fn keep_privileges() -> rustix::io::Result<()> {
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::SETPCAP;
    let held = rustix::thread::capabilities(None)?;
    rustix::thread::set_capabilities(None, CapabilitySets { inheritable: needed, ..held })?;
    needed.iter().try_for_each(|capability| rustix::thread::configure_capability_in_ambient_set(capability, true))
}

/// Close whatever the host held besides the three standard streams. Rust opens everything so that it closes by itself;
/// this is for what the host inherited, and for what C code opened.
fn close_inherited() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // The listing's own descriptor is closed already, which is no harm.
        let _ = nix::unistd::close(descriptor);
    }
}

pub(crate) fn no_namespaces(missing: &str) -> Refused {
    Refused::Unconfinable {
        missing: missing.into(),
        remedy: "allow unprivileged user namespaces: set user.max_user_namespaces above 0; on Ubuntu also \
                 kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor profile for this program; in a container, run \
                 it with a seccomp profile that permits unshare(2)"
            .into(),
    }
}

fn host(what: &str, error: impl std::fmt::Display) -> Refused {
    Refused::Host(format!("{what}: {error}"))
}
