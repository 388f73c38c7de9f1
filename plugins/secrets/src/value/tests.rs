//! Values and names, made up for the tests.

use super::*;

#[test]
fn the_last_words_of_a_name_tell() {
    for (identifier, name) in [
        ("password", Some(Name::Password)),
        ("DB_PASSWORD", Some(Name::Password)),
        ("password2", Some(Name::Password)),
        ("githubToken", Some(Name::Token)),
        ("API_KEY_PROD", Some(Name::Token)),
        ("clientSecret", Some(Name::Token)),
        ("SECRET_KEY", Some(Name::Secret)),
        ("secret_key_base", Some(Name::Secret)),
        ("APP_KEY", Some(Name::Token)),
        ("AWSSecretKey", Some(Name::Secret)),
        ("dbpassword", Some(Name::Password)),
        ("cache_key", Some(Name::Hint)),
        ("password_field_name", None),
        ("token_url", None),
        ("secretName", None),
        ("keyboard", None),
    ] {
        assert_eq!(name_of(identifier.as_bytes()), name, "{identifier}");
    }
}

#[test]
fn stand_ins_are_known() {
    for value in [
        "${DB_PASSWORD}",
        "{{ password }}",
        "<password>",
        "your_api_key_here",
        "xxxxxxxxxxxx",
        "changeme123",
        "wJalrXUtnFEMIEXAMPLEKEY",
        "sk-...",
        "%(password)s",
        "process.env.KEY",
        "12345678",
    ] {
        assert!(placeholder(value.as_bytes()).is_some(), "{value}");
    }
    for value in ["q7ZxKp2mVt9LwRb4", "$7ZxKp2mVt9LwRb4", "q7Z%(xK)p2mVt9LwRb4!{a}", "@7Zx{Kp2m}Vt9LwRb4"] {
        let stands_in = placeholder(value.as_bytes());
        assert_eq!(stands_in.is_some(), value.contains("%(xK)"), "{value}");
    }
}

#[test]
fn random_strings_with_signs_are_told_from_code() {
    for value in
        ["!q7Zx$Kp2mVt9(Lw", "django-insecure-(a8s90+t+-tq+&c18x_=5q%+aat)&an$vq$4f$aayfzm", "NeePTLtc703V#k2x"]
    {
        assert!(looks_random(value.as_bytes()), "{value}");
    }
    for value in [
        "self.read_token(request)[0]",
        "^(?=.*[A-Z])(?=.*\\d)[A-Za-z\\d@$!%*?&]{8,}$",
        "(?:sbp_[a-f0-9]{40}|sb_secret_[A-Za-z0-9_-]{31})\\b",
        "KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
        "BECOME-SUCCESS-abcdefghijklmnopqrstuvwxyz",
        "#user-form2>input[name=password]",
        "getUserAccessToken",
        "rgba(0,0,0,.5)",
        "correct-horse-battery-staple-7",
    ] {
        assert!(!looks_random(value.as_bytes()), "{value}");
    }
}

#[test]
fn hashes_of_passwords_are_known_by_their_form() {
    for hash in [
        "$2b$12$LUyhxJjuLwXFf6Zbpnx1L5dPze8m0itBaHMDyZ",
        "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub",
        "pbkdf2_sha256$10000$LUyhxJjuLwXF$f6Zbpnx1L5dPze8m0itBaHMDyZ",
        "scrypt:32768:8:1$LUyhxJjuLwXF$f6Zbpnx1L5dPze8m0itBaHMDyZ",
        "{SSHA}LUyhxJjuLwXFf6Zbpnx1L5dPze8m0it",
    ] {
        assert!(is_password_hash(hash.as_bytes()), "{hash}");
    }
    assert!(!is_password_hash(b"a8s90+t+-tq+&c18x_=5q%+aat)&an$vq$4f$aayfzmf7tql%q"));
}

#[test]
fn common_words_are_weak_however_they_are_spelled() {
    for value in ["password", "p4ssw0rd", "admin123", "superS3cret", "TestPassword1!", "secret", "foo-bar", "1234"] {
        assert!(weak(value.as_bytes()).is_some(), "{value}");
    }
    for value in ["k8Vq2xTz9w", "wV4!kd92Qp"] {
        assert!(weak(value.as_bytes()).is_none(), "{value}");
    }
}

fn said(identifier: &str, value: &str, place: Place) -> bool {
    name_of(identifier.as_bytes()).is_some_and(|name| {
        matches!(judge(name, identifier.as_bytes(), value.as_bytes(), true, place), Verdict::Yes(..))
    })
}

#[test]
fn secrets_are_told_from_words() {
    for (identifier, value) in [
        ("password", "k8Vq2xTz9w"),                            // pragma: allowlist secret
        ("DB_PASS", "wV4!kd92Qp"),                             // pragma: allowlist secret
        ("api_key", "q7ZxKp2mVt9LwRb4Ns8Dy3Hc6Jf1Ga"),         // pragma: allowlist secret
        ("client_secret", "0f1e6c5b9a8d47f2b3c4d5e6f7089a1b"), // pragma: allowlist secret
    ] {
        assert!(said(identifier, value, Place::Source), "{identifier} {value}");
    }
    for (identifier, value) in [
        ("password", "Enter your password"),
        ("password", "forgot_password_link"),
        ("token", "access_token_secret"),
        ("token", "Bearer"),
        ("secret", "keyboard cat"),
        ("key", "user.settings.theme"),
        ("api_key", "/etc/keys/api.key"),
        ("password", "password"),
        ("token", "CLIENT_HANDSHAKE_TRAFFIC_SECRET"),
        ("api_key", "a06b-c462cffae87a"),
        ("password", "pbkdf2_sha256$10000$LUyhxJjuLwXF$f6Zbpnx1L5dPze8m0itBaHMDyZ"),
    ] {
        assert!(!said(identifier, value, Place::Source), "{identifier} {value}");
    }
}

#[test]
fn staged_places_ask_for_more() {
    assert!(said("password", "lagoon92xk", Place::Config)); // pragma: allowlist secret
    assert!(!said("password", "lagoon92xk", Place::Test)); // pragma: allowlist secret
    assert!(said("password", "tG7#kd92!QpZx", Place::Test)); // pragma: allowlist secret
    assert!(!said("secret", "0f1e6c5b9a8d47f2b3c4d5e6f7089a1b", Place::Test)); // pragma: allowlist secret
}
