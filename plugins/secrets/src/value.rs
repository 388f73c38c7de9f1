//! The judge of values that have no form of their own: whether the right-hand side of `password = "..."` is a secret or a word.
//!
//! It sees the value, the name it was given and the kind of place. It never sees the rest of the file.

use crate::measure::{self, Alphabet, Classes};
use crate::place::Place;

/// What a name says about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// A person may have chosen the value: `password`, `passphrase`.
    Password,
    /// A machine made the value, and it alone gives access: `token`, `api_key`, `client_secret`.
    Token,
    /// Secret as a rule: `secret`, `secret_key`, `credential`.
    Secret,
    /// Often not secret at all: `key`, `auth`, `salt`, `session`.
    Hint,
}

/// What `identifier` promises, judged by its last words: `db_password` and `githubToken` name secrets, `password_field` and
/// `token_url` do not.
pub(crate) fn name_of(identifier: &[u8]) -> Option<Name> {
    let words = words_of(identifier);
    let mut rest = words.as_slice();
    while let Some((last, before)) = rest.split_last() {
        if !before.is_empty() && (last.bytes().all(|b| b.is_ascii_digit()) || TRAILING.contains(&last.as_str())) {
            rest = before;
        } else {
            break;
        }
    }
    let last = rest.last()?.trim_end_matches(|c: char| c.is_ascii_digit());
    let before = rest.len().checked_sub(2).map_or("", |i| rest[i].as_str());
    match last {
        "password" | "passwd" | "pwd" | "passwort" | "passphrase" | "passcode" | "pass" | "psw" | "pw"
        | "contrasena" | "kennwort" => Some(Name::Password),
        "token" | "apikey" | "authtoken" | "accesstoken" | "secretkey" | "accesskey" | "apitoken" | "pat"
        | "bearer" => Some(Name::Token),
        "secret" | "secrets" | "credential" | "credentials" | "creds" | "apisecret" | "clientsecret" | "appsecret" => {
            Some(if matches!(before, "client" | "app" | "api" | "consumer" | "webhook") {
                Name::Token
            } else {
                Name::Secret
            })
        }
        "key" | "keys" => Some(match before {
            "api" | "app" | "access" | "auth" | "service" | "account" | "rest" | "admin" | "license"
            | "subscription" | "write" => Name::Token,
            "secret" | "private" | "signing" | "encryption" | "master" | "crypt" | "client" | "db" | "database"
            | "hmac" | "aes" | "cipher" | "jwt" | "session" | "encrypt" | "sign" => Name::Secret,
            _ => Name::Hint,
        }),
        "auth" | "authorization" | "salt" | "pepper" | "session" | "sessionid" | "cookie" | "sid" | "signature" => {
            Some(Name::Hint)
        }
        // Run-together names, as environment variables and old APIs have them.
        other => [
            ("password", Name::Password),
            ("passwd", Name::Password),
            ("apikey", Name::Token),
            ("secretkey", Name::Token),
            ("accesskey", Name::Token),
            ("authkey", Name::Token),
            ("token", Name::Token),
            ("secret", Name::Secret),
            ("privatekey", Name::Secret),
        ]
        .into_iter()
        .find(|(ending, _)| other.ends_with(ending))
        .map(|(_, name)| name),
    }
}

/// Words that may follow the telling one without changing what the value is.
const TRAILING: [&str; 23] = [
    "value",
    "val",
    "str",
    "string",
    "text",
    "default",
    "dev",
    "prod",
    "production",
    "staging",
    "live",
    "base",
    "base64",
    "b64",
    "hex",
    "raw",
    "plain",
    "plaintext",
    "bytes",
    "old",
    "new",
    "env",
    "data",
];

/// The words of an identifier in snake, kebab or camel case, in small letters.
fn words_of(identifier: &[u8]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = b'_';
    for (index, &byte) in identifier.iter().enumerate() {
        if !byte.is_ascii_alphanumeric() {
            before = b'_';
            continue;
        }
        let next_is_small = identifier.get(index + 1).is_some_and(u8::is_ascii_lowercase);
        let starts = before == b'_' || (byte.is_ascii_uppercase() && (!before.is_ascii_uppercase() || next_is_small));
        if starts {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(char::from(byte.to_ascii_lowercase()));
        }
        before = byte;
    }
    words
}

/// Why `value` is a stand-in for a secret rather than one, if it is.
pub(crate) fn placeholder(value: &[u8]) -> Option<&'static str> {
    let lower = value.to_ascii_lowercase();
    let has = |needle: &str| memchr::memmem::find(&lower, needle.as_bytes()).is_some();
    if value.len() < 4 {
        return Some("too short");
    }
    if is_template(value) {
        return Some("filled in at run time");
    }
    if [
        "process.env",
        "os.environ",
        "getenv",
        "env.",
        "secretkeyref",
        "vault:",
        "vault/",
        "op://",
        "arn:",
        "ssm:",
        "kms:",
        "enc[",
        "file:",
        "keyring",
        "lookup(",
    ]
    .iter()
    .any(|source| has(source))
    {
        return Some("names where the secret is kept");
    }
    if has("...")
        || has("***")
        || value.contains(&0xE2)
        || value.chunk_by(|a, b| a == b).any(|run| run.len() >= 5 && run[0] != b'/')
    {
        return Some("masked");
    }
    if FILLER.iter().any(|word| has(word)) {
        return Some("says that it is an example");
    }
    if measure::is_sequence(value) {
        return Some("a simple sequence");
    }
    None
}

/// Written to be filled in. In a random string the signs of templates are characters like any other, unless they enclose a name.
fn is_template(value: &[u8]) -> bool {
    const STARTS: [&[u8]; 6] = [b"${", b"$(", b"{{", b"<%", b"%(", b"#{"];
    const PAIRS: [(&[u8], &[u8]); 11] = [
        (b"${", b"}"),
        (b"#{", b"}"),
        (b"{{", b"}}"),
        (b"{%", b"%}"),
        (b"%(", b")"),
        (b"$(", b")"),
        (b"<%", b"%>"),
        (b"%{", b"}"),
        (b"[[", b"]]"),
        (b"@{", b"}"),
        (b"\\(", b")"),
    ];
    let find = |part: &[u8]| memchr::memmem::find(value, part);
    let encloses_name = |(open, close): &(&[u8], &[u8])| {
        let body = find(open).map(|at| &value[at + open.len()..]);
        body.and_then(|body| memchr::memmem::find(body, close).map(|end| &body[..end])).is_some_and(|body| {
            body.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b' '))
        })
    };
    // `{0}`, `{name}`, and `%s` between the signs that part a key: a random value may hold braces and percent signs.
    let is_field = |body: &[u8]| {
        body.len() < 3 && body.iter().all(u8::is_ascii_digit)
            || body.len() > 1 && body.iter().all(|b| b.is_ascii_lowercase() || *b == b'_')
    };
    let fields = || {
        memchr::memchr_iter(b'{', value).any(|at| {
            let body = &value[at + 1..];
            memchr::memchr(b'}', body).is_some_and(|end| end <= 40 && is_field(&body[..end]))
        })
    };
    let directives = || {
        memchr::memchr_iter(b'%', value).any(|at| {
            let parts = |b: Option<&u8>| b.is_none_or(|b| matches!(b, b':' | b'/' | b'-' | b'_' | b'.' | b'=' | b' '));
            let before = at.checked_sub(1).and_then(|before| value.get(before));
            matches!(value.get(at + 1), Some(b's' | b'd')) && parts(before) && parts(value.get(at + 2))
        })
    };
    if fields() || directives() {
        return true;
    }
    if STARTS.iter().any(|start| value.starts_with(start)) || PAIRS.iter().any(encloses_name) {
        return true;
    }
    let hinted = matches!(value[0], b'$' | b'<' | b'[' | b'{' | b'&' | b'@' | b'%')
        || PAIRS.iter().any(|(open, _)| find(open).is_some())
        || find(b"{").is_some_and(|at| value[at..].contains(&b'}'))
        || find(b"%s").is_some();
    hinted && !looks_random(value)
}

/// Words by which authors say that a value is made up. Each is long enough not to turn up in random text.
const FILLER: [&str; 46] = [
    "example",
    "sample",
    "dummy",
    "placeholder",
    "changeme",
    "change_me",
    "change-me",
    "changeit",
    "replace",
    "your_",
    "your-",
    "yourp",
    "yours",
    "yourk",
    "yourt",
    "youra",
    "insert",
    "xxxx",
    "fake",
    "redacted",
    "removed",
    "hidden",
    "masked",
    "not-a-",
    "not_a_",
    "notasecret",
    "notsecret",
    "not-secret",
    "notreal",
    "invalid",
    "todo",
    "tbd_",
    "some_",
    "some-",
    "my_secret",
    "mysecret",
    "my-secret",
    "my_pass",
    "mypass",
    "my-pass",
    "mytoken",
    "my_token",
    "test_",
    "test-",
    "testing",
    "foobar",
];

/// Why `value` is a word, not a secret that anyone would defend, if it is.
pub(crate) fn weak(value: &[u8]) -> Option<&'static str> {
    if value.iter().all(u8::is_ascii_digit) {
        return (value.len() < 8).then_some("a few digits");
    }
    let mut plain: Vec<u8> =
        value.iter().map(u8::to_ascii_lowercase).map(unleet).filter(u8::is_ascii_alphabetic).collect();
    let letters = plain.len();
    // Cut known words out; what is left must be worth something.
    for word in COMMON {
        while let Some(at) = memchr::memmem::find(&plain, word.as_bytes()) {
            plain.drain(at..at + word.len());
        }
    }
    (plain.len() * 3 <= letters && value.len() < 24).then_some("made of common words")
}

/// The letter that a digit or sign stands for in `p4ssw0rd`.
fn unleet(byte: u8) -> u8 {
    match byte {
        b'0' => b'o',
        b'1' | b'!' => b'i',
        b'3' => b'e',
        b'4' | b'@' => b'a',
        b'5' | b'$' => b's',
        b'7' => b't',
        other => other,
    }
}

/// Words that passwords in documentation and tests are made of. Longer ones first: they are cut out in this order.
const COMMON: [&str; 66] = [
    "password",
    "passphrase",
    "passwort",
    "credential",
    "administrator",
    "postgres",
    "anonymous",
    "swordfish",
    "vagrant",
    "ansible",
    "django",
    "oracle",
    "mongodb",
    "rabbitmq",
    "passwd",
    "secret",
    "private",
    "public",
    "default",
    "database",
    "account",
    "access",
    "client",
    "server",
    "string",
    "number",
    "welcome",
    "letmein",
    "qwerty",
    "hunter",
    "master",
    "monkey",
    "dragon",
    "super",
    "admin",
    "login",
    "token",
    "value",
    "guest",
    "mysql",
    "redis",
    "local",
    "hello",
    "world",
    "wrong",
    "right",
    "valid",
    "change",
    "user",
    "pass",
    "test",
    "root",
    "demo",
    "temp",
    "user",
    "auth",
    "name",
    "data",
    "abcd",
    "good",
    "foo",
    "bar",
    "baz",
    "key",
    "new",
    "old",
];

/// What the judge makes of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    /// Not a secret, and why.
    No(&'static str),
    /// A secret with this confidence, and why.
    Yes(f32, &'static str),
}

/// Judge the value given to a name.
pub(crate) fn judge(name: Name, identifier: &[u8], value: &[u8], quoted: bool, place: Place) -> Verdict {
    if let Some(why) = placeholder(value) {
        return Verdict::No(why);
    }
    let classes = Classes::of(value);
    if classes.other > 0 || classes.space > 0 {
        return Verdict::No("prose");
    }
    let address = memchr::memmem::find(value, b"://").is_some() || value.starts_with(b"data:");
    if address || (looks_like_code(value) && !looks_random(value)) {
        return Verdict::No("a path, an address or an expression");
    }
    if is_password_hash(value) {
        return Verdict::No("the hash of a password");
    }
    if value.starts_with(b"eyJ") {
        return Verdict::No("JSON in base64, left to the rule for JSON Web Tokens");
    }
    if value.eq_ignore_ascii_case(identifier) {
        return Verdict::No("its own name");
    }
    if let Some(why) = weak(value) {
        return Verdict::No(why);
    }
    let surprise = measure::surprise(value);
    let undashed: Vec<u8> = value.iter().copied().filter(|&b| b != b'-').collect();
    if !is_uuid(value) && undashed.len() < value.len() && measure::alphabet(&undashed) == Alphabet::Hex {
        return judge_hex(name, &undashed, place);
    }
    match measure::alphabet(value) {
        Alphabet::Decimal if name != Name::Password || value.len() < 6 => return Verdict::No("a number"),
        Alphabet::Hex => return judge_hex(name, value, place),
        _ => {}
    }
    if is_uuid(value) {
        let tells = name == Name::Token && !place.is_staged();
        return if tells { Verdict::Yes(0.5, "a UUID under the name of a token") } else { Verdict::No("a UUID") };
    }
    let wordlike = !looks_random(value)
        && (surprise < WORDLIKE
            || (classes.digit == 0 && surprise < WORDLIKE + 0.5)
            || (classes.kinds() == 1 && value.len() < 16));
    let random = !wordlike
        && value.len() >= 16
        && classes.kinds() >= 2
        && classes.symbol * 3 < value.len()
        && measure::shannon(value) >= 3.2;
    match name {
        _ if random && name != Name::Hint => Verdict::Yes(if place.is_staged() { 0.6 } else { 0.8 }, "looks random"),
        Name::Hint
            if random
                && quoted
                && value.len() >= 24
                && classes.kinds() >= 3
                && !place.is_staged()
                && surprise > WORDLIKE + 0.4 =>
        {
            Verdict::Yes(0.45, "looks random")
        }
        Name::Password if place.is_staged() => {
            let strong = value.len() >= 10 && classes.kinds() >= 3 && surprise > WORDLIKE;
            if strong {
                Verdict::Yes(0.35, "a strong password")
            } else {
                Verdict::No("a weak password in a staged place")
            }
        }
        Name::Password
            if value.len() >= 6
                && classes.letters() > 0
                && classes.digit + classes.symbol > 0
                && !is_identifier(value, surprise) =>
        {
            Verdict::Yes(if quoted { 0.5 } else { 0.4 }, "a literal under the name of a password")
        }
        Name::Password if value.len() >= 8 && !wordlike => Verdict::Yes(0.4, "a literal under the name of a password"),
        Name::Token | Name::Secret
            if !place.is_staged() && value.len() >= 10 && !wordlike && classes.kinds() >= 2 && classes.digit > 0 =>
        {
            Verdict::Yes(0.45, "looks random")
        }
        _ => Verdict::No("reads like words"),
    }
}

/// Mean surprise, in bits, under which text reads like words or identifiers.
const WORDLIKE: f32 = 4.35;

/// Shortest string of which that can be said, in bytes.
const RANDOM_BYTES_MIN: usize = 10;

/// How generators begin what they make.
const MADE_BY: [&[u8]; 2] = [b"django-insecure-", b"base64:"];

/// A regular expression, by signs that three characters of a random string hardly make: classes, groups, counts.
fn is_pattern(value: &[u8]) -> bool {
    const SIGNS: [&[u8]; 12] =
        [b"a-z", b"A-Z", b"0-9", b"a-f", b"A-F", b"(?:", b"(?=", b"(?!", b"(?i", b"(?P", b"\\d", b"\\w"];
    let counts = value.split(|&b| b == b'{').skip(1).any(|rest| {
        let count = rest.iter().take_while(|b| b.is_ascii_digit() || **b == b',').count();
        count > 0 && rest.get(count) == Some(&b'}')
    });
    counts || SIGNS.iter().any(|sign| memchr::memmem::find(value, sign).is_some())
}

/// Whether `value` looks drawn at random over letters, digits and signs, so that its signs are not those of code. Code has words between
/// its signs, and patterns have more signs than anything else.
pub(crate) fn looks_random(value: &[u8]) -> bool {
    let value = MADE_BY.iter().find_map(|start| value.strip_prefix(*start)).unwrap_or(value);
    let classes = Classes::of(value);
    let between_signs = measure::surprise_between_signs(value);
    let varied = match classes.kinds() {
        0 | 1 => false,
        2 => value.len() >= 12 && between_signs >= WORDLIKE + 0.5,
        _ => between_signs >= WORDLIKE + 0.1,
    };
    varied
        && value.len() >= RANDOM_BYTES_MIN
        && classes.space + classes.other == 0
        && classes.symbol * 2 < value.len()
        && measure::variety(value, 64.0) >= 0.7
        && !value.windows(8).any(measure::is_sequence)
        && !is_pattern(value)
        && crate::words::share_of_words(value) < 0.5
}

fn judge_hex(name: Name, value: &[u8], place: Place) -> Verdict {
    let varied = value.len() >= 24 && value.len().is_multiple_of(2) && measure::shannon(value) >= 3.0;
    match name {
        _ if !varied => Verdict::No("a short or repetitive hex number"),
        Name::Hint => Verdict::No("hex under a name that need not be secret"),
        // Keys and results of published test vectors are written like this.
        _ if place.is_staged() => Verdict::No("hex in a staged place, as test vectors are"),
        _ => Verdict::Yes(0.7, "a long hex string under the name of a secret"),
    }
}

/// Hashes as password stores keep them: `$2b$...`, `pbkdf2_sha256$...`, `{SSHA}...`. Other text may hold signs of a dollar by chance.
fn is_password_hash(value: &[u8]) -> bool {
    const ALGORITHMS: [&[u8]; 8] = [b"pbkdf2", b"sha", b"md5", b"bcrypt", b"scrypt", b"argon2", b"crypt", b"unsalted"];
    if value.starts_with(b"{SSHA") {
        return true;
    }
    let mut parts = value.split(|&b| b == b'$');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let named = if first.is_empty() {
        (1..=12).contains(&second.len()) && second.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    } else {
        ALGORITHMS.iter().any(|algorithm| first.starts_with(algorithm))
    };
    named && parts.next().is_some() && value.len() >= 30
}

fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value
            .iter()
            .enumerate()
            .all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { *b == b'-' } else { b.is_ascii_hexdigit() })
}

/// Words joined by separators, a dotted name, a kebab-case slug.
fn is_identifier(value: &[u8], surprise: f32) -> bool {
    value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':')) && surprise < 4.0
}

/// Addresses, paths, formats, expressions, selectors and messages: what stands beside a telling name in programs.
fn looks_like_code(value: &[u8]) -> bool {
    let has = |needle: &[u8]| memchr::memmem::find(value, needle).is_some();
    has(b"::")
        || has(b"()")
        || has(b"\\n")
        || has(b"=>")
        || has(b"->")
        || has(b"</")
        || matches!(
            value[0],
            b'/' | b'.'
                | b'#'
                | b'-'
                | b'~'
                | b'\\'
                | b'('
                | b'^'
                | b'*'
                | b'?'
                | b','
                | b';'
                | b':'
                | b'|'
                | b'!'
                | b'='
        )
        || matches!(value.last(), Some(b':' | b'\\' | b'?'))
        || (value.iter().filter(|&&b| b == b'/').count() >= 2 && measure::surprise(value) < 4.6)
        || (value.iter().filter(|&&b| b == b'.').count() >= 1
            && value
                .split(|&b| b == b'.')
                .all(|part| !part.is_empty() && part.iter().all(|b| b.is_ascii_alphabetic() || *b == b'_')))
        || has(b"(")
        || value.iter().filter(|&&b| matches!(b, b'\\' | b'(' | b')' | b'[' | b']' | b'|' | b'"')).count() >= 2
}

#[cfg(test)]
mod tests;
