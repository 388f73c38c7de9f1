//! Clouds, hosting and infrastructure.

use super::Rule;
use crate::checks::Check;
use crate::finding::Severity::{Critical, High, Low, Medium};

pub(super) fn rules() -> Vec<Rule> {
    vec![
        // Amazon
        Rule::prefix("aws-access-key-id", "AWS access key id", Medium, &["AKIA", "ASIA", "ABIA", "ACCA"], r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b").sure(0.8),
        Rule::near("aws-secret-access-key", "AWS secret access key", Critical, &["aws", "secret_access_key", "secretaccesskey", "secretkey", "secret_key", "secret-access-key"],
            r#"(?i)(?:aws[\w.-]{0,20}(?:secret|key)|secret[_.-]?(?:access[_.-]?)?key)[\w.\]'"`]{0,24}\s{0,4}(?:=>|:=|[=:,(]|\s)\s{0,4}[a-z]?["'`(\s]{0,3}([A-Za-z0-9/+]{40})(?:["'`)\s,;]|$)"#)
            .check(Check::MixedCase),
        Rule::prefix("aws-bedrock-api-key", "Amazon Bedrock API key", High, &["ABSK"], r"ABSK[A-Za-z0-9+/]{109,269}={0,2}"),
        Rule::prefix("aws-mws-token", "Amazon MWS auth token", High, &["amzn.mws."], r"amzn\.mws\.[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
        // Google
        Rule::prefix("google-api-key", "Google API key", Medium, &["AIza"], r"(AIza[A-Za-z0-9_-]{35})(?:[^A-Za-z0-9_-]|$)"),
        Rule::prefix("google-oauth-client-secret", "Google OAuth client secret", High, &["GOCSPX-"], r"GOCSPX-[A-Za-z0-9_-]{28}"),
        Rule::prefix("google-oauth-access-token", "Google OAuth access token", High, &["ya29."], r"ya29\.[A-Za-z0-9_-]{40,}"),
        Rule::prefix("firebase-cloud-messaging-key", "Firebase Cloud Messaging server key", High, &["AAAA"], r"AAAA[A-Za-z0-9_-]{7}:[A-Za-z0-9_-]{140}"),
        // Microsoft
        Rule::near("azure-storage-key", "Azure storage account key", Critical, &["accountkey", "account_key", "storage_key", "storagekey"],
            r#"(?i)(?:account|storage)_?key\w{0,8}["']?\s{0,3}[=:]\s{0,3}["']?([A-Za-z0-9+/]{86}==)"#).sure(0.95),
        Rule::near("azure-shared-access-key", "Azure Service Bus, Event Hub or IoT shared access key", High, &["sharedaccesskey"], r"(?i)SharedAccessKey=([A-Za-z0-9+/]{42,44}=)"),
        Rule::near("azure-sas-signature", "Azure shared access signature", High, &["sig="], r"[?&]s[vperti]+=[^\s'\x22]{1,300}?&sig=([A-Za-z0-9%+/]{43,80}(?:=|%3D))"),
        Rule::near("azure-client-secret", "Microsoft Entra client secret", Critical, &["q~"], r"(?:^|[^A-Za-z0-9_~.-])([A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34})(?:[^A-Za-z0-9_~.-]|$)").sure(0.9),
        Rule::near("azure-devops-token", "Azure DevOps personal access token", High, &["azdo"], r"\b([A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4})\b").sure(0.95),
        Rule::near("azure-function-key", "Azure Functions key", High, &["azfu"], r"\b([A-Za-z0-9_-]{44}AzFu[A-Za-z0-9_-]{5}[AQgw]==)").sure(0.95),
        Rule::near("azure-generated-key", "Azure resource key", High, &["+astb", "+astor", "acdb", "aioth", "asbb", "+aeh", "azse", "apim"], r"\b([A-Za-z0-9+/]{33,76}(?:\+AStA|\+ACDb|AIoTC|\+ASbB|\+AEhB|\+ACRD|AzSeA|APIMA)[A-Za-z0-9+/]{5,10}={0,2})").sure(0.85),
        Rule::near("connection-string-password", "Password in a database connection string", High, &["pwd=", "password="],
            r#"(?i)(?:server|data source|host|user id|uid|initial catalog|database|endpoint)\s*=[^;\n"']{1,128};[^\n"']{0,256}?(?:password|pwd)\s*=\s*([^;\s"'{}<>$%]{4,128})"#)
            .check(Check::Password),
        // Others
        Rule::prefix("digitalocean-token", "DigitalOcean token", Critical, &["dop_v1_", "doo_v1_", "dor_v1_"], r"do[opr]_v1_[a-f0-9]{64}\b"),
        Rule::prefix("heroku-api-key", "Heroku API key", High, &["HRKU-"], r"HRKU-[A-Za-z0-9_-]{36,60}"),
        Rule::near("heroku-api-key-uuid", "Heroku API key", High, &["heroku"],
            r#"(?i)heroku[\w.-]{0,20}(?:key|token|secret|auth)\w{0,10}["']?\s{0,3}[=:]{1,2}\s{0,3}["']?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"#),
        Rule::prefix("alibaba-access-key-id", "Alibaba Cloud access key id", Medium, &["LTAI"], r"LTAI[A-Za-z0-9]{20}\b"),
        Rule::prefix("tencent-secret-id", "Tencent Cloud secret id", Medium, &["AKID"], r"AKID[A-Za-z0-9]{32}\b"),
        Rule::prefix("yandex-api-key", "Yandex Cloud API key", High, &["AQVN"], r"AQVN[A-Za-z0-9_-]{35,38}\b"),
        Rule::prefix("databricks-token", "Databricks personal access token", Critical, &["dapi"], r"dapi[a-f0-9]{32}(?:-\d)?\b"),
        Rule::prefix("vault-token", "HashiCorp Vault token", Critical, &["hvs.", "hvb.", "hvr."], r"hv[sbr]\.[A-Za-z0-9_-]{24,300}"),
        Rule::near("terraform-cloud-token", "Terraform Cloud token", High, &[".atlasv1."], r"\b([A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70})").sure(0.95),
        Rule::prefix("pulumi-access-token", "Pulumi access token", High, &["pul-"], r"pul-[a-f0-9]{40}\b"),
        Rule::prefix("doppler-token", "Doppler token", High, &["dp.pt.", "dp.st.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit."], r"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}"),
        Rule::prefix("openshift-token", "OpenShift user token", High, &["sha256~"], r"sha256~[A-Za-z0-9_-]{43}"),
        Rule::prefix("planetscale-token", "PlanetScale credential", High, &["pscale_tkn_", "pscale_pw_", "pscale_oauth_"], r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9=._-]{32,64}"),
        Rule::prefix("supabase-token", "Supabase token", High, &["sbp_", "sb_secret_"], r"(?:sbp_[a-f0-9]{40}|sb_secret_[A-Za-z0-9_-]{31})\b"),
        Rule::prefix("neon-api-key", "Neon API key", High, &["napi_"], r"napi_[a-z0-9]{64}\b"),
        Rule::prefix("fly-token", "Fly.io token", High, &["fo1_", "fm2_", "fm1r_", "fm1a_"], r"(?:fo1_[A-Za-z0-9_-]{43}|fm(?:2|1[ar])_[A-Za-z0-9+/]{100,}={0,3})"),
        Rule::prefix("netlify-token", "Netlify token", High, &["nfp_"], r"nfp_[A-Za-z0-9]{36,40}\b"),
        Rule::prefix("render-api-key", "Render API key", High, &["rnd_"], r"rnd_[A-Za-z0-9]{28,32}\b"),
        Rule::prefix("scalingo-token", "Scalingo token", High, &["tk-us-"], r"tk-us-[A-Za-z0-9_-]{48}"),
        Rule::prefix("cloudflare-origin-ca-key", "Cloudflare Origin CA key", High, &["v1.0-"], r"v1\.0-[a-f0-9]{24}-[a-f0-9]{146}"),
        Rule::near("cloudflare-api-token", "Cloudflare API token", High, &["cloudflare", "cf_api"],
            r#"(?i)(?:cloudflare|cf)[\w.-]{0,20}(?:key|token|secret)["']?\s{0,3}(?:=>|:=|[=:])\s{0,3}["']?([A-Za-z0-9_-]{37,40})(?:["'\s;,]|$)"#),
        Rule::prefix("tailscale-key", "Tailscale key", High, &["tskey-"], r"tskey-(?:auth|api|client|scim|webhook)-[A-Za-z0-9]{8,}-[A-Za-z0-9]{16,}"),
        Rule::prefix("ngrok-token", "ngrok token", Medium, &["ngrok_"], r"ngrok_[A-Za-z0-9]{43,}\b"),
        Rule::prefix("grafana-token", "Grafana token", High, &["glsa_", "glc_"], r"(?:glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|glc_[A-Za-z0-9+/]{40,400}={0,3})"),
        Rule::prefix("newrelic-key", "New Relic key", High, &["NRAK-", "NRII-", "NRIQ-", "NRRA-", "NRJS-"], r"(?:NRAK-[A-Z0-9]{27}|NRII-[A-Za-z0-9-]{32}|NRIQ-[A-Za-z0-9_-]{32}|NRRA-[a-f0-9]{42}|NRJS-[a-f0-9]{19})\b"),
        Rule::near("datadog-api-key", "Datadog key", High, &["datadog", "dd_api_key", "dd_app_key"],
            r#"(?i)(?:datadog|dd)[\w.-]{0,20}key["']?\s{0,3}(?:=>|:=|[=:])\s{0,3}["']?([a-f0-9]{40}|[a-f0-9]{32})(?:["'\s;,]|$)"#),
        Rule::prefix("dynatrace-token", "Dynatrace token", High, &["dt0c01.", "dt0s01.", "dt0s16."], r"dt0[cs][01][16]\.[A-Z0-9]{24}\.[A-Z0-9]{64}"),
        Rule::prefix("sentry-token", "Sentry auth token", High, &["sntrys_", "sntryu_"], r"(?:sntryu_[a-f0-9]{64}|sntrys_eyJ[A-Za-z0-9+/=_]{80,400})"),
        Rule::near("sentry-dsn-secret", "Sentry DSN with a secret key", Low, &["sentry"], r"https://[a-f0-9]{32}:([a-f0-9]{32})@[\w.-]*sentry"),
        Rule::prefix("onepassword-service-token", "1Password service account token", Critical, &["ops_eyJ"], r"ops_eyJ[A-Za-z0-9+/_-]{250,}={0,3}"),
        Rule::prefix("age-secret-key", "age secret key", Critical, &["AGE-SECRET-KEY-1"], r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}"),
        Rule::near("cloudant-password", "IBM Cloudant password", High, &["cloudant"], r#"(?i)cloudant[\w.-]{0,20}(?:key|pwd|pw|password|pass|token)["']?\s{0,3}(?:=>|:=|[=:])\s{0,3}["']?([0-9a-f]{64}|[a-z]{24})(?:["'\s]|$)"#),
        Rule::near("softlayer-key", "SoftLayer API key", High, &["softlayer"], r#"(?i)softlayer[\w.-]{0,20}(?:key|password|pass|pwd|token)["']?\s{0,3}(?:=>|:=|[=:])\s{0,3}["']?([a-z0-9]{64})\b"#),
        Rule::near("ibm-cloud-api-key", "IBM Cloud API key", High, &["ibm", "bluemix", "watson"],
            r#"(?i)(?:ibm|bluemix|watson)[\w.-]{0,20}(?:key|token|pwd|password)["']?\s{0,3}(?:=>|:=|[=:])\s{0,3}["']?([A-Za-z0-9_-]{44})(?:["'\s]|$)"#),
    ]
}
