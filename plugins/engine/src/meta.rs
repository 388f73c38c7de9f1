//! Finding `export const meta = { ... }` at the head of a script and checking what it must hold. Reads literals only;
//! runs nothing.

use std::ops::Range;

use serde_json::Value;

use crate::fault::{Fault, Kind};
use crate::literal::{Impure, Literal, Reader, Shape};
use crate::source::Source;

const EXAMPLE: &str = "a workflow begins with `export const meta = { name: 'audit', description: 'What it does' }`";

/// A script's `meta`, and the text that declared it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Meta {
    /// The value, every key kept.
    pub(crate) value: Value,
    /// Bytes of the whole statement, from `export` to its `;` where there is one.
    pub(crate) statement: Range<usize>,
}

impl Meta {
    /// Read the `meta` of a script.
    pub(crate) fn read(source: Source<'_>) -> Result<Self, Fault> {
        let (literal, statement) = statement(source.text()).map_err(|impure| fault(source, impure))?;
        validate(&literal).map_err(|impure| fault(source, impure))?;
        Ok(Self { value: literal.to_json(), statement })
    }
}

fn fault(source: Source<'_>, impure: Impure) -> Fault {
    Fault::at(Kind::Meta, source.place(impure.offset), impure.message)
}

fn statement(text: &str) -> Result<(Literal, Range<usize>), Impure> {
    let mut reader = Reader::new(text);
    if reader.take("#!") {
        while reader.peek().is_some_and(|next| next != '\n') {
            reader.take_any();
        }
    }
    reader.skip_blank()?;
    skip_directive(&mut reader)?;
    let start = reader.offset();
    for word in ["export", "const", "meta"] {
        if !reader.take_word(word) {
            return Err(missing(&reader, start));
        }
        reader.skip_blank()?;
    }
    if !reader.take("=") {
        return Err(reader.impure(format!("expected `=` after `export const meta`; {EXAMPLE}")));
    }
    reader.skip_blank()?;
    let opening = reader.offset();
    let literal = reader.literal()?;
    if !matches!(literal.shape, Shape::Object(_)) {
        return Err(Impure { offset: opening, message: format!("meta must be an object; {EXAMPLE}") });
    }
    let end = finish(&mut reader)?;
    Ok((literal, start..end))
}

/// `'use strict'` may stand first: a workflow is strict either way.
fn skip_directive(reader: &mut Reader<'_>) -> Result<(), Impure> {
    let mut ahead = reader.clone();
    if ahead.string()?.as_deref() == Some("use strict") {
        ahead.skip_blank()?;
        ahead.take(";");
        ahead.skip_blank()?;
        *reader = ahead;
    }
    Ok(())
}

fn missing(reader: &Reader<'_>, start: usize) -> Impure {
    let word = reader.word();
    let message = match word {
        _ if reader.offset() == start && reader.peek().is_none() => format!("the script is empty; {EXAMPLE}"),
        "import" if reader.offset() == start => {
            format!("a workflow has no modules, so nothing can be imported; {EXAMPLE}")
        }
        _ => format!("`export const meta = {{ ... }}` must be the first statement, written exactly so; {EXAMPLE}"),
    };
    Impure { offset: start, message }
}

/// The end of the statement. JavaScript would read on past a line end where the next line can continue the expression.
fn finish(reader: &mut Reader<'_>) -> Result<usize, Impure> {
    let end = reader.offset();
    let line_ended = reader.skip_blank()?;
    if reader.take(";") {
        return Ok(reader.offset());
    }
    match reader.peek() {
        None => Ok(end),
        Some('(' | '[' | '.' | '`' | ',' | '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' | '&' | '|' | '^' | '?') => Err(reader
            .impure("JavaScript reads this as a continuation of meta; meta must be a pure literal, so end its statement with `;`")),
        Some(_) if matches!(reader.word(), "in" | "instanceof") => {
            Err(reader.impure("an expression goes on here; meta must be a pure literal"))
        }
        Some(_) if line_ended => Ok(end),
        Some(_) => Err(reader.impure("expected `;` or a new line after meta")),
    }
}

fn validate(meta: &Literal) -> Result<(), Impure> {
    for name in ["name", "description"] {
        match meta.member(name) {
            None => return Err(wrong(meta, format!("meta lacks `{name}`, a string; {EXAMPLE}"))),
            Some(value) => text(value, &format!("meta.{name}"))?,
        }
    }
    if let Some(value) = meta.member("whenToUse") {
        text(value, "meta.whenToUse")?;
    }
    let Some(phases) = meta.member("phases") else { return Ok(()) };
    let Shape::Array(list) = &phases.shape else {
        return Err(wrong(phases, "meta.phases must be an array of objects like { title: 'Scan' }"));
    };
    for (index, phase) in list.iter().enumerate() {
        if !matches!(phase.shape, Shape::Object(_)) {
            return Err(wrong(phase, format!("meta.phases[{index}] must be an object like {{ title: 'Scan' }}")));
        }
        let Some(title) = phase.member("title") else {
            return Err(wrong(phase, format!("meta.phases[{index}] lacks `title`, a string")));
        };
        text(title, &format!("meta.phases[{index}].title"))?;
        for name in ["detail", "model"] {
            if let Some(value) = phase.member(name) {
                text(value, &format!("meta.phases[{index}].{name}"))?;
            }
        }
    }
    Ok(())
}

fn text(value: &Literal, what: &str) -> Result<(), Impure> {
    match &value.shape {
        Shape::Text(text) if !text.trim().is_empty() => Ok(()),
        Shape::Text(_) => Err(wrong(value, format!("{what} is empty; say something a person can read"))),
        _ => Err(wrong(value, format!("{what} must be a string"))),
    }
}

fn wrong(literal: &Literal, message: impl Into<String>) -> Impure {
    Impure { offset: literal.start, message: message.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Meta, String> {
        Meta::read(Source::new(text)).map_err(|fault| {
            assert_eq!(fault.kind, Kind::Meta);
            fault.to_string()
        })
    }

    #[test]
    fn meta_is_found_behind_comments_and_a_directive() {
        let heads = [
            "",
            "// a\n",
            "/* a */ ",
            "'use strict'\n",
            "\"use strict\"; // b\n",
            "#!/usr/bin/env vespiary\n",
            "\u{feff}\r\n",
        ];
        for head in heads {
            let text = format!("{head}export const meta = {{ name: 'n', description: 'd', extra: [1] }}\nlog(1)");
            let meta = read(&text).expect(&text);
            assert_eq!(meta.value, json!({"name": "n", "description": "d", "extra": [1]}));
            assert_eq!(&text[meta.statement], "export const meta = { name: 'n', description: 'd', extra: [1] }");
        }
    }

    #[test]
    fn a_semicolon_belongs_to_the_statement() {
        let text = "export const meta={name:'n',description:'d'} /* c */ ; log(1)";
        let meta = read(text).unwrap();
        assert_eq!(&text[meta.statement.end..], " log(1)");
    }

    #[test]
    fn phases_are_checked_field_by_field() {
        let good = "export const meta = { name: 'n', description: 'd', whenToUse: 'w', phases: [{ title: 't', detail: 'x', model: 'm', more: 1 }] }";
        assert_eq!(read(good).unwrap().value["phases"][0]["more"], json!(1));
        let cases = [
            ("phases: {}", "1:60: meta.phases must be an array"),
            ("phases: ['Scan']", "meta.phases[0] must be an object"),
            ("phases: [{ title: 'a' }, {}]", "meta.phases[1] lacks `title`"),
            ("phases: [{ title: 1 }]", "meta.phases[0].title must be a string"),
            ("phases: [{ title: 'a', model: null }]", "meta.phases[0].model must be a string"),
            ("whenToUse: 7", "meta.whenToUse must be a string"),
        ];
        for (field, message) in cases {
            let said = read(&format!("export const meta = {{ name: 'n', description: 'd', {field} }}")).unwrap_err();
            assert!(said.contains(message), "{field}: {said}");
        }
    }

    #[test]
    fn a_missing_or_broken_meta_says_where_and_what_to_do() {
        let cases = [
            ("", "1:1: the script is empty"),
            ("// only a comment\n", "2:1: the script is empty"),
            ("log('x')", "1:1: `export const meta"),
            ("import x from 'y'\n", "1:1: a workflow has no modules"),
            ("\nlet a = 1\nexport const meta = {}", "2:1: `export const meta"),
            ("export let meta = {}", "1:1: `export const meta"),
            ("export default {}", "1:1: `export const meta"),
            ("export const meta", "1:18: expected `=`"),
            ("export const meta = 'x'", "1:21: meta must be an object"),
            ("export const meta = {}", "1:21: meta lacks `name`"),
            ("export const meta = { name: 'n' }", "1:21: meta lacks `description`"),
            ("export const meta = { name: '', description: 'd' }", "1:29: meta.name is empty"),
            ("export const meta = { name: 1, description: 'd' }", "1:29: meta.name must be a string"),
            ("export const meta = {\n  name: 'n',\n  description: about,\n}", "3:16: `about` is a name"),
            ("export const meta = { name: 'n', description: 'd' } log(1)", "1:53: expected `;`"),
            (
                "export const meta = { name: 'n', description: 'd' }\n(async () => {})()",
                "2:1: JavaScript reads this as a continuation",
            ),
            (
                "export const meta = { name: 'n', description: 'd' }.name",
                "1:52: JavaScript reads this as a continuation",
            ),
        ];
        for (text, message) in cases {
            let said = read(text).expect_err(text);
            assert!(said.starts_with(message), "{text}: {said}");
        }
    }
}
