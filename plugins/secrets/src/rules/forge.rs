//! Code forges, package registries, build services and developer tools.

use super::Rule;
use crate::checks::Check;
use crate::finding::Severity::{Critical, High, Medium};

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule::prefix(
            "github-token",
            "GitHub token",
            Critical,
            &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
            r"gh[pousr]_[A-Za-z0-9]{36}\b",
        )
        .check(Check::Base62Crc)
        .sure(0.95),
        Rule::prefix(
            "github-fine-grained-token",
            "GitHub fine-grained token",
            Critical,
            &["github_pat_"],
            r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b",
        )
        .sure(0.95),
        Rule::prefix(
            "gitlab-token",
            "GitLab token",
            Critical,
            &[
                "glpat-", "gldt-", "glrt-", "glptt-", "glft-", "glagent-", "gloas-", "glcbt-", "glimt-", "glsoat-",
                "glffct-",
            ],
            r"gl(?:pat|dt|rt|ptt|ft|agent|oas|cbt|imt|soat|ffct)-[A-Za-z0-9_-]{20,300}(?:\.[0-9a-z]{2}\.[0-9a-z]{7,9})?",
        ),
        Rule::prefix(
            "gitlab-runner-token",
            "GitLab runner registration token",
            High,
            &["GR1348941"],
            r"GR1348941[A-Za-z0-9_-]{20}",
        ),
        Rule::prefix("bitbucket-token", "Bitbucket app password", High, &["ATBB"], r"ATBB[A-Za-z0-9]{28,40}\b"),
        Rule::prefix(
            "atlassian-token",
            "Atlassian API token",
            Critical,
            &["ATATT3", "ATCTT3"],
            r"AT[AC]TT3[A-Za-z0-9_=-]{100,250}",
        ),
        Rule::prefix("npm-token", "npm token", Critical, &["npm_"], r"npm_[A-Za-z0-9]{36}\b")
            .check(Check::Base62Crc)
            .sure(0.95),
        Rule::near(
            "npmrc-auth",
            "npm registry credential",
            High,
            &["_authtoken", "_auth", "_password"],
            r#"(?m)(?:^|[:\s"'])_(?:authToken|auth|password)\s{0,2}=\s{0,2}["']?([A-Za-z0-9+/_=.-]{16,})"#,
        ),
        Rule::prefix(
            "pypi-token",
            "PyPI upload token",
            Critical,
            &["pypi-AgE"],
            r"pypi-AgE(?:IcHlwaS5vcmc|NdGVzdC5weXBpLm9yZw)[A-Za-z0-9_-]{50,1000}",
        ),
        Rule::prefix("rubygems-key", "RubyGems API key", Critical, &["rubygems_"], r"rubygems_[a-f0-9]{48}\b"),
        Rule::near(
            "crates-io-token",
            "crates.io token",
            Critical,
            &["token", "cargo"],
            r#"(?i)(?:token|cargo\w{0,20})["']?\s{0,3}[=:]\s{0,3}["']?(cio[A-Za-z0-9]{32})\b"#,
        )
        .sure(0.9),
        Rule::prefix("clojars-token", "Clojars deploy token", High, &["CLOJARS_"], r"CLOJARS_[a-z0-9]{60}\b"),
        Rule::prefix("nuget-key", "NuGet API key", High, &["oy2"], r"oy2[a-z0-9]{43}\b"),
        Rule::prefix(
            "docker-hub-token",
            "Docker Hub access token",
            Critical,
            &["dckr_pat_", "dckr_oat_"],
            r"dckr_[po]at_[A-Za-z0-9_-]{27,36}",
        ),
        Rule::near(
            "docker-config-auth",
            "Registry credential in a Docker config",
            High,
            &["\"auth\""],
            r#"(?i)"auth"\s*:\s*"([A-Za-z0-9+/]{12,}={0,2})""#,
        )
        .check(Check::UserColonPassword),
        Rule::prefix("artifactory-api-key", "Artifactory API key", High, &["AKCp"], r"AKCp[A-Za-z0-9]{10,80}\b"),
        Rule::prefix(
            "artifactory-reference-token",
            "Artifactory reference token",
            High,
            &["cmVmdGtu"],
            r"cmVmdGtu[A-Za-z0-9]{40,80}\b",
        ),
        Rule::prefix(
            "hugging-face-token",
            "Hugging Face token",
            Critical,
            &["hf_", "api_org_"],
            r"(?:hf|api_org)_[A-Za-z]{34}\b",
        ),
        Rule::prefix("buildkite-token", "Buildkite token", High, &["bkua_", "bkaj_"], r"bk(?:ua|aj)_[a-z0-9]{40}\b"),
        Rule::prefix(
            "circleci-token",
            "CircleCI token",
            High,
            &["CCIPAT_", "CCIPRJ_"],
            r"CCIP(?:AT|RJ)_[A-Za-z0-9]{22}_[a-f0-9]{40}\b",
        ),
        Rule::prefix("sonarqube-token", "SonarQube token", High, &["sqp_", "squ_", "sqa_"], r"sq[pua]_[a-f0-9]{40}\b"),
        Rule::prefix(
            "sourcegraph-token",
            "Sourcegraph access token",
            High,
            &["sgp_"],
            r"sgp_(?:[a-fA-F0-9]{16}_|local_)?[a-fA-F0-9]{40}\b",
        ),
        Rule::prefix("postman-key", "Postman API key", High, &["PMAK-"], r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}\b"),
        Rule::prefix(
            "linear-key",
            "Linear API key",
            High,
            &["lin_api_", "lin_oauth_"],
            r"lin_(?:api|oauth)_[A-Za-z0-9]{40,64}\b",
        ),
        Rule::prefix("notion-token", "Notion integration token", High, &["ntn_"], r"ntn_[0-9]{11}[A-Za-z0-9]{35}\b"),
        Rule::prefix("figma-token", "Figma token", High, &["figd_", "figo_"], r"fig[do]_[A-Za-z0-9_-]{40}"),
        Rule::prefix("prefect-key", "Prefect API key", High, &["pnu_", "pnb_"], r"pn[ub]_[A-Za-z0-9]{36}\b"),
        Rule::prefix("infracost-key", "Infracost API key", Medium, &["ico-"], r"ico-[A-Za-z0-9]{32}\b"),
        Rule::prefix("readme-key", "ReadMe API key", High, &["rdme_"], r"rdme_[a-z0-9]{70}\b"),
        Rule::prefix("contentful-token", "Contentful token", High, &["CFPAT-"], r"CFPAT-[A-Za-z0-9_-]{43}"),
        Rule::prefix(
            "airtable-token",
            "Airtable personal access token",
            High,
            &["pat"],
            r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}\b",
        ),
        Rule::prefix(
            "asana-token",
            "Asana personal access token",
            High,
            &["0/", "1/", "2/"],
            r"[012]/[0-9]{16}(?:/[0-9]{16})?:[a-f0-9]{32}\b",
        ),
        Rule::prefix("typeform-token", "Typeform token", High, &["tfp_"], r"tfp_[A-Za-z0-9_-]{40,60}"),
        Rule::prefix("adafruit-io-key", "Adafruit IO key", High, &["aio_"], r"aio_[A-Za-z0-9]{28}\b"),
        Rule::prefix(
            "launchdarkly-key",
            "LaunchDarkly key",
            High,
            &["sdk-", "api-"],
            r"(?:sdk|api)-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b",
        )
        .sure(0.7),
        // Language-model services
        Rule::prefix(
            "anthropic-key",
            "Anthropic API key",
            Critical,
            &["sk-ant-"],
            r"sk-ant-(?:api|admin|sid|oat|ort)[0-9]{2}-[A-Za-z0-9_-]{80,120}",
        ),
        Rule::near(
            "openai-key",
            "OpenAI API key",
            Critical,
            &["t3blbkfj"],
            r"\b(sk-[A-Za-z0-9_-]*[A-Za-z0-9_-]{20,}T3BlbkFJ[A-Za-z0-9_-]{20,})",
        )
        .sure(0.97),
        Rule::prefix(
            "openai-style-key",
            "API key of an OpenAI-compatible service",
            High,
            &["sk-proj-", "sk-svcacct-", "sk-admin-", "sk-or-v1-", "sk-lf-"],
            r"sk-(?:(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,}|or-v1-[0-9a-f]{64}|lf-[0-9a-f-]{36})",
        ),
        Rule::prefix("sk-key", "API key with the prefix sk-", Medium, &["sk-"], r"sk-[A-Za-z0-9]{32,64}\b")
            .check(Check::MixedCaseOrHex)
            .sure(0.7),
        Rule::prefix("groq-key", "Groq API key", High, &["gsk_"], r"gsk_[A-Za-z0-9]{52}\b"),
        Rule::prefix("xai-key", "xAI API key", High, &["xai-"], r"xai-[A-Za-z0-9]{70,90}\b"),
        Rule::prefix("replicate-token", "Replicate API token", High, &["r8_"], r"r8_[A-Za-z0-9]{37}\b"),
        Rule::prefix("perplexity-key", "Perplexity API key", High, &["pplx-"], r"pplx-[A-Za-z0-9]{48}\b"),
        Rule::prefix("nvidia-key", "NVIDIA API key", High, &["nvapi-"], r"nvapi-[A-Za-z0-9_-]{60,70}"),
        Rule::prefix(
            "langsmith-key",
            "LangSmith API key",
            High,
            &["lsv2_"],
            r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}\b",
        ),
        Rule::prefix(
            "pinecone-key",
            "Pinecone API key",
            High,
            &["pcsk_"],
            r"pcsk_[A-Za-z0-9]{5,6}_[A-Za-z0-9]{60,70}\b",
        ),
        Rule::near(
            "wandb-key",
            "Weights & Biases API key",
            High,
            &["wandb"],
            r#"(?i)wandb[\w.-]{0,20}key["']?\s{0,3}[=:]\s{0,3}["']?([0-9a-f]{40})\b"#,
        ),
    ]
}
