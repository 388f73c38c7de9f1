//! The program as its users run it: the built binary, a home and a project of each test's own, and what comes out of its
//! two streams, its exit code and its files. Nothing here reaches into the program's code.

mod agents;
mod audit;
mod background;
mod bad_input;
mod bundle;
mod check;
mod gates;
mod json;
mod mcp;
mod models;
mod nested;
// A released program looks for the administrator's policy in one place only, which is no test's to write.
#[cfg(debug_assertions)]
mod policy;
mod resume;
mod servers;
mod stop;
mod workflows;
mod worktree;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_vespiary");

/// How long anything is waited for. Nothing is measured against it: it only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a workflow begins with.
pub(crate) const META: &str = "export const meta = { name: 'test', description: 'A test.' }\n";

/// The repository's example of that name.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples").join(name)
}

/// A component of the repository, `plugins/built/NAME.wasm` for one.
pub(crate) fn component(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

/// A home and a project of a test's own, both gone when it ends.
pub(crate) struct Place {
    temp: TempDir,
}

impl Place {
    /// With compiled code in the cache already, so that a test waits for a compiler only where it is about one.
    pub(crate) fn new() -> Self {
        let place = Self::cold();
        let cache = place.cache();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&cache).unwrap();
        for file in fs::read_dir(warm_cache()).unwrap().map(Result::unwrap) {
            // A link is enough: the program replaces files of its cache, it never writes into them.
            fs::hard_link(file.path(), cache.join(file.file_name())).unwrap();
        }
        place
    }

    /// With no home yet.
    pub(crate) fn cold() -> Self {
        let temp = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(temp.path().join("project")).unwrap();
        Self { temp }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path("home")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.path("home/cache")
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.path("home/state/ledger.sqlite")
    }

    /// Where the program is started, and what it works on.
    pub(crate) fn project(&self) -> PathBuf {
        self.path("project")
    }

    /// Put `content` below the project.
    pub(crate) fn file(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.project().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A workflow beside the project: `body` after a sound `meta`.
    pub(crate) fn script(&self, body: &str) -> PathBuf {
        self.raw_script(&format!("{META}{body}"))
    }

    /// A workflow beside the project, as it stands.
    pub(crate) fn raw_script(&self, source: &str) -> PathBuf {
        let path = self.path("script.js");
        fs::write(&path, source).unwrap();
        path
    }

    /// A copy of a component with a manifest beside it, outside of the project.
    pub(crate) fn plugin(&self, from: &Path, manifest: &str) -> PathBuf {
        let path = self.path("plugin.wasm");
        fs::copy(from, &path).unwrap();
        fs::write(self.path("plugin.toml"), manifest).unwrap();
        path
    }

    /// The program, to be run in the project. It has no controlling terminal, so it can ask nobody, whoever runs the tests.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(PROGRAM);
        self.prepared(command, args)
    }

    /// The same with nothing in between that would take the signals meant for the program, and none of them ignored: what a script
    /// starts in the background ignores an interrupt, and so does all that it starts in turn.
    pub(crate) fn command_for_signals(&self, args: &[&str]) -> Command {
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,TERM", PROGRAM]);
        self.prepared(command, args)
    }

    pub(crate) fn prepared(&self, mut command: Command, args: &[&str]) -> Command {
        command.args(args).current_dir(self.project()).env("VESPIARY_HOME", self.home());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Run the program to its end.
    pub(crate) fn vespiary(&self, args: &[&str]) -> Said {
        Running::start(self.command(args)).wait()
    }

    /// `vespiary run SCRIPT`, with the report beside the project.
    pub(crate) fn run(&self, script: &Path, args: &[&str]) -> Said {
        self.vespiary(&self.run_args(script, args).iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(crate) fn run_args(&self, script: &Path, args: &[&str]) -> Vec<String> {
        let (script, out) = (script.to_str().unwrap(), self.path("out"));
        let fixed = ["run", script, "--out", out.to_str().unwrap()];
        fixed.iter().chain(args).map(|arg| (*arg).to_owned()).collect()
    }
}

/// A cache with every bundled component in it, filled once for as long as the build directory lives.
fn warm_cache() -> &'static Path {
    static WARM: OnceLock<PathBuf> = OnceLock::new();
    WARM.get_or_init(|| {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("warm");
        let checked = Command::new(PROGRAM).arg("doctor").env("VESPIARY_HOME", &home).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
        home.join("cache")
    })
}

/// The program while it runs.
pub(crate) struct Running {
    child: Child,
    stdout: Stream,
    stderr: Stream,
}

/// What has come out of one stream so far, and the thread that reads on.
struct Stream(Arc<Mutex<Vec<u8>>>, JoinHandle<()>);

impl Stream {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&kept);
        let reading = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = pipe.read(&mut piece) {
                writer.lock().unwrap().extend_from_slice(&piece[..n]);
            }
        });
        Self(kept, reading)
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    fn whole(self) -> Vec<u8> {
        self.1.join().unwrap();
        self.0.lock().unwrap().clone()
    }
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self { child, stdout: Stream::of(stdout), stderr: Stream::of(stderr) }
    }

    pub(crate) fn send(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Wait until standard error holds `text`.
    pub(crate) fn until_says(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.stderr.so_far().contains(text) {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let _ = self.child.kill();
                panic!("it never said {text:?} ({ended:?}):\n{}", self.stderr.so_far());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn wait(mut self) -> Said {
        let begun = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if begun.elapsed() > PATIENCE => {
                    let _ = self.child.kill();
                    panic!("it does not end:\n{}", self.stderr.so_far());
                }
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        Said { code: status.code(), stdout: self.stdout.whole(), stderr: self.stderr.whole() }
    }
}

/// What the program said, and how it ended.
pub(crate) struct Said {
    /// None: a signal ended it.
    pub(crate) code: Option<i32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Said {
    pub(crate) fn out(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8(self.stderr.clone()).unwrap()
    }

    /// The exit code is `code`.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out(), self.err());
        self
    }

    /// Standard error holds every one of `parts`: what is wrong, why, and what to do.
    #[track_caller]
    pub(crate) fn complains(self, parts: &[&str]) -> Self {
        let err = self.err();
        for part in parts {
            assert!(err.contains(part), "standard error does not say {part:?}:\n{err}");
        }
        self
    }

    /// Standard output is exactly one JSON document of that schema.
    #[track_caller]
    pub(crate) fn json(&self, schema: &str) -> serde_json::Value {
        let value: serde_json::Value = serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}:\n{}\nstderr:\n{}", self.out(), self.err()));
        assert_eq!(value["schema"], schema);
        value
    }

    /// Neither stream holds a character that a terminal would obey or that reorders what is read.
    #[track_caller]
    pub(crate) fn stays_harmless(self) -> Self {
        for text in [self.out(), self.err()] {
            assert_harmless(&text);
        }
        self
    }
}

#[track_caller]
fn assert_harmless(text: &str) {
    let hostile = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.contains(hostile), "{:?}", text.lines().find(|line| line.contains(hostile)));
}

/// Every regular file below `dir`, with its content.
pub(crate) fn files_below(dir: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_below(&path)?);
        } else {
            found.push((path.clone(), fs::read(path)?));
        }
    }
    Ok(found)
}

/// Where `needle` begins in `bytes`, everywhere.
fn places(bytes: &[u8], needle: &[u8]) -> Vec<usize> {
    bytes.windows(needle.len()).enumerate().filter(|(_, window)| *window == needle).map(|(at, _)| at).collect()
}
