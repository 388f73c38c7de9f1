//! `vespiary.lock`, its text: what is trusted of each server, with every tool's whole description, so that it can be listed without
//! asking the server and checked by anybody. Reads and writes text; the file is the roof's.

use crate::pin::{Pin, Tool};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use vespiary_kernel::ids::{Digest, PluginName};

/// What the file begins with.
const HEAD: &str = "# Written by `vespiary mcp trust`: what is trusted of each MCP server, and of each of its tools. A server or a tool\n\
                    # that is not as it stands here is not called. Keep it under version control; do not edit it by hand.\n\n";
/// The form of the file.
const VERSION: u32 = 1;

/// Everything that is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    pins: BTreeMap<PluginName, Pin>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    #[serde(default)]
    servers: BTreeMap<PluginName, WrittenPin>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPin {
    sha256: Digest,
    config: Vec<String>,
    #[serde(default, rename = "tool")]
    tools: Vec<WrittenTool>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTool {
    name: String,
    sha256: Digest,
    description: String,
}

impl Lock {
    /// Read the file's text.
    ///
    /// # Errors
    /// What is wrong with it, in words. Nothing of a file that is wrong anywhere is trusted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        if written.version != VERSION {
            return Err(format!("its form is {}, and this program knows {VERSION} only", written.version));
        }
        let mut pins = BTreeMap::new();
        for (name, WrittenPin { sha256, config, tools }) in written.servers {
            let mut pin = Pin { config, tools: BTreeMap::new() };
            for tool in tools {
                let broken = |why: &str| format!("the tool {:?} of {name} is not what was written: {why}", tool.name);
                let value: Value = serde_json::from_str(&tool.description).map_err(|e| broken(&e.to_string()))?;
                let read = Tool::of(&value).map_err(|why| broken(&why))?;
                if read.digest() != tool.sha256 || read.name() != tool.name {
                    return Err(broken("its digest is another"));
                }
                pin.tools.insert(tool.name.clone(), read);
            }
            if pin.digest() != sha256 {
                return Err(format!("what it says of {name} is not what was written: its digest is another"));
            }
            pins.insert(name, pin);
        }
        Ok(Self { pins })
    }

    /// The file's text.
    ///
    /// # Errors
    /// None that can happen: everything in it has a form in TOML.
    pub fn to_text(&self) -> Result<String, String> {
        let servers = self.pins.iter().map(|(name, pin)| {
            let tools = pin.tools.iter().map(|(name, tool)| WrittenTool {
                name: name.clone(),
                sha256: tool.digest(),
                description: tool.json().as_str().to_owned(),
            });
            let written = WrittenPin { sha256: pin.digest(), config: pin.config.clone(), tools: tools.collect() };
            (name.clone(), written)
        });
        let written = Written { version: VERSION, servers: servers.collect() };
        Ok(format!("{HEAD}{}", toml::to_string(&written).map_err(|error| error.to_string())?))
    }

    /// What is trusted of a server.
    pub fn pin(&self, name: &PluginName) -> Option<&Pin> {
        self.pins.get(name)
    }

    /// Everything that is trusted, by the servers' names.
    pub fn pins(&self) -> impl Iterator<Item = (&PluginName, &Pin)> {
        self.pins.iter()
    }

    /// Trust this of a server from now on, and nothing else.
    pub fn set(&mut self, name: PluginName, pin: Pin) {
        self.pins.insert(name, pin);
    }

    /// Trust nothing of a server. Whether anything was.
    pub fn remove(&mut self, name: &PluginName) -> bool {
        self.pins.remove(name).is_some()
    }

    /// Whether nothing is trusted.
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::program;
    use crate::pin::tests::tool;

    fn lock() -> Lock {
        let mut lock = Lock::default();
        let config = program("s", &["a'b\"c"], &[("T", "x")]);
        lock.set(
            "s".parse().unwrap(),
            Pin::of(&config, [tool("echo", "says \u{1b}[2J 'it' \"\"\" back"), tool("a.b/c", "")]),
        );
        lock.set("empty".parse().unwrap(), Pin::of(&program("empty", &[], &[]), []));
        lock
    }

    #[test]
    fn it_reads_back_what_it_wrote() {
        let mut lock = lock();
        let text = lock.to_text().unwrap();
        assert!(text.starts_with("# Written by") && !text.contains('\u{1b}'), "{text}");
        assert_eq!(Lock::parse(&text).unwrap(), lock);
        assert_eq!(text, Lock::parse(&text).unwrap().to_text().unwrap(), "the same every time");
        assert!(lock.remove(&"s".parse().unwrap()) && !lock.remove(&"s".parse().unwrap()) && !lock.is_empty());
    }

    #[test]
    fn an_edited_file_is_trusted_in_nothing() {
        let text = lock().to_text().unwrap();
        for (from, to) in [
            ("says ", "does "),
            ("command node", "command bash"),
            ("version = 1", "version = 2"),
            ("name = \"echo\"", "name = \"ecco\""),
        ] {
            assert!(text.contains(from), "{from}: {text}");
            assert!(Lock::parse(&text.replace(from, to)).is_err(), "{from} became {to}");
        }
        assert!(Lock::parse("version = 1\nextra = 2\n").unwrap_err().contains("extra"));
    }
}
