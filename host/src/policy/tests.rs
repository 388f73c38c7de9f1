//! Layers from files, put together as a process would find them.
#![allow(clippy::disallowed_methods, reason = "tests set up what they look at")]

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::Digest;
use vespiary_kernel::plugin::{Manifest, Plugin, Trust};
use vespiary_kernel::policy::{Case, Verdict};
use vespiary_kernel::sight::Sight;

struct Machine {
    temp: tempfile::TempDir,
    named: Option<PathBuf>,
}

impl Machine {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        for dir in ["etc/policy.d", "project/.vespiary", "user"] {
            fs::create_dir_all(temp.path().join(dir)).unwrap();
        }
        for dir in ["etc", "etc/policy.d"] {
            fs::set_permissions(temp.path().join(dir), fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { temp, named: None }
    }

    fn root(&self) -> PathBuf {
        self.temp.path().canonicalize().unwrap().join("project")
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.temp.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn places(&self) -> Places {
        Places {
            administrator: self.temp.path().join("etc"),
            owner: Some(rustix::process::geteuid().as_raw()),
            named: self.named.clone(),
            user: Some(self.temp.path().join("user/policy.toml")),
            project: Some(self.root()),
        }
    }

    fn load(&self) -> Result<Rules, Faults> {
        Rules::load(&self.places(), &self.root(), Flags::default())
    }

    fn worth(&self, held: &[&str]) -> String {
        let grant = Grant::of_run(held.iter().map(|c| c.parse().unwrap()));
        self.load().unwrap().policy.effective(&grant).to_string()
    }

    #[track_caller]
    fn refused(&self, parts: &[&str]) {
        let faults = self.load().unwrap_err().to_string();
        for part in parts {
            assert!(faults.contains(part), "{part:?} is not in:\n{faults}");
        }
    }
}

#[test]
fn no_file_is_no_rule() {
    let machine = Machine::new();
    assert_eq!(machine.worth(&["net:a.example", "tool:*"]), "net:a.example, tool:*");
    assert_eq!(machine.load().unwrap().ask_time_max, ASK_TIME_MAX);
}

#[test]
fn fragments_are_one_layer_in_the_order_of_their_names() {
    let machine = Machine::new();
    machine.write("etc/policy.toml", "allow = ['tool:files.*']\n[quota.call]\nmemory-bytes-max = 100_000\n");
    machine.write("etc/policy.d/20-more.toml", "allow = ['read:.']\nlocked = true\nask-timeout-seconds = 9\n");
    machine.write("etc/policy.d/10-less.toml", "[quota.call]\nmemory-bytes-max = 70000\n[quota.run]\nagents-max = 3\n");
    machine.write("etc/policy.d/.hidden.toml", "nonsense");
    machine.write("etc/policy.d/notes.txt", "nonsense");
    let rules = machine.load().unwrap();
    let administrator = &rules.layers[0];
    assert_eq!(rules.layers.len(), 2, "the administrator's and the run's");
    assert_eq!(administrator.allow.as_ref().unwrap().len(), 2);
    assert_eq!((administrator.call.memory_bytes_max, administrator.agents_max), (Some(70_000), Some(3)));
    assert!(administrator.locked.as_ref().unwrap().to_string().ends_with("20-more.toml:2"));
    assert_eq!(rules.ask_time_max, Duration::from_secs(9));
    let names: Vec<_> = rules.sources.iter().map(|s| s.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["policy.toml", "10-less.toml", "20-more.toml"]);
}

#[test]
fn faults_of_all_files_come_at_once() {
    let machine = Machine::new();
    machine.write("etc/policy.toml", "alow = []\n");
    machine.write("etc/policy.d/1.toml", "deny = 'read:.'\n");
    machine.write("project/.vespiary/policy.toml", "[secrets.A]\nfrom = 'env:A'\n");
    machine.write("user/policy.toml", "ask = ['read']\n");
    machine.refused(&["policy.toml:1:1: a policy has no key \"alow\"; did you mean \"allow\"?"]);
    machine.refused(&[
        "1.toml:1:8: deny is text",
        ":1:2: a project's policy declares secrets",
        "policy.toml:1:8: \"read\"",
    ]);
}

#[test]
fn the_administrators_file_must_be_roots_alone() {
    let machine = Machine::new();
    let path = machine.write("etc/policy.toml", "locked = true\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
    machine.refused(&["others than root can write it (mode 0664)", "chown root"]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let dir = machine.temp.path().join("etc");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    machine.refused(&["others than root can write it (mode 0777)"]);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let mut places = machine.places();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
    }
    places.owner = None;
    let faults = Rules::load(&places, &machine.root(), Flags::default()).unwrap_err().to_string();
    assert!(faults.contains("not to root"), "{faults}");
}

#[test]
fn links_to_a_policy_are_not_followed() {
    let machine = Machine::new();
    let elsewhere = machine.write("elsewhere.toml", "");
    std::os::unix::fs::symlink(&elsewhere, machine.temp.path().join("project/.vespiary/policy.toml")).unwrap();
    machine.refused(&["symbolic link"]);
    fs::remove_dir_all(machine.temp.path().join("project/.vespiary")).unwrap();
    std::os::unix::fs::symlink("/nowhere", machine.temp.path().join("project/.vespiary")).unwrap();
    machine.refused(&["not followed"]);
    fs::remove_file(machine.temp.path().join("project/.vespiary")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, machine.temp.path().join("etc/policy.toml")).unwrap();
    machine.refused(&["etc/policy.toml: it cannot be used: it is a symbolic link"]);
}

#[test]
fn what_is_no_file_is_no_absent_file() {
    let machine = Machine::new();
    fs::create_dir(machine.temp.path().join("etc/policy.toml")).unwrap();
    machine.refused(&["it is not a regular file"]);
    fs::remove_dir(machine.temp.path().join("etc/policy.toml")).unwrap();
    let fifo = machine.temp.path().join("user/policy.toml");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    machine.refused(&["it is not a regular file"]);
    fs::remove_file(&fifo).unwrap();
    fs::write(&fifo, vec![b'#'; 2 << 20]).unwrap();
    machine.refused(&["larger than"]);
    fs::write(&fifo, b"# a\n\xff").unwrap();
    machine.refused(&["not UTF-8 text (line 2)"]);
    fs::write(&fifo, "").unwrap();
    fs::set_permissions(&fifo, fs::Permissions::from_mode(0o666)).unwrap();
    machine.refused(&["everybody can write it"]);
}

#[test]
fn a_named_policy_narrows_beside_the_installed_one() {
    let mut machine = Machine::new();
    machine.write("etc/policy.toml", "allow = ['tool:*', 'read:src']\ndeny = ['tool:git.*']\n");
    machine.named =
        Some(machine.write("mine.toml", "allow = ['tool:*', 'read:.', 'net:*']\ndeny = ['tool:search.*']\n"));
    let rules = machine.load().unwrap();
    assert_eq!(rules.layers.iter().filter(|layer| layer.kind == LayerKind::Administrator).count(), 2);
    assert_eq!(machine.worth(&["read:.", "tool:*", "net:a.example"]), "read:src, tool:*");
    machine.named = Some(machine.temp.path().join("absent.toml"));
    machine.refused(&["absent.toml: it cannot be used: No such file"]);
}

#[test]
fn a_rule_on_the_machine_holds_in_a_project_there() {
    let machine = Machine::new();
    let root = machine.root();
    machine.write("etc/policy.toml", &format!("deny = ['read:{}']\n", root.display()));
    assert_eq!(machine.worth(&["read:.", "tool:*"]), "tool:*");
    machine.write("etc/policy.toml", &format!("allow = ['tool:*', 'read:{}']\n", root.parent().unwrap().display()));
    assert_eq!(machine.worth(&["read:src", "read:/etc", "tool:*"]), "read:src, tool:*");
}

#[test]
fn the_higher_secret_stands() {
    let machine = Machine::new();
    machine.write("etc/policy.toml", "[secrets.A]\nfrom = 'file:/run/a'\nheader = 'X-Key'\n");
    machine.write("user/policy.toml", "[secrets.A]\nfrom = 'env:MINE'\n[secrets.B]\nfrom = 'env:B'\n");
    let rules = machine.load().unwrap();
    let all: Vec<_> = rules.secrets.iter().map(|s| format!("{} {} {}", s.name, s.source, s.header.as_str())).collect();
    assert_eq!(all, ["A file:/run/a x-key", "B env:B authorization"]);
    assert!(rules.doubts.iter().any(|doubt| doubt.what.contains("A is not used")));
    machine.write("etc/policy.d/1.toml", "[secrets.A]\nfrom = 'env:A'\n");
    machine.refused(&["1.toml:1: the secret A is declared at"]);
}

#[test]
fn writing_what_is_obeyed_takes_naming_it() {
    let machine = Machine::new();
    let case = |allow: &[&str]| {
        let allow: Vec<Capability> = allow.iter().map(|c| c.parse().unwrap()).collect();
        let flags = Flags { allow: &allow, ..Flags::default() };
        let rules = Rules::load(&machine.places(), &machine.root(), flags).unwrap();
        rules.policy.effective(&Grant::of_run(allow)).to_string()
    };
    let deny = |allow: &[&str]| -> Vec<String> {
        let allow: Vec<Capability> = allow.iter().map(|c| c.parse().unwrap()).collect();
        let rules =
            Rules::load(&machine.places(), &machine.root(), Flags { allow: &allow, ..Flags::default() }).unwrap();
        rules.policy.layers().iter().filter_map(|l| l.deny.first()).map(|r| r.capability.to_string()).collect()
    };
    assert_eq!(deny(&["write:."]), ["write:.vespiary"]);
    assert_eq!(deny(&["write:.", "write:.vespiary/agents"]), ["write:.vespiary/policy.toml"]);
    assert_eq!(deny(&["write:.", "write:.vespiary"]), ["write:.vespiary/policy.toml"]);
    assert_eq!(deny(&["write:.vespiary/policy.toml"]), Vec::<String>::new());
    assert_eq!(deny(&["write:**/.vespiary"]), ["write:.vespiary/policy.toml"]);
    // What only has the same name lies elsewhere.
    let beside = format!("write:{}-2/.vespiary/policy.toml", machine.root().display());
    for other in ["write:/tmp/elsewhere/.vespiary", "write:/tmp/.vespiary/policy.toml", "write:sub/.vespiary", &beside]
    {
        assert_eq!(deny(&["write:.", other]), ["write:.vespiary"], "{other}");
    }
    assert_eq!(
        deny(&["write:.", "write:.vespiary/agents", "write:/tmp/.vespiary/policy.toml"]),
        ["write:.vespiary/policy.toml"]
    );
    let inside = format!("write:{}/.vespiary/agents", machine.root().display());
    assert_eq!(case(&[&inside]), inside);
    assert_eq!(case(&["write:.vespiary/agents"]), "write:.vespiary/agents");
}

#[test]
fn naming_a_part_of_what_is_obeyed_opens_that_part() {
    let machine = Machine::new();
    let manifest = "name = 'files'\nversion = '1'\nkind = 'tools'\ndescription = 'd'\n\
                    [[needs]]\ncapability = 'write:.'\nreason = 'r'\n";
    let plugin = Plugin::new(Manifest::parse(manifest).unwrap(), Digest::of(b"x"), Trust::Bundled).unwrap();
    let tool = "files.write".parse().unwrap();
    let written = |allow: &[&str]| {
        let allow: Vec<Capability> = allow.iter().chain(&["tool:*"]).map(|c| c.parse().unwrap()).collect();
        let flags = Flags { allow: &allow, ..Flags::default() };
        let rules = Rules::load(&machine.places(), &machine.root(), flags).unwrap();
        let grant = Grant::of_run(allow);
        let verdict = rules.policy.judge(Case { tool: &tool, grant: &grant, plugin: &plugin, extra: &[] });
        let Verdict::Allow(scope) = verdict else { panic!("{verdict:?}") };
        assert_eq!(scope.sight("src/x"), Sight::Write);
        ["workflows/evil.js", "agents/a.md", "policy.toml"]
            .map(|at| scope.sight(&format!(".vespiary/{at}")) == Sight::Write)
    };
    assert_eq!(written(&["write:."]), [false; 3]);
    assert_eq!(written(&["write:.", "write:/tmp/elsewhere/.vespiary"]), [false; 3]);
    assert_eq!(written(&["write:.", "write:/tmp/elsewhere/.vespiary/policy.toml"]), [false; 3]);
    assert_eq!(written(&["write:.", "write:.vespiary/agents"]), [false, true, false]);
    assert_eq!(written(&["write:.", "write:.vespiary"]), [true, true, false]);
    assert_eq!(written(&["write:.", "write:.vespiary/policy.toml"]), [false, false, true]);
    assert_eq!(written(&["write:.", "write:.vespiary", "write:.vespiary/policy.toml"]), [true; 3]);
}

#[test]
fn a_question_about_starting_agents_is_a_fault() {
    let machine = Machine::new();
    machine.write("etc/policy.toml", "deny = ['spawn:1']\n# a\nask = ['spawn:1']\n");
    machine.refused(&["etc/policy.toml:3:8: spawn:1 cannot be asked about; deny it, or lower agents-max"]);
    machine.write("etc/policy.toml", "deny = ['spawn:1']\n");
    let ask = ["write:.".parse().unwrap(), "spawn:1".parse().unwrap()];
    let flags = Flags { ask: &ask, ..Flags::default() };
    let faults = Rules::load(&machine.places(), &machine.root(), flags).unwrap_err().to_string();
    assert_eq!(faults, "--ask: spawn:1 cannot be asked about; deny it, or lower agents-max in [quota.run]");
}
