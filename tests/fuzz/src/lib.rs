//! What the targets share: one input cut into the lines or parts that a target works on, so that a corpus file can be read
//! and written by people. Never a property; those stand in the targets.

/// The input as text lines, what is no UTF-8 replaced.
pub fn lines(data: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(data).lines().map(str::to_owned).collect()
}

/// The input cut at lines that hold only `---`; bytes elsewhere are left as they are.
pub fn parts(data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(5).position(|window| window == b"\n---\n") {
        parts.push(&rest[..at]);
        rest = &rest[at + 5..];
    }
    parts.push(rest);
    parts
}
