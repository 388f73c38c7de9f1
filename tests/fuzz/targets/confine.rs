//! Confinement: a guest in a real cell over a real tree full of links reads whatever path it likes, and nothing that it gets
//! is from outside; what it writes stays inside. Input: one path a line, as the guest says it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use vespiary_kernel::call::{Failure, Keep, ToolCall};
use vespiary_kernel::dispatch::Dispatcher;
use vespiary_kernel::event::Event;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{Digest, RunId, ToolName};
use vespiary_kernel::json::Json;
use vespiary_kernel::plugin::{Manifest, Plugin, Trust};
use vespiary_kernel::policy::{Answer, Policy};
use vespiary_kernel::pool::{Capacity, Pool};
use vespiary_kernel::ports::{Approver, Asked, BoxFuture, Catalog, Log, LogError};
use vespiary_kernel::principal::RunLimits;
use vespiary_sandbox::{Sandbox, SandboxConfig};

const SECRET: &str = "the-secret-outside";

struct World {
    runtime: tokio::runtime::Runtime,
    dispatcher: Arc<Dispatcher>,
    outside: PathBuf,
    project: PathBuf,
    _temp: tempfile::TempDir,
}

/// One plugin: the bundled `files`.
struct Shelf(Arc<Plugin>, Vec<u8>);

impl Catalog for Shelf {
    fn find(&self, tool: &ToolName) -> Option<Arc<Plugin>> {
        (tool.plugin() == "files").then(|| self.0.clone())
    }
    fn component(&self, _: &Digest) -> Option<Cow<'static, [u8]>> {
        Some(Cow::Owned(self.1.clone()))
    }
    fn names(&self) -> Vec<String> {
        vec!["files".into()]
    }
}

struct Nobody;

impl Log for Nobody {
    fn append(&self, _: &RunId, _: Event) -> Result<(), LogError> {
        Ok(())
    }
    fn flushed(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async { Ok(()) })
    }
}

impl Approver for Nobody {
    fn ask<'a>(&'a self, _: Asked<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(async { Answer::Nobody("nobody is here".into()) })
    }
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
        let component = std::fs::read(plugins.join("built/files.wasm")).unwrap();
        let manifest = std::fs::read_to_string(plugins.join("files/plugin.toml")).unwrap();
        let plugin = Plugin::new(Manifest::parse(&manifest).unwrap(), Digest::of(&component), Trust::Bundled).unwrap();
        let shelf = Arc::new(Shelf(Arc::new(plugin), component));
        let capacity = Capacity::of_places(1, 1, 1, 1);
        let sandbox = Sandbox::new(SandboxConfig::new(capacity, shelf.clone())).unwrap();
        let dispatcher = Dispatcher::new(
            Arc::new(Nobody),
            shelf,
            Policy::default(),
            Pool::new(capacity),
            Arc::new(sandbox),
            Arc::new(Nobody),
        );
        let temp = tempfile::tempdir().unwrap();
        let (outside, project) = (temp.path().to_owned(), temp.path().join("project"));
        std::fs::create_dir_all(project.join("a/b")).unwrap();
        std::fs::create_dir(outside.join("elsewhere")).unwrap();
        std::fs::write(outside.join("secret"), SECRET).unwrap();
        std::fs::write(outside.join("elsewhere/secret"), SECRET).unwrap();
        std::fs::write(project.join("a/file"), "inside").unwrap();
        let elsewhere = outside.join("elsewhere");
        for (link, to) in [
            ("up", Path::new("..")),
            ("out", elsewhere.as_path()),
            ("root", Path::new("/")),
            ("self", Path::new("self")),
            ("a/back", Path::new("../..")),
            ("a/b/deep", Path::new("../../../secret")),
            ("a/in", Path::new("b")),
        ] {
            std::os::unix::fs::symlink(to, project.join(link)).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        World { runtime, dispatcher, outside, project, _temp: temp }
    })
}

fuzz_target!(|data: &[u8]| {
    let world = world();
    // A run of its own: what one input used, no other lacks.
    let grant = Grant::of_run(["read:.", "write:.", "tool:*"].map(|text| text.parse().unwrap()));
    let who = world.dispatcher.start("fuzz".parse().unwrap(), world.project.clone(), grant, RunLimits::default());
    for path in vespiary_fuzz::lines(data).into_iter().take(8) {
        for (tool, more) in [("read", ""), ("stat", ""), ("list", ""), ("write", r#","text":"written""#)] {
            let arguments = format!(r#"{{"path":{}{more}}}"#, serde_json::to_string(&path).unwrap());
            let call = ToolCall {
                tool: format!("files.{tool}").parse().unwrap(),
                arguments: Json::parse(arguments).unwrap(),
                keep: Keep::Digest,
            };
            let outcome = world.runtime.block_on(world.dispatcher.dispatch(&who, call)).into_result();
            let said = match &outcome {
                Ok(value) => value.to_string(),
                // Where no cell starts, nothing is tried.
                Err(failure @ (Failure::Host(_) | Failure::Limit(_))) => panic!("nothing ran at {path:?}: {failure}"),
                Err(failure) => failure.to_string(),
            };
            assert!(!said.contains(SECRET), "{tool} of {path:?} told {said}");
        }
    }
    // Nothing outside was made or changed.
    assert_eq!(std::fs::read_dir(&world.outside).unwrap().count(), 3, "something was made outside");
    assert_eq!(std::fs::read_dir(world.outside.join("elsewhere")).unwrap().count(), 1);
    for secret in ["secret", "elsewhere/secret"] {
        assert_eq!(std::fs::read_to_string(world.outside.join(secret)).unwrap(), SECRET);
    }
    if std::fs::read_dir(&world.project).unwrap().count() > 200 {
        sweep(&world.project);
    }
});

/// Take away what was written, and leave what the world began with.
fn sweep(project: &Path) {
    for entry in std::fs::read_dir(project).unwrap().map(Result::unwrap) {
        let kept = ["a", "up", "out", "root", "self"].iter().any(|name| entry.file_name() == *name);
        if kept {
            continue;
        }
        let removed = match entry.file_type().unwrap().is_dir() {
            true => std::fs::remove_dir_all(entry.path()),
            false => std::fs::remove_file(entry.path()),
        };
        removed.unwrap();
    }
}
