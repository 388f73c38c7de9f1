//! Compiled code that somebody changed, replaced or put in the way. Whatever is wrong with the cache, the answer is the
//! component's own: it is compiled again, and nothing of the attacker's is run, written through or waited for.

use super::READ;
use super::rig::{Rig, all_guests};
use super::stage::play;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vespiary_kernel::call::{Keep, ToolCall};
use vespiary_kernel::host::HostLimits;
use vespiary_kernel::json::Json;
use vespiary_kernel::pool::Capacity;
use vespiary_kernel::ports::Catalog as _;
use vespiary_sandbox::{Sandbox, SandboxConfig};

/// Two small components that answer differently, and a cache that holds the code of both.
struct Poisoned {
    temp: tempfile::TempDir,
}

const PLUGINS: [&str; 2] = ["realloc-null", "latin1-controls"];

impl Poisoned {
    async fn new() -> Self {
        let poisoned = Self { temp: tempfile::tempdir().unwrap() };
        for plugin in PLUGINS {
            poisoned.answers(plugin).await;
        }
        assert_eq!(fs::read_dir(poisoned.dir()).unwrap().count(), 2, "both are cached");
        poisoned
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("cache")
    }

    /// The file that holds the code of `plugin`.
    fn file(&self, plugin: &str) -> PathBuf {
        let tool = format!("{plugin}.anything").parse().unwrap();
        let digest = all_guests().find(&tool).unwrap().digest.to_string();
        let files = fs::read_dir(self.dir()).unwrap().map(|entry| entry.unwrap().path());
        files.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&digest)).unwrap()
    }

    /// A host that has just started calls `plugin`. The answer must be that plugin's, whatever the cache holds, and must come
    /// within a moment.
    async fn answers(&self, plugin: &str) -> Arc<Sandbox> {
        let config = SandboxConfig::new(Capacity::of_places(1, 1, 1, 1), all_guests());
        let config = SandboxConfig { cache_dir: Some(self.dir()), ..config };
        let config = config.with(&HostLimits { compile_time_ms: 60_000, ..HostLimits::default() });
        let sandbox = Arc::new(Sandbox::new(config).unwrap());
        let rig = Rig::on(sandbox.clone());
        let begun = Instant::now();
        let call = ToolCall {
            tool: format!("{plugin}.anything").parse().unwrap(),
            arguments: Json::parse(r#"{"of":"the arguments"}"#).unwrap(),
            keep: Keep::Value,
        };
        let answer = rig.dispatcher.dispatch(&rig.who(READ), call).await.into_result().unwrap();
        let own = if plugin == "realloc-null" { "the arguments" } else { "31m" };
        assert!(answer.as_str().contains(own), "another plugin answered for {plugin}: {answer}");
        assert!(begun.elapsed() < Duration::from_secs(50), "it waited for something");
        sandbox
    }

    /// After the attack both plugins are themselves, and both files are whole again.
    async fn survives(&self) {
        for plugin in PLUGINS {
            drop(self.answers(plugin).await);
            let file = fs::symlink_metadata(self.file(plugin)).unwrap();
            assert!(file.is_file() && file.nlink() == 1 && file.len() > 1_000, "{plugin} was not cached anew");
            assert_eq!(file.permissions().mode() & 0o777, 0o600);
        }
        let left = fs::read_dir(self.dir()).unwrap().count();
        assert_eq!(left, 2, "something was left behind in the cache");
    }
}

#[test]
fn cache_changed_bytes() {
    play(async {
        let poisoned = Poisoned::new().await;
        let whole = fs::read(poisoned.file("realloc-null")).unwrap();
        // The magic, the digest, the first of the code, its middle and its end.
        for at in [0, 20, 48, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(poisoned.file("realloc-null"), &bytes).unwrap();
            drop(poisoned.answers("realloc-null").await);
            assert_eq!(fs::read(poisoned.file("realloc-null")).unwrap().len(), whole.len());
            assert_ne!(fs::read(poisoned.file("realloc-null")).unwrap(), bytes, "a change at {at} was taken");
        }
        poisoned.survives().await;
    });
}

#[test]
fn cache_cut_short() {
    play(async {
        let poisoned = Poisoned::new().await;
        let whole = fs::read(poisoned.file("latin1-controls")).unwrap();
        for length in [0, 1, 16, 47, 48, whole.len() / 3, whole.len() - 1] {
            fs::write(poisoned.file("latin1-controls"), &whole[..length]).unwrap();
            drop(poisoned.answers("latin1-controls").await);
        }
        poisoned.survives().await;
    });
}

#[test]
fn cache_swapped_names() {
    play(async {
        let poisoned = Poisoned::new().await;
        let (one, other) = (poisoned.file("realloc-null"), poisoned.file("latin1-controls"));
        let aside = poisoned.temp.path().join("aside");
        fs::rename(&one, &aside).unwrap();
        fs::rename(&other, &one).unwrap();
        fs::rename(&aside, &other).unwrap();
        poisoned.survives().await;
    });
}

#[test]
fn cache_of_another_engine() {
    play(async {
        let poisoned = Poisoned::new().await;
        let file = poisoned.file("realloc-null");
        // The same code under the name that another engine, and another version, would look for.
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let parts: Vec<&str> = name.split('-').collect();
        let foreign = file.with_file_name(format!("{}-{:016x}-{}", parts[0], 0, parts[2]));
        fs::rename(&file, &foreign).unwrap();
        drop(poisoned.answers("realloc-null").await);
        assert!(file.exists(), "it was compiled for this engine");
        fs::remove_file(foreign).unwrap();
        poisoned.survives().await;
    });
}

#[test]
fn cache_linked_file() {
    play(async {
        let poisoned = Poisoned::new().await;
        let victim = poisoned.temp.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let file = poisoned.file("realloc-null");
        fs::remove_file(&file).unwrap();
        symlink(&victim, &file).unwrap();
        poisoned.survives().await;
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "the host wrote through the link");
    });
}

#[test]
fn cache_hard_linked_file() {
    play(async {
        let poisoned = Poisoned::new().await;
        let (file, outside) = (poisoned.file("realloc-null"), poisoned.temp.path().join("outside"));
        fs::hard_link(&file, &outside).unwrap();
        fs::write(&outside, "mine now").unwrap();
        poisoned.survives().await;
        assert_eq!(fs::read_to_string(&outside).unwrap(), "mine now", "the host wrote into a file that others hold");
    });
}

#[test]
fn cache_pipe() {
    play(async {
        let poisoned = Poisoned::new().await;
        let file = poisoned.file("realloc-null");
        fs::remove_file(&file).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        poisoned.survives().await;
    });
}

#[test]
fn cache_directory_for_a_file() {
    play(async {
        let poisoned = Poisoned::new().await;
        let file = poisoned.file("realloc-null");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        // Not even a rename can replace it: it is compiled each time, and nothing is left half written.
        drop(poisoned.answers("realloc-null").await);
        assert_eq!(fs::read_dir(poisoned.dir()).unwrap().count(), 2);
        fs::remove_dir(&file).unwrap();
        poisoned.survives().await;
    });
}

#[test]
fn cache_without_end() {
    play(async {
        let poisoned = Poisoned::new().await;
        // A terabyte that takes no room on disk, and would take all of it in memory.
        fs::File::options().write(true).open(poisoned.file("realloc-null")).unwrap().set_len(1 << 40).unwrap();
        poisoned.survives().await;
    });
}

#[test]
fn cache_linked_directory() {
    play(async {
        let poisoned = Poisoned::new().await;
        let elsewhere = poisoned.temp.path().join("elsewhere");
        fs::rename(poisoned.dir(), &elsewhere).unwrap();
        symlink(&elsewhere, poisoned.dir()).unwrap();
        refused(&poisoned, "symbolic link").await;
    });
}

#[test]
fn cache_open_to_others() {
    play(async {
        let poisoned = Poisoned::new().await;
        for mode in [0o777, 0o1777, 0o755, 0o750, 0o701] {
            fs::set_permissions(poisoned.dir(), fs::Permissions::from_mode(mode)).unwrap();
            refused(&poisoned, "chmod 700").await;
        }
    });
}

/// Only root can hand a directory to somebody else; for others the rule stands in `sandbox`'s own tests.
#[test]
fn cache_of_somebody_else() {
    play(async {
        let poisoned = Poisoned::new().await;
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(poisoned.dir(), Some(65_534), None).unwrap();
            refused(&poisoned, "it belongs to user 65534").await;
        }
    });
}

/// A parent that everybody may write lets somebody put another directory in the cache's place. That one is not this user's,
/// or it is open to others; and one that is put there later is not looked at again.
#[test]
fn cache_below_an_open_parent() {
    play(async {
        let poisoned = Poisoned::new().await;
        fs::set_permissions(poisoned.temp.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let sandbox = poisoned.answers("realloc-null").await;
        assert!(sandbox.cache_refused().is_none());
        fs::rename(poisoned.dir(), poisoned.temp.path().join("aside")).unwrap();
        fs::DirBuilder::new().mode(0o777).create(poisoned.dir()).unwrap();
        fs::set_permissions(poisoned.dir(), fs::Permissions::from_mode(0o777)).unwrap();
        refused(&poisoned, "chmod 700").await;
        assert_eq!(fs::read_dir(poisoned.dir()).unwrap().count(), 0, "nothing was written where everybody may");
    });
}

/// The cache is done without, and whoever started the host is told why; the components run all the same.
async fn refused(poisoned: &Poisoned, why: &str) {
    let entries = |dir: &Path| fs::read_dir(dir).unwrap().map(|e| e.unwrap().metadata().unwrap().mtime()).max();
    let before = entries(&poisoned.dir());
    for plugin in PLUGINS {
        let sandbox = poisoned.answers(plugin).await;
        let told = sandbox.cache_refused().expect("the cache was used").to_string();
        assert!(told.contains(why), "{told}");
    }
    assert_eq!(entries(&poisoned.dir()), before, "the refused cache was written");
}
