//! The compiler process alone, for tests of this crate. It does what `vespiary __compile` does, and nothing else.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    vespiary_sandbox::enter_compiler(std::env::args_os().skip(1))
}
