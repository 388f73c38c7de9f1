//! A server as a file writes it, made into one that is configured: every field judged, everything that is wrong told. What both
//! files have in common; where a fault stands, each of them knows.

use std::path::Path;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::ids::PluginName;
use vespiary_kernel::net::NetTarget;
use vespiary_kernel::quota::{Quota, QuotaRequest};
use vespiary_mcp::config::{QUOTA, ServerConfig, Template, Way};

/// Arguments, variables and headers, each, of one server.
const PARTS_MAX: usize = 256;
/// What it may need beside its program and variables.
const NEEDS_MAX: usize = 64;
/// Headers that the protocol, or the connection, sets itself.
const RESERVED: &[&str] = &[
    "accept",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a file says of a server.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) command: Option<String>,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) dir: Option<String>,
    pub(super) url: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) needs: Vec<String>,
    pub(super) quota: QuotaRequest,
    pub(super) requests_per_second_max: Option<u64>,
    pub(super) requests_at_once_max: Option<u64>,
    pub(super) memory_bytes_max: Option<u64>,
}

/// One thing that is wrong, and under which key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) key: &'static str,
    pub(super) what: String,
    pub(super) next: String,
}

/// Faults on their way.
struct Wrongs(Vec<Wrong>);

impl Wrongs {
    fn say(&mut self, key: &'static str, what: impl Into<String>, next: impl Into<String>) {
        self.0.push(Wrong { key, what: what.into(), next: next.into() });
    }

    fn template(&mut self, key: &'static str, text: &str) -> Option<Template> {
        text.parse().map_err(|why: String| self.say(key, format!("{key}: {why}"), "correct it")).ok()
    }

    /// Named values, sorted by their names.
    fn named<C: FromIterator<(String, Template)>>(&mut self, key: &'static str, of: &[(String, String)]) -> C {
        if of.len() > PARTS_MAX {
            self.say(key, format!("{key} has {} entries; at most {PARTS_MAX} are read", of.len()), "say less");
        }
        let read = of.iter().take(PARTS_MAX);
        read.filter_map(|(name, value)| Some((name.clone(), self.template(key, value)?))).collect()
    }
}

impl Draft {
    /// The server it describes, in a project at `root`.
    pub(super) fn build(self, name: &str, root: &Path) -> Result<ServerConfig, Vec<Wrong>> {
        let mut wrongs = Wrongs(Vec::new());
        let named = name.parse::<PluginName>();
        if let Err(error) = &named {
            wrongs.say("", error.to_string(), "rename the server");
        }
        let way = match (&self.command, &self.url) {
            (Some(command), None) => self.program(command, root, &mut wrongs),
            (None, Some(url)) => self.http(url, &mut wrongs),
            (Some(_), Some(_)) => {
                wrongs.say("url", "it has a command and a url", "keep one: a server is a program, or it is elsewhere");
                None
            }
            (None, None) => {
                wrongs.say(
                    "",
                    "it has neither a command nor a url",
                    "write command = \"PROGRAM\" or url = \"https://...\"",
                );
                None
            }
        };
        let needs = self.needs(&mut wrongs);
        for why in self.quota.faults() {
            wrongs.say("quota", why, "choose a value within its bounds");
        }
        match (named, way) {
            (Ok(name), Some(way)) if wrongs.0.is_empty() => {
                let mut server = ServerConfig::new(name, way);
                let small = |given: Option<u64>, usual: u32| given.and_then(|n| u32::try_from(n).ok()).unwrap_or(usual);
                server.requests_per_second_max = small(self.requests_per_second_max, server.requests_per_second_max);
                server.requests_at_once_max = small(self.requests_at_once_max, server.requests_at_once_max);
                server.memory_bytes_max = self.memory_bytes_max.unwrap_or(server.memory_bytes_max);
                server.quota = over(self.quota, QUOTA);
                server.needs = needs;
                Ok(server)
            }
            _ => Err(wrongs.0),
        }
    }

    fn program(&self, command: &str, root: &Path, wrongs: &mut Wrongs) -> Option<Way> {
        if !self.headers.is_empty() {
            wrongs.say("headers", "a program has headers", "remove them: they go with a url");
        }
        let program = match command.parse() {
            Ok(program) => Some(program),
            Err(_) if command.contains("${") => {
                let next = "write the program itself: whoever grants exec: must see what is started";
                wrongs.say("command", "the command is not plain: it has a variable in it", next);
                None
            }
            Err(error) => {
                wrongs.say(
                    "command",
                    format!("{error}"),
                    "write a program's name, or its absolute path; its arguments are args",
                );
                None
            }
        };
        if self.args.len() > PARTS_MAX {
            wrongs.say(
                "args",
                format!("args has {} entries; at most {PARTS_MAX} are read", self.args.len()),
                "say less",
            );
        }
        let args = self.args.iter().take(PARTS_MAX).filter_map(|arg| wrongs.template("args", arg)).collect();
        for (name, _) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                wrongs.say("env", format!("{name:?} names no variable"), "write a name of letters, digits and '_'");
            }
        }
        let env = wrongs.named("env", &self.env);
        let dir = self.dir.as_deref().and_then(|dir| match below(dir, root) {
            Ok(dir) => dir,
            Err(what) => {
                wrongs.say("dir", what, "name a directory below the project, for example tools/server");
                None
            }
        });
        Some(Way::Program { program: program?, args, env, dir })
    }

    fn http(&self, url: &str, wrongs: &mut Wrongs) -> Option<Way> {
        if !self.args.is_empty() || !self.env.is_empty() || self.dir.is_some() {
            wrongs.say("url", "a server elsewhere has args, env or a directory", "remove them: they go with a command");
        }
        let mut headers = self.headers.clone();
        for (name, _) in &mut headers {
            *name = name.to_ascii_lowercase();
            let fits =
                (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            if !fits || RESERVED.contains(&name.as_str()) {
                wrongs.say("headers", format!("{name:?} is no header that can be set"), "remove it");
            }
        }
        let headers = wrongs.named("headers", &headers);
        if url.contains("${") {
            let next = "write it out: whoever grants net: must see where requests go; put what is secret into a header";
            wrongs.say("url", "the url is not plain: it has a variable in it", next);
            return None;
        }
        let authority = url.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(""));
        if authority.contains('@') {
            wrongs.say("url", "the url has a name or a password in it", "put it into a header, as ${VARIABLE}");
            return None;
        }
        match NetTarget::of_url("POST", url) {
            Ok(_) => Some(Way::Http { url: url.to_owned(), headers }),
            Err(error) => {
                wrongs.say("url", error.why, "write https://HOST/PATH");
                None
            }
        }
    }

    fn needs(&self, wrongs: &mut Wrongs) -> Vec<Capability> {
        if self.needs.len() > NEEDS_MAX {
            wrongs.say(
                "needs",
                format!("needs has {} entries; at most {NEEDS_MAX} are read", self.needs.len()),
                "say less",
            );
        }
        let mut needs = Vec::new();
        for text in self.needs.iter().take(NEEDS_MAX) {
            match text.parse::<Capability>() {
                Ok(held @ (Capability::Read(_) | Capability::Write(_) | Capability::Net(_))) => {
                    if !needs.contains(&held) {
                        needs.push(held);
                    }
                }
                Ok(other) => {
                    let next =
                        "needs are read:, write: and net:; the program and its variables are needed of themselves";
                    wrongs.say("needs", format!("a server cannot need {other}"), next);
                }
                Err(error) => wrongs.say("needs", error.to_string(), "correct it"),
            }
        }
        needs
    }
}

/// Each row of `given`, or where it says nothing, of `usual`.
fn over(given: QuotaRequest, usual: QuotaRequest) -> QuotaRequest {
    // Both lie within their bounds; what is the same as the default says nothing.
    let base = usual.applied_to(&Quota::default()).unwrap_or_default();
    let all = given.applied_to(&base).unwrap_or(base);
    let rows = all.rows().into_iter();
    let table = rows
        .filter_map(|(name, most, _)| Some((format!("{name}-max"), toml::Value::Integer(i64::try_from(most).ok()?))));
    toml::Table::from_iter(table).try_into().unwrap_or(usual)
}

/// `dir` relative to the project; none for the project itself.
fn below(dir: &str, root: &Path) -> Result<Option<String>, String> {
    let refuse = || format!("{dir:?} is not a directory below the project");
    let inside = match Path::new(dir).strip_prefix(root) {
        Ok(inside) => inside.to_str().ok_or_else(refuse)?.to_owned(),
        Err(_) => dir.to_owned(),
    };
    let parts: Vec<&str> = inside.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if inside.starts_with('/') || parts.contains(&"..") || inside.chars().any(char::is_control) || inside.contains("${")
    {
        return Err(refuse());
    }
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(command: &str) -> Draft {
        Draft { command: Some(command.into()), ..Draft::default() }
    }

    fn wrong(draft: Draft) -> String {
        let wrongs = draft.build("s", Path::new("/project")).unwrap_err();
        wrongs.iter().map(|wrong| format!("{}: {}; {}\n", wrong.key, wrong.what, wrong.next)).collect()
    }

    #[test]
    fn a_server_is_what_the_file_says() {
        let draft = Draft {
            args: vec!["server.js".into()],
            env: vec![("T".into(), "${T:-x}".into())],
            dir: Some("/project/tools/".into()),
            needs: vec!["read:tools".into(), "read:tools".into()],
            quota: QuotaRequest { idle_time_ms_max: Some(5_000), ..QuotaRequest::default() },
            requests_per_second_max: Some(3),
            ..program("node")
        };
        let server = draft.build("s", Path::new("/project")).unwrap();
        assert_eq!((server.requests_per_second_max, server.needs.len()), (3, 1));
        assert!(matches!(&server.way, Way::Program { dir: Some(dir), .. } if dir == "tools"));
        let quota = server.plugin(vespiary_kernel::ids::Digest::of(b"")).quota;
        assert_eq!((quota.idle_time_max.as_millis(), quota.wall_time_max.as_secs()), (5_000, 600));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        for (draft, why) in [
            (Draft::default(), "neither a command nor a url"),
            (program("./server"), "absolute path"),
            (program("${HOME}/server"), "must see what is started"),
            (program("node server.js"), "its arguments are args"),
            (Draft { args: vec!["${".into()], ..program("node") }, "never closed"),
            (Draft { dir: Some("../x".into()), ..program("node") }, "below the project"),
            (Draft { dir: Some("/etc".into()), ..program("node") }, "below the project"),
            (Draft { url: Some("https://a.example".into()), ..program("node") }, "a command and a url"),
            (Draft { needs: vec!["exec:sh".into()], ..program("node") }, "cannot need exec:sh"),
            (Draft { needs: vec!["tool:*".into()], ..program("node") }, "cannot need tool:*"),
            (Draft { url: Some("ftp://a".into()), ..Draft::default() }, "neither http nor https"),
            (Draft { url: Some("https://${H}/".into()), ..Draft::default() }, "must see where requests go"),
            (Draft { url: Some("https://u:p@a.example/".into()), ..Draft::default() }, "a password in it"),
            (
                Draft {
                    url: Some("https://a.example".into()),
                    headers: vec![("Host".into(), "b".into())],
                    ..Draft::default()
                },
                "no header that can be set",
            ),
        ] {
            let said = wrong(draft);
            assert!(said.contains(why), "{said} does not say {why}");
        }
        let error = program("node").build("My Server", Path::new("/p")).unwrap_err();
        assert!(error[0].next.contains("rename"), "{error:?}");
    }
}
