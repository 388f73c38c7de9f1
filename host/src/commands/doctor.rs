//! `vespiary doctor`: looks at this machine and says, line by line, what is well, what is not, and what to do about it.
//!
//! `--json`: `{schema: "vespiary.doctor/1", ok, checks: [{name, state: "ok"|"warn"|"fail", found, next}]}`.

use super::{print_json, print_out};
use crate::catalog::Shelf;
use crate::cli::Output;
use crate::disk;
use crate::exit::{Exit, Trouble};
use crate::paths::Home;
use crate::policy::places::Places;
use crate::policy::{Flags, Rules};
use crate::report::{count, thousands};
use crate::terminal::{Style, plain};
use crate::wiring;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use vespiary_kernel::host::HostLimits;
use vespiary_ledger::ledger::Ledger;
use vespiary_sandbox::{Allocator, Sandbox};

/// Memory maps a live cell takes, measured.
const MAPS_A_CELL: u64 = 6;

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), next: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { name, state: State::Warn, found: found.into(), next: Some(next.into()) }
    }

    fn fail(name: &'static str, trouble: &Trouble) -> Self {
        Self { name, state: State::Fail, found: trouble.to_string(), next: Some(trouble.next.clone()) }
    }
}

pub(super) fn doctor(named: Option<&Path>, output: Output) -> Result<Exit, Trouble> {
    let mut checks = vec![kernel(), memory(), maps()];
    match Home::locate() {
        Ok(home) => {
            checks.push(match home.create() {
                Ok(()) => {
                    Check::ok("directories", format!("{} and {}", home.state().display(), home.cache().display()))
                }
                Err(trouble) => Check::fail("directories", &trouble),
            });
            checks.push(policy(&home, named));
            checks.push(ledger(&home));
            cells(&home, &mut checks);
            checks.push(programs());
        }
        Err(trouble) => checks.push(Check::fail("directories", &trouble)),
    }
    let worst = checks.iter().map(|check| check.state).max().unwrap_or(State::Ok);
    if output.json {
        #[derive(Serialize)]
        struct Shape<'a> {
            schema: &'static str,
            ok: bool,
            checks: &'a [Check],
        }
        print_json(&Shape { schema: "vespiary.doctor/1", ok: worst < State::Fail, checks: &checks })?;
    } else {
        print_out(&as_text(&checks))?;
    }
    Ok(if worst == State::Fail { Exit::Failed } else { Exit::Done })
}

fn as_text(checks: &[Check]) -> String {
    let style = Style::of_stdout();
    let lines = checks.iter().map(|check| {
        let state = match check.state {
            State::Ok => style.green("ok  "),
            State::Warn => style.yellow("warn"),
            State::Fail => style.red("fail"),
        };
        let next = check.next.as_ref().map(|next| format!("\n       next: {}", plain(next))).unwrap_or_default();
        format!("{state}  {:<12} {}{next}", check.name, plain(&check.found))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn kernel() -> Check {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    match version(&release) {
        Some(version) if version >= (6, 7) => Check::ok("kernel", release),
        Some(_) => Check::warn("kernel", release, "cells are reset faster on Linux 6.7 or newer; everything works"),
        None => Check::warn("kernel", release, "its version is not understood; everything may work all the same"),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn memory() -> Check {
    let available = disk::read_text(Path::new("/proc/meminfo"), 1 << 20).ok().and_then(|text| available_kib(&text));
    match available {
        Some(kib) if kib >= 512 << 10 => Check::ok("memory", format!("{} MiB available", thousands(kib >> 10))),
        Some(kib) => Check::warn(
            "memory",
            format!("{} MiB available", thousands(kib >> 10)),
            "a large audit takes up to 400 MiB; free some memory first",
        ),
        None => Check::warn("memory", "/proc/meminfo cannot be read", "make sure that 400 MiB are free"),
    }
}

fn available_kib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn maps() -> Check {
    let needed = wiring::capacity_of_fleet().cells() as u64 * MAPS_A_CELL;
    let limit = disk::read_text(Path::new("/proc/sys/vm/max_map_count"), 64)
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    match limit {
        Some(limit) if limit >= 2 * needed => {
            Check::ok("memory maps", format!("{} allowed, {} needed", thousands(limit), thousands(needed)))
        }
        Some(limit) => Check::warn(
            "memory maps",
            format!("{} allowed, {} needed", thousands(limit), thousands(needed)),
            format!("raise it: sysctl -w vm.max_map_count={}", 4 * needed),
        ),
        None => Check::warn("memory maps", "/proc/sys/vm/max_map_count cannot be read", "nothing, where cells start"),
    }
}

/// The policy files in force here, and what is wrong with them.
fn policy(home: &Home, named: Option<&Path>) -> Check {
    let rules = match wiring::project(Path::new("."))
        .and_then(|root| Ok(Rules::load(&Places::of(home, named, &root), &root, Flags::default())?))
    {
        Ok(rules) => rules,
        Err(trouble) => return Check::fail("policy", &trouble),
    };
    let sources = rules.sources.iter().map(|source| format!("{} ({})", source.path.display(), source.kind));
    let found = match sources.collect::<Vec<_>>() {
        none if none.is_empty() => "no file; grants are what the command line gives".to_owned(),
        some => some.join(", "),
    };
    match rules.doubts.len() {
        0 => Check::ok("policy", found),
        n => Check::warn("policy", found, format!("look at {}: vespiary policy check", count(n as u64, "doubt"))),
    }
}

fn ledger(home: &Home) -> Check {
    let opened = Ledger::open(&home.ledger()).and_then(|ledger| {
        let runs = ledger.reader()?.runs(usize::MAX)?.len() as u64;
        Ok(Check::ok("ledger", format!("{}, {}", home.ledger().display(), count(runs, "run"))))
    });
    opened.unwrap_or_else(|error| Check::fail("ledger", &error.into()))
}

/// Whether host programs can be confined here. Where they cannot, none is run, and everything else works.
fn programs() -> Check {
    match wiring::runtime().map(|runtime| runtime.block_on(wiring::programs().check())) {
        Ok(Ok(())) => Check::ok("programs", "host programs can be confined; each still needs exec:PROGRAM"),
        Ok(Err(refused)) => Check::warn("programs", refused.to_string(), "grant no exec: on this machine meanwhile"),
        Err(trouble) => Check::warn("programs", trouble.to_string(), trouble.next),
    }
}

/// Bundled components, the pool, the cache, and whether each component runs here.
fn cells(home: &Home, checks: &mut Vec<Check>) {
    let shelf = match Shelf::bundled() {
        Ok(shelf) => Arc::new(shelf),
        Err(trouble) => return checks.push(Check::fail("plugins", &trouble)),
    };
    let changed: Vec<_> = shelf.iter().filter(|e| !e.is_intact()).map(|e| e.plugin.name.to_string()).collect();
    checks.push(if changed.is_empty() {
        Check::ok("plugins", format!("{} bundled, each as it was pinned", shelf.iter().count()))
    } else {
        let next = "this program file is damaged; install it again";
        Check::fail("plugins", &Trouble::failed("components differ from their pins", changed.join(", "), next))
    });
    let sandbox = match wiring::sandbox(home, &shelf, wiring::capacity_of_fleet(), &HostLimits::default()) {
        Ok(sandbox) => sandbox,
        Err(trouble) => return checks.push(Check::fail("cells", &trouble)),
    };
    checks.push(match sandbox.allocator() {
        pool @ Allocator::Pooling { .. } => Check::ok("pool", pool.to_string()),
        none @ Allocator::OnDemand { .. } => Check::warn(
            "pool",
            none.to_string(),
            "allow this process more address space (ulimit -v unlimited); cells start slower meanwhile",
        ),
    });
    checks.push(match sandbox.cache_refused() {
        None => Check::ok("cache", home.cache().display().to_string()),
        Some(refused) => Check::warn("cache", refused.to_string(), "every start compiles anew meanwhile"),
    });
    checks.push(match described(&sandbox, &shelf) {
        Ok(n) => Check::ok("cells", format!("{} compiled and started", count(n, "component"))),
        Err(trouble) => Check::fail("cells", &trouble),
    });
}

fn described(sandbox: &Sandbox, shelf: &Shelf) -> Result<u64, Trouble> {
    wiring::runtime()?.block_on(async {
        let mut n = 0;
        for entry in shelf.iter().filter(|entry| entry.plugin.kind.is_component()) {
            let asked = sandbox.describe(&entry.plugin).await;
            asked.map_err(|failure| Trouble::of_failure(&format!("{} does not start", entry.plugin.name), &failure))?;
            n += 1;
        }
        Ok(n)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_are_read() {
        assert_eq!(version("6.8.0-45-generic"), Some((6, 8)));
        assert_eq!(version("5.15.0"), Some((5, 15)));
        assert_eq!(version("weird"), None);
    }

    #[test]
    fn available_memory_is_read() {
        assert_eq!(available_kib("MemTotal: 9 kB\nMemAvailable:   1234 kB\n"), Some(1234));
        assert_eq!(available_kib("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn what_is_wrong_is_followed_by_what_to_do() {
        let text = as_text(&[Check::ok("a", "fine"), Check::warn("b", "odd", "mend it")]);
        assert_eq!(text, "ok    a            fine\nwarn  b            odd\n       next: mend it");
    }
}
