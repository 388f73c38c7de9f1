//! Writes the secrets that the tests plant into a folder, one a file, to compare scanners on them.
//!
//! `cargo run -p vespiary-plugin-secrets --example plant -- FOLDER`
#![allow(clippy::disallowed_methods, reason = "a development program that writes a folder")]

use std::path::PathBuf;

#[path = "../src/scan/planted.rs"]
mod planted;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| std::io::Error::other("say which folder to write: plant FOLDER"))?;
    for (index, (rule, path, text)) in planted::planted().into_iter().enumerate() {
        let place = folder.join(format!("{index:02}-{rule}"));
        std::fs::create_dir_all(&place)?;
        std::fs::write(place.join(path), text + "\n")?;
    }
    Ok(())
}
