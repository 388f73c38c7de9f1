//! The entries that are not for people: by them the program starts itself again, to confine a host program or to compile a
//! component. Only a program that has been through here has them, and is started by them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;

/// This program, once it is known to have the entries. Benches and tests that embed the library do not.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Do what `args` of the whole program ask for, if it is one of these entries. To be called first of all: a process that
/// leaves its namespaces must have no other thread and no open file.
pub fn enter(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let args: Vec<_> = args.into_iter().skip(1).collect();
    match args.first().and_then(|first| first.to_str()) {
        Some(vespiary_programs::ENTRY) => Some(vespiary_programs::enter(args)),
        Some(vespiary_sandbox::COMPILER_ENTRY) => Some(vespiary_sandbox::enter_compiler(args)),
        _ => {
            if let Ok(program) = std::env::current_exe() {
                PROGRAM.get_or_init(|| program);
            }
            None
        }
    }
}

/// The executable to start for them, if this program has them.
pub(crate) fn program() -> Option<PathBuf> {
    PROGRAM.get().cloned()
}
