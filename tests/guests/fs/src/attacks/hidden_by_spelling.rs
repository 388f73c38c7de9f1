//! Writes hidden names with dots, slashes and detours. The wall: judged in canonical form.

use crate::siege::Siege;
use vespiary_sdk::{Result, tool};

/// Writes hidden names with dots, slashes and detours.
#[tool]
pub fn hidden_by_spelling() -> Result<String> {
    let mut siege = Siege::begin()?;
    for path in ["./.env", ".//.env", ".env/", ".env/.", "sub/../.env", "./sub/.././.env", "sub/./../.git/./config", ".git//config", "link-to-sub/../.env"] {
        siege.reads(path);
        siege.writes(path);
    }
    siege.end()
}
