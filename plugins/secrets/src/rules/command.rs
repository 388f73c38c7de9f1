//! Passwords given to programs on their command lines. Options whose names tell, such as `--password`, are read as names with values.

use super::Rule;
use crate::checks::Check;
use crate::finding::Severity::High;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        // Up to the option everything is on the same command: no pipe, no `;`, no `&&`. `-p` of MySQL has its value attached.
        Rule::near(
            "command-line-password",
            "Password on a command line",
            High,
            &["curl", "mysql", "mariadb", "sshpass", "redis-cli", "docker login", "podman login", "ldap"],
            concat!(
                r#"\b(?:curl\s(?:[^\n|;&]*?\s)?(?:-[a-zA-Z]{0,4}u\s{0,4}|--user(?:\s{1,4}|=))["']?[^\s:"'`$<{]{1,64}:"#,
                r#"|(?:mysql(?:dump|admin|import|show|check|pump|binlog|sh)?|mariadb(?:-dump|-admin)?)\s(?:[^\n|;&]*?\s)?-p["']?"#,
                r#"|sshpass\s{1,4}-p\s{0,4}["']?"#,
                r#"|redis-cli\s(?:[^\n|;&]*?\s)?-a\s{1,4}["']?"#,
                r#"|(?:docker|podman)\slogin\s(?:[^\n|;&]*?\s)?-p\s{1,4}["']?"#,
                r#"|ldap(?:search|modify|add|delete|passwd|whoami)\s(?:[^\n|;&]*?\s)?-w\s{1,4}["']?)"#,
                r#"([^\s"'`<>|;]{4,128})"#,
            ),
        )
        .check(Check::Password),
    ]
}
