//! Runs the fuzz targets of `tests/fuzz` for a while each, and says what they did. What must never live here: a property; those
//! stand in the targets.
#![allow(clippy::disallowed_methods, reason = "builds the targets and runs them")]

use crate::guest::Workspace;
use crate::instrument::instrumented;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// One input may take this long, in seconds; the script target stops a script after half of one.
const INPUT_SECONDS_MAX: u32 = 20;

/// The longest input, bytes.
const INPUT_BYTES_MAX: u32 = 4_096;

/// What cargo says of a thing it built.
#[derive(Deserialize)]
struct Built {
    executable: Option<PathBuf>,
}

/// What one target did.
struct Done {
    target: String,
    inputs: u64,
    kept: u64,
}

/// Build `only` these targets, or all, then run each for `time`. Stops at the first that finds something.
pub(crate) fn fuzz(time: Duration, only: &[String]) -> Result<()> {
    let workspace = Workspace::find()?;
    let dir = workspace.root.join("tests/fuzz");
    let targets = targets(&dir)?;
    if let Some(unknown) = only.iter().find(|name| !targets.contains(name)) {
        bail!("there is no target `{unknown}`; there are: {}", targets.join(", "));
    }
    let chosen = if only.is_empty() { targets } else { only.to_vec() };
    let built = build(&dir, &chosen)?;
    let mut all = Vec::new();
    for target in &chosen {
        all.push(run(&dir, &built, target, time)?);
    }
    println!("\n{:12} {:>12} {:>8}", "target", "inputs", "kept");
    for Done { target, inputs, kept } in all {
        println!("{target:12} {inputs:12} {kept:8}");
    }
    Ok(())
}

/// The targets, by their files.
fn targets(dir: &Path) -> Result<Vec<String>> {
    let files = fs::read_dir(dir.join("targets")).context("cannot read tests/fuzz/targets")?;
    let mut names = files
        .map(|entry| Ok(entry?.path().file_stem().context("a target without a name")?.to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Built like the tests, with the same features, so that of other people's crates nothing is compiled again.
fn build(dir: &Path, targets: &[String]) -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--workspace", "--features", "vespiary-fuzz/libfuzzer"]);
    cargo.args(targets.iter().flat_map(|target| ["--bin", target]));
    // What `cargo xtask` says of xtask's own package; some build scripts look at it, and would be run again for that.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.to_string_lossy().starts_with(own)) {
            cargo.env_remove(name);
        }
    }
    cargo.args(["--message-format", "json-render-diagnostics"]).current_dir(dir).stderr(Stdio::inherit());
    let Output { status, stdout, .. } = instrumented(&mut cargo)?.output().context("cannot run cargo")?;
    ensure!(status.success(), "the targets do not compile (see above)");
    let said = String::from_utf8_lossy(&stdout);
    let built =
        said.lines().filter_map(|line| serde_json::from_str::<Built>(line).ok()).find_map(|built| built.executable);
    built.and_then(|program| Some(program.parent()?.to_owned())).context("cargo did not say where the targets are")
}

fn run(dir: &Path, built: &Path, target: &str, time: Duration) -> Result<Done> {
    let (grown, found) = (dir.join("corpus-grown").join(target), dir.join("artifacts").join(target));
    fs::create_dir_all(&grown)?;
    fs::create_dir_all(&found)?;
    println!("{target}: {} s", time.as_secs());
    let mut fuzzer = Command::new(built.join(target));
    fuzzer.arg(format!("-max_total_time={}", time.as_secs().max(1)));
    fuzzer.arg(format!("-timeout={INPUT_SECONDS_MAX}")).arg(format!("-max_len={INPUT_BYTES_MAX}"));
    fuzzer.args(["-rss_limit_mb=4096", "-print_final_stats=1"]);
    fuzzer.arg(format!("-artifact_prefix={}/", found.display()));
    // New inputs go into the first of the two; what is committed is only read.
    fuzzer.arg(&grown).arg(dir.join("corpus").join(target)).current_dir(dir);
    let Output { status, stderr, .. } = fuzzer.output().with_context(|| format!("cannot run {target}"))?;
    let said = String::from_utf8_lossy(&stderr);
    if !status.success() {
        let tail: Vec<_> = said.lines().rev().take(40).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        bail!("{target} found something; the input is in {}\n{}", found.display(), tail.join("\n"));
    }
    let stat = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(&format!("stat::{name}:")));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    };
    Ok(Done { target: target.to_owned(), inputs: stat("number_of_executed_units"), kept: stat("new_units_added") })
}
