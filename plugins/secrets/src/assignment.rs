//! Reads `name = "value"` in its many spellings, from a byte inside the name.
//!
//! A hand-written reader rather than patterns: the words it is called for (`key`, `pass`, `token`) occur everywhere, and looking at
//! the few bytes after the name settles most of them.

use crate::value;
use std::ops::Range;

/// A name and the literal given to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
    /// The value stood in quotes.
    pub(crate) quoted: bool,
}

/// Longest name, value and gap looked at, in bytes.
const NAME_MAX: usize = 80;
const VALUE_MAX: usize = 600;

/// The name around `at`, as a range.
pub(crate) fn name_around(text: &[u8], at: usize) -> Range<usize> {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let floor = at.saturating_sub(NAME_MAX);
    let ceiling = text.len().min(at + NAME_MAX);
    let before = text[floor..at].iter().rev().take_while(|b| is_name(b)).count();
    let after = text[at..ceiling].iter().take_while(|b| is_name(b)).count();
    let mut range = at - before..at + after;
    // `--password` and `-password` are options, and `\npassword` is an escape before a name.
    while range.start < range.end && text[range.start] == b'-' {
        range.start += 1;
    }
    if range.start > 0 && text[range.start - 1] == b'\\' && range.len() > 1 {
        range.start += 1;
    }
    range
}

/// The literal given to `name`, where one is. `bare` says whether this kind of file has values without quotes.
pub(crate) fn read(text: &[u8], name: Range<usize>, bare: bool) -> Option<Assignment> {
    let opening = name.start.checked_sub(1).map(|i| text[i]);
    let mut reader = Reader { text, at: name.end };
    if opening == Some(b'<') && reader.take(b'>') {
        let value = reader.until(|b| matches!(b, b'<' | b'\n'))?;
        return Some(Assignment { name, value, quoted: false });
    }
    let option = name.start >= 2 && &text[name.start - 2..name.start] == b"--";
    // Quotes may be escaped: JSON inside a string.
    if opening.is_some_and(is_quote) && reader.peek() == Some(b'\\') {
        reader.at += 1;
    }
    let name_is_quoted = opening.is_some_and(is_quote) && reader.peek().is_some_and(is_quote);
    if name_is_quoted {
        reader.at += 1;
    }
    while matches!(reader.peek(), Some(b']' | b'[' | b'?' | b'*')) {
        reader.at += 1;
    }
    reader.spaces();
    let operator = reader.operator(name_is_quoted);
    match operator {
        Operator::None if option && bare && text.get(name.end) == Some(&b' ') => {}
        Operator::None => return None,
        Operator::Assign | Operator::Colon => reader.line_break(),
        Operator::Comma | Operator::Call => {}
    }
    let value_at = reader.at;
    reader.wrappers();
    if let Some(value) = reader.quoted() {
        return Some(Assignment { name, value, quoted: true });
    }
    if !bare || matches!(operator, Operator::Comma | Operator::Call) {
        return None;
    }
    let setting = leads_line(text, name.start);
    // Where `NAME==value` is a setting, the second sign is the value's; a comparison has spaces.
    let glued = text[name.end] == b'=' && !text[value_at - 1].is_ascii_whitespace();
    reader.at = if setting && glued { name.end + 1 } else { value_at };
    let value = reader.bare(setting)?;
    Some(Assignment { name, value, quoted: false })
}

/// Whether only words stand before `at` on its line, as in `export NAME=` and `  - name:`: then what follows is a setting, and all of it
/// the value. Elsewhere it may be part of an address or of code.
fn leads_line(text: &[u8], at: usize) -> bool {
    text[at.saturating_sub(NAME_MAX)..at]
        .iter()
        .rev()
        .take_while(|b| **b != b'\n')
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'\t' | b'.' | b'_' | b'-'))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    None,
    /// `=`, `==`, `:=`, `=>`, `||=`
    Assign,
    /// `:`
    Colon,
    /// `"name", `
    Comma,
    /// `name(`
    Call,
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn operator(&mut self, name_is_quoted: bool) -> Operator {
        let Some(first) = self.peek() else { return Operator::None };
        match first {
            b',' if name_is_quoted => {
                self.at += 1;
                self.spaces();
                Operator::Comma
            }
            b'(' => {
                self.at += 1;
                Operator::Call
            }
            b'=' | b'!' | b'|' | b'+' => {
                let signs = self.text[self.at..]
                    .iter()
                    .take(3)
                    .take_while(|b| matches!(b, b'=' | b'!' | b'>' | b'|' | b'+' | b'~'))
                    .count();
                if !self.text[self.at..self.at + signs].contains(&b'=') {
                    return Operator::None;
                }
                self.at += signs;
                self.spaces();
                Operator::Assign
            }
            b':' => {
                self.at += 1;
                if self.peek() == Some(b':') {
                    return Operator::None;
                }
                self.take(b'=');
                self.spaces();
                if self.peek().is_some_and(is_quote) {
                    return Operator::Colon;
                }
                // `name: &str = "..."`: a type stands between.
                let rest = &self.text[self.at..self.text.len().min(self.at + 48)];
                let stop = rest
                    .iter()
                    .position(|b| matches!(b, b'=' | b'"' | b'\n' | b',' | b';' | b')' | b'}'))
                    .unwrap_or(rest.len());
                if rest.get(stop) == Some(&b'=')
                    && rest.get(stop + 1) != Some(&b'=')
                    && stop > 0
                    && rest[stop - 1] == b' '
                {
                    self.at += stop + 1;
                    self.spaces();
                    return Operator::Assign;
                }
                Operator::Colon
            }
            _ => Operator::None,
        }
    }

    /// Go on to the next line where the operator ends this one.
    fn line_break(&mut self) {
        let mut ahead = Reader { text: self.text, at: self.at };
        if matches!(ahead.peek(), Some(b'(' | b'\\')) {
            ahead.at += 1;
        }
        if ahead.peek() == Some(b'\r') {
            ahead.at += 1;
        }
        if !ahead.take(b'\n') {
            return;
        }
        ahead.spaces();
        let prefix = self.text[ahead.at..].iter().take(2).take_while(|b| matches!(b, b'b' | b'r' | b'u')).count();
        if self.text.get(ahead.at + prefix).is_some_and(|&b| is_quote(b)) {
            self.at = ahead.at;
        }
    }

    /// Skip `String::from(`, `hex!(`, `&`, `b` and the like before a quote.
    fn wrappers(&mut self) {
        for _ in 0..3 {
            let rest = &self.text[self.at..self.text.len().min(self.at + 48)];
            let word = rest
                .iter()
                .take_while(|b| {
                    b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'.' | b'!' | b'&' | b'@' | b'#' | b' ')
                })
                .count();
            match rest.get(word) {
                Some(b'(') => {
                    self.at += word + 1;
                    self.spaces();
                }
                Some(b'"' | b'\'' | b'`') if word <= 3 => {
                    self.at += word;
                    return;
                }
                _ => return,
            }
        }
    }

    fn quoted(&mut self) -> Option<Range<usize>> {
        // Escaped quotes, as in JSON or code inside a string.
        let escaped = self.peek() == Some(b'\\') && self.text.get(self.at + 1).is_some_and(|&b| is_quote(b));
        self.at += usize::from(escaped);
        let quote = self.peek().filter(|&b| is_quote(b))?;
        self.at += 1;
        let start = self.at;
        let end = self.text.len().min(start + VALUE_MAX);
        let mut at = start;
        while at < end {
            match self.text[at] {
                b'\n' => return None,
                b'\\' if escaped => return (at > start).then_some(start..at),
                b'\\' => at += 1,
                b if b == quote => return (at > start).then_some(start..at),
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// A value without quotes. `setting` says that nothing but the value follows on the line.
    fn bare(&mut self, setting: bool) -> Option<Range<usize>> {
        let breaks = |b: u8| b.is_ascii_whitespace() || is_quote(b);
        let whole = if setting { self.until(breaks) } else { None };
        if let Some(whole) = whole {
            let closing = self.text[whole.clone()].iter().rev().take_while(|b| matches!(b, b',' | b';')).count();
            let whole = whole.start..whole.end - closing;
            if value::looks_random(&self.text[whole.clone()]) {
                return Some(whole);
            }
        }
        let value = self.until(|b| breaks(b) || matches!(b, b',' | b';' | b'&' | b'<' | b'>' | b'#'))?;
        // A call, an index or a formula is no literal.
        let literal = !self.text[value.clone()].iter().any(|b| matches!(b, b'(' | b')' | b'{' | b'}' | b'[' | b']'));
        literal.then_some(value)
    }

    fn until(&mut self, stop: impl Fn(u8) -> bool) -> Option<Range<usize>> {
        let start = self.at;
        let end = self.text.len().min(start + VALUE_MAX);
        let length = self.text[start..end].iter().take_while(|&&b| !stop(b)).count();
        let whole = start + length < end || end == self.text.len();
        (length > 0 && whole).then_some(start..start + length)
    }
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(text: &'a str, word: &str, bare: bool) -> Option<&'a str> {
        let name = name_around(text.as_bytes(), text.find(word)?);
        read(text.as_bytes(), name, bare).map(|assignment| &text[assignment.value])
    }

    #[test]
    fn spellings_of_programs() {
        for text in [
            "password = \"v@lue1\"",
            "db_password='v@lue1'",
            "\"password\": \"v@lue1\",",
            "password: 'v@lue1'",
            "password := `v@lue1`",
            "'password' => 'v@lue1'",
            "config['password'] = 'v@lue1'",
            "const password: &str = \"v@lue1\";",
            "password: str = 'v@lue1'",
            "if password == \"v@lue1\" {",
            "password = b'v@lue1'",
            "password = String::from(\"v@lue1\")",
            "os.environ.get('password', 'v@lue1')",
            "set_password('v@lue1')",
            "password =\n    'v@lue1'",
            "password = (\n    b'v@lue1'",
            "{\\\"password\\\": \\\"v@lue1\\\"}",
            "char password[] = \"v@lue1\";",
        ] {
            assert_eq!(value(text, "password", false), Some("v@lue1"), "{text}");
        }
    }

    #[test]
    fn spellings_of_configuration() {
        for text in [
            "PASSWORD=v@lue1\n",
            "password: v@lue1",
            "<password>v@lue1</password>",
            "tool --password v@lue1 -x",
            "tool --password=v@lue1",
            "export password=v@lue1;",
        ] {
            assert_eq!(
                value(text, if text.starts_with('P') { "PASSWORD" } else { "password" }, true),
                Some("v@lue1"),
                "{text}"
            );
        }
        assert_eq!(value("password = v@lue1", "password", false), None);
    }

    #[test]
    fn a_setting_has_all_of_a_random_value() {
        let drawn = "Kx9(mPq2,vT7;wRb4&Ns8#Dy<";
        for before in ["PASSWORD=", "export PASSWORD=", "  - PASSWORD: ", "db.pool.PASSWORD = ", "PASSWORD=="] {
            let text = format!("{before}{drawn};\n");
            assert_eq!(value(&text, "PASSWORD", true).map(|v| v.trim_start_matches('=')), Some(drawn), "{text}");
        }
        for sign in ["!", "+", "~", "=", ">", "|"] {
            let (text, drawn) = (format!("PASSWORD={sign}Kx9mPq2vT7wRb4\n"), format!("{sign}Kx9mPq2vT7wRb4"));
            assert_eq!(value(&text, "PASSWORD", true), Some(drawn.as_str()), "{text}");
        }
        // In an address the next member follows, and words in brackets are a call.
        assert_eq!(value("GET /x?password=Kx9mPq2vT7&user=joe", "password", true), Some("Kx9mPq2vT7"));
        assert_eq!(value("PASSWORD=read_password(stdin)\n", "PASSWORD", true), None);
    }

    #[test]
    fn what_is_no_literal() {
        for text in [
            "password = get_password()",
            "password = self.password",
            "fn password(&self)",
            "the password is here",
            "password: Option<String>,",
            "password::new(\"x1234\")",
        ] {
            assert_eq!(value(text, "password", false), None, "{text}");
        }
        assert_eq!(value("password: read(file)", "password", true), None);
    }
}
