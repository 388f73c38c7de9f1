//! For tests: the file tools answered from memory, as the files plugin answers them, but with little in one answer.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use vespiary_sdk::{Error, Result, dispatch};

/// Files one listing holds.
pub(crate) const ANSWER_FILES_MAX: usize = 50;

/// Answer the file tools with these files.
pub(crate) fn serve(files: &[(&str, &str)]) {
    // Paths by their parts: that is the order in which a walk meets them.
    let files: BTreeMap<Vec<String>, String> =
        files.iter().map(|(path, text)| (path.split('/').map(str::to_owned).collect(), (*text).to_owned())).collect();
    dispatch::mock(move |tool, arguments| {
        let path = arguments["path"].as_str().unwrap_or(".").trim_end_matches('/');
        let parts: Vec<String> = path.split('/').filter(|part| *part != ".").map(str::to_owned).collect();
        match tool {
            "files.read" => read(files.get(&parts).ok_or_else(|| Error::not_found(path))?, path, arguments),
            "files.stat" if files.contains_key(&parts) => Ok(json!({"path": path, "kind": "file", "size": 1})),
            "files.stat" if files.keys().any(|file| file.starts_with(&parts)) => {
                Ok(json!({"path": path, "kind": "dir", "size": 0}))
            }
            "files.glob" => {
                let patterns: Vec<&str> =
                    arguments["patterns"].as_array().unwrap().iter().map(|pattern| pattern.as_str().unwrap()).collect();
                let mut found = files.iter().filter(|(file, _)| {
                    file.strip_prefix(parts.as_slice())
                        .is_some_and(|below| patterns.iter().any(|pattern| matches(pattern, below)))
                });
                let entries: Vec<Value> = found
                    .by_ref()
                    .take(ANSWER_FILES_MAX)
                    .map(|(file, text)| json!({"path": file.join("/"), "kind": "file", "size": text.len()}))
                    .collect();
                Ok(json!({"entries": entries, "skipped": [], "truncated": found.next().is_some()}))
            }
            _ => Err(Error::not_found(path)),
        }
    });
}

fn read(text: &str, path: &str, arguments: &Value) -> Result<Value> {
    let offset = arguments["offset"].as_u64().unwrap_or(0) as usize;
    let end = text.len().min(offset + arguments["length"].as_u64().unwrap_or(1 << 20) as usize);
    let piece = String::from_utf8_lossy(&text.as_bytes()[offset..end]);
    Ok(
        json!({"path": path, "size": text.len(), "encoding": "utf-8", "text": piece, "offset": offset, "bytes": end - offset}),
    )
}

/// Whether a pattern with at most one choice in braces matches a path.
fn matches(pattern: &str, path: &[String]) -> bool {
    if let Some((before, (choices, after))) =
        pattern.split_once('{').and_then(|(b, rest)| Some((b, rest.split_once('}')?)))
    {
        // The slash of a choice counts for the whole.
        return choices.split(',').any(|choice| {
            let one = format!("{before}{choice}{after}");
            below(&parts(&one), path)
        });
    }
    let parts = parts(pattern);
    let anywhere = [&["**"], parts.as_slice()].concat();
    below(if parts.len() == 1 { &anywhere } else { &parts }, path)
}

/// A pattern's parts; a slash within a class parts nothing.
fn parts(pattern: &str) -> Vec<&str> {
    let mut in_class = false;
    let parts = pattern.split(|c| {
        in_class = if in_class { c != ']' } else { c == '[' };
        c == '/' && !in_class
    });
    parts.collect()
}

fn below(pattern: &[&str], path: &[String]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((&"**", [])) => !path.is_empty(),
        Some((&"**", rest)) => (0..=path.len()).any(|depth| below(rest, &path[depth..])),
        Some((part, rest)) => {
            path.split_first().is_some_and(|(name, path)| within(part.as_bytes(), name.as_bytes()) && below(rest, path))
        }
    }
}

/// Whether one part of a pattern matches one name.
fn within(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], name) => name.is_empty(),
        ([b'*', rest @ ..], name) => (0..=name.len()).any(|taken| within(rest, &name[taken..])),
        (_, []) => false,
        ([b'?', rest @ ..], [_, name @ ..]) => within(rest, name),
        ([b'[', class @ ..], [byte, name @ ..]) => {
            let (negated, class) = class.strip_prefix(b"!").map_or((false, class), |class| (true, class));
            let end = 1 + class[1..].iter().position(|byte| *byte == b']').unwrap();
            holds(&class[..end], *byte) != negated && within(&class[end + 1..], name)
        }
        ([same, rest @ ..], [byte, name @ ..]) => same == byte && within(rest, name),
    }
}

fn holds(class: &[u8], byte: u8) -> bool {
    match class {
        [] => false,
        [from, b'-', to, rest @ ..] => (*from..=*to).contains(&byte) || holds(rest, byte),
        [one, rest @ ..] => *one == byte || holds(rest, byte),
    }
}
