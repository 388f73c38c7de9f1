//! The system calls a program may make. Two filters, both in force: the first lists what exists for a program, the second
//! what is refused of it because of its arguments.
//!
//! What is not listed answers `ENOSYS`, as on an older kernel, so that programs fall back to what they did before it
//! existed; what is refused answers `EPERM`, so that they can say so. Neither kills: probing is what honest programs do,
//! and a program that dies without a word explains nothing to whoever granted it. A call of another architecture's table,
//! which no honest program makes, does kill.

use crate::confined::Refused;
use crate::walls::unconfinable;
use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// Calls that read, compute, wait, or reach only what a descriptor or a path already allows.
#[rustfmt::skip]
const LISTED: &[c_long] = &[
    // Files by descriptor: whoever holds one was allowed to open it.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_lseek, libc::SYS_close,
    libc::SYS_close_range, libc::SYS_fstat, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_ftruncate, libc::SYS_fallocate,
    libc::SYS_fadvise64, libc::SYS_readahead, libc::SYS_sync_file_range, libc::SYS_flock, libc::SYS_fcntl, libc::SYS_dup,
    libc::SYS_dup3, libc::SYS_getdents64, libc::SYS_copy_file_range, libc::SYS_sendfile, libc::SYS_splice, libc::SYS_tee,
    libc::SYS_ioctl, libc::SYS_fchdir,
    // Files by path: the world, its mounts and Landlock decide. `openat2` hides its flags from a filter: not listed.
    libc::SYS_openat, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_faccessat, libc::SYS_faccessat2,
    libc::SYS_readlinkat, libc::SYS_mkdirat, libc::SYS_unlinkat, libc::SYS_renameat2, libc::SYS_linkat, libc::SYS_symlinkat,
    libc::SYS_truncate, libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_getcwd, libc::SYS_chdir, libc::SYS_umask,
    libc::SYS_inotify_init1, libc::SYS_inotify_add_watch, libc::SYS_inotify_rm_watch, libc::SYS_mknodat,
    // A file's mode, owner and times: only where a mount is writable. Set-id bits are refused below.
    libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_utimensat,
    libc::SYS_getxattr, libc::SYS_lgetxattr, libc::SYS_fgetxattr, libc::SYS_listxattr, libc::SYS_llistxattr,
    libc::SYS_flistxattr, libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr, libc::SYS_removexattr,
    libc::SYS_lremovexattr, libc::SYS_fremovexattr,
    // Pipes and waiting. `io_uring` would run calls that no filter sees: not listed.
    libc::SYS_pipe2, libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_epoll_create1, libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_timerfd_create, libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime, libc::SYS_signalfd4,
    // Memory of its own. `memfd_create` and `memfd_secret` make memory that no counter sees: not listed; nor is
    // `userfaultfd`, which stops the kernel in the middle of a copy. Of `mmap`, see below.
    libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect, libc::SYS_madvise,
    libc::SYS_mincore, libc::SYS_msync, libc::SYS_mlock, libc::SYS_munlock, libc::SYS_mlock2, libc::SYS_membarrier,
    libc::SYS_pkey_alloc, libc::SYS_pkey_free, libc::SYS_pkey_mprotect, libc::SYS_get_mempolicy,
    // Processes and threads. `clone3` hides its flags from a filter, so it is not listed and libraries use `clone`.
    libc::SYS_clone, libc::SYS_execve, libc::SYS_execveat, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_wait4,
    libc::SYS_waitid, libc::SYS_set_tid_address, libc::SYS_set_robust_list, libc::SYS_get_robust_list, libc::SYS_futex,
    libc::SYS_rseq, libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam, libc::SYS_sched_setparam, libc::SYS_sched_getscheduler, libc::SYS_sched_setscheduler,
    libc::SYS_sched_getattr, libc::SYS_sched_setattr, libc::SYS_sched_get_priority_max, libc::SYS_sched_get_priority_min,
    libc::SYS_sched_rr_get_interval, libc::SYS_getpriority, libc::SYS_setpriority, libc::SYS_ioprio_get, libc::SYS_getcpu,
    libc::SYS_prctl, libc::SYS_seccomp, libc::SYS_personality, libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal,
    libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self,
    // Signals reach only processes of the same world: no other has a number here.
    libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill, libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigpending, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_sigreturn, libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait, libc::SYS_rt_tgsigqueueinfo, libc::SYS_sigaltstack, libc::SYS_restart_syscall,
    // Who it is, and changing that where nothing is gained: it holds no capability.
    libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid,
    libc::SYS_getegid, libc::SYS_getresuid, libc::SYS_getresgid, libc::SYS_getgroups, libc::SYS_setuid, libc::SYS_setgid,
    libc::SYS_setreuid, libc::SYS_setregid, libc::SYS_setresuid, libc::SYS_setresgid, libc::SYS_setgroups,
    libc::SYS_getpgid, libc::SYS_setpgid, libc::SYS_getsid, libc::SYS_setsid, libc::SYS_capget, libc::SYS_getrlimit,
    libc::SYS_setrlimit, libc::SYS_prlimit64, libc::SYS_getrusage, libc::SYS_times,
    // Clocks, randomness, the machine's name and load. Setting any of them needs a capability.
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep, libc::SYS_gettimeofday,
    libc::SYS_getitimer, libc::SYS_setitimer, libc::SYS_timer_create, libc::SYS_timer_settime, libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun, libc::SYS_timer_delete, libc::SYS_getrandom, libc::SYS_uname, libc::SYS_sysinfo,
    // Sockets: which kinds, the second filter decides. Without the network only connected pairs are left.
    libc::SYS_socket, libc::SYS_socketpair, libc::SYS_connect, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept,
    libc::SYS_accept4, libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_getsockopt, libc::SYS_setsockopt,
    libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_recvmmsg,
    libc::SYS_shutdown,
];

/// The older names of calls above, which only this architecture has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER: &[c_long] = &[
    libc::SYS_open, libc::SYS_creat, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink, libc::SYS_mkdir,
    libc::SYS_rmdir, libc::SYS_unlink, libc::SYS_rename, libc::SYS_renameat, libc::SYS_link, libc::SYS_symlink,
    libc::SYS_mknod, libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown, libc::SYS_utime, libc::SYS_utimes,
    libc::SYS_futimesat, libc::SYS_getdents, libc::SYS_dup2, libc::SYS_pipe, libc::SYS_poll, libc::SYS_select,
    libc::SYS_epoll_create, libc::SYS_epoll_wait, libc::SYS_eventfd, libc::SYS_signalfd, libc::SYS_inotify_init,
    libc::SYS_fork, libc::SYS_vfork, libc::SYS_getpgrp, libc::SYS_alarm, libc::SYS_pause, libc::SYS_time,
    libc::SYS_arch_prctl,
];
#[cfg(target_arch = "aarch64")]
const OLDER: &[c_long] = &[libc::SYS_renameat];

/// Set-id and set-group-id bits of a mode.
const SET_ID: [u64; 2] = [0o4000, 0o2000];

/// Kinds of namespace, as `clone` takes them: in one of its own a program would hold every capability.
const NAMESPACES: [i32; 8] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
    0x80, // CLONE_NEWTIME, where `clone` has it at all
];

/// Requests that put words into a terminal's input or take it over: TIOCSTI, TIOCLINUX, TIOCSETD, TIOCCONS, TIOCSCTTY. C
/// libraries disagree about the type of these numbers, not about the numbers.
const TERMINAL: [u64; 5] = [0x5412, 0x541c, 0x5423, 0x541d, 0x540e];

/// Raw frames under their oldest name.
const SOCK_PACKET: i32 = 10;

/// Put both filters in force for this thread and all it starts.
pub(crate) fn filter(network: bool) -> Result<(), Refused> {
    let refuse = |error: &dyn std::fmt::Display| unconfinable(format!("seccomp did not take effect ({error})"));
    let arch = TargetArch::try_from(std::env::consts::ARCH)
        .ok()
        .filter(|arch| matches!(arch, TargetArch::x86_64 | TargetArch::aarch64))
        .ok_or_else(|| refuse(&"only x86_64 and aarch64 are known here"))?;
    let enosys = SeccompAction::Errno(libc::ENOSYS as u32);
    let eperm = SeccompAction::Errno(libc::EPERM as u32);
    let program = |rules, otherwise, matched| -> Result<BpfProgram, BackendError> {
        SeccompFilter::new(rules, otherwise, matched, arch)?.try_into()
    };
    let listed = program(listed(), enosys, SeccompAction::Allow).map_err(|error| refuse(&error))?;
    let refused = refused(network).map_err(|error| refuse(&error))?;
    let refused = program(refused, SeccompAction::Allow, eperm).map_err(|error| refuse(&error))?;
    // Where both answer with an error, the one that was put in force last is heard: it has the better word.
    seccompiler::apply_filter(&listed).map_err(|error| refuse(&error))?;
    seccompiler::apply_filter(&refused).map_err(|error| refuse(&error))
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Something about an argument: which one, how much of it, how it compares, and to what.
type Condition = (u8, Len, Op, u64);

fn listed() -> Rules {
    // An empty list of conditions means: whatever the arguments.
    LISTED.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect()
}

fn refused(network: bool) -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    for flag in NAMESPACES {
        let flag = u64::from(flag as u32);
        refuse(&mut rules, libc::SYS_clone, &[(0, Len::Dword, Op::MaskedEq(flag), flag)])?;
    }
    for request in TERMINAL {
        refuse(&mut rules, libc::SYS_ioctl, &[(1, Len::Dword, Op::Eq, request)])?;
    }
    // Asking for the present personality is common; changing it turns off what makes attacks on a process hard.
    refuse(&mut rules, libc::SYS_personality, &[(0, Len::Dword, Op::Ne, 0), (0, Len::Dword, Op::Ne, 0xffff_ffff)])?;
    // The warden is of the same user: its limits and its turn are not for those it looks after to change. So are nobody's
    // but one's own.
    for call in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setaffinity,
    ] {
        refuse(&mut rules, call, &[(0, Len::Dword, Op::Ne, 0)])?;
    }
    refuse(&mut rules, libc::SYS_setpriority, &[(0, Len::Dword, Op::Ne, 0)])?;
    refuse(&mut rules, libc::SYS_setpriority, &[(1, Len::Dword, Op::Ne, 0)])?;
    // Of memory that is shared and has no file the kernel tells only what is mapped at the moment, and keeps the rest.
    let (shared, nameless) = (libc::MAP_SHARED as u64, libc::MAP_ANONYMOUS as u64);
    refuse(
        &mut rules,
        libc::SYS_mmap,
        &[(3, Len::Dword, Op::MaskedEq(shared), shared), (3, Len::Dword, Op::MaskedEq(nameless), nameless)],
    )?;
    // A set-id file would act as the user for whoever else may execute it.
    let creates = libc::O_CREAT as u64;
    for bit in SET_ID {
        let modes: &[(c_long, u8)] = &[
            (libc::SYS_fchmod, 1),
            (libc::SYS_fchmodat, 2),
            (libc::SYS_mkdirat, 2),
            (libc::SYS_mknodat, 2),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_chmod, 1),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_mkdir, 1),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_mknod, 1),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_creat, 1),
        ];
        for (call, at) in modes {
            refuse(&mut rules, *call, &[(*at, Len::Dword, Op::MaskedEq(bit), bit)])?;
        }
        let opens: &[(c_long, u8)] = &[
            (libc::SYS_openat, 2),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_open, 1),
        ];
        for (call, flags) in opens {
            refuse(
                &mut rules,
                *call,
                &[
                    (*flags, Len::Dword, Op::MaskedEq(creates), creates),
                    (*flags + 1, Len::Dword, Op::MaskedEq(bit), bit),
                ],
            )?;
        }
    }
    sockets(&mut rules, network)?;
    Ok(rules)
}

/// Refuse `call` when all of these are so.
fn refuse(rules: &mut Rules, call: c_long, all_of: &[Condition]) -> Result<(), BackendError> {
    let conditions =
        all_of.iter().map(|(at, len, op, value)| SeccompCondition::new(*at, len.clone(), op.clone(), *value));
    let rule = SeccompRule::new(conditions.collect::<Result<_, _>>()?)?;
    rules.entry(call).or_default().push(rule);
    Ok(())
}

/// Which sockets there are. A UNIX socket could be connected to any service of this machine that has a path, a message bus
/// that starts programs among them, so there is none: only pairs, and only of kinds that stay connected to each other.
fn sockets(rules: &mut Rules, network: bool) -> Result<(), BackendError> {
    let not = |at: u8, value: i32| (at, Len::Dword, Op::Ne, value as u64);
    let kind = |value: i32| (1, Len::Dword, Op::MaskedEq(0xf), value as u64);
    if network {
        refuse(rules, libc::SYS_socket, &[not(0, libc::AF_INET), not(0, libc::AF_INET6)])?;
        // Raw packets need a capability as well; this says so before the kernel is asked.
        for raw in [libc::SOCK_RAW, libc::SOCK_RDM, SOCK_PACKET] {
            refuse(rules, libc::SYS_socket, &[kind(raw)])?;
        }
    } else {
        refuse(rules, libc::SYS_socket, &[(0, Len::Dword, Op::Ge, 0)])?;
    }
    refuse(rules, libc::SYS_socketpair, &[not(0, libc::AF_UNIX)])?;
    for loose in [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_RDM, libc::SOCK_DCCP, SOCK_PACKET] {
        refuse(rules, libc::SYS_socketpair, &[kind(loose)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_filters_fit_the_kernel() {
        let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
        for network in [false, true] {
            for (rules, otherwise, matched) in [
                (listed(), SeccompAction::Errno(1), SeccompAction::Allow),
                (refused(network).unwrap(), SeccompAction::Allow, SeccompAction::Errno(1)),
            ] {
                let program: BpfProgram =
                    SeccompFilter::new(rules, otherwise, matched, arch).unwrap().try_into().unwrap();
                assert!(program.len() < 4096, "{} instructions", program.len());
            }
        }
    }

    #[test]
    fn what_is_dangerous_is_not_listed() {
        let listed = listed();
        for (name, call) in [
            ("ptrace", libc::SYS_ptrace),
            ("process_vm_readv", libc::SYS_process_vm_readv),
            ("process_vm_writev", libc::SYS_process_vm_writev),
            ("pidfd_getfd", libc::SYS_pidfd_getfd),
            ("kcmp", libc::SYS_kcmp),
            ("mount", libc::SYS_mount),
            ("umount2", libc::SYS_umount2),
            ("pivot_root", libc::SYS_pivot_root),
            ("chroot", libc::SYS_chroot),
            ("open_tree", libc::SYS_open_tree),
            ("move_mount", libc::SYS_move_mount),
            ("fsopen", libc::SYS_fsopen),
            ("mount_setattr", libc::SYS_mount_setattr),
            ("unshare", libc::SYS_unshare),
            ("setns", libc::SYS_setns),
            ("clone3", libc::SYS_clone3),
            ("openat2", libc::SYS_openat2),
            ("bpf", libc::SYS_bpf),
            ("perf_event_open", libc::SYS_perf_event_open),
            ("keyctl", libc::SYS_keyctl),
            ("add_key", libc::SYS_add_key),
            ("request_key", libc::SYS_request_key),
            ("userfaultfd", libc::SYS_userfaultfd),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("io_uring_enter", libc::SYS_io_uring_enter),
            ("io_uring_register", libc::SYS_io_uring_register),
            ("kexec_load", libc::SYS_kexec_load),
            ("init_module", libc::SYS_init_module),
            ("finit_module", libc::SYS_finit_module),
            ("delete_module", libc::SYS_delete_module),
            ("reboot", libc::SYS_reboot),
            ("swapon", libc::SYS_swapon),
            ("open_by_handle_at", libc::SYS_open_by_handle_at),
            ("name_to_handle_at", libc::SYS_name_to_handle_at),
            ("fanotify_init", libc::SYS_fanotify_init),
            ("memfd_create", libc::SYS_memfd_create),
            ("memfd_secret", libc::SYS_memfd_secret),
            ("vmsplice", libc::SYS_vmsplice),
            ("shmget", libc::SYS_shmget),
            ("semget", libc::SYS_semget),
            ("msgget", libc::SYS_msgget),
            ("mq_open", libc::SYS_mq_open),
            ("quotactl", libc::SYS_quotactl),
            ("acct", libc::SYS_acct),
            ("settimeofday", libc::SYS_settimeofday),
            ("clock_settime", libc::SYS_clock_settime),
            ("adjtimex", libc::SYS_adjtimex),
            ("sethostname", libc::SYS_sethostname),
            ("syslog", libc::SYS_syslog),
            ("vhangup", libc::SYS_vhangup),
            ("lookup_dcookie", libc::SYS_lookup_dcookie),
            ("capset", libc::SYS_capset),
        ] {
            assert!(!listed.contains_key(&call), "{name} is listed");
        }
    }
}
