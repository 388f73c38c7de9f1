//! The policy of one invocation: which files there are, what they say, and the kernel's `Policy` made of them. Everything that
//! is wrong in any of them is told at once, and while anything is, nothing runs. No judgement lives here; that is the kernel's.

mod anchor;
pub mod doubt;
pub mod fault;
pub mod places;
pub mod secret;
pub mod sheet;

use fault::{Fault, Faults};
use places::{Found, Places};
use secret::SecretRule;
use sheet::Sheet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::path::ScopePath;
use vespiary_kernel::policy::{Layer, LayerKind, Place, Policy, Rule};

/// How long a question waits for a person where no policy says otherwise.
pub const ASK_TIME_MAX: Duration = Duration::from_secs(60);

/// Where a project keeps what Vespiary itself obeys: its policy, its agents.
const OWN_DIR: &str = ".vespiary";
/// The policy in it.
const OWN_POLICY: &str = ".vespiary/policy.toml";

/// What a person gave on the command line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags<'a> {
    /// `--allow`: never a rule, but it may name what is otherwise kept from writers.
    pub allow: &'a [Capability],
    /// `--deny`
    pub deny: &'a [Capability],
    /// `--ask`
    pub ask: &'a [Capability],
}

/// A policy file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Whose.
    pub kind: LayerKind,
    /// Where.
    pub path: PathBuf,
}

/// All rules in force.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What calls are judged by.
    pub policy: Policy,
    /// The layers as they are written, highest first.
    pub layers: Vec<Layer>,
    /// The files they were read from, in the same order.
    pub sources: Vec<Source>,
    /// The secrets that may be named; of two of one name the higher layer's.
    pub secrets: Vec<SecretRule>,
    /// How long a question waits for a person.
    pub ask_time_max: Duration,
    /// What is legal and hardly meant.
    pub doubts: Vec<Fault>,
}

impl Rules {
    /// Read every file at `places` and put the flags below them. The project directory is `root`, without links in it.
    pub fn load(places: &Places, root: &Path, flags: Flags<'_>) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let mut sheets: Vec<Sheet> = Vec::new();
        let mut sources = Vec::new();
        let mut of_installed = None;
        for Found { kind, path, installed, text } in places.find() {
            let file: Arc<str> = path.to_string_lossy().into();
            sources.push(Source { kind, path });
            match text.map_err(|fault| vec![fault]).and_then(|text| Sheet::read(&text, &file, kind)) {
                Err(found) => faults.extend(found),
                Ok(sheet) => match of_installed {
                    Some(at) if installed => faults.extend(Sheet::join(&mut sheets[at], sheet)),
                    _ => {
                        of_installed = of_installed.or(installed.then_some(sheets.len()));
                        sheets.push(sheet);
                    }
                },
            }
        }
        faults.extend(flags.ask.iter().filter_map(|capability| {
            let (what, next) = sheet::unaskable(capability)?;
            Some(Fault::of_file("--ask", what, next))
        }));
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        sheets.push(Sheet::bare(of_flags(flags)));
        let ask_time_max = sheets.iter().filter_map(|sheet| sheet.ask_time_max).min().unwrap_or(ASK_TIME_MAX);
        let mut doubts = Vec::new();
        let mut secrets: Vec<SecretRule> = Vec::new();
        let mut layers = Vec::new();
        // A stable sort: of the administrator's two layers, the installed one stays first.
        sheets.sort_by_key(|sheet| sheet.layer.kind);
        for sheet in sheets {
            doubts.extend(sheet.doubts);
            for secret in sheet.secrets {
                match secrets.iter().find(|higher| higher.name == secret.name) {
                    Some(higher) => doubts.push(shadowed(&secret, higher)),
                    None => secrets.push(secret),
                }
            }
            layers.push(sheet.layer);
        }
        let judged = layers.iter().cloned().chain(own_directory(flags.allow, root));
        let policy = Policy::of_layers(judged.map(|layer| anchor::anchored(&layer, root)));
        Ok(Self { policy, layers, sources, secrets, ask_time_max, doubts })
    }
}

fn of_flags(flags: Flags<'_>) -> Layer {
    let rules = |flag: &str, of: &[Capability]| -> Vec<Rule> {
        let place = Place { source: flag.into(), line: 0 };
        of.iter().map(|capability| Rule { capability: capability.clone(), place: place.clone() }).collect()
    };
    Layer { deny: rules("--deny", flags.deny), ask: rules("--ask", flags.ask), ..Layer::new(LayerKind::Run) }
}

/// What a project's policy forbids must not be for a tool of that project to change: writing `.vespiary` takes naming it, and
/// writing the policy in it takes naming that. Only a rule as a whole can be left out here; that whoever names a part of the
/// directory may write that part and no other is the kernel's to see to, for which the directory is guarded.
fn own_directory(allowed: &[Capability], root: &Path) -> Option<Layer> {
    let kept = [OWN_DIR, OWN_POLICY].into_iter().filter_map(|own| own.parse::<ScopePath>().ok()).find(|own| {
        let names = |held: &Capability| matches!(held, Capability::Write(path) if anchor::names(path, own, root));
        !allowed.iter().any(names)
    })?;
    let place = Place { source: format!("built in: name {kept} in --allow to write there").into(), line: 0 };
    let deny = vec![Rule { capability: Capability::Write(kept), place }];
    Some(Layer { deny, ..Layer::new(LayerKind::Run) })
}

fn shadowed(secret: &SecretRule, higher: &SecretRule) -> Fault {
    let what = format!("the secret {} is not used: {} declares it above", secret.name, higher.place);
    Fault { line: secret.place.line, ..Fault::of_file(Arc::clone(&secret.place.source), what, "remove it") }
}

#[cfg(test)]
mod tests;
