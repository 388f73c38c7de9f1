//! What a guest says of its own end, held against what the host knows. It may pass on what it was told, and it may name a permission
//! that it does not hold. A limit it was not told of, a stop that nobody asked for, and advice to the reader are words of its own: they
//! are kept as that, and nothing is concluded from them. Never what the host finds out by itself; see `ending`.

use crate::bindings::types::{self, ToolError};
use crate::cell::Cell;
use crate::text;
use std::collections::VecDeque;
use std::sync::Arc;
use vespiary_kernel::admit::Admitted;
use vespiary_kernel::call::Failure;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::plugin::Plugin;
use vespiary_kernel::policy::Denial;
use vespiary_kernel::quota::LimitHit;
use vespiary_kernel::scope::Scope;

/// Causes that are remembered for one guest; the oldest goes first.
const TOLD_MAX: usize = 64;

/// The causes that the host told a guest, and that it may pass on as its own.
#[derive(Debug, Default)]
pub(crate) struct Told(VecDeque<Failure>);

impl Told {
    /// `failure` as the guest is told it. What went wrong inside the host or another guest is told in words.
    pub(crate) fn tell(&mut self, failure: Failure) -> ToolError {
        if let Failure::Denied(_) | Failure::Limit(_) | Failure::Cancelled = &failure {
            if self.0.len() == TOLD_MAX {
                self.0.pop_front();
            }
            self.0.push_back(failure.clone());
        }
        match failure {
            Failure::InvalidArguments(why) => ToolError::InvalidArguments(why),
            Failure::NotFound(what) => ToolError::NotFound(what),
            Failure::Denied(denial) => {
                ToolError::Denied(types::Denial { needed: denial.needed, held: denial.held, hint: denial.hint })
            }
            Failure::Limit(hit) => {
                ToolError::Limit(types::LimitHit { quota: hit.quota, limit: hit.limit, used: hit.used })
            }
            Failure::Cancelled => ToolError::Cancelled,
            Failure::Failed(why) => ToolError::Failed(why),
            other @ (Failure::Trapped(_) | Failure::Unrunnable(_) | Failure::Unrecorded(_) | Failure::Host(_)) => {
                ToolError::Failed(text::cause(other.to_string()))
            }
        }
    }

    /// What the host told it, where that is what it says.
    fn passed_on(&self, said: &ToolError) -> Option<Failure> {
        let same = |told: &&Failure| match (told, said) {
            (Failure::Limit(told), ToolError::Limit(said)) => {
                (&told.quota, told.limit, told.used) == (&said.quota, said.limit, said.used)
            }
            (Failure::Denied(told), ToolError::Denied(said)) => {
                (&told.needed, &told.held, &told.hint) == (&said.needed, &said.held, &said.hint)
            }
            (Failure::Cancelled, ToolError::Cancelled) => true,
            _ => false,
        };
        self.0.iter().find(same).cloned()
    }
}

/// What a call held, to judge what it says it lacked.
pub(crate) struct Held {
    scope: Scope,
    plugin: Arc<Plugin>,
    tool: Box<str>,
}

impl Held {
    pub(crate) fn by(admitted: &Admitted) -> Self {
        let (scope, plugin) = (admitted.scope().clone(), Arc::clone(admitted.plugin()));
        Self { scope, plugin, tool: admitted.local().into() }
    }

    /// The denial that it lacks `needed`, if that is something one can lack.
    fn lacks(&self, needed: String) -> Failure {
        let Ok(needed) = needed.parse::<Capability>() else {
            return own_words("that it lacks", text::cause(needed));
        };
        let denial = Denial::missing(&needed, self.scope.grant());
        let needs = || self.plugin.needs_of(&self.tool).map(|need| &need.capability);
        let would_hold = || Grant::of_run([needed.clone()]).narrow(needs()).covers(&needed);
        let (plugin, tool) = (&self.plugin.name, &self.tool);
        // The dispatcher names the rule that denies it.
        let denied = || self.scope.holes().iter().any(|hole| hole.takes_all_of(&needed));
        let hint = if self.scope.grant().covers(&needed) && !denied() {
            if !matches!(needed, Capability::Read(_) | Capability::Write(_)) {
                return own_words("that it lacks", format!("{needed}, and it holds that"));
            }
            "the call holds that, and this very file is not given out: its own permissions say no, or it is a link that leads \
             elsewhere, a device, or has a second name"
                .into()
        } else if denied() || would_hold() {
            denial.hint.clone()
        } else {
            format!("{plugin}.{tool} does not declare that it needs this, so granting it changes nothing")
        };
        Failure::Denied(Denial { hint, ..denial })
    }
}

/// The cause that a guest gave for its end, as far as it is to be believed.
pub(crate) fn judged(said: ToolError, cell: &Cell, held: &Held) -> Failure {
    let text = text::cause;
    if let Some(told) = cell.told.passed_on(&said) {
        return told;
    }
    match said {
        ToolError::InvalidArguments(why) => Failure::InvalidArguments(text(why)),
        ToolError::NotFound(what) => Failure::NotFound(text(what)),
        // Of a request it knows that it was refused, and the host knows why.
        ToolError::Denied(denial) => match cell.http.as_ref().and_then(|http| http.denied()) {
            Some(denial) => Failure::Denied(denial),
            None => held.lacks(denial.needed),
        },
        ToolError::Limit(types::LimitHit { quota, limit, used }) => {
            own_words("that a limit was met", LimitHit { quota: text::line(quota), limit, used }.to_string())
        }
        ToolError::Cancelled => own_words("that it was stopped", "nobody stopped it".into()),
        ToolError::Failed(why) => Failure::Failed(text(why)),
    }
}

fn own_words(what: &str, words: String) -> Failure {
    Failure::Failed(format!("it says {what}: {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(used: u64) -> Failure {
        Failure::Limit(LimitHit { quota: "run-tokens".into(), limit: 1, used })
    }

    #[test]
    fn only_what_was_told_is_passed_on_and_it_comes_back_as_the_host_knows_it() {
        let mut told = Told::default();
        let said = told.tell(hit(2));
        assert_eq!(told.passed_on(&said), Some(hit(2)));
        assert_eq!(told.passed_on(&Told::default().tell(hit(3))), None);
        assert_eq!(told.passed_on(&ToolError::Cancelled), None);
        let rule = Some("deny write:. (policy.toml:3)".to_owned());
        let denial = Denial { rule, ..Denial::missing(&"write:.".parse().unwrap(), &Grant::none()) };
        let said = told.tell(Failure::Denied(denial.clone()));
        assert_eq!(told.passed_on(&said), Some(Failure::Denied(denial.clone())), "the rule is not lost");
        let other = Failure::Denied(Denial { hint: "run this".into(), ..denial });
        assert_eq!(told.passed_on(&Told::default().tell(other)), None);
        let said = told.tell(Failure::NotFound("x".into()));
        assert_eq!(told.passed_on(&said), None, "words need no witness");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_newest_stays() {
        let mut told = Told::default();
        let said: Vec<_> = (0..1_000).map(|used| told.tell(hit(used))).collect();
        assert_eq!((told.0.len(), told.passed_on(&said[999])), (TOLD_MAX, Some(hit(999))));
        assert_eq!(told.passed_on(&said[0]), None);
    }
}
