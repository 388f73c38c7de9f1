//! Rules about many agents: how many there can be, and what waits for what.

use super::surroundings::{Around, around, loop_body, receiver};
use super::tokens::{Kind, Tokens};
use super::words::is_call;
use super::{Desk, Gravity, definitions};
use std::collections::{HashMap, HashSet};

/// Places in a script that are looked at, and tokens of one expression; what lies beyond is not judged.
const PLACES_MAX: usize = 2_000;
const TOKENS_MAX: usize = 2_000;
/// How far the origin of a value is followed.
const ORIGIN_DEPTH: usize = 4;

type Definitions<'s> = HashMap<&'s str, (usize, usize)>;

pub(super) fn look(desk: &mut Desk<'_>) {
    let definitions = definitions(&desk.tokens);
    agents(desk, &definitions);
    voters(desk, &definitions);
    barriers(desk, &definitions);
}

/// Every place that starts an agent, by itself or through a function that does.
fn agents<'s>(desk: &mut Desk<'s>, definitions: &Definitions<'s>) {
    let mut words: HashMap<&str, Vec<usize>> = HashMap::new();
    for i in (0..desk.tokens.len()).filter(|i| desk.tokens.is_word(*i) && !desk.tokens.is_property(*i)) {
        words.entry(desk.tokens.code(i)).or_default().push(i);
    }
    let mut starters: Vec<&str> = vec!["agent", "agentResult", "workflow"];
    let mut known: HashSet<&str> = starters.iter().copied().collect();
    let mut loops_told = HashSet::new();
    let mut places = 0;
    while let Some(starter) = starters.pop() {
        let is_agent = matches!(starter, "agent" | "agentResult" | "workflow");
        for i in words.get(starter).into_iter().flatten().copied() {
            let uses = if is_agent { is_call(&desk.tokens, i) } else { !declares(&desk.tokens, i) };
            if !uses {
                continue;
            }
            places += 1;
            if places > PLACES_MAX {
                return;
            }
            let around = around(&desk.tokens, i);
            if let Some(name) = fan_out(desk, definitions, i, &around)
                && known.insert(name)
            {
                starters.push(name);
            }
            if is_agent {
                await_in_loop(desk, i, &around, &mut loops_told);
                promise_for_function(desk, i, &around);
            }
        }
    }
}

/// `verify()` starts voters for each of its claims.
fn voters(desk: &mut Desk<'_>, definitions: &Definitions<'_>) {
    for i in (0..desk.tokens.len()).filter(|i| desk.tokens.is(*i, "verify")).take(PLACES_MAX).collect::<Vec<_>>() {
        let tokens = &desk.tokens;
        let claims = is_call(tokens, i).then(|| tokens.arguments(i + 1).first().copied()).flatten();
        if let Some(origin) = claims.and_then(|claims| Origins { tokens, definitions }.unbounded(claims, 0)) {
            tell_unbounded(desk, i, origin);
        }
    }
}

fn declares(tokens: &Tokens<'_>, i: usize) -> bool {
    i > 0 && matches!(tokens.code(i - 1), "const" | "let" | "var" | "function" | "*")
}

/// Tell of agents without number around `i`. Gives the name of the function it all stands in, when it has one.
fn fan_out<'s>(desk: &mut Desk<'s>, definitions: &Definitions<'s>, i: usize, around: &[Around<'s>]) -> Option<&'s str> {
    let mut in_function = false;
    for place in around {
        let tokens = &desk.tokens;
        match *place {
            Around::Function => in_function = true,
            Around::Named(name) if in_function => return Some(name),
            Around::Named(_) => {}
            Around::Argument(open) => {
                // What is called with a function is no function that starts agents when it is called itself.
                in_function = false;
                let method = open.saturating_sub(1);
                let source = match tokens.code(method) {
                    "map" | "flatMap" | "forEach" if tokens.is_property(method) => Some(receiver(tokens, method)),
                    "pipeline" => tokens.arguments(open).first().copied().filter(|(_, end)| *end <= i),
                    _ => None,
                };
                if let Some(origin) = source.and_then(|source| Origins { tokens, definitions }.unbounded(source, 0)) {
                    tell_unbounded(desk, i, origin);
                    return None;
                }
            }
            Around::Loop(header) => {
                let mut head = (header + 1..tokens.mate(header).unwrap_or(header)).take_while(|_| tokens.may_look());
                let items = head.find(|k| tokens.is(*k, "of"));
                let origin = match items {
                    Some(of) => {
                        let range = (of + 1, tokens.mate(header).unwrap_or(of + 1));
                        Origins { tokens, definitions }.unbounded(range, 0)
                    }
                    None => never_ends(tokens, header).then_some("a loop whose turns nothing counts"),
                };
                if let Some(origin) = origin {
                    tell_unbounded(desk, i, origin);
                    return None;
                }
            }
        }
    }
    None
}

fn tell_unbounded(desk: &mut Desk<'_>, i: usize, origin: &str) {
    let message = format!("nothing here limits how many agents start: their number comes from {origin}");
    desk.report(
        i,
        Gravity::Warning,
        "unbounded-fan-out",
        message,
        "take a part, for example .slice(0, 50), and log what is left out; or count, or ask budget.remaining()",
    );
}

/// Neither the condition nor the body compares anything or asks for the budget.
fn never_ends(tokens: &Tokens<'_>, header: usize) -> bool {
    let (from, to) = loop_body(tokens, header);
    let condition = header..tokens.mate(header).unwrap_or(header);
    let mut all = condition.chain((from..to).take(TOKENS_MAX)).take_while(|_| tokens.may_look());
    !all.any(|k| matches!(tokens.code(k), "<" | ">" | "<=" | ">=" | "in" | "budget")) && tokens.are_seen()
}

/// Where values come from.
struct Origins<'a, 's> {
    tokens: &'a Tokens<'s>,
    definitions: &'a Definitions<'s>,
}

impl Origins<'_, '_> {
    /// Where the length of the list in `range` comes from, when nothing in it or on the way to it sets a limit.
    fn unbounded(&self, range: (usize, usize), depth: usize) -> Option<&'static str> {
        let (from, to) = (range.0, range.1.min(range.0 + TOKENS_MAX));
        let tokens = self.tokens;
        let limits = |k: usize| match tokens.code(k) {
            "slice" | "splice" | "take" | "limit" | "sample" => tokens.is(k + 1, "("),
            "min" => tokens.is_property(k),
            "length" => tokens.is(k + 1, ":"),
            _ => false,
        };
        if depth > ORIGIN_DEPTH || (from..to).any(limits) {
            return None;
        }
        let flattens = (from..to).any(|k| matches!(tokens.code(k), "flat" | "flatMap") && tokens.is_property(k));
        let mut next = from;
        while next < to && tokens.may_look() {
            let k = next;
            next += 1;
            // What a function does with a list comes first; what follows is how.
            if tokens.is(k, ",")
                && let Some(open) = tokens.parent(k).filter(|open| *open >= from && tokens.is(*open, "("))
                && open.checked_sub(1).is_some_and(|owner| tokens.is_word(owner))
            {
                next = tokens.mate(open).unwrap_or(k) + 1;
                continue;
            }
            if !tokens.is_word(k) || tokens.is_property(k) {
                continue;
            }
            let called = tokens.is(k + 1, "(");
            match tokens.code(k) {
                "args" => return Some("args"),
                "tool" if called => return Some("what tool() answers"),
                "agent" | "agentResult" | "workflow" if called && depth > 0 => return Some("what an agent answers"),
                // As many answers as there were items; lists in them are another matter.
                "parallel" | "pipeline" if called && flattens => return Some("what agents answer"),
                "parallel" | "pipeline" if called => {
                    let items = tokens.arguments(k + 1).first().copied();
                    return items
                        .and_then(|(from, to)| self.items(from, to))
                        .and_then(|r| self.unbounded(r, depth + 1));
                }
                name => {
                    let Some(definition) = self.definitions.get(name) else { continue };
                    // A list in its own definition says nothing, and neither does a function.
                    if (definition.0..definition.1).contains(&k) || self.is_function(*definition) {
                        continue;
                    }
                    let fleet = matches!(tokens.code(definition.0 + 1), "parallel" | "pipeline");
                    if flattens && fleet {
                        return Some("what agents answer");
                    }
                    if let Some(origin) = self.unbounded(*definition, depth + 1) {
                        return Some(origin);
                    }
                }
            }
        }
        None
    }

    /// What `parallel` or `pipeline` is given a function or an item for each of: the list before `.map(`, or the list itself.
    fn items(&self, from: usize, to: usize) -> Option<(usize, usize)> {
        let method = (from..to).find(|k| self.tokens.is(*k, "map") && self.tokens.is_property(*k));
        Some(method.map_or((from, to), |method| receiver(self.tokens, method)))
    }

    fn is_function(&self, (from, to): (usize, usize)) -> bool {
        let first = if self.tokens.is(from, "async") { from + 1 } else { from };
        let after = self.tokens.mate(first).filter(|mate| *mate > first).unwrap_or(first) + 1;
        self.tokens.is(first, "function") || (after < to && self.tokens.is(after, "=>"))
    }
}

/// Agents that wait for one another, although none needs what another gave.
fn await_in_loop(desk: &mut Desk<'_>, i: usize, around: &[Around<'_>], told: &mut HashSet<usize>) {
    let tokens = &desk.tokens;
    if i == 0 || !tokens.is(i - 1, "await") {
        return;
    }
    let nearest = around.iter().take_while(|place| **place != Around::Function);
    let Some(header) = nearest.filter_map(|p| if let Around::Loop(h) = p { Some(*h) } else { None }).next() else {
        return;
    };
    let inside = (header..tokens.mate(header).unwrap_or(header)).take_while(|_| tokens.may_look());
    // A loop that asks whether to go on wants one answer after the other.
    let counts = inside.clone().any(|k| tokens.is(k, "of")) || inside.filter(|k| tokens.is(*k, ";")).count() == 2;
    let (from, to) = loop_body(tokens, header);
    if !counts || to - from > TOKENS_MAX {
        return;
    }
    let own: HashSet<&str> = (from..to)
        .filter(|k| k.checked_sub(1).is_some_and(|b| matches!(tokens.code(b), "const" | "let" | "var")))
        .map(|k| tokens.code(k))
        .collect();
    let mut carried = HashSet::new();
    for k in from..to {
        let code = tokens.code(k);
        if matches!(code, "break" | "return" | "throw" | "continue") {
            return;
        }
        let changes = tokens.at(k + 1).is_some_and(|t| t.kind == Kind::Punct)
            && tokens.code(k + 1).ends_with('=')
            && !matches!(tokens.code(k + 1), "==" | "===" | "!=" | "!==" | "<=" | ">=");
        let grows =
            tokens.is(k + 1, ".") && matches!(tokens.code(k + 2), "push" | "unshift" | "add" | "set" | "splice");
        let steps = matches!(tokens.code(k + 1), "++" | "--");
        if tokens.is_word(k) && !own.contains(code) && (changes || grows || steps) {
            carried.insert(code);
        }
        if tokens.is(k, "]") && changes {
            // `state[key] = ...`: whatever stands before the bracket.
            if let Some(name) = tokens.mate(k).and_then(|open| open.checked_sub(1)) {
                carried.insert(tokens.code(name));
            }
        }
    }
    let close = tokens.mate(i + 1).unwrap_or(i + 1);
    if (i + 2..close).any(|k| carried.contains(tokens.code(k)) && tokens.is_word(k)) || !told.insert(header) {
        return;
    }
    let message = "each turn of this loop waits for the agent of the turn before, and needs nothing from it".to_owned();
    desk.report(
        i,
        Gravity::Warning,
        "await-in-loop",
        message,
        "start them side by side: parallel(items.map(item => () => agent(...))), or pipeline(items, ...)",
    );
}

/// `parallel()` takes functions: a promise in its place has begun already, and is refused.
fn promise_for_function(desk: &mut Desk<'_>, i: usize, around: &[Around<'_>]) {
    let tokens = &desk.tokens;
    let is_parallel = |open: usize| tokens.is(open.saturating_sub(1), "parallel") && !tokens.is_property(open - 1);
    let wrong = match *around {
        // parallel([agent(...)])
        [Around::Argument(open), ..] => {
            is_parallel(open)
                && tokens.parent(i).is_some_and(|list| list == open + 1 && tokens.is(list, "["))
                && matches!(tokens.code(i - 1), "[" | ",")
        }
        // parallel(list.map(item => agent(...)))
        [Around::Function, Around::Argument(map), Around::Argument(open), ..] => {
            tokens.is(map.saturating_sub(1), "map") && is_parallel(open) && tokens.is(i - 1, "=>")
        }
        _ => false,
    };
    if wrong {
        let message = "parallel() takes functions, and this is a promise: it throws a TypeError".to_owned();
        let hint = format!("write () => {}(...)", tokens.code(i));
        desk.report(i, Gravity::Error, "promise-for-function", message, hint);
    }
}

/// `const a = await parallel(...)`, then `parallel(a.map(...))` and nothing else of `a`: every item waits for the slowest of all.
fn barriers<'s>(desk: &mut Desk<'s>, definitions: &Definitions<'s>) {
    let mut uses: HashMap<&str, u32> = HashMap::new();
    for i in (0..desk.tokens.len()).filter(|i| desk.tokens.is_word(*i) && !desk.tokens.is_property(*i)) {
        *uses.entry(desk.tokens.code(i)).or_default() += 1;
    }
    for i in 0..desk.tokens.len() {
        let tokens = &desk.tokens;
        if !tokens.is(i, "parallel") || !is_call(tokens, i) || !tokens.is_word(i + 2) {
            continue;
        }
        let name = tokens.code(i + 2);
        let Some((from, to)) = definitions.get(name).copied().filter(|_| uses.get(name) == Some(&2)) else { continue };
        let first = tokens.is(from, "await") && tokens.is(from + 1, "parallel") && tokens.is(from + 2, "(");
        if first
            && to <= i
            && maps(tokens, from + 3)
            && only_filters_then_maps(tokens, i + 2)
            && only_says(tokens, to, i)
        {
            let message =
                format!("every item waits here until the slowest of `{name}` is done, and needs only its own");
            desk.report(
                i,
                Gravity::Warning,
                "needless-barrier",
                message,
                "let each go on by itself: pipeline(items, first, second)",
            );
        }
    }
}

/// Whether an argument reads `list.map(`, so that there is an item for each.
fn maps(tokens: &Tokens<'_>, from: usize) -> bool {
    (from..tokens.len())
        .take(64)
        .take_while(|k| !tokens.is(*k, "=>"))
        .any(|k| tokens.is(k, "map") && tokens.is_property(k))
}

/// `name.filter(...).map(`: what a stage can do as well. Sorting, slicing and flattening need the whole.
fn only_filters_then_maps(tokens: &Tokens<'_>, name: usize) -> bool {
    let mut at = name + 1;
    for _ in 0..8 {
        if !tokens.is(at, ".") || !tokens.is(at + 2, "(") {
            return false;
        }
        match tokens.code(at + 1) {
            "map" => return true,
            "filter" => at = tokens.mate(at + 2).unwrap_or(at + 2) + 1,
            _ => return false,
        }
    }
    false
}

/// Whether there is nothing between but `phase(...)`, `log(...)` and the beginning of a statement.
fn only_says(tokens: &Tokens<'_>, from: usize, to: usize) -> bool {
    let mut at = from;
    while at < to {
        if matches!(tokens.code(at), "phase" | "log") && tokens.is(at + 1, "(") {
            at = tokens.mate(at + 1).unwrap_or(at + 1) + 1;
        } else if matches!(tokens.code(at), ";" | "const" | "let" | "var" | "=" | "await" | "return")
            || tokens.is_word(at) && tokens.is(at + 1, "=")
        {
            at += 1;
        } else {
            return false;
        }
    }
    true
}
