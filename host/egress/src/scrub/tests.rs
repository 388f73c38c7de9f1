//! Secrets are found in whatever form, however they are cut, at a cost nobody can drive up.

use super::walk::STEPS;
use super::*;
use proptest::prelude::*;

const VALUE: &str = "s3cr3t/+\"value&=\\end";

fn scrubber() -> Scrubber {
    let names: [SecretName; 2] = ["TOKEN".parse().unwrap(), "OTHER".parse().unwrap()];
    let values: [&[u8]; 2] = [VALUE.as_bytes(), b"another-value-of-mine"];
    Scrubber::of(names.iter().zip(values))
}

fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    bytes
        .chunks(3)
        .flat_map(|c| {
            let n = (u32::from(c[0]) << 16)
                | (u32::from(*c.get(1).unwrap_or(&0)) << 8)
                | u32::from(*c.get(2).unwrap_or(&0));
            (0..c.len() + 1).map(move |i| char::from(alphabet[(n >> (18 - 6 * i) & 63) as usize]))
        })
        .collect()
}

#[test]
fn every_writing_is_found() {
    let scrubber = scrubber();
    let standard = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let url = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut written = vec![
        VALUE.to_owned(),
        VALUE.bytes().map(|b| format!("{b:02x}")).collect(),
        VALUE.bytes().map(|b| format!("{b:02X}")).collect(),
        VALUE.bytes().map(|b| format!("%{b:02x}")).collect(),
        "s3cr3t%2F%2B%22value%26%3D%5Cend".to_owned(),
        "s3cr3t%2f%2b%22value%26%3d%5cend".to_owned(),
        r#"s3cr3t/+\"value&=\\end"#.to_owned(),
        r#"s3cr3t\/+\"value&=\\end"#.to_owned(),
        "s3cr3t/+&quot;value&amp;=\\end".to_owned(),
    ];
    for before in ["", "u", "us", "user:"] {
        for after in ["", "x", "xy"] {
            let inside = format!("{before}{VALUE}{after}");
            written.push(base64(inside.as_bytes(), standard));
            written.push(base64(inside.as_bytes(), url));
        }
    }
    for text in written {
        let clean = scrubber.text(&text).into_owned();
        assert!(clean.contains("[secret:TOKEN]"), "{text} became {clean}");
        assert!(clean.len() < "[secret:TOKEN]".len() + 12, "{text} became {clean}");
    }
    assert!(matches!(scrubber.text("nothing here"), Cow::Borrowed(_)));
    assert_eq!(scrubber.text("a another-value-of-mine b"), "a [secret:OTHER] b");
    assert!(!format!("{scrubber:?}").contains("s3cr3t"));
}

#[test]
fn of_two_that_begin_alike_the_longer_is_meant() {
    let names: [SecretName; 2] = ["SHORT".parse().unwrap(), "LONG".parse().unwrap()];
    let values: [&[u8]; 2] = [b"begin-alike", b"begin-alike-and-go-on"];
    let scrubber = Scrubber::of(names.iter().zip(values));
    assert_eq!(scrubber.text("begin-alike-and-go-on begin-alike-and"), "[secret:LONG] [secret:SHORT]-and");
    let mut stream = scrubber.stream();
    assert_eq!(stream.push(b"x begin-alike-and"), b"x ");
    assert_eq!(stream.push(b"-stop"), b"[secret:SHORT]-and-stop");
}

#[test]
fn what_cannot_be_a_secret_is_not_held_back() {
    let mut stream = scrubber().stream();
    assert_eq!(stream.push(b"data: event\n\n"), b"data: event\n\n");
    assert_eq!(stream.push(b"s3cr"), b"");
    assert_eq!(stream.push(b"et"), b"s3cret");
    assert_eq!(stream.push(b"an"), b"");
    assert_eq!(stream.finish(), b"an");
}

/// What Python's `quote`, Go, ASP.NET, Gson, template languages and the like make of the same value.
#[test]
fn bytes_escaped_here_and_raw_there_are_found() {
    let name: SecretName = "TOKEN".parse().unwrap();
    let scrubber = Scrubber::of([(&name, b"q7/Zk+9dWm3xB1cV5nA2==".as_slice())].into_iter());
    for echoed in [
        "q7/Zk%2B9dWm3xB1cV5nA2%3D%3D",
        "q7%2FZk+9dWm3xB1cV5nA2==",
        "q7%2fZk%2b9dWm3xB1cV5nA2=%3D",
        "q7/Zk\\u002B9dWm3xB1cV5nA2==",
        "q7/Zk+9dWm3xB1cV5nA2\\u003d\\u003d",
        "q7\\/Zk\\u002b9dWm3xB1cV5nA2\\x3d=",
        "q7/Zk&#43;9dWm3xB1cV5nA2==",
        "q7&#x2F;Zk+9dWm3xB1cV5nA2&#x3D;&#x3D;",
        "q7&sol;Zk&plus;9dWm3xB1cV5nA2&equals;&equals;",
        "q7/Zk\\0539dWm3xB1cV5nA2==",
        "%717%2FZk+9dWm3xB1cV5nA2==",
        "\\u0071\\u0037/Zk+9dWm3xB1cV5nA2==",
        "q7%252FZk%252B9dWm3xB1cV5nA2%253D%253D",
        "q7\\\\/Zk\\\\u002b9dWm3xB1cV5nA2==",
        "q7/Zk\\u0026#43;9dWm3xB1cV5nA2==",
        "q7&amp;#47;Zk&amp;#43;9dWm3xB1cV5nA2==",
        // The base64 of `user:` and the value, in a URL.
        "dXNlcjpxNy9aays5ZFdtM3hCMWNWNW5BMj09",
        "dXNlcjpxNy9aays5ZFdtM3hCMWNWNW5BMj09%3D",
    ] {
        let text = format!("<{echoed}>");
        let clean = scrubber.text(&text).into_owned();
        assert!(clean.contains("[secret:TOKEN]"), "{echoed} became {clean}");
        assert!(clean.len() < "[secret:TOKEN]".len() + 16, "{echoed} became {clean}");
        // What looks like the beginning of an escape right before it, a guest may have put there.
        for before in ["%", "%2", "\\", "\\u00", "&", "&#", "&#x", "&am", "q", "q7"] {
            let clean = scrubber.text(&format!("{before}{echoed}")).into_owned();
            assert!(clean.contains("[secret:TOKEN]"), "{before}{echoed} became {clean}");
        }
    }
}

#[test]
fn a_value_that_looks_escaped_itself_is_found() {
    let name: SecretName = "TOKEN".parse().unwrap();
    for value in
        ["%25%41abc%", "\\\\\\\\\\\\\\\\\\\\", "&amp;&#38;x&", "a\\u002bcdef\\", "%2525%25&\\&\\\\", "a b+c d+e "]
    {
        let scrubber = Scrubber::of([(&name, value.as_bytes())].into_iter());
        let json = value.replace('\\', "\\\\");
        let percent: String = value.bytes().map(|b| format!("%{b:02X}")).collect();
        let form = value.replace('%', "%25").replace('+', "%2B").replace('&', "%26").replace(' ', "+");
        let html = value.replace('&', "&amp;");
        for text in [value, &json, &json.replace('\\', "\\\\"), &percent, &percent.replace('%', "%25"), &form, &html] {
            assert_eq!(scrubber.text(text), "[secret:TOKEN]", "{value} written {text}");
            assert_eq!(scrubber.text(&format!("-{text}-")), "-[secret:TOKEN]-", "{value} written {text}");
        }
    }
}

/// A server that knows the value can make the scrubber look for it, but each byte that it sends only a few times.
#[test]
fn nothing_a_server_sends_makes_scrubbing_slow() {
    let name: SecretName = "TOKEN".parse().unwrap();
    let mut state = 7u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef%\\&+/=0123"[(state >> 16) as usize % 42]
    };
    let value: Vec<u8> = std::iter::repeat_with(&mut random).take(VALUE_BYTES_MAX).collect();
    let scrubber = Scrubber::of([(&name, value.as_slice())].into_iter());
    let almost = value[..value.len() - 1].repeat(4);
    let escaped: Vec<u8> = value[..2_000].iter().flat_map(|b| format!("\\u0026#x{b:08x};").into_bytes()).collect();
    for text in [almost, escaped.repeat(3), b"%25".repeat(10_000), b"\\".repeat(30_000), b"&amp;".repeat(10_000)] {
        for piece in [1, 7, text.len()] {
            STEPS.set(0);
            let mut stream = scrubber.stream();
            let mut clean: Vec<u8> = text.chunks(piece).flat_map(|piece| stream.push(piece)).collect();
            clean.extend(stream.finish());
            assert!(clean == text, "nothing in it is a secret");
            assert!(STEPS.get() < 12 * text.len(), "{} steps for {} bytes", STEPS.get(), text.len());
        }
    }
}

/// One byte, written in one of many ways.
fn any_writing(byte: u8) -> impl Strategy<Value = String> {
    let c = char::from(byte);
    prop_oneof![
        4 => Just(match c { '"' | '\\' => format!("\\{c}"), _ => c.to_string() }),
        2 => Just(format!("%{byte:02X}")),
        1 => Just(format!("%{byte:02x}")),
        1 => Just(format!("\\u{byte:04x}")),
        1 => Just(format!("\\x{byte:02X}")),
        1 => (0usize..5).prop_map(move |zeros| format!("&#{}{byte};", "0".repeat(zeros))),
        1 => Just(format!("&#x{byte:X};")),
        1 => Just(match c { '&' => "&amp;".into(), '"' => "&quot;".into(), '+' => "&plus;".into(), _ => c.to_string() }),
        1 => Just(if c.is_ascii_punctuation() { format!("\\{c}") } else { c.to_string() }),
        1 => Just(format!("%25{byte:02X}")),
        1 => Just(format!("\\\\u{byte:04x}")),
        1 => Just(format!("&amp;#{byte};")),
    ]
}

fn any_writing_of(value: &str) -> impl Strategy<Value = String> {
    value.bytes().map(any_writing).collect::<Vec<_>>().prop_map(|bytes| bytes.concat())
}

/// What becomes of `text` where it comes in pieces as long as `cuts` say, and the rest.
fn in_pieces(scrubber: &Scrubber, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut stream = scrubber.stream();
    let (mut clean, mut rest) = (Vec::new(), text);
    for cut in cuts {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        clean.extend(stream.push(piece));
        rest = after;
    }
    clean.extend(stream.push(rest));
    clean.extend(stream.finish());
    clean
}

proptest! {
    #[test]
    fn cuts_make_no_difference(parts in prop::collection::vec(prop_oneof![
        Just(VALUE.as_bytes().to_vec()), Just(b"another-value-of-mine".to_vec()), Just(b"s3cr3t/".to_vec()),
        prop::collection::vec(any::<u8>(), 0..6)], 0..8), cuts in prop::collection::vec(1usize..9, 1..40)) {
        let text = parts.concat();
        let scrubber = scrubber();
        let clean = in_pieces(&scrubber, &text, &cuts);
        prop_assert_eq!(&clean, &scrubber.bytes(&text).into_owned());
        prop_assert!(!clean.windows(VALUE.len()).any(|w| w == VALUE.as_bytes()));
    }

    #[test]
    fn a_value_is_found_in_any_mixture(
        written in any_writing_of(VALUE), before in "[%2\\\\&#ux;s ]{0,6}", after in "[a-z \\\\%&]{0,6}",
        cuts in prop::collection::vec(1usize..9, 1..60)
    ) {
        let text = format!("{before}{written}{after}");
        let scrubber = scrubber();
        let whole = scrubber.text(&text).into_owned();
        prop_assert!(whole.contains("[secret:TOKEN]"), "{text} became {whole}");
        prop_assert!(whole.len() <= before.len() + "[secret:TOKEN]".len() + after.len(), "{text} became {whole}");
        prop_assert_eq!(String::from_utf8(in_pieces(&scrubber, text.as_bytes(), &cuts)).unwrap(), whole);
    }
}
