//! What one principal holds. Authority starts once, when a person starts a run (`Grant::of_run`), and from there only ever
//! narrows: `attenuate` for a child that names what it wants, `narrow` for a plugin that declared what it needs. There is no
//! union and no way to add.

use crate::capability::Capability;
use crate::policy::Denial;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// A set of capabilities, kept free of members that another member already covers. Cloning shares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "Vec<Capability>")]
pub struct Grant(Arc<[Capability]>);

impl Grant {
    /// What a person gives to a run: the root of all authority in it.
    pub fn of_run(capabilities: impl IntoIterator<Item = Capability>) -> Self {
        Self::minimal(capabilities)
    }

    /// Nothing at all.
    pub fn none() -> Self {
        Self(Arc::new([]))
    }

    /// The grant of a child that wants exactly `wanted`. Fails, naming all the excess, when the parent does not hold it.
    pub fn attenuate(&self, wanted: &[Capability]) -> Result<Grant, Denial> {
        let excess: Vec<_> = wanted.iter().filter(|w| !self.covers(w)).collect();
        if excess.is_empty() {
            return Ok(Self::minimal(wanted.iter().cloned()));
        }
        let needed = join(excess.iter().copied());
        Err(Denial {
            hint: format!("ask for less, or grant the parent {needed}"),
            needed,
            held: self.to_string(),
            rule: None,
        })
    }

    /// What remains of this grant for someone who needs no more than `needs`.
    pub fn narrow<'a>(&self, needs: impl IntoIterator<Item = &'a Capability>) -> Grant {
        let met: Vec<_> =
            needs.into_iter().flat_map(|need| self.0.iter().filter_map(move |held| held.meet(need))).collect();
        Self::minimal(met)
    }

    /// The same, less the right to start agents: what a child inherits when nobody names its grant.
    pub fn without_spawn(&self) -> Grant {
        Self(self.0.iter().filter(|held| !matches!(held, Capability::Spawn(_))).cloned().collect())
    }

    /// Whether one member permits all of `capability`.
    pub fn covers(&self, capability: &Capability) -> bool {
        self.0.iter().any(|held| held.covers(capability))
    }

    /// Whether any part of what `capability` permits is permitted. Reading `src` is no part of writing `src`, though a
    /// writer of `src` may read it.
    pub fn touches(&self, capability: &Capability) -> bool {
        self.0.iter().any(|held| held.touches(capability))
    }

    /// The members, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &Capability> {
        self.0.iter()
    }

    /// Whether a call under this grant can change anything outside its cell.
    pub fn has_effects(&self) -> bool {
        self.0.iter().any(Capability::has_effects)
    }

    /// Whether a call under this grant can change what no worktree holds: what servers and the network are told to do. An isolated
    /// agent's program cannot write, so it can only with the network.
    pub fn has_effects_outside(&self) -> bool {
        let network = || self.0.iter().any(|held| matches!(held, Capability::Net(_)));
        self.0.iter().any(|held| match held {
            Capability::Exec(_) => network(),
            held => held.has_effects() && held.reaches_out(),
        })
    }

    fn minimal(capabilities: impl IntoIterator<Item = Capability>) -> Self {
        let mut all: Vec<_> = capabilities.into_iter().collect();
        all.sort();
        all.dedup();
        if all.len() < 2 {
            return Self(all.into());
        }
        let kept: Vec<_> =
            all.iter().filter(|c| !all.iter().any(|other| other != *c && other.covers(c))).cloned().collect();
        Self(kept.into())
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&join(self.0.iter()))
    }
}

// Records name the same grant thousands of times in a row, and to make one is dear: each capability is held against each other.
// So what the last text came to is kept, one for each thread.
impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        thread_local! {
            static LAST: RefCell<Option<(Vec<String>, Grant)>> = const { RefCell::new(None) };
        }
        let texts = Vec::<String>::deserialize(deserializer)?;
        let known = LAST.with_borrow(|last| last.as_ref().filter(|last| last.0 == texts).map(|last| last.1.clone()));
        if let Some(grant) = known {
            return Ok(grant);
        }
        let capabilities = texts.iter().map(|text| text.parse().map_err(D::Error::custom));
        let grant = Self::minimal(capabilities.collect::<Result<Vec<Capability>, _>>()?);
        LAST.set(Some((texts, grant.clone())));
        Ok(grant)
    }
}

impl From<Grant> for Vec<Capability> {
    fn from(grant: Grant) -> Self {
        grant.0.to_vec()
    }
}

fn join<'a>(capabilities: impl Iterator<Item = &'a Capability>) -> String {
    capabilities.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::tests::any_capability;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn grant(texts: &[&str]) -> Grant {
        Grant::of_run(texts.iter().map(|t| t.parse().unwrap()))
    }

    #[test]
    fn asking_for_more_names_the_excess() {
        let parent = grant(&["read:src", "tool:files.*"]);
        let denial = parent.attenuate(&["read:src/a".parse().unwrap(), "write:src".parse().unwrap()]).unwrap_err();
        assert_eq!((denial.needed.as_str(), denial.held.as_str()), ("write:src", "read:src, tool:files.*"));
    }

    #[test]
    fn narrowing_keeps_what_both_sides_agree_on() {
        let held = grant(&["read:.", "write:out", "tool:*"]);
        let needs = ["read:.".parse().unwrap(), "write:.".parse().unwrap()];
        assert_eq!(held.narrow(&needs), grant(&["read:.", "write:out"]));
    }

    proptest! {
        #[test]
        fn attenuation_never_widens(held in vec(any_capability(), 0..6), wanted in vec(any_capability(), 0..6)) {
            let parent = Grant::of_run(held);
            if let Ok(child) = parent.attenuate(&wanted) {
                for c in child.iter() { prop_assert!(parent.covers(c)); }
            }
        }

        #[test]
        fn narrowing_never_widens(held in vec(any_capability(), 0..6), needs in vec(any_capability(), 0..6)) {
            let parent = Grant::of_run(held);
            for c in parent.narrow(&needs).iter() {
                prop_assert!(parent.covers(c));
                prop_assert!(needs.iter().any(|n| n.covers(c)));
            }
        }

        #[test]
        fn narrowing_loses_nothing_shared(held in vec(any_capability(), 0..6), needs in vec(any_capability(), 0..6), c in any_capability()) {
            let parent = Grant::of_run(held);
            if parent.covers(&c) && needs.iter().any(|n| n.covers(&c)) {
                prop_assert!(parent.narrow(&needs).covers(&c));
            }
        }
    }
}
