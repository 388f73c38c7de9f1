//! Programs that live: spoken to while they run, and gone with everything they started when nobody wants them any more.

use crate::rig::{Rig, alive, mark};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use vespiary_kernel::grant::Grant;
use vespiary_kernel::scope::Scope;
use vespiary_programs::{Opened, ProgramLimits, Wanted};

fn wanted(rig: &Rig, script: &str, held: &[&str]) -> Wanted {
    Wanted {
        program: "sh".parse().unwrap(),
        args: vec!["-c".into(), script.into()],
        dir: None,
        env: Default::default(),
        scope: Scope::whole(Grant::of_run(held.iter().map(|held| held.parse().unwrap()))),
        root: rig.project.clone(),
        limits: ProgramLimits::default(),
    }
}

/// Wait until no process of that mark is left.
async fn gone(mark: &str) {
    let begun = Instant::now();
    while !alive(mark).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?} stayed", alive(mark));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn it_answers_while_it_lives_and_says_how_it_ended() {
    let rig = Rig::new();
    let script = "echo ready >&2; while read -r line; do [ \"$line\" = end ] && exit 4; echo \"got $line\"; done";
    let Opened { mut stdin, stdout, life } = rig.programs.open(wanted(&rig, script, &[])).await.unwrap();
    let mut lines = BufReader::new(stdout).lines();
    for n in 0..100 {
        stdin.write_all(format!("{n}\n").as_bytes()).await.unwrap();
        assert_eq!(lines.next_line().await.unwrap(), Some(format!("got {n}")));
    }
    stdin.write_all(b"end\n").await.unwrap();
    assert_eq!(lines.next_line().await.unwrap(), None);
    assert_eq!(life.ended().await, "it ended with status 4");
    assert_eq!(life.stderr(), "ready\n");
}

#[tokio::test]
async fn it_sees_what_its_scope_gives_and_nothing_else() {
    let rig = Rig::new();
    let script = "cat notes.txt; cat ../secret.txt; cat inside/x; env | grep HOME; exec cat";
    let opened = rig.programs.open(wanted(&rig, script, &["read:notes.txt"])).await.unwrap();
    let Opened { stdin, mut stdout, life } = opened;
    let mut said = vec![0; 4096];
    let mut text = String::new();
    while !text.contains("HOME=") {
        let read = stdout.read(&mut said).await.unwrap();
        assert!(read > 0, "{text} {}", life.stderr());
        text.push_str(&String::from_utf8_lossy(&said[..read]));
    }
    assert_eq!(text, "a note insideHOME=/tmp\n");
    assert_eq!(life.stderr().matches("No such file").count(), 2, "{}", life.stderr());
    drop(stdin);
}

#[tokio::test]
async fn dropping_any_part_ends_it_with_all_that_it_started() {
    let rig = Rig::new();
    for part in ["stdin", "life", "all"] {
        let mark = mark();
        let script = format!("sleep {mark} & (setsid sleep {mark} &) ; echo up; exec sleep {mark}");
        let Opened { stdin, mut stdout, life } = rig.programs.open(wanted(&rig, &script, &[])).await.unwrap();
        let mut up = [0; 3];
        stdout.read_exact(&mut up).await.unwrap();
        assert!(!alive(&mark).is_empty());
        match part {
            "stdin" => drop(stdin),
            "life" => drop(life),
            _ => drop((stdin, stdout, life)),
        }
        gone(&mark).await;
    }
}

#[tokio::test]
async fn one_that_does_not_read_ends_too() {
    let rig = Rig::new();
    let mark = mark();
    let script = format!("exec sleep {mark}");
    let Opened { mut stdin, stdout: _stdout, life: _life } =
        rig.programs.open(wanted(&rig, &script, &[])).await.unwrap();
    // More than a pipe and a socket hold: the host waits, and the program does not care.
    let flood = vec![b'x'; 4 << 20];
    assert!(tokio::time::timeout(Duration::from_secs(2), stdin.write_all(&flood)).await.is_err());
    drop(stdin);
    gone(&mark).await;
}

#[tokio::test]
async fn one_that_closes_its_input_goes_on() {
    let rig = Rig::new();
    let script = "exec <&-; echo closed; sleep 1; echo still here";
    let Opened { mut stdin, stdout, life } = rig.programs.open(wanted(&rig, script, &[])).await.unwrap();
    let mut lines = BufReader::new(stdout).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("closed"));
    let _ = stdin.write_all(b"nobody reads this\n").await;
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("still here"));
    assert_eq!(life.ended().await, "it ended with status 0");
}

#[tokio::test]
async fn its_memory_is_bounded() {
    let rig = Rig::new();
    let limits = ProgramLimits { memory_bytes_max: 64 << 20, ..ProgramLimits::default() };
    let script = "all=$(head -c 300000000 /dev/zero | tr '\\0' x); echo ${#all}";
    let mut opened = rig.programs.open(Wanted { limits, ..wanted(&rig, script, &[]) }).await.unwrap();
    let how = opened.life.ended().await;
    // The watch ends it, or the kernel refuses it memory, whichever is sooner; it never holds what it asked for.
    assert_ne!(how, "it ended with status 0");
    let mut said = String::new();
    opened.stdout.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "");
    drop(opened);
}

#[tokio::test]
async fn what_cannot_be_started_is_its_end() {
    let rig = Rig::new();
    let missing = Wanted { program: "no-such-program".parse().unwrap(), ..wanted(&rig, "", &[]) };
    assert!(rig.programs.open(missing).await.unwrap_err().to_string().contains("install it"));
    let script = rig.outside.path().canonicalize().unwrap().join("script");
    std::fs::write(&script, "#!/nowhere/at/all\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let opened =
        rig.programs.open(Wanted { program: script.to_str().unwrap().parse().unwrap(), ..wanted(&rig, "", &[]) });
    let how = opened.await.unwrap().life.ended().await;
    assert!(how.contains("could not be started"), "{how}");
}
