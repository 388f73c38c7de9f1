//! What a policy says of calls, by example and by law.

use super::*;
use crate::capability::tests::any_capability;
use crate::plugin::tests::plugin;
use crate::sight::Sight;
use proptest::collection::vec;
use proptest::prelude::*;

fn caps(texts: &[&str]) -> Vec<Capability> {
    texts.iter().map(|t| t.parse().unwrap()).collect()
}

fn grant(texts: &[&str]) -> Grant {
    Grant::of_run(caps(texts))
}

fn files() -> Plugin {
    plugin(
        "name = 'files'\nversion = '1.0.0'\nkind = 'tools'\ndescription = 'd'\n\
         [[needs]]\ncapability = 'read:.'\nreason = 'r'\n\
         [[needs]]\ncapability = 'write:.'\nreason = 'r'\ntools = ['write']\n",
    )
}

fn rules(texts: &[&str]) -> Vec<Rule> {
    let rule =
        |(at, capability)| Rule { capability, place: Place { source: "policy.toml".into(), line: at as u32 + 1 } };
    caps(texts).into_iter().enumerate().map(rule).collect()
}

fn layer(kind: LayerKind, allow: Option<&[&str]>, ask: &[&str], deny: &[&str]) -> Layer {
    Layer { allow: allow.map(rules), ask: rules(ask), deny: rules(deny), ..Layer::new(kind) }
}

fn judge(policy: &Policy, tool: &str, held: &[&str]) -> Verdict {
    let (tool, grant, plugin) = (tool.parse().unwrap(), grant(held), files());
    let case = Case { tool: &tool, grant: &grant, plugin: &plugin, extra: &[] };
    let (told, steps) = policy.explain(case);
    assert_eq!(policy.judge(case), told, "explaining is judging");
    let denies = steps.iter().any(|step| step.effect == Effect::Denies);
    assert_eq!(denies, matches!(told, Verdict::Deny(_)), "{steps:?}");
    told
}

fn denied(verdict: Verdict) -> Denial {
    match verdict {
        Verdict::Deny(denial) => denial,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tool_gets_only_what_it_declared() {
    let held = ["read:.", "write:out", "tool:*"];
    let none = Policy::default();
    assert_eq!(judge(&none, "files.read", &held), Verdict::Allow(grant(&["read:.", "read:out"]).into()));
    let Verdict::Allow(scope) = judge(&none, "files.write", &held) else { panic!() };
    assert_eq!((scope.sight("out/x"), scope.sight("x")), (Sight::Write, Sight::Read));
}

#[test]
fn a_need_of_which_nothing_is_held_is_refused_with_the_remedy() {
    let denial = denied(judge(&Policy::default(), "files.write", &["read:.", "tool:files.*"]));
    assert_eq!(denial.to_string(), "needs write:.; the grant has read:., tool:files.* (grant it with --allow write:.)");
    denied(judge(&Policy::default(), "files.read", &["read:.", "tool:search.*"]));
}

#[test]
fn a_denial_names_all_that_is_missing_and_one_grant_that_would_do() {
    let denial = denied(judge(&Policy::default(), "files.write", &["env:HOME"]));
    assert_eq!(denial.needed, "tool:files.write, read:., write:.");
    assert_eq!(denial.hint, "grant them with --allow tool:files.write --allow read:. --allow write:.");
    let all = ["env:HOME", "tool:files.write", "read:.", "write:."];
    assert!(matches!(judge(&Policy::default(), "files.write", &all), Verdict::Allow(_)));
}

#[test]
fn deny_beats_ask_beats_allow() {
    let held = ["read:.", "tool:*"];
    let policy = |deny: &[&str], ask: &[&str]| Policy::of_run(caps(deny), caps(ask));
    let denial = denied(judge(&policy(&["tool:files.*"], &["tool:*"]), "files.read", &held));
    assert_eq!(denial.rule.as_deref(), Some("deny tool:files.* (--deny)"));
    assert!(matches!(judge(&policy(&[], &["tool:files.read"]), "files.read", &held), Verdict::Ask(..)));
    assert!(matches!(judge(&policy(&[], &["read:private"]), "files.read", &held), Verdict::Ask(..)));
    assert!(
        matches!(judge(&policy(&[], &["write:."]), "files.read", &held), Verdict::Allow(_)),
        "reading is not writing"
    );
    assert!(matches!(judge(&policy(&["read:/etc"], &["tool:git.*"]), "files.read", &held), Verdict::Allow(_)));
}

fn fetcher() -> Plugin {
    plugin(
        "name = 'files'\nversion = '1.0.0'\nkind = 'tools'\ndescription = 'd'\n\
         [[needs]]\ncapability = 'net:*:*'\nreason = 'r'\noptional = true\n\
         [[needs]]\ncapability = 'net:localhost:*'\nreason = 'r'\noptional = true\n\
         [[needs]]\ncapability = 'net:127.0.0.1:*'\nreason = 'r'\noptional = true\n",
    )
}

#[test]
fn a_rule_on_addresses_counts_for_whoever_may_ask_names() {
    let (tool, plugin) = ("files.fetch".parse().unwrap(), fetcher());
    let judged = |held: &[&str], deny: &[&str], ask: &[&str]| {
        let grant = grant(&[held, &["tool:*"]].concat());
        Policy::of_run(caps(deny), caps(ask)).judge(Case { tool: &tool, grant: &grant, plugin: &plugin, extra: &[] })
    };
    for (held, rule) in [
        (&["net:localhost:8080"][..], "net:[127.0.0.0/8]:*"),
        (&["net:*:*", "net:127.0.0.1:*"], "net:[10.0.0.0/8]:*"),
        (&["net:*"], "net:[93.184.0.0/16]:*"),
        (&["net:a.example:80"], "net:GET 93.184.216.34:80/x"),
    ] {
        let Verdict::Allow(scope) = judged(held, &[rule], &[]) else { panic!("{rule}") };
        assert_eq!((scope.grant(), scope.holes()), (&grant(held), &caps(&[rule])[..]), "{held:?}");
        let asked = judged(held, &[], &[rule]);
        assert!(matches!(&asked, Verdict::Ask(question, _) if question.rule == caps(&[rule])[0]), "{asked:?}");
    }
    let Verdict::Allow(scope) = judged(&["net:a.example:80"], &["net:[10.0.0.0/8]"], &["net:10.0.0.1/x"]) else {
        panic!("neither says anything of port 80")
    };
    assert_eq!(scope.holes(), []);
}

#[test]
fn all_names_are_granted_without_localhost_and_denied_with_it() {
    let (tool, plugin) = ("files.fetch".parse().unwrap(), fetcher());
    let parent = grant(&["net:*:*", "tool:*"]);
    let denial = parent.attenuate(&caps(&["net:localhost:8080", "tool:*"])).unwrap_err();
    assert_eq!(denial.needed, "net:localhost:8080");
    assert!(parent.attenuate(&caps(&["net:a.example:8080"])).is_ok());
    let held = grant(&["net:localhost:8080", "tool:*"]);
    let case = Case { tool: &tool, grant: &held, plugin: &plugin, extra: &[] };
    let Verdict::Allow(scope) = Policy::default().judge(case) else { panic!() };
    assert_eq!(scope.to_string(), "net:localhost:8080");
    let Verdict::Allow(scope) = Policy::of_run(caps(&["net:*:*"]), vec![]).judge(case) else { panic!() };
    assert_eq!(scope.grant(), &Grant::none());
}

#[test]
fn starting_an_agent_is_refused_where_a_rule_would_ask() {
    let held = grant(&["tool:*", "spawn:5"]);
    for rule in ["spawn:1", "spawn:5", "spawn:100"] {
        let policy = Policy::of_layers([layer(LayerKind::Administrator, None, &["write:.", rule], &[])]);
        let denial = policy.refuses_spawn(&held).unwrap();
        assert_eq!(denial.rule.as_deref(), Some(&*format!("ask {rule} (policy.toml:2)")));
        assert_eq!((denial.needed.as_str(), denial.held.as_str()), ("spawn:1", "tool:*, spawn:5"));
    }
    assert!(Policy::of_run(caps(&["spawn:1"]), vec![]).refuses_spawn(&held).is_some());
    assert_eq!(Policy::of_run(vec![], caps(&["tool:*"])).refuses_spawn(&held), None);
}

#[test]
fn a_denied_part_is_a_hole_and_all_of_a_need_is_a_denial() {
    let held = ["read:.", "write:out", "tool:*"];
    let Verdict::Allow(scope) = judge(&Policy::of_run(caps(&["read:private"]), vec![]), "files.read", &held) else {
        panic!()
    };
    assert_eq!((scope.sight("private/a"), scope.sight("a")), (Sight::Outside, Sight::Read));
    assert!(
        denied(judge(&Policy::of_run(caps(&["write:."]), vec![]), "files.write", &held)).needed.contains("write:.")
    );
    denied(judge(&Policy::of_run(caps(&["read:out"]), vec![]), "files.write", &held));
    let both = Policy::of_run(caps(&["write:out", "write:other"]), vec![]);
    let denial = denied(judge(&both, "files.write", &["read:.", "write:out", "write:other", "tool:*"]));
    assert!(denial.rule.unwrap().contains("deny write:"), "no single rule denies all, both together do");
}

#[test]
fn an_allow_list_is_a_ceiling_that_names_its_place() {
    let admin = layer(LayerKind::Administrator, Some(&["read:.", "tool:files.*", "write:out"]), &[], &[]);
    let policy = Policy::of_layers([admin]);
    let held = ["read:.", "write:.", "tool:*"];
    let Verdict::Allow(scope) = judge(&policy, "files.write", &held) else { panic!() };
    assert_eq!((scope.sight("out/x"), scope.sight("x")), (Sight::Write, Sight::Read));
    let denial = denied(judge(&policy, "search.grep", &held));
    assert!(denial.rule.as_ref().unwrap().contains("administrator (policy.toml:1)"), "{denial}");
    assert!(denied(judge(&policy, "files.write", &["read:.", "write:src", "tool:*"])).rule.is_some());
}

#[test]
fn every_layer_narrows_and_none_widens() {
    let user = layer(LayerKind::User, Some(&["read:.", "tool:*", "write:."]), &[], &[]);
    let project = layer(LayerKind::Project, Some(&["read:src", "tool:*"]), &[], &["tool:files.write"]);
    let policy = Policy::of_layers([user, project]);
    assert_eq!(policy.layers()[0].kind, LayerKind::Project);
    let Verdict::Allow(scope) = judge(&policy, "files.read", &["read:.", "tool:*"]) else { panic!() };
    assert_eq!(scope, grant(&["read:src"]).into());
    denied(judge(&policy, "files.write", &["read:.", "write:.", "tool:*"]));
    assert_eq!(policy.effective(&grant(&["read:.", "write:out", "tool:*", "spawn:5"])), grant(&["read:src", "tool:*"]));
}

#[test]
fn a_locked_layer_keeps_plugins_and_everything_outside_as_it_says() {
    let place = Place { source: "policy.toml".into(), line: 1 };
    let mut locked = Layer { locked: Some(place.clone()), ..Layer::new(LayerKind::Administrator) };
    let held = ["read:.", "tool:*", "net:example.com", "exec:make", "env:HOME"];
    let effective = Policy::of_layers([locked.clone()]).effective(&grant(&held));
    assert_eq!(effective, grant(&["read:.", "tool:*"]));
    let mut plugin = files();
    plugin.trust = Trust::Added;
    let (tool, grant) = ("files.read".parse().unwrap(), grant(&held));
    let judged = |layer: &Layer, plugin: &Plugin| {
        Policy::of_layers([layer.clone()]).judge(Case { tool: &tool, grant: &grant, plugin, extra: &[] })
    };
    assert!(denied(judged(&locked, &plugin)).to_string().contains("policy.toml:1"));
    let mut rule = PluginRule { name: plugin.name.clone(), digest: Some(plugin.digest), place };
    locked.plugins = Some(vec![rule.clone()]);
    assert!(matches!(judged(&locked, &plugin), Verdict::Allow(_)));
    rule.digest = Some(Digest::of(b"another"));
    locked.plugins = Some(vec![rule]);
    denied(judged(&locked, &plugin));
}

#[test]
fn ceilings_of_all_layers_hold_together() {
    let mut admin = Layer::new(LayerKind::Administrator);
    admin.call.memory_bytes_max = Some(1 << 20);
    admin.run.usd_micros_max = Some(7);
    admin.agents_max = Some(10);
    let mut user = Layer::new(LayerKind::User);
    user.call.memory_bytes_max = Some(1 << 30);
    let policy = Policy::of_layers([user, admin]);
    assert_eq!(policy.quota(&Quota::default()).memory_bytes_max, 1 << 20);
    let (agent, run) = policy.limits(Limits::of_agent(), Limits::of_run());
    assert_eq!((agent, run.of(crate::account::Resource::UsdMicros)), (Limits::of_agent(), 7));
    assert_eq!((policy.agents_max(1_000), policy.agents_max(3)), (10, 3));
}

proptest! {
    /// Whatever the rules: a scope never holds what the grant does not, nor what the plugin did not declare, and more rules
    /// never give more.
    #[test]
    fn rules_only_take_away(
        held in vec(any_capability(), 0..5), allow in proptest::option::of(vec(any_capability(), 0..4)),
        deny in vec(any_capability(), 0..3), p in "(a|b)(/(a|b|ab)){0,2}",
    ) {
        let (tool, plugin): (ToolName, _) = ("files.write".parse().unwrap(), files());
        let grant = Grant::of_run(held.into_iter().chain(caps(&["tool:files.write"])));
        let case = Case { tool: &tool, grant: &grant, plugin: &plugin, extra: &[] };
        let rule = |capability| Rule { capability, place: Place { source: "p".into(), line: 1 } };
        let layer = Layer {
            allow: allow.map(|allow| allow.into_iter().map(rule).collect()),
            deny: deny.into_iter().map(rule).collect(),
            ..Layer::new(LayerKind::User)
        };
        let at = |verdict: &Verdict| match verdict {
            Verdict::Allow(scope) | Verdict::Ask(_, scope) => scope.sight(&p),
            Verdict::Deny(_) => Sight::Outside,
        };
        let with = Policy::of_layers([layer]).judge(case);
        prop_assert!(at(&with) <= at(&Policy::default().judge(case)));
        if let Verdict::Allow(scope) = with {
            for member in scope.grant().iter() { prop_assert!(grant.covers(member)); }
        }
    }
}
