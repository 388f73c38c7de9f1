//! Capabilities: what is parsed prints as itself, and the order is one, on the text and on what the text means. Input: one
//! capability a line; lines that are none are paths and URLs on which the meaning is compared.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vespiary_fuzz::lines;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::net::NetTarget;
use vespiary_kernel::path::Reach;
use vespiary_kernel::scope::Scope;
use vespiary_kernel::sight::Sight;

fuzz_target!(|data: &[u8]| {
    let (mut capabilities, mut others) = (Vec::<Capability>::new(), Vec::new());
    for line in lines(data).into_iter().take(16) {
        match line.parse() {
            Ok(capability) => capabilities.push(capability),
            Err(_) => others.push(line),
        }
    }
    capabilities.truncate(6);
    let targets: Vec<NetTarget> = others.iter().filter_map(|line| NetTarget::of_url("GET", line).ok()).collect();
    let paths: Vec<&str> = others.iter().map(String::as_str).filter(|path| is_plain(path)).collect();
    for one in &capabilities {
        let printed = one.to_string();
        assert_eq!(printed.parse::<Capability>().as_ref(), Ok(one), "{printed} does not read back");
        assert!(one.covers(one), "{one} does not cover itself");
        for other in &capabilities {
            order(one, other, &capabilities);
            meaning(one, other, &paths, &targets);
        }
    }
    grants(&capabilities);
});

/// In the form in which paths are asked about: no `.`, no `..`, no empty name.
fn is_plain(path: &str) -> bool {
    let names = path.strip_prefix('/').unwrap_or(path);
    path == "."
        || path == "/"
        || !names.is_empty() && names.split('/').all(|name| !matches!(name, "" | "." | "..") && !name.contains('\0'))
}

fn order(one: &Capability, other: &Capability, all: &[Capability]) {
    if one.covers(other) && other.covers(one) {
        assert_eq!(one, other, "two that cover each other are one");
    }
    if let Some(met) = one.meet(other) {
        assert!(one.covers(&met), "{one} meets {other} in {met}, which is more");
        assert!(includes(other, &met), "{one} meets {other} in {met}, which {other} does not mean");
        assert_eq!(met.to_string().parse::<Capability>().as_ref(), Ok(&met), "{met} does not read back");
        let back = other.meet(one).unwrap_or_else(|| panic!("{one} meets {other} and not the other way"));
        // What is hidden stays named by the one that was asked; of all else there is one meeting.
        assert!(back == met || is_path(one), "{one} and {other} meet in two ways");
    } else {
        assert!(other.meet(one).is_none(), "{other} meets {one} and not the other way");
        assert!(!one.covers(other), "{one} covers {other} and does not meet it");
    }
    for third in all {
        if one.covers(other) && other.covers(third) {
            assert!(one.covers(third), "{one} covers {other} covers {third}, and not {third}");
        }
    }
}

fn is_path(capability: &Capability) -> bool {
    matches!(capability, Capability::Read(_) | Capability::Write(_))
}

/// Covers it, whatever is hidden there.
fn includes(one: &Capability, other: &Capability) -> bool {
    match (one, other) {
        (Capability::Read(a) | Capability::Write(a), Capability::Read(b))
        | (Capability::Write(a), Capability::Write(b)) => a.includes(b),
        _ => one.covers(other),
    }
}

/// What the order says is true of every path and request: less is allowed by less.
fn meaning(one: &Capability, other: &Capability, paths: &[&str], targets: &[NetTarget]) {
    let met = one.meet(other);
    let allows_path = |capability: &Capability, path: &str| match capability {
        Capability::Read(scope) | Capability::Write(scope) => {
            scope.is_absolute() == path.starts_with('/') && scope.reach(path) == Reach::Inside
        }
        _ => false,
    };
    for path in paths {
        let (a, b) = (allows_path(one, path), allows_path(other, path));
        assert!(!one.covers(other) || a || !b, "{one} covers {other}, which allows {path} and it does not");
        let both = met.as_ref().is_some_and(|met| allows_path(met, path));
        assert!(both == (a && b), "{one} and {other} meet in {met:?}; {path}: {a} {b} {both}");
        let sees = |capability: &Capability| Scope::whole(Grant::of_run([capability.clone()])).sight(path);
        assert!(!one.covers(other) || sees(other) <= sees(one), "{one} covers {other}, which sees more of {path}");
        let met = met.as_ref().map_or(Sight::Outside, sees);
        assert!(met <= sees(one), "{one} meets {other} and sees more of {path}");
    }
    let allows = |capability: &Capability, target: &NetTarget| match capability {
        Capability::Net(net) => net.permits(target),
        _ => false,
    };
    for target in targets {
        let (a, b) = (allows(one, target), allows(other, target));
        assert!(!one.covers(other) || a || !b, "{one} covers {other}, which allows {target:?} and it does not");
        let both = met.as_ref().is_some_and(|met| allows(met, target));
        assert!(both == (a && b), "{one} and {other} meet in {met:?}; {target:?}: {a} {b} {both}");
    }
}

/// A grant never gives away more than it holds.
fn grants(capabilities: &[Capability]) {
    let (held, wanted) = capabilities.split_at(capabilities.len() / 2);
    let grant = Grant::of_run(held.iter().cloned());
    if let Ok(child) = grant.attenuate(wanted) {
        assert!(child.iter().all(|c| grant.covers(c)), "{child} is more than {grant}");
        assert!(wanted.iter().all(|c| child.covers(c)), "{child} is less than was promised");
    }
    for left in [grant.narrow(wanted), grant.without_spawn()] {
        assert!(left.iter().all(|c| grant.covers(c)), "{left} is more than {grant}");
    }
}
