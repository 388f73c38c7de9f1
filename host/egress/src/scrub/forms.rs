//! The forms that turn a value's bytes into others: hex and base64. What leaves them in place and only escapes them is read where
//! it stands, in `escapes`.

use zeroize::Zeroizing;

/// `value`, and what it becomes in each such form.
pub(super) fn of(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut all = vec![value.to_vec(), hex(value, b"0123456789abcdef"), hex(value, b"0123456789ABCDEF")];
    for alphabet in [STANDARD, URL_SAFE] {
        // Inside a longer text, as in `Basic base64(user:value)`, the value may begin at any of three offsets.
        all.extend((0..3).map(|offset| base64_core(value, offset, alphabet)));
    }
    all.into_iter().map(Zeroizing::new).collect()
}

fn hex(value: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    value.iter().flat_map(|b| [digits[usize::from(b >> 4)], digits[usize::from(b & 15)]]).collect()
}

/// The base64 digits that depend on nothing but `value`, when it begins `offset` bytes after a multiple of three.
fn base64_core(value: &[u8], offset: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let bit = |n: usize| value.get(n / 8).map(|b| b >> (7 - n % 8) & 1);
    let first = (6 - offset * 8 % 6) % 6;
    let digits = (value.len() * 8 - first) / 6;
    (0..digits)
        .map(|digit| {
            let six = (0..6).fold(0, |six, n| six << 1 | bit(first + digit * 6 + n).unwrap_or(0));
            alphabet[usize::from(six)]
        })
        .collect()
}
