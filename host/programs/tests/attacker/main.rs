//! A hostile program. It is given the name of one attack, tries it, and tells on standard output what the kernel said.
#![allow(unsafe_code, reason = "it makes system calls that no library would make")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it attacks the world it is in")]

use std::ffi::CString;
use std::io::{Error, Write as _};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["syscalls"] => syscalls(),
        ["sockets"] => sockets(),
        ["connect", path] => connect(path),
        ["metadata", path] => metadata(path),
        ["set-id", path] => set_id(path),
        ["warden"] => warden(),
        ["kill-all"] => tell("kill-all", call(libc::SYS_kill, [-1, 9, 0, 0, 0, 0])),
        ["kill", pid] => tell("kill", call(libc::SYS_kill, [pid.parse().unwrap(), 9, 0, 0, 0, 0])),
        ["private-memory"] => memory(libc::MAP_PRIVATE, 1),
        ["shared-memory"] => shared_memory(),
        ["odd-name"] => {
            unsafe { libc::prctl(libc::PR_SET_NAME, c"\xff\xfe".as_ptr()) };
            memory(libc::MAP_PRIVATE, 8);
        }
        ["spread-memory"] => memory(libc::MAP_PRIVATE, 8),
        ["fork-bomb"] => fork_bomb(),
        ["spin", count] => spin(count.parse().unwrap()),
        ["ignored-children"] => ignored_children(),
        ["daemon", seconds] => daemon(seconds),
        ["flood"] => flood(),
        ["big-file", path] => big_file(path),
        ["descriptors"] => descriptors(),
        ["close-and-sleep"] => close_and_sleep(),
        _ => panic!("no such attack: {args:?}"),
    }
}

fn tell(name: &str, result: i64) {
    let errno = Error::last_os_error().raw_os_error().unwrap_or(0);
    let what = match result {
        -1 => match errno {
            libc::EPERM => "EPERM".into(),
            libc::ENOSYS => "ENOSYS".into(),
            libc::EACCES => "EACCES".into(),
            libc::EROFS => "EROFS".into(),
            libc::ESRCH => "ESRCH".into(),
            libc::ENOENT => "ENOENT".into(),
            other => format!("errno {other}"),
        },
        _ => "done".to_owned(),
    };
    println!("{name}: {what}");
}

fn call(number: i64, a: [i64; 6]) -> i64 {
    unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) }
}

fn syscalls() {
    let path = CString::new("/tmp").unwrap();
    let at = path.as_ptr() as i64;
    let flag = |flag: i32| i64::from(flag) | i64::from(libc::SIGCHLD);
    let none = [0; 6];
    let mut attr = [0u8; 128];
    let attr = attr.as_mut_ptr() as i64;
    for (name, number, a) in [
        ("ptrace", libc::SYS_ptrace, [i64::from(libc::PTRACE_ATTACH), 1, 0, 0, 0, 0]),
        ("traceme", libc::SYS_ptrace, none),
        ("process_vm_readv", libc::SYS_process_vm_readv, [1, attr, 1, attr, 1, 0]),
        ("process_vm_writev", libc::SYS_process_vm_writev, [1, attr, 1, attr, 1, 0]),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, none),
        ("kcmp", libc::SYS_kcmp, [1, 1, 0, 0, 0, 0]),
        ("unshare-user", libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), 0, 0, 0, 0, 0]),
        ("clone-user", libc::SYS_clone, [flag(libc::CLONE_NEWUSER), 0, 0, 0, 0, 0]),
        ("clone-net", libc::SYS_clone, [flag(libc::CLONE_NEWNET), 0, 0, 0, 0, 0]),
        ("clone3", libc::SYS_clone3, [attr, 88, 0, 0, 0, 0]),
        ("setns", libc::SYS_setns, [0, 0, 0, 0, 0, 0]),
        ("mount", libc::SYS_mount, [at, at, at, libc::MS_BIND as i64, 0, 0]),
        ("umount2", libc::SYS_umount2, [at, 0, 0, 0, 0, 0]),
        ("pivot_root", libc::SYS_pivot_root, [at, at, 0, 0, 0, 0]),
        ("chroot", libc::SYS_chroot, [at, 0, 0, 0, 0, 0]),
        ("open_tree", libc::SYS_open_tree, [-100, at, 1, 0, 0, 0]),
        ("move_mount", libc::SYS_move_mount, none),
        ("fsopen", libc::SYS_fsopen, [at, 0, 0, 0, 0, 0]),
        ("mount_setattr", libc::SYS_mount_setattr, [-100, at, 0, attr, 32, 0]),
        ("openat2", libc::SYS_openat2, [-100, at, attr, 24, 0, 0]),
        ("bpf", libc::SYS_bpf, [0, attr, 128, 0, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [attr, 0, -1, -1, 0, 0]),
        ("keyctl", libc::SYS_keyctl, none),
        ("add_key", libc::SYS_add_key, [at, at, at, 1, -3, 0]),
        ("request_key", libc::SYS_request_key, [at, at, 0, -3, 0, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, none),
        ("io_uring_setup", libc::SYS_io_uring_setup, [8, attr, 0, 0, 0, 0]),
        ("memfd_create", libc::SYS_memfd_create, [at, 0, 0, 0, 0, 0]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [-100, attr, 0, 0, 0, 0]),
        ("fanotify_init", libc::SYS_fanotify_init, none),
        ("kexec_load", libc::SYS_kexec_load, none),
        ("init_module", libc::SYS_init_module, [attr, 128, at, 0, 0, 0]),
        // With a magic number that a kernel which is asked refuses as well, but by another word.
        ("reboot", libc::SYS_reboot, none),
        ("swapon", libc::SYS_swapon, [at, 0, 0, 0, 0, 0]),
        ("acct", libc::SYS_acct, [at, 0, 0, 0, 0, 0]),
        ("syslog", libc::SYS_syslog, [10, 0, 0, 0, 0, 0]),
        ("shmget", libc::SYS_shmget, [1, 4096, 0o1600, 0, 0, 0]),
        ("msgget", libc::SYS_msgget, [1, 0o1600, 0, 0, 0, 0]),
        ("mq_open", libc::SYS_mq_open, [at, 0, 0, 0, 0, 0]),
        ("sethostname", libc::SYS_sethostname, [at, 4, 0, 0, 0, 0]),
        ("clock_settime", libc::SYS_clock_settime, [0, attr, 0, 0, 0, 0]),
        ("capset", libc::SYS_capset, [attr, attr, 0, 0, 0, 0]),
        ("personality", libc::SYS_personality, [i64::from(libc::ADDR_NO_RANDOMIZE), 0, 0, 0, 0, 0]),
        ("tiocsti", libc::SYS_ioctl, [0, libc::TIOCSTI as i64, at, 0, 0, 0]),
        ("tiocsti-high-bits", libc::SYS_ioctl, [0, libc::TIOCSTI as i64 | (1 << 40), at, 0, 0, 0]),
        ("tioclinux", libc::SYS_ioctl, [0, 0x541c, at, 0, 0, 0]),
        // What changes how another process is limited, and when it runs: process 1 is the warden.
        ("prlimit-warden", libc::SYS_prlimit64, [1, i64::from(libc::RLIMIT_NOFILE), attr, 0, 0, 0]),
        ("scheduler-warden", libc::SYS_sched_setscheduler, [1, i64::from(libc::SCHED_IDLE), attr, 0, 0, 0]),
        ("param-warden", libc::SYS_sched_setparam, [1, attr, 0, 0, 0, 0]),
        ("attr-warden", libc::SYS_sched_setattr, [1, attr, 0, 0, 0, 0]),
        ("affinity-warden", libc::SYS_sched_setaffinity, [1, 128, attr, 0, 0, 0]),
        ("priority-warden", libc::SYS_setpriority, [i64::from(libc::PRIO_PROCESS), 1, 19, 0, 0, 0]),
        ("priority-user", libc::SYS_setpriority, [i64::from(libc::PRIO_USER), 0, 19, 0, 0, 0]),
        // The same calls by the numbers of another table.
        ("x32-ptrace", 0x4000_0000 | 521, none),
        ("x32-getpid", 0x4000_0000 | 39, none),
    ] {
        let result = call(number, a);
        if name.starts_with("clone") && result == 0 {
            std::process::exit(0);
        }
        tell(name, result);
    }
}

fn sockets() {
    for (name, family, kind) in [
        ("inet", libc::AF_INET, libc::SOCK_STREAM),
        ("inet-udp", libc::AF_INET, libc::SOCK_DGRAM),
        ("inet-raw", libc::AF_INET, libc::SOCK_RAW),
        ("inet6", libc::AF_INET6, libc::SOCK_STREAM),
        ("unix", libc::AF_UNIX, libc::SOCK_STREAM),
        ("unix-dgram", libc::AF_UNIX, libc::SOCK_DGRAM),
        ("netlink", libc::AF_NETLINK, libc::SOCK_RAW),
        ("packet", libc::AF_PACKET, libc::SOCK_RAW),
        ("vsock", libc::AF_VSOCK, libc::SOCK_STREAM),
        ("alg", libc::AF_ALG, libc::SOCK_SEQPACKET),
        ("bluetooth", libc::AF_BLUETOOTH, libc::SOCK_RAW),
    ] {
        tell(name, i64::from(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) }));
    }
    for (name, kind) in [("pair", libc::SOCK_STREAM), ("pair-dgram", libc::SOCK_DGRAM)] {
        let mut pair = [0; 2];
        tell(
            name,
            i64::from(unsafe { libc::socketpair(libc::AF_UNIX, kind | libc::SOCK_NONBLOCK, 0, pair.as_mut_ptr()) }),
        );
    }
}

fn connect(path: &str) {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => println!("connect: done"),
        Err(error) => println!("connect: {error}"),
    }
    // A connected pair, whose end is asked to be another's.
    let mut pair = [0; 2];
    unsafe {
        libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr());
        let mut to: libc::sockaddr_un = std::mem::zeroed();
        to.sun_family = libc::AF_UNIX as u16;
        for (at, byte) in path.bytes().enumerate() {
            to.sun_path[at] = byte as libc::c_char;
        }
        let length = std::mem::size_of::<libc::sockaddr_un>() as u32;
        tell("reconnect", i64::from(libc::connect(pair[0], (&raw const to).cast(), length)));
    }
}

fn metadata(path: &str) {
    let path = CString::new(path).unwrap();
    let (p, at) = (path.as_ptr(), libc::AT_FDCWD);
    unsafe {
        tell("chmod", i64::from(libc::chmod(p, 0o777)));
        tell("chown", i64::from(libc::chown(p, libc::getuid(), libc::getgid())));
        tell("utimens", i64::from(libc::utimensat(at, p, std::ptr::null(), 0)));
        tell("setxattr", i64::from(libc::setxattr(p, c"user.mark".as_ptr(), p.cast(), 1, 0)));
        tell("truncate", i64::from(libc::truncate(p, 0)));
        tell("unlink", i64::from(libc::unlink(p)));
        let open = libc::open(p, libc::O_RDONLY | libc::O_CLOEXEC);
        tell("open", i64::from(open));
        tell("fchmod", i64::from(libc::fchmod(open, 0o777)));
        tell("futimens", i64::from(libc::futimens(open, std::ptr::null())));
        tell("fsetxattr", i64::from(libc::fsetxattr(open, c"user.mark".as_ptr(), p.cast(), 1, 0)));
    }
}

fn set_id(path: &str) {
    std::fs::write(path, "x").unwrap();
    let (path, created) = (CString::new(path).unwrap(), CString::new(format!("{path}.created")).unwrap());
    unsafe {
        tell("chmod", i64::from(libc::chmod(path.as_ptr(), 0o4755)));
        tell("fchmodat", i64::from(libc::fchmodat(libc::AT_FDCWD, path.as_ptr(), 0o2755, 0)));
        tell("open", i64::from(libc::open(created.as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o4755)));
        tell("creat", i64::from(libc::creat(created.as_ptr(), 0o4755)));
        tell("mknod", i64::from(libc::mknod(created.as_ptr(), libc::S_IFREG | 0o4755, 0)));
        tell("device", i64::from(libc::mknod(created.as_ptr(), libc::S_IFBLK | 0o600, libc::makedev(254, 0))));
        tell("mkdir", i64::from(libc::mkdir(created.as_ptr(), 0o2755)));
        tell("fchmodat2", call(libc::SYS_fchmodat2, [-100, path.as_ptr() as i64, 0o4755, 0, 0, 0]));
    }
}

fn warden() {
    for name in ["mem", "environ", "maps", "fd/0", "root/etc", "cwd"] {
        match std::fs::File::options().read(true).open(format!("/proc/1/{name}")) {
            Ok(_) => println!("{name}: done"),
            Err(error) => println!("{name}: {}", error.kind()),
        }
    }
    println!("write: {:?}", std::fs::File::options().write(true).open("/proc/1/mem").map(drop).is_ok());
    println!("score: {:?}", std::fs::write("/proc/1/oom_score_adj", "1000").is_ok());
    tell("kill", call(libc::SYS_kill, [1, 9, 0, 0, 0, 0]));
    tell("stop", call(libc::SYS_kill, [1, i64::from(libc::SIGSTOP), 0, 0, 0, 0]));
    println!("still here");
}

/// Memory that stays when it is let go of, and of which then nothing is told: without a file, or with one that has none.
fn shared_memory() {
    let map = |file: i32, flags: i32| {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let at = unsafe { libc::mmap(std::ptr::null_mut(), 8 << 20, protection, flags, file, 0) };
        if at == libc::MAP_FAILED { -1 } else { 0 }
    };
    tell("nameless", map(-1, libc::MAP_SHARED | libc::MAP_ANONYMOUS));
    tell("private", map(-1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS));
    let zero = c"/dev/zero".as_ptr();
    unsafe {
        tell("open", i64::from(libc::open(zero, libc::O_RDWR | libc::O_CLOEXEC)));
        tell("shared", map(libc::open(zero, libc::O_RDONLY | libc::O_CLOEXEC), libc::MAP_SHARED));
    }
}

fn memory(sharing: i32, processes: u32) {
    for _ in 1..processes {
        if unsafe { libc::fork() } == 0 {
            break;
        }
    }
    let size = 8 << 20;
    loop {
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                sharing | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            println!("mmap: refused");
            std::process::exit(7);
        }
        unsafe { std::ptr::write_bytes(at.cast::<u8>(), 1, size) };
        // Slower than the kernel could, so that what is measured is the limit and not this machine.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn fork_bomb() {
    loop {
        unsafe { libc::fork() };
    }
}

fn spin(processes: u32) {
    for _ in 1..processes {
        if unsafe { libc::fork() } == 0 {
            break;
        }
    }
    loop {
        std::hint::spin_loop();
    }
}

/// Children nobody waits for, each with a little of the work.
fn ignored_children() {
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    loop {
        if unsafe { libc::fork() } == 0 {
            let started = std::time::Instant::now();
            while started.elapsed().as_millis() < 60 {
                std::hint::spin_loop();
            }
            std::process::exit(0);
        }
        std::thread::sleep(std::time::Duration::from_millis(60));
    }
}

/// Fork, make a session, fork again, and let go of everything: what nobody waits for any more.
fn daemon(seconds: &str) {
    unsafe {
        if libc::fork() != 0 {
            std::process::exit(0);
        }
        libc::setsid();
        if libc::fork() != 0 {
            std::process::exit(0);
        }
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        for descriptor in 0..3 {
            libc::close(descriptor);
        }
        let program = CString::new("/usr/bin/sleep").unwrap();
        let seconds = CString::new(seconds).unwrap();
        let args = [program.as_ptr(), seconds.as_ptr(), std::ptr::null()];
        libc::execv(program.as_ptr(), args.as_ptr());
    }
}

fn flood() {
    let chunk = [b'x'; 65_536];
    while std::io::stdout().write_all(&chunk).is_ok() {}
}

fn big_file(path: &str) {
    let mut file = std::fs::File::create(path).unwrap();
    while file.write_all(&[0; 65_536]).is_ok() {}
}

fn descriptors() {
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        println!(
            "{} -> {}",
            entry.file_name().display(),
            std::fs::read_link(entry.path()).unwrap_or_default().display()
        );
    }
}

/// Close the streams and live on: whoever waits for their end waits for nothing.
fn close_and_sleep() {
    unsafe {
        libc::close(1);
        libc::close(2);
    }
    std::thread::sleep(std::time::Duration::from_secs(3600));
}
