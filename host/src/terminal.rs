//! Text on its way to a person's terminal: guests' and files' control characters made visible and harmless, and the little
//! styling there is. Whatever a guest, a file name or a script produced passes `plain` or `line` before it is printed.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::IsTerminal;
use vespiary_kernel::legible::is_harmful;

/// Several lines, harmless: line ends and tabs stay, every other character that steers, reorders or is not seen is shown as `\u{1b}`.
pub fn plain(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_harmful(c) && c != '\n' && c != '\t')
}

/// One line, harmless: line ends are shown as escapes too.
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, is_harmful)
}

/// At most `chars_max` characters of `text` on one line, with an ellipsis when something was cut.
pub fn clipped(text: &str, chars_max: usize) -> String {
    let shown = line(text);
    match shown.char_indices().nth(chars_max) {
        None => shown.into_owned(),
        Some(_) => {
            let cut = shown.char_indices().nth(chars_max.saturating_sub(1)).map_or(0, |(at, _)| at);
            format!("{}\u{2026}", &shown[..cut])
        }
    }
}

/// JSON text, harmless and still the same JSON: what JSON allows unescaped inside a string is escaped, and a carriage return,
/// which it allows only between tokens, becomes a blank: what stands before it on its line would be written over.
pub fn json(text: &str) -> Cow<'_, str> {
    let dangerous = |c: char| is_harmful(c) && c != '\n' && c != '\t';
    if !text.contains(dangerous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c == '\r' {
            out.push(' ');
        } else if dangerous(c) {
            // Outside of strings JSON has none of them.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn escape(text: &str, dangerous: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&dangerous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if dangerous(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Whether and how to decorate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// For standard output.
    pub fn of_stdout() -> Self {
        Self::decide(std::io::stdout().is_terminal())
    }

    /// For standard error.
    pub fn of_stderr() -> Self {
        Self::decide(std::io::stderr().is_terminal())
    }

    fn decide(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        Self { colour: terminal && !refused && !dumb }
    }

    /// No decoration.
    pub const fn none() -> Self {
        Self { colour: false }
    }

    /// Whether colours are written.
    pub fn colours(self) -> bool {
        self.colour
    }

    /// Emphasis.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// Less important.
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// Something is wrong.
    pub fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// Something deserves a look.
    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// Something is well.
    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_shown_and_not_obeyed() {
        assert_eq!(plain("a\u{1b}[2Jb\tc\nd\u{9b}31m"), "a\\u{1b}[2Jb\tc\nd\\u{9b}31m");
        assert_eq!(line("a\r\nb\u{202e}c\u{7f}"), "a\\u{d}\\u{a}b\\u{202e}c\\u{7f}");
        assert_eq!(line("deploy\u{e0026}\u{200b}"), "deploy\\u{e0026}\\u{200b}");
        assert_eq!(line("grün 漢字 🐝"), "grün 漢字 🐝");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({"k\u{85}": "x\u{7f}\u{202e}\u{1b}y\u{e0041}"});
        let text = serde_json::to_string(&value).unwrap();
        let safe = json(&text);
        assert!(!safe.contains(is_harmful), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn clipping_counts_characters() {
        assert_eq!(clipped("äöü", 3), "äöü");
        assert_eq!(clipped("äöüß", 3), "äö…");
    }

    #[test]
    fn no_style_writes_no_escape() {
        assert_eq!(Style::none().red("x"), "x");
    }
}
