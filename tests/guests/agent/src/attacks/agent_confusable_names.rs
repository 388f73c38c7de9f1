//! Asks under names that look like a granted tool's to a person: other alphabets, other dots, invisible characters, blanks,
//! dots at the end. The wall: each is refused, and none is answered as if it were the tool.

use crate::{Outcome, told};
use serde_json::Value;

/// Spells `files.read` almost rightly.
pub fn attack(context: &Value) -> Outcome {
    let names = [
        "f\u{456}les.read", "files.re\u{430}d", "files\u{2024}read", "files\u{ff0e}read", "files\u{3002}read", "files.read ",
        " files.read", "files.read.", "files..read", ".files.read", "files.read\t", "files.read\n", "files.read\u{a0}",
        "files.\u{200b}read", "files.read\u{200d}", "\u{feff}files.read", "files.rea\u{64}\u{301}", "Files.read", "files.Read",
        "files.read\u{202e}", "\u{ff46}iles.read", "files/read", "files:read", "files.read?", "files.read#", "files.%72ead", "files",
        "", ".", "files.", ".read", "tool:files.read", "files.*", "*",
    ];
    Ok(told(&names.map(|name| (name, context.to_string()))))
}
