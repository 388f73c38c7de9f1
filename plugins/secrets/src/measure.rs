//! Measures of one string: how random it looks, and which alphabet it is written in.
//!
//! Numbers only. What a number means for a finding is decided by the judges (`value`, `refute`), and no file names, rules
//! or context come in here.

/// Shannon entropy of the byte distribution, in bits per byte. 0 for an empty string.
pub(crate) fn shannon(bytes: &[u8]) -> f32 {
    if bytes.is_empty() {
        return 0.0;
    }
    let mut counts = [0u32; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let total = bytes.len() as f32;
    counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| {
            let p = count as f32 / total;
            -p * p.log2()
        })
        .sum()
}

/// How many bytes of each class a string holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Classes {
    /// `a-z`
    pub(crate) lower: usize,
    /// `A-Z`
    pub(crate) upper: usize,
    /// `0-9`
    pub(crate) digit: usize,
    /// ASCII punctuation.
    pub(crate) symbol: usize,
    /// ASCII white space.
    pub(crate) space: usize,
    /// Control characters and everything outside ASCII.
    pub(crate) other: usize,
}

impl Classes {
    /// Count the classes of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut classes = Self::default();
        for byte in bytes {
            let counter = match byte {
                b'a'..=b'z' => &mut classes.lower,
                b'A'..=b'Z' => &mut classes.upper,
                b'0'..=b'9' => &mut classes.digit,
                b if b.is_ascii_punctuation() => &mut classes.symbol,
                b' ' | b'\t' => &mut classes.space,
                _ => &mut classes.other,
            };
            *counter += 1;
        }
        classes
    }

    /// How many of lower, upper, digit and symbol occur at all.
    pub(crate) fn kinds(&self) -> usize {
        [self.lower, self.upper, self.digit, self.symbol].iter().filter(|&&n| n > 0).count()
    }

    /// Letters of either case.
    pub(crate) fn letters(&self) -> usize {
        self.lower + self.upper
    }
}

/// The narrowest alphabet that holds every byte of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// Digits only.
    Decimal,
    /// `0-9a-f` in one case, with at least one digit and one letter.
    Hex,
    /// `A-Za-z0-9+/=_-`.
    Base64,
    /// Printable ASCII without white space.
    Graphic,
    /// Anything else.
    Free,
}

/// The alphabet of `bytes`.
pub(crate) fn alphabet(bytes: &[u8]) -> Alphabet {
    let lower_hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let upper_hex = |b: &u8| matches!(b, b'0'..=b'9' | b'A'..=b'F');
    let base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'_' | b'-');
    if bytes.iter().all(u8::is_ascii_digit) {
        Alphabet::Decimal
    } else if bytes.iter().any(u8::is_ascii_digit) && (bytes.iter().all(lower_hex) || bytes.iter().all(upper_hex)) {
        Alphabet::Hex
    } else if bytes.iter().all(base64) {
        Alphabet::Base64
    } else if bytes.iter().all(u8::is_ascii_graphic) {
        Alphabet::Graphic
    } else {
        Alphabet::Free
    }
}

/// Mean surprise of each step from one byte to the next, in bits: about 3.8 for words and identifiers, above 5.5 for
/// random text. A string shorter than two bytes gives 0.
///
/// Shannon entropy counts only how often a byte occurs, so `readAccessKeyFromDisk` and a token of that length score
/// alike; the step from byte to byte tells them apart.
pub(crate) fn surprise(bytes: &[u8]) -> f32 {
    if bytes.len() < 2 {
        return 0.0;
    }
    let total: u32 = bytes.windows(2).map(|pair| u32::from(step(pair[0], pair[1]))).sum();
    total as f32 / 10.0 / (bytes.len() - 1) as f32
}

/// The same over the steps between letters and digits alone, so that signs count for nothing: what stands between the signs of code are
/// words, what stands between those of a random string is not. 0 where there are fewer than four such steps.
pub(crate) fn surprise_between_signs(bytes: &[u8]) -> f32 {
    let steps = bytes.windows(2).filter(|pair| pair.iter().all(u8::is_ascii_alphanumeric));
    let (count, total) =
        steps.fold((0u32, 0), |(count, total), pair| (count + 1, total + u32::from(step(pair[0], pair[1]))));
    if count < 4 { 0.0 } else { total as f32 / 10.0 / count as f32 }
}

/// Tenths of a bit for one step.
fn step(a: u8, b: u8) -> u8 {
    let index = |c: u8| usize::from(c.to_ascii_lowercase() - b'a');
    if a == b {
        return 10;
    }
    match (a, b) {
        _ if a.is_ascii_digit() && b.is_ascii_digit() => {
            if a.abs_diff(b) == 1 {
                15
            } else {
                40
            }
        }
        // A capital after a small letter starts a word in camel case; what follows it is judged as letters.
        (b'a'..=b'z', b'A'..=b'Z') => 45,
        _ if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => BIGRAM[index(a)][index(b)],
        _ if a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric() => 55,
        _ if matches!(a, b'_' | b'-' | b'.' | b' ' | b'/' | b':')
            || matches!(b, b'_' | b'-' | b'.' | b' ' | b'/' | b':') =>
        {
            25
        }
        _ => 50,
    }
}

/// True when the bytes only count up or down, or repeat a block of at most four bytes: `123456`, `abcdef`, `xyxyxy`.
pub(crate) fn is_sequence(bytes: &[u8]) -> bool {
    if bytes.len() < 4 {
        return false;
    }
    let counted = bytes.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 1).count();
    let repeats = |n: usize| bytes.len() >= 2 * n && bytes.iter().zip(&bytes[n..]).all(|(a, b)| a == b);
    counted * 10 >= (bytes.len() - 1) * 7 || (1..=4).any(repeats)
}

/// The share of distinct bytes that a random string of this length over `alphabet_size` letters would have, against what
/// it has: near 1 for random, well under 1 for repetitive text.
pub(crate) fn variety(bytes: &[u8], alphabet_size: f32) -> f32 {
    if bytes.is_empty() {
        return 0.0;
    }
    let mut seen = [false; 256];
    bytes.iter().for_each(|&b| seen[usize::from(b)] = true);
    let distinct = seen.iter().filter(|&&s| s).count() as f32;
    let expected = alphabet_size * (1.0 - (1.0 - 1.0 / alphabet_size).powi(bytes.len() as i32));
    distinct / expected
}

/// Tenths of a bit of surprise at each letter pair, row by first letter: -10 log2 of the share of the second letter after
/// the first, over 14,000 distinct words and identifier parts of English documentation and source code, each weighted by
/// the logarithm of its count.
#[rustfmt::skip]
const BIGRAM: [[u8; 26]; 26] = [
    [75, 44, 38, 44, 81, 70, 49, 89, 49, 98, 63, 31, 46, 32, 99, 47, 99, 31, 38, 24, 56, 62, 77, 78, 60, 85],
    [30, 57, 54, 57, 32, 63, 77, 97, 35, 64, 74, 22, 61, 85, 35, 70, 87, 40, 41, 63, 36, 89, 80, 99, 54, 97],
    [31, 74, 54, 70, 31, 70, 94, 33, 46, 99, 40, 41, 70, 86, 23, 78, 99, 46, 58, 30, 47, 93, 88, 99, 67, 99],
    [35, 55, 53, 45, 16, 53, 68, 83, 25, 70, 99, 52, 66, 70, 41, 79, 99, 54, 42, 67, 47, 70, 80, 92, 71, 99],
    [45, 67, 40, 29, 54, 52, 61, 86, 73, 91, 85, 43, 49, 32, 66, 53, 69, 26, 29, 42, 82, 59, 67, 48, 67, 94],
    [36, 67, 58, 62, 31, 32, 88, 99, 20, 99, 82, 43, 82, 69, 29, 99, 78, 43, 56, 49, 43, 99, 99, 96, 53, 99],
    [39, 75, 69, 66, 19, 72, 47, 41, 34, 99, 99, 46, 61, 42, 44, 65, 99, 29, 40, 62, 44, 88, 99, 99, 69, 84],
    [22, 75, 80, 76, 19, 99, 91, 93, 30, 99, 85, 60, 59, 69, 27, 67, 99, 46, 56, 39, 53, 98, 98, 99, 61, 99],
    [49, 56, 40, 46, 45, 53, 49, 99, 93, 99, 84, 43, 46, 19, 35, 55, 93, 51, 38, 35, 91, 51, 99, 67, 99, 52],
    [23, 99, 70, 78, 23, 99, 99, 88, 46, 99, 64, 99, 99, 83, 27, 65, 72, 71, 24, 66, 30, 99, 69, 80, 81, 99],
    [42, 56, 65, 57, 15, 67, 54, 62, 30, 92, 83, 46, 61, 55, 52, 65, 98, 56, 30, 52, 53, 82, 55, 91, 62, 99],
    [31, 74, 72, 50, 22, 73, 80, 88, 25, 99, 75, 35, 78, 77, 32, 67, 99, 83, 48, 47, 50, 70, 95, 99, 37, 98],
    [25, 50, 76, 67, 20, 81, 80, 99, 29, 99, 87, 54, 48, 74, 35, 30, 99, 79, 48, 65, 49, 89, 98, 99, 60, 99],
    [37, 82, 39, 35, 35, 54, 25, 80, 42, 85, 64, 66, 75, 59, 46, 69, 91, 73, 32, 27, 59, 60, 84, 99, 75, 97],
    [61, 60, 46, 46, 75, 62, 56, 90, 58, 81, 62, 41, 39, 21, 50, 43, 99, 27, 42, 46, 41, 54, 48, 72, 84, 91],
    [27, 87, 73, 65, 26, 74, 71, 53, 42, 99, 75, 34, 80, 81, 32, 43, 99, 27, 48, 39, 48, 91, 87, 99, 58, 99],
    [60, 99, 59, 67, 64, 99, 99, 88, 78, 99, 88, 32, 56, 57, 99, 75, 99, 67, 61, 99, 4, 99, 99, 99, 99, 99],
    [30, 76, 53, 54, 19, 72, 59, 90, 31, 99, 64, 59, 50, 58, 34, 65, 99, 52, 37, 42, 55, 64, 77, 99, 52, 99],
    [48, 83, 44, 74, 25, 67, 71, 42, 32, 99, 64, 56, 62, 72, 44, 42, 70, 67, 36, 24, 40, 72, 67, 99, 58, 99],
    [33, 86, 56, 74, 21, 74, 84, 40, 23, 99, 92, 59, 68, 80, 39, 66, 99, 35, 40, 48, 53, 89, 78, 96, 49, 91],
    [47, 42, 49, 46, 43, 64, 54, 99, 48, 99, 91, 36, 42, 26, 67, 40, 99, 31, 34, 31, 82, 99, 99, 77, 99, 99],
    [24, 99, 71, 87, 10, 88, 59, 99, 26, 99, 99, 87, 64, 81, 47, 99, 99, 75, 64, 73, 79, 60, 93, 99, 81, 99],
    [24, 75, 64, 60, 27, 70, 66, 36, 29, 94, 54, 60, 92, 37, 35, 77, 99, 37, 39, 73, 71, 87, 70, 69, 94, 96],
    [45, 73, 37, 56, 31, 64, 71, 57, 32, 99, 97, 66, 49, 72, 63, 23, 99, 61, 61, 22, 71, 78, 79, 49, 50, 90],
    [47, 56, 46, 59, 41, 54, 58, 77, 38, 86, 83, 47, 42, 42, 50, 22, 99, 56, 29, 37, 61, 65, 57, 99, 64, 64],
    [27, 86, 90, 68, 9, 83, 99, 88, 29, 99, 99, 66, 65, 59, 44, 99, 99, 68, 67, 79, 72, 83, 99, 90, 53, 54],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_random_text_are_apart() {
        for words in
            ["read_access_key_from_disk", "correcthorsebatterystaple", "readAccessKeyFromDisk", "not-a-real-value"]
        {
            assert!(surprise(words.as_bytes()) < 4.6, "{words}: {}", surprise(words.as_bytes()));
        }
        for random in ["q7ZxKp2mVt9LwRb4", "wJalrXUtnFEMIbPxRfiCYzzqKEY", "xkqzvbwjhtplmfgd"] {
            assert!(surprise(random.as_bytes()) > 4.6, "{random}: {}", surprise(random.as_bytes()));
        }
    }

    #[test]
    fn entropy_of_known_distributions() {
        assert_eq!(shannon(b""), 0.0);
        assert_eq!(shannon(b"aaaa"), 0.0);
        assert!((shannon(b"abcd") - 2.0).abs() < 1e-6);
    }

    #[test]
    fn alphabets() {
        assert_eq!(alphabet(b"12345"), Alphabet::Decimal);
        assert_eq!(alphabet(b"12af"), Alphabet::Hex);
        assert_eq!(alphabet(b"12aF"), Alphabet::Base64);
        assert_eq!(alphabet(b"a+b/c="), Alphabet::Base64);
        assert_eq!(alphabet(b"pa$$"), Alphabet::Graphic);
        assert_eq!(alphabet(b"two words"), Alphabet::Free);
    }

    #[test]
    fn sequences() {
        for sequence in ["12345678", "abcdefgh", "aaaaaaaa", "abababab", "87654321"] {
            assert!(is_sequence(sequence.as_bytes()), "{sequence}");
        }
        assert!(!is_sequence(b"q7ZxKp2mVt9L"));
    }
}
