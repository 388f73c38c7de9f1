//! Who may do what: the judgement of one call, as a value with its reason. Pure; it opens nothing and asks nobody. An
//! `Ask` goes to the `Approver` in `ports`.

use crate::capability::Capability;
use crate::grant::Grant;
use crate::ids::ToolName;
use crate::plugin::Plugin;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a call may do, decided before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may run, with exactly this scope.
    Allow(Grant),
    /// It may not.
    Deny(Denial),
    /// A person decides; with a yes it runs with the scope.
    Ask(Question, Grant),
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
    /// The policy rule that refused it, where one did.
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

/// What a person is asked before a call may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The tool that would run.
    pub tool: ToolName,
    /// What it would hold.
    pub scope: Grant,
    /// The rule that demands the question.
    pub rule: Capability,
}

/// Rules that stand above every grant. Deny beats ask, ask beats allow; a grant is the allowance.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// A call whose scope shares anything with one of these is refused.
    pub deny: Vec<Capability>,
    /// A call whose scope shares anything with one of these waits for a person.
    pub ask: Vec<Capability>,
}

impl Policy {
    /// Judge a call to `tool` by someone who holds `grant`.
    ///
    /// The scope is the grant narrowed to what the plugin declared. A plugin that needs a kind of capability of which the
    /// grant holds no part is refused before anything starts. A rule that overlaps the scope only in part refuses or asks for
    /// the whole call: a cell's directories cannot have holes.
    pub fn judge(&self, tool: &ToolName, grant: &Grant, plugin: &Plugin) -> Verdict {
        let this_tool = Capability::Tool(crate::capability::ToolPattern::One(tool.clone()));
        if !grant.covers(&this_tool) {
            return Verdict::Deny(Denial::missing(&this_tool, grant));
        }
        let needs: Vec<&Capability> = plugin.needs_of(tool.local()).collect();
        if let Some(missing) = needs.iter().find(|need| !grant.touches(need)) {
            return Verdict::Deny(Denial::missing(missing, grant));
        }
        let scope = grant.narrow(needs);
        let touched = |rule: &&Capability| rule.meet(&this_tool).is_some() || scope.touches(rule);
        if let Some(rule) = self.deny.iter().find(touched) {
            return Verdict::Deny(Denial {
                needed: format!("{this_tool}, {scope}"),
                held: grant.to_string(),
                hint: "the rule covers part of what this call would hold; grant less than it covers".into(),
                rule: Some(format!("deny {rule}")),
            });
        }
        match self.ask.iter().find(touched) {
            Some(rule) => {
                let question = Question { tool: tool.clone(), scope: scope.clone(), rule: rule.clone() };
                Verdict::Ask(question, scope)
            }
            None => Verdict::Allow(scope),
        }
    }
}

impl Denial {
    /// `needed` is not part of `held`.
    pub fn missing(needed: &Capability, held: &Grant) -> Self {
        Self {
            needed: needed.to_string(),
            held: held.to_string(),
            hint: format!("grant it with --allow {needed}"),
            rule: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::tests::plugin;

    fn grant(texts: &[&str]) -> Grant {
        Grant::of_run(texts.iter().map(|t| t.parse().unwrap()))
    }

    fn files() -> Plugin {
        plugin(
            "name = 'files'\nversion = '1.0.0'\nkind = 'tools'\ndescription = 'd'\n\
             [[needs]]\ncapability = 'read:.'\nreason = 'r'\n\
             [[needs]]\ncapability = 'write:.'\nreason = 'r'\ntools = ['write']\n",
        )
    }

    fn judge(policy: &Policy, tool: &str, held: &[&str]) -> Verdict {
        policy.judge(&tool.parse().unwrap(), &grant(held), &files())
    }

    #[test]
    fn a_tool_gets_only_what_it_declared() {
        let held = ["read:.", "write:out", "tool:*"];
        assert_eq!(judge(&Policy::default(), "files.read", &held), Verdict::Allow(grant(&["read:.", "read:out"])));
        let Verdict::Allow(scope) = judge(&Policy::default(), "files.write", &held) else { panic!() };
        assert!(scope.covers(&"write:out".parse().unwrap()) && !scope.covers(&"write:.".parse().unwrap()));
    }

    #[test]
    fn a_need_of_which_nothing_is_held_is_refused_with_the_remedy() {
        let Verdict::Deny(denial) = judge(&Policy::default(), "files.write", &["read:.", "tool:files.*"]) else {
            panic!()
        };
        assert_eq!(
            denial.to_string(),
            "needs write:.; the grant has read:., tool:files.* (grant it with --allow write:.)"
        );
    }

    #[test]
    fn an_unheld_tool_is_refused() {
        assert!(matches!(judge(&Policy::default(), "files.read", &["read:.", "tool:search.*"]), Verdict::Deny(_)));
    }

    #[test]
    fn deny_beats_ask_beats_allow_and_partial_overlap_counts() {
        let held = ["read:.", "tool:*"];
        let rules = |deny: &[&str], ask: &[&str]| Policy {
            deny: deny.iter().map(|t| t.parse().unwrap()).collect(),
            ask: ask.iter().map(|t| t.parse().unwrap()).collect(),
        };
        assert!(
            matches!(judge(&rules(&["read:private"], &["tool:*"]), "files.read", &held), Verdict::Deny(d) if d.rule.is_some())
        );
        assert!(matches!(judge(&rules(&[], &["tool:files.read"]), "files.read", &held), Verdict::Ask(..)));
        assert!(
            matches!(judge(&rules(&["write:."], &[]), "files.read", &held), Verdict::Allow(_)),
            "reading is not writing"
        );
        assert!(matches!(
            judge(&rules(&["read:out"], &[]), "files.write", &["read:.", "write:out", "tool:*"]),
            Verdict::Deny(_)
        ));
        assert!(matches!(judge(&rules(&["read:/etc"], &["tool:git.*"]), "files.read", &held), Verdict::Allow(_)));
    }
}
