//! Deltas: an object told as copies from another and new bytes. What must never live here: where either is stored.

use super::{Broken, OBJECT_BYTES_MAX};

/// Rebuilds an object from its base.
///
/// # Errors
/// The delta was not made for this base, or does not give what it says.
pub(super) fn apply(base: &[u8], delta: &[u8]) -> Result<Vec<u8>, Broken> {
    let mut rest = delta;
    let wrong = |why: &str| Broken::why(format!("a delta {why}"));
    let base_size = size(&mut rest).ok_or_else(|| wrong("has no size"))?;
    let result_size = size(&mut rest).ok_or_else(|| wrong("has no size"))?;
    if base_size != base.len() as u64 {
        return Err(wrong("was made for another base"));
    }
    if result_size > OBJECT_BYTES_MAX {
        return Err(Broken::TooLarge(result_size));
    }
    let result_size = result_size as usize;
    let mut result = Vec::with_capacity(result_size);
    while let Some((&code, after)) = rest.split_first() {
        rest = after;
        let piece = match code {
            0 => return Err(wrong("has an instruction of a later version")),
            1..=127 => {
                let (piece, after) = rest.split_at_checked(usize::from(code)).ok_or_else(|| wrong("is cut"))?;
                rest = after;
                piece
            }
            _ => {
                let from = number(code, 0..4, &mut rest).ok_or_else(|| wrong("is cut"))?;
                let len = match number(code, 4..7, &mut rest).ok_or_else(|| wrong("is cut"))? {
                    0 => 0x10000,
                    len => len,
                };
                base.get(from..).and_then(|base| base.get(..len)).ok_or_else(|| wrong("copies from beyond its base"))?
            }
        };
        if piece.len() > result_size - result.len() {
            return Err(wrong("gives more than it says"));
        }
        result.extend_from_slice(piece);
    }
    if result.len() < result_size {
        return Err(wrong("gives less than it says"));
    }
    Ok(result)
}

/// A size in groups of seven bits, lowest first.
pub(super) fn size(bytes: &mut &[u8]) -> Option<u64> {
    let mut size = 0_u64;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        size |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(size);
        }
    }
    None
}

/// The bytes of a number that `code` says are there, lowest first.
fn number(code: u8, bits: std::ops::Range<u32>, bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for (place, bit) in bits.enumerate() {
        if code & (1 << bit) != 0 {
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            number |= usize::from(byte) << (place * 8);
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_inserts() {
        let delta = [5, 7, 0x90, 3, 2, b'x', b'y', 0x91, 3, 2];
        assert_eq!(apply(b"abcde", &delta).unwrap(), b"abcxyde");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (delta, why) in [
            (&[4, 1, 1, b'x'][..], "another base"),
            (&[5, 1, 0], "later version"),
            (&[5, 1, 2, b'x'], "is cut"),
            (&[5, 1, 0x91, 4], "is cut"),
            (&[5, 9, 0x91, 4, 9], "beyond its base"),
            (&[5, 1, 2, b'x', b'y'], "more than it says"),
            (&[5, 3, 2, b'x', b'y'], "less than it says"),
            (&[0x80; 12], "no size"),
            (&[5], "no size"),
            (&[5, 0xff, 0xff, 0xff, 0xff, 0x7f], "bytes"),
            // Offset and length at their largest must not wrap around.
            (&[5, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "beyond its base"),
        ] {
            let error = apply(b"abcde", delta).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
