//! What holds for the suite as a whole: every threat has attacks, every attack is run, and the host is afterwards as it was.
//! No attack lives here.

use super::stage::MEASURES;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};
use vespiary_kernel::account::Resource;
use vespiary_kernel::host::HostLimits;
use vespiary_kernel::quota::Quota;

/// A row of the threat model in `host/ARCHITECTURE.md`, as its first column begins, and the module that attacks it.
const THREATS: &[(&str, &str)] = &[
    ("reading or writing outside a grant", "confinement"),
    ("files that a broad grant should not show", "filesystem"),
    ("races: a directory swapped", "filesystem"),
    ("a reader that writes", "confinement"),
    ("a writer that fills the disk", "filesystem"),
    ("an isolated agent that changes the project", "worktree"),
    ("a change set that leads out", "worktree"),
    ("environment, arguments, standard input", "confinement"),
    ("a host program that was not granted", "programs"),
    ("a host program that looks around", "programs"),
    ("a host program that reaches out", "programs"),
    ("a host program that stays, multiplies", "programs"),
    ("an MCP server that is not what was trusted", "servers"),
    ("an MCP server that looks around", "servers"),
    ("an MCP server that floods", "servers"),
    ("policy confusion", "policy"),
    ("a policy that somebody else wrote", "policy"),
    ("a question answered by text", "policy"),
    ("network", "network"),
    ("a secret that leaks", "network"),
    ("a loop that never ends", "resources"),
    ("a wait that never ends", "resources"),
    ("memory, tables, stack", "resources"),
    ("many small calls", "quotas"),
    ("floods: results, log, progress, artifacts, requests", "resources"),
    ("malformed, truncated, huge components", "components"),
    ("a guest that lies at the border", "abi"),
    ("a poisoned cache of compiled code", "cache"),
    ("an agent that asks for more than it has", "agents"),
    ("an agent that starts agents without end", "agents"),
    ("a script that attacks its engine", "scripts"),
    ("a script that has the host work for it", "scripts"),
    ("a script, agent or tool that decides a gate", "scripts"),
    ("a script that calls others", "scripts"),
    ("a guest that speaks for the host", "agents"),
    ("log injection, terminal escapes", "words"),
    ("a call nobody knows of", "record"),
];

/// Every row of the quota tables, and the attack that ends at it: a module and test of this suite, or a file of tests beside the
/// code for what is spent where no guest runs.
const QUOTAS: &[(&str, &str)] = &[
    ("cpu-time-ms", "resources::endless_loop"),
    ("wall-time-ms", "resources::endless_sleep"),
    ("idle-time-ms", "quotas::waits_without_working"),
    ("memory-bytes", "resources::memory_growth"),
    ("table-elements", "resources::table_growth"),
    ("instances", "quotas::many_instances"),
    ("result-bytes", "resources::huge_result"),
    ("log-bytes", "resources::log_flood"),
    ("open-files", "filesystem::open_flood"),
    ("bytes-written", "filesystem::append_flood"),
    ("files-written", "filesystem::file_flood"),
    ("http-requests", "network::request_flood"),
    ("http-bytes-out", "network::upload_flood"),
    ("http-bytes-in", "network::ignores_the_limit"),
    ("artifact-bytes", "resources::artifact_flood"),
    ("argument-bytes", "quotas::many_large_arguments"),
    ("tool-calls", "agents::agent_request_flood"),
    ("cpu-time-us", "quotas::many_short_loops"),
    ("input-tokens", "host/fleet/src/model.rs"),
    ("output-tokens", "host/fleet/src/model.rs"),
    ("tokens", "host/fleet/src/model.rs"),
    ("usd-micros", "host/fleet/src/model.rs"),
    ("model-requests", "host/kernel/src/pool.rs"),
    ("cells-alive", "quotas::crowd_at_the_door"),
    ("agents-alive", "quotas::crowd_at_the_door"),
    ("queue-length", "quotas::crowd_at_the_door"),
    ("cells-memory-bytes", "host/kernel/src/pool.rs"),
    ("stack-bytes", "resources::call_itself"),
    ("component-bytes", "components::oversized"),
    ("compile-time-ms", "host/sandbox/tests/compile.rs"),
    ("compile-memory-bytes", "host/sandbox/tests/compile.rs"),
    ("http-requests-per-second-per-host", "host/egress/src/rates.rs"),
];

/// Growth of resident memory over a whole serial pass, after the first tenth of it. Every attack on memory touches tens of
/// megabytes and there are dozens, so a pass in which cells were not given back ends far above this.
const GROWTH_BYTES_MAX: u64 = 96 << 20;

/// What has been freed goes back to the machine at once, so that what is resident is what is held. As it comes, the allocator keeps
/// a heap for each of up to eight threads a core, and keeps larger and larger pieces in them: with many cores that alone
/// passes [`GROWTH_BYTES_MAX`].
const TO_THE_MACHINE: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The attacks that this binary knows, by module.
fn attacks() -> BTreeMap<String, BTreeSet<String>> {
    let listed = Command::new(env::current_exe().unwrap()).args(["hostile::", "--list"]).output().unwrap();
    let mut attacks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(listed.stdout).unwrap().lines() {
        let Some(path) = line.strip_prefix("hostile::").and_then(|line| line.strip_suffix(": test")) else { continue };
        let (module, name) = path.split_once("::").expect("every test lives in a module");
        if module != "laws" {
            attacks.entry(module.to_owned()).or_default().insert(name.to_owned());
        }
    }
    attacks
}

/// Names of the files with `extension` in `dir`, without it.
fn stems(dir: &Path, extension: &str) -> BTreeSet<String> {
    let files = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == extension));
    files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Every guest has its test: a file that nobody runs is no wall.
#[test]
fn every_guest_and_script_is_run() {
    let guests = root().join("tests/guests");
    let tests: BTreeSet<String> = attacks().into_values().flatten().collect();
    let mut files = stems(&root().join("tests/hostile/scripts"), "js");
    for dir in ["wat", "wat/agents"] {
        files.extend(stems(&guests.join(dir), "wat"));
    }
    for dir in fs::read_dir(&guests).unwrap().map(|entry| entry.unwrap().path()).chain([guests.clone()]) {
        files.extend(stems(&dir.join("src/attacks"), "rs"));
    }
    assert!(files.len() > 60, "only {} guests and scripts were found; did they move?", files.len());
    let forgotten: Vec<_> = files.difference(&tests).collect();
    assert!(forgotten.is_empty(), "these have no test of their name: {forgotten:?}");
}

/// Every row of the threat model is attacked, every module belongs to a row, and the model names where the attacks are.
#[test]
fn every_threat_has_attacks() {
    let attacks = attacks();
    let model = fs::read_to_string(root().join("host/ARCHITECTURE.md")).unwrap();
    for (threat, module) in THREATS {
        let row = model.lines().find(|line| line.starts_with(&format!("| {threat}")));
        let row = row.unwrap_or_else(|| panic!("the threat model has no row {threat:?}"));
        assert!(row.contains(&format!("`hostile/{module}`")), "the row does not name `hostile/{module}`: {row}");
        assert!(attacks.contains_key(*module), "{threat:?} is attacked by {module}, which has no test");
    }
    for line in model.lines().filter(|line| line.starts_with("| ") && line.contains("`hostile/")) {
        assert!(THREATS.iter().any(|(threat, _)| line.starts_with(&format!("| {threat}"))), "not in THREATS: {line}");
    }
    for (module, tests) in &attacks {
        assert!(THREATS.iter().any(|(_, of)| of == module), "the module {module} belongs to no threat");
        println!("{module:12} {:4} attacks", tests.len());
    }
    let all: usize = attacks.values().map(BTreeSet::len).sum();
    println!("{:12} {all:4} attacks", "together");
    assert!(all >= 100, "{all} attacks; the suite promises a hundred");
}

/// No limit is only a number: each row of the three tables ends an attack.
#[test]
fn every_quota_is_attacked() {
    let attacks = attacks();
    let rows = Quota::default().rows().into_iter().chain(HostLimits::default().rows()).map(|row| row.0);
    let rows: BTreeSet<&str> = rows.chain(Resource::all().map(Resource::name)).collect();
    assert_eq!(rows, QUOTAS.iter().map(|(name, _)| *name).collect(), "the tables and QUOTAS name the same limits");
    for (name, attack) in QUOTAS {
        match attack.split_once("::") {
            Some((module, test)) => {
                assert!(attacks.get(module).is_some_and(|tests| tests.contains(test)), "{name}: there is no {attack}");
            }
            None => {
                let file = fs::read_to_string(root().join(attack)).unwrap();
                assert!(file.contains("#[test]") || file.contains("#[tokio::test"), "{name}: {attack} has no test");
            }
        }
    }
}

/// All attacks once more, one after the other in a process of their own. Each compares descriptors and threads before and
/// after itself; here their memory is judged, and that none was left out.
#[test]
fn the_host_is_as_it_was() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let pass = Command::new(env::current_exe().unwrap())
        .args(["hostile::", "--skip", "hostile::laws::", "--test-threads=1"])
        .env(MEASURES, file.path())
        .envs(TO_THE_MACHINE)
        .output()
        .unwrap();
    assert!(pass.status.success(), "{}", String::from_utf8_lossy(&pass.stdout));
    let measures = fs::read_to_string(file.path()).unwrap();
    let measures: Vec<(&str, u64)> = measures
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, bytes)| (name, bytes.parse().unwrap()))
        .collect();
    let measured: BTreeSet<String> = measures.iter().map(|(name, _)| (*name).to_owned()).collect();
    let all = attacks().into_iter().flat_map(|(of, tests)| tests.into_iter().map(move |test| format!("{of}::{test}")));
    assert_eq!(measured, all.collect(), "every attack is played on the stage, so that it is measured");

    let tail = &measures[measures.len() / 10..];
    let (first, last) = (tail[0].1, tail[tail.len() - 1].1);
    println!("resident: {} MiB, at the end {} MiB", first >> 20, last >> 20);
    let steps: Vec<_> = tail.windows(2).map(|pair| (pair[1].1.saturating_sub(pair[0].1) >> 20, pair[1].0)).collect();
    let worst: Vec<_> = steps.iter().filter(|(mib, _)| *mib > 8).collect();
    assert!(
        last < first + GROWTH_BYTES_MAX,
        "memory grew from {} to {} MiB; mebibytes by attack: {worst:?}",
        first >> 20,
        last >> 20
    );
}
