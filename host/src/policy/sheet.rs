//! One policy file, read: its text becomes a `Layer`, and everything in it that is wrong becomes a fault with its place. Opens
//! nothing; which files there are is told in `places`.

use super::doubt;
use super::fault::{FAULTS_MAX, Fault, Lines, meant};
use super::secret::{self, SecretRule};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use vespiary_kernel::account::{Ceiling, Resource};
use vespiary_kernel::capability::Capability;
use vespiary_kernel::host::{HostCeiling, HostLimits};
use vespiary_kernel::ids::{Digest, PluginName};
use vespiary_kernel::policy::{Layer, LayerKind, Place, PluginRule, Rule};
use vespiary_kernel::quota::{Quota, QuotaRequest};

/// Entries in one list of a file that somebody here wrote.
const ENTRIES_MAX: usize = 1_000;
/// Entries in one list of a file that came with a project. Each is compared with each other and with each grant: many, and
/// contrived ones, would keep every call waiting for minutes.
const ENTRIES_OF_PROJECT_MAX: usize = 64;
/// The longest a question may wait for a person.
const ASK_SECONDS_MAX: u64 = 86_400;
/// The most agents a run can be limited to.
const AGENTS_MAX: u64 = 100_000;

const KEYS: [&str; 8] = ["locked", "allow", "ask", "deny", "ask-timeout-seconds", "quota", "plugins", "secrets"];

/// What one file says.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// Its rules and ceilings.
    pub layer: Layer,
    /// Secrets it declares.
    pub secrets: Vec<SecretRule>,
    /// How long a question may wait, where it says so.
    pub ask_time_max: Option<Duration>,
    /// What is legal and probably not meant.
    pub doubts: Vec<Fault>,
}

impl Sheet {
    /// Of a layer without a file.
    pub fn bare(layer: Layer) -> Self {
        Self { layer, secrets: Vec::new(), ask_time_max: None, doubts: Vec::new() }
    }

    /// Read `text`, which stands in `file`, or tell all that is wrong with it.
    pub fn read(text: &str, file: &Arc<str>, kind: LayerKind) -> Result<Self, Vec<Fault>> {
        // An editor's byte order mark says nothing.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (table, broken) = DeTable::parse_recoverable(text);
        let entries_max = if kind == LayerKind::Project { ENTRIES_OF_PROJECT_MAX } else { ENTRIES_MAX };
        let mut reading = Reading { lines: Lines::of(text), file, entries_max, faults: Vec::new() };
        for error in &broken {
            let span = error.span().unwrap_or(0..0);
            reading.fault(&span, format!("this is not TOML: {}", error.message()), "correct it");
        }
        let broken_lines: HashSet<u32> = reading.faults.iter().map(|fault| fault.line).collect();
        let mut sheet = Self::bare(Layer::new(kind));
        reading.top(table.get_ref(), &mut sheet);
        let mut faults = reading.faults;
        // What could be made of a broken line says nothing about what was meant.
        faults.retain(|fault| fault.what.starts_with("this is not TOML") || !broken_lines.contains(&fault.line));
        if faults.is_empty() {
            sheet.doubts = doubt::doubts(&sheet.layer, file);
            return Ok(sheet);
        }
        faults.sort();
        faults.dedup();
        if let Some(more) = faults.len().checked_sub(FAULTS_MAX).filter(|more| *more > 0) {
            faults.truncate(FAULTS_MAX);
            faults.push(Fault::of_file(Arc::clone(file), format!("and {more} more faults"), "correct these first"));
        }
        Err(faults)
    }

    /// Both together as one layer: fragments of one file. What either says holds; two secrets of one name are a fault.
    pub fn join(&mut self, other: Sheet) -> Vec<Fault> {
        let (own, theirs) = (&mut self.layer, other.layer);
        match (&mut own.allow, theirs.allow) {
            (Some(own), Some(theirs)) => own.extend(theirs),
            (own, theirs) => *own = own.take().or(theirs),
        }
        match (&mut own.plugins, theirs.plugins) {
            (Some(own), Some(theirs)) => own.extend(theirs),
            (own, theirs) => *own = own.take().or(theirs),
        }
        own.ask.extend(theirs.ask);
        own.deny.extend(theirs.deny);
        own.locked = own.locked.take().or(theirs.locked);
        own.call = own.call.lower_of(&theirs.call);
        own.agent = own.agent.lower_of(&theirs.agent);
        own.run = own.run.lower_of(&theirs.run);
        own.host = own.host.lower_of(&theirs.host);
        own.agents_max = own.agents_max.into_iter().chain(theirs.agents_max).min();
        self.ask_time_max = self.ask_time_max.into_iter().chain(other.ask_time_max).min();
        self.doubts.extend(other.doubts);
        let mut faults = Vec::new();
        for secret in other.secrets {
            match self.secrets.iter().find(|own| own.name == secret.name) {
                Some(own) => {
                    let what = format!("the secret {} is declared at {} already", secret.name, own.place);
                    let place = &secret.place;
                    let fault = Fault::of_file(Arc::clone(&place.source), what, "keep one of the two");
                    faults.push(Fault { line: place.line, ..fault });
                }
                None => self.secrets.push(secret),
            }
        }
        faults
    }
}

/// A value with its place.
pub(crate) type Value<'a, 'i> = &'a Spanned<DeValue<'i>>;

/// A file on its way to a sheet, or to whatever else it says.
pub(crate) struct Reading<'a> {
    lines: Lines<'a>,
    file: &'a Arc<str>,
    entries_max: usize,
    faults: Vec<Fault>,
}

impl<'a> Reading<'a> {
    /// `text`, which stands in `file`.
    pub(crate) fn of(text: &'a str, file: &'a Arc<str>) -> Self {
        Self { lines: Lines::of(text), file, entries_max: ENTRIES_OF_PROJECT_MAX, faults: Vec::new() }
    }

    /// How much was wrong with it so far.
    pub(crate) fn fault_count(&self) -> usize {
        self.faults.len()
    }

    /// What was wrong with it.
    pub(crate) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    pub(crate) fn fault(&mut self, span: &Range<usize>, what: impl Into<String>, next: impl Into<String>) {
        let (line, column) = self.lines.place(span.start);
        self.faults.push(Fault { file: Arc::clone(self.file), line, column, what: what.into(), next: next.into() });
    }

    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        Place { source: Arc::clone(self.file), line: self.lines.place(span.start).0 }
    }

    /// A key that does not belong in `of`.
    pub(crate) fn unknown(&mut self, span: &Range<usize>, key: &str, of: &str, known: &[&str]) {
        let next = match meant(key, known.iter().copied()) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("the keys are {}", known.join(", ")),
        };
        self.fault(span, format!("{of} has no key {key:?}"), next);
    }

    /// A value of the wrong sort.
    pub(crate) fn sort(&mut self, value: Value<'_, '_>, name: &str, wanted: &str, example: &str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.fault(&value.span(), format!("{name} is {found} and must be {wanted}"), format!("write {example}"));
    }

    fn top(&mut self, table: &DeTable<'_>, sheet: &mut Sheet) {
        for (key, value) in table.iter() {
            match key.get_ref().as_ref() {
                "locked" => match value.get_ref().as_bool() {
                    Some(true) => sheet.layer.locked = Some(self.place(&key.span())),
                    Some(false) => {}
                    None => self.sort(value, "locked", "true or false", "locked = true"),
                },
                "allow" => sheet.layer.allow = self.rules(value, "allow"),
                "ask" => sheet.layer.ask = self.rules(value, "ask").unwrap_or_default(),
                "deny" => sheet.layer.deny = self.rules(value, "deny").unwrap_or_default(),
                "ask-timeout-seconds" => {
                    let seconds = self.number(value, "ask-timeout-seconds", 1, ASK_SECONDS_MAX);
                    sheet.ask_time_max = seconds.map(Duration::from_secs);
                }
                "quota" => self.quota(value, &mut sheet.layer),
                "plugins" => sheet.layer.plugins = self.plugins(value),
                "secrets" if sheet.layer.kind == LayerKind::Project => self.fault(
                    &key.span(),
                    "a project's policy declares secrets",
                    "take them out: only the administrator's and the user's own may say where secrets are kept",
                ),
                "secrets" => sheet.secrets = secret::read(self, value),
                other => self.unknown(&key.span(), other, "a policy", &KEYS),
            }
        }
    }

    fn rules(&mut self, value: Value<'_, '_>, name: &str) -> Option<Vec<Rule>> {
        let example = format!("{name} = [\"read:src\", \"tool:files.*\"]");
        let Some(entries) = value.get_ref().as_array() else {
            self.sort(value, name, "a list of capabilities", &example);
            return None;
        };
        if entries.len() > self.entries_max {
            let what = format!("{name} has {} entries; at most {} are read", entries.len(), self.entries_max);
            self.fault(&value.span(), what, "say it with fewer: * and ** in paths, tool:PLUGIN.*, net:*.DOMAIN");
            return None;
        }
        let mut rules: Vec<Rule> = Vec::with_capacity(entries.len());
        for entry in entries.iter() {
            let Some(text) = entry.get_ref().as_str() else {
                self.sort(entry, &format!("an entry of {name}"), "a capability in quotes", &example);
                continue;
            };
            let capability = match text.parse::<Capability>() {
                Ok(capability) => capability,
                Err(error) => {
                    self.fault(&entry.span(), error.to_string(), "correct it");
                    continue;
                }
            };
            if name == "ask"
                && let Some((what, next)) = unaskable(&capability)
            {
                self.fault(&entry.span(), what, next);
                continue;
            }
            match rules.iter().find(|rule| rule.capability == capability) {
                Some(first) => {
                    let what = format!("{capability} stands in {name} twice, first in line {}", first.place.line);
                    self.fault(&entry.span(), what, "remove one");
                }
                None => rules.push(Rule { capability, place: self.place(&entry.span()) }),
            }
        }
        Some(rules)
    }

    /// A whole number between two bounds.
    pub(crate) fn number(&mut self, value: Value<'_, '_>, name: &str, least: u64, most: u64) -> Option<u64> {
        let Some(integer) = value.get_ref().as_integer() else {
            self.sort(value, name, "a whole number", &format!("{name} = {least}"));
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let fits = number.filter(|number| (least..=most).contains(number));
        if fits.is_none() {
            let what = format!("{name} is {integer}");
            self.fault(&value.span(), what, format!("choose a value between {least} and {most}"));
        }
        fits
    }

    fn quota(&mut self, value: Value<'_, '_>, layer: &mut Layer) {
        let Some(table) = value.get_ref().as_table() else {
            return self.sort(value, "quota", "a table", "[quota.call]");
        };
        for (key, value) in table.iter() {
            let (name, Some(limits)) = (key.get_ref().as_ref(), value.get_ref().as_table()) else {
                self.sort(value, &format!("quota.{}", key.get_ref()), "a table", "[quota.call]");
                continue;
            };
            match name {
                "call" => layer.call = self.call(limits),
                "agent" => layer.agent = self.ceiling(limits, "quota.agent", &mut None),
                "run" => layer.run = self.ceiling(limits, "quota.run", &mut layer.agents_max),
                "host" => layer.host = self.host(limits),
                other => self.unknown(&key.span(), other, "quota", &["call", "agent", "run", "host"]),
            }
        }
    }

    fn call(&mut self, table: &DeTable<'_>) -> QuotaRequest {
        self.quota_of_call(table, "quota.call")
    }

    /// The limits of one call, in a table called `of`.
    pub(crate) fn quota_of_call(&mut self, table: &DeTable<'_>, of: &str) -> QuotaRequest {
        let known: Vec<String> = Quota::default().rows().iter().map(|(name, ..)| format!("{name}-max")).collect();
        let mut all = QuotaRequest::default();
        for (key, value) in self.limits(table, of, &known) {
            let Some(one) = single::<QuotaRequest>(&key, value.0) else { continue };
            match one.faults().pop() {
                Some(why) => self.fault(&value.1, why, "choose a value within its bounds"),
                None => all = all.lower_of(&one),
            }
        }
        all
    }

    fn host(&mut self, table: &DeTable<'_>) -> HostCeiling {
        let known: Vec<String> = HostLimits::default().rows().iter().map(|(name, ..)| format!("{name}-max")).collect();
        let mut all = HostCeiling::default();
        for (key, value) in self.limits(table, "quota.host", &known) {
            let Some(one) = single::<HostCeiling>(&key, value.0) else { continue };
            match one.faults().pop() {
                Some(why) => self.fault(&value.1, why, "choose a value within its bounds"),
                None => all = all.lower_of(&one),
            }
        }
        all
    }

    fn ceiling(&mut self, table: &DeTable<'_>, of: &str, agents_max: &mut Option<u64>) -> Ceiling {
        let mut known: Vec<String> = Resource::all().map(|resource| format!("{}-max", resource.name())).collect();
        if of == "quota.run" {
            known.push("agents-max".into());
        }
        let mut all = Ceiling::default();
        for (key, (number, span)) in self.limits(table, of, &known) {
            if key == "agents-max" {
                match number {
                    0..=AGENTS_MAX => *agents_max = Some(number),
                    _ => {
                        let what = format!("agents-max is {number}");
                        self.fault(&span, what, format!("choose a value between 0 and {AGENTS_MAX}"));
                    }
                }
            } else if let Some(one) = single::<Ceiling>(&key, number) {
                all = all.lower_of(&one);
            }
        }
        all
    }

    /// The known keys of a table of limits with their numbers and places.
    fn limits(&mut self, table: &DeTable<'_>, of: &str, known: &[String]) -> Vec<(String, (u64, Range<usize>))> {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let mut found = Vec::new();
        for (key, value) in table.iter() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                self.unknown(&key.span(), name, of, &known);
            } else if let Some(number) = self.number(value, name, 0, i64::MAX as u64) {
                found.push((name.to_owned(), (number, value.span())));
            }
        }
        found
    }

    fn plugins(&mut self, value: Value<'_, '_>) -> Option<Vec<PluginRule>> {
        const EXAMPLE: &str = "[[plugins]] with name = \"mine\" and sha256 = \"...\" below it";
        let Some(entries) = value.get_ref().as_array().filter(|entries| entries.len() <= ENTRIES_MAX) else {
            self.sort(value, "plugins", &format!("a list of at most {ENTRIES_MAX} tables"), EXAMPLE);
            return None;
        };
        let mut rules: Vec<PluginRule> = Vec::new();
        for entry in entries.iter() {
            let Some(table) = entry.get_ref().as_table() else {
                self.sort(entry, "an entry of plugins", "a table", EXAMPLE);
                continue;
            };
            let name = self.member::<PluginName>(table, "name", "mine");
            let digest = self.member::<Digest>(table, "sha256", "64 hexadecimal digits");
            for (key, _) in table.iter().filter(|(key, _)| !matches!(key.get_ref().as_ref(), "name" | "sha256")) {
                self.unknown(&key.span(), key.get_ref(), "a plugin of a policy", &["name", "sha256"]);
            }
            if table.get("name").is_none() {
                self.fault(&entry.span(), "a plugin has no name", "add name = \"...\"");
            }
            let Some(name) = name else { continue };
            // A digest that cannot be read must not become a rule for any component.
            if digest.is_none() && table.get("sha256").is_some() {
                continue;
            }
            if rules.iter().any(|rule| rule.name == name && rule.digest == digest) {
                self.fault(&entry.span(), format!("the plugin {name} is listed twice"), "remove one");
                continue;
            }
            rules.push(PluginRule { name, digest, place: self.place(&entry.span()) });
        }
        Some(rules)
    }

    /// A member that is text and parses.
    pub(crate) fn member<T>(&mut self, table: &DeTable<'_>, name: &str, example: &str) -> Option<T>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let value = table.get(name)?;
        let Some(text) = value.get_ref().as_str() else {
            self.sort(value, name, "text", &format!("{name} = \"{example}\""));
            return None;
        };
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let what = format!("{name} is {:?}: {error}", text.chars().take(100).collect::<String>());
                self.fault(&value.span(), what, format!("write {name} = \"{example}\""));
                None
            }
        }
    }
}

/// What is wrong with a question about `capability`, and what to do, where nobody can be asked it: agents are started between
/// calls, and only calls wait for a person. A rule that is never asked would allow what it is meant to hold up.
pub(super) fn unaskable(capability: &Capability) -> Option<(String, &'static str)> {
    let next = "deny it, or lower agents-max in [quota.run]";
    matches!(capability, Capability::Spawn(_)).then(|| (format!("{capability} cannot be asked about"), next))
}

/// A table of limits with one row, as the kernel reads it.
fn single<T: DeserializeOwned>(key: &str, number: u64) -> Option<T> {
    let number = i64::try_from(number).ok()?;
    toml::Table::from_iter([(key.to_owned(), toml::Value::Integer(number))]).try_into().ok()
}

#[cfg(test)]
mod tests;
