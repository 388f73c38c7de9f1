//! What one call may hold: a grant, and the holes in it. A grant says what is allowed; a rule that denies part of it leaves a
//! hole, which whoever opens files or connections for the call must honour at each of them.

use crate::capability::Capability;
use crate::grant::Grant;
use crate::net::{NetPattern, NetTarget, SecretPattern};
use crate::path::ScopePath;
use crate::sight::{Access, Rules, Sight};
use std::fmt;
use std::sync::Arc;

/// What a call may hold. Cloning shares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    grant: Grant,
    holes: Arc<[Capability]>,
}

impl Scope {
    /// The whole of `grant`.
    pub fn whole(grant: Grant) -> Self {
        Self { grant, holes: Arc::new([]) }
    }

    /// Nothing at all.
    pub fn none() -> Self {
        Self::whole(Grant::none())
    }

    /// `grant` less whatever `denied` names. Members that are denied entirely are gone; of the others the denied part is a
    /// hole. Crate-private: only a policy makes holes.
    pub(crate) fn with_holes<'a>(grant: Grant, denied: impl IntoIterator<Item = &'a Capability>) -> Self {
        let holes: Vec<_> =
            denied.into_iter().filter(|rule| grant.iter().any(|held| held.loses_to(rule))).cloned().collect();
        if holes.is_empty() {
            return Self::whole(grant);
        }
        let left = grant.iter().flat_map(|held| held.without_all(&holes));
        Self { grant: Grant::of_run(left), holes: holes.into() }
    }

    /// The part of it that `keep` keeps, with the same holes: never more than it is.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&Capability) -> bool) -> Self {
        let grant = Grant::of_run(self.grant.iter().filter(|held| keep(held)).cloned());
        Self { grant, holes: Arc::clone(&self.holes) }
    }

    /// What it allows, holes not subtracted.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// What is denied of it.
    pub fn holes(&self) -> &[Capability] {
        &self.holes
    }

    /// Whether a call under this scope can change anything outside its cell.
    pub fn has_effects(&self) -> bool {
        self.grant.has_effects()
    }

    /// Whether a call under this scope can change what no worktree holds.
    pub fn has_effects_outside(&self) -> bool {
        self.grant.has_effects_outside()
    }

    /// What a call sees at `path`, relative to the project directory or absolute, in plain form. For many paths make the
    /// [`Rules`] once.
    pub fn sight(&self, path: &str) -> Sight {
        match path.strip_prefix('/') {
            Some(below) => self.rules(Some("/")).sight(if below.is_empty() { "." } else { below }),
            None => self.rules(None).sight(path),
        }
    }

    /// Its rules for the project's tree, or for one that begins at the absolute path `base`.
    pub fn rules(&self, base: Option<&str>) -> Rules {
        Rules::new(base, self.paths(), paths(self.holes.iter()))
    }

    /// The same for somebody who may change nothing, whatever was granted.
    pub fn rules_of_reader(&self, base: Option<&str>) -> Rules {
        Rules::new(base, self.paths().map(|(_, path)| (Access::Read, path)), paths(self.holes.iter()))
    }

    /// The paths it names, with the access each gives.
    pub fn paths(&self) -> impl Iterator<Item = (Access, &ScopePath)> {
        paths(self.grant.iter())
    }

    /// The network rules: what is allowed, and what is denied of it.
    pub fn nets(&self) -> (Vec<NetPattern>, Vec<NetPattern>) {
        let nets = |of: &mut dyn Iterator<Item = &Capability>| {
            of.filter_map(|c| if let Capability::Net(net) = c { Some(net.clone()) } else { None }).collect()
        };
        (nets(&mut self.grant.iter()), nets(&mut self.holes.iter()))
    }

    /// Whether a request may be sent, as far as its name tells.
    pub fn permits_request(&self, target: &NetTarget) -> bool {
        let (allowed, denied) = self.nets();
        allowed.iter().any(|net| net.permits(target)) && !denied.iter().any(|net| net.forbids(target))
    }

    /// The secrets it may send, and where to.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretPattern> {
        self.grant.iter().filter_map(|held| if let Capability::Secret(secret) = held { Some(secret) } else { None })
    }

    /// The environment variables it may see.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.grant.iter().filter_map(|held| if let Capability::Env(name) = held { Some(name.as_str()) } else { None })
    }
}

fn paths<'a>(capabilities: impl IntoIterator<Item = &'a Capability>) -> impl Iterator<Item = (Access, &'a ScopePath)> {
    capabilities.into_iter().filter_map(|held| match held {
        Capability::Read(path) => Some((Access::Read, path)),
        Capability::Write(path) => Some((Access::Write, path)),
        _ => None,
    })
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.grant)?;
        for (at, hole) in self.holes.iter().enumerate() {
            write!(f, "{} {hole}", if at == 0 { " except" } else { "," })?;
        }
        Ok(())
    }
}

impl From<Grant> for Scope {
    fn from(grant: Grant) -> Self {
        Self::whole(grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::tests::any_capability;
    use crate::http::NetScope;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn caps(texts: &[&str]) -> Vec<Capability> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn a_denial_holds_however_many_patterns_a_grant_has() {
        let each_letter: Vec<_> = ('a'..='p').map(|letter| format!("**/*{letter}*")).collect();
        let held = caps(&[&format!("read:{}", each_letter.join(" & "))]);
        let path = "xyz/abcdefghijklmnopq";
        assert_eq!(Scope::whole(Grant::of_run(held.clone())).sight(path), Sight::Read);
        for rule in ["read:xyz", "read:*/*q*"] {
            let scope = Scope::with_holes(Grant::of_run(held.clone()), &caps(&[rule]));
            assert_eq!(scope.sight(path), Sight::Outside, "{rule}");
        }
    }

    fn scope(held: &[&str], denied: &[&str]) -> Scope {
        Scope::with_holes(Grant::of_run(caps(held)), &caps(denied))
    }

    #[test]
    fn a_denied_part_is_a_hole_and_a_denied_whole_is_gone() {
        let scope = scope(&["read:.", "write:out", "tool:files.*"], &["read:private", "read:out", "read:/etc"]);
        assert_eq!(scope.to_string(), "read:., tool:files.* except read:private, read:out");
        assert_eq!(scope.sight("private/x"), Sight::Outside);
        assert_eq!(scope.sight("out"), Sight::Outside, "whoever may not read may not write either");
        assert_eq!((scope.sight("."), scope.sight("src/a")), (Sight::Read, Sight::Read));
    }

    #[test]
    fn denying_to_write_leaves_a_reader() {
        let scope = scope(&["write:."], &["write:.git", "write:vendor/**/*.c"]);
        assert_eq!((scope.sight(".git/HEAD"), scope.sight("src")), (Sight::Read, Sight::Write));
        assert_eq!((scope.sight("vendor/x/a.c"), scope.sight("vendor/x/a.h")), (Sight::Read, Sight::Write));
        assert_eq!(super::tests::scope(&["write:out"], &["write:."]).sight("out/x"), Sight::Read);
    }

    #[test]
    fn a_rule_on_addresses_is_a_hole_in_what_is_held_by_name() {
        for (held, denied) in [
            (&["net:localhost:8080"][..], "net:[127.0.0.0/8]:*"),
            (&["net:*:*", "net:127.0.0.1:*"], "net:[10.0.0.0/8]:*"),
            (&["net:*"], "net:[93.184.0.0/16]:*"),
        ] {
            let scope = scope(held, &[denied]);
            assert_eq!(scope.holes(), caps(&[denied]), "{denied} of {held:?}");
            assert_eq!(scope.grant(), &Grant::of_run(caps(held)));
        }
        let net = NetScope::of(&scope(&["net:localhost:8080"], &["net:[127.0.0.0/8]:*"]));
        let home = NetTarget::of_url("GET", "http://localhost:8080/").unwrap();
        net.judge(&home).unwrap();
        assert!(net.judge_address(&home, "127.0.0.1".parse().unwrap()).unwrap_err().rule.is_some());
        net.judge_address(&home, "::1".parse().unwrap()).unwrap();
    }

    #[test]
    fn denying_all_names_denies_localhost() {
        assert_eq!(scope(&["net:localhost:8080"], &["net:*:*"]).grant(), &Grant::none());
        let part = scope(&["net:localhost:*"], &["net:*:8080"]);
        let asks = |url: &str| part.permits_request(&NetTarget::of_url("GET", url).unwrap());
        assert!(!asks("http://localhost:8080/") && asks("http://localhost:9090/"));
    }

    #[test]
    fn a_denied_path_is_denied_however_it_is_spelled() {
        let scope = scope(&["net:a.example/ADMIN/*", "net:a.example/v1/*"], &["net:a.example/admin/*"]);
        let asks = |url: &str| scope.permits_request(&NetTarget::of_url("GET", url).unwrap());
        assert!(!asks("https://a.example/ADMIN/x") && asks("https://a.example/v1/x"));
    }

    #[test]
    fn a_single_file_is_reached_through_its_directories() {
        let scope = scope(&["read:docs/a.md"], &[]);
        assert_eq!(
            ["docs", "docs/a.md", "docs/b.md"].map(|p| scope.sight(p)),
            [Sight::Passage, Sight::Read, Sight::Outside]
        );
    }

    proptest! {
        #[test]
        fn holes_only_take_away(held in vec(any_capability(), 0..5), denied in vec(any_capability(), 0..4), p in "(a|b)(/(a|b|ab)){0,2}") {
            let grant = Grant::of_run(held);
            let cut = Scope::with_holes(grant.clone(), &denied);
            prop_assert!(cut.sight(&p) <= Scope::whole(grant.clone()).sight(&p));
            for member in cut.grant().iter() { prop_assert!(grant.covers(member)); }
            for rule in &denied {
                if let Capability::Read(rule) = rule && rule.reach(&p) == crate::path::Reach::Inside { prop_assert!(cut.sight(&p) <= Sight::Passage); }
            }
        }
    }
}
