//! Who may do what: the judgement of one call, as a value with its reason. Rules stand in layers, the administrator's above the
//! project's, the user's and the run's; deny beats ask, ask beats allow, and a lower layer only narrows. Pure: it opens nothing
//! and asks nobody. An `Ask` goes to the `Approver` in `ports`; reading policy files is the roof's.

use crate::account::{Ceiling, Limits};
use crate::capability::Capability;
use crate::grant::Grant;
use crate::host::{HostCeiling, HostLimits};
use crate::ids::{Digest, PluginName, ToolName};
use crate::pattern::ToolPattern;
use crate::plugin::{Need, Plugin, Trust};
use crate::quota::{Quota, QuotaRequest};
use crate::scope::Scope;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What a call may do, decided before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may run, with exactly this scope.
    Allow(Scope),
    /// It may not.
    Deny(Denial),
    /// A person decides; with a yes it runs with the scope.
    Ask(Question, Scope),
}

/// A permission that was missing, and the smallest grant that would have sufficed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// What the call needed, in capability form.
    pub needed: String,
    /// What the caller held.
    pub held: String,
    /// What to do about it.
    pub hint: String,
    /// The policy rule that refused it, where one did, with its file and line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = if self.held.is_empty() { "nothing" } else { &self.held };
        write!(f, "needs {}; the grant has {held}", self.needed)?;
        if let Some(rule) = &self.rule {
            write!(f, "; refused by the rule {rule}")?;
        }
        write!(f, " ({})", self.hint)
    }
}

impl Denial {
    /// `needed` is not part of `held`.
    pub fn missing(needed: &Capability, held: &Grant) -> Self {
        Self::missing_all(&[needed], held)
    }

    /// None of `needed` is part of `held`. Whoever grants one after the other would be refused as often as there are.
    fn missing_all(needed: &[&Capability], held: &Grant) -> Self {
        let flags: Vec<_> = needed.iter().map(|needed| format!("--allow {}", quoted(needed))).collect();
        Self {
            needed: needed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            held: held.to_string(),
            hint: format!("grant {} with {}", if needed.len() == 1 { "it" } else { "them" }, flags.join(" ")),
            rule: None,
        }
    }
}

/// A capability as a shell takes it.
pub fn quoted(capability: &Capability) -> String {
    let text = capability.to_string();
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b":/._-,@+".contains(&b));
    if plain { text } else { format!("'{text}'") }
}

/// What a person is asked before a call may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The tool that would run.
    pub tool: ToolName,
    /// What it would hold.
    pub scope: Grant,
    /// The rule that demands the question.
    pub rule: Capability,
    /// Where that rule stands.
    pub place: String,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A person allowed the call.
    Yes,
    /// A person refused it.
    No,
    /// Nobody decided, and why: there is no terminal, the time was up.
    Nobody(String),
}

impl Question {
    /// The denial of a call that did not get its yes; `None` where it did.
    pub fn denial(&self, answer: Answer, held: &Grant) -> Option<Denial> {
        let hint = match answer {
            Answer::Yes => return None,
            Answer::No => "a person said no; ask them".to_owned(),
            Answer::Nobody(why) => format!("nobody answered: {why}; answer yes at a terminal, or run without the rule"),
        };
        let needed = match self.scope.iter().next() {
            Some(_) => format!("a person's yes to {} with {}", self.tool, self.scope),
            None => format!("a person's yes to {}", self.tool),
        };
        Some(Denial { needed, held: held.to_string(), hint, rule: Some(format!("ask {} ({})", self.rule, self.place)) })
    }
}

/// Whose rules they are. In the order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerKind {
    /// The machine's administrator; nobody below can widen it.
    Administrator,
    /// The project's own file. It came with the project, so it is trusted to narrow and for nothing else.
    Project,
    /// The user's.
    User,
    /// What was given with this run.
    Run,
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Administrator => "administrator",
            Self::Project => "project",
            Self::User => "user",
            Self::Run => "run",
        })
    }
}

/// Where a rule is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, or the flag.
    pub source: Arc<str>,
    /// The line in the file, from 1; 0 for a flag.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.source),
            line => write!(f, "{}:{line}", self.source),
        }
    }
}

/// One capability in a list of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it is about.
    pub capability: Capability,
    /// Where it is written.
    pub place: Place,
}

/// A plugin that a layer admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRule {
    /// Its name.
    pub name: PluginName,
    /// Its component; any when none is named.
    pub digest: Option<Digest>,
    /// Where the rule is written.
    pub place: Place,
}

/// The rules of one layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Whose.
    pub kind: LayerKind,
    /// All that may be done at all, where the layer says so: a ceiling, never a grant.
    pub allow: Option<Vec<Rule>>,
    /// What waits for a person.
    pub ask: Vec<Rule>,
    /// What is refused.
    pub deny: Vec<Rule>,
    /// Nothing below adds a plugin, host, model, program, server, secret or variable that this layer does not name.
    pub locked: Option<Place>,
    /// The plugins that may be used beside the bundled ones, where the layer says so.
    pub plugins: Option<Vec<PluginRule>>,
    /// Ceilings on each call.
    pub call: QuotaRequest,
    /// Ceilings on each agent.
    pub agent: Ceiling,
    /// Ceilings on each run.
    pub run: Ceiling,
    /// Agents that a run may ever start.
    pub agents_max: Option<u64>,
    /// Ceilings on what the host spends for all.
    pub host: HostCeiling,
}

impl Layer {
    /// A layer without rules.
    pub fn new(kind: LayerKind) -> Self {
        Self {
            kind,
            allow: None,
            ask: Vec::new(),
            deny: Vec::new(),
            locked: None,
            plugins: None,
            call: QuotaRequest::default(),
            agent: Ceiling::default(),
            run: Ceiling::default(),
            agents_max: None,
            host: HostCeiling::default(),
        }
    }

    /// What this layer leaves of `grant`.
    fn narrow(&self, grant: &Grant) -> Grant {
        match (&self.allow, &self.locked) {
            (Some(allow), _) => grant.narrow(allow.iter().map(|rule| &rule.capability)),
            (None, Some(_)) => Grant::of_run(grant.iter().filter(|held| !held.reaches_out()).cloned()),
            (None, None) => grant.clone(),
        }
    }

    /// Where it says so.
    fn ceiling_place(&self) -> String {
        let place =
            self.allow.as_ref().and_then(|allow| allow.first()).map(|rule| &rule.place).or(self.locked.as_ref());
        place.map_or_else(
            || format!("allow of the {}", self.kind),
            |place| format!("allow of the {} ({place})", self.kind),
        )
    }
}

/// One step of a judgement, as `policy explain` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whose rule it was; none for what the grant and the plugin say.
    pub layer: Option<LayerKind>,
    /// Where the rule is written.
    pub place: Option<Place>,
    /// What was found.
    pub finding: String,
    /// What it means for the call.
    pub effect: Effect,
}

/// What a step means for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Nothing stands against it.
    Passes,
    /// Less is left.
    Narrows,
    /// A person decides.
    Asks,
    /// It is refused.
    Denies,
}

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The tool.
    pub tool: &'a ToolName,
    /// What the caller holds.
    pub grant: &'a Grant,
    /// The tool's plugin.
    pub plugin: &'a Plugin,
    /// What this call needs beyond what the plugin declared for the tool: a host program, a model or a server's tool that its arguments name.
    pub extra: &'a [Need],
}

/// The rules that stand above every grant, highest layer first.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    layers: Vec<Layer>,
}

impl Policy {
    /// The rules of `layers`, brought into their order.
    pub fn of_layers(layers: impl IntoIterator<Item = Layer>) -> Self {
        let mut layers: Vec<_> = layers.into_iter().collect();
        layers.sort_by_key(|layer| layer.kind);
        Self { layers }
    }

    /// The rules a person gave with a run.
    pub fn of_run(deny: Vec<Capability>, ask: Vec<Capability>) -> Self {
        let rules = |flag: &str, of: Vec<Capability>| {
            let place = Place { source: flag.into(), line: 0 };
            of.into_iter().map(|capability| Rule { capability, place: place.clone() }).collect()
        };
        Self::of_layers([Layer { deny: rules("--deny", deny), ask: rules("--ask", ask), ..Layer::new(LayerKind::Run) }])
    }

    /// The layers, highest first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Judge a call.
    ///
    /// The scope is the grant, narrowed by each layer and then to what the plugin declared. A plugin that needs a kind of
    /// capability of which nothing is left is refused before anything starts. A denied part of the scope is a hole in it; a
    /// question about a part is a question about the whole call.
    pub fn judge(&self, case: Case<'_>) -> Verdict {
        self.judge_aloud(case, &mut |_| {})
    }

    /// Judge a call, and tell each step on the way.
    pub fn explain(&self, case: Case<'_>) -> (Verdict, Vec<Step>) {
        let mut steps = Vec::new();
        let verdict = self.judge_aloud(case, &mut |step| steps.push(step()));
        (verdict, steps)
    }

    /// The one judgement. A step is made only where somebody listens.
    fn judge_aloud(&self, case: Case<'_>, tell: &mut dyn FnMut(&dyn Fn() -> Step)) -> Verdict {
        let this_tool = Capability::Tool(ToolPattern::One(case.tool.clone()));
        if let Some(denial) = self.refuses_plugin(case.plugin, tell) {
            return Verdict::Deny(denial);
        }
        let mut effective = case.grant.clone();
        for layer in self.layers.iter().filter(|layer| layer.allow.is_some() || layer.locked.is_some()) {
            let left = layer.narrow(&effective);
            let of_needs =
                [&this_tool].into_iter().chain(case.needs().filter(|need| !need.optional).map(|need| &need.capability));
            for needed in of_needs {
                if effective.touches(needed) && !left.touches(needed) {
                    let denial = Denial {
                        hint: format!("ask the {} to allow {needed}", layer.kind),
                        rule: Some(layer.ceiling_place()),
                        ..Denial::missing(needed, case.grant)
                    };
                    tell(&|| layer.step(None, format!("{needed} is not among what it allows"), Effect::Denies));
                    return Verdict::Deny(denial);
                }
            }
            tell(&|| match left == effective {
                true => layer.step(None, "allows all of the grant".into(), Effect::Passes),
                false => layer.step(None, format!("leaves {left} of {effective}"), Effect::Narrows),
            });
            effective = left;
        }
        let mut missing: Vec<&Capability> = Vec::new();
        if !effective.covers(&this_tool) {
            tell(&|| Step::own(format!("the grant lacks {this_tool}; it has {}", case.grant), Effect::Denies));
            missing.push(&this_tool);
        }
        for need in case.needs().filter(|need| !need.optional && !effective.touches(&need.capability)) {
            if !missing.contains(&&need.capability) {
                let (name, needed) = (&case.plugin.name, &need.capability);
                tell(&|| Step::own(format!("{name} needs {needed}; the grant has {}", case.grant), Effect::Denies));
                missing.push(needed);
            }
        }
        if !missing.is_empty() {
            return Verdict::Deny(Denial::missing_all(&missing, case.grant));
        }
        let scope = effective.narrow(case.needs().map(|need| &need.capability));
        tell(&|| Step::own(format!("{} declared what leaves it {scope}", case.plugin.name), Effect::Narrows));
        let scope = match self.cut(case, &this_tool, scope, tell) {
            Ok(scope) => scope,
            Err(denial) => return Verdict::Deny(denial),
        };
        match self.asks_about(&this_tool, scope.grant()) {
            Some((layer, rule)) => {
                tell(&|| layer.step(Some(&rule.place), format!("ask {}", rule.capability), Effect::Asks));
                let (capability, place) = (rule.capability.clone(), rule.place.to_string());
                let question =
                    Question { tool: case.tool.clone(), scope: scope.grant().clone(), rule: capability, place };
                Verdict::Ask(question, scope)
            }
            None => Verdict::Allow(scope),
        }
    }

    /// The scope less what is denied, or the denial of the whole call.
    fn cut(
        &self,
        case: Case<'_>,
        this_tool: &Capability,
        scope: Grant,
        tell: &mut dyn FnMut(&dyn Fn() -> Step),
    ) -> Result<Scope, Denial> {
        let refused = |rule: &Rule, needed: String| Denial {
            needed,
            held: case.grant.to_string(),
            hint: "the rule stands above the grant; only whoever wrote it can change it".into(),
            rule: Some(format!("deny {} ({})", rule.capability, rule.place)),
        };
        let mut denied = Vec::new();
        for (layer, rule) in self.layers.iter().flat_map(|layer| layer.deny.iter().map(move |rule| (layer, rule))) {
            if this_tool.loses_to(&rule.capability) {
                tell(&|| layer.step(Some(&rule.place), format!("deny {}", rule.capability), Effect::Denies));
                return Err(refused(rule, this_tool.to_string()));
            }
            if scope.iter().any(|held| held.loses_to(&rule.capability)) {
                // A rule that takes no member away entirely leaves something of every need.
                let alone = std::slice::from_ref(&rule.capability);
                let takes_all = scope.iter().any(|held| held.without_all(alone).as_ref() != Some(held));
                let gone = if takes_all {
                    let cut = Scope::with_holes(scope.clone(), alone);
                    case.needs().find(|need| {
                        !need.optional && scope.touches(&need.capability) && !cut.grant().touches(&need.capability)
                    })
                } else {
                    None
                };
                if let Some(need) = gone {
                    tell(&|| layer.step(Some(&rule.place), format!("deny {}", rule.capability), Effect::Denies));
                    return Err(refused(rule, need.capability.to_string()));
                }
                tell(&|| layer.step(Some(&rule.place), format!("deny {}: a hole", rule.capability), Effect::Narrows));
                denied.push(&rule.capability);
            }
        }
        let cut = Scope::with_holes(scope, denied.iter().copied());
        // Each rule left something; all together may not.
        let gone = case.needs().find(|need| !need.optional && !cut.grant().touches(&need.capability));
        let Some(need) = gone else { return Ok(cut) };
        let rules = denied.iter().map(|rule| format!("deny {rule}")).collect::<Vec<_>>().join(", ");
        tell(&|| Step::own(format!("together they leave nothing of {}: {rules}", need.capability), Effect::Denies));
        Err(Denial {
            hint: "several rules together deny all of it; see `vespiary policy explain`".into(),
            rule: Some(rules),
            ..Denial::missing(&need.capability, case.grant)
        })
    }

    /// The first rule that asks about any part of `one`, or of the rest.
    fn asks_about(&self, one: &Capability, rest: &Grant) -> Option<(&Layer, &Rule)> {
        let asks = |rule: &&Rule| [one].into_iter().chain(rest.iter()).any(|held| held.loses_to(&rule.capability));
        self.layers.iter().find_map(|layer| layer.ask.iter().find(asks).map(|rule| (layer, rule)))
    }

    /// Why nobody who holds `grant` starts an agent, if these rules are against it. Nobody can be asked about that, so a rule that
    /// asks is one that refuses.
    pub fn refuses_spawn(&self, grant: &Grant) -> Option<Denial> {
        let one = Capability::Spawn(1);
        if let Some((_, rule)) = self.asks_about(&one, &Grant::none()) {
            let hint =
                "nobody can be asked about starting agents; whoever wrote the rule can deny it, or lower agents-max"
                    .into();
            let rule = Some(format!("ask {} ({})", rule.capability, rule.place));
            return Some(Denial { hint, rule, ..Denial::missing(&one, grant) });
        }
        if self.effective(grant).covers(&one) {
            return None;
        }
        let hint = "the policy lets nobody here start agents; `vespiary policy show` says where".into();
        Some(Denial { hint, rule: Some("the policy on spawn".into()), ..Denial::missing(&one, grant) })
    }

    /// Why `plugin` may not be used at all, if it may not: what a call of any of its tools would be told.
    pub fn refuses(&self, plugin: &Plugin) -> Option<Denial> {
        self.refuses_plugin(plugin, &mut |_| {})
    }

    fn refuses_plugin(&self, plugin: &Plugin, tell: &mut dyn FnMut(&dyn Fn() -> Step)) -> Option<Denial> {
        if plugin.trust == Trust::Bundled {
            return None;
        }
        let (name, digest) = (&plugin.name, &plugin.digest);
        let layer = self.layers.iter().find(|layer| {
            let listed = layer.plugins.as_deref().or(layer.locked.is_some().then_some(&[]));
            listed.is_some_and(|listed| {
                !listed.iter().any(|rule| rule.name == *name && rule.digest.is_none_or(|pinned| pinned == *digest))
            })
        })?;
        let place = layer.plugins.iter().flatten().find(|rule| rule.name == *name).map(|rule| rule.place.clone());
        let place = place.or_else(|| layer.locked.clone());
        tell(&|| {
            layer.step(
                place.as_ref(),
                format!("{name} with component {} is not admitted", digest.short()),
                Effect::Denies,
            )
        });
        let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
        Some(Denial {
            needed: format!("the plugin {name} with component {digest}"),
            held: "the bundled plugins and those the policy lists".into(),
            hint: format!("ask the {} to list it under [[plugins]]", layer.kind),
            rule: Some(format!("plugins of the {}{place}", layer.kind)),
        })
    }

    /// What `grant` is worth under these rules, before any call: what layers do not allow or deny outright is gone.
    pub fn effective(&self, grant: &Grant) -> Grant {
        let narrowed = self.layers.iter().fold(grant.clone(), |left, layer| layer.narrow(&left));
        let denied = self.layers.iter().flat_map(|layer| layer.deny.iter().map(|rule| &rule.capability));
        Scope::with_holes(narrowed, denied).grant().clone()
    }

    /// The limits of one call of a plugin that asks for `quota`.
    pub fn quota(&self, quota: &Quota) -> Quota {
        self.layers.iter().fold(*quota, |quota, layer| quota.under(&layer.call))
    }

    /// The limits of one agent and of one run that would have these.
    pub fn limits(&self, agent: Limits, run: Limits) -> (Limits, Limits) {
        self.layers.iter().fold((agent, run), |(agent, run), layer| (agent.under(&layer.agent), run.under(&layer.run)))
    }

    /// What the host may spend, of `limits`.
    pub fn host(&self, limits: HostLimits) -> HostLimits {
        self.layers.iter().fold(limits, |limits, layer| limits.under(&layer.host))
    }

    /// The agents a run may ever start, of `agents_max`.
    pub fn agents_max(&self, agents_max: u64) -> u64 {
        self.layers.iter().filter_map(|layer| layer.agents_max).fold(agents_max, u64::min)
    }
}

impl<'a> Case<'a> {
    fn needs(&self) -> impl Iterator<Item = &'a Need> + use<'a> {
        self.plugin.needs_of(self.tool.local()).chain(self.extra)
    }
}

impl Layer {
    fn step(&self, place: Option<&Place>, finding: String, effect: Effect) -> Step {
        let of_allow = || self.allow.as_ref().and_then(|allow| allow.first()).map(|rule| &rule.place);
        let place = place.or_else(of_allow).or(self.locked.as_ref()).cloned();
        Step { layer: Some(self.kind), place, finding, effect }
    }
}

impl Step {
    fn own(finding: String, effect: Effect) -> Self {
        Self { layer: None, place: None, finding, effect }
    }
}

#[cfg(test)]
mod tests;
