//! Rules about single words: what the dialect has not, what cannot be repeated, and options that `agent()` does not know.

use super::{Desk, Gravity};
use crate::lint::tokens::{Kind, Tokens};

/// The options of `agent()`. The engine has them, too; it is a guest, of which the host knows only bytes, so a test compares.
pub(super) const OPTIONS: [&str; 16] = [
    "label",
    "phase",
    "schema",
    "model",
    "effort",
    "isolation",
    "agentType",
    "tools",
    "allow",
    "deny",
    "quota",
    "timeout",
    "context",
    "deps",
    "retry",
    "priority",
];

/// Globals of other places, and what to use here.
const ABSENT: [(&str, &str); 18] = [
    ("fetch", "have an agent or a tool ask the network: it needs net:HOST"),
    ("XMLHttpRequest", "have an agent or a tool ask the network: it needs net:HOST"),
    ("WebSocket", "have an agent or a tool ask the network: it needs net:HOST"),
    ("require", "a workflow is one file; call tools with tool()"),
    ("module", "a workflow is one file; return its result"),
    ("process", "pass what it needs in through args"),
    ("Deno", "call tools with tool()"),
    ("Bun", "call tools with tool()"),
    ("Buffer", "keep text as strings"),
    ("setTimeout", "there is no clock; await agents and tools, or give agent() a timeout"),
    ("setInterval", "there is no clock; await agents and tools"),
    ("setImmediate", "await a promise"),
    ("performance", "there is no clock; the report holds the times"),
    ("crypto", "there is no randomness; pass a seed in through args"),
    ("WeakRef", "keep the value itself"),
    ("Atomics", "there are no threads"),
    ("XMLSerializer", "call a tool"),
    ("document", "call a tool"),
];

/// What the dialect has not, and what would be another the next time.
pub(super) fn absent(desk: &mut Desk<'_>) {
    let declared = desk.tokens.declared();
    for i in 0..desk.tokens.len() {
        let word = desk.tokens.code(i);
        if !desk.tokens.is_word(i) || desk.tokens.is_property(i) || declared.contains(word) || is_key(&desk.tokens, i) {
            continue;
        }
        let tokens = &desk.tokens;
        match word {
            "import" => desk.report(
                i,
                Gravity::Error,
                "absent",
                "there are no modules: `import` is a syntax error in every form".into(),
                "a workflow is one file; call tools with tool()",
            ),
            "Date" | "Math" => {
                let member = if matches!(tokens.code(i + 1), "." | "?.") { tokens.code(i + 2) } else { "" };
                let bare = tokens.is(i + 1, "(") && tokens.mate(i + 1) == Some(i + 2);
                let called = i > 0 && tokens.is(i - 1, "new");
                let text = match (word, member) {
                    ("Date", "now") => "Date.now()",
                    ("Math", "random") => "Math.random()",
                    ("Date", "") if called && (bare || !tokens.is(i + 1, "(")) => "new Date()",
                    ("Date", "") if !called && tokens.is(i + 1, "(") => "Date()",
                    _ => continue,
                };
                let hint = match word {
                    "Date" => "pass the time in through args",
                    _ => "pass a seed in through args, or derive the choice from the item",
                };
                let message = format!("{text} throws: it would give something else when the run is resumed");
                desk.report(i, Gravity::Error, "not-repeatable", message, hint);
            }
            _ => {
                let Some((_, hint)) = ABSENT.iter().find(|(name, _)| *name == word) else { continue };
                let used = matches!(tokens.code(i + 1), "(" | "." | "?." | "[") || i > 0 && tokens.is(i - 1, "new");
                if used {
                    let message = format!("`{word}` does not exist in a workflow: it has no files, network or clock");
                    desk.report(i, Gravity::Error, "absent", message, *hint);
                }
            }
        }
    }
}

/// Whether a word is a key of an object, or the name of a method in one.
fn is_key(tokens: &Tokens<'_>, i: usize) -> bool {
    let begins = i > 0 && matches!(tokens.code(i - 1), "{" | "," | "async" | "get" | "set" | "*");
    let method = || tokens.is(i + 1, "(") && tokens.mate(i + 1).is_some_and(|close| tokens.is(close + 1, "{"));
    let after_typeof = i > 0 && tokens.is(i - 1, "typeof");
    after_typeof || begins && (tokens.is(i + 1, ":") || method())
}

/// Options that agents do not know, in calls that write their options out.
pub(super) fn options(desk: &mut Desk<'_>) {
    for i in 0..desk.tokens.len() {
        if !matches!(desk.tokens.code(i), "agent" | "agentResult") || !is_call(&desk.tokens, i) {
            continue;
        }
        let Some((from, to)) = desk.tokens.arguments(i + 1).get(1).copied() else { continue };
        if !desk.tokens.is(from, "{") || desk.tokens.mate(from) != Some(to - 1) {
            continue;
        }
        for (key, end) in desk.tokens.arguments(from) {
            let Some(name) = key_name(&desk.tokens, key, end) else { continue };
            if !OPTIONS.contains(&name) {
                let message = format!("{}() has no option `{name}`", desk.tokens.code(i));
                let near = OPTIONS.iter().find(|known| is_near(known, name));
                let hint = match near {
                    Some(near) => format!("write {near}"),
                    None => format!("the options are {}", OPTIONS.join(", ")),
                };
                desk.report(key, Gravity::Error, "unknown-option", message, hint);
            }
        }
    }
}

/// Whether the word at `i` is called as a function of the dialect.
pub(super) fn is_call(tokens: &Tokens<'_>, i: usize) -> bool {
    tokens.is(i + 1, "(") && !tokens.is_property(i) && !(i > 0 && tokens.is(i - 1, "function"))
}

/// The name of one member of an object; none for a spread or a computed one.
fn key_name<'s>(tokens: &Tokens<'s>, key: usize, end: usize) -> Option<&'s str> {
    let follows = tokens.code(key + 1);
    let stands = key + 1 == end || matches!(follows, ":" | "(");
    match tokens.at(key)?.kind {
        Kind::Word if stands => Some(tokens.code(key)),
        Kind::String if follows == ":" => tokens.text(key).get(1..tokens.text(key).len() - 1),
        _ => None,
    }
}

/// The same word but for its case, its separators, or one or two letters.
fn is_near(known: &str, written: &str) -> bool {
    let folded = |text: &str| text.replace(['_', '-'], "").to_lowercase();
    let (a, b) = (folded(known), folded(written));
    if a == b {
        return true;
    }
    if written.len() > 32 || a.len().abs_diff(b.len()) > 2 {
        return false;
    }
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let best = (corner + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[b.len()] <= if a.len() < 5 { 1 } else { 2 }
}
