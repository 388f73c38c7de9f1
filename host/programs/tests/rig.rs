//! A project with a secret beside it, and programs run over it. Each run is looked at afterwards: nothing may be left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vespiary_kernel::program::ProgramStatus;
use vespiary_programs::{Confined, Ended, EndedBy, ProgramLimits, Programs, ProgramsConfig, Refused};

pub const SECRET: &str = "the secret beside the project";

pub struct Rig {
    pub programs: Programs,
    pub outside: tempfile::TempDir,
    pub project: PathBuf,
}

impl Rig {
    pub fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        let base = outside.path().canonicalize().unwrap();
        let project = base.join("project");
        std::fs::create_dir_all(project.join("inside")).unwrap();
        std::fs::write(base.join("secret.txt"), SECRET).unwrap();
        std::fs::write(project.join("notes.txt"), "a note inside").unwrap();
        std::os::unix::fs::symlink("../secret.txt", project.join("leak")).unwrap();
        std::os::unix::fs::symlink(&base, project.join("leak-dir")).unwrap();
        let launcher = Path::new(env!("CARGO_BIN_EXE_vespiary-confine"));
        Self { programs: Programs::new(ProgramsConfig::new(Some(launcher.into()))), outside, project }
    }

    /// `program` with `args` in the project, which it may only read.
    pub fn confined(&self, program: &str, args: &[&str]) -> Confined {
        Confined {
            program: program.parse().unwrap(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            stdin: None,
            dir: self.project.clone(),
            read: vec![self.project.clone()],
            write: Vec::new(),
            hide: Vec::new(),
            network: false,
            env: BTreeMap::new(),
            limits: ProgramLimits { wall_time_max: Duration::from_secs(60), ..ProgramLimits::default() },
        }
    }

    pub fn writing(&self, program: &str, args: &[&str]) -> Confined {
        Confined { write: vec![self.project.clone()], ..self.confined(program, args) }
    }

    pub fn sh(&self, script: &str) -> Confined {
        self.confined("sh", &["-c", script])
    }

    pub async fn run(&self, confined: Confined) -> Result<Ended, Refused> {
        self.programs.run_confined(confined).await
    }

    /// Run it to its own end.
    pub async fn said(&self, confined: Confined) -> Said {
        let ended = self.run(confined).await.unwrap_or_else(|refused| panic!("refused: {refused}"));
        match ended.by {
            EndedBy::Itself(status) => Said { status, out: ended.stdout.text(), err: ended.stderr.text() },
            EndedBy::Limit(hit) => panic!("{hit}\n{}\n{}", ended.stdout.text(), ended.stderr.text()),
        }
    }

    /// Run it to a limit, and give the limit's name.
    pub async fn limit(&self, confined: Confined) -> String {
        let ended = self.run(confined).await.unwrap_or_else(|refused| panic!("refused: {refused}"));
        match ended.by {
            EndedBy::Limit(hit) => hit.quota,
            EndedBy::Itself(status) => panic!("{status:?}\n{}\n{}", ended.stdout.text(), ended.stderr.text()),
        }
    }
}

#[derive(Debug)]
pub struct Said {
    pub status: ProgramStatus,
    pub out: String,
    pub err: String,
}

impl Said {
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, ProgramStatus::Exited(0), "{self:?}");
        self.out
    }

    #[track_caller]
    pub fn failed(self) -> String {
        assert_ne!(self.status, ProgramStatus::Exited(0), "{self:?}");
        format!("{}{}", self.out, self.err)
    }
}

/// Processes of this machine whose command line holds `mark`. A mark is an argument nobody else uses.
pub fn alive(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let own = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) == Some(std::process::id());
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if !own && line.contains(mark) {
            found.push(line);
        }
    }
    found
}

/// A mark that no other test and no other run uses.
pub fn mark() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("9{:07}.{:04}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
