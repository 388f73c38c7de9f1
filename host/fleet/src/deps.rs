//! Which agents wait for which. A script names agents by their labels; an agent with `deps` starts when every agent with one of
//! those labels that was asked for has ended. Labels belong to one script: a called workflow has its own.

use crate::brief::{TITLE_BYTES_MAX, WHY_BYTES_MAX, brief};
use crate::options::{invalid, reject};
use std::collections::{BTreeMap, HashMap, HashSet};
use vespiary_kernel::call::Failure;
use vespiary_kernel::ids::Digest;
use vespiary_kernel::script::Rejection;

/// Waiting agents named in the error of a script that waits for labels nobody has.
const NAMED_MAX: usize = 5;

/// Labels told of either end of a long circle.
const CIRCLE_ENDS: usize = 4;

/// Labels that are remembered although only refused agents had them, for those that wait for them later. Agents that start are
/// counted by the run; those that are refused are not.
const REFUSED_MAX: usize = 1_000;

/// The labels of one script, and how their agents stand.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    asked: HashMap<String, Label>,
    /// For each label of an agent that has not started, the labels it waits for, with how many do.
    edges: HashMap<String, BTreeMap<String, usize>>,
    /// Labels that were first those of refused agents.
    refused: usize,
}

#[derive(Debug, Default)]
struct Label {
    /// Agents asked for and not yet ended.
    open: usize,
    /// The first that failed.
    failed: Option<Broken>,
}

/// Why an agent's dependents do not start.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Broken {
    /// Where it began.
    origin: String,
    why: String,
}

/// How an agent with dependencies stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All of them have ended well.
    Ready,
    /// It waits for this label, and perhaps for others.
    Waits(String),
    /// It will never start.
    Broken(Failure),
}

impl Labels {
    /// Whether an agent called `label` may wait for `deps`.
    ///
    /// # Errors
    /// The circle that it would close.
    pub(crate) fn check(&self, label: &str, deps: &[String]) -> Result<(), Rejection> {
        if label.is_empty() {
            return Ok(());
        }
        let mut seen: HashSet<&str> = HashSet::new();
        // The way back to where each label was come upon, so that the circle can be told.
        let mut from: HashMap<&str, &str> = HashMap::new();
        let mut next: Vec<&str> = deps.iter().map(String::as_str).collect();
        while let Some(at) = next.pop() {
            if at == label {
                let back = std::iter::successors(from.get(at).copied(), |label| from.get(label).copied());
                let mut way: Vec<&str> = back.collect();
                way.reverse();
                return Err(circle(label, &way));
            }
            if !seen.insert(at) {
                continue;
            }
            for further in self.edges.get(at).into_iter().flat_map(BTreeMap::keys) {
                if !seen.contains(further.as_str()) {
                    from.insert(further, at);
                    next.push(further);
                }
            }
        }
        Ok(())
    }

    /// An agent was asked for.
    pub(crate) fn ask(&mut self, label: &str, deps: &[String]) {
        if label.is_empty() {
            return;
        }
        self.asked.entry(label.to_owned()).or_default().open += 1;
        for dep in deps {
            *self.edges.entry(label.to_owned()).or_default().entry(dep.clone()).or_default() += 1;
        }
    }

    /// It waits for nothing any more: it starts, or never will.
    pub(crate) fn release(&mut self, label: &str, deps: &[String]) {
        let Some(edges) = self.edges.get_mut(label) else { return };
        for dep in deps {
            if let Some(n) = edges.get_mut(dep) {
                *n -= 1;
                if *n == 0 {
                    edges.remove(dep);
                }
            }
        }
        if edges.is_empty() {
            self.edges.remove(label);
        }
    }

    /// It ended.
    pub(crate) fn end(&mut self, label: &str, failure: Option<&Failure>) {
        if label.is_empty() {
            return;
        }
        let entry = self.asked.entry(label.to_owned()).or_default();
        entry.open = entry.open.saturating_sub(1);
        if let Some(failure) = failure {
            self.fail(label, failure);
        }
    }

    /// An agent was refused when it was asked for: whoever waits for it hears so, and whoever comes to wait for it later, where that
    /// many are remembered. `waited`: somebody waits already.
    pub(crate) fn refuse(&mut self, label: &str, failure: &Failure, waited: bool) {
        if label.is_empty() {
            return;
        }
        if !self.asked.contains_key(label) {
            if self.refused >= REFUSED_MAX && !waited {
                return;
            }
            self.refused += 1;
        }
        self.fail(label, failure);
    }

    fn fail(&mut self, label: &str, failure: &Failure) {
        let entry = self.asked.entry(label.to_owned()).or_default();
        entry
            .failed
            .get_or_insert_with(|| Broken { origin: label.to_owned(), why: brief(failure.to_string(), WHY_BYTES_MAX) });
    }

    /// It ended without having started, because of what it depends on.
    pub(crate) fn end_broken(&mut self, label: &str, deps: &[String]) {
        let broken = deps.iter().find_map(|dep| self.asked.get(dep)?.failed.clone());
        if let Some(entry) = self.asked.get_mut(label) {
            entry.open = entry.open.saturating_sub(1);
            entry.failed = entry.failed.take().or(broken);
        }
    }

    /// How an agent stands that waits for `deps`.
    pub(crate) fn standing(&self, deps: &[String]) -> Standing {
        for dep in deps {
            let Some(Label { failed: Some(broken), .. }) = self.asked.get(dep) else { continue };
            let Broken { origin, why } = broken;
            let because =
                if origin == dep { format!(": {why}") } else { format!(", since {origin:?} gave none: {why}") };
            let why = format!("not started: it depends on {dep:?}, which gave no answer{because}");
            return Standing::Broken(Failure::Failed(why));
        }
        let waits = deps.iter().find(|dep| self.asked.get(*dep).is_none_or(|label| label.open > 0));
        waits.map_or(Standing::Ready, |label| Standing::Waits(label.clone()))
    }

    /// Whether an agent with this label was ever asked for.
    pub(crate) fn is_known(&self, label: &str) -> bool {
        self.asked.contains_key(label)
    }
}

/// `label` waits for the first of `way`, each of them for the next, and the last for `label`.
fn circle(label: &str, way: &[&str]) -> Rejection {
    let mut told = format!("{label:?} waits for ");
    for (at, step) in way.iter().enumerate() {
        match way.len().checked_sub(2 * CIRCLE_ENDS) {
            Some(left_out @ 1..) if at == CIRCLE_ENDS => told.push_str(&format!("{left_out} more in turn, then ")),
            Some(1..) if (CIRCLE_ENDS..way.len() - CIRCLE_ENDS).contains(&at) => {}
            _ => told.push_str(&format!("{step:?}, which waits for ")),
        }
    }
    invalid(format!("deps would make a circle, in which no agent could ever start: {told}{label:?}"))
}

/// Agents that wait for others, found by one of the labels each waits for.
#[derive(Debug)]
pub(crate) struct Held<J> {
    jobs: BTreeMap<u64, J>,
    by: HashMap<String, Vec<u64>>,
    last: u64,
}

impl<J> Default for Held<J> {
    fn default() -> Self {
        Self { jobs: BTreeMap::new(), by: HashMap::new(), last: 0 }
    }
}

impl<J> Held<J> {
    /// Keep `job` until something happens to `label`.
    pub(crate) fn add(&mut self, job: J, label: String) {
        self.last += 1;
        self.jobs.insert(self.last, job);
        self.by.entry(label).or_default().push(self.last);
    }

    /// All that were kept for `label`, in the order in which they came.
    pub(crate) fn take(&mut self, label: &str) -> Vec<J> {
        let numbers = self.by.remove(label).unwrap_or_default();
        numbers.into_iter().filter_map(|number| self.jobs.remove(&number)).collect()
    }

    /// Whether anything is kept for `label`.
    pub(crate) fn waits_for(&self, label: &str) -> bool {
        self.by.contains_key(label)
    }

    /// Everything, in the order in which it came.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = J> + use<J> {
        self.by.clear();
        std::mem::take(&mut self.jobs).into_values()
    }

    /// The labels that something waits for although no agent has them: what to tell a script that gets no further.
    pub(crate) fn missing(&self, labels: &Labels) -> Option<String> {
        let mut missing: Vec<_> = self.by.keys().filter(|label| !labels.is_known(label)).collect();
        missing.sort_unstable();
        let more = missing.len().saturating_sub(NAMED_MAX);
        let named: Vec<_> = missing.iter().take(NAMED_MAX).map(|label| format!("{label:?}")).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!named.is_empty()).then(|| named.join(", ") + &more)
    }
}

/// The most labels one agent may wait for.
const DEPS_MAX: usize = 256;

/// The option `deps`, checked.
pub(crate) fn checked(deps: Vec<String>) -> Result<Vec<String>, Rejection> {
    if deps.len() > DEPS_MAX {
        return Err(reject("limit", format!("deps has {} labels; at most {DEPS_MAX} are allowed", deps.len())));
    }
    if deps.iter().any(String::is_empty) {
        return Err(invalid("deps holds an empty string; it is an array of labels of agents"));
    }
    let deps: Vec<String> = deps.into_iter().map(kept).collect();
    let mut seen = HashSet::new();
    Ok(deps.iter().filter(|dep| seen.insert(*dep)).cloned().collect())
}

/// A label as it is kept: whole where it is short, else its beginning and its digest, by which labels are told apart as well. Scripts
/// make labels of whole claims and paths, and a script keeps them to its end.
pub(crate) fn kept(label: String) -> String {
    if label.len() <= TITLE_BYTES_MAX {
        return label;
    }
    let digest = Digest::of(label.as_bytes());
    format!("{} ({digest})", brief(label, TITLE_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deps(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_agent_waits_for_all_that_have_its_labels() {
        let mut labels = Labels::default();
        let both = deps(&["a", "b"]);
        assert_eq!(labels.standing(&both), Standing::Waits("a".into()));
        labels.ask("a", &[]);
        labels.ask("a", &[]);
        labels.ask("b", &[]);
        labels.end("a", None);
        assert_eq!(labels.standing(&both), Standing::Waits("a".into()), "one of two has ended");
        labels.end("a", None);
        labels.end("b", None);
        assert_eq!(labels.standing(&both), Standing::Ready);
        labels.ask("b", &[]);
        assert_eq!(labels.standing(&both), Standing::Waits("b".into()), "asked for later, and all the same");
    }

    #[test]
    fn a_failure_is_told_to_the_last_and_names_its_origin() {
        let mut labels = Labels::default();
        labels.ask("a", &[]);
        for (label, dep) in [("b", "a"), ("c", "b"), ("d", "c")] {
            labels.ask(label, &deps(&[dep]));
        }
        labels.end("a", Some(&Failure::Failed("boom".into())));
        labels.end_broken("b", &deps(&["a"]));
        labels.end_broken("c", &deps(&["b"]));
        let told = |dep: &str| match labels.standing(&deps(&[dep])) {
            Standing::Broken(failure) => failure.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(told("a").contains("it depends on \"a\", which gave no answer: "), "{}", told("a"));
        assert!(
            told("c").contains("it depends on \"c\"") && told("c").contains("since \"a\" gave none: "),
            "{}",
            told("c")
        );
        assert!(told("c").contains("boom"));
    }

    #[test]
    fn circles_are_told_whole_and_rounds_are_none() {
        let mut labels = Labels::default();
        let says = |labels: &Labels, label: &str, on: &[&str]| labels.check(label, &deps(on)).map_err(|r| r.message);
        assert!(says(&labels, "a", &["a"]).unwrap_err().ends_with("\"a\" waits for \"a\""));
        labels.ask("b", &deps(&["x", "a"]));
        labels.ask("c", &deps(&["b"]));
        labels.ask("d", &deps(&["c", "b"]));
        let told = says(&labels, "a", &["y", "c"]).unwrap_err();
        assert!(told.ends_with("\"a\" waits for \"c\", which waits for \"b\", which waits for \"a\""), "{told}");
        assert_eq!(says(&labels, "e", &["d", "a"]), Ok(()));
        assert_eq!(says(&labels, "", &["a", "b"]), Ok(()));
        // What has started closes no circle: the next round may wait for the one before.
        labels.release("b", &deps(&["x", "a"]));
        assert_eq!(says(&labels, "a", &["c"]), Ok(()));
    }

    #[test]
    fn what_waits_for_labels_nobody_has_can_be_named() {
        let (mut labels, mut held) = (Labels::default(), Held::default());
        labels.ask("known", &[]);
        for (n, label) in ["known", "b", "a", "b"].into_iter().enumerate() {
            held.add(n, label.to_owned());
        }
        assert_eq!(held.missing(&labels).unwrap(), "\"a\", \"b\"");
        assert_eq!(held.take("b"), [1, 3]);
        assert_eq!(held.drain().collect::<Vec<_>>(), [0, 2]);
        assert!(held.missing(&labels).is_none());
    }

    #[test]
    fn a_thousand_in_a_row_and_back_are_quickly_told_apart() {
        let mut labels = Labels::default();
        let name = |n: usize| n.to_string();
        for n in 1..1_000 {
            labels.check(&name(n), &[name(n - 1)]).unwrap();
            labels.ask(&name(n), &[name(n - 1)]);
        }
        let told = labels.check("0", &[name(999)]).unwrap_err().message;
        assert!(told.contains("circle") && told.contains("991 more in turn") && told.len() < 500, "{told}");
    }

    #[test]
    fn long_labels_are_told_apart_by_all_of_them() {
        let long = |end: &str| "é".repeat(1 << 20) + end;
        let (a, b) = (kept(long("a")), kept(long("b")));
        assert!(a != b && a.starts_with(&"é".repeat(100)) && a.len() < 300, "{a}");
        assert_eq!((kept(long("a")), kept("short".into())), (a.clone(), "short".to_owned()));
        assert_ne!(kept(a.clone()), a, "no label passes for what is kept of another");
        let deps = checked(vec![long("a"), long("b"), long("a")]).unwrap();
        assert_eq!(deps, [a, b]);
    }

    #[test]
    fn refused_agents_are_remembered_by_those_that_wait_and_else_up_to_a_number() {
        let mut labels = Labels::default();
        let failure = Failure::Failed("x".repeat(1 << 14));
        for n in 0..3 * REFUSED_MAX {
            labels.refuse(&n.to_string(), &failure, false);
            labels.refuse("0", &failure, false);
        }
        assert_eq!((labels.asked.len(), labels.refused), (REFUSED_MAX, REFUSED_MAX));
        labels.refuse("waited for", &failure, true);
        let Standing::Broken(told) = labels.standing(&deps(&["waited for"])) else { panic!("it was refused") };
        assert!(told.to_string().len() < 2 * WHY_BYTES_MAX, "what it is told of is not told whole");
        labels.ask("0", &[]);
        labels.refuse("0", &failure, false);
        assert_eq!(labels.asked["0"].open, 1, "another of that label is still under way");
    }
}
