//! Chat, mail, payments, commerce and other services.

use super::Rule;
use crate::checks::Check;
use crate::finding::Severity::{Critical, High, Low, Medium};

pub(super) fn rules() -> Vec<Rule> {
    vec![
        // Chat
        Rule::prefix(
            "slack-token",
            "Slack token",
            Critical,
            &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxo-", "xoxe-", "xoxc-", "xoxd-", "xoxe."],
            r"xox(?:[bpaersoc]-(?:[0-9]+-)*[A-Za-z0-9-]{10,200}|d-[A-Za-z0-9%+/=-]{40,400}|e\.xox[bp]-[0-9]-[A-Za-z0-9]{140,170})",
        ),
        Rule::prefix(
            "slack-app-token",
            "Slack app-level token",
            Critical,
            &["xapp-"],
            r"xapp-[0-9]-[A-Z0-9]+-[0-9]+-[a-f0-9]{32,80}",
        ),
        Rule::near(
            "slack-webhook",
            "Slack webhook",
            High,
            &["hooks.slack.com"],
            r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9+/]{40,60})",
        )
        .sure(0.9),
        Rule::near(
            "discord-webhook",
            "Discord webhook",
            High,
            &["/api/webhooks/"],
            r"discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/([A-Za-z0-9_-]{60,70})",
        )
        .sure(0.9),
        Rule::near(
            "discord-token",
            "Discord bot token",
            Critical,
            &["discord", "token", "bot", "login"],
            r"\b([MNO][A-Za-z0-9]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38})\b",
        )
        .sure(0.85),
        Rule::near(
            "telegram-bot-token",
            "Telegram bot token",
            High,
            &[":aa"],
            r"(?:^|[^0-9A-Za-z_-])([0-9]{8,10}:AA[A-Za-z0-9_-]{33})(?:[^A-Za-z0-9_-]|$)",
        )
        .sure(0.9),
        Rule::near(
            "teams-webhook",
            "Microsoft Teams webhook",
            High,
            &["webhook.office.com"],
            r"webhook\.office\.com/webhookb2/([a-f0-9-]{36}@[a-f0-9-]{36}/IncomingWebhook/[a-f0-9]{32}/[a-f0-9-]{36})",
        ),
        Rule::near(
            "zapier-webhook",
            "Zapier webhook",
            Medium,
            &["hooks.zapier.com"],
            r"hooks\.zapier\.com/hooks/catch/([0-9]+/[A-Za-z0-9]{6,})",
        ),
        // Payments
        Rule::prefix(
            "stripe-live-key",
            "Stripe live key",
            Critical,
            &["sk_live_", "rk_live_", "sk_prod_", "rk_prod_"],
            r"[sr]k_(?:live|prod)_[A-Za-z0-9]{16,247}\b",
        )
        .sure(0.95),
        Rule::prefix(
            "stripe-test-key",
            "Stripe test key",
            Low,
            &["sk_test_", "rk_test_"],
            r"[sr]k_test_[A-Za-z0-9]{16,247}\b",
        ),
        Rule::prefix(
            "stripe-webhook-secret",
            "Stripe webhook signing secret",
            High,
            &["whsec_"],
            r"whsec_[A-Za-z0-9+/]{24,80}={0,2}",
        ),
        Rule::prefix(
            "square-token",
            "Square token",
            High,
            &["sq0atp-", "sq0csp-", "EAAA"],
            r"(sq0atp-[A-Za-z0-9_-]{22}|sq0csp-[A-Za-z0-9_-]{43}|EAAA[A-Za-z0-9_-]{60})(?:[^A-Za-z0-9_-]|$)",
        ),
        Rule::near(
            "paypal-braintree-token",
            "Braintree access token",
            Critical,
            &["access_token$"],
            r"(access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32})",
        )
        .sure(0.95),
        Rule::prefix("razorpay-key", "Razorpay key id", Medium, &["rzp_live_"], r"rzp_live_[A-Za-z0-9]{14}\b"),
        Rule::prefix(
            "flutterwave-key",
            "Flutterwave secret key",
            High,
            &["FLWSECK"],
            r"FLWSECK(?:_TEST)?-[A-Za-z0-9]{32}-X",
        ),
        Rule::prefix("gocardless-token", "GoCardless live token", High, &["live_"], r"live_[A-Za-z0-9_-]{40}")
            .check(Check::MixedCase)
            .sure(0.7),
        Rule::prefix("duffel-token", "Duffel token", High, &["duffel_"], r"duffel_(?:test|live)_[A-Za-z0-9_=-]{43}"),
        Rule::prefix("easypost-key", "EasyPost API key", High, &["EZAK", "EZTK"], r"EZ[AT]K[A-Za-z0-9]{54}\b"),
        Rule::prefix(
            "plaid-token",
            "Plaid access token",
            High,
            &["access-"],
            r"access-(?:sandbox|development|production)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
        ),
        Rule::prefix("shippo-token", "Shippo token", High, &["shippo_"], r"shippo_(?:live|test)_[a-f0-9]{40}\b"),
        Rule::prefix(
            "shopify-token",
            "Shopify token",
            Critical,
            &["shpat_", "shpca_", "shppa_", "shpss_"],
            r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b",
        ),
        // Mail and messaging
        Rule::prefix(
            "sendgrid-key",
            "SendGrid API key",
            Critical,
            &["SG."],
            r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
        )
        .sure(0.95),
        Rule::prefix("mailgun-key", "Mailgun API key", High, &["key-"], r"key-[0-9a-f]{32}\b"),
        Rule::near(
            "mailgun-signing-key",
            "Mailgun key",
            High,
            &["mailgun"],
            r"(?i)mailgun.{0,60}?\b([0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8})\b",
        ),
        Rule::near(
            "mailchimp-key",
            "Mailchimp API key",
            High,
            &["-us"],
            r"(?:^|[^0-9A-Za-z])([0-9a-f]{32}-us[0-9]{1,2})\b",
        )
        .sure(0.9),
        Rule::prefix("sendinblue-key", "Brevo API key", High, &["xkeysib-"], r"xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}\b"),
        Rule::prefix("twilio-api-key", "Twilio API key", High, &["SK"], r"SK[0-9a-f]{32}\b").sure(0.8),
        Rule::near(
            "twilio-auth-token",
            "Twilio auth token",
            High,
            &["twilio"],
            r#"(?i)twilio[\w.-]{0,20}(?:token|secret)\w{0,8}["'\])]{0,3}\s{0,3}(?:=>|:=|[=:,])\s{0,3}["']?([0-9a-f]{32})\b"#,
        ),
        Rule::near(
            "messagebird-key",
            "MessageBird key",
            High,
            &["messagebird"],
            r#"(?i)message_?bird[\w.-]{0,20}["']?\s{0,3}(?:=>|:=|[=:])\s{0,3}["']?([A-Za-z0-9]{25})\b"#,
        ),
        Rule::prefix("resend-key", "Resend API key", High, &["re_"], r"re_[A-Za-z0-9]{8}_[A-Za-z0-9]{24}\b"),
        Rule::prefix(
            "intra42-secret",
            "Intra 42 client secret",
            Medium,
            &["s-s4t2"],
            r"s-s4t2(?:ud|af)-[a-f0-9]{64}\b",
        ),
        // Social, maps, search, files
        Rule::prefix(
            "facebook-access-token",
            "Facebook access token",
            High,
            &["EAACEdEose0cBA", "EAAB", "EAAC", "EAAG"],
            r"EAA[A-Z][A-Za-z0-9]{90,300}\b",
        )
        .check(Check::MixedCase),
        Rule::prefix("instagram-token", "Instagram access token", High, &["IGQV"], r"IGQV[A-Za-z0-9_-]{100,}"),
        Rule::prefix(
            "twitter-bearer-token",
            "Twitter bearer token",
            High,
            &["AAAAAAAAAAAAAAAAAAAAA"],
            r"A{20,25}[A-Za-z0-9%]{60,100}",
        )
        .check(Check::MixedCase),
        Rule::prefix(
            "mapbox-secret-token",
            "Mapbox secret token",
            High,
            &["sk.eyJ"],
            r"sk\.eyJ[A-Za-z0-9_-]{60,}\.[A-Za-z0-9_-]{22}",
        ),
        Rule::near(
            "algolia-admin-key",
            "Algolia admin key",
            High,
            &["algolia"],
            r#"(?i)algolia[\w.-]{0,20}(?:admin|write|secret)[\w.-]{0,12}["']?\s{0,3}(?:=>|:=|[=:])\s{0,3}["']?([0-9a-f]{32})\b"#,
        ),
        Rule::prefix("dropbox-token", "Dropbox access token", High, &["sl."], r"sl\.(?:u\.)?[A-Za-z0-9_-]{130,1300}"),
        Rule::prefix("frameio-token", "Frame.io token", High, &["fio-u-"], r"fio-u-[A-Za-z0-9_=-]{64}"),
        // Tokens with a structure of their own
        Rule::prefix(
            "jwt",
            "JSON Web Token",
            Medium,
            &["eyJ"],
            r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{16,}",
        )
        .check(Check::Jwt)
        .sure(0.75),
        Rule::near(
            "authorization-basic",
            "HTTP basic credentials",
            High,
            &["basic "],
            r#"(?i)authorization["']?\s{0,3}[:=,]\s{0,3}["'`]?basic\s+([A-Za-z0-9+/]{8,}={0,2})"#,
        )
        .check(Check::UserColonPassword),
        Rule::near(
            "authorization-bearer",
            "HTTP bearer token",
            High,
            &["bearer "],
            r#"(?i)authorization["']?\s{0,3}[:=,]\s{0,3}[bf]?["'`]?bearer\s+([A-Za-z0-9_.~+/-]{20,}={0,2})"#,
        )
        .check(Check::MixedCaseOrHex),
    ]
}
