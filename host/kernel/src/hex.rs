//! Digests as text: 64 lower-case hexadecimal digits. A record holds tens of thousands of them, so neither way looks at a digit twice.

use serde::Deserializer;
use serde::de::{Error, Visitor};
use std::fmt;

/// What stands for a character that is no digit; digits have none of its bits.
const NONE: u8 = 0xf0;

const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 16 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The bytes that `text` says, if it says 32.
pub(crate) fn read(text: &str) -> Option<[u8; 32]> {
    let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let (mut bytes, mut all) = ([0; 32], 0);
    for (byte, [high, low]) in bytes.iter_mut().zip(text.as_chunks::<2>().0) {
        let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
        all |= high | low;
        *byte = high << 4 | low & 0x0f;
    }
    (all & NONE == 0).then_some(bytes)
}

/// The other way.
pub(crate) fn write(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [0; 64];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
}

/// The bytes of a digest in a document; no text is set aside for it.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    struct Digits;
    impl Visitor<'_> for Digits {
        type Value = [u8; 32];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a digest: 64 lower-case hexadecimal digits")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<[u8; 32], E> {
            // It may be a megabyte; it is not repeated.
            read(text).ok_or_else(|| E::custom("a digest is 64 lower-case hexadecimal digits"))
        }
    }
    deserializer.deserialize_str(Digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shown([u8; 32]);

    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write(&self.0, f)
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let bytes: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 8).unwrap());
        let text = Shown(bytes).to_string();
        assert!(text.starts_with("0008101820") && text.ends_with("f0f8"), "{text}");
        assert_eq!(read(&text), Some(bytes));
        for at in 0..64 {
            for bad in ["g", "A", "/", ":", "`", " ", "\0"] {
                let mut text = text.clone();
                text.replace_range(at..=at, bad);
                assert_eq!(read(&text), None, "{bad:?} at {at}");
            }
        }
        for bad in [&text[1..], &format!("{text}0"), "", &"é".repeat(32)] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
