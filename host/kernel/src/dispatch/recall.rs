//! Whether an earlier call's answer stands for a new one. The new call has been recorded and judged like any other by the time this
//! is asked; here what the earlier one rested on is judged and looked at again.

use super::{Dispatcher, needs_of_call};
use crate::call::{Failure, Usage};
use crate::capability::Capability;
use crate::change::ChangeSet;
use crate::event::{Event, Payload};
use crate::grant::Grant;
use crate::ids::{Digest, ToolName};
use crate::json::Json;
use crate::observed::{Observation, ReadSet};
use crate::pattern::ToolPattern;
use crate::plugin::{Kind, Plugin};
use crate::policy::{Case, Denial, Question, Verdict};
use crate::ports::{Asked, LogError};
use crate::principal::{Isolation, Principal};
use crate::reuse::{Bond, Doubt, Origin, Past, PastCall};
use crate::scope::Scope;
use std::collections::HashSet;

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
        self.saw_the_same(who, scope, past, &own, past.reads.as_ref())
            && past.nested.iter().all(|nested| self.nested_holds(who, scope.grant(), past, &own, nested))
            && (past.changes.is_empty() || self.runner.is_base(who.run().root(), &past.changes))
    }

    /// Record the calls that `past` made as part of what stands for it: what an answer rests on is in the record of each run that
    /// uses it, so that whoever uses it next need not look further back.
    pub(super) fn record_nested(&self, who: &Principal, past: &Past) -> Result<(), Failure> {
        let (run, inside) = (who.run().id(), who.within(Grant::none()));
        let lost = |error: LogError| Failure::Unrecorded(error.to_string());
        for nested in &past.nested {
            let call = inside.next_call().map_err(Failure::Limit)?;
            let (agent, arguments) = (who.agent(), Payload::Value(nested.arguments.clone()));
            let intended = Event::CallIntended { call, agent, tool: nested.tool.clone(), arguments };
            self.log.append(run, intended).map_err(lost)?;
            let ended = Event::CallEnded {
                call,
                component: nested.component,
                scope: nested.scope.clone(),
                except: nested.except.clone(),
                value: nested.value.clone(),
                failure: nested.failure.clone(),
                reads: nested.reads.as_ref().and_then(|reads| Json::of(reads).ok()).map(Payload::Value),
                usage: Usage::default(),
                artifacts: Vec::new(),
                key: None,
                reused: Some(nested.origin.clone()),
            };
            self.log.append(run, ended).map_err(lost)?;
        }
        Ok(())
    }

    /// Whether a call that `past` made would be judged as it was, would run the same component, and would see the same.
    fn nested_holds(&self, who: &Principal, grant: &Grant, past: &Past, own: &Touched<'_>, nested: &PastCall) -> bool {
        let Some(plugin) = self.catalog.find(&nested.tool) else { return false };
        let (Some(component), Some(held)) = (nested.component, &nested.scope) else {
            // It was refused before it ran; what refused it may be gone. Nothing was learnt from it but that.
            return past.bond == Bond::Resumed;
        };
        if plugin.digest != component {
            return false;
        }
        let Ok(extra) = needs_of_call(&plugin, &nested.arguments, grant) else { return false };
        let case = Case { tool: &nested.tool, grant, plugin: &plugin, extra: &extra };
        // Whoever would be asked now has not said yes to this.
        let Verdict::Allow(scope) = self.policy.judge(case) else { return false };
        if scope.grant() != held || scope.holes() != nested.except {
            return false;
        }
        if past.bond == Bond::Earlier {
            let sure = sure(&plugin, &nested.tool, &scope) && is_whole(nested.reads.as_ref(), &scope);
            if nested.failure.is_some() || !sure {
                return false;
            }
        }
        self.saw_the_same(who, &scope, past, own, nested.reads.as_ref())
    }

    /// Whether files are as a call saw them, but for those that the runs before, or the agent itself, may have changed since: these
    /// are accounted for elsewhere.
    fn saw_the_same(
        &self,
        who: &Principal,
        scope: &Scope,
        past: &Past,
        own: &Touched<'_>,
        reads: Option<&ReadSet>,
    ) -> bool {
        let Some(reads) = reads else { return true };
        let isolated = who.isolation() == Isolation::Worktree;
        if scope.has_effects() && !isolated && past.bond == Bond::Resumed {
            // It did what it did. Making it again because the world is no longer as it was would do it twice.
            return true;
        }
        let resumed = past.bond == Bond::Resumed;
        let counts = |seen: &&Observation| {
            !(isolated && own.has(&seen.path) || resumed && self.recall.may_have_changed(&seen.path))
        };
        let seen: Vec<&Observation> = reads.observations.iter().filter(counts).collect();
        seen.is_empty() || self.runner.unchanged(who.run().root(), scope, &seen)
    }

    /// What to do about an equal call that may have had its effect: nothing, when there is none or it may be made again.
    ///
    /// # Errors
    /// Where it must not be made.
    pub(super) async fn settle_doubt(&self, call: Judged<'_>) -> Result<(), Failure> {
        let Judged { who, tool, arguments, plugin, scope, key } = call;
        let again = plugin.annotations.get(tool.local()).is_some_and(|a| a.idempotent);
        let own =
            matches!(plugin.kind, Kind::Tools | Kind::Program | Kind::Mcp) && who.isolation() == Isolation::Shared;
        if again || !own || !scope.has_effects() {
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
