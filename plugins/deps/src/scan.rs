//! The scan: lock files and advisories in, findings out.

use crate::finding::{self, Finding, Severity, finding};
use crate::lock::{Format, Integrity, Lines, Package, Source, go};
use crate::osv::Advisory;
use crate::shown::shown;
use crate::version::{Ecosystem, Version};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A lock file that was read.
pub(crate) struct LockFile {
    pub(crate) path: String,
    pub(crate) format: Format,
    pub(crate) text: String,
    pub(crate) packages: Vec<Package>,
}

impl LockFile {
    fn line(&self, line: u32) -> &str {
        Lines::of(&self.text).text(line)
    }

    fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// The packages that any of the files locks: the only ones whose advisories need to be kept.
pub(crate) fn names(files: &[LockFile]) -> HashSet<(Ecosystem, String)> {
    files
        .iter()
        .flat_map(|file| &file.packages)
        .map(|package| (package.ecosystem, package.ecosystem.normalized(&package.name)))
        .collect()
}

/// Whether an advisory is about any of `names`.
pub(crate) fn concerns(advisory: &Advisory, names: &HashSet<(Ecosystem, String)>) -> bool {
    advisory.affected.iter().filter_map(|affected| affected.package.as_ref()).any(|package| {
        Ecosystem::named(&package.ecosystem)
            .is_some_and(|ecosystem| names.contains(&(ecosystem, ecosystem.normalized(&package.name))))
    })
}

/// Everything there is to say about `files`, by file, then by line.
pub(crate) fn findings(files: &[LockFile], advisories: &[Advisory]) -> Vec<Finding> {
    let mut by_name: HashMap<(Ecosystem, String), Vec<&Advisory>> = HashMap::new();
    for advisory in advisories.iter().filter(|advisory| advisory.withdrawn.is_none()) {
        let packages = advisory.affected.iter().filter_map(|affected| affected.package.as_ref());
        let names: HashSet<_> = packages
            .filter_map(|package| Ecosystem::named(&package.ecosystem).map(|e| (e, e.normalized(&package.name))))
            .collect();
        for name in names {
            by_name.entry(name).or_default().push(advisory);
        }
    }
    let mut all = Vec::new();
    for file in files {
        let mut found = vulnerable(file, &built(file, files), &by_name);
        found.extend(sources(file));
        found.extend(unpinned(file));
        found.extend(without_hash(file));
        if file.format != Format::GoSum {
            found.extend(duplicates(file));
        }
        found.sort_by(|a, b| (a.line, &a.rule, &a.fingerprint).cmp(&(b.line, &b.rule, &b.fingerprint)));
        all.extend(found);
    }
    all
}

/// The entries of a file whose versions may be built. A `go.sum` also names versions that were only looked at: beside a `go.mod` that names
/// all modules it adds nothing, and beside an older one the greatest version of each module that is not named there.
fn built<'a>(file: &'a LockFile, files: &'a [LockFile]) -> Vec<&'a Package> {
    let is_beside = |other: &&LockFile| other.format == Format::GoMod && other.folder() == file.folder();
    let go_mod = if file.format == Format::GoSum { files.iter().find(is_beside) } else { None };
    let Some(go_mod) = go_mod else { return file.packages.iter().collect() };
    if go::names_all(&go_mod.text) {
        return Vec::new();
    }
    let named: HashSet<&str> = go_mod.packages.iter().map(|package| package.name.as_str()).collect();
    let mut greatest: BTreeMap<&str, (Version, &Package)> = BTreeMap::new();
    for package in file.packages.iter().filter(|package| !named.contains(package.name.as_str())) {
        let version = package.version.as_deref().and_then(|version| Version::parse(package.ecosystem, version));
        let Some(version) = version else { continue };
        let is_less = |(known, _): &(Version, &Package)| known.compare(&version) == Ordering::Less;
        if greatest.get(package.name.as_str()).is_none_or(is_less) {
            greatest.insert(&package.name, (version, package));
        }
    }
    greatest.into_values().map(|(_, package)| package).collect()
}

fn vulnerable(
    file: &LockFile,
    packages: &[&Package],
    by_name: &HashMap<(Ecosystem, String), Vec<&Advisory>>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for &package in packages {
        // What lies in a folder is the project's own, whatever its version.
        let Some(version) = package.version.as_ref().filter(|_| package.source != Source::Path) else { continue };
        let Some(candidates) = by_name.get(&(package.ecosystem, package.ecosystem.normalized(&package.name))) else {
            continue;
        };
        let matching: Vec<&Advisory> = candidates
            .iter()
            .copied()
            .filter(|advisory| advisory.affects(package.ecosystem, &package.name, version))
            .collect();
        for group in same_flaw(&matching) {
            found.push(vulnerability(file, package, version, &group));
        }
    }
    found
}

/// Records that share a name describe one flaw: the same one comes as CVE, GHSA and RUSTSEC.
fn same_flaw<'a>(advisories: &[&'a Advisory]) -> Vec<Vec<&'a Advisory>> {
    let mut groups: Vec<(HashSet<&str>, Vec<&'a Advisory>)> = Vec::new();
    for &advisory in advisories {
        let names: HashSet<&str> = advisory.names().collect();
        let (mut joined, apart): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|(known, _)| !known.is_disjoint(&names));
        groups = apart;
        let mut group = (names, vec![advisory]);
        for (known, members) in joined.drain(..) {
            group.0.extend(known);
            group.1.extend(members);
        }
        groups.push(group);
    }
    groups
        .into_iter()
        .map(|(_, mut members)| {
            // The ecosystem's own database first, then GitHub's, then the rest.
            members.sort_by_key(|advisory| (rank(&advisory.id), advisory.id.clone()));
            members
        })
        .collect()
}

fn rank(id: &str) -> u8 {
    match id.split('-').next() {
        Some("RUSTSEC" | "PYSEC" | "GO" | "MAL") => 0,
        Some("GHSA") => 1,
        _ => 2,
    }
}

fn vulnerability(file: &LockFile, package: &Package, version: &str, group: &[&Advisory]) -> Finding {
    let main = group[0];
    let informational = group.iter().all(|advisory| advisory.is_informational());
    let summary = group.iter().map(|advisory| advisory.summary.as_str()).find(|summary| !summary.is_empty());
    let summary = summary.or_else(|| main.details.lines().find(|line| !line.trim().is_empty())).unwrap_or("no summary");
    let summary: String = summary.chars().filter(|c| !c.is_control()).take(160).collect();
    let (rule, severity) = if informational {
        ("unmaintained-dependency", Severity::Info)
    } else {
        (
            "vulnerable-dependency",
            group.iter().map(|advisory| advisory.grade()).max().map_or(Severity::Medium, Severity::from),
        )
    };
    let mut finding = finding(
        rule,
        format!("{} {version}: {summary}", package.name),
        severity,
        &file.path,
        file.line(package.line),
        package,
    );
    let fixed_in = group.iter().find_map(|advisory| advisory.fixed_in(package.ecosystem, &package.name, version));
    let what = if is_standard_library(package) { "the Go toolchain" } else { &package.name };
    finding.help = match &fixed_in {
        _ if group.iter().any(|advisory| advisory.is_malicious()) => format!(
            "Remove {what}: it was made to do harm. Read {} for what it does, and take secrets on machines that installed it as known to others.",
            main.id
        ),
        Some(fixed) => format!("Update {what} to {fixed} or later. Read {} for who is affected.", main.id),
        None => format!("No fixed version is known. Read {} for who is affected and what else can be done.", main.id),
    };
    finding.fingerprint =
        finding::fingerprint(&[rule, &file.path, package.ecosystem.as_str(), &package.name, version, &main.id]);
    // A version is sure where a registry keeps it. Others are what their authors say, and a newer toolchain may build than is asked for.
    finding.confidence = if package.source == Source::Registry && !is_standard_library(package) { 0.95 } else { 0.6 };
    let mut aliases: Vec<String> =
        group.iter().flat_map(|advisory| advisory.names()).filter(|name| *name != main.id).map(str::to_owned).collect();
    aliases.sort();
    aliases.dedup();
    finding.evidence.advisory = Some(main.id.clone());
    finding.evidence.aliases = aliases;
    finding.evidence.fixed_in = fixed_in;
    finding
}

fn is_standard_library(package: &Package) -> bool {
    package.ecosystem == Ecosystem::Go && package.name == go::STANDARD_LIBRARY
}

fn sources(file: &LockFile) -> Vec<Finding> {
    let mut found = Vec::new();
    for package in &file.packages {
        let (rule, title, help) = match &package.source {
            Source::Git(_) => (
                "git-source",
                format!("{} comes from a Git repository: {}", package.name, finding::origin(&package.source)),
                "No registry keeps this version and no advisory may name it. Prefer a published version, or pin a full commit and watch the repository.",
            ),
            Source::Url(_) => (
                "url-source",
                format!("{} comes from an address: {}", package.name, finding::origin(&package.source)),
                "What the address serves can change. Prefer a registry, or pin a hash.",
            ),
            _ => continue,
        };
        let severity = if package.integrity == Integrity::Missing { Severity::Low } else { Severity::Info };
        let mut finding = finding(rule, title, severity, &file.path, file.line(package.line), package);
        finding.help = help.to_owned();
        found.push(finding);
    }
    found
}

fn unpinned(file: &LockFile) -> Vec<Finding> {
    if file.format != Format::Requirements {
        return Vec::new();
    }
    let loose = file.packages.iter().filter(|package| package.version.is_none() && package.source == Source::Registry);
    loose
        .map(|package| {
            let title = format!("{} is not pinned to one version", package.name);
            let mut finding =
                finding("unpinned-requirement", title, Severity::Low, &file.path, file.line(package.line), package);
            finding.help =
                "Two installations can get different code. Pin with `==`, or compile a lock file with hashes."
                    .to_owned();
            finding
        })
        .collect()
}

/// One finding a file: a file without hashes has none at all, as a rule.
fn without_hash(file: &LockFile) -> Option<Finding> {
    let missing: Vec<&Package> =
        file.packages.iter().filter(|package| package.integrity == Integrity::Missing).collect();
    let expected = file.packages.iter().filter(|package| package.integrity != Integrity::NotExpected).count();
    let first = missing.first()?;
    let title = format!("{} of {expected} entries have no hash", missing.len());
    let severity = if file.format == Format::Requirements { Severity::Info } else { Severity::Low };
    let mut finding = finding("missing-integrity", title, severity, &file.path, file.line(first.line), first);
    finding.fingerprint = finding::fingerprint(&["missing-integrity", &file.path]);
    finding.evidence.others = missing.iter().skip(1).take(20).map(|package| entry_name(package)).collect();
    finding.help =
        "What is downloaded cannot be checked. Let the package manager write hashes into the lock file.".to_owned();
    Some(finding)
}

fn duplicates(file: &LockFile) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in &file.packages {
        let known = versions.entry(&package.name).or_default();
        if package.version.is_some() && !known.iter().any(|other| other.version == package.version) {
            known.push(package);
        }
    }
    let several = versions.into_iter().filter(|(_, packages)| packages.len() > 1);
    several
        .map(|(name, packages)| {
            let list: Vec<&str> = packages.iter().filter_map(|package| package.version.as_deref()).collect();
            let title = format!("{name} is locked in {} versions: {}", list.len(), list.join(", "));
            let mut finding = finding(
                "duplicate-version",
                title,
                Severity::Info,
                &file.path,
                file.line(packages[0].line),
                packages[0],
            );
            finding.fingerprint = finding::fingerprint(&["duplicate-version", &file.path, name]);
            finding.evidence.others = packages.iter().skip(1).take(20).map(|package| entry_name(package)).collect();
            finding.help =
                "Each is fixed on its own. Where the ranges allow it, let the package manager settle on one."
                    .to_owned();
            finding
        })
        .collect()
}

fn entry_name(package: &Package) -> String {
    match &package.version {
        Some(version) => format!("{} {}", shown(&package.name), shown(version)),
        None => shown(&package.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(path: &str, text: &str) -> LockFile {
        let format = Format::of(path).unwrap();
        LockFile { path: path.to_owned(), format, text: text.to_owned(), packages: format.parse(text).unwrap() }
    }

    fn advisory(id: &str, aliases: &[&str], ecosystem: &str, name: &str, fixed: &str) -> Advisory {
        serde_json::from_value(json!({"id": id, "aliases": aliases, "summary": "A flaw", "affected": [
            {"package": {"ecosystem": ecosystem, "name": name}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]}
        ]}))
        .unwrap()
    }

    fn rules(findings: &[Finding]) -> Vec<(&str, u32, &str)> {
        findings.iter().map(|f| (f.rule.as_str(), f.line, f.evidence.package.as_str())).collect()
    }

    #[test]
    fn one_flaw_under_three_names_is_one_finding() {
        let advisories = [
            advisory("CVE-2021-1", &["GHSA-x"], "crates.io", "smallvec", "1.6.1"),
            advisory("GHSA-x", &["CVE-2021-1"], "crates.io", "smallvec", "1.6.1"),
            advisory("RUSTSEC-2021-1", &["CVE-2021-1"], "crates.io", "smallvec", "1.6.1"),
            advisory("RUSTSEC-2022-2", &[], "crates.io", "smallvec", "1.5.0"),
        ];
        let files = [file("Cargo.lock", include_str!("../tests/fixtures/Cargo.v4.lock"))];
        let found = findings(&files, &advisories);
        assert_eq!(
            rules(&found),
            [
                ("git-source", 14, "from-git"),
                ("vulnerable-dependency", 19, "smallvec"),
                ("missing-integrity", 25, "unhashed")
            ]
        );
        let evidence = &found[1].evidence;
        assert_eq!(evidence.advisory.as_deref(), Some("RUSTSEC-2021-1"));
        assert_eq!(evidence.aliases, ["CVE-2021-1", "GHSA-x"]);
        assert_eq!(evidence.fixed_in.as_deref(), Some("1.6.1"));
        assert_eq!(found[1].excerpt, "name = \"smallvec\"");
    }

    #[test]
    fn withdrawn_advisories_do_not_count() {
        let mut withdrawn = advisory("X", &[], "crates.io", "smallvec", "9.0.0");
        withdrawn.withdrawn = Some("2022-01-01T00:00:00Z".to_owned());
        let files = [file("Cargo.lock", include_str!("../tests/fixtures/Cargo.v4.lock"))];
        assert!(!findings(&files, &[withdrawn]).iter().any(|f| f.rule == "vulnerable-dependency"));
    }

    #[test]
    fn requirements_are_judged_without_advisories_too() {
        let files = [file("requirements.txt", include_str!("../tests/fixtures/requirements.txt"))];
        let found = findings(&files, &[advisory("PYSEC-1", &[], "PyPI", "django", "3.2.4")]);
        assert_eq!(
            rules(&found),
            [
                ("vulnerable-dependency", 3, "Django"),
                ("missing-integrity", 6, "requests"),
                ("unpinned-requirement", 7, "flask"),
                ("unpinned-requirement", 8, "numpy"),
                ("git-source", 9, "tool"),
                ("url-source", 11, "wheel"),
                ("unpinned-requirement", 13, "pandas"),
            ]
        );
    }

    #[test]
    fn several_versions_are_told_once() {
        let files = [file("package-lock.json", include_str!("../tests/fixtures/package-lock.v3.json"))];
        let found = findings(&files, &[advisory("GHSA-m", &["CVE-m"], "npm", "minimist", "1.2.6")]);
        assert_eq!(
            rules(&found),
            [
                ("duplicate-version", 18, "minimist"),
                ("vulnerable-dependency", 18, "minimist"),
                ("git-source", 23, "from-git"),
                ("missing-integrity", 27, "minimist"),
                ("vulnerable-dependency", 27, "minimist"),
            ]
        );
    }

    #[test]
    fn a_go_sum_beside_a_go_mod_is_not_judged_twice() {
        let text = "module app\nrequire a.invalid/a v1.0.0\n";
        let sum = "a.invalid/a v1.0.0 h1:x=\na.invalid/a v0.9.0 h1:y=\n";
        let known = advisory("GO-1", &[], "Go", "a.invalid/a", "1.1.0");
        let both = findings(&[file("go.mod", text), file("go.sum", sum)], std::slice::from_ref(&known));
        assert_eq!(rules(&both), [("vulnerable-dependency", 2, "a.invalid/a")]);
        assert_eq!(findings(&[file("go.sum", sum)], &[known]).len(), 2);
    }

    #[test]
    fn beside_an_old_go_mod_the_go_sum_tells_what_else_is_built() {
        let sum = "a.invalid/direct v0.9.0 h1:x=\na.invalid/direct v1.0.0 h1:x=\nb.invalid/b v0.1.0 h1:x=\nb.invalid/b v0.10.0 h1:x=\nc.invalid/c v0.1.0/go.mod h1:x=\n";
        let known =
            ["a.invalid/direct", "b.invalid/b", "c.invalid/c"].map(|name| advisory("GO-1", &[], "Go", name, "1.0.0"));
        let look = |language: &str| {
            let text = format!("module app\n\n{language}\n\nrequire a.invalid/direct v1.0.0\n");
            let found = findings(&[file("go.mod", &text), file("go.sum", sum)], &known);
            found.iter().map(|f| (f.path.clone(), f.line, f.evidence.package.clone())).collect::<Vec<_>>()
        };
        let indirect = ("go.sum".to_owned(), 4, "b.invalid/b".to_owned());
        assert_eq!((look("go 1.16"), look("")), (vec![indirect.clone()], vec![indirect]));
        assert!(look("go 1.17").is_empty());
    }

    #[test]
    fn what_comes_from_an_address_has_flaws_too() {
        let lock = json!({"lockfileVersion": 3, "packages": {
            "node_modules/@acme/lib": {"version": "1.0.0", "resolved": "https://npm.pkg.github.com/download/@acme/lib/1.0.0/00", "integrity": "sha512-x"},
            "node_modules/a": {"version": "1.0.0", "resolved": "https://files.invalid/a-1.0.0.tgz", "integrity": "sha512-x"},
            "node_modules/b": {"version": "1.0.0", "resolved": "file:../b"},
        }});
        let lock = serde_json::to_string_pretty(&lock).unwrap();
        let known = ["@acme/lib", "a", "b"].map(|name| advisory("GHSA-1", &[], "npm", name, "1.0.1"));
        let found = findings(&[file("package-lock.json", &lock)], &known);
        let flaws: Vec<_> = found
            .iter()
            .filter(|finding| finding.rule == "vulnerable-dependency")
            .map(|finding| (finding.evidence.package.as_str(), finding.confidence))
            .collect();
        assert_eq!(flaws, [("@acme/lib", 0.95), ("a", 0.6)]);
        assert!(!found.iter().any(|f| f.rule == "url-source" && f.evidence.package == "@acme/lib"), "it is a registry");

        let uv = "[[package]]\nname = \"c\"\nversion = \"1.0\"\nsource = { url = \"https://files.invalid/c-1.0.whl\" }\nwheels = [{ url = \"https://files.invalid/c-1.0.whl\", hash = \"sha256:00\" }]\n";
        let found = findings(&[file("uv.lock", uv)], &[advisory("PYSEC-1", &[], "PyPI", "c", "1.1")]);
        assert_eq!(rules(&found), [("url-source", 2, "c"), ("vulnerable-dependency", 2, "c")]);
    }

    #[test]
    fn the_standard_library_is_as_old_as_the_toolchain() {
        let known = advisory("GO-2", &[], "Go", "stdlib", "1.20.3");
        let found = findings(&[file("go.mod", "module app\n\ngo 1.20.1\n")], &[known]);
        assert_eq!(rules(&found), [("vulnerable-dependency", 3, "stdlib")]);
        assert!(found[0].confidence < 0.9 && found[0].help.contains("Go toolchain to 1.20.3"), "{}", found[0].help);
    }

    #[test]
    fn a_package_made_to_do_harm_is_critical_and_to_be_removed() {
        let mut advisories = [
            advisory("MAL-2024-1", &["GHSA-x"], "crates.io", "smallvec", "9.0.0"),
            advisory("GHSA-x", &["CVE-1"], "crates.io", "smallvec", "9.0.0"),
            advisory("RUSTSEC-9", &[], "crates.io", "unhashed", "9.0.0"),
        ];
        advisories[2].affected[0].database_specific = Some(json!({"informational": "unsound"}));
        let files = [file("Cargo.lock", include_str!("../tests/fixtures/Cargo.v4.lock"))];
        let found = findings(&files, &advisories);
        let flaws: Vec<_> = found.iter().filter(|f| f.rule == "vulnerable-dependency").collect();
        assert_eq!([flaws[0].severity, flaws[1].severity], [Severity::Critical, Severity::Medium]);
        assert!(flaws[0].help.starts_with("Remove smallvec"), "{}", flaws[0].help);
        assert!(flaws[1].evidence.advisory.as_deref() == Some("RUSTSEC-9"), "unsound code is a flaw");
    }

    #[test]
    fn no_finding_holds_credentials() {
        let requirements = "git+https://x-access-token:S3cret@git.invalid/org/repo.git@v1.0\nhttps://bot:S3cret@files.invalid/a.whl\nhttps://bot:S3cret@files.invalid/b.whl\n";
        let pnpm = "packages:\n\n  lib@https://bot:S3cret@npm.invalid/lib.tgz:\n    resolution: {tarball: https://bot:S3cret@npm.invalid/lib.tgz}\n    version: 3.0.1\n\n  '@bot:S3cret@npm.invalid/x.tgz':\n    resolution: {tarball: https://bot:S3cret@npm.invalid/x.tgz}\n    version: 1.0.0\n";
        let known = advisory("GHSA-1", &[], "npm", "lib", "4.0.0");
        let found = findings(&[file("requirements.txt", requirements), file("pnpm-lock.yaml", pnpm)], &[known]);
        assert!(found.iter().any(|f| f.rule == "git-source") && found.iter().any(|f| !f.evidence.others.is_empty()));
        assert!(found.iter().any(|f| f.rule == "vulnerable-dependency" && f.evidence.package == "lib"));
        let said = serde_json::to_string(&found).unwrap();
        assert!(!said.contains("S3cret"), "{said}");
    }
}
