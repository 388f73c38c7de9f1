//! What a policy may say and hardly means: rules without effect, rules that allow more than they seem to. Told by `policy
//! check`, and never a reason to refuse the file.

use super::fault::{Fault, meant};
use std::sync::Arc;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::net::HostPattern;
use vespiary_kernel::pattern::ToolPattern;
use vespiary_kernel::policy::{Layer, Rule};

/// Pairs of rules that are held against each other; the longest lists would keep every start waiting.
const PAIRS_MAX: usize = 20_000;

/// Programs that run whatever they are told.
const INTERPRETERS: [&str; 15] = [
    "sh", "bash", "dash", "zsh", "fish", "env", "xargs", "sudo", "su", "python3", "python", "node", "perl", "ruby",
    "busybox",
];

/// Directories of the root that nobody means inside a project.
const OF_THE_ROOT: [&str; 9] = ["etc", "home", "root", "usr", "var", "proc", "sys", "dev", "run"];

/// Everything about `layer`, read from `file`, that deserves a second look.
pub(super) fn doubts(layer: &Layer, file: &Arc<str>) -> Vec<Fault> {
    let mut all = Vec::new();
    if let Some(allow) = &layer.allow {
        of_ceiling(allow, file, &mut all);
        let pairs = allow.len() * (layer.deny.len() + layer.ask.len());
        for rule in layer.deny.iter().chain(&layer.ask).filter(|_| pairs <= PAIRS_MAX) {
            // Of one tool a rule can also speak through what the tool needs, so only a rule about nothing at all is idle.
            let touched = allow.iter().any(|allowed| may_lose(&allowed.capability, &rule.capability));
            if !touched {
                let what = format!("{} changes nothing: allow leaves no part of it", rule.capability);
                all.push(of_rule(rule, what, "remove it, or look for a slip in one of the two"));
            }
        }
        for rule in allow.iter().filter(|_| pairs <= PAIRS_MAX) {
            let denied = layer
                .deny
                .iter()
                .find(|deny| rule.capability.without_all(std::slice::from_ref(&deny.capability)).is_none());
            if let Some(deny) = denied {
                let what = format!("{} is allowed, and denied in line {}", rule.capability, deny.place.line);
                all.push(of_rule(rule, what, "remove one of the two; the denial wins"));
            }
        }
    }
    for rule in layer.allow.iter().flatten().chain(&layer.deny).chain(&layer.ask) {
        of_capability(rule, &mut all);
    }
    all
}

/// Whether `rule` may take from what is allowed. A place has two names, from the project and from the root, and where the project will
/// lie nobody knows yet: a rule by one of them is never idle beside what is allowed by the other.
fn may_lose(allowed: &Capability, rule: &Capability) -> bool {
    let other_name = match (allowed, rule) {
        (Capability::Read(one), Capability::Read(other))
        | (Capability::Write(one), Capability::Read(other) | Capability::Write(other)) => {
            one.is_absolute() != other.is_absolute()
        }
        _ => false,
    };
    other_name || allowed.loses_to(rule)
}

/// Rules about plugins that nobody here knows: a slip in the name of what is denied denies nothing.
pub fn strangers(layer: &Layer, known: &[String]) -> Vec<Fault> {
    let listed = layer.plugins.iter().flatten().map(|rule| rule.name.as_str());
    let known: Vec<&str> = known.iter().map(String::as_str).chain(listed).collect();
    let rules = layer.allow.iter().flatten().chain(&layer.deny).chain(&layer.ask);
    let strange = rules.filter_map(|rule| {
        let name = match &rule.capability {
            Capability::Tool(ToolPattern::One(tool)) => tool.plugin(),
            Capability::Tool(ToolPattern::Plugin(plugin)) => plugin.as_str(),
            _ => return None,
        };
        let next = match meant(name, known.iter().copied()) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => "ignore this if it is added with --plugin".to_owned(),
        };
        let what = format!("{} is about a plugin that is neither bundled nor listed", rule.capability);
        (!known.contains(&name)).then(|| of_rule(rule, what, next))
    });
    strange.collect()
}

fn of_ceiling(allow: &[Rule], file: &Arc<str>, all: &mut Vec<Fault>) {
    let Some(first) = allow.first() else {
        let next = "name what may be done, or leave allow out to set no ceiling";
        return all.push(Fault::of_file(Arc::clone(file), "allow is empty: nothing at all can be done", next));
    };
    if !allow.iter().any(|rule| matches!(rule.capability, Capability::Tool(_) | Capability::Mcp(_))) {
        all.push(of_rule(first, "allow names no tool: none can be called", "add \"tool:*\", or the tools you mean"));
    }
    for rule in allow {
        let (what, next) = match &rule.capability {
            Capability::Read(path) | Capability::Write(path) if path.as_str() == "/" => {
                ("means every file of the machine", "name the directories")
            }
            Capability::Net(net) if net.host == HostPattern::AnyName => {
                ("means every host there is", "name the hosts, or *.DOMAIN")
            }
            Capability::Env(name) if looks_secret(name.as_str()) => {
                ("shows a secret to whatever runs in the cell", "use secret:NAME@HOST, which keeps the value out of it")
            }
            Capability::Exec(program) if INTERPRETERS.contains(&program.as_str()) => {
                ("runs whatever it is told to run", "name the programs that are needed")
            }
            _ => continue,
        };
        all.push(of_rule(rule, format!("{} {what}", rule.capability), next));
    }
    let any_tool = Capability::Tool(ToolPattern::Any);
    if allow.iter().any(|rule| rule.capability == any_tool) {
        for rule in
            allow.iter().filter(|rule| matches!(rule.capability, Capability::Tool(_)) && rule.capability != any_tool)
        {
            let what = format!("{} is part of tool:*", rule.capability);
            all.push(of_rule(rule, what, "remove tool:* if you mean to name tools"));
        }
    }
}

fn of_capability(rule: &Rule, all: &mut Vec<Fault>) {
    if matches!(rule.capability, Capability::Net(_) | Capability::Secret(_))
        && rule.capability.to_string().contains("xn--")
    {
        let what = format!("{} names a host with letters beyond ASCII, which can look like another", rule.capability);
        all.push(of_rule(rule, what, "compare it with the host that is meant"));
    }
    let (Capability::Read(path) | Capability::Write(path)) = &rule.capability else { return };
    let text = path.as_str();
    if !text.is_ascii() {
        let what =
            format!("{} has letters beyond ASCII, which can look like others and be other names", rule.capability);
        all.push(of_rule(rule, what, "compare it with the name on disk, byte by byte"));
    }
    let first = text.split('/').next().unwrap_or_default();
    if !path.is_absolute() && OF_THE_ROOT.contains(&first) {
        let what = format!("{} is relative: it means {first} in the project", rule.capability);
        all.push(of_rule(rule, what, format!("write /{text} if you mean the machine's")));
    }
}

fn of_rule(rule: &Rule, what: impl Into<String>, next: impl Into<String>) -> Fault {
    let (file, line) = (Arc::clone(&rule.place.source), rule.place.line);
    Fault { file, line, column: 0, what: what.into(), next: next.into() }
}

fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use crate::policy::sheet::Sheet;
    use vespiary_kernel::policy::LayerKind;

    fn doubts(text: &str) -> Vec<String> {
        let sheet = Sheet::read(text, &"p.toml".into(), LayerKind::Administrator).unwrap();
        sheet.doubts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_hardly_meant_is_told_with_its_line() {
        for (text, part) in [
            ("allow = []", "p.toml: allow is empty"),
            ("allow = ['read:.']", "p.toml:1: allow names no tool"),
            ("allow = ['tool:*',\n'read:/']", "p.toml:2: read:/ means every file"),
            ("allow = ['tool:*', 'net:*']", "every host"),
            ("allow = ['tool:*', 'env:API_KEY']", "use secret:NAME@HOST"),
            ("allow = ['tool:*', 'exec:bash']", "whatever it is told"),
            ("allow = ['tool:*', 'tool:files.read']", "is part of tool:*"),
            ("allow = ['tool:*', 'read:src']\ndeny = ['net:*']", "p.toml:2: net:* changes nothing"),
            ("allow = ['tool:*', 'read:src']\ndeny = ['read:.']", "is allowed, and denied in line 2"),
            ("deny = ['read:etc/shadow']", "write /etc/shadow"),
            ("deny = ['read:\u{441}\u{442}']", "beyond ASCII"),
        ] {
            let all = doubts(text);
            assert!(all.iter().any(|doubt| doubt.contains(part)), "{text}: {all:?}");
        }
    }

    #[test]
    fn a_slip_in_a_plugins_name_is_told() {
        let text =
            "deny = ['tool:filse.write', 'tool:mine.*', 'tool:files.read', 'tool:*']\nplugins = [{ name = 'mine' }]\n";
        let sheet = Sheet::read(text, &"p.toml".into(), LayerKind::Administrator).unwrap();
        let strange = super::strangers(&sheet.layer, &["files".into()]);
        assert_eq!(strange.len(), 1, "{strange:?}");
        assert!(strange[0].to_string().ends_with("did you mean \"files\"?"), "{strange:?}");
    }

    #[test]
    fn a_rule_on_addresses_is_not_idle_where_names_are_allowed() {
        for text in [
            "allow = ['tool:*', 'net:a.example', 'net:localhost:8080']\n\
             deny = ['net:[10.0.0.0/8]', 'net:[127.0.0.0/8]:*']\nask = ['net:[93.184.0.0/16]:*']\n",
            "allow = ['tool:*', 'net:a.example/ADMIN/*']\ndeny = ['net:a.example/admin/*']\n",
        ] {
            assert_eq!(doubts(text), Vec::<String>::new());
        }
        let idle = doubts("allow = ['tool:*', 'net:a.example']\ndeny = ['net:[10.0.0.0/8]:80']\n");
        assert!(idle.iter().any(|doubt| doubt.contains("changes nothing")), "it is about another port: {idle:?}");
    }

    /// Whoever follows it would take away what keeps a run out of there.
    #[test]
    fn a_rule_by_the_other_name_of_a_place_is_not_idle() {
        for text in [
            "allow = ['tool:*', 'read:.']\ndeny = ['read:/srv/payroll']\n",
            "allow = ['tool:*', 'write:out']\ndeny = ['read:/srv/payroll']\nask = ['write:/srv']\n",
            "allow = ['tool:*', 'read:/srv/app']\ndeny = ['read:private']\n",
        ] {
            assert_eq!(doubts(text), Vec::<String>::new());
        }
        let idle = doubts("allow = ['tool:*', 'read:.']\ndeny = ['write:/srv/payroll']\n");
        assert!(idle.iter().any(|doubt| doubt.contains("changes nothing")), "a reader loses nothing to it: {idle:?}");
    }

    #[test]
    fn the_policies_in_the_book_raise_none() {
        let book = include_str!("../../../docs/policy.md");
        let files: Vec<&str> = book.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        let files: Vec<&str> = files.into_iter().filter(|text| text.contains("policy.toml\n")).collect();
        assert_eq!(files.len(), 2, "{files:?}");
        for text in files {
            assert_eq!(doubts(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_sound_policy_raises_none() {
        let text = "locked = true\nallow = ['tool:files.*', 'read:.', 'write:out', 'net:api.example.com', 'spawn:10']\n\
                    deny = ['read:private', 'write:out/keep']\nask = ['write:.']\n";
        assert_eq!(doubts(text), Vec::<String>::new());
    }
}
