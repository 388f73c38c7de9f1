//! Workflows that a script calls by a name it writes out.

use super::tokens::{Kind, Tokens};
use super::words::is_call;
use super::{Desk, Finding, Gravity, Lines};

/// Calls that are looked at; what lies beyond is not judged.
const CALLS_MAX: usize = 200;

/// Judge every `workflow('name')` in `source`: `find` gives the source that a name leads to, or why it leads to none. What `find`
/// gives is looked through, and never run.
pub fn called(source: &str, find: impl Fn(&str) -> Result<String, String>) -> Vec<Finding> {
    let Ok(tokens) = Tokens::read(source) else { return Vec::new() };
    let mut desk = Desk { tokens, lines: Lines::of(source), found: Vec::new() };
    for i in calls(&desk.tokens) {
        let Some(name) = literal(&desk.tokens, i) else { continue };
        match find(name) {
            Err(why) => {
                let hint = "name one that `vespiary workflows` lists, or give --dir";
                desk.report(i, Gravity::Error, "unknown-workflow", format!("workflow() throws here: {why}"), hint);
            }
            Ok(inner) if Tokens::read(&inner).is_ok_and(|inner| !calls(&inner).is_empty()) => {
                let message = format!("the workflow `{name}` calls workflow() itself, and throws where it does");
                let hint = "only a run's own script may call others: call both from here";
                desk.report(i, Gravity::Error, "nested-workflow", message, hint);
            }
            Ok(_) => {}
        }
    }
    desk.found
}

fn calls(tokens: &Tokens<'_>) -> Vec<usize> {
    if tokens.declared().contains("workflow") {
        return Vec::new();
    }
    let all = (0..tokens.len()).filter(|i| tokens.is(*i, "workflow") && tokens.is_word(*i) && is_call(tokens, *i));
    all.take(CALLS_MAX).collect()
}

/// The first argument, where it is a string and nothing else.
fn literal<'s>(tokens: &Tokens<'s>, call: usize) -> Option<&'s str> {
    let (from, to) = tokens.arguments(call + 1).first().copied()?;
    let stands = to == from + 1 && tokens.at(from)?.kind == Kind::String;
    let text = stands.then(|| tokens.text(from))?;
    text.get(1..text.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(source: &str) -> Vec<(&'static str, u32)> {
        let find = |name: &str| match name {
            "plain" => Ok("return await agent('x')".to_owned()),
            "caller" => Ok("return await workflow('plain')".to_owned()),
            other => Err(format!("there is no workflow {other:?}")),
        };
        called(source, find).into_iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    #[test]
    fn names_that_lead_nowhere_and_workflows_that_call_on_are_told() {
        assert_eq!(rules("await workflow('plain')\nawait workflow('plian', { n: 1 })"), [("unknown-workflow", 2)]);
        assert_eq!(rules("const w = await workflow(\"caller\")"), [("nested-workflow", 1)]);
        assert_eq!(rules("workflow(name)\nworkflow('a' + b)\nobject.workflow('x')\n'workflow(1)'"), []);
        assert_eq!(rules("const workflow = (x) => x\nworkflow('x')"), []);
    }
}
