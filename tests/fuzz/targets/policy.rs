//! Judgement: whatever the rules are, a scope is never more than the grant, than any layer allows, or than the plugin
//! declared, and what is denied is not in it. Input: lines of `grant CAP`, `need CAP`, `tool NAME`, and `allow`, `ask` or `deny`
//! with one of `administrator project user run` and a CAP; other lines are paths and URLs to try.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vespiary_fuzz::lines;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::grant::Grant;
use vespiary_kernel::ids::{Digest, ToolName};
use vespiary_kernel::net::NetTarget;
use vespiary_kernel::path::Reach;
use vespiary_kernel::plugin::{Manifest, Need, Plugin, Trust};
use vespiary_kernel::policy::{Case, Layer, LayerKind, Place, Policy, Rule, Verdict};
use vespiary_kernel::scope::Scope;
use vespiary_kernel::sight::Sight;

const KINDS: [(&str, LayerKind); 4] = [
    ("administrator", LayerKind::Administrator),
    ("project", LayerKind::Project),
    ("user", LayerKind::User),
    ("run", LayerKind::Run),
];

fuzz_target!(|data: &[u8]| {
    let mut layers = KINDS.map(|(_, kind)| Layer::new(kind));
    let (mut grant, mut needs, mut samples) = (Vec::new(), Vec::new(), Vec::new());
    let mut tool: ToolName = "p.t".parse().unwrap();
    for (number, line) in (1..).zip(lines(data).into_iter().take(40)) {
        let mut words = line.splitn(2, ' ');
        let (word, rest) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let mut rule = |list: &mut dyn FnMut(&mut Layer, Rule)| {
            let Some((layer, text)) = rest.split_once(' ') else { return };
            let Some(at) = KINDS.iter().position(|(name, _)| *name == layer) else { return };
            let Ok(capability) = text.parse() else { return };
            list(&mut layers[at], Rule { capability, place: Place { source: "f".into(), line: number } });
        };
        match word {
            "grant" => grant.extend(rest.parse::<Capability>()),
            "need" => needs.extend(rest.parse::<Capability>()),
            "tool" => tool = rest.parse().unwrap_or(tool),
            "allow" => rule(&mut |layer, rule| layer.allow.get_or_insert_default().push(rule)),
            "ask" => rule(&mut |layer, rule| layer.ask.push(rule)),
            "deny" => rule(&mut |layer, rule| layer.deny.push(rule)),
            _ => samples.push(line),
        }
    }
    let grant = Grant::of_run(grant);
    let manifest = Manifest::parse("name = 'p'\nversion = '1'\nkind = 'tools'\ndescription = 'd'\n").unwrap();
    let mut plugin = Plugin::new(manifest, Digest::of(b"x"), Trust::Bundled).unwrap();
    let need = |capability: Capability| Need { capability, reason: "r".into(), tools: Vec::new(), optional: false };
    plugin.needs = needs.iter().cloned().map(need).collect();
    let case = Case { tool: &tool, grant: &grant, plugin: &plugin, extra: &[] };

    let whole = Policy::of_layers(layers.clone());
    let (verdict, steps) = whole.explain(case);
    assert_eq!(verdict, whole.judge(case), "explained otherwise than judged");
    assert!(matches!(verdict, Verdict::Deny(_)) || !steps.is_empty(), "a judgement without a reason");
    let scope = scope_of(&verdict);
    if let Some(scope) = scope {
        let this = Capability::Tool(vespiary_kernel::pattern::ToolPattern::One(tool.clone()));
        assert!(grant.covers(&this), "{tool} runs and is not granted");
        bounded(scope, &grant, &needs, &samples);
        for layer in &layers {
            within(scope, layer, &samples);
        }
    }
    // Fewer rules never leave less.
    for without in 0..layers.len() {
        let mut fewer = layers.to_vec();
        fewer.remove(without);
        let looser = Policy::of_layers(fewer).judge(case);
        let Some(scope) = scope else { continue };
        let looser = scope_of(&looser).unwrap_or_else(|| panic!("removing a layer refused {tool}: {looser:?}"));
        for path in samples.iter().filter(|path| is_plain(path)) {
            assert!(scope.sight(path) <= looser.sight(path), "a layer widened {path}");
        }
    }
});

fn scope_of(verdict: &Verdict) -> Option<&Scope> {
    match verdict {
        Verdict::Allow(scope) | Verdict::Ask(_, scope) => Some(scope),
        Verdict::Deny(_) => None,
    }
}

fn is_plain(path: &str) -> bool {
    let names = path.strip_prefix('/').unwrap_or(path);
    path == "." || !names.is_empty() && names.split('/').all(|name| !matches!(name, "" | "." | ".."))
}

fn bounded(scope: &Scope, grant: &Grant, needs: &[Capability], samples: &[String]) {
    for held in scope.grant().iter() {
        assert!(grant.covers(held), "{held} is in the scope and not in {grant}");
        assert!(needs.iter().any(|need| includes(need, held)), "{held} is in the scope and was not declared");
    }
    let whole = Scope::whole(grant.clone());
    for path in samples.iter().filter(|path| is_plain(path)) {
        assert!(scope.sight(path) <= whole.sight(path), "{scope} sees more of {path} than {grant}");
    }
}

/// Covers it, whatever is hidden there: a rule need not name what a grant has to.
fn includes(rule: &Capability, held: &Capability) -> bool {
    match (rule, held) {
        (Capability::Read(a) | Capability::Write(a), Capability::Read(b))
        | (Capability::Write(a), Capability::Write(b)) => a.includes(b),
        _ => rule.covers(held),
    }
}

/// What a layer says holds at every path and request.
fn within(scope: &Scope, layer: &Layer, samples: &[String]) {
    if let Some(allow) = &layer.allow {
        for held in scope.grant().iter() {
            assert!(allow.iter().any(|rule| includes(&rule.capability, held)), "{held} is above the ceiling");
        }
    }
    for deny in &layer.deny {
        for path in samples.iter().filter(|path| is_plain(path)) {
            let at = scope.sight(path);
            match &deny.capability {
                Capability::Read(rule)
                    if rule.reach(path) == Reach::Inside && rule.is_absolute() == path.starts_with('/') =>
                {
                    assert_eq!(at, Sight::Outside, "{path} is denied by {}", deny.capability);
                }
                Capability::Write(rule)
                    if rule.reach(path) == Reach::Inside && rule.is_absolute() == path.starts_with('/') =>
                {
                    assert!(at <= Sight::Read, "{path} is denied by {}", deny.capability);
                }
                _ => {}
            }
        }
        for target in samples.iter().filter_map(|url| NetTarget::of_url("GET", url).ok()) {
            if let Capability::Net(rule) = &deny.capability
                && rule.permits(&target)
            {
                assert!(!scope.permits_request(&target), "{target:?} is denied by {}", deny.capability);
            }
        }
    }
}
