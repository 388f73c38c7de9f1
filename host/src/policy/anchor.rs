//! One place, two names: relative to the project and from the root of the file system. The kernel compares text, so a rule on
//! `/srv/app/private` would say nothing of `private` in a run over `/srv/app`. Here each rule gets its other names before it is
//! judged by: rules that refuse or ask may mean more than is written, rules that allow never do.

use super::places::real;
use std::path::Path;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::path::{Reach, ScopePath};
use vespiary_kernel::policy::{Layer, Rule};

/// What a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sense {
    /// It allows: its other names mean the same or less.
    Allows,
    /// It refuses or asks: its other names mean the same or more.
    Refuses,
}

/// `layer` with all the names of its paths in a run over `root`, which is absolute and has no links in it.
pub(super) fn anchored(layer: &Layer, root: &Path) -> Layer {
    let mut layer = layer.clone();
    let all = |rules: &[Rule], sense| rules.iter().flat_map(|rule| names_of(rule, root, sense)).collect::<Vec<_>>();
    layer.allow = layer.allow.as_deref().map(|rules| all(rules, Sense::Allows));
    layer.deny = all(&layer.deny, Sense::Refuses);
    layer.ask = all(&layer.ask, Sense::Refuses);
    layer
}

/// Whether `path` spells out the name `own` and means what has that name in the project at `root`, or something in it: one that
/// only ends alike lies elsewhere and says nothing of it.
pub(super) fn names(path: &ScopePath, own: &ScopePath, root: &Path) -> bool {
    let spelled = |name: &ScopePath| format!("/{name}/").contains(&format!("/{own}/"));
    let means = |name: &ScopePath| own.includes(name) || name.reach(own.as_str()) == Reach::Inside;
    let names = |name: &ScopePath| spelled(name) && means(name);
    names(path) || other_names(path, root, Sense::Allows).iter().any(names)
}

/// The rule itself, then its other names.
fn names_of(rule: &Rule, root: &Path, sense: Sense) -> Vec<Rule> {
    let path = match &rule.capability {
        Capability::Read(path) | Capability::Write(path) => path,
        _ => return vec![rule.clone()],
    };
    let mut paths = vec![path.clone()];
    paths.extend(other_names(path, root, sense));
    // What a link leads to is refused as the link is. A link can be laid by whoever it is to keep in, so none ever allows.
    if sense == Sense::Refuses
        && let Some(real) = resolved(path, root)
    {
        paths.extend(other_names(&real, root, sense));
        paths.push(real);
    }
    let mut known: Vec<Rule> = Vec::new();
    for path in paths {
        let capability = match &rule.capability {
            Capability::Read(_) => Capability::Read(path),
            _ => Capability::Write(path),
        };
        if !known.iter().any(|rule| rule.capability == capability) {
            known.push(Rule { capability, place: rule.place.clone() });
        }
    }
    known
}

fn other_names(path: &ScopePath, root: &Path, sense: Sense) -> Vec<ScopePath> {
    let Some(root) = plain(root, sense) else { return Vec::new() };
    if path.is_absolute() {
        // Where there are too many names to tell, all of the project is refused, or none of it allowed.
        return path.seen_from(&root).unwrap_or_else(|| match sense {
            Sense::Refuses => ".".parse().into_iter().collect(),
            Sense::Allows => Vec::new(),
        });
    }
    let base = root.trim_end_matches('/');
    let joined = path.as_str().split(" & ").map(|pattern| match pattern {
        "." => root.clone(),
        pattern => format!("{base}/{pattern}"),
    });
    let joined = joined.collect::<Vec<_>>().join(" & ").parse().ok();
    joined.or_else(|| if sense == Sense::Refuses { root.parse().ok() } else { None }).into_iter().collect()
}

/// The project directory as text of a pattern. Characters that patterns cannot hold, or read otherwise, become `*` in a rule
/// that refuses; a rule that allows then has no other name.
fn plain(root: &Path, sense: Sense) -> Option<String> {
    let odd = |c: char| c.is_control() || matches!(c, '*' | '?' | '[' | '{' | '}' | '\\' | '&' | '\u{fffd}');
    let text = root.to_string_lossy();
    let trimmed = |name: &str| name.starts_with(char::is_whitespace) || name.ends_with(char::is_whitespace);
    if !text.contains(odd) && !trimmed(&text) {
        return Some(text.into_owned());
    }
    let name = |name: &str| if name.contains(odd) || trimmed(name) { "*".to_owned() } else { name.to_owned() };
    (sense == Sense::Refuses).then(|| text.split('/').map(name).collect::<Vec<_>>().join("/"))
}

/// The path with the links of its plain beginning resolved, where there are any.
fn resolved(path: &ScopePath, root: &Path) -> Option<ScopePath> {
    let (text, base) = (path.as_str(), path.base());
    if text.contains(" & ") {
        return None;
    }
    let rest = if base == "." { text } else { text.strip_prefix(base.as_str())?.trim_start_matches('/') };
    let written = if path.is_absolute() { base.into() } else { root.join(base) };
    let found = real(&written)?;
    if found == written || path.base() == "." {
        return None;
    }
    let found = plain(&found, Sense::Refuses)?;
    let whole = if rest.is_empty() { found.clone() } else { format!("{}/{rest}", found.trim_end_matches('/')) };
    whole.parse().or_else(|_| found.parse()).ok()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set up what they look at")]
mod tests {
    use super::*;
    use vespiary_kernel::policy::{LayerKind, Place};

    fn named(rule: &str, root: &str, sense: Sense) -> Vec<String> {
        let place = Place { source: "p".into(), line: 1 };
        let rule = Rule { capability: rule.parse().unwrap(), place };
        names_of(&rule, Path::new(root), sense).iter().map(|rule| rule.capability.to_string()).collect()
    }

    #[test]
    fn a_rule_is_known_by_all_its_names() {
        for (rule, root, all) in [
            ("read:/nowhere/app/private", "/nowhere/app", &["read:/nowhere/app/private", "read:private"][..]),
            ("write:/nowhere", "/nowhere/app", &["write:/nowhere", "write:."]),
            ("read:/nowhere/*/key", "/nowhere/app", &["read:/nowhere/*/key", "read:key"]),
            ("read:private", "/nowhere/app", &["read:private", "read:/nowhere/app/private"]),
            ("read:.", "/nowhere/app", &["read:.", "read:/nowhere/app"]),
            ("read:/elsewhere", "/nowhere/app", &["read:/elsewhere"]),
            ("tool:*", "/nowhere/app", &["tool:*"]),
        ] {
            for sense in [Sense::Allows, Sense::Refuses] {
                assert_eq!(named(rule, root, sense), all, "{rule} from {root}");
            }
        }
    }

    #[test]
    fn only_the_projects_own_is_named_by_its_name() {
        let names = |path: &str, own: &str, root: &str| {
            super::names(&path.parse().unwrap(), &own.parse().unwrap(), Path::new(root))
        };
        for path in [".own", ".own/a", "/nowhere/app/.own/a", "**/.own", "/nowhere/*/.own/*.md", ".own/**/a"] {
            assert!(names(path, ".own", "/nowhere/app"), "{path}");
        }
        for path in [
            ".",
            "other/.own",
            "/tmp/elsewhere/.own",
            "/nowhere/.own",
            "/nowhere/app2/.own",
            ".own2",
            "/",
            "**/a",
            "**/x/.own",
            "*/.own",
        ] {
            assert!(!names(path, ".own", "/nowhere/app"), "{path}");
        }
        assert!(names(".own/p", ".own/p", "/nowhere/app") && !names(".own", ".own/p", "/nowhere/app"));
        assert!(!names("/tmp/.own/p", ".own/p", "/nowhere/app") && !names("/x/y/.own", ".own", "/x/[y]"));
    }

    #[test]
    fn an_odd_directory_is_refused_broadly_and_never_allowed() {
        assert_eq!(named("read:a", "/x/[y]/z", Sense::Refuses), ["read:a", "read:/x/*/z/a"]);
        assert_eq!(named("read:a", "/x/[y]/z", Sense::Allows), ["read:a"]);
    }

    #[test]
    fn what_a_link_leads_to_is_refused_and_not_allowed() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("private")).unwrap();
        let root = root.to_str().unwrap();
        let refused = named("read:private/**/*.pem", root, Sense::Refuses);
        assert!(refused.contains(&"read:real/**/*.pem".to_owned()), "{refused:?}");
        assert_eq!(named("read:private", root, Sense::Allows).len(), 2);
        let layer = Layer { deny: vec![], ..Layer::new(LayerKind::User) };
        assert!(anchored(&layer, Path::new(root)).allow.is_none());
    }
}
