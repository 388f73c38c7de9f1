//! Scans folders natively, for development: one JSON object a finding on standard output, a summary on standard error.
//!
//! `cargo run -p vespiary-plugin-secrets --example scan -- FOLDER...` This is the scanner and the second look alone, without cells
//! and grants; the agent never reads files like this.
#![allow(clippy::disallowed_methods, reason = "a development program that reads folders")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;
use vespiary_plugin_secrets::{Claim, Finding, Refutation, refute_text, scan_text};

/// One line of output.
#[derive(serde::Serialize)]
struct Line {
    #[serde(flatten)]
    finding: Finding,
    second_look: Refutation,
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for folder in std::env::args_os().skip(1).map(PathBuf::from) {
        let mut files = Vec::new();
        walk(&folder, &mut files)?;
        files.sort();
        let (mut bytes, mut binary, mut findings) = (0, 0, 0);
        let started = Instant::now();
        for file in &files {
            let content = std::fs::read(file)?;
            if content[..content.len().min(8192)].contains(&0) {
                binary += 1;
                continue;
            }
            bytes += content.len();
            let path = file.strip_prefix(&folder).unwrap_or(file).to_string_lossy().replace('\\', "/");
            let text = String::from_utf8_lossy(&content);
            for finding in scan_text(&path, &text) {
                findings += 1;
                let fingerprint = Some(finding.fingerprint.clone());
                let claim = Claim { rule: finding.rule.clone(), path: path.clone(), line: finding.line, fingerprint };
                let second_look = refute_text(&claim, &text, 1);
                serde_json::to_writer(&mut out, &Line { finding, second_look })?;
                out.write_all(b"\n")?;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        eprintln!(
            "{}: {} files, {binary} binary, {bytes} bytes, {findings} findings, {seconds:.2} s",
            folder.display(),
            files.len()
        );
    }
    out.flush()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}
