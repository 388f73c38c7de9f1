//! Honest work: the tools that gates are made of run as they do outside.

use crate::rig::Rig;
use vespiary_kernel::program::ProgramStatus;
use vespiary_programs::{Confined, Programs, ProgramsConfig, Refused};

#[tokio::test]
async fn a_program_says_its_words_and_its_status() {
    let rig = Rig::new();
    assert_eq!(rig.said(rig.confined("cat", &["notes.txt"])).await.ok(), "a note inside");
    let said = rig.said(rig.sh("echo out; echo err >&2; exit 3")).await;
    assert_eq!((said.status, said.out.as_str(), said.err.as_str()), (ProgramStatus::Exited(3), "out\n", "err\n"));
    let said = rig.said(rig.sh("kill -SEGV $$")).await;
    assert_eq!(said.status, ProgramStatus::Signalled("SIGSEGV".into()));
}

#[tokio::test]
async fn standard_input_arrives_whole_whether_it_is_read_or_not() {
    let rig = Rig::new();
    let text: String = (0..400_000).rev().map(|n| format!("{n:07}\n")).collect();
    let count = Confined { stdin: Some(text.clone()), ..rig.confined("wc", &["-c"]) };
    assert_eq!(rig.said(count).await.ok().trim(), text.len().to_string());
    let sort = Confined { stdin: Some("b\na\n".into()), ..rig.confined("sort", &[]) };
    assert_eq!(rig.said(sort).await.ok(), "a\nb\n");
    let unread = Confined { stdin: Some(text), ..rig.confined("true", &[]) };
    rig.said(unread).await.ok();
    assert_eq!(rig.said(rig.confined("cat", &[])).await.ok(), "", "without any it is empty, not the host's");
}

#[tokio::test]
async fn a_writer_writes_where_it_may_and_starts_where_it_is_told() {
    let rig = Rig::new();
    let mut here =
        rig.writing("sh", &["-c", "pwd; echo new > made.txt; mv made.txt ../moved.txt; chmod 755 ../moved.txt"]);
    here.dir = rig.project.join("inside");
    assert_eq!(rig.said(here).await.ok().trim(), rig.project.join("inside").to_str().unwrap());
    let moved = rig.project.join("moved.txt");
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), "new\n");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(moved.metadata().unwrap().permissions().mode() & 0o777, 0o755);
}

#[tokio::test]
async fn the_environment_is_four_variables_and_what_was_granted() {
    let rig = Rig::new();
    let mut confined = rig.confined("env", &[]);
    confined.env.insert("GRANTED".into(), "a value".into());
    confined.env.insert("PATH".into(), "/project/bin".into());
    let out = rig.said(confined).await.ok();
    let mut lines: Vec<_> = out.lines().collect();
    lines.sort_unstable();
    let expected = ["GRANTED=a value", "HOME=/tmp", "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=/tmp"];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn scripts_run_by_their_interpreter_and_see_their_own_processes() {
    let rig = Rig::new();
    let script = rig.project.join("check.sh");
    std::fs::write(
        &script,
        "#!/usr/bin/env sh\necho \"script $1\"; cat /proc/self/comm; ls /proc | grep -c '^[0-9]'\n",
    )
    .unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let out = rig.said(rig.confined(script.to_str().unwrap(), &["one"])).await.ok();
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[..2], ["script one", "cat"]);
    assert!(lines[2].parse::<u32>().unwrap() < 6, "more processes than its own: {out}");
}

#[tokio::test]
async fn a_c_program_is_made_and_run() {
    let rig = Rig::new();
    std::fs::write(rig.project.join("a.c"), "#include <stdio.h>\nint main(void) { puts(\"made here\"); return 0; }\n")
        .unwrap();
    std::fs::write(rig.project.join("Makefile"), "a: a.c\n\tcc -O1 -o a a.c\nrun: a\n\t./a\n").unwrap();
    let out = rig.said(rig.writing("make", &["-j4", "run"])).await.ok();
    assert!(out.ends_with("made here\n"), "{out}");
}

#[tokio::test]
async fn git_commits_and_shows_its_history() {
    let rig = Rig::new();
    let script = "git init -q . && git config user.email a@example.com && git config user.name A && git add notes.txt \
                  && git commit -qm first && git log --format=%s && git status --porcelain inside && git diff --stat";
    assert_eq!(rig.said(rig.writing("sh", &["-c", script])).await.ok(), "first\n");
}

#[tokio::test]
async fn python_and_node_run_with_threads_children_and_pipes() {
    let rig = Rig::new();
    let python = "import subprocess, threading, tempfile, concurrent.futures as f\n\
                  with f.ThreadPoolExecutor(4) as p: print(sum(p.map(lambda n: n * n, range(10))))\n\
                  print(subprocess.run(['sort'], input='b\\na\\n', capture_output=True, text=True).stdout.split())\n\
                  t = tempfile.NamedTemporaryFile(); t.write(b'x'); t.flush(); print(open(t.name).read())\n";
    for program in ["/usr/bin/python3", "/usr/bin/node"] {
        // Not every machine has both; what it has must work.
        if !std::path::Path::new(program).exists() {
            continue;
        }
        let (code, expected) = match program {
            "/usr/bin/python3" => (python, "285\n['a', 'b']\nx\n"),
            _ => (
                "const c = require('child_process'); console.log(c.execFileSync('sort', { input: 'b\\na\\n' }).toString()\
                 .trim().split('\\n').join()); require('fs').promises.readFile('notes.txt', 'utf8').then(console.log)",
                "a,b\na note inside\n",
            ),
        };
        let flag = if program.ends_with("node") { "-e" } else { "-c" };
        assert_eq!(rig.said(rig.confined(program, &[flag, code])).await.ok(), expected, "{program}");
    }
}

#[tokio::test]
async fn cargo_builds_and_tests_with_its_toolchain_granted() {
    let rig = Rig::new();
    let home = std::path::PathBuf::from(std::env::var("CARGO").unwrap());
    // CARGO is the toolchain's own binary: <toolchain>/bin/cargo.
    let toolchain = home.parent().unwrap().parent().unwrap().to_owned();
    let package = rig.project.join("inside");
    std::fs::create_dir(package.join("src")).unwrap();
    std::fs::write(package.join("Cargo.toml"), "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2024\"\n")
        .unwrap();
    std::fs::write(package.join("src/lib.rs"), "#[test]\nfn two() { assert_eq!(1 + 1, 2); }\n").unwrap();
    let mut cargo = rig.writing(home.to_str().unwrap(), &["test", "--offline", "--lib", "-q"]);
    cargo.dir = package;
    cargo.env.insert("RUSTC".into(), toolchain.join("bin/rustc").to_str().unwrap().into());
    cargo.read.push(toolchain);
    let out = rig.said(cargo).await.ok();
    assert!(out.contains("1 passed"), "{out}");
}

#[tokio::test]
async fn what_cannot_be_run_says_why() {
    let rig = Rig::new();
    let refused = rig.run(rig.confined("no-such-program", &[])).await.unwrap_err();
    assert!(matches!(&refused, Refused::NotFound(why) if why.contains("/usr/local/bin")), "{refused}");
    let refused = rig.run(rig.confined("/etc/passwd", &[])).await.unwrap_err();
    assert!(matches!(&refused, Refused::Unfit(why) if why.contains("execute")), "{refused}");
    let mut nowhere = rig.confined("true", &[]);
    nowhere.dir = "/nowhere".into();
    let refused = rig.run(nowhere).await.unwrap_err();
    assert!(matches!(&refused, Refused::Place(why) if why.contains("/nowhere")), "{refused}");
    let script = rig.project.join("bad.sh");
    std::fs::write(&script, "#!/opt/nowhere/interpreter\n").unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let refused = rig.run(rig.confined(script.to_str().unwrap(), &[])).await.unwrap_err();
    assert!(matches!(&refused, Refused::NotStarted(why) if why.contains("interpreter")), "{refused}");
}

#[tokio::test]
async fn this_machine_confines_and_a_launcher_that_does_not_is_noticed() {
    let rig = Rig::new();
    rig.programs.check().await.unwrap();
    for bad in ["/usr/bin/true", "/nowhere"] {
        let programs = Programs::new(ProgramsConfig::new(Some(bad.into())));
        assert!(matches!(programs.check().await, Err(Refused::Host(_))), "{bad}");
    }
}
