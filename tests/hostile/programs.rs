//! Attacks by programs of this machine that a call was granted: out of what they were given, into the host, past their end.
//! Each goes through the dispatcher as a call of `exec.run`, with the launcher that is shipped. What single walls hold is
//! tried beside them, in `host/programs/tests`.

use super::checks::{failed, limit};
use super::rig::{Guests, Rig, SECRET};
use super::stage::play;
use super::{READ, WRITE};
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use vespiary_kernel::call::{Ending, Failure, Keep, ToolCall};
use vespiary_kernel::json::Json;
use vespiary_kernel::principal::Isolation;
use vespiary_kernel::program::{ProgramResult, ProgramStatus};
use vespiary_programs::MANIFEST;

/// Limits that are soon met, and not by a program that starts on a busy machine.
const QUOTA: &str = "[quota]\ncpu-time-ms-max = 2000\nwall-time-ms-max = 60000\nidle-time-ms-max = 6000\n\
                     memory-bytes-max = 268435456\nresult-bytes-max = 65536\nbytes-written-max = 65536\n";

/// The plugin `exec` as it is shipped, but for its limits.
pub fn guests(guests: &mut Guests) {
    let (needs, rest) = MANIFEST.split_once("[quota]").unwrap();
    let tools = rest.split_once("[tools").unwrap().1;
    guests.add_manifest(&format!("{needs}{QUOTA}[tools{tools}"), MANIFEST.into());
}

fn with<'a>(grant: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    grant.iter().chain(more).copied().collect()
}

/// Run `program` with `-c script` to its own end. Nothing it says may hold the secret.
async fn runs(rig: &Rig, grant: &[&str], program: &str, script: &str) -> ProgramResult {
    let exec = format!("exec:{program}");
    let who = rig.who(&with(grant, &[&exec]));
    let outcome = rig.call_as(&who, "exec.run", json!({ "program": program, "args": ["-c", script] })).await;
    match outcome.ending {
        Ending::Done(value) => {
            assert!(!value.as_str().contains(SECRET), "{script} got out: {value}");
            value.read().unwrap()
        }
        Ending::Failed(failure) => panic!("{script}: {failure}"),
    }
}

/// A script whose every step must fail: it says what succeeded.
async fn all_refused(rig: &Rig, grant: &[&str], steps: &[String]) {
    let script: String = steps.iter().map(|step| format!("if {step}; then echo 'GOT {step}'; fi\n")).collect();
    let said = runs(rig, grant, "sh", &script).await;
    assert!(!said.stdout.contains("GOT"), "{}", said.stdout);
    assert!(said.stderr.lines().count() >= steps.len(), "each step was tried and refused: {said:?}");
}

/// An argument that nobody else uses.
fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("8{:07}.{:04}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Processes of this machine with `mark` among their arguments.
fn alive(mark: &str) -> Vec<String> {
    let lines =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(mark)).collect()
}

#[test]
fn program_reads_outside() {
    play(async {
        let rig = Rig::new();
        let outside = rig.outside.path().canonicalize().unwrap();
        let secret = outside.join("secret.txt").display().to_string();
        let places = ["../secret.txt", "leak", "leak-dir/secret.txt", "/proc/self/cwd/../secret.txt", "/etc/shadow"];
        let rooted =
            ["", "/proc/self/root", "/proc/1/root", "/proc/1/cwd", "/old"].map(|root| format!("{root}{secret}"));
        let steps: Vec<_> = places.map(str::to_owned).into_iter().chain(rooted).map(|p| format!("cat {p}")).collect();
        all_refused(&rig, READ, &steps).await;
        all_refused(&rig, WRITE, &steps).await;
        let who = rig.who(&with(READ, &["exec:cat"]));
        for dir in ["leak-dir", "..", "/etc", "inside/../..", "/proc/self/root"] {
            let ask = json!({ "program": "cat", "dir": dir, "args": ["secret.txt", "passwd"] });
            match rig.call_as(&who, "exec.run", ask).await.ending {
                Ending::Done(value) => {
                    let said: ProgramResult = value.read().unwrap();
                    assert!(said.stdout.is_empty() && said.status != ProgramStatus::Exited(0), "{dir}: {said:?}");
                }
                Ending::Failed(failure) => assert!(!failure.to_string().contains(SECRET), "{dir}: {failure}"),
            }
        }
    });
}

#[test]
fn program_writes_outside() {
    play(async {
        let rig = Rig::new();
        let outside = rig.outside.path().canonicalize().unwrap();
        fs::create_dir_all(rig.project.join(".git/hooks")).unwrap();
        let notes = rig.project.join("notes.txt");
        let before = notes.metadata().unwrap();
        let steps =
            ["echo x > notes.txt", "rm notes.txt", "mkdir made", "ln -s a b", "chmod 777 notes.txt", "touch notes.txt"];
        all_refused(&rig, READ, &steps.map(str::to_owned)).await;
        let after = notes.metadata().unwrap();
        assert_eq!(
            (after.permissions(), after.modified().unwrap()),
            (before.permissions(), before.modified().unwrap())
        );
        let steps =
            ["echo x > .git/hooks/pre-commit", "mv .git moved", "ln notes.txt /usr/stolen", "echo x > /etc/stolen"];
        all_refused(&rig, WRITE, &steps.map(str::to_owned)).await;
        // What lies beside the project is the program's own, and goes with it.
        let at = outside.display();
        let script = format!(
            "echo x > ../stolen; echo x > leak; echo x > leak-dir/stolen; echo x > {at}/stolen; rm -rf {at}/secret.txt"
        );
        runs(&rig, WRITE, "sh", &script).await;
        let mut beside: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        beside.sort();
        assert_eq!(beside, ["project", "secret.txt"]);
        assert_eq!(fs::read_to_string(outside.join("secret.txt")).unwrap(), SECRET);
        assert!(!rig.project.join(".git/hooks/pre-commit").exists());
    });
}

#[test]
fn program_moves_what_is_hidden() {
    play(async {
        let rig = Rig::new().denying(&["read:ok/private", "write:kept/file"]);
        for (dir, file) in [("home/.kube", "config"), ("ok/private", "key"), ("kept", "file")] {
            fs::create_dir_all(rig.project.join(dir)).unwrap();
            fs::write(rig.project.join(dir).join(file), SECRET).unwrap();
        }
        let steps = ["mv home/.kube kube", "mv ok other", "mv ok/private seen", "mv kept moved", "rm -rf ok"];
        all_refused(&rig, WRITE, &steps.map(str::to_owned)).await;
        // What does not depend on its name is moved, and the next call finds what is hidden there.
        runs(&rig, WRITE, "sh", "mv home house && mkdir kept/more").await;
        let steps = ["cat house/.kube/config", "cat ok/private/key", "cat other/private/key", "cat kube/config"];
        all_refused(&rig, WRITE, &steps.map(str::to_owned)).await;
        all_refused(&rig, WRITE, &["echo x > kept/file".to_owned()]).await;
        assert_eq!(fs::read_to_string(rig.project.join("kept/file")).unwrap(), SECRET);
    });
}

#[test]
fn program_reads_below_a_name_that_is_no_text() {
    play(async {
        use std::os::unix::ffi::OsStrExt as _;
        let rig = Rig::new().denying(&["read:**/*.secret"]);
        let odd = rig.project.join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
        fs::create_dir_all(odd.join(".git/hooks")).unwrap();
        for name in [&b".env"[..], b"x.secret", b"k\xe9y.pem"] {
            fs::write(odd.join(std::ffi::OsStr::from_bytes(name)), SECRET).unwrap();
            fs::write(rig.project.join(std::ffi::OsStr::from_bytes(name)), SECRET).unwrap();
        }
        fs::remove_file(rig.project.join(".env")).unwrap();
        let reads = ["cat caf*/.env", "cat caf*/x.secret", "cat caf*/k*.pem", "cat k*y.pem", "ls caf*"];
        all_refused(&rig, READ, &reads.map(str::to_owned)).await;
        let writes = ["echo x > caf*/.git/hooks/pre-commit", "mv caf* cafe"];
        all_refused(&rig, WRITE, &writes.map(str::to_owned)).await;
        all_refused(&rig, WRITE, &reads.map(str::to_owned)).await;
        assert!(!odd.join(".git/hooks/pre-commit").exists());
    });
}

#[test]
fn program_reads_the_environment() {
    play(async {
        let rig = Rig::new();
        let script = "env; for f in /proc/self/environ /proc/[0-9]*/environ; do tr '\\0' '\\n' < $f; done; true";
        let said = runs(&rig, READ, "sh", script).await.stdout;
        let names = said.lines().filter_map(|line| Some(line.split_once('=')?.0));
        // PWD and its like the shell sets for itself.
        let own = ["HOME", "LANG", "PATH", "PWD", "TMPDIR", "OLDPWD", "SHLVL", "_"];
        let foreign: Vec<_> = names.filter(|name| !own.contains(name)).collect();
        assert!(foreign.is_empty(), "{foreign:?}");
        assert!(said.contains("HOME=/tmp"), "{said}");
    });
}

#[test]
fn program_reads_what_is_hidden() {
    play(async {
        let rig = Rig::new();
        for file in [".env", "id_rsa", "inside/server.key", "deep/.aws/credentials"] {
            fs::create_dir_all(rig.project.join(file).parent().unwrap()).unwrap();
            fs::write(rig.project.join(file), SECRET).unwrap();
        }
        for step in [
            "cat .env id_rsa inside/server.key deep/.aws/credentials",
            "cat inside/../.env",
            "cp .env /tmp/taken && cat /tmp/taken",
            "ln .env linked && cat linked",
            "ln -s .env named; cat named",
            "mv .env moved && cat moved",
            "mv deep away && cat away/.aws/credentials",
            "rm -f .env",
            "chmod 644 .env && cat .env",
            "dd if=.env",
            "grep -r secret .",
            "tar c . | tr -d '\\0'",
        ] {
            for grant in [READ, WRITE] {
                runs(&rig, grant, "sh", step).await;
            }
        }
        assert_eq!(fs::read_to_string(rig.project.join(".env")).unwrap(), SECRET);
    });
}

#[test]
fn program_opens_the_network() {
    play(async {
        let rig = Rig::new();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let service = UnixListener::bind(rig.project.join("service.sock")).unwrap();
        service.set_nonblocking(true).unwrap();
        let port = server.local_addr().unwrap().port();
        let this = format!("net:127.0.0.1:{port}");
        // A program's connections cannot be looked into, so a part of the network is none of it.
        for grant in [with(READ, &[]), with(READ, &[&this]), with(READ, &["net:*:*"]), with(READ, &["net:*:*", &this])]
        {
            let said = runs(&rig, &grant, "bash", &format!("exec 3<>/dev/tcp/127.0.0.1/{port}")).await;
            assert_ne!(said.status, ProgramStatus::Exited(0), "{grant:?}");
            let said = runs(&rig, &grant, "bash", "wc -l < /proc/net/dev").await;
            assert_eq!(said.stdout, "3\n", "more than a loopback of its own with {grant:?}");
        }
        let connect = "import socket; socket.socket(socket.AF_UNIX).connect('service.sock')";
        let said = runs(&rig, WRITE, "python3", connect).await;
        assert!(said.stderr.contains("not permitted"), "{said:?}");
        assert!(server.accept().is_err() && service.accept().is_err(), "somebody came through");
    });
}

#[test]
fn program_stays_behind() {
    play(async {
        let rig = Rig::new();
        let mark = mark();
        let script = format!(
            "sleep {mark} & setsid sleep {mark} & (trap '' TERM HUP INT; exec sleep {mark}) & \
             setsid sh -c 'sleep {mark} >/dev/null 2>&1 &' & echo left"
        );
        let said = runs(&rig, READ, "sh", &script).await;
        assert_eq!((said.status, said.stdout.as_str()), (ProgramStatus::Exited(0), "left\n"));
        assert_eq!(alive(&mark), Vec::<String>::new());
    });
}

#[test]
fn program_outlives_its_call() {
    play(async {
        let rig = Rig::new();
        let mark = mark();
        let script = format!("trap '' TERM HUP INT; setsid sleep {mark} & sleep {mark}");
        let arguments = Json::of(&json!({ "program": "sh", "args": ["-c", script] })).unwrap();
        let call = ToolCall { tool: "exec.run".parse().unwrap(), arguments, keep: Keep::Value };
        let who = rig.who(&with(READ, &["exec:sh"]));
        let run = rig.dispatcher.dispatch(&who, call);
        let given_up = async {
            while alive(&mark).len() < 3 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            outcome = run => panic!("it ended by itself: {outcome:?}"),
            () = given_up => {}
        }
        let since = Instant::now();
        while !alive(&mark).is_empty() {
            assert!(since.elapsed() < Duration::from_secs(60), "still alive: {:?}", alive(&mark));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn program_was_not_granted() {
    play(async {
        let rig = Rig::new();
        let held = with(READ, &["exec:cat"]);
        for name in [
            "sh",
            "/bin/sh",
            "/usr/bin/cat",
            "Cat",
            "cat ",
            "ca",
            "cats",
            "./cat",
            "../cat",
            "c\u{430}t",
            "cat\0sh",
            "",
            "*",
        ] {
            let failure = rig.attack("exec.run", json!({ "program": name, "args": ["notes.txt"] }), &held).await;
            assert!(matches!(failure, Failure::Denied(_) | Failure::InvalidArguments(_)), "{name:?}: {failure:?}");
        }
        for more in [json!({ "network": true }), json!({ "env": { "A": "b" } }), json!({ "grant": ["exec:sh"] })] {
            let mut ask = json!({ "program": "cat" });
            ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let failure = rig.attack("exec.run", ask, &held).await;
            assert!(matches!(failure, Failure::InvalidArguments(_)), "{more}: {failure:?}");
        }
        let failure = rig.attack("exec.run", json!({ "program": "cat" }), &["read:.", "exec:cat"]).await;
        assert!(matches!(failure, Failure::Denied(_)), "{failure:?}");
    });
}

#[test]
fn program_planted_in_the_project() {
    play(async {
        let rig = Rig::new();
        let planted = rig.project.join("cat");
        fs::write(&planted, "#!/bin/sh\necho planted\n").unwrap();
        fs::set_permissions(&planted, fs::Permissions::from_mode(0o755)).unwrap();
        let who = rig.who(&with(READ, &["exec:cat"]));
        let outcome = rig.call_as(&who, "exec.run", json!({ "program": "cat", "args": ["notes.txt"] })).await;
        let Ending::Done(value) = outcome.ending else { panic!("{:?}", outcome.ending) };
        assert_eq!(value.read::<ProgramResult>().unwrap().stdout, "a note inside");
        // Named by its path it is what was granted, unless somebody else may have changed it, or it would act for another.
        let path = planted.canonicalize().unwrap().display().to_string();
        let exec = format!("exec:{path}");
        for mode in [0o757, 0o4755, 0o2755, 0o644] {
            fs::set_permissions(&planted, fs::Permissions::from_mode(mode)).unwrap();
            let failure = rig.attack("exec.run", json!({ "program": path }), &with(READ, &[&exec])).await;
            assert!(failed(&failure).contains("is not started"), "{mode:o}: {failure}");
        }
    });
}

#[test]
fn program_kills_its_host() {
    play(async {
        let rig = Rig::new();
        let mut victim = Command::new("sleep").arg("600").spawn().unwrap();
        let script =
            format!("kill -9 {}; kill -9 1; kill -STOP 1; kill -9 {}; echo here", victim.id(), std::process::id());
        let said = runs(&rig, READ, "sh", &script).await;
        let lives = victim.try_wait().unwrap().is_none();
        victim.kill().unwrap();
        victim.wait().unwrap();
        assert!(lives, "{said:?}");
        assert_eq!(said.stdout, "here\n");
    });
}

#[test]
fn program_floods_its_answer() {
    play(async {
        let rig = Rig::new();
        let said = runs(&rig, READ, "sh", "head -c 3000000 /dev/zero | tr '\\0' '\\033'").await;
        assert!(said.truncated && said.stdout.len() < 65_536, "{} bytes came through", said.stdout.len());
        assert_eq!(said.stdout_bytes, 3_000_000);
    });
}

#[test]
fn program_fills_the_disk() {
    play(async {
        let rig = Rig::new();
        let script = "head -c 3000000 /dev/zero > big; echo $?";
        runs(&rig, WRITE, "sh", script).await;
        assert!(rig.project.join("big").metadata().unwrap().len() <= 65_536);
    });
}

#[test]
fn program_never_ends() {
    play(async {
        let rig = Rig::new();
        let held = with(READ, &["exec:sh"]);
        for (script, quota) in [("while :; do :; done", "cpu-time-ms"), ("sleep 600", "idle-time-ms")] {
            let failure = rig.attack("exec.run", json!({ "program": "sh", "args": ["-c", script] }), &held).await;
            limit(&failure, quota);
        }
    });
}

#[test]
fn program_of_an_isolated_agent() {
    play(async {
        let rig = Rig::new();
        let held = with(WRITE, &["exec:sh"]);
        let run = rig.who(&with(&held, &["spawn:1"]));
        let wanted: Vec<_> = held.iter().map(|capability| capability.parse().unwrap()).collect();
        let agent = rig.dispatcher.spawn(&run, Some(&wanted), Isolation::Worktree).unwrap();
        let ask = json!({ "program": "sh", "args": ["-c", "echo owned > notes.txt"] });
        let ending = rig.call_as(&agent, "exec.run", ask).await.ending;
        let Ending::Failed(failure) = ending else { panic!("{ending:?}") };
        assert!(failed(&failure).contains("worktree"), "{failure}");
        assert_eq!(fs::read_to_string(rig.project.join("notes.txt")).unwrap(), "a note inside");
    });
}
