//! Whether an earlier call's answer stands for a new one. The new call has been recorded and judged like any other by the time this
//! is asked; here what the earlier one rested on is judged and looked at again.

use super::{Dispatcher, needs_of_call};
use crate::call::Failure;
use crate::capability::Capability;
use crate::change::ChangeSet;
use crate::event::Payload;
use crate::grant::Grant;
use crate::ids::{CallId, Digest, ToolName};
use crate::json::Json;
use crate::observed::{Observation, ReadSet};
use crate::pattern::ToolPattern;
use crate::plugin::{Kind, Plugin};
use crate::policy::{Case, Denial, Question, Verdict};
use crate::ports::Asked;
use crate::principal::{Isolation, Principal};
use crate::reuse::{Bond, Doubt, Origin, Past, PastCall};
use crate::scope::Scope;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A call that has been judged.
#[derive(Clone, Copy)]
pub(super) struct Judged<'a> {
    pub(super) who: &'a Principal,
    pub(super) tool: &'a ToolName,
    pub(super) arguments: &'a Json,
    pub(super) plugin: &'a Plugin,
    pub(super) scope: &'a Scope,
    pub(super) key: &'a Digest,
}

impl Dispatcher {
    /// The finished call whose answer is this one's, if there is one. It answers no other call after this.
    pub(super) fn recalled(&self, call: Judged<'_>) -> Option<Past> {
        (0..self.recall.count(call.key)).find_map(|nth| {
            let past = self.recall.past(call.key, nth)?;
            (self.holds(call, &past) && self.recall.take(&past)).then_some(past)
        })
    }

    /// Whether all that `past` rested on is still so.
    fn holds(&self, call: Judged<'_>, past: &Past) -> bool {
        let Judged { who, tool, plugin, scope, .. } = call;
        if past.bond == Bond::Earlier && !(sure(plugin, tool, scope) && is_whole(past.reads.as_ref(), scope)) {
            return false;
        }
        let own = Touched::by(&past.changes);
        self.saw_the_same(who, scope, past, &own, &past.reads)
            && self.nested_hold(who, scope.grant(), past, &own)
            && (past.changes.is_empty() || self.runner.is_base(who.run().root(), &past.changes))
    }

    /// Whether the calls that `past` made would be judged as they were, would run the same components, and would see the same. What
    /// several of them saw under one scope is looked at together.
    fn nested_hold(&self, who: &Principal, grant: &Grant, past: &Past, own: &Touched<'_>) -> bool {
        let mut groups: Vec<Group<'_>> = Vec::new();
        // What the agents held that it started, by their calls.
        let mut agents: HashMap<CallId, Grant> = HashMap::new();
        for nested in &past.nested {
            if let Some(group) = groups.iter_mut().find(|group| group.covers(nested)) {
                group.reads.extend(&nested.reads);
                if group.plugin.kind == Kind::Agent {
                    agents.insert(nested.origin.call, group.scope.grant().clone());
                }
                continue;
            }
            let (Some(component), Some(held)) = (nested.component, &nested.scope) else {
                // It was refused before it ran; what refused it may be gone. Nothing was learnt from it but that.
                if past.bond == Bond::Resumed {
                    continue;
                }
                return false;
            };
            let Some(plugin) = self.catalog.find(&nested.tool).filter(|plugin| plugin.digest == component) else {
                return false;
            };
            let Some(grant) = nested.within.map_or(Some(grant), |agent| agents.get(&agent)) else { return false };
            let Ok(extra) = needs_of_call(&plugin, &nested.arguments, grant) else { return false };
            let case = Case { tool: &nested.tool, grant, plugin: &plugin, extra: &extra };
            // Whoever would be asked now has not said yes to this.
            let Verdict::Allow(scope) = self.policy.judge(case) else { return false };
            if scope.grant() != held || scope.holes() != nested.except {
                return false;
            }
            let sure = sure(&plugin, &nested.tool, &scope);
            if plugin.kind == Kind::Agent {
                agents.insert(nested.origin.call, scope.grant().clone());
            }
            groups.push(Group { first: nested, plugin, scope, sure, reads: nested.reads.iter().collect() });
        }
        let whole = |group: &Group<'_>| {
            group.sure
                && group.reads.iter().all(|reads| is_whole(Some(reads), &group.scope))
                && is_whole(None, &group.scope)
        };
        let certain = || past.nested.iter().all(|nested| nested.failure.is_none()) && groups.iter().all(whole);
        (past.bond == Bond::Resumed || certain())
            && groups.iter().all(|group| self.saw_the_same(who, &group.scope, past, own, group.reads.iter().copied()))
    }

    /// Whether files are as calls under `scope` saw them, but for those that the runs before, or the agent itself, may have changed
    /// since: these are accounted for elsewhere.
    fn saw_the_same<'a>(
        &self,
        who: &Principal,
        scope: &Scope,
        past: &Past,
        own: &Touched<'_>,
        reads: impl IntoIterator<Item = &'a ReadSet>,
    ) -> bool {
        let isolated = who.isolation() == Isolation::Worktree;
        let done = if isolated { who.is_inside() && scope.has_effects_outside() } else { scope.has_effects() };
        if done && past.bond == Bond::Resumed {
            // It did what it did. Making it again because the world is no longer as it was would do it twice.
            return true;
        }
        let resumed = past.bond == Bond::Resumed;
        let counts = |seen: &&Observation| {
            !(isolated && own.has(&seen.path) || resumed && self.recall.may_have_changed(&seen.path))
        };
        let seen: Vec<&Observation> = reads.into_iter().flat_map(|reads| &reads.observations).filter(counts).collect();
        seen.is_empty() || self.runner.unchanged(who.run().root(), scope, &seen)
    }

    /// What to do about an equal call that may have had its effect: nothing, when there is none or it may be made again.
    ///
    /// # Errors
    /// Where it must not be made.
    pub(super) async fn settle_doubt(&self, call: Judged<'_>) -> Result<(), Failure> {
        let Judged { who, tool, arguments, plugin, scope, key } = call;
        let again = plugin.annotations.get(tool.local()).is_some_and(|a| a.idempotent);
        let own = matches!(plugin.kind, Kind::Tools | Kind::Program | Kind::Mcp);
        let lasting = match who.isolation() {
            Isolation::Shared => scope.has_effects(),
            Isolation::Worktree => scope.has_effects_outside(),
        };
        if again || !own || !lasting {
            return Ok(());
        }
        let Some(origin) = self.recall.take_interrupted(key) else { return Ok(()) };
        match self.recall.doubt() {
            Doubt::Redo => Ok(()),
            Doubt::Skip => Err(Failure::Denied(in_doubt(tool, &origin, scope, "it was skipped, as was asked for"))),
            Doubt::Ask => {
                let question = Question {
                    tool: tool.clone(),
                    scope: scope.grant().clone(),
                    rule: Capability::Tool(ToolPattern::One(tool.clone())),
                    place: format!("{origin} was interrupted, and may have done this already"),
                };
                let asked = Asked { run: who.run().id(), agent: who.agent(), arguments, question: &question };
                match question.denial(self.approver.ask(asked).await, who.grant()) {
                    None => Ok(()),
                    Some(denial) => {
                        let hint = format!("{}; or resume with --in-doubt redo, or --in-doubt skip", denial.hint);
                        Err(Failure::Denied(in_doubt(tool, &origin, scope, &hint)))
                    }
                }
            }
        }
    }
}

/// Calls that are judged alike, since they are of the same tool and component and were under the same scope.
struct Group<'a> {
    first: &'a PastCall,
    plugin: Arc<Plugin>,
    scope: Scope,
    sure: bool,
    reads: Vec<&'a ReadSet>,
}

impl Group<'_> {
    /// Whether judging `call` would give what judging the first gave. What programs and models need depends on their arguments.
    fn covers(&self, call: &PastCall) -> bool {
        self.plugin.kind.is_component()
            && call.within == self.first.within
            && call.tool == self.first.tool
            && call.component == self.first.component
            && call.scope == self.first.scope
            && call.except == self.first.except
    }
}

/// The calls that `past` made, as the record of the run that takes it over keeps them: what an answer rests on is in the record of
/// each run that uses it, so that whoever uses it next need not look further back.
///
/// # Errors
/// Where they cannot be written down: an answer without what it rests on would be taken for one that rests on nothing.
pub(super) fn rests_on(past: &Past) -> Result<Option<Payload>, Failure> {
    if past.nested.is_empty() {
        return Ok(None);
    }
    let calls = Json::of(&past.nested).map_err(|error| Failure::Unrecorded(format!("what it rests on is {error}")))?;
    Ok(Some(Payload::Value(calls)))
}

fn in_doubt(tool: &ToolName, origin: &Origin, scope: &Scope, hint: &str) -> Denial {
    Denial {
        needed: format!("to know whether {tool} was done: {origin} was interrupted"),
        held: scope.to_string(),
        hint: hint.to_owned(),
        rule: None,
    }
}

/// Whether the tool's author says that the same arguments and files give the same answer, and nothing else can come of it.
fn sure(plugin: &Plugin, tool: &ToolName, scope: &Scope) -> bool {
    plugin.annotations.get(tool.local()).is_some_and(|a| a.deterministic) && !scope.has_effects()
}

/// Whether all that was read is known by its content. A call that looked at nothing has no read set.
fn is_whole(reads: Option<&ReadSet>, scope: &Scope) -> bool {
    reads.is_none_or(|reads| reads.complete) && scope.variables().next().is_none()
}

/// The paths that a change set accounts for: what it changes, all that lies below, and the directories in which something changed.
/// What was seen there was the agent's own work, and what had been there before is in the change set.
struct Touched<'a> {
    changes: &'a ChangeSet,
    above: HashSet<&'a str>,
}

impl<'a> Touched<'a> {
    fn by(changes: &'a ChangeSet) -> Self {
        let above = changes.iter().map(|(path, _)| path.above().next().unwrap_or("."));
        Self { changes, above: above.collect() }
    }

    fn has(&self, path: &str) -> bool {
        let within = std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(above, _)| above));
        self.above.contains(path) || within.into_iter().any(|path| self.changes.at(path).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_change_set_accounts_for() {
        let set: ChangeSet =
            serde_json::from_str(r#"{"src/a.txt":{"after":"directory"},"new":{"before":"directory"}}"#).unwrap();
        for path in ["src/a.txt", "src", "src/a.txt/below", "new", ".", "new/x"] {
            assert!(Touched::by(&set).has(path), "{path}");
        }
        for path in ["src/b.txt", "src/a.txt2", "newer", "other/a.txt"] {
            assert!(!Touched::by(&set).has(path), "{path}");
        }
    }
}
