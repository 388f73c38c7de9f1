//! Policy as people meet it: files on a machine, refusals that name them, and the commands that show, check and explain them.

use super::{Place, Said, component};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

const WRITE: &str = r#"{"path": "out/a.txt", "text": "x"}"#;
const READ: &str = r#"{"path": "a.txt"}"#;

/// A place with an administrator of its own.
struct Ruled(Place);

impl Ruled {
    fn by(administrator: &str) -> Self {
        let place = Place::new();
        fs::create_dir(place.path("etc")).unwrap();
        fs::set_permissions(place.path("etc"), fs::Permissions::from_mode(0o755)).unwrap();
        place.file("a.txt", "content");
        fs::create_dir(place.project().join("out")).unwrap();
        let ruled = Self(place);
        ruled.put("etc/policy.toml", administrator);
        ruled
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn says(&self, args: &[&str]) -> Said {
        self.with(args, &[])
    }

    fn with(&self, args: &[&str], variables: &[(&str, &str)]) -> Said {
        let mut command = self.0.command(args);
        command.env("VESPIARY_POLICY_DIR", self.0.path("etc")).envs(variables.iter().copied());
        super::Running::start(command).wait()
    }

    /// The text with the place's own path taken out of it.
    fn out(&self, said: &Said) -> String {
        said.out().replace(self.0.path("").to_str().unwrap().trim_end_matches('/'), "")
    }
}

#[test]
fn a_rule_holds_whatever_the_command_line_says() {
    let ruled = Ruled::by("# ours\ndeny = [\"tool:files.write\"]\n");
    ruled.says(&["call", "files.read", READ]).exits(0);
    let said = ruled.says(&["call", "files.write", WRITE, "--allow", "write:out"]).exits(3);
    said.complains(&["refused by the rule deny tool:files.write", "etc/policy.toml:2", "only whoever wrote it"]);
    assert!(!ruled.0.project().join("out/a.txt").exists());
}

#[test]
fn a_broken_policy_stops_everything_with_all_its_faults() {
    let ruled = Ruled::by("alow = []\ndeny = [\"tool:files\"]\n");
    let script = ruled.0.script("return 1");
    for args in [
        vec!["call", "files.read", READ],
        vec!["run", script.to_str().unwrap(), "--quiet"],
        vec!["policy", "show"],
        vec!["policy", "explain", "files.read"],
        vec!["plugin", "inspect", "files"],
    ] {
        ruled.says(&args).exits(2).complains(&[
            "error: the policy cannot be used",
            "policy.toml:1:1: a policy has no key \"alow\"; did you mean \"allow\"?",
            "policy.toml:2:9: \"tool:files\" is not a capability",
            "next: correct it; until then nothing runs",
        ]);
    }
    let said = ruled.says(&["doctor"]).exits(1);
    assert!(said.out().contains("fail  policy") && said.out().contains("did you mean"), "{}", said.out());
    assert!(ruled.says(&["runs", "list"]).exits(0).err().is_empty(), "what was recorded can still be read");
}

#[test]
fn a_policy_of_the_wrong_owner_or_mode_stops_everything() {
    let ruled = Ruled::by("");
    fs::set_permissions(ruled.0.path("etc/policy.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    ruled
        .says(&["call", "files.read", READ])
        .exits(2)
        .complains(&["others than root can write it (mode 0666)", "chmod 0644"]);
}

#[test]
fn all_four_layers_narrow() {
    let ruled = Ruled::by("deny = ['tool:git.*']\n");
    ruled.put("home/config/policy.toml", "deny = ['tool:search.*']\n");
    ruled.put(
        "project/.vespiary/policy.toml",
        "allow = ['tool:files.*', 'tool:search.*', 'tool:git.*', 'read:.', 'write:out']\n",
    );
    let named = ruled.put("named.toml", "deny = ['tool:files.write']\n");
    let named = named.to_str().unwrap();
    ruled.says(&["call", "files.read", READ, "--policy", named]).exits(0);
    for (tool, place) in [
        ("git.status", "etc/policy.toml:1"),
        ("search.grep", "home/config/policy.toml:1"),
        ("files.write", "named.toml:1"),
        ("secrets.scan", ".vespiary/policy.toml:1"),
    ] {
        let said =
            ruled.says(&["policy", "explain", tool, "--allow", "tool:*", "--allow", "write:out", "--policy", named]);
        let said = said.exits(3);
        assert!(said.out().contains(place), "{tool} is not refused at {place}:\n{}", said.out());
    }
    ruled
        .says(&["call", "files.read", READ, "--deny", "tool:files.read"])
        .exits(3)
        .complains(&["deny tool:files.read (--deny)"]);
}

#[test]
fn a_locked_machine_refuses_a_plugin_before_anything_starts() {
    let ruled = Ruled::by("locked = true\n");
    let manifest = "name = 'mine'\nversion = '1'\nkind = 'tools'\ndescription = 'd'\n";
    let plugin = ruled.0.plugin(&component("plugins/built/echo.wasm"), manifest);
    let plugin = plugin.to_str().unwrap();
    let refused =
        ["the plugin mine with component", "policy.toml:1", "next: ask the administrator to list it under [[plugins]]"];
    ruled.says(&["call", "mine.echo", "{}", "--plugin", plugin]).exits(3).complains(&refused);
    let script = ruled.0.script("return 1");
    ruled.says(&["run", script.to_str().unwrap(), "--plugin", plugin]).exits(3).complains(&refused);
    let said = ruled.says(&["plugin", "inspect", plugin]).exits(0);
    assert!(said.out().contains("Refused by the policy"), "looking is fine, and says so:\n{}", said.out());
    let said = ruled.says(&["policy", "explain", "mine.echo", "--plugin", plugin, "--json"]).exits(3);
    let told = said.json("vespiary.policy-explanation/1");
    assert_eq!((&told["verdict"], &told["steps"][0]["line"]), (&"deny".into(), &1.into()));
}

/// The real sandbox, a real environment, and a component that takes all of it that it can get.
#[test]
fn a_cell_sees_the_granted_variables_and_no_others() {
    let ruled = Ruled::by("");
    let manifest = "name = 'hostile'\nversion = '1'\nkind = 'tools'\ndescription = 'd'\n\
                    [[needs]]\ncapability = 'env:VESPER_SHOWN'\nreason = 'r'\noptional = true\n\
                    [[needs]]\ncapability = 'env:VESPER_ABSENT'\nreason = 'r'\noptional = true\n";
    let plugin = ruled.0.plugin(&component("tests/guests/built/hostile.wasm"), manifest);
    let call = ["call", "hostile.environment", "{}", "--json", "--plugin", plugin.to_str().unwrap()];
    let variables = [("VESPER_SHOWN", "shown"), ("VESPER_HIDDEN", "hidden")];
    let all = ["env:VESPER_SHOWN", "env:VESPER_HIDDEN", "env:VESPER_ABSENT", "env:PATH"];
    let granted: Vec<&str> = all.iter().flat_map(|held| ["--allow", held]).collect();
    let said = ruled.with(&[&call[..], &granted].concat(), &variables).exits(0);
    let told = said.json("vespiary.call/1");
    assert_eq!(told["value"], r#"[("VESPER_SHOWN", "shown")] [] None"#, "granted, declared and there: one of four");
    let said = ruled.with(&call, &variables).exits(1);
    assert!(said.out().contains("environment: empty"), "{}", said.out());
    let record = ruled.says(&["runs", "show", "last", "--events", "--json"]).out();
    assert!(!record.contains("\"shown\""));
    ruled.put("etc/policy.toml", "deny = ['env:VESPER_SHOWN']\n");
    ruled.with(&[&call[..], &granted].concat(), &variables).exits(1);
}

#[test]
fn show_names_each_rule_with_its_place() {
    let ruled = Ruled::by(
        "locked = true\nallow = [\n  'read:.',\n  'tool:*',\n]\nask = ['tool:git.*']\nask-timeout-seconds = 5\n\
         [quota.call]\nmemory-bytes-max = 1000000\n[quota.run]\nagents-max = 7\n[secrets.KEY]\nfrom = 'env:KEY'\n",
    );
    ruled.put("home/config/policy.toml", "deny = ['read:private']\n");
    let said = ruled.says(&["policy", "show"]).exits(0);
    let text = ruled.out(&said);
    let shown: Vec<&str> = text.lines().take(13).collect();
    assert_eq!(
        shown,
        [
            "administrator",
            "  locked  nothing below adds a plugin, host, model or program  /etc/policy.toml:1",
            "  allow   read:.  /etc/policy.toml:3",
            "  allow   tool:*  /etc/policy.toml:4",
            "  ask     tool:git.*  /etc/policy.toml:6",
            "user",
            "  deny    read:private  /home/config/policy.toml:1",
            "built in",
            "  deny    write:.vespiary  unless --allow names it",
            "secrets",
            "  KEY  from env:KEY into authorization  /etc/policy.toml:12",
            "limits  a question waits 5 seconds",
            "  A CALL          AT MOST",
        ],
        "{text}"
    );
    let json = ruled.says(&["policy", "show", "--json"]).exits(0).json("vespiary.policy/1");
    assert_eq!(json["layers"][0]["allow"][1]["place"]["line"], 4);
    assert_eq!(
        (&json["quota"]["call"]["memory_bytes_max"], &json["quota"]["run"]["agents_max"]),
        (&1_000_000.into(), &7.into())
    );
}

#[test]
fn explain_tells_every_step_and_the_way_out() {
    let ruled = Ruled::by("deny = ['read:private']\nask = ['write:out']\n");
    let said = ruled.says(&["policy", "explain", "files.read"]).exits(0);
    let text = ruled.out(&said);
    assert!(text.starts_with("files.read: allowed\n\nheld      read:., tool:files.read\nneeded    read:."), "{text}");
    for part in [
        "narrows  administrator deny read:private: a hole  /etc/policy.toml:1",
        "scope     read:.",
        "  except  read:private",
        "limits of the call",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let said = ruled.says(&["policy", "explain", "files.write"]).exits(3);
    assert!(said.out().contains("next      grant it with --allow write:."), "{}", said.out());
    let said = ruled.says(&["policy", "explain", "files.write", "--allow", "write:out", "--json"]).exits(5);
    let told = said.json("vespiary.policy-explanation/1");
    assert_eq!((&told["verdict"], &told["question"]["rule"]), (&"ask".into(), &"write:out".into()));
    assert!(
        ruled.says(&["runs", "list", "--json"]).exits(0).json("vespiary.runs/1")["runs"].as_array().unwrap().is_empty()
    );
}

#[test]
fn check_tells_doubts_and_faults() {
    let ruled = Ruled::by("allow = ['read:.']\n");
    let said = ruled.says(&["policy", "check"]).exits(0);
    assert!(
        said.out().contains("allow names no tool") && said.out().contains("1 file read, 1 doubt"),
        "{}",
        said.out()
    );
    let draft = ruled.put("draft.toml", "deny = [1]\nlocke = true\n");
    let said = ruled.says(&["policy", "check", draft.to_str().unwrap(), "--json"]).exits(2);
    let told = said.json("vespiary.policy-check/1");
    assert_eq!((&told["ok"], told["faults"].as_array().unwrap().len()), (&false.into(), 2));
    assert_eq!(
        (&told["faults"][1]["line"], &told["faults"][1]["next"]),
        (&2.into(), &"did you mean \"locked\"?".into())
    );
}

#[test]
fn nobody_to_ask_is_no_and_names_the_rule() {
    let ruled = Ruled::by("# a\nask = ['write:out']\n");
    let said = ruled.says(&["call", "files.write", WRITE, "--allow", "write:out"]).exits(3);
    said.complains(&[
        "needs a person's yes to files.write with read:., write:out",
        "refused by the rule ask write:out",
        "policy.toml:2",
        "next: nobody answered: there is no terminal",
    ]);
}

/// A terminal of the test's own, through util-linux `script`: one answers, one does not.
#[test]
fn a_person_at_a_terminal_answers_or_the_time_is_over() {
    let ruled = Ruled::by("ask = ['write:out']\nask-timeout-seconds = 2\n");
    if std::process::Command::new("script").arg("--version").output().is_err() {
        return;
    }
    let call = format!("{} call files.write '{WRITE}' --allow write:out", super::PROGRAM);
    let at_terminal = |answer: &str| {
        let shell = format!("(sleep 1; printf '{answer}'; sleep 4) | script -qec \"$CALL\" /dev/null");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &shell]).env("CALL", &call).env("VESPIARY_POLICY_DIR", ruled.0.path("etc"));
        command.env("VESPIARY_HOME", ruled.0.home()).current_dir(ruled.0.project());
        let said = command.output().unwrap();
        (said.status.code(), String::from_utf8_lossy(&said.stdout).into_owned())
    };
    let (code, text) = at_terminal("");
    assert!(code == Some(3) && text.contains("2 seconds were over"), "{code:?} {text}");
    let (code, text) = at_terminal("n\\n");
    assert!(code == Some(3) && text.contains("a person said no"), "{code:?} {text}");
    assert!(!ruled.0.project().join("out/a.txt").exists());
    let (code, text) = at_terminal("y\\n");
    assert!(code == Some(0) && text.contains("holds  read:."), "{code:?} {text}");
    assert!(ruled.0.project().join("out/a.txt").exists());
}

#[test]
fn what_a_rule_denies_is_not_advised_to_be_granted() {
    let place = Place::new();
    place.file("private/x", "secret\n");
    let said = place.vespiary(&["call", "files.read", r#"{"path":"private/x"}"#, "--deny", "read:private"]).exits(3);
    let said = said.complains(&["needs read:private/x", "deny read:private", "whatever is granted"]);
    assert!(!said.err().contains("Grant read:private/x"), "{}", said.err());
}

#[test]
fn what_a_plugin_never_declared_is_not_advised_to_be_granted_and_what_it_did_is() {
    let place = Place::new();
    let granted = ["call", "files.read", r#"{"path":"/etc/hostname"}"#, "--allow", "read:/etc/hostname"];
    let said = place.vespiary(&granted).exits(3);
    said.complains(&["needs read:/etc/hostname", "next: files.read does not declare that it needs this"]);
    place.file(".git/hooks/y", "");
    let hook = ["call", "files.write", r#"{"path":".git/hooks/x","text":"y"}"#, "--allow", "write:."];
    place
        .vespiary(&hook)
        .exits(3)
        .complains(&["needs write:.git/hooks/x", "next: grant it with --allow write:.git/hooks/x"]);
    place.file("own/x", "mine\n");
    std::fs::hard_link(place.project().join("own/x"), place.project().join("own/y")).unwrap();
    let second = ["call", "files.write", r#"{"path":"own/y","text":"y","overwrite":true}"#, "--allow", "write:own"];
    place.vespiary(&second).exits(3).complains(&["needs write:own/y", "next: the call holds that", "a second name"]);
}
