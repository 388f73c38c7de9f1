//! What stands around a token, from the inside out: calls it is an argument of, functions and loops it is in the body of.

use super::tokens::Tokens;

/// Levels of brackets climbed at most, and tokens looked back over on each.
const LEVELS_MAX: usize = 64;
const HOPS_MAX: usize = 256;

/// One thing around a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Around<'s> {
    /// In the body of a function. What it holds runs when that is called.
    Function,
    /// What has been climbed out of so far is the value of this name.
    Named(&'s str),
    /// Between the brackets of a call; this is the opening one.
    Argument(usize),
    /// In the body of a loop; this opens its condition.
    Loop(usize),
}

/// What stands around the token `from`, nearest first.
pub(super) fn around<'s>(tokens: &Tokens<'s>, from: usize) -> Vec<Around<'s>> {
    let mut found = Vec::new();
    let mut at = from;
    for _ in 0..LEVELS_MAX {
        look_back(tokens, at, &mut found);
        let Some(parent) = tokens.parent(at) else { break };
        at = parent;
        match tokens.code(parent) {
            "(" => match parent.checked_sub(1) {
                Some(owner) if !is_keyword(tokens.code(owner)) => found.push(Around::Argument(parent)),
                _ => {}
            },
            "{" => {
                if let Some(before) = parent.checked_sub(1) {
                    at = body(tokens, parent, before, &mut found);
                }
            }
            _ => {}
        }
    }
    found
}

/// Along the expression or statement that `at` stands in, back to where it begins.
fn look_back<'s>(tokens: &Tokens<'s>, at: usize, found: &mut Vec<Around<'s>>) {
    let mut at = at;
    for _ in 0..HOPS_MAX {
        let Some(before) = tokens.prev(at) else { break };
        if tokens.is(before, "(") && loop_owner(tokens, before) {
            found.push(Around::Loop(before));
            break;
        }
        if matches!(tokens.code(before), ";" | ",") || tokens.begins_statement(at) {
            break;
        }
        if tokens.is(before, "=>") {
            found.push(Around::Function);
        }
        if tokens.is(before, "=")
            && let Some(name) = before.checked_sub(1)
            && tokens.is_word(name)
            && name.checked_sub(1).is_some_and(|word| matches!(tokens.code(word), "const" | "let" | "var"))
        {
            found.push(Around::Named(tokens.code(name)));
        }
        at = before;
    }
}

/// What the body that `open` opens belongs to; where to look on from.
fn body<'s>(tokens: &Tokens<'s>, open: usize, before: usize, found: &mut Vec<Around<'s>>) -> usize {
    match tokens.code(before) {
        "=>" => {
            found.push(Around::Function);
            return before;
        }
        "do" => {
            // `do { } while (...)`
            if let Some(header) = tokens.mate(open).map(|close| close + 2).filter(|header| tokens.is(*header, "(")) {
                found.push(Around::Loop(header));
            }
        }
        ")" => {
            let Some(header) = tokens.mate(before) else { return open };
            let Some(owner) = header.checked_sub(1) else { return open };
            if loop_owner(tokens, header) {
                found.push(Around::Loop(header));
            } else if !is_keyword(tokens.code(owner)) {
                found.push(Around::Function);
                if tokens.is_word(owner) && owner > 0 && matches!(tokens.code(owner - 1), "function" | "*") {
                    found.push(Around::Named(tokens.code(owner)));
                }
                return header;
            }
        }
        _ => {}
    }
    open
}

/// Whether the brackets that `open` opens are the condition of a loop.
fn loop_owner(tokens: &Tokens<'_>, open: usize) -> bool {
    let owner = |back: usize| open.checked_sub(back).map_or("", |i| tokens.code(i));
    matches!(owner(1), "for" | "while") || (owner(1) == "await" && owner(2) == "for")
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "if" | "for" | "while" | "switch" | "catch" | "with" | "await" | "return" | "function")
        || word.is_empty()
}

/// What a loop repeats, as a range of tokens.
pub(super) fn loop_body(tokens: &Tokens<'_>, header: usize) -> (usize, usize) {
    let Some(close) = tokens.mate(header) else { return (header, header) };
    if tokens.is(close + 1, "{") {
        (close + 1, tokens.mate(close + 1).unwrap_or(close + 1))
    } else if let Some(open) =
        header.checked_sub(2).and_then(|end| tokens.mate(end)).filter(|open| *open > 0 && tokens.is(open - 1, "do"))
    {
        (open, header)
    } else {
        (close + 1, tokens.expression_end(close + 1))
    }
}

/// The value on which a method is called: `a.b(c)[d]` before `.map(`, whose name stands at `method`.
pub(super) fn receiver(tokens: &Tokens<'_>, method: usize) -> (usize, usize) {
    let end = method.saturating_sub(1);
    let mut start = end;
    for _ in 0..HOPS_MAX {
        let Some(before) = tokens.prev(start) else { break };
        let chains = matches!(tokens.code(before), "." | "?." | "!");
        let value = tokens.mate(before).is_some()
            || (tokens.is_word(before) && !matches!(tokens.code(before), "await" | "new" | "return"))
            || tokens
                .at(before)
                .is_some_and(|t| t.kind != super::tokens::Kind::Punct && t.kind != super::tokens::Kind::Word);
        // Two values beside each other belong to two expressions, unless the second is brackets.
        let apart = value && start < end && tokens.is_word(start);
        if !(chains || value) || apart {
            break;
        }
        start = before;
    }
    (start, end)
}
