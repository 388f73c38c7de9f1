//! Policy confusion: files that mean to say one thing and are read as another, and people who try to get round a rule without
//! touching it. Each attack has its name; each is refused when the file is read, or judged as the rule says.

use super::stage::play;
use crate::cli::{PROGRAM, Place};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;
use vespiary::policy::places::Places;
use vespiary::policy::sheet::Sheet;
use vespiary::policy::{Flags, Rules};
use vespiary_kernel::capability::Capability;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{Digest, ToolName};
use vespiary_kernel::plugin::{Manifest, Plugin, Trust};
use vespiary_kernel::policy::{Case, LayerKind, Verdict};
use vespiary_kernel::scope::Scope;
use vespiary_kernel::sight::Sight;

/// A machine with an administrator, a user and a project.
struct Machine {
    temp: TempDir,
    named: Option<PathBuf>,
}

impl Machine {
    fn new() -> Self {
        let temp = TempDir::new().unwrap();
        for dir in ["etc", "etc/policy.d", "user", "project", "project/.vespiary"] {
            fs::create_dir(temp.path().join(dir)).unwrap();
            fs::set_permissions(temp.path().join(dir), fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { temp, named: None }
    }

    fn administrator(text: impl AsRef<[u8]>) -> Self {
        let machine = Self::new();
        machine.write("etc/policy.toml", text);
        machine
    }

    fn root(&self) -> PathBuf {
        self.temp.path().canonicalize().unwrap().join("project")
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.temp.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn rules(&self) -> Result<Rules, String> {
        let places = Places {
            administrator: self.temp.path().join("etc"),
            owner: Some(rustix::process::geteuid().as_raw()),
            named: self.named.clone(),
            user: Some(self.temp.path().join("user/policy.toml")),
            project: Some(self.root()),
        };
        Rules::load(&places, &self.root(), Flags::default()).map_err(|faults| faults.to_string())
    }

    /// The judgement of a writing tool by a plugin that somebody added, held by somebody who has everything.
    fn judge(&self, held: &[&str]) -> Verdict {
        let manifest = "name = 'mine'\nversion = '1'\nkind = 'tools'\ndescription = 'd'\n\
                        [[needs]]\ncapability = 'read:.'\nreason = 'r'\n[[needs]]\ncapability = 'write:.'\nreason = 'r'\n\
                        optional = true\n[[needs]]\ncapability = 'net:api.example.com'\nreason = 'r'\noptional = true\n";
        let plugin = Plugin::new(Manifest::parse(manifest).unwrap(), Digest::of(b"x"), Trust::Added).unwrap();
        let (tool, grant): (ToolName, _) = ("mine.x".parse().unwrap(), Grant::of_run(caps(held)));
        self.rules().unwrap().policy.judge(Case { tool: &tool, grant: &grant, plugin: &plugin, extra: &[] })
    }

    #[track_caller]
    fn scope(&self, held: &[&str]) -> Scope {
        match self.judge(held) {
            Verdict::Allow(scope) => scope,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refused(&self, part: &str) {
        let faults = self.rules().map(|_| ()).expect_err("the policy was taken");
        assert!(faults.contains(part), "{part:?} is not in:\n{faults}");
    }
}

fn caps(texts: &[&str]) -> Vec<Capability> {
    texts.iter().map(|text| text.parse().unwrap_or_else(|error| panic!("{error}"))).collect()
}

const ALL: &[&str] = &["read:.", "write:.", "tool:*", "net:*"];

#[track_caller]
fn unread(text: &str, part: &str) {
    Machine::administrator(text).refused(part);
}

#[test]
fn a_kind_in_capitals() {
    play(async {
        unread("deny = ['READ:private']", "write read:");
        unread("deny = ['Read:private']", "in lower case");
        unread("Deny = ['read:private']", "did you mean \"deny\"?");
        unread("DENY = ['read:private']", "did you mean \"deny\"?");
    });
}

/// Names on disk differ by case, so rules do: a rule on `Private` is none on `private`, and both can be said.
#[test]
fn a_path_in_other_case() {
    play(async {
        let scope = Machine::administrator("deny = ['read:Private']").scope(ALL);
        assert_eq!((scope.sight("Private/a"), scope.sight("private/a")), (Sight::Outside, Sight::Write));
        let scope = Machine::administrator("deny = ['read:*rivate']").scope(ALL);
        assert_eq!((scope.sight("Private/a"), scope.sight("private/a")), (Sight::Outside, Sight::Outside));
    });
}

#[test]
fn a_confusable_letter() {
    play(async {
        // Cyrillic letters in a kind, a tool, a host; in a path they are a name like any other, and `policy check` says so.
        unread("deny = ['r\u{435}ad:private']", "the kinds are");
        unread("deny = ['tool:f\u{456}les.read']", "is not a capability");
        unread("d\u{435}ny = ['read:private']", "this is not TOML: invalid unquoted key");
        unread("\"d\u{435}ny\" = ['read:private']", "did you mean \"deny\"?");
        let rules = Machine::administrator("deny = ['read:priv\u{430}te']").rules().unwrap();
        assert!(rules.doubts.iter().any(|doubt| doubt.what.contains("beyond ASCII")), "{:?}", rules.doubts);
        // In a host it is another host, shown as what it is.
        let rules = Machine::administrator("allow = ['tool:*', 'net:\u{430}pi.example.com']").rules().unwrap();
        assert!(rules.doubts.iter().any(|doubt| doubt.what.contains("net:xn--")), "{:?}", rules.doubts);
        assert_eq!(rules.policy.effective(&Grant::of_run(caps(&["net:api.example.com"]))), Grant::none());
    });
}

#[test]
fn a_host_in_other_clothes() {
    play(async {
        for host in ["api.example.com.", "API.EXAMPLE.COM"] {
            match format!("net:{host}").parse::<Capability>() {
                // Where it is read at all, it is the same host.
                Ok(same) => assert_eq!(same.to_string(), "net:api.example.com"),
                Err(error) => assert!(error.to_string().len() > 30),
            }
        }
        for bad in
            ["net:https://api.example.com", "net:api.example.com@evil.example", "net:api.example.com#.evil.example"]
        {
            unread(&format!("allow = ['{bad}']"), "is not a capability");
        }
    });
}

#[test]
fn slashes_and_dots_in_a_path() {
    play(async {
        for written in ["private/", "./private", "private//", ".//private/.", "private/**", "././private"] {
            let scope = Machine::administrator(format!("deny = ['read:{written}']")).scope(ALL);
            assert_eq!(scope.sight("private/key"), Sight::Outside, "{written}");
            assert_eq!(scope.sight("privateer"), Sight::Write, "{written}");
        }
        unread("deny = ['read:a/../private']", "'..' is not allowed");
        unread("deny = ['read:~/private']", "~ is not expanded");
        unread("deny = ['read:']", "the path is empty");
        unread("deny = ['read: private']", "begins or ends with a space");
    });
}

#[test]
fn a_glob_at_its_edges() {
    play(async {
        let scope =
            Machine::administrator("deny = ['read:**/*.pem', 'read:secret*/**', 'write:src/**/*.lock']").scope(ALL);
        for (path, access) in [
            ("a.pem", Sight::Outside),
            ("deep/down/a.pem", Sight::Outside),
            ("a.pem/inside", Sight::Outside),
            ("a.pem.txt", Sight::Write),
            ("secret", Sight::Outside),
            ("secrets/a", Sight::Outside),
            ("not-secret", Sight::Write),
            ("src/x.lock", Sight::Read),
            ("src/a/b/x.lock", Sight::Read),
            ("x.lock", Sight::Write),
        ] {
            assert_eq!(scope.sight(path), access, "{path}");
        }
        for bad in ["a**", "[a-z]", "{a,b}", "a?", "a\\\\b"] {
            unread(&format!("deny = [\"read:{bad}\"]"), "is not a capability");
        }
    });
}

#[test]
fn a_nul_and_other_controls() {
    play(async {
        unread("deny = [\"read:a\\u0000b\"]", "a path cannot hold");
        unread("deny = [\"read:a\\nb\"]", "a path cannot hold");
        unread("deny = ['read:a\u{0}b']", "this is not TOML");
        let faults = Machine::administrator("deny = [\"read:\\u001b[2J\"]").rules().unwrap_err();
        assert!(!faults.contains('\u{1b}'), "{faults:?}");
    });
}

#[test]
fn a_byte_order_mark() {
    play(async {
        let scope = Machine::administrator("\u{feff}deny = ['read:private']").scope(ALL);
        assert_eq!(scope.sight("private"), Sight::Outside);
        assert_eq!(
            Machine::administrator("\u{feff}\u{feff}deny = ['read:private']").scope(ALL).sight("private"),
            Sight::Outside
        );
        unread("deny\u{feff} = ['read:private']", "not TOML");
        // UTF-16 is no text that a rule could hide in.
        Machine::administrator(b"\xff\xfed\0e\0n\0y\0").refused("not UTF-8");
    });
}

#[test]
fn a_key_said_twice() {
    play(async {
        unread("deny = ['read:private']\ndeny = []\n", "p");
        let faults = Machine::administrator("deny = ['read:private']\ndeny = []\n").rules().unwrap_err();
        assert!(faults.contains("policy.toml:2:1: this is not TOML") && faults.contains("duplicate key"), "{faults}");
        unread("[quota.run]\nagents-max = 1\n[quota.run]\nagents-max = 9\n", "this is not TOML");
        unread("[quota]\nrun = {}\n[quota.run]\nagents-max = 9\n", "this is not TOML");
        unread("deny = ['read:a', 'read:./a/']", "stands in deny twice");
    });
}

#[test]
fn a_huge_file() {
    play(async {
        Machine::administrator("#".repeat(1_100_000)).refused("larger than");
        let many: Vec<String> = (0..1_001).map(|n| format!("'read:a{n}'")).collect();
        unread(&format!("allow = [{}]", many.join(",")), "at most 1000");
        let machine = Machine::new();
        machine.write("project/.vespiary/policy.toml", format!("allow = [{}]", many[..65].join(",")));
        machine.refused("at most 64");
        unread(&format!("deny = ['read:{}']", "a".repeat(5_000)), "longer than 4096");
        unread(&format!("deny = ['read:{}']", "a/".repeat(80)), "more than 64 names");
    });
}

#[test]
fn a_deep_nest() {
    play(async {
        unread(&format!("allow = {}{}", "[".repeat(5_000), "]".repeat(5_000)), "not TOML");
        unread(&format!("a = {}1{}", "{a=".repeat(5_000), "}".repeat(5_000)), "not TOML");
        unread(&format!("{} = 1", vec!["a"; 5_000].join(".")), "");
    });
}

#[test]
fn a_date_for_a_capability() {
    play(async {
        unread("deny = [2026-11-24]", "an entry of deny is a date or time");
        unread("deny = [1, 2.5, true, ['read:a'], {a = 1}]", "an entry of deny is a list");
        unread("deny = 'read:private'", "deny is text and must be a list");
        unread("locked = 1", "locked is a whole number and must be true or false");
        unread("locked = 'true'", "locked is text");
        unread("[deny]\nread = 'private'", "deny is a table");
        unread("[quota.call]\nmemory-bytes-max = '64 MiB'", "must be a whole number");
    });
}

#[test]
fn a_linked_project_policy() {
    play(async {
        let machine = Machine::administrator("deny = ['read:private']");
        let loose = machine.write("loose.toml", "");
        symlink(loose, machine.root().join(".vespiary/policy.toml")).unwrap();
        machine.refused("symbolic link");
    });
}

#[test]
fn a_project_that_widens() {
    play(async {
        let machine =
            Machine::administrator("allow = ['read:src', 'tool:*']\nlocked = true\nplugins = [{ name = 'mine' }]");
        machine.write(
            "project/.vespiary/policy.toml",
            "allow = ['read:/', 'write:/', 'net:*', 'tool:*', 'exec:bash', 'read:.', 'write:.']\nlocked = false\n\
         ask-timeout-seconds = 86400\n[quota.call]\nmemory-bytes-max = 268435456\n",
        );
        let scope = machine.scope(ALL);
        assert_eq!(scope.to_string(), "read:src");
        let rules = machine.rules().unwrap();
        assert_eq!(rules.policy.quota(&Default::default()).memory_bytes_max, 128 << 20, "a ceiling never raises");
    });
}

#[test]
fn a_project_that_brings_secrets_or_plugins() {
    play(async {
        let machine = Machine::administrator("locked = true");
        machine.write("project/.vespiary/policy.toml", "[secrets.TOKEN]\nfrom = 'file:/etc/shadow'\n");
        machine.refused("a project's policy declares secrets");
        machine.write("project/.vespiary/policy.toml", "plugins = [{ name = 'mine' }]\n");
        assert!(matches!(machine.judge(ALL), Verdict::Deny(_)), "the administrator did not list it");
    });
}

#[test]
fn a_named_policy_that_relaxes() {
    play(async {
        let mut machine =
            Machine::administrator("locked = true\nallow = ['read:.', 'tool:*']\ndeny = ['read:private']");
        machine.named = Some(machine.write(
        "mine.toml",
        "locked = false\nallow = ['read:.', 'write:.', 'tool:*', 'net:*']\nplugins = [{ name = 'mine' }]\ndeny = []\n",
    ));
        assert!(matches!(machine.judge(ALL), Verdict::Deny(_)), "the plugin is listed by nobody who may");
        machine.write("etc/policy.d/plugins.toml", "plugins = [{ name = 'mine' }]");
        let scope = machine.scope(ALL);
        assert_eq!(scope.grant().to_string(), "read:.");
        assert_eq!(scope.sight("private/a"), Sight::Outside);
    });
}

#[test]
fn a_locked_machine_at_each_door() {
    play(async {
        let machine = Machine::administrator("locked = true\nplugins = []");
        machine.write(
            "user/policy.toml",
            "plugins = [{ name = 'mine' }]\nallow = ['net:*', 'exec:make', 'tool:*', 'read:.']",
        );
        let Verdict::Deny(denial) = machine.judge(ALL) else { panic!("an unlisted plugin ran") };
        assert!(denial.rule.as_ref().unwrap().contains("etc/policy.toml:1"), "{denial}");
        let rules = machine.rules().unwrap();
        let everything =
            ["net:*", "env:HOME", "secret:A@a.example", "mcp:*", "model:*", "exec:make", "read:.", "tool:*", "spawn:5"];
        assert_eq!(rules.policy.effective(&Grant::of_run(caps(&everything))).to_string(), "read:., tool:*");
    });
}

#[test]
fn another_component_under_an_admitted_name() {
    play(async {
        let digest = |of: &[u8]| Digest::of(of).to_string();
        let machine =
            Machine::administrator(format!("[[plugins]]\nname = 'mine'\nsha256 = '{}'\n", digest(b"another")));
        let Verdict::Deny(denial) = machine.judge(ALL) else { panic!("the pin does not hold") };
        assert!(denial.to_string().contains(&digest(b"x")) && denial.to_string().contains("[[plugins]]"), "{denial}");
        let machine = Machine::administrator(format!("[[plugins]]\nname = 'mine'\nsha256 = '{}'\n", digest(b"x")));
        assert!(matches!(machine.judge(ALL), Verdict::Allow(_)));
        unread("[[plugins]]\nname = 'mine'\nsha265 = 'x'\n", "did you mean \"sha256\"?");
    });
}

/// The machine's name of a place is no way round a rule on the project's, nor the other way.
#[test]
fn a_place_by_its_other_name() {
    play(async {
        let machine = Machine::new();
        let root = machine.root();
        machine.write("etc/policy.toml", format!("deny = ['read:{}/private']", root.display()));
        assert_eq!(machine.scope(ALL).sight("private/key"), Sight::Outside);
        machine.write("etc/policy.toml", "deny = ['read:private']");
        let held = format!("read:{}", root.display());
        let rules = machine.rules().unwrap();
        let (tool, grant): (ToolName, _) = ("mine.x".parse().unwrap(), Grant::of_run(caps(&[&held, "tool:*"])));
        let needs = format!(
            "name='mine'\nversion='1'\nkind='tools'\ndescription='d'\n[[needs]]\ncapability='{held}'\nreason='r'\n"
        );
        let plugin = Plugin::new(Manifest::parse(&needs).unwrap(), Digest::of(b"x"), Trust::Added).unwrap();
        let case = Case { tool: &tool, grant: &grant, plugin: &plugin, extra: &[] };
        let Verdict::Allow(scope) = rules.policy.judge(case) else { panic!("the rest may be read") };
        assert_eq!(scope.sight(&format!("{}/private/key", root.display())), Sight::Outside);
        assert_eq!(scope.sight(&format!("{}/src", root.display())), Sight::Read);
        machine.write("etc/policy.toml", format!("deny = ['read:{}']", root.parent().unwrap().display()));
        assert!(matches!(machine.judge(ALL), Verdict::Deny(_)), "all of the project lies there");
    });
}

#[test]
fn a_glob_meets_a_link() {
    play(async {
        let machine = Machine::new();
        fs::create_dir(machine.root().join("vault")).unwrap();
        symlink("vault", machine.root().join("private")).unwrap();
        machine.write("etc/policy.toml", "deny = ['read:private', 'write:private/**/*.pem']");
        let scope = machine.scope(ALL);
        assert_eq!(scope.sight("private/a"), Sight::Outside);
        assert_eq!(scope.sight("vault/a"), Sight::Outside, "what the link leads to is refused as the link is");
    });
}

/// A link that a user laid where the administrator allows something allows nothing more.
#[test]
fn a_link_laid_under_an_allowed_name() {
    play(async {
        let machine = Machine::new();
        let open = machine.temp.path().canonicalize().unwrap().join("open");
        symlink("/etc", &open).unwrap();
        machine.write("etc/policy.toml", format!("allow = ['tool:*', 'read:{}']", open.display()));
        let rules = machine.rules().unwrap();
        let worth = rules.policy.effective(&Grant::of_run(caps(&["read:/etc", "read:.", "tool:*"])));
        assert_eq!(worth.to_string(), "tool:*");
    });
}

#[test]
fn an_unreadable_policy_is_not_an_absent_one() {
    play(async {
        let machine = Machine::new();
        fs::create_dir(machine.temp.path().join("etc/policy.d/x.toml")).unwrap();
        machine.refused("it is not a regular file");
        let machine = Machine::new();
        fs::remove_dir(machine.temp.path().join("etc/policy.d")).unwrap();
        symlink("/nowhere", machine.temp.path().join("etc/policy.d")).unwrap();
        machine.refused("not followed");
        let machine = Machine::new();
        fs::remove_dir(machine.root().join(".vespiary")).unwrap();
        machine.write("project/.vespiary", "deny = []");
        machine.refused("no directory");
    });
}

#[test]
fn a_policy_that_others_can_write() {
    play(async {
        let machine = Machine::administrator("");
        let path = machine.temp.path().join("etc/policy.toml");
        for mode in [0o666, 0o664, 0o646] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            machine.refused("others than root can write it");
        }
    });
}

#[test]
fn a_fragment_that_takes_back() {
    play(async {
        let machine = Machine::administrator("locked = true\ndeny = ['read:private']\n[quota.run]\nagents-max = 5\n");
        machine.write("etc/policy.d/99-last.toml", "locked = false\ndeny = []\n[quota.run]\nagents-max = 500\n");
        let rules = machine.rules().unwrap();
        assert!(rules.layers[0].locked.is_some() && rules.layers[0].deny.len() == 1);
        assert_eq!(rules.policy.agents_max(1_000), 5);
    });
}

/// Each rule is compared with each other and with each grant: a project that brings thousands would keep every call waiting.
#[test]
fn a_crowd_of_rules() {
    play(async {
        let machine = Machine::new();
        let rules: Vec<_> = (0..65).map(|n| format!("'read:**/a{n}*'")).collect();
        for list in ["deny", "ask", "allow"] {
            machine.write("project/.vespiary/policy.toml", format!("{list} = [{}]", rules.join(", ")));
            machine.refused("at most 64");
        }
    });
}

#[test]
fn a_number_that_overflows() {
    play(async {
        unread("[quota.run]\ntool-calls-max = 18446744073709551616\n", "choose a value between");
        unread("[quota.run]\ntool-calls-max = -0x1\n", "");
        unread("[quota.call]\nmemory-bytes-max = 1e9\n", "a number with a point");
        unread("[quota.call]\nmemory-bytes-max = inf\n", "a number with a point");
    });
}

#[test]
fn a_message_forged_by_a_key() {
    play(async {
        let text = "\"x\\u001b[2K\\rpolicy is sound\\u202e\" = 1\n";
        let faults = Sheet::read(text, &Arc::from("p.toml"), LayerKind::Project).unwrap_err();
        let told: String = faults.iter().map(ToString::to_string).collect();
        assert!(!told.contains(|c: char| c.is_control() || c == '\u{202e}'), "{told:?}");
    });
}

/// Whoever may write all of the project may not write what is obeyed in it.
#[test]
fn a_tool_that_writes_the_policy() {
    play(async {
        let machine = Machine::new();
        for held in [ALL, &["tool:*", "read:.", "write:.", "write:**/policy.toml"]] {
            let scope = machine.scope(held);
            assert_eq!(scope.sight("src/policy.toml"), Sight::Write);
            for kept in [".vespiary/policy.toml", ".vespiary/agents/a.md", ".vespiary"] {
                assert_eq!(scope.sight(kept), Sight::Read, "{kept} with {held:?}");
            }
        }
    });
}

/// A call that must be asked about, by `shell`, which finds its command line in `$CALL`; at a terminal of its own through
/// util-linux `script`, or at none. Whether it was carried out, and what was said. `None` where there is no `script`.
fn asked(shell: &str) -> Option<(bool, String)> {
    Command::new("script").arg("--version").output().ok()?;
    let place = Place::new();
    fs::create_dir_all(place.path("etc")).unwrap();
    fs::set_permissions(place.path("etc"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(place.project().join("out")).unwrap();
    fs::write(place.path("etc/policy.toml"), "ask = ['write:out']\nask-timeout-seconds = 2\n").unwrap();
    fs::set_permissions(place.path("etc/policy.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    let arguments = r#"{"path": "out/a.txt", "text": "x"}"#;
    let call = format!("{PROGRAM} call files.write '{arguments}' --allow write:out");
    let mut command = Command::new("sh");
    command.args(["-c", shell]).env("CALL", call).env("VESPIARY_POLICY_DIR", place.path("etc"));
    let said = command.env("VESPIARY_HOME", place.home()).current_dir(place.project()).output().unwrap();
    let text = [said.stdout, said.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    Some((place.project().join("out/a.txt").exists(), text))
}

#[test]
fn an_answer_typed_before_the_question() {
    play(async {
        let shell = r#"(printf 'y\ny\n'; sleep 6) | script -qec "sleep 1; $CALL" /dev/null"#;
        let Some((done, text)) = asked(shell) else { return };
        assert!(!done && text.contains("2 seconds were over"), "{text}");
    });
}

#[test]
fn an_answer_on_standard_input() {
    play(async {
        // At a terminal where nobody types, and where there is none.
        let shell = r#"sleep 6 | script -qec "(sleep 1; printf 'y\n'; sleep 3) | $CALL" /dev/null"#;
        let Some((done, text)) = asked(shell) else { return };
        assert!(!done && text.contains("2 seconds were over"), "{text}");
        let shell = r#"(sleep 1; printf 'y\n'; sleep 3) | setsid --wait sh -c "$CALL""#;
        let Some((done, text)) = asked(shell) else { return };
        assert!(!done && text.contains("there is no terminal"), "{text}");
    });
}
