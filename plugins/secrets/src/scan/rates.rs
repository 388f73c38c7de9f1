//! How much is found, and how much is told for nothing: rates over seeded samples, so that neither is bought with the other.

use super::neighbours::assert_covered;
use super::planted::{ALNUM, HEX, random};
use super::*;
use crate::refute::{Claim, Verdict as Second, refute_text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Samples a row.
const SAMPLES: u32 = 200;
/// As Django makes its keys.
const DJANGO: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789!@#$%^&*(-_=+)";
/// As password managers make passwords.
const GENERATED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!@#$%^&*()-_=+";
/// Every sign of a keyboard but those that end a string.
const KEYBOARD: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&()*+,-./:;<=>?@[]^_{|}~";
/// What an address takes without escapes.
const ADDRESS: &[u8] = b"ABCDEFGHKMabcdefghijkmnopqrstuvwxyz23456789!$*~";

type Make = fn(u32) -> String;

/// File, text before the secret, the secret, text behind it, how many of the samples at least are found and stand the second look.
type Credential = (&'static str, &'static str, Make, &'static str, u32);

fn encoded(seed: u32, length: usize) -> String {
    STANDARD.encode(random(seed, length, KEYBOARD))
}

/// Live credentials as projects hold them.
#[rustfmt::skip]
const CREDENTIALS: [Credential; 33] = [
    // In addresses
    ("a.py", "U = 'mysql://app:", |s| random(s, 14, ALNUM), "@mysql.prod.corp.io:3306/x'", 199),
    (".env", "DATABASE_URL=mysql2://app:", |s| random(s, 14, ALNUM), "@mysql-primary.internal/x\n", 199),
    ("a.py", "U = 'postgres://app:", |s| random(s, 12, ALNUM), "@mydb.prod.corp.io/x'", 199),
    (".env", "REDIS_URL=redis://u:", |s| random(s, 14, ALNUM), "@mycompany.redis.cache.windows.net:6380\n", 199),
    ("compose.yaml", "  url: postgres://app:", |s| random(s, 12, ALNUM), "@db/x\n", 190),
    ("a.py", "U = 'postgres://app:", |s| random(s, 16, ALNUM), "@server/x'", 190),
    ("a.py", "U = 'postgres://app:", |s| random(s, 12, ADDRESS), "@pg.corp.io/x'", 195),
    ("a.py", "U = 'redis://:", |s| random(s, 12, ALNUM), "@cache.prod.corp.io/0'", 199),
    // Under telling names
    ("settings.py", "SECRET_KEY = 'django-insecure-", |s| random(s, 50, DJANGO), "'", 195),
    ("settings.py", "SECRET_KEY = '", |s| random(s, 50, DJANGO), "'", 195),
    ("a.py", "DB_PASSWORD = \"", |s| random(s, 16, ALNUM), "\"", 195),
    ("a.py", "DB_PASSWORD = \"", |s| random(s, 16, GENERATED), "\"", 195),
    ("a.py", "DB_PASSWORD = \"", |s| random(s, 24, KEYBOARD), "\"", 175),
    (".env", "DB_PASSWORD=", |s| random(s, 20, GENERATED), "\n", 195),
    (".env", "export DB_PASSWORD=", |s| random(s, 20, KEYBOARD), "\n", 155),
    ("a.yaml", "  password: ", |s| random(s, 20, GENERATED), "\n", 195),
    ("a.properties", "spring.datasource.password=", |s| random(s, 16, ALNUM), "\n", 195),
    ("config/secrets.yml", "  secret_key_base: ", |s| random(s, 128, HEX), "\n", 199),
    ("a.py", "SECRET_KEY = '", |s| random(s, 64, HEX), "'", 199),
    (".env", "APP_KEY=base64:", |s| encoded(s, 32), "\n", 199),
    (".env", "JWT_SECRET=", |s| random(s, 32, ALNUM), "\n", 199),
    (".env", "ENCRYPTION_KEY=", |s| encoded(s, 32), "\n", 199),
    ("a.yaml", "api_key: \"", |s| random(s, 32, ALNUM), "\"\n", 199),
    ("k8s.yaml", "kind: Secret\ndata:\n  db-password: ", |s| encoded(s, 20), "\n", 195),
    // On command lines
    ("a.sh", "curl -u admin:", |s| random(s, 16, ALNUM), " https://x.corp.io", 195),
    ("a.sh", "curl -sSfu 'admin:", |s| random(s, 16, GENERATED), "' https://x.corp.io", 190),
    ("a.sh", "mysql -uroot -p", |s| random(s, 16, ALNUM), " x", 195),
    ("a.sh", "mysqldump -h db.corp.io -u app -p'", |s| random(s, 16, GENERATED), "' x", 190),
    ("a.sh", "sshpass -p ", |s| random(s, 16, ALNUM), " ssh root@x", 195),
    ("a.sh", "redis-cli -h x -a ", |s| random(s, 16, ALNUM), " ping", 195),
    ("a.sh", "docker login -u ci -p ", |s| random(s, 16, ALNUM), " r.corp.io", 195),
    ("a.sh", "PGPASSWORD=", |s| random(s, 16, ALNUM), " psql", 195),
    // Beside its other half
    ("a.csv", concat!("Access key ID,Secret access key\nAK", "IAQ7ZXKP2MVT7LWRB4,"), |s| random(s, 40, ALNUM), "\n", 195),
];

/// Whether the secret at `range` is found, and still held to be one at the second look.
fn is_found(path: &str, text: &str, range: &Range<usize>) -> bool {
    candidates(path, text.as_bytes()).iter().any(|candidate| {
        let held = || {
            let line = 1 + memchr::memchr_iter(b'\n', &text.as_bytes()[..candidate.range.start]).count() as u32;
            let claim = Claim { rule: candidate.rule.into(), path: path.into(), line, fingerprint: None };
            refute_text(&claim, text, 1).verdict != Second::Refuted
        };
        candidate.range.start <= range.start && candidate.range.end >= range.end && held()
    })
}

#[test]
fn credentials_are_found() {
    let mut short = Vec::new();
    for (path, before, make, after, found_min) in CREDENTIALS {
        let mut missed = Vec::new();
        for seed in 0..SAMPLES {
            let secret = make(seed * 31 + 7);
            let range = before.len()..before.len() + secret.len();
            let text = format!("{before}{secret}{after}");
            if is_found(path, &text, &range) {
                assert_covered(path, &text, &secret).unwrap();
            } else {
                missed.push(secret);
            }
        }
        let found = SAMPLES - missed.len() as u32;
        if found < found_min {
            missed.truncate(4);
            short.push(format!("{found} of {found_min}: {path}: {before}…{after} misses {missed:?}"));
        }
    }
    assert!(short.is_empty(), "{}", short.join("\n"));
}

/// Words that programs are written in.
const WORDS: [&str; 24] = [
    "user", "request", "config", "field", "service", "client", "parser", "settings", "session", "provider", "account",
    "handler", "profile", "node", "buffer", "context", "login", "state", "storage", "default", "header", "index",
    "value", "form",
];

fn word(seed: u32) -> &'static str {
    WORDS[(seed as usize * 7 + seed as usize / 24) % WORDS.len()]
}

/// What stands beside telling names and is no secret: file, text.
type Innocent = (&'static str, Make);

#[rustfmt::skip]
const INNOCENT: [Innocent; 49] = [
    // Ordinary code
    ("a.py", |s| format!("password = {}.get_{}({}[{}])", word(s), word(s + 1), word(s + 2), s)),
    ("a.py", |s| format!("token = '{}.{}({}[{}]).{}'", word(s), word(s + 1), word(s + 2), s, word(s + 3))),
    ("a.py", |s| format!("token = f'{{{}}}:{{{}_id}}'", word(s), word(s + 1))),
    ("a.py", |s| format!("session_key = 'sess:{{{}}}:v2/Abc9Zx'", word(s))),
    ("a.py", |s| format!("app_key = '{{{}}}/app/v2/K{{idx}}'", word(s))),
    ("a.py", |s| format!("service_key = '{}/%s/Kx9z/%d'", word(s))),
    ("a.rb", |s| format!("SESSION_KEY = \"wx:{}:%s:V2q\"", word(s))),
    ("a.py", |s| format!("secret_key = '%({}_{})s'", word(s), word(s + 1))),
    ("a.js", |s| format!("const token = '#{}-{}{} > input[name={}]';", word(s), word(s + 1), s, word(s + 2))),
    ("a.rs", |s| format!("Rule::new(\"{}-secret\", r\"(?:s{}_[a-f0-9]{{{}}}|{}[A-Za-z0-9_-]{{31}})\\b\")", word(s), word(s + 1), 20 + s, word(s + 2))),
    ("a.js", |s| format!("password: '^(?=.*[A-Z])(?=.*\\\\d)[A-Za-z\\\\d@$!%*?&]{{{},{}}}$',", 6 + s % 4, 12 + s)),
    ("a.js", |s| format!("apiKey: `${{{}.{}Key{s}}}`,", word(s), word(s + 1))),
    ("a.js", |s| format!("if (token === '({}){}') return", word(s), word(s + 1))),
    ("a.go", |s| format!("Password string `json:\"{}_{}{},omitempty\"`", word(s), word(s + 1), s % 10)),
    ("a.rs", |s| format!("let key = \"{}::{}<{}>({})\";", word(s), word(s + 1), word(s + 2), s)),
    ("a.rb", |s| format!("password: \"#{{{}}}-#{{{}{s}}}\"", word(s), word(s + 1))),
    ("a.php", |s| format!("$password = \"$db_{}_{}{}\";", word(s), word(s + 1), s % 10)),
    ("a.sql", |s| format!("WHERE token = '{}' || {}_{}(password, 'sha{}')", word(s), word(s + 1), word(s + 2), 256 + s)),
    ("a.sh", |s| format!("PASSWORD=$(cat /run/secrets/{}_{}{s})\n", word(s), word(s + 1))),
    ("a.sh", |s| format!("TOKEN=$(jq -r .{}.{}[{s}] < x.json)\n", word(s), word(s + 1))),
    ("a.sh", |s| format!("mysql -h db{s} -u root -p$MYSQL_{}\n", word(s).to_uppercase())),
    ("a.sh", |s| format!("docker run --name mysql{s} -p33{:02}:3306 -pthread mysql\n", s % 100)),
    ("a.sh", |s| format!("curl -u \"$USER_{s}:$PASS_{s}\" https://{}.corp.io\n", word(s))),
    ("a.mk", |s| format!("{}: ; gcc -lmysqlclient -pthread -pg{s}\n", word(s))),
    // Settings
    ("a.yaml", |s| format!("password: !vault {}/{}#{s}", word(s), word(s + 1))),
    ("a.yaml", |s| format!("secretKeyRef: {{name: {}-{}, key: {}{s}}}", word(s), word(s + 1), word(s + 2))),
    ("a.yaml", |s| format!("password: {{{{ .Values.{}.{}{s} | quote }}}}", word(s), word(s + 1))),
    ("a.tf", |s| format!("password = \"${{random_password.{}_{}{s}.result}}\"", word(s), word(s + 1))),
    ("a.properties", |s| format!("token.url=https://{}.corp.io/{}?x={s}&y=(z)\n", word(s), word(s + 1))),
    (".env", |s| format!("APP_KEY=\nAPP_NAME={}-{}({s})\n", word(s), word(s + 1))),
    ("a.yaml", |s| format!("secret_key_base: <%= ENV['{}_{s}'] %>\n", word(s).to_uppercase())),
    // Tests and fixtures
    ("tests/a.py", |s| format!("client.login(username='{}', password='{}{}!')", word(s), word(s + 1), s)),
    ("tests/a.py", |s| format!("SECRET_KEY = '{}-secret-{}'", word(s), s)),
    ("tests/a.py", |s| format!("url = 'mysql://root:{}{s}@mysql/x'", word(s))),
    ("tests/a.py", |s| format!("secret = '{}'", random(s, 64, HEX))),
    ("tests/compose.yaml", |s| format!("  url: postgres://app:{}{}@db/x\n", word(s), random(s, 6, HEX))),
    // Documentation
    ("README.md", |s| format!("    mysql://{}:password{s}@myhost/db", word(s))),
    ("README.md", |s| format!("    curl -u username:password https://{}.corp.io/{s}", word(s))),
    ("README.md", |s| format!("    APP_KEY=base64:your-{}-key-{s}", word(s))),
    ("README.md", |s| format!("    mysql -u {} -pyourpassword{s} db", word(s))),
    ("README.md", |s| format!("    docker login -u {} -p <token{s}>", word(s))),
    ("README.md", |s| format!("    postgres://{}:{}@your-host.rds.amazonaws.com/{s}", word(s), word(s + 1))),
    // Lock files, digests and what a build makes
    ("package-lock.json", |s| format!("\"key\": \"x\", \"integrity\": \"sha512-{}==\"", random(s, 86, ALNUM))),
    ("poetry.lock", |s| format!("{{file = \"{}_token-{s}.whl\", hash = \"sha256:{}\"}}", word(s), random(s, 64, HEX))),
    ("go.sum", |s| format!("github.com/x/{}-auth v1.{s} h1:{}=", word(s), random(s, 43, ALNUM))),
    ("a.txt", |s| format!("AKIA0000000000000000 {} {}", random(s, 40, HEX), word(s))),
    ("a.js", |s| format!("AKIAQ7ZXKP2MVT7LWRB4EXAMPLE,{}", random(s, 40, ALNUM))),
    ("dist/a.js", |s| format!("e.token=function(t,n){{return n(t[{s}])}},r.key=\"{}\",o.auth=!0;password:a(b,\"{}\")", word(s), word(s + 1))),
    ("dist/a.js", |s| format!("{{key:\"{}\",token:\"{}\",secret:`.${{t}}-{}`,auth:\"data:image/png;base64,{}\"}}", random(s, 8, HEX), word(s), word(s + 1), random(s, 60, ALNUM))),
];

#[test]
fn look_alikes_are_left_alone() {
    let mut told = Vec::new();
    for (path, make) in INNOCENT {
        let texts = (0..SAMPLES).map(make);
        let findings: Vec<(String, &str)> = texts
            .filter_map(|text| candidates(path, text.as_bytes()).first().map(|c| (text.clone(), c.rule)))
            .collect();
        if let Some((text, rule)) = findings.first() {
            told.push(format!("{} of {SAMPLES}: {path}: {rule}: {text}", findings.len()));
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}
