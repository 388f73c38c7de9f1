//! The program. Everything it does is in the library beside it, so that benches and tests reach the same code.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    match vespiary::entries::enter(std::env::args_os()) {
        Some(ended) => ended,
        None => vespiary::commands::main(std::env::args_os()),
    }
}
