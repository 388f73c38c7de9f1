//! A reader for pure literals: the only JavaScript that may stand in `meta`. It evaluates nothing; whatever is not a
//! string, number, boolean, `null`, array or object written out in full is an error that says what to write instead.

use serde_json::{Map, Number, Value};

/// Nesting that no honest `meta` reaches.
const DEPTH_MAX: usize = 64;

/// A literal and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Literal {
    /// Byte offset of its first character.
    pub(crate) start: usize,
    pub(crate) shape: Shape,
}

/// What a literal is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Array(Vec<Literal>),
    /// Members in the order written, each with the offset of its key.
    Object(Vec<(String, usize, Literal)>),
}

/// Not a pure literal: where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Impure {
    pub(crate) offset: usize,
    pub(crate) message: String,
}

impl Literal {
    /// The value as JSON. Whole numbers stay whole.
    pub(crate) fn to_json(&self) -> Value {
        match &self.shape {
            Shape::Null => Value::Null,
            Shape::Bool(value) => Value::Bool(*value),
            Shape::Number(value) => number(*value),
            Shape::Text(text) => Value::String(text.clone()),
            Shape::Array(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Shape::Object(members) => Value::Object(
                members.iter().map(|(key, _, value)| (key.clone(), value.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// The member of that name, of an object.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        match &self.shape {
            Shape::Object(members) => members.iter().find(|(key, ..)| key == name).map(|(.., value)| value),
            _ => None,
        }
    }
}

fn number(value: f64) -> Value {
    // Exact up to 2^53, beyond which JavaScript itself does not tell neighbours apart.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT && !(value == 0.0 && value.is_sign_negative()) {
        #[allow(clippy::cast_possible_truncation, reason = "checked to be a whole number below 2^53")]
        return Value::Number(Number::from(value as i64));
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// A cursor over the source.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Byte offset of the next character.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// Take whatever character is next.
    pub(crate) fn take_any(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    /// Skip white space and comments; says whether a line ended on the way.
    pub(crate) fn skip_blank(&mut self) -> Result<bool, Impure> {
        let mut line_ended = false;
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with("//") {
                self.at += rest.find(is_line_end).unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let Some(length) = rest.find("*/") else {
                    return Err(self.impure("this comment is never closed; end it with `*/`"));
                };
                line_ended |= rest[..length].contains(is_line_end);
                self.at += length + 2;
            } else {
                match rest.chars().next() {
                    Some(blank) if blank.is_whitespace() || blank == '\u{feff}' => {
                        line_ended |= is_line_end(blank);
                        self.at += blank.len_utf8();
                    }
                    _ => return Ok(line_ended),
                }
            }
        }
    }

    /// Take `wanted` if it is next.
    pub(crate) fn take(&mut self, wanted: &str) -> bool {
        let found = self.text[self.at..].starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    /// The identifier that is next, not taken; empty when there is none.
    pub(crate) fn word(&self) -> &'a str {
        let rest = &self.text[self.at..];
        if !rest.starts_with(is_name_start) {
            return "";
        }
        &rest[..rest.find(|next| !is_name_part(next)).unwrap_or(rest.len())]
    }

    /// Take that identifier if it is next.
    pub(crate) fn take_word(&mut self, wanted: &str) -> bool {
        let found = self.word() == wanted;
        if found {
            self.at += wanted.len();
        }
        found
    }

    /// Read one literal.
    pub(crate) fn literal(&mut self) -> Result<Literal, Impure> {
        self.nested(0)
    }

    /// Take a string literal in either kind of quotes, if one is next.
    pub(crate) fn string(&mut self) -> Result<Option<String>, Impure> {
        match self.peek() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote).map(Some),
            _ => Ok(None),
        }
    }

    fn nested(&mut self, depth: usize) -> Result<Literal, Impure> {
        if depth > DEPTH_MAX {
            return Err(self.impure(format!("meta is nested deeper than {DEPTH_MAX} levels; make it flatter")));
        }
        let start = self.at;
        let shape = match self.peek() {
            None => return Err(self.impure("the script ends inside meta; close what was opened")),
            Some('{') => self.object(depth)?,
            Some('[') => self.array(depth)?,
            Some(quote @ ('"' | '\'' | '`')) => Shape::Text(self.quoted(quote)?),
            Some('-') => {
                self.at += 1;
                self.skip_blank()?;
                match self.peek() {
                    Some('0'..='9' | '.') => Shape::Number(-self.number()?),
                    _ => return Err(self.impure("`-` may only stand before a number here")),
                }
            }
            Some('0'..='9' | '.') if !self.text[self.at..].starts_with("...") => Shape::Number(self.number()?),
            Some(_) => self.named()?,
        };
        Ok(Literal { start, shape })
    }

    fn named(&mut self) -> Result<Shape, Impure> {
        let word = self.word();
        let shape = match word {
            "null" => Shape::Null,
            "true" => Shape::Bool(true),
            "false" => Shape::Bool(false),
            "" => return Err(self.impure(self.unexpected())),
            "undefined" => return Err(self.impure("meta has no undefined; leave the field out, or write null")),
            "NaN" | "Infinity" => {
                return Err(self.impure(format!("{word} is no JSON number; write an ordinary number")));
            }
            "function" | "async" | "class" | "new" => {
                return Err(self.impure(format!(
                    "`{word}` computes something; meta must be a pure literal, so write the value itself"
                )));
            }
            name => {
                return Err(self.impure(format!(
                    "`{name}` is a name; meta must be a pure literal that is known without running anything, so write the value itself"
                )));
            }
        };
        self.at += word.len();
        Ok(shape)
    }

    fn unexpected(&self) -> String {
        match self.peek() {
            Some('.') => "`...` spreads another value; meta must be a pure literal, so write its fields out".to_owned(),
            Some('(') => "parentheses are not part of a pure literal; write the value itself".to_owned(),
            Some('/') => "a regular expression is no JSON value; write it as a string".to_owned(),
            Some('+' | '!' | '~') => {
                "an operator computes something; meta must be a pure literal, so write the value itself".to_owned()
            }
            Some(other) => format!(
                "unexpected `{other}` in meta; a pure literal holds strings, numbers, booleans, null, arrays and objects"
            ),
            None => "the script ends inside meta; close what was opened".to_owned(),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Shape, Impure> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip_blank()?;
            if self.take("]") {
                return Ok(Shape::Array(items));
            }
            if self.peek() == Some(',') {
                return Err(self.impure("an array in meta cannot leave elements out; write null or drop the comma"));
            }
            items.push(self.nested(depth + 1)?);
            self.separator(']')?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<Shape, Impure> {
        self.at += 1;
        let mut members: Vec<(String, usize, Literal)> = Vec::new();
        loop {
            self.skip_blank()?;
            if self.take("}") {
                return Ok(Shape::Object(members));
            }
            let key_start = self.at;
            let key = self.key()?;
            let refusal = if key == "__proto__" {
                Some("`__proto__` would set the prototype, which JSON does not have; use another name".to_owned())
            } else if members.iter().any(|(earlier, ..)| *earlier == key) {
                Some(format!("`{key}` is given twice; keep one"))
            } else {
                None
            };
            if let Some(message) = refusal {
                return Err(Impure { offset: key_start, message });
            }
            self.skip_blank()?;
            if !self.take(":") {
                return Err(self.not_a_member(&key, key_start));
            }
            self.skip_blank()?;
            let value = self.nested(depth + 1)?;
            members.push((key, key_start, value));
            self.separator('}')?;
        }
    }

    fn key(&mut self) -> Result<String, Impure> {
        match self.peek() {
            Some('[') => Err(self.impure("a computed key must be evaluated; write the name itself")),
            Some('"' | '\'') => Ok(self.string()?.unwrap_or_default()),
            Some('0'..='9') => {
                let value = self.number()?;
                Ok(number(value).to_string())
            }
            _ => {
                let word = self.word();
                if word.is_empty() {
                    return Err(self.impure(self.unexpected()));
                }
                self.at += word.len();
                Ok(word.to_owned())
            }
        }
    }

    fn not_a_member(&self, key: &str, key_start: usize) -> Impure {
        let message = match self.peek() {
            Some(',' | '}') => {
                format!("`{key}` alone means a variable of that name; write `{key}: ` and the value itself")
            }
            Some('(') => format!("`{key}(...)` is a method; meta must be a pure literal, so write the value itself"),
            None => return self.impure("the script ends inside meta; close what was opened"),
            Some(_) => format!("expected `:` after `{key}`"),
        };
        Impure { offset: key_start, message }
    }

    fn separator(&mut self, closing: char) -> Result<(), Impure> {
        self.skip_blank()?;
        match self.peek() {
            Some(',') => {
                self.at += 1;
                Ok(())
            }
            Some(next) if next == closing => Ok(()),
            None => Err(self.impure(format!("the script ends inside meta; close it with `{closing}`"))),
            Some('(' | '.' | '+' | '-' | '*' | '/' | '%' | '?' | '<' | '>' | '=' | '&' | '|' | '^' | '`') => Err(self
                .impure(
                    "an expression goes on here; meta must be a pure literal, so write the resulting value itself",
                )),
            Some(_) => Err(self.impure(format!("expected `,` or `{closing}`"))),
        }
    }

    fn number(&mut self) -> Result<f64, Impure> {
        let start = self.at;
        let rest = &self.text[start..];
        // A sign belongs to the number only right after the `e` of a decimal exponent.
        let hexadecimal = rest.starts_with("0x") || rest.starts_with("0X");
        let mut last = '\0';
        let length = rest
            .find(|next: char| {
                let part = is_name_part(next)
                    || next == '.'
                    || (matches!(next, '+' | '-') && !hexadecimal && matches!(last, 'e' | 'E'));
                last = next;
                !part
            })
            .unwrap_or(rest.len());
        let written = &rest[..length];
        let bad = |message: String| Impure { offset: start, message };
        if written.ends_with('n') && written.starts_with(|first: char| first.is_ascii_digit()) && !hexadecimal {
            return Err(bad(format!("{written} is a BigInt, which JSON does not have; write a number or a string")));
        }
        if written.starts_with('_') || written.ends_with('_') || written.contains("__") {
            return Err(bad(format!("{written} is not a number; `_` may only stand between two digits")));
        }
        let digits = written.replace('_', "");
        let value = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
            Some("0x") => radix(&digits[2..], 16),
            Some("0o") => radix(&digits[2..], 8),
            Some("0b") => radix(&digits[2..], 2),
            Some(two) if two.starts_with('0') && two.as_bytes()[1].is_ascii_digit() => None,
            _ if digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte)) => {
                digits.parse::<f64>().ok()
            }
            _ => None,
        };
        match value {
            Some(value) if value.is_finite() => {
                self.at += length;
                Ok(value)
            }
            Some(_) => Err(bad(format!("{written} is too large for a JSON number"))),
            None => Err(bad(format!("{written} is not a number a strict script may hold"))),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, Impure> {
        let opening = self.at;
        self.at += 1;
        let mut out = String::new();
        // The first half of a surrogate pair written as `\ud83d`, waiting for its second.
        let mut high: Option<(u32, usize)> = None;
        loop {
            let at = self.at;
            let Some(next) = self.peek() else {
                return Err(Impure {
                    offset: opening,
                    message: format!("this string is never closed; end it with {quote}"),
                });
            };
            self.at += next.len_utf8();
            let unit = match next {
                '\\' => match self.escape(at)? {
                    None => continue,
                    Some(unit) => unit,
                },
                _ if next == quote => break,
                '\n' | '\r' if quote != '`' => {
                    return Err(Impure {
                        offset: opening,
                        message: "this string is not closed on its line; close it, or write \\n".to_owned(),
                    });
                }
                '$' if quote == '`' && self.peek() == Some('{') => {
                    return Err(Impure {
                        offset: at,
                        message: "`${...}` must be evaluated; meta must be a pure literal, so write the text itself"
                            .to_owned(),
                    });
                }
                // A template's line ends are read as one `\n`, whatever the file has.
                '\r' => {
                    self.take("\n");
                    u32::from('\n')
                }
                other => u32::from(other),
            };
            if let Some((first, first_at)) = high.take() {
                if !(0xdc00..0xe000).contains(&unit) {
                    return Err(lone_surrogate(first_at));
                }
                let joined = 0x10000 + ((first - 0xd800) << 10) + (unit - 0xdc00);
                out.extend(char::from_u32(joined));
            } else if (0xd800..0xdc00).contains(&unit) {
                high = Some((unit, at));
            } else {
                out.push(char::from_u32(unit).ok_or_else(|| lone_surrogate(at))?);
            }
        }
        match high {
            Some((_, at)) => Err(lone_surrogate(at)),
            None => Ok(out),
        }
    }

    /// What follows a backslash: a code unit, or nothing for a continued line.
    fn escape(&mut self, backslash: usize) -> Result<Option<u32>, Impure> {
        let bad = |message: &str| Impure { offset: backslash, message: message.to_owned() };
        let Some(next) = self.peek() else { return Err(bad("the script ends inside a string")) };
        self.at += next.len_utf8();
        Ok(Some(match next {
            'n' => 0x0a,
            't' => 0x09,
            'r' => 0x0d,
            'b' => 0x08,
            'f' => 0x0c,
            'v' => 0x0b,
            '0' if !self.peek().is_some_and(|digit| digit.is_ascii_digit()) => 0,
            '0'..='9' => return Err(bad("octal escapes are not allowed in strict code; write \\x or \\u")),
            'x' => self.hex(2).ok_or_else(|| bad("\\x needs two hexadecimal digits"))?,
            'u' if self.take("{") => {
                let rest = &self.text[self.at..];
                let digits = rest.find('}').map(|end| &rest[..end]).unwrap_or_default();
                let unit =
                    u32::from_str_radix(digits, 16).ok().filter(|unit| *unit <= 0x10_ffff && !digits.starts_with('+'));
                let unit = unit.ok_or_else(|| bad("\\u{...} needs hexadecimal digits of a Unicode character"))?;
                self.at += digits.len() + 1;
                unit
            }
            'u' => self.hex(4).ok_or_else(|| bad("\\u needs four hexadecimal digits, or braces"))?,
            '\r' => {
                self.take("\n");
                return Ok(None);
            }
            '\n' | '\u{2028}' | '\u{2029}' => return Ok(None),
            other => u32::from(other),
        }))
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let written = self.text.get(self.at..self.at + digits)?;
        let unit =
            written.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(written, 16).ok())??;
        self.at += digits;
        Some(unit)
    }

    pub(crate) fn impure(&self, message: impl Into<String>) -> Impure {
        Impure { offset: self.at, message: message.into() }
    }
}

fn lone_surrogate(offset: usize) -> Impure {
    Impure { offset, message: "half of a surrogate pair is no character; write both halves, or \\u{...}".to_owned() }
}

fn radix(digits: &str, base: u32) -> Option<f64> {
    if digits.is_empty() {
        return None;
    }
    digits.chars().try_fold(0.0, |value, digit| Some(value * f64::from(base) + f64::from(digit.to_digit(base)?)))
}

fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

fn is_name_start(character: char) -> bool {
    character.is_alphabetic() || character == '_' || character == '$'
}

fn is_name_part(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$' | '\u{200c}' | '\u{200d}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value, (usize, String)> {
        Reader::new(text).literal().map(|literal| literal.to_json()).map_err(|error| (error.offset, error.message))
    }

    #[test]
    fn literals_of_every_kind() {
        let cases = [
            ("'a\\n\\x41\\u0042\\u{1F600}\\ud83d\\ude00\\\nb\\q'", json!("a\nAB😀😀bq")),
            ("\"it's\"", json!("it's")),
            ("`two\r\nlines $ {`", json!("two\nlines $ {")),
            ("0", json!(0)),
            ("-1.5e3", json!(-1500)),
            ("- .25", json!(-0.25)),
            ("1_000", json!(1000)),
            ("0xfF", json!(255)),
            ("0b101", json!(5)),
            ("0o17", json!(15)),
            ("2e-1", json!(0.2)),
            ("5.", json!(5)),
            ("null", json!(null)),
            ("[true, false, [ ], ]", json!([true, false, []])),
            ("{ a: 1, 'b c': [2], 3: null, $d_é: `x`, if: 1, }", json!({"a":1,"b c":[2],"3":null,"$d_é":"x","if":1})),
            ("{ // one\n a /* two */ : /* three */ 1 /* four */, /**/ }", json!({"a":1})),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn whatever_must_be_evaluated_is_refused_with_its_place() {
        let cases = [
            ("{ a: b }", 5, "`b` is a name"),
            ("{ a: f(1) }", 5, "`f` is a name"),
            ("{ a: 'x'.length }", 8, "an expression goes on"),
            ("{ a: 1 + 1 }", 7, "an expression goes on"),
            ("{ ...other }", 2, "spreads"),
            ("{ [key]: 1 }", 2, "computed key"),
            ("{ name }", 2, "a variable of that name"),
            ("{ get() { return 1 } }", 2, "a method"),
            ("{ get name() { return 1 } }", 2, "expected `:`"),
            ("{ a: `x${1}` }", 7, "must be evaluated"),
            ("{ a: undefined }", 5, "leave the field out"),
            ("{ a: 10n }", 5, "BigInt"),
            ("{ a: 010 }", 5, "not a number"),
            ("{ a: 1__0 }", 5, "not a number"),
            ("{ a: 1e999 }", 5, "too large"),
            ("{ a: NaN }", 5, "NaN"),
            ("{ a: () => 1 }", 5, "parentheses"),
            ("{ a: /x/ }", 5, "regular expression"),
            ("{ a: !0 }", 5, "operator"),
            ("{ a: -x }", 6, "before a number"),
            ("{ a: new Date() }", 5, "`new`"),
            ("{ a: 1, a: 2 }", 8, "twice"),
            ("{ __proto__: {} }", 2, "prototype"),
            ("[1,,2]", 3, "leave elements out"),
            ("{ a: 'open }", 5, "never closed"),
            ("{ a: 'x\n' }", 5, "not closed on its line"),
            ("{ a: '\\08' }", 6, "octal"),
            ("{ a: '\\ud800' }", 6, "surrogate"),
            ("{ a: '\\ud800x' }", 6, "surrogate"),
            ("{ a: '\\u{110000}' }", 6, "hexadecimal"),
            ("{ a: '\\u{+41}' }", 6, "hexadecimal"),
            ("{ a: 1 b: 2 }", 7, "expected `,`"),
            ("{ a: 1", 6, "close it with `}`"),
            ("{ a: /* never", 5, "never closed"),
            ("[", 1, "ends inside meta"),
        ];
        for (text, offset, message) in cases {
            let (at, said) = read(text).expect_err(text);
            assert!(at == offset && said.contains(message), "{text}: {at} {said}");
        }
        let deep = "[".repeat(10_000);
        assert!(read(&deep).unwrap_err().1.contains("deeper"));
    }
}
