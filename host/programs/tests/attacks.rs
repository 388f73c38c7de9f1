//! Attacks on the walls around a program, each by a real program, each refused; and nothing is left of it.

use crate::rig::{Rig, SECRET, alive, mark};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};
use vespiary_kernel::program::ProgramStatus;
use vespiary_programs::{Confined, EndedBy, ProgramLimits, Refused};

const ATTACKER: &str = env!("CARGO_BIN_EXE_vespiary-attacker");

/// What the attacker was told, by the name of what it tried.
fn answers(out: &str) -> BTreeMap<&str, &str> {
    out.lines().filter_map(|line| line.split_once(": ")).collect()
}

fn attack(rig: &Rig, args: &[&str]) -> Confined {
    rig.confined(ATTACKER, args)
}

fn limited(confined: Confined, change: impl FnOnce(&mut ProgramLimits)) -> Confined {
    let mut limits = confined.limits;
    change(&mut limits);
    Confined { limits, ..confined }
}

#[tokio::test]
async fn files_outside_the_grant_do_not_exist() {
    let rig = Rig::new();
    let secret = rig.outside.path().join("secret.txt");
    for path in
        ["../secret.txt", "leak", "leak-dir/secret.txt", secret.to_str().unwrap(), "/proc/self/cwd/../secret.txt"]
    {
        let said = rig.said(rig.confined("cat", &[path])).await.failed();
        assert!(said.contains("No such file") && !said.contains(SECRET), "{path}: {said}");
    }
    for path in [
        "/etc/shadow",
        "/etc/ssh",
        "/root/.ssh",
        "/run",
        "/var",
        "/sys",
        "/proc/1/root/etc/shadow",
        "/dev/tty",
        "/dev/mem",
    ] {
        let said = rig.said(rig.confined("ls", &["-d", path])).await.failed();
        assert!(said.contains("cannot access"), "{path}: {said}");
    }
    let users = rig.said(rig.confined("cat", &["/etc/passwd"])).await.ok();
    assert_eq!(users.lines().count(), 1, "the accounts of this machine are told: {users}");
}

#[tokio::test]
async fn nothing_outside_the_grant_is_written() {
    let rig = Rig::new();
    let outside = rig.outside.path().canonicalize().unwrap();
    let notes = rig.project.join("notes.txt");
    let before = notes.metadata().unwrap();
    for script in [
        "echo x > notes.txt",
        "echo x > new.txt",
        "mkdir d",
        "rm notes.txt",
        "mv notes.txt n2",
        "ln notes.txt n3",
        "ln -s a b",
    ] {
        let said = rig.said(rig.sh(script)).await.failed();
        assert!(said.contains("Read-only") || said.contains("ermission denied"), "{script}: {said}");
    }
    for script in [
        "ln notes.txt /usr/stolen",
        "echo x > /usr/stolen",
        "echo x > /etc/ld.so.preload",
        "echo x > /stolen",
        "echo x > /dev/stolen",
        "echo x > /proc/sys/kernel/core_pattern",
    ] {
        rig.said(rig.writing("sh", &["-c", script])).await.failed();
    }
    // Beside the project lies only what belongs to this run.
    rig.said(rig.writing(
        "sh",
        &["-c", "echo x > ../stolen; echo x > leak-dir/stolen; cp notes.txt leak-dir/n; echo x > /tmp/stolen"],
    ))
    .await
    .ok();
    assert!(!outside.join("stolen").exists() && !Path::new("/tmp/stolen").exists());
    assert!(!outside.join("stolen").exists() && !Path::new("/usr/stolen").exists() && !Path::new("/stolen").exists());
    let after = notes.metadata().unwrap();
    assert_eq!((after.permissions(), after.modified().unwrap()), (before.permissions(), before.modified().unwrap()));
}

#[tokio::test]
async fn a_file_that_may_be_read_keeps_its_mode_owner_and_times() {
    let rig = Rig::new();
    let notes = rig.project.join("notes.txt");
    let before = notes.metadata().unwrap();
    let out = rig.said(attack(&rig, &["metadata", notes.to_str().unwrap()])).await.ok();
    let answers = answers(&out);
    assert_eq!(answers.len(), 10, "{out}");
    for (name, answer) in answers {
        match name {
            "open" => assert_eq!(answer, "done"),
            _ => assert!(matches!(answer, "EROFS" | "EACCES" | "EPERM"), "{name}: {answer}"),
        }
    }
    let after = notes.metadata().unwrap();
    assert_eq!((after.permissions(), after.modified().unwrap()), (before.permissions(), before.modified().unwrap()));
}

#[tokio::test]
async fn no_file_acts_for_another() {
    let rig = Rig::new();
    let target = rig.project.join("tool");
    let out = rig.said(rig.writing(ATTACKER, &["set-id", target.to_str().unwrap()])).await.ok();
    for (name, answer) in answers(&out) {
        assert!(matches!(answer, "EPERM" | "ENOSYS" | "EACCES"), "{name}: {answer}");
    }
    assert_eq!(target.metadata().unwrap().permissions().mode() & 0o6000, 0);
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o4755)).unwrap();
    let refused = rig.run(rig.confined(target.to_str().unwrap(), &[])).await.unwrap_err();
    assert!(matches!(&refused, Refused::Unfit(why) if why.contains("set-user-ID")), "{refused}");
    // One that another program starts gains nothing either.
    let out =
        rig.said(rig.sh("grep -E '^(NoNewPrivs|CapEff|CapPrm|CapBnd|CapAmb|Seccomp):' /proc/self/status")).await.ok();
    let status: BTreeMap<_, _> = out.lines().filter_map(|line| line.split_once(":\t")).collect();
    assert_eq!((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"));
    for set in ["CapEff", "CapPrm", "CapBnd", "CapAmb"] {
        assert_eq!(u64::from_str_radix(status[set], 16), Ok(0), "{set}");
    }
}

#[tokio::test]
async fn dangerous_system_calls_are_refused() {
    let rig = Rig::new();
    let out = rig.said(attack(&rig, &["syscalls"])).await.ok();
    let answers = answers(&out);
    assert!(answers.len() > 45, "{out}");
    for (name, answer) in answers {
        let expected = match name {
            "clone-user" | "clone-net" | "personality" | "tiocsti" | "tiocsti-high-bits" | "tioclinux" => "EPERM",
            name if name.ends_with("-warden") || name == "priority-user" => "EPERM",
            _ => "ENOSYS",
        };
        assert_eq!(answer, expected, "{name}");
    }
}

#[tokio::test]
async fn without_the_network_there_is_none() {
    let rig = Rig::new();
    let out = rig.said(attack(&rig, &["sockets"])).await.ok();
    for (name, answer) in answers(&out) {
        assert_eq!(answer, if name == "pair" { "done" } else { "EPERM" }, "{name}");
    }
    let devices = rig.said(rig.confined("cat", &["/proc/net/dev"])).await.ok();
    assert_eq!(devices.lines().count(), 3, "there is more than a loopback of its own: {devices}");
}

#[tokio::test]
async fn the_network_when_granted_is_only_the_internets() {
    let rig = Rig::new();
    let network = Confined { network: true, ..attack(&rig, &["sockets"]) };
    let out = rig.said(network).await.ok();
    for (name, answer) in answers(&out) {
        let granted = matches!(name, "inet" | "inet-udp" | "inet6" | "pair");
        assert_eq!(answer, if granted { "done" } else { "EPERM" }, "{name}");
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    rig.said(Confined { network: true, ..rig.confined("bash", &["-c", &script]) }).await.ok();
    listener.set_nonblocking(true).unwrap();
    listener.accept().expect("the connection arrived");
    rig.said(rig.confined("bash", &["-c", &script])).await.failed();
    assert!(listener.accept().is_err(), "a connection came from a program without the network");
}

#[tokio::test]
async fn a_service_with_a_socket_in_the_project_is_not_reached() {
    let rig = Rig::new();
    let path = rig.project.join("service.sock");
    let service = UnixListener::bind(&path).unwrap();
    service.set_nonblocking(true).unwrap();
    for network in [false, true] {
        let connect = rig.writing(ATTACKER, &["connect", path.to_str().unwrap()]);
        let out = rig.said(Confined { network, ..connect }).await.ok();
        let answers = answers(&out);
        assert!(answers["connect"].contains("not permitted"), "{out}");
        assert_ne!(answers["reconnect"], "done");
        assert!(service.accept().is_err(), "the service was reached");
    }
}

#[tokio::test]
async fn the_warden_is_out_of_reach() {
    let rig = Rig::new();
    let out = rig.said(attack(&rig, &["warden"])).await.ok();
    let answers = answers(&out);
    for name in ["mem", "environ", "maps", "fd/0", "root/etc", "cwd"] {
        assert_eq!(answers[name], "permission denied", "{name}");
    }
    assert_eq!((answers["write"], answers["score"]), ("false", "false"));
    assert!(out.ends_with("still here\n"), "{out}");
}

/// A process of the host's, which ends with its test.
struct Victim(std::process::Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn processes_of_the_host_are_neither_seen_nor_signalled() {
    let rig = Rig::new();
    let mut victim =
        Victim(std::process::Command::new("sleep").arg("600").env("TOKEN", "of the host").spawn().unwrap());
    let pid = victim.0.id().to_string();
    assert_eq!(rig.said(attack(&rig, &["kill", &pid])).await.ok(), "kill: ESRCH\n");
    assert_eq!(rig.said(attack(&rig, &["kill-all"])).await.ok(), "kill-all: ESRCH\n");
    for file in ["environ", "cmdline", "status"] {
        rig.said(rig.confined("cat", &[&format!("/proc/{pid}/{file}")])).await.failed();
    }
    let all = rig.said(rig.sh("cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null; true")).await.ok();
    assert!(!all.contains("of the host"));
    assert!(victim.0.try_wait().unwrap().is_none(), "the victim died");
}

#[tokio::test]
async fn a_descriptor_the_host_holds_is_not_inherited() {
    let rig = Rig::new();
    let secret = std::fs::File::open(rig.outside.path().join("secret.txt")).unwrap();
    // As C code opens it: it stays open in what is started.
    let kept = rustix::io::fcntl_dupfd_cloexec(&secret, 100).unwrap();
    rustix::io::fcntl_setfd(&kept, rustix::io::FdFlags::empty()).unwrap();
    let out = rig.said(attack(&rig, &["descriptors"])).await.ok();
    let mut held: Vec<_> = out.lines().collect();
    held.sort_unstable();
    assert_eq!(held.len(), 4, "{out}");
    assert!(
        held[0].starts_with("0 -> /dev/null") && held[1].starts_with("1 -> pipe:") && held[2].starts_with("2 -> pipe:")
    );
    assert!(held[3].ends_with("/fd"), "the listing's own: {out}");
    drop(kept);
}

#[tokio::test]
async fn a_daemon_does_not_survive_its_program() {
    let rig = Rig::new();
    let mark = mark();
    let started = Instant::now();
    let ended = rig.run(attack(&rig, &["daemon", &mark])).await.unwrap();
    assert_eq!(ended.by, EndedBy::Itself(ProgramStatus::Exited(0)));
    assert!(started.elapsed() < Duration::from_secs(20), "it was waited for");
    assert_eq!(alive(&mark), Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_run_leaves_nothing_alive() {
    let rig = Rig::new();
    let mark = mark();
    let script = format!("sleep {mark} & setsid sleep {mark} & trap '' TERM HUP INT; sleep {mark}; sleep {mark}");
    let run = rig.run(rig.sh(&script));
    assert!(tokio::time::timeout(Duration::from_millis(1500), run).await.is_err());
    gone(&mark).await;
}

#[tokio::test]
async fn a_host_that_dies_takes_its_programs_along() {
    let rig = Rig::new();
    let mark = mark();
    // The launcher's socket is all that ties a program to its host: hang up, as the kernel does for a dead host.
    for kill_launcher in [false, true] {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut launcher = std::process::Command::new(env!("CARGO_BIN_EXE_vespiary-confine"))
            .args(["__confine", "closed"])
            .stdin(std::os::fd::OwnedFd::from(theirs))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let order = serde_json::json!({
            "program": "/usr/bin/sleep", "name": "sleep", "args": [mark], "dir": "/tmp", "system": [], "read": [],
            "write": [], "hide": [], "network": false, "env": {}, "limits": ProgramLimits::default(),
        });
        let order = order.to_string();
        use std::io::Write as _;
        (&ours).write_all(&(order.len() as u32).to_le_bytes()).unwrap();
        (&ours).write_all(order.as_bytes()).unwrap();
        let started = Instant::now();
        while alive(&mark).is_empty() {
            assert!(started.elapsed() < Duration::from_secs(20), "it did not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        match kill_launcher {
            true => launcher.kill().unwrap(),
            false => drop(ours),
        }
        launcher.wait().unwrap();
        gone(&mark).await;
    }
    drop(rig);
}

async fn gone(mark: &str) {
    let started = Instant::now();
    while !alive(mark).is_empty() {
        assert!(started.elapsed() < Duration::from_secs(60), "still alive: {:?}", alive(mark));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_sleeper_is_ended_by_the_clock() {
    let rig = Rig::new();
    let mark = mark();
    let sleeper =
        limited(rig.sh(&format!("echo begun; sleep {mark}")), |l| l.wall_time_max = Duration::from_millis(1500));
    let ended = rig.run(sleeper).await.unwrap();
    assert!(
        matches!(&ended.by, EndedBy::Limit(hit) if hit.quota == "wall-time-ms" && hit.limit == 1500),
        "{:?}",
        ended.by
    );
    assert_eq!(ended.stdout.text(), "begun\n", "what it had said is kept");
    gone(&mark).await;
}

#[tokio::test]
async fn whoever_neither_speaks_nor_works_is_idle() {
    let rig = Rig::new();
    let idle = |confined| limited(confined, |l| l.idle_time_max = Duration::from_millis(1500));
    assert_eq!(rig.limit(idle(attack(&rig, &["close-and-sleep"]))).await, "idle-time-ms");
    rig.said(idle(rig.sh("for i in 1 2 3 4 5; do sleep 0.5; echo $i; done"))).await.ok();
    let work = "i=0; s=$(date +%s); while [ $(( $(date +%s) - s )) -lt 3 ]; do i=$((i+1)); done";
    rig.said(idle(rig.sh(work))).await.ok();
}

#[tokio::test]
async fn time_on_processors_is_counted_for_all_together() {
    let rig = Rig::new();
    for args in [&["spin", "1"][..], &["spin", "6"], &["ignored-children"]] {
        let started = Instant::now();
        let spinner = limited(attack(&rig, args), |l| l.cpu_time_max = Duration::from_millis(1500));
        let ended = rig.run(spinner).await.unwrap();
        assert!(matches!(&ended.by, EndedBy::Limit(hit) if hit.quota == "cpu-time-ms"), "{args:?}: {:?}", ended.by);
        assert!(ended.usage.cpu_us >= 1_400_000, "{args:?}: {:?}", ended.usage);
        assert!(started.elapsed() < Duration::from_secs(30), "{args:?}");
    }
}

#[tokio::test]
async fn memory_is_counted_for_all_together() {
    let rig = Rig::new();
    const MIB: u64 = 1 << 20;
    let mark = mark();
    for kind in ["spread-memory", "odd-name"] {
        let hungry = limited(attack(&rig, &[kind, &mark][..1]), |l| l.memory_bytes_max = 256 * MIB);
        let ended = rig.run(hungry).await.unwrap();
        let EndedBy::Limit(hit) = &ended.by else { panic!("{kind}: {:?}", ended.by) };
        assert_eq!(hit.quota, "memory-bytes", "{kind}");
        assert!(hit.used < 1024 * MIB, "{kind}: {hit}");
    }
    // One process is refused the memory before it is counted, and may say so itself.
    let hungry = limited(attack(&rig, &["private-memory"]), |l| l.memory_bytes_max = 256 * MIB);
    let ended = rig.run(hungry).await.unwrap();
    match &ended.by {
        EndedBy::Itself(status) => {
            assert_eq!((status, ended.stdout.text().as_str()), (&ProgramStatus::Exited(7), "mmap: refused\n"));
        }
        EndedBy::Limit(hit) => assert_eq!(hit.quota, "memory-bytes"),
    }
    assert!(ended.usage.memory_bytes_peak < 320 * MIB, "{:?}", ended.usage);
}

#[tokio::test]
async fn memory_that_nobody_could_count_is_not_given() {
    let rig = Rig::new();
    let out = rig.said(attack(&rig, &["shared-memory"])).await.ok();
    let answers = answers(&out);
    assert_eq!((answers["nameless"], answers["private"]), ("EPERM", "done"), "{out}");
    assert_eq!((answers["open"], answers["shared"]), ("EACCES", "EACCES"), "{out}");
    // What has a file in the temporary directory is counted there.
    rig.said(rig.sh("head -c 3000 /dev/zero > $TMPDIR/zeroes && test $(wc -c < $TMPDIR/zeroes) = 3000")).await.ok();
}

#[tokio::test]
async fn a_fork_bomb_stays_small_and_dies_whole() {
    let rig = Rig::new();
    let bomb = limited(attack(&rig, &["fork-bomb"]), |l| {
        l.processes_max = 64;
        l.cpu_time_max = Duration::from_secs(5);
    });
    let ended = rig.run(bomb).await.unwrap();
    assert!(
        matches!(&ended.by, EndedBy::Limit(hit) if matches!(hit.quota.as_str(), "processes" | "cpu-time-ms")),
        "{:?}",
        ended.by
    );
    gone("vespiary-attacker fork-bomb").await;
}

#[tokio::test]
async fn a_flood_of_output_is_cut_and_then_ended() {
    let rig = Rig::new();
    let flood = limited(attack(&rig, &["flood"]), |l| {
        l.kept_bytes_max = 10_000;
        l.output_bytes_max = 8 << 20;
    });
    let ended = rig.run(flood).await.unwrap();
    assert!(matches!(&ended.by, EndedBy::Limit(hit) if hit.quota == "output-bytes"), "{:?}", ended.by);
    assert!(ended.stdout.truncated() && ended.stdout.text().len() < 10_100, "{}", ended.stdout.text().len());
}

#[tokio::test]
async fn disks_are_not_filled() {
    let rig = Rig::new();
    let path = rig.project.join("big");
    let big = limited(rig.writing(ATTACKER, &["big-file", path.to_str().unwrap()]), |l| l.file_bytes_max = 1 << 20);
    assert_eq!(rig.limit(big).await, "file-bytes");
    assert!(path.metadata().unwrap().len() <= 1 << 20);
    let temp = limited(rig.sh("head -c 3000000 /dev/zero > $TMPDIR/big"), |l| l.temp_bytes_max = 1 << 20);
    assert!(rig.said(temp).await.failed().contains("No space left"));
}

#[tokio::test]
async fn what_is_hidden_is_seen_by_nobody() {
    let rig = Rig::new();
    let (env, keys) = (rig.project.join(".env"), rig.project.join("keys"));
    std::fs::write(&env, "TOKEN=hidden").unwrap();
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(keys.join("id"), "hidden").unwrap();
    let hide = vec![env.clone(), keys.clone()];
    for script in [
        "cat .env",
        "cat keys/id",
        "cat inside/../.env",
        "cp .env /tmp/x",
        "ls keys",
        "ln .env linked && cat linked",
        "mv .env moved && cat moved",
        "rm -f .env",
        "rm -rf keys",
        "chmod 644 .env && cat .env",
        "cat /proc/self/cwd/.env",
        "mv ../project/keys other",
        "dd if=.env",
        "tar c .env keys | grep hidden",
    ] {
        for confined in [rig.sh(script), rig.writing("sh", &["-c", script])] {
            let said = rig.said(Confined { hide: hide.clone(), ..confined }).await.failed();
            assert!(!said.contains("hidden"), "{script}: {said}");
        }
    }
    // A writer that renames what is above takes the cover along.
    let script = "mkdir -p a/b; true";
    rig.said(Confined { hide: hide.clone(), ..rig.writing("sh", &["-c", script]) }).await.ok();
    std::fs::write(rig.project.join("a/b/.env"), "hidden").unwrap();
    let deep =
        Confined { hide: vec![rig.project.join("a/b/.env")], ..rig.writing("sh", &["-c", "mv a c; cat c/b/.env"]) };
    assert!(!rig.said(deep).await.failed().contains("hidden"));
    assert_eq!(std::fs::read_to_string(&env).unwrap(), "TOKEN=hidden");
    assert!(keys.join("id").exists());
    // What went away since it was looked for may be somewhere else now.
    let gone = Confined { hide: vec![rig.project.join("gone")], ..rig.sh("true") };
    let refused = rig.run(gone).await.unwrap_err().to_string();
    assert!(refused.contains("call again"), "{refused}");
}

#[tokio::test]
async fn a_name_that_is_no_text_hides_like_any_other() {
    use std::os::unix::ffi::OsStrExt as _;
    let rig = Rig::new();
    let odd = rig.project.join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&odd).unwrap();
    std::fs::write(odd.join("note"), "hidden").unwrap();
    let script = "cat caf*/note; ls caf*";
    for confined in [rig.sh(script), rig.writing("sh", &["-c", script])] {
        let said = rig.said(Confined { hide: vec![odd.clone()], ..confined }).await.failed();
        assert!(!said.contains("hidden") && said.contains("ermission denied"), "{said}");
    }
}

#[tokio::test]
async fn a_directory_that_is_a_place_of_its_own_is_not_moved() {
    let rig = Rig::new();
    let dir = rig.project.join("a/b");
    std::fs::create_dir_all(&dir).unwrap();
    for script in ["mv a c", "mv a/b c", "mkdir d && mv -T d a", "rm -rf a"] {
        let confined = rig.writing("sh", &["-c", script]);
        let write = vec![rig.project.clone(), rig.project.join("a"), dir.clone()];
        let said = rig.said(Confined { write, ..confined }).await.failed();
        assert!(said.contains("busy") && dir.is_dir(), "{script}: {said}");
    }
}

#[tokio::test]
async fn an_inner_grant_keeps_its_own_access() {
    let rig = Rig::new();
    let confined = rig.sh("echo x > inside/made && ! echo y > outside-of-it");
    rig.said(Confined { write: vec![rig.project.join("inside")], ..confined }).await.ok();
    let confined = rig.writing("sh", &["-c", "echo x > made && ! echo y > inside/made2"]);
    rig.said(Confined { read: vec![rig.project.join("inside")], ..confined }).await.ok();
    assert!(!rig.project.join("outside-of-it").exists() && !rig.project.join("inside/made2").exists());
}

#[tokio::test]
async fn a_grant_through_a_link_is_refused() {
    let rig = Rig::new();
    let outside = rig.outside.path().canonicalize().unwrap();
    std::os::unix::fs::symlink(&outside, rig.project.join("link")).unwrap();
    for (path, part) in [
        (rig.project.join("link"), "symbolic link"),
        (rig.project.join("link/project"), "symbolic link"),
        (rig.project.join("gone"), "must exist"),
        ("/proc".into(), "its own"),
        ("/".into(), "whole file system"),
        (rig.project.join("../secret.txt"), "without '..'"),
    ] {
        for write in [false, true] {
            let mut confined = rig.sh("true");
            if write {
                confined.write.push(path.clone())
            } else {
                confined.read.push(path.clone())
            }
            let refused = rig.run(confined).await.unwrap_err();
            assert!(matches!(&refused, Refused::Place(why) if why.contains(part)), "{}: {refused}", path.display());
        }
    }
}

#[tokio::test]
async fn a_program_in_the_project_does_not_win_over_the_systems() {
    let rig = Rig::new();
    for dir in [rig.project.clone(), rig.project.join("inside")] {
        let planted = dir.join("ls");
        std::fs::write(&planted, "#!/bin/sh\necho planted\n").unwrap();
        std::fs::set_permissions(&planted, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut confined = rig.confined("ls", &["notes.txt"]);
    confined.env.insert("PATH".into(), format!(".:{}", rig.project.display()));
    assert_eq!(rig.said(confined).await.ok(), "notes.txt\n");
    let mut confined = rig.sh("ls notes.txt");
    confined.env.insert("PATH".into(), format!(".:{}", rig.project.display()));
    assert_eq!(rig.said(confined).await.ok(), "notes.txt\n");
}

#[tokio::test]
async fn a_launcher_called_by_hand_explains_itself() {
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_vespiary-confine"))
        .args(["__confine", "warden"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&run.stderr).contains("not a command"));
    // With a socket, but not as the first process of a namespace: it must not believe that killing everything is fine.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut warden = std::process::Command::new(env!("CARGO_BIN_EXE_vespiary-confine"))
        .args(["__confine", "warden"])
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(&ours), &mut line).unwrap();
    assert!(line.contains("not the first process"), "{line}");
    assert_eq!(warden.wait().unwrap().code(), Some(1));
}

/// After all of it: no descriptor, no process, no mount, no directory more than before.
#[tokio::test]
async fn nothing_is_left() {
    let rig = Rig::new();
    rig.said(rig.confined("true", &[])).await.ok();
    let left = || {
        let temp = std::fs::read_dir(rig.outside.path()).unwrap().count();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap().lines().count();
        (temp, mounts)
    };
    let before = left();
    for _ in 0..10 {
        rig.said(rig.sh("echo x > $TMPDIR/file; mkdir $HOME/dir")).await.ok();
    }
    assert_eq!(left(), before);
    assert!(!Path::new("/tmp/file").exists() && !Path::new("/tmp/dir").exists() && !Path::new("/tmp/old").exists());
}
