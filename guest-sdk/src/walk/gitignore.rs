//! A line of a `.gitignore` as Git reads it, put so that the `ignore` crate reads it alike. The crate's patterns know alternatives
//! (`{a,b}`) that Git's do not, and no named classes (`[[:alpha:]]`); it takes an open bracket for a character, where Git's
//! pattern matches nothing, and cuts any white space at the end, where Git cuts blanks. What must never live here: matching.

use std::borrow::Cow;

/// The rule, or nothing where Git has none: for a comment, an empty line, and a pattern that can match nothing.
pub(super) fn rule(line: &str) -> Option<Cow<'_, str>> {
    let line = without_blanks(line.strip_suffix('\r').unwrap_or(line));
    if line.starts_with('#') || line.is_empty() {
        return None;
    }
    let (sign, pattern) = line.strip_prefix('!').map_or(("", line), |pattern| ("!", pattern));
    if matches!(pattern, "" | "/") {
        return None;
    }
    let is_plain = !pattern.contains(['{', '}', '[', '\\']) && !pattern.ends_with(char::is_whitespace);
    if is_plain {
        return Some(Cow::Borrowed(line));
    }
    let mut rule = sign.to_owned();
    let mut rest = pattern.chars();
    while let Some(next) = rest.next() {
        match next {
            '\\' => literal(rest.next()?, &mut rule),
            '[' => class(&mut rest)?.write(&mut rule)?,
            '{' | '}' => literal(next, &mut rule),
            // The crate would cut it.
            next if next.is_whitespace() && rest.as_str().is_empty() => literal(next, &mut rule),
            next => rule.push(next),
        }
    }
    Some(Cow::Owned(rule))
}

/// Blanks at the end count only behind a backslash.
fn without_blanks(line: &str) -> &str {
    let kept = line.trim_end_matches(' ');
    let backslashes = kept.len() - kept.trim_end_matches('\\').len();
    let is_escaped = backslashes % 2 == 1 && kept.len() < line.len();
    &line[..kept.len() + usize::from(is_escaped)]
}

/// One character that means itself.
fn literal(char: char, rule: &mut String) {
    match char {
        // The crate takes a backslash before this one for a separator's.
        '/' => rule.push('/'),
        char if char.is_whitespace() => rule.extend(['[', char, ']']),
        char => rule.extend(['\\', char]),
    }
}

/// What stands between brackets.
struct Class {
    is_negated: bool,
    ranges: Vec<(char, char)>,
}

/// Reads a class up to its closing bracket; nothing where there is none, or where it names a class that is none.
fn class(rest: &mut std::str::Chars<'_>) -> Option<Class> {
    let is_negated = rest.as_str().starts_with(['!', '^']);
    if is_negated {
        rest.next();
    }
    let mut ranges: Vec<(char, char)> = Vec::new();
    // The last character, where a range can begin with it.
    let mut last = None;
    let mut is_first = true;
    loop {
        let next = rest.next()?;
        if next == ']' && !is_first {
            return Some(Class { is_negated, ranges });
        }
        is_first = false;
        let is_range = next == '-' && !rest.as_str().starts_with(']');
        if let (true, Some(from)) = (is_range, last) {
            let to = match rest.next()? {
                '\\' => rest.next()?,
                to => to,
            };
            ranges.push((from, to));
            last = None;
        } else if let Some(name) = next.eq(&'[').then(|| named(rest.as_str())).flatten() {
            ranges.extend(members(name)?);
            *rest = rest.as_str()[":".len() + name.len() + ":]".len()..].chars();
            last = None;
        } else {
            let char = if next == '\\' { rest.next()? } else { next };
            ranges.push((char, char));
            last = Some(char);
        }
    }
}

/// The name in `:name:]`, where such follows an opening bracket.
fn named(rest: &str) -> Option<&str> {
    rest.strip_prefix(':')?.split_once(']')?.0.strip_suffix(':')
}

/// The characters of a named class, as Git knows it: those of ASCII.
fn members(name: &str) -> Option<Vec<(char, char)>> {
    let is_member = match name {
        "alnum" => |char: &char| char.is_ascii_alphanumeric(),
        "alpha" => |char: &char| char.is_ascii_alphabetic(),
        "blank" => |char: &char| matches!(char, ' ' | '\t'),
        "cntrl" => |char: &char| char.is_ascii_control(),
        "digit" => |char: &char| char.is_ascii_digit(),
        "graph" => |char: &char| char.is_ascii_graphic(),
        "lower" => |char: &char| char.is_ascii_lowercase(),
        "print" => |char: &char| matches!(char, ' '..='~'),
        "punct" => |char: &char| char.is_ascii_punctuation(),
        "space" => |char: &char| matches!(char, '\t'..='\r' | ' '),
        "upper" => |char: &char| char.is_ascii_uppercase(),
        "xdigit" => |char: &char| char.is_ascii_hexdigit(),
        _ => return None,
    };
    Some(('\0'..='\x7f').filter(is_member).map(|char| (char, char)).collect())
}

impl Class {
    /// In the crate's classes nothing is escaped; so a closing bracket stands first, and all that means something at some place
    /// stands where it does not. A slash, which no class matches, is left out: the crate would take it for one of the pattern.
    /// Nothing where no character is in it.
    fn write(self, rule: &mut String) -> Option<()> {
        let mut singles: Vec<char> = Vec::new();
        let mut wide = String::new();
        for (from, to) in self.ranges.into_iter().filter(|(from, to)| from <= to) {
            singles.extend((from..=to).take_while(char::is_ascii).filter(|char| *char != '/'));
            let from = from.max('\u{80}');
            if from <= to {
                wide.extend([from, '-', to]);
            }
        }
        let place = |char: &char| match char {
            ']' => 0,
            '!' | '^' => 2,
            '-' => 3,
            _ => 1,
        };
        singles.sort_unstable_by_key(|char| (place(char), *char));
        singles.dedup();
        let (first, rest) = singles.split_at(singles.iter().take_while(|char| place(char) == 0).count());
        match (self.is_negated, singles.is_empty() && wide.is_empty()) {
            (true, true) => rule.push('?'),
            (false, true) => return None,
            (false, _) if wide.is_empty() && place(&singles[0]) == 2 => {
                let each: Vec<String> = singles.iter().map(|char| format!("\\{char}")).collect();
                rule.push_str(&format!("{{{}}}", each.join(",")));
            }
            (is_negated, _) => {
                rule.push_str(if is_negated { "[!" } else { "[" });
                rule.extend(first);
                rule.push_str(&wide);
                rule.extend(rest);
                rule.push(']');
            }
        }
        Some(())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "git is asked what it ignores")]
mod tests {
    use crate::fs::{create_dir_all, set_root, write};
    use crate::walk::{Options, Step, walk};
    use std::collections::BTreeSet;
    use std::process::Command;

    const NAMES: [&str; 30] = [
        "a", "b", "z", "a.o", "b.o", "A", "d", "e", ".h", "#x", "!b", "x y", "k.txt", "a*", "keep", "{a,b}", "a.o ",
        "ab", "[a", "d.o", "-o", "é", "a\t", "]", "^", "!", "-", "a-", "7", "_",
    ];
    const RULES: [&str; 70] = [
        "*.o",
        "*.o ",
        "*.o\\ ",
        "!a.o",
        "/a",
        "d/",
        "/d/",
        "d/*",
        "d/**",
        "**/a",
        "a/**/b",
        "#x",
        "\\#x",
        "\\!b",
        "!b",
        "[ab]",
        "[!a]",
        "[^a].o",
        "a?",
        "*",
        "!*/",
        "!d/",
        "*.txt",
        "{a,b}",
        "{a",
        "a}",
        "a\\*",
        "**",
        "x y",
        "x\\ y",
        "*\\",
        "[a",
        "[]a]",
        "[a-c]",
        "[[:alpha:]]",
        "[![:alpha:]]",
        "[[:digit:]_]",
        "[[:nonsense:]]",
        "[[:alpha]",
        "[\\a]",
        "a\t",
        "  a",
        "a\r",
        "!",
        "/",
        "!/",
        "[z-a]",
        "[!]a]",
        "d//a",
        "\\a",
        "a\\",
        "*.[oa]",
        "[^]",
        "[!]",
        "[]]",
        "[\\]]",
        "[]-a]",
        "[a-]*",
        "[-a]",
        "[!-a]",
        "[^^]",
        "[\\^]",
        "[\\^!]",
        "[\\!-]",
        "[é]",
        "[à-ï]",
        "[+-9]",
        "[[:punct:]]*",
        "a[/]b",
        "\\{a,b}",
    ];

    /// Whatever a rule says, what is left is what is left for git.
    #[test]
    fn rules_mean_what_they_mean_to_git() {
        let mut state = 5u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for round in 0..ROUNDS {
            let root = tempfile::tempdir().unwrap();
            set_root(root.path());
            let git = |args: &[&str]| {
                let output =
                    Command::new("git").args(args).current_dir(root.path()).env("HOME", root.path()).output().unwrap();
                assert!(output.status.success(), "{output:?}");
                String::from_utf8(output.stdout).unwrap()
            };
            git(&["init", "-q"]);
            create_dir_all("d/e").and_then(|()| create_dir_all("a-")).unwrap();
            for dir in ["", "d/", "a-/", "d/e/"] {
                for name in NAMES {
                    let path = format!("{dir}{name}");
                    if round % 3 == 0 && random(5) == 0 {
                        let _ = create_dir_all(&path).and_then(|()| write(format!("{path}/in"), ""));
                    } else {
                        let _ = write(&path, "");
                    }
                }
            }
            let rules: Vec<&str> = match RULES.get(round) {
                Some(rule) => vec![rule],
                None => (0..1 + random(4)).map(|_| RULES[random(RULES.len())]).collect(),
            };
            write(".gitignore", rules.join(if random(9) == 0 { "\r\n" } else { "\n" })).unwrap();
            let kept = git(&["ls-files", "-o", "-z", "--exclude-standard"]);
            let theirs: BTreeSet<String> = kept.split_terminator('\0').map(str::to_owned).collect();
            let steps = walk(".", Options { hidden: true, ..Options::default() }).unwrap();
            let ours: BTreeSet<String> = steps
                .filter_map(|step| match step {
                    Step::Entry(entry) => (entry.file_type.is_file()).then_some(entry.path),
                    Step::Skipped(skipped) => panic!("{rules:?}: {skipped:?}"),
                })
                .collect();
            let (more, less) = (ours.difference(&theirs), theirs.difference(&ours));
            assert_eq!(
                ours,
                theirs,
                "{rules:?}: more {:?}, less {:?}",
                more.collect::<Vec<_>>(),
                less.collect::<Vec<_>>()
            );
        }
    }

    const ROUNDS: usize = RULES.len() + 30;
}
