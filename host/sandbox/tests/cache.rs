//! Compiled code on disk: used when whole, replaced when not, done without when nobody should trust it.

use crate::guest::{echo, tool};
use crate::nest::{Guests, Nest, ROOM, value};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vespiary_sandbox::SandboxConfig;

fn nest(dir: &Path, component: Vec<u8>) -> Nest {
    let guests = Arc::new(Guests::default().with("g", "tools", component, ""));
    Nest::built(SandboxConfig { cache_dir: Some(dir.into()), ..SandboxConfig::new(ROOM, guests) })
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn code_is_kept_and_a_damaged_file_is_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("deep/code");
    let call = || async { value(&nest(&dir, echo()).call("g.x", "[1]").await).to_owned() };
    assert_eq!(call().await, "[1]");
    let [file]: [PathBuf; 1] = files(&dir).try_into().unwrap();
    let whole = std::fs::read(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    for damage in [&whole[..whole.len() / 2], &[0; 4096], b""] {
        std::fs::write(&file, damage).unwrap();
        assert_eq!(call().await, "[1]");
        assert_eq!(std::fs::read(&file).unwrap().len(), whole.len(), "the damaged file was replaced");
    }
    assert_eq!(files(&dir).len(), 1, "no draft is left behind");
}

#[tokio::test]
async fn whole_code_is_used_instead_of_the_component() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("code");
    nest(&dir, echo()).call("g.x", "1").await;
    let file = &files(&dir)[0];
    let before = std::fs::metadata(file).unwrap().modified().unwrap();
    assert_eq!(value(&nest(&dir, echo()).call("g.x", "1").await), "1");
    assert_eq!(std::fs::metadata(file).unwrap().modified().unwrap(), before, "nothing was compiled again");
    let other = tool("", "(call $ok (local.get $name) (i32.const 0))");
    nest(&dir, other).call("g.x", "1").await;
    assert_eq!(files(&dir).len(), 2, "another component has another file");
}

#[tokio::test]
async fn a_directory_others_can_enter_is_done_without() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("code");
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let nest = nest(&dir, echo());
    let warning = nest.sandbox.cache_refused().expect("the caller is told").to_string();
    assert!(warning.contains("755") && warning.contains("chmod 700"), "{warning}");
    assert_eq!(value(&nest.call("g.x", "1").await), "1");
    assert!(files(&dir).is_empty());
}
