//! What is likely wrong with a workflow, told without running it: what the dialect has not, options that agents have not, agents
//! without number, waits that nothing needs. Everything is read from tokens, so it can be mistaken about code that hides what it
//! does; what it calls an error ends a run when it is reached, what it calls a warning only may cost time or money.

pub mod called;
mod fleet;
mod surroundings;
mod tokens;
mod words;

use serde::Serialize;
use std::collections::HashMap;
use tokens::Tokens;

/// Findings told of one script; the first ones say enough.
const FINDINGS_MAX: usize = 200;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gravity {
    /// It works, and likely not as meant.
    Warning,
    /// It fails when it is reached.
    Error,
}

impl Gravity {
    /// The word people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable name for the sort of finding.
    pub rule: &'static str,
    /// How much it matters.
    pub severity: Gravity,
    /// From 1; 0: the whole file.
    pub line: u32,
    /// From 1, in characters; 0: the whole line.
    pub column: u32,
    /// What is wrong, and why that is.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

/// Look at `source`, of at most `vespiary_fleet::drive::SCRIPT_BYTES_MAX` bytes. Memory is in proportion to its length, and so is time,
/// but for a number of looks that nothing exceeds.
pub fn lint(source: &str) -> Vec<Finding> {
    let tokens = match Tokens::read(source) {
        Ok(tokens) => tokens,
        Err(unread) => {
            let (line, column) = Lines::of(source).place(unread.at);
            return vec![Finding {
                rule: "unread",
                severity: Gravity::Warning,
                line,
                column,
                message: format!("{}; the rest of the script was not looked at", unread.why),
                hint: "write it so that its brackets and quotes can be told".into(),
            }];
        }
    };
    let mut desk = Desk { tokens, lines: Lines::of(source), found: Vec::new() };
    words::absent(&mut desk);
    words::options(&mut desk);
    fleet::look(&mut desk);
    let Desk { tokens, mut found, .. } = desk;
    if !tokens.are_seen() {
        found.push(Finding {
            rule: "unread",
            severity: Gravity::Warning,
            line: 0,
            column: 0,
            message: "the script takes too many looks to be judged: not all of it was looked at".into(),
            hint: "split it: long expressions inside each other are looked through from every place in them".into(),
        });
    }
    found.sort_by_key(|finding| (finding.line, finding.column, finding.rule));
    found.dedup_by_key(|finding| (finding.line, finding.column, finding.rule));
    found
}

/// What the rules work on, and where they put what they find.
struct Desk<'s> {
    tokens: Tokens<'s>,
    lines: Lines<'s>,
    found: Vec<Finding>,
}

impl Desk<'_> {
    fn report(&mut self, at: usize, severity: Gravity, rule: &'static str, message: String, hint: impl Into<String>) {
        if self.found.len() < FINDINGS_MAX {
            let (line, column) = self.lines.place(self.tokens.offset(at));
            self.found.push(Finding { rule, severity, line, column, message, hint: hint.into() });
        }
    }
}

/// Lines and columns of offsets.
struct Lines<'s> {
    source: &'s str,
    starts: Vec<u32>,
}

impl<'s> Lines<'s> {
    fn of(source: &'s str) -> Self {
        let ends = source.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at as u32 + 1);
        Self { source, starts: std::iter::once(0).chain(ends).collect() }
    }

    fn place(&self, offset: usize) -> (u32, u32) {
        let line = self.starts.partition_point(|start| *start as usize <= offset).max(1);
        let start = self.starts[line - 1] as usize;
        let column = self.source.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        (line as u32, column as u32)
    }
}

/// Where each name is given its first value, as a range of tokens: `const NAME = ...`, `const { NAME } = ...`.
fn definitions<'s>(tokens: &Tokens<'s>) -> HashMap<&'s str, (usize, usize)> {
    let mut found = HashMap::new();
    for i in 0..tokens.len() {
        if !matches!(tokens.code(i), "const" | "let" | "var") || tokens.is_property(i) {
            continue;
        }
        let mut target = i + 1;
        loop {
            let close = tokens.mate(target).filter(|mate| *mate > target);
            let assign = close.unwrap_or(target) + 1;
            if !tokens.is(assign, "=") {
                break;
            }
            let range = (assign + 1, tokens.expression_end(assign + 1));
            let names = target..=close.unwrap_or(target);
            for name in names.take_while(|_| tokens.may_look()).filter(|k| tokens.is_word(*k)) {
                found.entry(tokens.code(name)).or_insert(range);
            }
            if !tokens.is(range.1, ",") {
                break;
            }
            target = range.1 + 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[track_caller]
    fn finds(body: &str, expected: &[(&str, u32)]) {
        let found: Vec<_> = lint(body).iter().map(|f| (f.rule, f.line)).collect();
        assert_eq!(found, expected, "{body}\n{:#?}", lint(body));
    }

    #[test]
    fn what_does_not_exist_is_told_and_only_where_it_is_used() {
        finds(
            "const a = Date.now()\nconst b = Math.random()\nnew Date()\nfetch('x')",
            &[("not-repeatable", 1), ("not-repeatable", 2), ("not-repeatable", 3), ("absent", 4)],
        );
        finds(
            "process.env.A\nrequire('fs')\nawait import('x')\nsetTimeout(() => {}, 1)\ncrypto.randomUUID()",
            &[("absent", 1), ("absent", 2), ("absent", 3), ("absent", 4), ("absent", 5)],
        );
        finds("new Date(args.now)\nDate.parse('x')\nMath.max(1, 2)", &[]);
        finds("a.fetch('x')\nconst o = { process: 1, fetch() {} }\ntypeof process\n'fetch(' + `require(`", &[]);
        finds("const process = (x) => x\nprocess('a')\nitems.map(fetch => fetch.url)", &[]);
        finds("// fetch('x')\n/* Date.now() */ const re = /require(x)/", &[]);
        finds("`${fetch('x')}`", &[("absent", 1)]);
    }

    #[test]
    fn options_that_agents_have_not() {
        finds("await agent('x', { label: 'a', lable: 'b' })", &[("unknown-option", 1)]);
        let found = lint("agent('x', { agent_type: 'secrets' })");
        assert!(found[0].message.contains("`agent_type`") && found[0].hint.contains("agentType"), "{found:?}");
        finds("agent('x', { label, ...more, context: { lable: 1 }, 'schema': {}, [key]: 1, quota() {} })", &[]);
        finds("agent(f({ a: 1 }), options)\nother.agent('x', { lable: 1 })", &[]);
    }

    #[test]
    fn every_option_of_the_engine_is_known() {
        let engine = include_str!("../../../plugins/engine/src/options.rs");
        let list = engine.split_once("const KNOWN").unwrap().1.split_once("= [").unwrap().1.split_once(']').unwrap().0;
        let mut known: Vec<_> = list.split('"').skip(1).step_by(2).collect();
        let mut ours = words::OPTIONS.to_vec();
        known.sort_unstable();
        ours.sort_unstable();
        assert_eq!(known, ours, "the engine and the lint know different options of agent()");
    }

    #[test]
    fn agents_without_number() {
        finds("await parallel(args.files.map(f => () => agent(f)))", &[("unbounded-fan-out", 1)]);
        finds("const { files } = args\nconst x = await pipeline(files, f => agent(f))", &[("unbounded-fan-out", 2)]);
        finds(
            "const l = await tool('files.list')\nfor (const f of l.entries) { log(await agent(f)); break }",
            &[("unbounded-fan-out", 2)],
        );
        finds(
            "const s = await agent('scout')\nawait parallel(s.files.map(f => async () => { return agent(f) }))",
            &[("unbounded-fan-out", 2)],
        );
        finds(
            "const look = (f) => agent(f)\nawait parallel(args.files.map(f => () => look(f)))",
            &[("unbounded-fan-out", 2)],
        );
        finds("while (true) { if (!(await agent('x'))) break }", &[("unbounded-fan-out", 1)]);
        finds("await verify(args.claims, { voters: 3 })", &[("unbounded-fan-out", 1)]);
        finds("await verify(args.claims.slice(0, 20))\nconst o = { verify(x) { return x } }\no.verify(args)", &[]);
        for bounded in [
            "await parallel(args.files.slice(0, 20).map(f => () => agent(f)))",
            "const files = args.files.slice(0, 20)\nawait parallel(files.map(f => () => agent(f)))",
            "await parallel(['a', 'b'].map(f => () => agent(f)))",
            "const DIMS = ['a', 'b']\nawait pipeline(DIMS, d => agent(d), r => agent(r))",
            "await parallel(Array.from({ length: 3 }, () => () => agent('x')))",
            "while (budget.remaining() > 1000) { if (!(await agent('x'))) break }",
            "let n = 0\nwhile (true) { if (n++ > 5) break\n await agent('x') }",
            "await parallel(args.files.map(f => () => tool('files.read', { path: f })))",
        ] {
            finds(bounded, &[]);
        }
    }

    #[test]
    fn waits_that_nothing_needs() {
        finds("const out = []\nfor (const d of ['a', 'b']) {\n  out.push(await agent(d))\n}", &[("await-in-loop", 3)]);
        finds("for (const d of ['a', 'b']) await agent(d)", &[("await-in-loop", 1)]);
        for needed in [
            "let state = ''\nfor (const d of ['a', 'b']) { state = await agent(d + state) }",
            "const seen = []\nfor (const d of ['a', 'b']) { const r = await agent(d, { context: seen }); seen.push(r) }",
            "for (const d of ['a', 'b']) { const r = await agent(d); if (r) break }",
            "for (const d of ['a', 'b']) { todo.push(async () => { await agent(d) }) }",
        ] {
            finds(needed, &[]);
        }
        let two = "const a = await parallel(DIMS.map(d => () => agent(d)))\nphase('two')\n";
        finds(
            &format!("{two}return await parallel(a.filter(Boolean).map(r => () => agent(r)))"),
            &[("needless-barrier", 3)],
        );
        finds(&format!("{two}log(a.length)\nreturn await parallel(a.map(r => () => agent(r)))"), &[]);
        finds(&format!("{two}return await parallel(a.sort().map(r => () => agent(r)))"), &[]);
    }

    #[test]
    fn promises_where_functions_belong() {
        finds(
            "await parallel(['a'].map(d => agent(d)))\nawait parallel([agent('a'), agent('b')])",
            &[("promise-for-function", 1), ("promise-for-function", 2), ("promise-for-function", 2)],
        );
        finds("await parallel(['a'].map(d => () => agent(d)))\nawait parallel([() => agent('a')])", &[]);
        finds("await Promise.all(['a'].map(d => agent(d)))", &[]);
    }

    #[test]
    fn the_examples_are_clean() {
        for source in [
            include_str!("../../../examples/audit.js").to_owned(),
            include_str!("../../../docs/workflows.md")
                .split("```js\n")
                .nth(1)
                .unwrap()
                .split("```")
                .next()
                .unwrap()
                .into(),
        ] {
            assert_eq!(lint(&source), []);
        }
    }

    #[test]
    fn what_would_be_looked_at_over_and_over_is_given_up_and_told() {
        let unread = |source: &str| lint(source).iter().any(|finding| finding.rule == "unread" && finding.line == 0);
        let lists = |from: usize| format!("const a{from} = [{}]\n", format!("a{}, ", from + 1).repeat(400));
        let places = |agent: &str| agent.repeat(1_500);
        let nested =
            |deep: usize, open: &str, close: &str| format!("{}{}\n", open.repeat(deep), close.repeat(deep)).repeat(40);
        for (what, source) in [
            ("an expression to its end from each place", "const a=".repeat(40_000)),
            ("the names of each binding", nested(900, "(p=", ")=>1")),
            ("what is bound in brackets", nested(900, "const[", "]=1")),
            (
                "the first argument from each place",
                format!("pipeline({}{})", "x ".repeat(20_000), places(", agent(1)")),
            ),
            ("where each item comes from", (0..4).map(lists).collect::<String>() + "pipeline(a0, x => agent(x))"),
            (
                "the head of a loop from each place",
                format!("while ({}) {{ {} }}", "x ".repeat(20_000), places("agent(1);")),
            ),
        ] {
            assert!(unread(&source), "{what}");
        }
        for (what, source) in [
            ("long", "const a = await agent('x', { label: 'a' })\n".repeat(20_000)),
            ("deep", nested(300, "if (a) { f(() => {", "})}")),
        ] {
            assert!(!unread(&source), "{what}");
        }
    }

    #[test]
    fn hostile_scripts_are_looked_at_in_time() {
        let begun = Instant::now();
        for piece in [
            "agent(",
            "agent('x',{",
            "for(const a of b)",
            "a=>",
            "const a=args,",
            "x.map(f=>agent(f)).",
            "await agent(x)\n",
            "{",
            "parallel(a.map(",
            "const a=await parallel(b.map(c));",
            "fetch(",
            "(a,",
            "while(true)agent(x);",
            "const agent=a=>agent(a);",
            "function f(){agent()}f();",
        ] {
            lint(&piece.repeat((1 << 18) / piece.len()));
            // Deep, yet accepted.
            let deep = piece.repeat(450);
            let close: String = deep
                .chars()
                .rev()
                .filter_map(|c| match c {
                    '(' => Some(')'),
                    '{' => Some('}'),
                    _ => None,
                })
                .collect();
            lint(&format!("{deep}{close}"));
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    }
}
