//! One secret for each of many rules, built piece by piece at run time so that no scanner flags this repository. Shared by the tests and by
//! the example that writes them into a folder for a comparison with other scanners.

use base64::Engine as _;

/// Random text over an alphabet, the same at every run.
pub(crate) fn random(seed: u32, length: usize, alphabet: &[u8]) -> String {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(99);
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(alphabet[(state >> 16) as usize % alphabet.len()])
        })
        .collect()
}

/// Letters and digits.
pub(crate) const ALNUM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Digits of base 16.
pub(crate) const HEX: &[u8] = b"0123456789abcdef";
/// The digits of base 32.
pub(crate) const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// One planted secret a rule: (rule, file, text).
pub(crate) fn planted() -> Vec<(&'static str, &'static str, String)> {
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let a = |n| random(1, n, ALNUM);
    let h = |n| random(2, n, HEX);
    let key_body = (0..6).map(|i| random(i + 10, 64, ALNUM)).collect::<Vec<_>>().join("\n");
    let dashes = "-".repeat(5);
    let private = ["PRIVATE", "KEY"].join(" ");
    vec![
        ("aws-access-key-id", "a.py", format!("id = '{}{}'", ["AK", "IA"].concat(), random(3, 16, BASE32))),
        ("aws-secret-access-key", "a.py", format!("aws_secret_access_key = '{}'", a(40))),
        ("aws-secret-access-key", "credentials", format!("[default]\naws_secret_access_key = {}\n", a(40))),
        ("github-token", "a.py", format!("{}_{}", ["g", "hp"].concat(), a(36))),
        (
            "github-fine-grained-token",
            "a.py",
            format!("{}_pat_{}_{}", ["git", "hub"].concat(), a(22), random(4, 59, ALNUM)),
        ),
        ("gitlab-token", "a.yml", format!("token: {}-{}", ["gl", "pat"].concat(), a(20))),
        ("slack-token", "a.js", format!("'{}-123456789012-1234567890123-{}'", ["xo", "xb"].concat(), a(24))),
        (
            "slack-webhook",
            "a.js",
            format!(
                "https://hooks.{}/services/T{}/B{}/{}",
                ["slack", ".com"].concat(),
                random(5, 9, BASE32),
                random(6, 9, BASE32),
                a(24)
            ),
        ),
        ("stripe-live-key", "a.rb", format!("'{}_live_{}'", ["s", "k"].concat(), a(24))),
        ("google-api-key", "a.html", format!("key={}{}&x", ["AI", "za"].concat(), a(35))),
        ("google-oauth-client-secret", "a.json", format!("\"{}-{}\"", ["GOC", "SPX"].concat(), a(28))),
        ("azure-storage-key", "a.config", format!("AccountName=x;{}={}==;", ["Account", "Key"].concat(), a(86))),
        ("npm-token", ".npmrc", format!("//r/:_authToken={}_{}", ["n", "pm"].concat(), a(36))),
        ("pypi-token", "a.cfg", format!("password = {}IcHlwaS5vcmc{}", ["pypi", "-AgE"].concat(), a(60))),
        ("docker-hub-token", "a.sh", format!("login -p {}_pat_{}", ["dc", "kr"].concat(), a(27))),
        ("sendgrid-key", "a.py", format!("'{}.{}.{}'", ["S", "G"].concat(), a(22), random(7, 43, ALNUM))),
        ("twilio-api-key", "a.py", format!("'{}{}'", ["S", "K"].concat(), h(32))),
        ("mailgun-key", "a.py", format!("'{}-{}'", ["k", "ey"].concat(), h(32))),
        ("mailchimp-key", "a.py", format!("'{}-us12'", h(32))),
        ("anthropic-key", "a.py", format!("'{}-ant-api03-{}AA'", ["s", "k"].concat(), a(93))),
        (
            "openai-key",
            "a.py",
            format!("'{}-{}{}{}'", ["s", "k"].concat(), a(20), ["T3Blbk", "FJ"].concat(), random(8, 20, ALNUM)),
        ),
        ("digitalocean-token", "a.tf", format!("token = \"{}_v1_{}\"", ["d", "op"].concat(), h(64))),
        ("telegram-bot-token", "a.py", format!("'123456789:AA{}'", a(33))),
        ("shopify-token", "a.rb", format!("'{}_{}'", ["sh", "pat"].concat(), h(32))),
        ("square-token", "a.rb", format!("'{}-{}'", ["sq0", "atp"].concat(), a(22))),
        ("artifactory-api-key", "a.xml", format!("<k>{}{}</k>", ["AK", "Cp"].concat(), a(60))),
        (
            "jwt",
            "a.js",
            format!("'{}.{}.{}'", encode("{\"alg\":\"HS256\"}"), encode("{\"sub\":\"someone\",\"admin\":true}"), a(43)),
        ),
        (
            "private-key",
            "a.pem",
            format!("{dashes}BEGIN {private}{dashes}\n{key_body}\n{dashes}END {private}{dashes}\n"),
        ),
        (
            "private-key",
            "sa.json",
            format!(
                "{{\"type\": \"service_account\", \"private_key\": \"{dashes}BEGIN {private}{dashes}\\n{}\\n{dashes}END {private}{dashes}\\n\"}}",
                key_body.replace('\n', "\\n")
            ),
        ),
        (
            "der-private-key",
            "a.py",
            format!(
                "k = b'{}{}'",
                ["MIICdwIBADANBgkqhki", "G9w0BAQEFAASCAmEwggJdAgEAAoGBAL"].concat(),
                random(11, 780, ALNUM)
            ),
        ),
        ("url-password", "a.py", format!("db = 'postgres://app:{}@db.internal/app'", a(16))),
        ("password-literal", "a.py", format!("db_password = '{}'", a(12))),
        ("token-literal", "a.env", format!("API_TOKEN={}\n", a(32))),
        (
            "secret-literal",
            "settings.py",
            format!("SECRET_KEY = \"{}\"", random(9, 50, b"abcdefghijkmnpqrstuvwz0123456789!@^&*-_=+")),
        ),
        (
            "docker-config-auth",
            "config.json",
            format!("\"auth\": \"{}\"", base64::engine::general_purpose::STANDARD.encode(format!("ci:{}", a(20)))),
        ),
        (
            "connection-string-password",
            "a.config",
            format!("Server=db.internal;Database=x;User Id=sa;{}={};", ["Pass", "word"].concat(), a(14)),
        ),
    ]
}
