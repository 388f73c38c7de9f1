//! A script as a flat list of tokens whose brackets know their partners: all that the rules need, and nothing that grows with
//! how deep a script nests. No tree is built and nothing recurses, so a hostile script costs memory in proportion to its length and
//! nothing else. The engine decides what is JavaScript; this reads what the engine has accepted.

use std::cell::Cell;
use std::collections::HashSet;

/// No bracket.
pub(super) const NONE: u32 = u32::MAX;

/// Brackets inside brackets at most. Rules climb from a token outwards, so this bounds their work as well.
const DEPTH_MAX: usize = 1_000;

/// Tokens that the rules look at in all, beyond one look at each: where an expression ends, what a list holds, where a value comes
/// from. People's scripts take thousands; one that is written for it would have every expression looked through from every place in it.
const LOOKS_MAX: usize = 8 << 20;

/// What sort of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or keyword.
    Word,
    Number,
    String,
    /// A piece of a template: from its quote or from `}`, up to its quote or `${`.
    Template,
    Regex,
    /// An operator or bracket; `${` is one that opens.
    Punct,
}

/// One token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: Kind,
    start: u32,
    end: u32,
    /// Whether a line ended before it.
    pub(super) newline: bool,
    /// The partner of a bracket.
    pub(super) mate: u32,
    /// The innermost bracket that is open around it.
    pub(super) parent: u32,
}

/// Where reading stopped, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unread {
    /// Offset in bytes.
    pub(super) at: usize,
    pub(super) why: &'static str,
}

/// A script's tokens.
#[derive(Debug)]
pub(super) struct Tokens<'s> {
    source: &'s str,
    list: Vec<Token>,
    /// How many more are looked at.
    looks: Cell<usize>,
}

impl<'s> Tokens<'s> {
    /// Read `source`, which is at most 4 GiB long.
    pub(super) fn read(source: &'s str) -> Result<Self, Unread> {
        let mut lexer = Lexer { source, at: 0, list: Vec::new(), open: Vec::new(), newline: false };
        lexer.all()?;
        Ok(Self { source, list: lexer.list, looks: Cell::new(LOOKS_MAX) })
    }

    /// Take one of the looks that are left; when none is, whoever asks sees no further.
    pub(super) fn may_look(&self) -> bool {
        let left = self.looks.get();
        self.looks.set(left.saturating_sub(1));
        left > 0
    }

    /// Whether everything that was to be looked at was.
    pub(super) fn are_seen(&self) -> bool {
        self.looks.get() > 0
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn at(&self, i: usize) -> Option<&Token> {
        self.list.get(i)
    }

    /// Offset in bytes.
    pub(super) fn offset(&self, i: usize) -> usize {
        self.list.get(i).map_or(self.source.len(), |t| t.start as usize)
    }

    /// The text of a word or operator; empty for anything else, so that a string never passes for code.
    pub(super) fn code(&self, i: usize) -> &'s str {
        match self.list.get(i) {
            Some(t) if matches!(t.kind, Kind::Word | Kind::Punct) => &self.source[t.start as usize..t.end as usize],
            _ => "",
        }
    }

    /// The token as written.
    pub(super) fn text(&self, i: usize) -> &'s str {
        self.list.get(i).map_or("", |t| &self.source[t.start as usize..t.end as usize])
    }

    pub(super) fn is(&self, i: usize, code: &str) -> bool {
        self.code(i) == code
    }

    pub(super) fn is_word(&self, i: usize) -> bool {
        self.at(i).is_some_and(|t| t.kind == Kind::Word)
    }

    /// The other end of a bracket.
    pub(super) fn mate(&self, i: usize) -> Option<usize> {
        self.at(i).map(|t| t.mate).filter(|mate| *mate != NONE).map(|mate| mate as usize)
    }

    /// The bracket around a token.
    pub(super) fn parent(&self, i: usize) -> Option<usize> {
        self.at(i).map(|t| t.parent).filter(|parent| *parent != NONE).map(|parent| parent as usize)
    }

    /// The token after this one at the same depth; the close of the bracket around it does not count.
    pub(super) fn next(&self, i: usize) -> Option<usize> {
        let next = self.mate(i).filter(|mate| *mate > i).unwrap_or(i) + 1;
        self.at(next).filter(|t| t.parent == self.list[i].parent).map(|_| next)
    }

    /// The token before this one at the same depth: the opening one where that is a bracket.
    pub(super) fn prev(&self, i: usize) -> Option<usize> {
        let before = i.checked_sub(1)?;
        let before = self.mate(before).filter(|mate| *mate < before).unwrap_or(before);
        (self.list[before].parent == self.list[i].parent).then_some(before)
    }

    /// Whether a word is the name of a property: `x.word`.
    pub(super) fn is_property(&self, i: usize) -> bool {
        i > 0 && matches!(self.code(i - 1), "." | "?.")
    }

    /// Whether a statement ends between this token and the one before it, so far as tokens tell.
    pub(super) fn begins_statement(&self, i: usize) -> bool {
        let Some(before) = i.checked_sub(1) else { return true };
        match self.code(before) {
            ";" | "{" => return true,
            _ => {}
        }
        let Some(token) = self.at(i) else { return true };
        let ended = matches!(self.code(before), ")" | "]" | "}")
            || self.at(before).is_some_and(|t| t.kind != Kind::Punct) && !is_prefix_word(self.code(before));
        let goes_on = token.kind == Kind::Punct && !matches!(self.code(i), "{" | "++" | "--" | "!" | "~")
            || matches!(self.code(i), "of" | "in" | "instanceof" | "else");
        token.newline && ended && !goes_on
    }

    /// The end of the expression that begins at `from`, without its `;` or `,`: one past its last token.
    pub(super) fn expression_end(&self, from: usize) -> usize {
        let mut at = from;
        loop {
            let Some(next) = self.next(at) else { return self.mate(at).filter(|m| *m > at).unwrap_or(at) + 1 };
            if matches!(self.code(next), ";" | ",") || self.begins_statement(next) || !self.may_look() {
                return next;
            }
            at = next;
        }
    }

    /// The arguments between `open` and its partner as ranges of tokens, the first few.
    pub(super) fn arguments(&self, open: usize) -> Vec<(usize, usize)> {
        const ARGUMENTS_MAX: usize = 32;
        let Some(close) = self.mate(open).filter(|mate| *mate > open) else { return Vec::new() };
        let (mut found, mut from, mut at) = (Vec::new(), open + 1, open + 1);
        while at < close && found.len() < ARGUMENTS_MAX && self.may_look() {
            if self.is(at, ",") {
                found.push((from, at));
                from = at + 1;
            }
            at = self.mate(at).filter(|mate| *mate > at).unwrap_or(at) + 1;
        }
        if from < close && at >= close && found.len() < ARGUMENTS_MAX {
            found.push((from, close));
        }
        found
    }

    /// Every name that the script itself declares, anywhere: variables, functions, classes, parameters.
    pub(super) fn declared(&self) -> HashSet<&'s str> {
        let mut names = HashSet::new();
        for i in 0..self.len() {
            let declares =
                matches!(self.code(i), "const" | "let" | "var" | "function" | "class") && !self.is_property(i);
            if declares {
                let target = if self.is(i + 1, "*") { i + 2 } else { i + 1 };
                self.names_in(target, &mut names);
            }
            // Parameters: a word or brackets before `=>`; brackets between a name and a body, unless a keyword owns them.
            if self.is(i, "=>")
                && let Some(before) = self.prev(i)
            {
                self.names_in(before, &mut names);
            }
            if self.is(i, "(")
                && self.mate(i).is_some_and(|close| self.is(close + 1, "{"))
                && !i.checked_sub(1).is_some_and(|k| matches!(self.code(k), "if" | "for" | "while" | "switch" | "with"))
            {
                self.names_in(i, &mut names);
            }
        }
        names
    }

    /// The words of one binding: a name, or everything in its brackets.
    fn names_in(&self, i: usize, names: &mut HashSet<&'s str>) {
        match self.mate(i).filter(|mate| *mate > i) {
            Some(close) => {
                let inside = (i..close).take_while(|_| self.may_look());
                names.extend(inside.filter(|k| self.is_word(*k)).map(|k| self.code(k)));
            }
            None if self.is_word(i) => drop(names.insert(self.code(i))),
            None => {}
        }
    }
}

/// Words after which an expression begins.
fn is_prefix_word(word: &str) -> bool {
    matches!(
        word,
        "return"
            | "typeof"
            | "instanceof"
            | "in"
            | "of"
            | "new"
            | "delete"
            | "void"
            | "throw"
            | "case"
            | "do"
            | "else"
            | "yield"
            | "await"
            | "const"
            | "let"
            | "var"
            | "function"
            | "class"
            | "extends"
            | "export"
            | "async"
    )
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    list: Vec<Token>,
    open: Vec<u32>,
    newline: bool,
}

impl Lexer<'_> {
    fn all(&mut self) -> Result<(), Unread> {
        if self.rest().starts_with("#!") {
            self.skip_line();
        }
        while let Some(c) = self.rest().chars().next() {
            let start = self.at;
            match c {
                '\n' | '\r' | '\u{2028}' | '\u{2029}' => {
                    self.newline = true;
                    self.at += c.len_utf8();
                }
                c if c.is_whitespace() || c == '\u{feff}' => self.at += c.len_utf8(),
                '/' if self.rest().starts_with("//") => self.skip_line(),
                '/' if self.rest().starts_with("/*") => {
                    let length =
                        self.rest()[2..].find("*/").ok_or(Unread { at: start, why: "a comment does not end" })?;
                    self.newline |= self.rest()[..length].contains(['\n', '\r']);
                    self.at += length + 4;
                }
                '"' | '\'' => self.string(c)?,
                '`' => {
                    self.at += 1;
                    self.template(start)?;
                }
                '/' if self.regex_may_begin() => self.regex()?,
                c if c.is_ascii_digit() || (c == '.' && self.byte(1).is_some_and(|b| b.is_ascii_digit())) => {
                    self.number()
                }
                c if is_word_char(c) => {
                    let length = self.rest().find(|c| !is_word_char(c)).unwrap_or(self.rest().len());
                    self.at += length;
                    self.push(Kind::Word, start);
                }
                _ => self.punct(c)?,
            }
        }
        match self.open.last() {
            None => Ok(()),
            Some(open) => Err(Unread { at: self.list[*open as usize].start as usize, why: "a bracket is not closed" }),
        }
    }

    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.source.as_bytes().get(self.at + ahead).copied()
    }

    fn push(&mut self, kind: Kind, start: usize) {
        let parent = self.open.last().copied().unwrap_or(NONE);
        let newline = std::mem::take(&mut self.newline);
        self.list.push(Token { kind, start: start as u32, end: self.at as u32, newline, mate: NONE, parent });
    }

    fn skip_line(&mut self) {
        let length = self.rest().find(['\n', '\r', '\u{2028}', '\u{2029}']).unwrap_or(self.rest().len());
        self.at += length;
    }

    fn string(&mut self, quote: char) -> Result<(), Unread> {
        let start = self.at;
        self.at += 1;
        while let Some(b) = self.byte(0) {
            match b {
                b'\\' => self.at += 1 + self.rest()[1..].chars().next().map_or(0, char::len_utf8),
                b'\n' => break,
                _ if b == quote as u8 => {
                    self.at += 1;
                    self.push(Kind::String, start);
                    return Ok(());
                }
                _ => self.at += 1,
            }
        }
        Err(Unread { at: start, why: "a string does not end" })
    }

    /// On, from inside a template, to its quote or to `${`.
    fn template(&mut self, start: usize) -> Result<(), Unread> {
        while let Some(b) = self.byte(0) {
            match b {
                b'\\' => self.at += 1 + self.rest()[1..].chars().next().map_or(0, char::len_utf8),
                b'`' => {
                    self.at += 1;
                    self.push(Kind::Template, start);
                    return Ok(());
                }
                b'$' if self.byte(1) == Some(b'{') => {
                    self.push(Kind::Template, start);
                    let at = self.at;
                    self.at += 2;
                    return self.opens(at);
                }
                _ => self.at += 1,
            }
        }
        Err(Unread { at: start, why: "a template string does not end" })
    }

    fn regex(&mut self) -> Result<(), Unread> {
        let start = self.at;
        let mut in_class = false;
        self.at += 1;
        while let Some(b) = self.byte(0) {
            match b {
                b'\\' => self.at += 1 + self.rest()[1..].chars().next().map_or(0, char::len_utf8),
                b'\n' => break,
                b'/' if !in_class => {
                    self.at += 1;
                    self.at += self.rest().find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.rest().len());
                    self.push(Kind::Regex, start);
                    return Ok(());
                }
                b'[' | b']' => {
                    in_class = b == b'[';
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
        Err(Unread { at: start, why: "a regular expression does not end" })
    }

    fn number(&mut self) {
        let start = self.at;
        let is_hex = matches!(self.byte(1), Some(b'x' | b'X'));
        while let Some(b) = self.byte(0) {
            let signed = !is_hex && matches!(b, b'e' | b'E') && matches!(self.byte(1), Some(b'+' | b'-'));
            match b {
                _ if signed => self.at += 2,
                b'.' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => self.at += 1,
                _ => break,
            }
        }
        self.push(Kind::Number, start);
    }

    fn punct(&mut self, c: char) -> Result<(), Unread> {
        const LONG: [&str; 37] = [
            ">>>=", "...", "===", "!==", "**=", "<<=", ">>=", ">>>", "&&=", "||=", "??=", "=>", "==", "!=", "<=", ">=",
            "&&", "||", "??", "?.", "++", "--", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<", ">>", "**", "(",
            "[", "{", "}",
        ];
        let start = self.at;
        let found = LONG.iter().find(|long| self.rest().starts_with(**long)).copied();
        // `a?.5:b` is a question.
        let found = found.filter(|f| *f != "?." || !self.byte(2).is_some_and(|b| b.is_ascii_digit()));
        self.at += found.map_or(c.len_utf8(), str::len);
        match c {
            '(' | '[' | '{' => self.opens(start),
            ')' | ']' | '}' => self.closes(start, c),
            _ => {
                self.push(Kind::Punct, start);
                Ok(())
            }
        }
    }

    fn opens(&mut self, start: usize) -> Result<(), Unread> {
        if self.open.len() == DEPTH_MAX {
            return Err(Unread { at: start, why: "brackets nest deeper than 1,000 levels" });
        }
        self.push(Kind::Punct, start);
        self.open.push(self.list.len() as u32 - 1);
        Ok(())
    }

    fn closes(&mut self, start: usize, c: char) -> Result<(), Unread> {
        let wrong = Unread { at: start, why: "a bracket has no partner" };
        let open = self.open.pop().ok_or_else(|| wrong.clone())?;
        let opened = &self.source[self.list[open as usize].start as usize..self.list[open as usize].end as usize];
        if !matches!((opened, c), ("(", ')') | ("[", ']') | ("{" | "${", '}')) {
            return Err(wrong);
        }
        self.push(Kind::Punct, start);
        let close = self.list.len() as u32 - 1;
        self.list[close as usize].mate = open;
        self.list[open as usize].mate = close;
        if opened == "${" { self.template(self.at) } else { Ok(()) }
    }

    /// Whether `/` begins a regular expression here; otherwise it divides.
    fn regex_may_begin(&self) -> bool {
        let Some((last, before)) = self.list.split_last() else { return true };
        let text = |t: &Token| &self.source[t.start as usize..t.end as usize];
        let code = |i: usize| self.list.get(i).filter(|t| matches!(t.kind, Kind::Word | Kind::Punct)).map_or("", text);
        match last.kind {
            Kind::Number | Kind::String | Kind::Template | Kind::Regex => false,
            Kind::Word => {
                is_prefix_word(text(last)) && !before.last().is_some_and(|t| t.kind == Kind::Punct && text(t) == ".")
            }
            Kind::Punct => match (text(last), (last.mate as usize).checked_sub(1)) {
                // What stands before the partner tells a condition from a value, and a block from an object.
                (")", Some(owner)) => matches!(code(owner), "if" | "while" | "for" | "with"),
                ("}", Some(owner)) => {
                    !matches!(code(owner), "(" | "[" | "," | "=" | ":" | "?" | "return" | "&&" | "||" | "??" | "...")
                }
                ("]" | ")" | "++" | "--", _) => false,
                _ => true,
            },
        }
    }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '#' | '@' | '\\' | '\u{200c}' | '\u{200d}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        let tokens = Tokens::read(source).unwrap_or_else(|e| panic!("{source}: {e:?}"));
        (0..tokens.len()).map(|i| tokens.text(i)).collect()
    }

    #[test]
    fn what_is_code_is_told_from_what_is_not() {
        assert_eq!(texts("a /* b( */ c // d("), ["a", "c"]);
        assert_eq!(texts("'a\\'(' + \"b)\""), ["'a\\'('", "+", "\"b)\""]);
        assert_eq!(texts("`a${f({b: `c`})}d`"), ["`a", "${", "f", "(", "{", "b", ":", "`c`", "}", ")", "}", "d`"]);
        assert_eq!(texts("x = /[/(]\\//g.test(y)"), ["x", "=", "/[/(]\\//g", ".", "test", "(", "y", ")"]);
        assert_eq!(texts("a / b / (c) / 2"), ["a", "/", "b", "/", "(", "c", ")", "/", "2"]);
        assert_eq!(texts("if (a) /b(/.test(c)"), ["if", "(", "a", ")", "/b(/", ".", "test", "(", "c", ")"]);
        assert_eq!(
            texts("1e-3 + .5 ... a?.b ?? c?.5:1"),
            ["1e-3", "+", ".5", "...", "a", "?.", "b", "??", "c", "?", ".5", ":", "1"]
        );
    }

    #[test]
    fn what_is_not_whole_is_told_and_placed() {
        for (source, at) in [("(a", 0), ("a)", 1), ("(]", 1), ("'a\n'", 0), ("/* ", 0), ("`a${b", 2), ("x = /a\n/", 4)]
        {
            assert_eq!(Tokens::read(source).unwrap_err().at, at, "{source:?}");
        }
    }

    #[test]
    fn depth_and_length_cost_no_stack() {
        let deep = "(".repeat(4 << 20);
        assert!(Tokens::read(&deep).unwrap_err().why.contains("deeper"));
        for piece in ["!", "a=>", "if(a)", "a?b:", "-+", "new ", "x**", "a.b", "/*"] {
            let _ = Tokens::read(&piece.repeat((1 << 20) / piece.len()));
        }
    }
}
