//! What a broad grant does not show: files that hold credentials, and directories whose content runs on the host. Pure data and
//! its matching; who is granted what is asked elsewhere. Policy, documentation and every sort of confinement use this one list.
//!
//! Names compare without regard to ASCII case, since some file systems do. A grant that spells the hidden name out
//! (`read:.env`, `read:deploy/**/id_rsa`) shows it; one that merely covers it (`read:.`, `read:*`) does not.

/// One sort of thing that is hidden: every path in which these names stand one after the other, and all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hidden {
    /// Names joined by `/`; the last one is what has to be spelled out. In a name `*` stands for any characters; a name `**`
    /// for any number of names.
    pub form: &'static str,
    /// Forms of the last name that are shown all the same.
    pub except: &'static [&'static str],
    /// What it holds, for people.
    pub holds: &'static str,
}

const fn hidden(form: &'static str, holds: &'static str) -> Hidden {
    Hidden { form, except: &[], holds }
}

/// Forms of `.env` that are written to be shared.
const TEMPLATES: &[&str] = &["*.example", "*.sample", "*.template", "*.dist", "*.defaults"];

/// Forms whose first name begins with a dot.
const DOTTED: &[Hidden] = &[
    hidden(".env", "settings with secrets"),
    Hidden { form: ".env.*", except: TEMPLATES, holds: "settings with secrets" },
    hidden(".netrc", "passwords by host"),
    hidden(".git-credentials", "passwords of Git remotes"),
    hidden(".pgpass", "database passwords"),
    hidden(".my.cnf", "database passwords"),
    hidden(".npmrc", "registry tokens"),
    hidden(".pypirc", "registry tokens"),
    hidden(".vault-token", "a token of Vault"),
    hidden(".docker/config.json", "registry passwords"),
    hidden(".aws/credentials", "keys of AWS"),
    hidden(".cargo/credentials", "registry tokens"),
    hidden(".cargo/credentials.toml", "registry tokens"),
    hidden(".kube/config", "keys of Kubernetes clusters"),
    hidden(".config/gh/hosts.yml", "tokens of GitHub"),
    hidden(".config/gcloud/credentials.db", "keys of Google Cloud"),
    hidden(".config/gcloud/application_default_credentials.json", "keys of Google Cloud"),
    hidden(".gnupg/*", "private keys"),
    Hidden {
        form: ".ssh/*",
        except: &["*.pub", "config", "known_hosts", "known_hosts.old", "authorized_keys"],
        holds: "private keys",
    },
    hidden(".git/config", "passwords in the addresses of remotes"),
    hidden(".git/config.worktree", "passwords in the addresses of remotes"),
    hidden(".git/credentials", "passwords of Git remotes"),
    hidden(".git/worktrees/*/config.worktree", "passwords in the addresses of remotes"),
    hidden(".git/modules/**/config", "passwords in the addresses of remotes"),
    hidden(".git/modules/**/config.worktree", "passwords in the addresses of remotes"),
    hidden(".git/modules/**/credentials", "passwords of Git remotes"),
];

/// Forms of one name, spelled out, that begin otherwise.
const PLAIN: &[Hidden] = &[
    hidden("_netrc", "passwords by host"),
    hidden("id_rsa", "a private key"),
    hidden("id_dsa", "a private key"),
    hidden("id_ecdsa", "a private key"),
    hidden("id_ecdsa_sk", "a private key"),
    hidden("id_ed25519", "a private key"),
    hidden("id_ed25519_sk", "a private key"),
];

/// Forms of one name that is told by its end.
const ENDINGS: &[Hidden] = &[
    hidden("*.pem", "a private key"),
    hidden("*.key", "a private key"),
    hidden("*.p12", "a private key"),
    hidden("*.pfx", "a private key"),
    hidden("*.jks", "private keys"),
    hidden("*.keystore", "private keys"),
    hidden("*.kdbx", "passwords"),
];

/// Directories and files that a broad `write:` shows and does not let change, and why: what stands there is executed on the
/// host, or decides how other things there are read. A grant that spells the name out may change them.
pub const GUARDED: &[(&str, &str)] = &[
    (".git", "hooks and settings there run programs"),
    (".ssh", "settings there run programs and let others in"),
    (".aws", "settings there run programs"),
    (".docker", "settings there run programs"),
    (".gnupg", "settings there decide what is trusted"),
    (".vespiary", "workflows there run with what whoever runs them grants, and its policy binds the next run"),
    (".claude", "settings and hooks there run programs"),
    (".claude.json", "it says which MCP servers are started, and how"),
    (".codex", "settings there say which MCP servers are started, and how"),
    (".cursor", "settings there say which MCP servers are started, and how"),
    (".vscode", "settings and tasks there run programs, and say which MCP servers are started"),
    (".husky", "hooks there run programs"),
    (".mcp.json", "it says which MCP servers are started, and how"),
    ("vespiary.toml", "it says which MCP servers are started, and how"),
    ("vespiary.lock", "it says which MCP servers and tools are trusted"),
];

/// Everything that is hidden, for documentation and for programs that confine by other means.
pub fn all() -> impl Iterator<Item = &'static Hidden> {
    DOTTED.iter().chain(PLAIN).chain(ENDINGS)
}

/// A name in a path that hides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hiding<'a> {
    /// The name, as the path spells it.
    pub name: &'a str,
    /// Where in the path the name begins, bytes.
    pub at: usize,
    /// The form it has.
    pub by: &'static Hidden,
}

/// The names in `path` that hide it; none where the path is shown. `path` is in canonical form: names joined by `/`.
///
/// ```
/// use vespiary_kernel::hidden::hiding;
/// assert!(hiding("src/main.rs").next().is_none());
/// assert_eq!(hiding("deploy/.ENV").next().unwrap().name, ".ENV");
/// assert_eq!(hiding(".git/config").next().unwrap().name, "config");
/// ```
pub fn hiding(path: &str) -> impl Iterator<Item = Hiding<'_>> {
    names(path).filter_map(move |(at, name)| {
        let (last, by) = starting_with(name, &path[at..])?;
        Some(Hiding { name: last, at: last.as_ptr() as usize - path.as_ptr() as usize, by })
    })
}

/// The names in `path` for which a broad `write:` does not let it change, each with the place where it begins.
pub fn guarding(path: &str) -> impl Iterator<Item = (usize, &str)> {
    names(path).filter(|(_, name)| {
        // What no guarded name begins with is most of all names.
        name.starts_with(['.', 'v', 'V']) && GUARDED.iter().any(|(guarded, _)| guarded.eq_ignore_ascii_case(name))
    })
}

/// Which of the literal names of a pattern, in their order, name something hidden: the places of the last names of forms. Other
/// names may stand between those of a form, since a pattern has globs there; that says yes too often and never too seldom.
pub(crate) fn named(literals: &[&str]) -> Vec<usize> {
    let names = |form: &'static str| form.split('/').filter(|name| *name != "**");
    let shows = |at: &usize| {
        all().any(|hidden| {
            let (last, name) = (names(hidden.form).next_back().unwrap_or_default(), literals[*at]);
            let excepted = || hidden.except.iter().any(|form| name_matches(form.as_bytes(), name.as_bytes()));
            let mut before = literals[..*at].iter();
            let mut begins = names(hidden.form).take(names(hidden.form).count() - 1).filter(|name| *name != "*");
            name_matches(last.as_bytes(), name.as_bytes())
                && !excepted()
                && begins.all(|form| before.any(|name| name.eq_ignore_ascii_case(form)))
        })
    };
    (0..literals.len()).filter(shows).collect()
}

/// The same for what is guarded.
pub(crate) fn guarded(literals: &[&str]) -> Vec<usize> {
    let guards = |at: &usize| GUARDED.iter().any(|(name, _)| name.eq_ignore_ascii_case(literals[*at]));
    (0..literals.len()).filter(guards).collect()
}

/// Whether something below `dir` is hidden because of the names `dir` ends with: `.kube` leads to `.kube/config`. A directory
/// that has another name hides it no longer, so such a one must not be moved.
pub fn leads_to_hidden(dir: &str) -> bool {
    names(dir).any(|(at, name)| {
        let mut forms = DOTTED.iter().filter(|hidden| hidden.form.contains('/'));
        name.starts_with('.') && forms.any(|hidden| begins(hidden.form, &dir[at..]))
    })
}

/// Whether `path` ends before the form does, and fits it so far.
fn begins(form: &str, path: &str) -> bool {
    let Some((own, deeper)) = form.split_once('/') else { return false };
    let (name, below) = path.split_once('/').map_or((path, None), |(name, below)| (name, Some(below)));
    own == "**" || name_matches(own.as_bytes(), name.as_bytes()) && below.is_none_or(|below| begins(deeper, below))
}

/// The names of a path, each with the place where it begins.
fn names(path: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    path.split('/').map(move |name| {
        let began = at;
        at += name.len() + 1;
        (began, name)
    })
}

/// Whether `rest`, which begins with `name`, begins with a hidden form; gives the last name of what matched.
fn starting_with<'a>(name: &'a str, rest: &'a str) -> Option<(&'a str, &'static Hidden)> {
    match name.as_bytes().first()? {
        b'.' => {
            let dotted = DOTTED.iter().find_map(|hidden| Some((matched(hidden, rest)?, hidden)));
            dotted.or_else(|| by_ending(name))
        }
        b'i' | b'I' | b'_' => {
            let plain = PLAIN.iter().find(|hidden| hidden.form.eq_ignore_ascii_case(name));
            plain.map(|hidden| (name, hidden)).or_else(|| by_ending(name))
        }
        _ => by_ending(name),
    }
}

fn by_ending(name: &str) -> Option<(&str, &'static Hidden)> {
    let dot = name.bytes().rposition(|byte| byte == b'.')?;
    let ending = &name.as_bytes()[dot..];
    let fits = |hidden: &&Hidden| hidden.form.as_bytes()[1..].eq_ignore_ascii_case(ending);
    ENDINGS.iter().find(fits).map(|hidden| (name, hidden))
}

/// The last name of the match, when `rest` begins with the form.
fn matched<'a>(hidden: &Hidden, rest: &'a str) -> Option<&'a str> {
    let last = names_match(hidden.form, rest)?;
    let shown = hidden.except.iter().any(|form| name_matches(form.as_bytes(), last.as_bytes()));
    (!shown).then_some(last)
}

fn names_match<'a>(form: &str, rest: &'a str) -> Option<&'a str> {
    let (own, deeper) = form.split_once('/').map_or((form, None), |(own, deeper)| (own, Some(deeper)));
    if own == "**" {
        let deeper = deeper?;
        let mut below = Some(rest);
        while let Some(there) = below {
            if let Some(last) = names_match(deeper, there) {
                return Some(last);
            }
            below = there.split_once('/').map(|(_, below)| below);
        }
        return None;
    }
    let (name, below) = rest.split_once('/').map_or((rest, None), |(name, below)| (name, Some(below)));
    if !name_matches(own.as_bytes(), name.as_bytes()) {
        return None;
    }
    match deeper {
        None => Some(name),
        Some(deeper) => names_match(deeper, below?),
    }
}

/// Forms hold one `*` at most.
fn name_matches(form: &[u8], name: &[u8]) -> bool {
    match form.iter().position(|byte| *byte == b'*') {
        None => form.eq_ignore_ascii_case(name),
        Some(star) => {
            let (start, end) = (&form[..star], &form[star + 1..]);
            name.len() >= start.len() + end.len()
                && name[..start.len()].eq_ignore_ascii_case(start)
                && name[name.len() - end.len()..].eq_ignore_ascii_case(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> Option<&str> {
        hiding(path).next().map(|hiding| hiding.name)
    }

    #[test]
    fn credentials_are_hidden_wherever_they_lie_and_however_they_are_written() {
        for (path, last) in [
            (".env", ".env"),
            ("a/b/.env", ".env"),
            (".ENV", ".ENV"),
            (".env.local", ".env.local"),
            (".env.production", ".env.production"),
            (".env/below", ".env"),
            ("home/.netrc", ".netrc"),
            (".NPMRC", ".NPMRC"),
            (".docker/config.json", "config.json"),
            ("x/.aws/credentials", "credentials"),
            (".Aws/Credentials", "Credentials"),
            (".ssh/work", "work"),
            (".ssh/id_rsa", "id_rsa"),
            ("keys/id_rsa", "id_rsa"),
            ("ID_ED25519", "ID_ED25519"),
            ("tls/server.pem", "server.pem"),
            ("tls/server.KEY", "server.KEY"),
            (".pem", ".pem"),
            ("a.key/b", "a.key"),
            (".git/config", "config"),
            ("sub/.git/CONFIG", "CONFIG"),
            (".git/modules/a/config", "config"),
            (".git/modules/config", "config"),
            (".git/modules/a/b/c/config.worktree", "config.worktree"),
            (".git/worktrees/w/config.worktree", "config.worktree"),
        ] {
            assert_eq!(name(path), Some(last), "{path}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_shown() {
        for path in [
            ".",
            "",
            "env",
            ".envrc-notes",
            ".env.example",
            ".env.production.example",
            ".env.Sample",
            ".ssh",
            ".ssh/config",
            ".ssh/id_rsa.pub",
            ".ssh/known_hosts",
            "id_rsa.pub",
            "id_rsa_notes",
            "config",
            ".git",
            ".git/HEAD",
            ".git/refs/heads/config",
            ".git/modules/a/HEAD",
            "docker/config.json",
            "aws/credentials",
            "monkey",
            "a.keys",
            "pem",
            "src/key.rs",
            ".github/config",
        ] {
            assert_eq!(name(path), None, "{path}");
        }
    }

    #[test]
    fn every_name_that_hides_is_told() {
        let names: Vec<_> = hiding("a.key/.env/.git/config").map(|hiding| (hiding.at, hiding.name)).collect();
        assert_eq!(names, [(0, "a.key"), (6, ".env"), (16, "config")]);
    }

    #[test]
    fn directories_that_hide_by_their_names_are_known() {
        for dir in
            [".kube", "home/.KUBE", ".config", ".config/gh", "x/.config/gcloud", ".git", ".git/modules/a", ".docker"]
        {
            assert!(leads_to_hidden(dir), "{dir}");
        }
        for dir in [".", "kube", ".kube/cache", ".config/nvim", ".config/gh/x", "home", ".env", "config/gh", ".github"]
        {
            assert!(!leads_to_hidden(dir), "{dir}");
        }
    }

    #[test]
    fn guarded_directories_are_found_anywhere() {
        assert_eq!(guarding(".git/hooks/pre-commit").next(), Some((0, ".git")));
        assert_eq!(guarding("sub/.GIT").next(), Some((4, ".GIT")));
        assert_eq!(guarding("a/Vespiary.toml").next(), Some((2, "Vespiary.toml")));
        for settings in
            [".claude/settings.json", ".cursor/mcp.json", ".vscode/tasks.json", ".codex/config.toml", ".husky/_"]
        {
            assert!(guarding(settings).next().is_some(), "{settings}");
        }
        assert_eq!(guarding(".Vespiary/workflows/x.js").next(), Some((0, ".Vespiary")));
        assert_eq!(guarding("src/git/.github/x/vespiary.rs/.vespiary-apply").next(), None);
    }

    #[test]
    fn every_form_hides_what_it_says() {
        for hidden in all() {
            let path = hidden.form.replace("**", "a/b").replace('*', "x");
            assert!(hiding(&path).any(|hiding| hiding.by == hidden), "{path}");
            assert!(!hidden.holds.is_empty() && hidden.form.matches('*').count() <= 2, "{}", hidden.form);
        }
    }
}
