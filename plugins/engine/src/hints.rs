//! What to say beside an error that has a known cause: names that do not exist in a workflow and what to use instead, and
//! parser messages that need the dialect explained. Decides nothing.

/// A sentence for an uncaught error whose message is `message`, where there is one to add.
pub(crate) fn for_uncaught(message: &str) -> Option<&'static str> {
    if let Some(name) = message.strip_prefix("ReferenceError: ").and_then(|rest| rest.strip_suffix(" is not defined")) {
        return for_name(name);
    }
    if message.starts_with("InternalError: out of memory") {
        return Some("a workflow may hold 192 MiB; keep large results in files or artifacts and pass their paths");
    }
    if message.starts_with("RangeError: Maximum call stack size exceeded") {
        return Some("a function calls itself too deeply; turn the recursion into a loop");
    }
    None
}

fn for_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "require" | "module" | "exports" => "a workflow has no modules; write what it needs into the script",
        "fetch" | "XMLHttpRequest" | "WebSocket" => {
            "a workflow has no network; ask a tool or an agent that was granted it"
        }
        "process" | "Deno" | "Bun" | "Buffer" | "__dirname" | "__filename" => {
            "a workflow is not run by Node and sees no machine; pass what it needs through args"
        }
        "setTimeout" | "setInterval" | "setImmediate" => {
            "a workflow has no clock; await an agent or a tool instead, and set a timeout in agent()'s options"
        }
        "performance" | "crypto" | "WeakRef" | "FinalizationRegistry" | "Atomics" => {
            "it would make a run impossible to repeat; pass times and random values through args"
        }
        _ => return None,
    })
}

/// The parser's message, or a better one where the source at the error explains itself. `rest` is the source from the
/// error on, `before` the source up to it.
pub(crate) fn for_syntax(parser: &str, before: &str, rest: &str) -> String {
    let word_at = |text: &str, word: &str| {
        text.strip_prefix(word)
            .is_some_and(|after| !after.starts_with(|next: char| next.is_alphanumeric() || next == '_' || next == '$'))
    };
    let word_before = |word: &str| {
        let head = before.trim_end();
        head.ends_with(word)
            && !head[..head.len() - word.len()]
                .ends_with(|last: char| last.is_alphanumeric() || matches!(last, '_' | '$' | '.'))
    };
    if word_at(rest, "import") || word_before("import") || parser.starts_with("import.meta") {
        return NO_MODULES.to_owned();
    }
    if word_at(rest, "export") || word_before("export") {
        return "only `export const meta`, first, may be exported; give the result with `return`".to_owned();
    }
    if parser == "expecting ';'" {
        let part = |next: char| next.is_alphanumeric() || matches!(next, '_' | '$');
        let length =
            rest.find(|next| !part(next)).unwrap_or(rest.len()).max(rest.chars().next().map_or(0, char::len_utf8));
        return format!("unexpected `{}`; before it, the statement must end with `;` or a new line", &rest[..length]);
    }
    parser.to_owned()
}

/// The same for an error that the parser found behind the last character: mostly the script is incomplete, but some rules
/// are checked one token late.
pub(crate) fn for_syntax_at_end(parser: &str) -> String {
    let incomplete =
        ["unexpected", "Unexpected", "expecting", "invalid character"].iter().any(|start| parser.starts_with(start));
    if incomplete { UNCLOSED.to_owned() } else { parser.to_owned() }
}

/// What becomes of `import` in every form.
pub(crate) const NO_MODULES: &str = "a workflow has no modules, so `import` does not exist; write what it needs into the script, or call tool() or agent()";

/// The name that is called at `offset`, with the objects it is reached through: `a.b.c` at the `c` of `a.b.c(1)`.
pub(crate) fn callee(text: &str, offset: usize) -> Option<&str> {
    let part = |next: char| next.is_alphanumeric() || matches!(next, '_' | '$');
    let (before, rest) = text.split_at_checked(offset)?;
    let name = &rest[..rest.find(|next| !part(next)).unwrap_or(rest.len())];
    // Only when it is called right there: `f(1)(2)` has no name to give.
    let arguments = rest[name.len()..].trim_start();
    if name.is_empty() || !arguments.starts_with('(') || arguments.contains(")(") {
        return None;
    }
    let path = before
        .rfind(|last: char| !part(last) && last != '.')
        .map_or(0, |end| end + before[end..].chars().next().map_or(1, char::len_utf8));
    let start = if before.ends_with('.') && !before[path..].starts_with('.') { path } else { offset };
    Some(&text[start..offset + name.len()])
}

const UNCLOSED: &str = "the script ends before it is complete: a `{`, `(`, `[`, string or comment is not closed";

/// A `}` closed the function that the engine puts around the script.
pub(crate) const STRAY_BRACE: &str = "unexpected `}`: it closes nothing that the script opened";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_get_a_way_out() {
        assert!(for_uncaught("ReferenceError: fetch is not defined").unwrap().contains("network"));
        assert_eq!(for_uncaught("ReferenceError: myThing is not defined"), None);
        assert_eq!(for_uncaught("TypeError: fetch is not defined"), None);
    }

    #[test]
    fn the_callee_is_named_with_its_path() {
        for (text, at, name) in [
            ("a.b.c(1)", 4, Some("a.b.c")),
            ("x = foo (1)", 4, Some("foo")),
            ("é(nope())", 3, Some("nope")),
            ("f()\n  .then(1)", 7, Some("then")),
            ("make(1)(2)", 0, None),
            ("(0, f)()", 0, None),
            ("tag`x`", 0, None),
        ] {
            assert_eq!(callee(text, at), name, "{text}");
        }
    }

    #[test]
    fn modules_are_explained_and_other_messages_kept() {
        assert!(for_syntax("x", "", "import a from 'b'").contains("no modules"));
        assert!(for_syntax("x", "import ", "a from 'b'").contains("no modules"));
        assert!(for_syntax("x", "", "export default 1").contains("may be exported"));
        assert_eq!(for_syntax("x", "", "importance"), "x");
        assert_eq!(for_syntax("x", "reexport ", "1"), "x");
        assert!(for_syntax("expecting ';'", "foo ", "bär baz").starts_with("unexpected `bär`;"));
        assert!(for_syntax("expecting ';'", "foo(1)", "))").starts_with("unexpected `)`;"));
        assert_eq!(for_syntax_at_end("break must be inside loop or switch"), "break must be inside loop or switch");
        assert_eq!(for_syntax_at_end("unexpected token in expression: ')'"), UNCLOSED);
    }
}
