//! The compiler as cargo calls it for the fuzz targets: what is compiled reports to libFuzzer where it has been. What must never
//! live here: what is built, or run.
#![allow(clippy::disallowed_methods, reason = "becomes the compiler")]

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// Set where this program is called in the compiler's place.
const CALLED: &str = "VESPIARY_INSTRUMENT";

/// Reports of every edge and comparison; optimized, and every check on: an overflow is a finding.
const INSTRUMENTED: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Copt-level=2",
    "-Cdebug-assertions=on",
    "-Coverflow-checks=on",
];

/// Let `cargo` compile the crates of this workspace through this program, and so with instrumentation. All others are taken as
/// the tests have them.
pub(crate) fn instrumented(cargo: &mut Command) -> std::io::Result<&mut Command> {
    Ok(cargo.env("RUSTC_WORKSPACE_WRAPPER", std::env::current_exe()?).env(CALLED, "1"))
}

/// The compiler's command line, where this program is called in its place.
pub(crate) fn called() -> Option<Vec<OsString>> {
    std::env::var_os(CALLED)?;
    Some(std::env::args_os().skip(1).collect())
}

/// Be the compiler that stands first in `line`.
pub(crate) fn compile(line: &[OsString]) -> ExitCode {
    let Some((rustc, given)) = line.split_first() else {
        eprintln!("error: {CALLED} is set, and there is no compiler to call. Unset it to use `cargo xtask`.");
        return ExitCode::FAILURE;
    };
    let mut compiler = Command::new(rustc);
    compiler.args(given).env_remove(CALLED);
    if reports(given) {
        compiler.args(INSTRUMENTED);
    }
    let error = compiler.exec();
    eprintln!("error: cannot run {}: {error}", rustc.display());
    ExitCode::FAILURE
}

/// Build scripts and macros run while others are compiled, where nobody listens; they would not link. Neither is a crate where
/// cargo asks for the compiler's version.
fn reports(given: &[OsString]) -> bool {
    let after = |name: &str| {
        given.iter().zip(given.iter().skip(1)).find(|(word, _)| *word == name).map(|(_, value)| value.as_os_str())
    };
    let crate_name = after("--crate-name").unwrap_or_default();
    let helps = crate_name == "build_script_build" || after("--crate-type") == Some(OsStr::new("proc-macro"));
    !crate_name.is_empty() && crate_name != "___" && !helps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(line: &str) -> bool {
        reports(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn libraries_and_programs_report_and_what_compiles_them_does_not() {
        assert!(reported("--crate-name vespiary --edition=2024 src/lib.rs --crate-type lib"));
        assert!(reported("--crate-name policy --edition=2024 targets/policy.rs --crate-type bin"));
        assert!(reported("--crate-name vespiary_engine src/lib.rs --crate-type cdylib --crate-type rlib"));
        assert!(!reported("--crate-name build_script_build build.rs --crate-type bin"));
        assert!(!reported("--crate-name vespiary_sdk_macros src/lib.rs --crate-type proc-macro"));
        assert!(!reported("- --crate-name ___ --print=file-names --crate-type bin --crate-type proc-macro"));
        assert!(!reported("-vV"));
    }
}
