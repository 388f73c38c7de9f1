//! What a call sees of one tree: from granted and denied paths, and the list of what is hidden, to one answer a path. Pure:
//! nothing here knows what exists. Every answer is about a canonical path; one that was not resolved must not be asked about.

use crate::hidden::{guarding, hiding, leads_to_hidden};
use crate::path::{Reach, ScopePath};
use std::borrow::Cow;

/// What a cell may do at a path. The order is from less to more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sight {
    /// Not granted, or denied. Asking is not permitted, whatever is there.
    Outside,
    /// Granted with much else, and hidden for what it is. To the cell it does not exist.
    Hidden,
    /// A directory on the way to something granted: it may be gone through and listed, and shows nothing else.
    Passage,
    /// It may be looked at and read.
    Read,
    /// It may be changed, too.
    Write,
}

/// How a path is granted or denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// `read:`
    Read,
    /// `write:`
    Write,
}

/// The rules of one tree.
#[derive(Debug, Default)]
pub struct Rules {
    /// What stands before a path of the tree in the granted form; nothing for the project's own tree.
    prefix: Box<str>,
    granted: Vec<Rule>,
    denied: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    access: Access,
    path: ScopePath,
    /// The names of something hidden that the grant spells out, in lower case.
    hidden: Vec<String>,
    /// The same for what is guarded.
    guarded: Vec<String>,
}

impl Rules {
    /// Rules for the project's tree, or for one that begins at the absolute path `base`.
    pub fn new<'a>(
        base: Option<&str>,
        granted: impl IntoIterator<Item = (Access, &'a ScopePath)>,
        denied: impl IntoIterator<Item = (Access, &'a ScopePath)>,
    ) -> Self {
        let prefix = base.map_or("", |base| if base == "/" { "" } else { base });
        let absolute = base.is_some();
        let own = |(access, path): (Access, &ScopePath)| {
            (path.is_absolute() == absolute).then(|| Rule::new(access, path.clone()))
        };
        let prefix = if absolute { format!("{prefix}/") } else { prefix.to_owned() };
        Self {
            prefix: prefix.into(),
            granted: granted.into_iter().filter_map(own).collect(),
            denied: denied.into_iter().filter_map(own).collect(),
        }
    }

    /// What a cell may do at `path`, canonical and relative to the tree.
    pub fn sight(&self, path: &str) -> Sight {
        let text = &*self.text(path);
        let denied =
            |access| self.denied.iter().any(|rule| rule.access == access && rule.path.reach(text) == Reach::Inside);
        if denied(Access::Read) {
            return Sight::Outside;
        }
        let hides = hiding(text).next().is_some();
        let (mut best, mut hidden) = (Sight::Outside, false);
        for rule in &self.granted {
            let mut sight = match rule.path.reach(text) {
                Reach::Outside => continue,
                Reach::Passage => Sight::Passage,
                Reach::Inside if rule.access == Access::Write => Sight::Write,
                Reach::Inside => Sight::Read,
            };
            if hides && !rule.spells_out_hidden(text) {
                hidden = true;
                continue;
            }
            if sight == Sight::Write && guarding(text).next().is_some() && !rule.spells_out_guarded(text) {
                sight = Sight::Read;
            }
            best = best.max(sight);
        }
        match best {
            Sight::Outside if hidden => Sight::Hidden,
            Sight::Write if denied(Access::Write) => Sight::Read,
            best => best,
        }
    }

    /// Whether everything below `dir` is judged by names alone that lie below it, too: no rule begins or ends in between, and
    /// nothing there is hidden because of what `dir` is called. A directory of which this is not true must not be moved,
    /// since what lies below would be judged differently elsewhere.
    pub fn even_below(&self, dir: &str) -> bool {
        let text = &*self.text(dir);
        !leads_to_hidden(text)
            && self.granted.iter().chain(&self.denied).all(|rule| rule.path.reach(text) != Reach::Passage)
    }

    /// The path as capabilities write it: relative to the project, or absolute.
    pub fn text<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match (&*self.prefix, path) {
            ("", path) => Cow::Borrowed(path),
            ("/", ".") => Cow::Borrowed("/"),
            (prefix, ".") => Cow::Owned(prefix[..prefix.len() - 1].to_owned()),
            (prefix, path) => Cow::Owned(format!("{prefix}{path}")),
        }
    }

    /// The other way: a path as capabilities write it, as this tree knows it. `None` where it lies in another tree.
    pub fn inner<'a>(&self, text: &'a str) -> Option<&'a str> {
        match &*self.prefix {
            "" => (!text.starts_with('/')).then_some(text),
            prefix if text.strip_suffix('/').unwrap_or(text) == &prefix[..prefix.len() - 1] => Some("."),
            prefix => text.strip_prefix(prefix),
        }
    }
}

impl Rule {
    fn new(access: Access, path: ScopePath) -> Self {
        let (hidden, guarded) = path.granted_names();
        Self { access, path, hidden, guarded }
    }

    /// Whether all that hides `text` is spelled out here.
    fn spells_out_hidden(&self, text: &str) -> bool {
        let mut met: Vec<_> = hiding(text).map(|hiding| (hiding.at, hiding.name)).collect();
        // A name may hide for more than one reason.
        met.sort_unstable();
        met.dedup();
        often_enough(&self.hidden, met.iter().map(|(_, name)| *name))
            && met.iter().all(|(at, name)| self.spells_out(&self.hidden, text, *at, name))
    }

    /// Whether all that guards `text` is.
    fn spells_out_guarded(&self, text: &str) -> bool {
        often_enough(&self.guarded, guarding(text).map(|(_, name)| name))
            && guarding(text).all(|(at, name)| self.spells_out(&self.guarded, text, at, name))
    }

    /// Whether the name that begins at `at` is met here by the same name, and not by chance: with another name in its place
    /// the path would not be meant.
    fn spells_out(&self, spelled: &[String], text: &str, at: usize, name: &str) -> bool {
        if !spelled.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return false;
        }
        let otherwise = format!("{}\0{}", &text[..at], &text[at + name.len()..]);
        self.path.granted_reach(&otherwise) != Reach::Inside
    }
}

/// Whether each of `met` is spelled as often as it is met: one that is named once is not shown below itself.
fn often_enough<'a>(spelled: &[String], met: impl Iterator<Item = &'a str>) -> bool {
    let mut left: Vec<&String> = spelled.iter().collect();
    met.into_iter().all(|name| {
        let found = left.iter().position(|own| own.eq_ignore_ascii_case(name));
        found.map(|at| left.swap_remove(at)).is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Capability;
    use crate::grant::Grant;
    use crate::scope::Scope;
    use Sight::{Hidden, Outside, Passage, Read, Write};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn rules(granted: &[&str], denied: &[&str]) -> Rules {
        let parse = |texts: &[&str]| -> Vec<(Access, ScopePath)> {
            let one = |text: &&str| {
                let (kind, path) = text.split_once(':').unwrap();
                (if kind == "write" { Access::Write } else { Access::Read }, path.parse().unwrap())
            };
            texts.iter().map(one).collect()
        };
        let (granted, denied) = (parse(granted), parse(denied));
        let base = granted[0].1.is_absolute().then(|| granted[0].1.base());
        let each = |list: &'_ [(Access, ScopePath)]| list.iter().map(|(a, p)| (*a, p.clone())).collect::<Vec<_>>();
        let (granted, denied) = (each(&granted), each(&denied));
        Rules::new(
            base.as_deref(),
            granted.iter().map(|(access, path)| (*access, path)),
            denied.iter().map(|(access, path)| (*access, path)),
        )
    }

    #[test]
    fn the_best_that_any_capability_gives() {
        let rules = rules(&["read:.", "write:out"], &[]);
        for (path, sight) in [(".", Read), ("a", Read), ("out", Write), ("out/x", Write), ("out2", Read)] {
            assert_eq!(rules.sight(path), sight, "{path}");
        }
    }

    #[test]
    fn a_narrow_grant_shows_the_way_to_it_and_no_more() {
        let rules = rules(&["read:src/app"], &[]);
        for (path, sight) in [
            (".", Passage),
            ("src", Passage),
            ("src/app", Read),
            ("src/app/x", Read),
            ("src/lib", Outside),
            ("src-private", Outside),
            ("src/app2", Outside),
            ("README", Outside),
        ] {
            assert_eq!(rules.sight(path), sight, "{path}");
        }
    }

    #[test]
    fn denied_paths_are_holes() {
        let rules = rules(&["write:."], &["read:private", "write:docs"]);
        for (path, sight) in
            [("private", Outside), ("private/x", Outside), ("private2", Write), ("docs/x", Read), ("a", Write)]
        {
            assert_eq!(rules.sight(path), sight, "{path}");
        }
        assert!(!rules.even_below("."));
        assert!(rules.even_below("docs") && rules.even_below("a"));
    }

    #[test]
    fn what_is_hidden_must_be_spelled_out() {
        let broad = rules(&["write:."], &[]);
        for path in [".env", "a/.env", ".git/config", "id_rsa", "a.pem", ".Git/Config", "a.pem/b"] {
            assert_eq!(broad.sight(path), Hidden, "{path}");
        }
        let named = rules(&["read:.", "read:.env", "read:deploy/id_rsa", "read:.git/config", "write:x.key"], &[]);
        for (path, sight) in [
            (".env", Read),
            ("deploy/id_rsa", Read),
            (".git/config", Read),
            ("a/.env", Hidden),
            ("id_rsa", Hidden),
            ("x.key", Write),
            ("x.key/y", Write),
            ("x.key/.env", Hidden),
        ] {
            assert_eq!(named.sight(path), sight, "{path}");
        }
        assert_eq!(rules(&["read:.ssh/id_rsa"], &[]).sight(".ssh/id_rsa"), Read, "hidden for two reasons");
        // The name must stand where the hidden one stands, with all that makes it hidden.
        assert_eq!(rules(&["read:config"], &[]).sight("config/.git/config"), Hidden);
        assert_eq!(rules(&["read:.git"], &[]).sight(".git/config"), Hidden);
        assert_eq!(rules(&["read:.env"], &[]).sight(".env/.env"), Hidden);
    }

    #[test]
    fn globs_show_what_matches_and_the_way_to_it() {
        let rules = rules(&["read:src/**/*.rs", "read:*.md", "read:**/.env", "write:out/*/log"], &["read:**/gen"]);
        for (path, sight) in [
            ("src", Passage),
            ("src/a", Passage),
            ("src/a/b.rs", Read),
            ("src/gen", Outside),
            ("src/gen/b.rs", Outside),
            ("src/a.c", Passage),
            ("src-private/a.rs", Passage),
            ("README.md", Read),
            ("src/README.md", Passage),
            ("a/.env", Read),
            ("a/.env.local", Hidden),
            ("out/1/log/x", Write),
            ("out/1", Passage),
            ("a/id_rsa", Hidden),
        ] {
            assert_eq!(rules.sight(path), sight, "{path}");
        }
        assert!(!rules.even_below("src") && !rules.even_below("out/1"));
        let meet = super::tests::rules(&["read:**/*.pem & certs"], &[]);
        assert_eq!((meet.sight("certs/a.pem"), meet.sight("certs")), (Hidden, Passage));
    }

    #[test]
    fn guarded_directories_are_read_only_unless_spelled_out() {
        let broad = rules(&["write:."], &[]);
        for path in
            [".git", ".git/hooks/pre-commit", "sub/.git", "sub/.git/HEAD", ".GIT/hooks/x", ".ssh/authorized_keys"]
        {
            assert_eq!(broad.sight(path), Read, "{path}");
        }
        let named = rules(&["write:.", "write:.git/hooks"], &[]);
        assert_eq!(named.sight(".git/hooks/x"), Write);
        assert_eq!(named.sight(".git/HEAD"), Read);
        assert_eq!(named.sight(".git/hooks/.git/x"), Read);
    }

    #[test]
    fn what_a_project_obeys_is_changed_only_where_it_is_named() {
        let changed = |held: &[&str]| {
            let rules = rules(held, &[]);
            let all =
                [".vespiary/workflows/evil.js", ".vespiary/agents/a.md", ".vespiary", "sub/.vespiary/agents/a.md"];
            all.map(|path| rules.sight(path) == Write)
        };
        assert_eq!(changed(&["write:."]), [false; 4]);
        assert_eq!(changed(&["write:.", "write:.vespiary/agents"]), [false, true, false, false]);
        assert_eq!(changed(&["write:.", "write:/tmp/elsewhere/.vespiary"]), [false; 4]);
        assert_eq!(changed(&["write:.", "write:other/.vespiary"]), [false; 4]);
        assert_eq!(changed(&["write:.", "write:.vespiary"]), [true, true, true, false]);
        assert_eq!(changed(&["write:.", "write:sub/.vespiary"]), [false, false, false, true]);
    }

    #[test]
    fn absolute_trees_are_judged_by_absolute_paths() {
        let rules = rules(&["read:/data/in", "write:/data/in/out"], &["read:/data/in/no"]);
        assert_eq!(rules.text("."), "/data/in");
        for (path, sight) in [(".", Read), ("a", Read), ("out/x", Write), ("no", Outside)] {
            assert_eq!(rules.sight(path), sight, "{path}");
        }
        let all = Rules::new(Some("/"), [(Access::Read, &"/etc".parse().unwrap())], []);
        assert_eq!(
            (all.sight("."), all.sight("etc"), all.sight("etc/x"), all.sight("usr")),
            (Passage, Read, Read, Outside)
        );
    }

    /// Paths with what is hidden and guarded in them.
    fn any_path() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            5 => prop_oneof![Just(".env"), Just(".env.local"), Just(".git"), Just("config"), Just("id_rsa"), Just(".ssh")],
            3 => prop_oneof![Just("a"), Just("modules"), Just("*"), Just("**"), Just(".e*"), Just("*.pem"), Just("x.pem")],
        ];
        let pattern = vec(name, 0..4).prop_map(|names| if names.is_empty() { ".".into() } else { names.join("/") });
        vec(pattern, 1..3).prop_map(|patterns| patterns.join(" & "))
    }

    fn any_held() -> impl Strategy<Value = Capability> {
        let parse = |(kind, path): (&str, String)| format!("{kind}:{path}").parse().ok();
        (prop_oneof![Just("read"), Just("write")], any_path()).prop_filter_map("nothing is both", parse)
    }

    fn any_canonical() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            5 => prop_oneof![Just(".env"), Just(".ENV"), Just(".env.local"), Just(".git"), Just("config"), Just("id_rsa")],
            2 => prop_oneof![Just("a"), Just("modules"), Just("x.pem"), Just(".ssh")],
        ];
        vec(name, 1..5).prop_map(|names| names.join("/"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, max_local_rejects: u32::MAX, ..ProptestConfig::default() })]

        #[test]
        fn who_is_covered_sees_no_more(a in any_held(), b in any_held(), path in any_canonical()) {
            let sees = |held: &Capability| Scope::whole(Grant::of_run([held.clone()])).sight(&path);
            if a.covers(&b) { prop_assert!(sees(&b) <= sees(&a), "{a} {b} {path}"); }
            if let Some(met) = a.meet(&b) {
                prop_assert!(a.covers(&met), "{a} meets {b}: {met}");
                prop_assert!(sees(&met) <= sees(&a), "{a} meets {b}: {met}; {path}");
            }
        }

        #[test]
        fn the_order_holds_for_what_is_hidden(a in any_held(), b in any_held(), c in any_held()) {
            prop_assert!(a.covers(&a));
            prop_assert_eq!(&a.to_string().parse::<Capability>().unwrap(), &a);
            if a.covers(&b) && b.covers(&a) { prop_assert_eq!(&a, &b); }
            if a.covers(&b) && b.covers(&c) { prop_assert!(a.covers(&c)); }
        }

        #[test]
        fn a_narrower_grant_shows_no_more(held in vec(any_held(), 1..4), needs in vec(any_held(), 1..4), path in any_canonical()) {
            let grant = Grant::of_run(held.clone());
            let sees = |grant: Grant| Scope::whole(grant).sight(&path);
            prop_assert!(sees(grant.narrow(&needs)) <= sees(grant.clone()));
            if let Ok(child) = grant.attenuate(&needs) { prop_assert!(sees(child) <= sees(grant.clone())); }
            // Whatever one of its members shows, all of them together show.
            for one in held { prop_assert!(sees(Grant::of_run([one])) <= sees(grant.clone())); }
        }
    }
}
