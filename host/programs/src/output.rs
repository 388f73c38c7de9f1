//! What is kept of a stream that may never end: its beginning and its end, and how long it was.

use std::collections::VecDeque;

/// A stream's beginning and end. Holds no more than it was made for, whatever is pushed.
#[derive(Debug, Clone)]
pub struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    half: usize,
    bytes: u64,
}

impl Kept {
    /// Keep at most `bytes_max`: one half from the beginning, one from the end.
    pub(crate) fn new(bytes_max: u64) -> Self {
        let half = usize::try_from(bytes_max / 2).unwrap_or(usize::MAX / 2);
        Self { head: Vec::new(), tail: VecDeque::new(), half, bytes: 0 }
    }

    /// Take in what was read.
    pub(crate) fn push(&mut self, mut chunk: &[u8]) {
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        let room = self.half - self.head.len();
        let (first, rest) = chunk.split_at(room.min(chunk.len()));
        self.head.extend_from_slice(first);
        chunk = &rest[rest.len().saturating_sub(self.half)..];
        let excess = (self.tail.len() + chunk.len()).saturating_sub(self.half);
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail.extend(chunk);
    }

    /// How long the stream was, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a part of it was left out.
    pub fn truncated(&self) -> bool {
        self.bytes > (self.head.len() + self.tail.len()) as u64
    }

    /// As text. Bytes that are not UTF-8 become U+FFFD; where something was left out, a line says how much.
    pub fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if !self.truncated() {
            return String::from_utf8_lossy(&[self.head.as_slice(), &tail].concat()).into_owned();
        }
        let left_out = self.bytes - (self.head.len() + tail.len()) as u64;
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
        format!("{head}\n[{left_out} bytes left out]\n{tail}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_stream_is_kept_whole() {
        let mut kept = Kept::new(10);
        for chunk in ["ab", "", "cdefg", "hij"] {
            kept.push(chunk.as_bytes());
        }
        assert_eq!((kept.text().as_str(), kept.truncated(), kept.bytes()), ("abcdefghij", false, 10));
    }

    #[test]
    fn a_long_stream_keeps_its_beginning_and_its_end() {
        for size in [1, 3, 7, 26] {
            let mut kept = Kept::new(10);
            for chunk in b"abcdefghijklmnopqrstuvwxyz".chunks(size) {
                kept.push(chunk);
            }
            assert_eq!(kept.text(), "abcde\n[16 bytes left out]\nvwxyz", "in chunks of {size}");
            assert!(kept.truncated() && kept.head.len() + kept.tail.len() <= 10);
        }
    }

    #[test]
    fn a_cut_through_a_character_does_no_harm() {
        let mut kept = Kept::new(4);
        kept.push("äöüß€".as_bytes());
        assert!(kept.text().contains("left out"));
    }
}
