//! `cargo xtask`: chores of this repository. What lives here: the command line. What must never live here: anything that
//! ships; the host never needs this crate.

mod component;
mod guest;
mod record;
mod task;
mod toolchain;

use clap::{Args, Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of this repository")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Build the guests: compile, make components, snapshot, record digests.
    Guests(Guests),
}

#[derive(Args)]
struct Guests {
    /// Change nothing: build anew, compare with what is recorded, leave the fresh components in target/guests/fresh.
    #[arg(long)]
    check: bool,
    /// Only these guests, by folder name.
    #[arg(long, num_args = 1.., value_name = "NAME")]
    only: Vec<String>,
}

fn main() -> ExitCode {
    let Cli { chore: Chore::Guests(Guests { check, only }) } = Cli::parse();
    let done = if check { task::check(&only) } else { task::build(&only) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
