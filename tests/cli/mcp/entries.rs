//! Entries in the settings of clients: written, found, and started.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// The program with a home directory of the test's own, whose settings are nobody else's.
fn vespiary(place: &Place, args: &[&str]) -> super::super::Said {
    let mut command = place.command(args);
    command.env("HOME", place.path("user")).env_remove("XDG_CONFIG_HOME");
    super::super::Running::start(command).wait()
}

#[test]
fn an_entry_is_shown_written_found_and_started() {
    let place = Place::new();
    let shown = vespiary(&place, &["mcp", "install", "claude-code", "--dry-run"]).exits(0).out();
    assert!(shown.contains(".mcp.json") && shown.contains("+") && shown.contains("\"mcp\""), "{shown}");
    // Nobody is there to agree.
    vespiary(&place, &["mcp", "install", "claude-code"]).exits(3).complains(&["nobody is there to agree", "--yes"]);
    assert!(!place.project().join(".mcp.json").exists());
    vespiary(&place, &["mcp", "doctor"]).exits(2).complains(&["no client's settings", "mcp install CLIENT"]);

    place.file(".mcp.json", "{\n  // ours\n  \"mcpServers\": { \"other\": { \"command\": \"x\" } }\n}\n");
    vespiary(&place, &["mcp", "install", "claude-code", "--yes", "--", "--allow", "write:out"]).exits(0);
    let text = fs::read_to_string(place.project().join(".mcp.json")).unwrap();
    assert!(text.contains("// ours") && text.contains("\"other\": { \"command\": \"x\" }"), "{text}");
    for client in ["cursor", "vscode"] {
        vespiary(&place, &["mcp", "install", client, "--yes"]).exits(0);
    }
    vespiary(&place, &["mcp", "install", "codex", "--scope", "user", "--yes"]).exits(0);
    let again = vespiary(&place, &["mcp", "install", "cursor", "--yes"]).exits(0).out();
    assert!(again.contains("starts it already"), "{again}");

    let checked = vespiary(&place, &["mcp", "doctor", "--json"]).exits(0).json("vespiary.mcp-doctor/1");
    let entries = checked["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 4, "{checked:#}");
    assert!(entries.iter().all(|entry| entry["ok"] == true && entry["tools"].as_u64() > Some(10)), "{checked:#}");
    // The one that may write offers more.
    assert!(entries[0]["tools"].as_u64() > entries[1]["tools"].as_u64(), "{checked:#}");
}

#[test]
fn flags_that_no_server_takes_are_not_written() {
    let place = Place::new();
    let said = vespiary(&place, &["mcp", "install", "cursor", "--yes", "--", "--alow", "write:out"]).exits(2);
    said.complains(&["--alow"]);
    // It starts, and no client could speak with it on its streams: `doctor` would refuse it as well.
    for flags in [&["--http"][..], &["--http", "127.0.0.1:0"], &["servers"]] {
        let args = [&["mcp", "install", "claude-code", "--yes", "--"], flags].concat();
        vespiary(&place, &args).exits(2).complains(&["no server can be started so", "standard input and output"]);
    }
    assert!(!place.project().join(".mcp.json").exists());
    place.file(".cursor/mcp.json", "{ broken");
    vespiary(&place, &["mcp", "install", "cursor", "--yes"]).exits(2).complains(&["cannot be read", "by hand"]);
    assert_eq!(fs::read_to_string(place.project().join(".cursor/mcp.json")).unwrap(), "{ broken");
}

/// Somebody types the answer while a client writes its settings: both stay, and what was not shown is not written.
#[test]
fn what_a_client_writes_while_the_person_is_asked_is_kept() {
    if std::process::Command::new("script").arg("--version").output().is_err() {
        return;
    }
    let place = Place::new();
    let settings = place.path("user/.claude.json");
    fs::create_dir(place.path("user")).unwrap();
    let first = "{\n  \"numStartups\": 1\n}\n";
    fs::write(&settings, first).unwrap();
    let meanwhile =
        "{\n  \"numStartups\": 2,\n  \"mcpServers\": {\n    \"github\": {\n      \"command\": \"gh\"\n    }\n  }\n}\n";
    let install = format!("{PROGRAM} mcp install claude-code --scope user");
    // Each answer is given once its question is on the screen, and before the first one the client writes.
    let shell = "shown() { for _ in $(seq 1000); do [ \"$(grep -c 'Write this' screen)\" -ge $1 ] && return; sleep 0.05; done; }\n\
                 : > screen\n\
                 (shown 1; printf %s \"$MEANWHILE\" > \"$SETTINGS\"; echo y; shown 2; echo y; while sleep 0.2 && echo; do :; done) | \
                 script -qefc \"$INSTALL\" screen";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", shell]).env("INSTALL", install).env("MEANWHILE", meanwhile).env("SETTINGS", &settings);
    command.env("VESPIARY_HOME", place.home()).env("HOME", place.path("user")).current_dir(place.project());
    let said = command.output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(text.contains("somebody else has written there meanwhile"), "{text}");
    let written: Value = serde_json::from_str(&fs::read_to_string(&settings).unwrap()).unwrap();
    assert_eq!(written["numStartups"], 2, "{written:#}");
    assert_eq!(written["mcpServers"]["github"]["command"], "gh", "{written:#}");
    assert_eq!(written["mcpServers"]["vespiary"]["args"], json!(["mcp"]), "{written:#}");
}

#[test]
fn a_policy_goes_into_the_entry_and_is_found_from_anywhere() {
    let place = Place::new();
    let policy = place.path("strict.toml");
    fs::write(&policy, "deny = [\"tool:files.*\"]\n").unwrap();
    vespiary(&place, &["mcp", "install", "vscode", "--yes", "--policy", "../strict.toml"]).exits(0);
    let checked = vespiary(&place, &["mcp", "doctor", "--json"]).exits(0).json("vespiary.mcp-doctor/1");
    let args = &checked["entries"][0]["args"];
    assert_eq!(args[0], "--policy", "{checked:#}");
    let named = std::path::Path::new(args[1].as_str().unwrap());
    assert!(named.is_absolute() && named.canonicalize().unwrap() == policy.canonicalize().unwrap(), "{checked:#}");
    assert_eq!((&args[2], &args[3]), (&json!("mcp"), &json!("--dir")), "{checked:#}");
    let absent = ["--policy", "none.toml", "mcp", "install", "vscode", "--yes"];
    vespiary(&place, &absent).exits(2).complains(&["none.toml", "cannot be the server's policy"]);
    let twice = ["--policy", "../strict.toml", "mcp", "install", "vscode", "--yes", "--", "--policy=../strict.toml"];
    vespiary(&place, &twice).exits(2).complains(&["two policies"]);
}

#[test]
fn a_link_stays_one_and_a_mark_and_comments_stay_where_they_are() {
    let place = Place::new();
    let link = place.project().join(".mcp.json");
    std::os::unix::fs::symlink(place.path("shared.json"), &link).unwrap();
    let install = ["mcp", "install", "claude-code", "--yes"];
    vespiary(&place, &install).exits(2).complains(&["it is a link", "remove the link"]);
    assert!(link.is_symlink() && !place.path("shared.json").exists());

    fs::write(place.path("shared.json"), "\u{feff}{\n  \"mcpServers\": {}\n}\n").unwrap();
    let said = vespiary(&place, &install).exits(0);
    assert!(!said.err().contains("comments"), "{}", said.err());
    let text = fs::read_to_string(place.path("shared.json")).unwrap();
    assert!(link.is_symlink() && text.starts_with("\u{feff}{") && text.contains("\"vespiary\""), "{text}");
    vespiary(&place, &["mcp", "doctor"]).exits(0);

    // A comment is the person's own; what it costs is said before anything is written.
    fs::write(place.path("shared.json"), "{\n  // ours\n  \"mcpServers\": {}\n}\n").unwrap();
    let shown = vespiary(&place, &["mcp", "install", "claude-code", "--dry-run"]).exits(0).out();
    assert!(shown.contains("It has comments") && shown.contains("`vespiary mcp servers` cannot read"), "{shown}");
    vespiary(&place, &install).exits(0).complains(&["It has comments"]);
    assert!(fs::read_to_string(place.path("shared.json")).unwrap().contains("// ours"));
}

/// Settings come with a project, and a project may be hostile: looking at them must start nothing but this program, serving.
#[test]
fn what_a_projects_settings_name_is_not_started() {
    let place = Place::new();
    let trap = place.file("trap.sh", "#!/bin/sh\ntouch sprung\n");
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o755)).unwrap();
    let script = place.script("return await tool('exec.run', { program: 'touch', args: ['sprung'] })");
    let run = ["run", script.to_str().unwrap(), "--allow", "exec:touch", "--allow", "write:."];
    let entry =
        |command: &str, args: &[&str]| json!({ "mcpServers": { "vespiary": { "command": command, "args": args } } });
    for (settings, why) in [
        (entry(trap.to_str().unwrap(), &["mcp"]), "another program than this one"),
        (entry("./trap.sh", &["mcp"]), "another program than this one"),
        (entry("/bin/sh", &["-c", "touch sprung"]), "another program than this one"),
        (entry("no-such-program", &["mcp"]), "there is no program"),
        (entry(PROGRAM, &run), "does not start a server"),
        (entry(PROGRAM, &["mcp", "--http", "127.0.0.1:0"]), "does not start a server"),
        (entry(PROGRAM, &["mcp", "trust", "x", "--yes"]), "does not start a server"),
        (entry(PROGRAM, &["mcp", "--nonsense"]), "--nonsense"),
    ] {
        place.file(".mcp.json", settings.to_string());
        let checked = vespiary(&place, &["mcp", "doctor", "--json"]).exits(1).json("vespiary.mcp-doctor/1");
        let problem = checked["entries"][0]["problem"].as_str().unwrap();
        assert!(problem.contains(why), "{settings}: {problem}");
        assert!(!place.project().join("sprung").exists(), "{settings}");
    }
}
