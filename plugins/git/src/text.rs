//! Bytes as text: paths and messages need not be UTF-8, and JSON must be. What must never live here: a silent loss.

use gix_object::bstr::{BStr, ByteSlice};

/// Turns bytes into text, and remembers whether any were replaced.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lossy(bool);

impl Lossy {
    /// The bytes as text; what is not UTF-8 becomes U+FFFD.
    pub(crate) fn text(&mut self, bytes: impl AsRef<[u8]>) -> String {
        match std::str::from_utf8(bytes.as_ref()) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                self.0 = true;
                bytes.as_ref().to_str_lossy().into_owned()
            }
        }
    }

    /// Whether anything was replaced so far.
    pub(crate) fn happened(self) -> bool {
        self.0
    }
}

/// A path as Git writes it in a patch: in double quotes and with escapes where a plain reading could go wrong.
pub(crate) fn quoted(prefix: &str, path: &BStr) -> String {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    if path.bytes().all(plain) {
        return format!("{prefix}{path}");
    }
    let mut quoted = format!("\"{prefix}");
    for byte in path.bytes() {
        match byte {
            b'\t' => quoted.push_str("\\t"),
            b'\n' => quoted.push_str("\\n"),
            b'\r' => quoted.push_str("\\r"),
            b'"' => quoted.push_str("\\\""),
            b'\\' => quoted.push_str("\\\\"),
            byte if plain(byte) => quoted.push(char::from(byte)),
            byte => quoted.push_str(&format!("\\{byte:03o}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_needed() {
        assert_eq!(quoted("a/", b"src/a b.rs".as_bstr()), "a/src/a b.rs");
        assert_eq!(quoted("a/", "ä\t\"\\".as_bytes().as_bstr()), "\"a/\\303\\244\\t\\\"\\\\\"");
    }

    #[test]
    fn loss_is_remembered() {
        let mut lossy = Lossy::default();
        assert_eq!(lossy.text("ä"), "ä");
        assert!(!lossy.happened());
        assert_eq!(lossy.text(b"a\xff"), "a\u{fffd}");
        assert!(lossy.happened());
    }
}
