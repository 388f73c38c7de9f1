//! What is configured of a server: how it is reached, which variables it is given, what it needs. All of it is a stranger's
//! words until a person has trusted it; it names needs, and grants nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::ids::{Digest, PluginName, ToolName};
use vespiary_kernel::net::{NetPattern, NetTarget, PathPattern};
use vespiary_kernel::pattern::VariableName;
use vespiary_kernel::plugin::{Kind, Need, Plugin, Trust};
use vespiary_kernel::program::ProgramName;
use vespiary_kernel::quota::{Quota, QuotaRequest};

/// Requests a second, and their most.
pub const REQUESTS_PER_SECOND: (u32, u32) = (20, 1_000);
/// Requests under way at once, and their most.
pub const REQUESTS_AT_ONCE: (u32, u32) = (32, 256);
/// Memory of a server's processes together, its least and its most, bytes.
pub const MEMORY_BYTES: (u64, u64, u64) = (1 << 30, 16 << 20, 64 << 30);

/// What a call to a server may use where nobody says otherwise: somebody else's machine may take its time.
pub const QUOTA: QuotaRequest = QuotaRequest {
    wall_time_ms_max: Some(600_000),
    idle_time_ms_max: Some(120_000),
    result_bytes_max: Some(8 << 20),
    cpu_time_ms_max: None,
    memory_bytes_max: None,
    table_elements_max: None,
    instances_max: None,
    log_bytes_max: None,
    open_files_max: None,
    bytes_written_max: None,
    files_written_max: None,
    http_requests_max: None,
    http_bytes_out_max: None,
    http_bytes_in_max: None,
    artifact_bytes_max: None,
    tool_calls_max: None,
};

/// One configured server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Its name, which is also its plugin's.
    pub name: PluginName,
    /// How it is reached.
    pub way: Way,
    /// What it needs beyond what its way says: `read:`, `write:` and `net:` of a program.
    pub needs: Vec<Capability>,
    /// Limits it would like in place of [`QUOTA`].
    pub quota: QuotaRequest,
    /// Requests a second, everybody's together.
    pub requests_per_second_max: u32,
    /// Requests under way at once, everybody's together.
    pub requests_at_once_max: u32,
    /// Memory of its processes together, bytes.
    pub memory_bytes_max: u64,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A program of this machine that speaks over its standard streams.
    Program {
        /// The program.
        program: ProgramName,
        /// Its arguments.
        args: Vec<Template>,
        /// Its environment.
        env: BTreeMap<String, Template>,
        /// Where it starts, below the project.
        dir: Option<String>,
    },
    /// Streamable HTTP.
    Http {
        /// Where, in full. It has been read as a target once.
        url: String,
        /// Headers that go with each request, names in lower case.
        headers: BTreeMap<String, Template>,
    },
}

impl ServerConfig {
    /// A server with the usual limits.
    pub fn new(name: PluginName, way: Way) -> Self {
        Self {
            name,
            way,
            needs: Vec::new(),
            quota: QUOTA,
            requests_per_second_max: REQUESTS_PER_SECOND.0,
            requests_at_once_max: REQUESTS_AT_ONCE.0,
            memory_bytes_max: MEMORY_BYTES.0,
        }
    }

    /// Everything a caller must hold, and why. None of it is optional: what is shared by everybody is given to nobody who
    /// could not have it alone.
    pub fn needs(&self) -> Vec<Need> {
        let need =
            |capability, reason: &str| Need { capability, reason: reason.into(), tools: Vec::new(), optional: false };
        let mut needs = match &self.way {
            Way::Program { program, .. } => vec![need(Capability::Exec(program.clone()), "the server's program")],
            Way::Http { url, .. } => {
                let target = NetTarget::of_url("POST", url).ok();
                let net =
                    target.map(|target| NetPattern { method: None, path: PathPattern::any(), ..target.smallest() });
                net.map(|net| need(Capability::Net(net), "where the server is")).into_iter().collect()
            }
        };
        let variables: BTreeSet<&VariableName> = self.templates().flat_map(Template::variables).collect();
        needs.extend(variables.into_iter().map(|name| need(Capability::Env(name.clone()), "passed on to the server")));
        needs.extend(self.needs.iter().map(|held| need(held.clone(), "the server's configuration asks for it")));
        needs
    }

    /// The plugin that stands for it; `digest` is of what is trusted of it, or of its configuration where nothing is.
    pub fn plugin(&self, digest: Digest) -> Plugin {
        let quota = self.quota.applied_to(&Quota::default()).unwrap_or_default();
        Plugin {
            name: self.name.clone(),
            version: "-".into(),
            kind: Kind::Mcp,
            description: format!("Tools of the MCP server {} ({self})", self.name),
            digest,
            trust: Trust::Added,
            quota,
            annotations: BTreeMap::new(),
            needs: self.needs(),
        }
    }

    /// The tool by which its plugin is called.
    pub fn entry(&self) -> ToolName {
        ToolName::of_agent(&self.name)
    }

    /// What is pinned of the configuration, one thing a row, always in the same order. A value that is spelled out is named by
    /// its digest: it may be a password.
    pub fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        match &self.way {
            Way::Program { program, args, env, dir } => {
                rows.push(format!("command {program}"));
                rows.extend(args.iter().map(|arg| format!("argument {arg}")));
                rows.extend(env.iter().map(|(name, value)| format!("variable {name} = {}", value.discreet())));
                rows.extend(dir.iter().map(|dir| format!("directory {dir}")));
            }
            Way::Http { url, headers } => {
                rows.push(format!("url {url}"));
                rows.extend(headers.iter().map(|(name, value)| format!("header {name} = {}", value.discreet())));
            }
        }
        rows.extend(self.needs().iter().map(|need| format!("needs {}", need.capability)));
        rows
    }

    fn templates(&self) -> Box<dyn Iterator<Item = &Template> + '_> {
        match &self.way {
            Way::Program { args, env, .. } => Box::new(args.iter().chain(env.values())),
            Way::Http { headers, .. } => Box::new(headers.values()),
        }
    }
}

/// How it is reached, on one line: no value that is spelled out in its environment or headers.
impl fmt::Display for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Program { program, args, .. } => {
                write!(f, "{program}")?;
                args.iter().try_for_each(|arg| write!(f, " {arg}"))
            }
            Way::Http { url, .. } => f.write_str(url),
        }
    }
}

/// Text with variables in it: `${NAME}`, and `${NAME:-what stands where it is not set}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    written: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable { name: VariableName, default: Option<String> },
}

/// A variable without a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the variable {0} is not set; set it, or write ${{{0}:-VALUE}} in the server's configuration")]
pub struct NotSet(pub VariableName);

impl Template {
    /// The variables it names.
    pub fn variables(&self) -> impl Iterator<Item = &VariableName> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable { name, .. } => Some(name),
            Part::Text(_) => None,
        })
    }

    /// The text with every variable's value in its place.
    ///
    /// # Errors
    /// The first variable that has neither a value nor a default.
    pub fn filled<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Result<String, NotSet> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(own) => text.push_str(own),
                Part::Variable { name, default } => {
                    // Set to nothing is as good as not set, as in a shell.
                    let found = value(name.as_str()).filter(|value| default.is_none() || !value.is_empty());
                    text.push_str(found.or(default.as_deref()).ok_or_else(|| NotSet(name.clone()))?);
                }
            }
        }
        Ok(text)
    }

    /// As it is written where it names variables; its digest where it is a value.
    fn discreet(&self) -> String {
        match self.variables().next() {
            Some(_) => self.written.clone(),
            None => format!("sha256 {}", Digest::of(self.written.as_bytes())),
        }
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, after) = rest.split_at(at);
            let Some((inside, behind)) = after[2..].split_once('}') else {
                return Err("${ is never closed; write ${NAME}".into());
            };
            let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, or)| (name, Some(or)));
            let name = name.parse().map_err(|why: String| format!("${{{inside}}}: {why}"))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Variable { name, default: default.map(str::to_owned) });
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if text.contains('\0') {
            return Err("it holds a NUL, which no program can be given".into());
        }
        Ok(Self { written: text.to_owned(), parts })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn program(name: &str, args: &[&str], env: &[(&str, &str)]) -> ServerConfig {
        let way = Way::Program {
            program: "node".parse().unwrap(),
            args: args.iter().map(|arg| arg.parse().unwrap()).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), value.parse().unwrap())).collect(),
            dir: None,
        };
        ServerConfig::new(name.parse().unwrap(), way)
    }

    #[test]
    fn variables_are_filled_as_a_shell_would() {
        let value = |name: &str| match name {
            "A" => Some("1"),
            "EMPTY" => Some(""),
            _ => None,
        };
        for (text, filled) in [
            ("plain $A", "plain $A"),
            ("${A}", "1"),
            ("x${A}y${A}z", "x1y1z"),
            ("${B:-two}", "two"),
            ("${A:-two}", "1"),
            ("${EMPTY}", ""),
            ("${EMPTY:-two}", "two"),
            ("${B:-}", ""),
            ("", ""),
        ] {
            assert_eq!(text.parse::<Template>().unwrap().filled(value).as_deref(), Ok(filled), "{text}");
        }
        let error = "${B}".parse::<Template>().unwrap().filled(value).unwrap_err().to_string();
        assert!(error.contains("B is not set") && error.contains("${B:-VALUE}"), "{error}");
        for bad in ["${", "${A", "${}", "${A B}", "${1}", "${A-x}", "a\0"] {
            assert!(bad.parse::<Template>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn all_that_is_used_is_needed() {
        let mut server = program("s", &["server.js", "${DIR}"], &[("TOKEN", "${TOKEN}"), ("MODE", "fast")]);
        server.needs = vec!["read:server.js".parse().unwrap()];
        let needs: Vec<_> = server.needs().iter().map(|need| need.capability.to_string()).collect();
        assert_eq!(needs, ["exec:node", "env:DIR", "env:TOKEN", "read:server.js"]);
        assert!(server.needs().iter().all(|need| !need.optional && !need.reason.is_empty()));
        for (url, net) in [
            ("https://mcp.example.com/v1", "net:mcp.example.com"),
            ("http://localhost:8080/mcp", "net:localhost:8080"),
            ("http://127.0.0.1:80/", "net:127.0.0.1:80"),
        ] {
            let headers = BTreeMap::from([("authorization".to_owned(), "Bearer ${T}".parse().unwrap())]);
            let server = ServerConfig::new("h".parse().unwrap(), Way::Http { url: url.into(), headers });
            let needs: Vec<_> = server.needs().iter().map(|need| need.capability.to_string()).collect();
            assert_eq!(needs, [net, "env:T"]);
        }
    }

    #[test]
    fn rows_hold_all_that_matters_and_no_password() {
        let rows = program("s", &["a"], &[("TOKEN", "hunter2"), ("OTHER", "${X}")]).rows();
        assert!(rows.iter().all(|row| !row.contains("hunter2")), "{rows:?}");
        assert!(rows.contains(&"variable OTHER = ${X}".to_owned()) && rows.contains(&"argument a".to_owned()));
        let other = program("s", &["a"], &[("TOKEN", "hunter3"), ("OTHER", "${X}")]).rows();
        assert_ne!(rows, other, "a value that changes is seen");
        assert_ne!(rows, program("s", &["b"], &[("TOKEN", "hunter2"), ("OTHER", "${X}")]).rows());
    }

    #[test]
    fn the_usual_limits_are_within_bounds() {
        let plugin = program("s", &[], &[]).plugin(Digest::of(b"x"));
        assert_eq!(plugin.quota.wall_time_max.as_secs(), 600);
        assert_eq!(plugin.kind, Kind::Mcp);
    }
}
