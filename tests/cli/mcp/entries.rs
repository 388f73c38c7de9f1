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
    place.file(".cursor/mcp.json", "{ broken");
    vespiary(&place, &["mcp", "install", "cursor", "--yes"]).exits(2).complains(&["cannot be read", "by hand"]);
    assert_eq!(fs::read_to_string(place.project().join(".cursor/mcp.json")).unwrap(), "{ broken");
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
