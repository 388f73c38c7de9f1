//! The launcher alone, for tests of this crate. It does what `vespiary __confine` does, and nothing else.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    vespiary_programs::enter(std::env::args_os().skip(1))
}
