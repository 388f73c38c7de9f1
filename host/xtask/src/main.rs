//! `cargo xtask`: chores of this repository. What lives here: the command line. What must never live here: anything that
//! ships; the host never needs this crate.

mod component;
mod fuzz;
mod guest;
mod instrument;
mod record;
mod task;
mod toolchain;

use clap::{Args, Parser, Subcommand};
use std::process::ExitCode;
use std::time::Duration;

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
    /// Build the fuzz targets of tests/fuzz, and run each for a while.
    Fuzz(Fuzz),
}

#[derive(Args)]
struct Fuzz {
    /// How long each target runs, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only these targets.
    #[arg(long, num_args = 1.., value_name = "NAME")]
    only: Vec<String>,
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
    if let Some(line) = instrument::called() {
        return instrument::compile(&line);
    }
    let done = match Cli::parse().chore {
        Chore::Guests(Guests { check: true, only }) => task::check(&only),
        Chore::Guests(Guests { check: false, only }) => task::build(&only),
        Chore::Fuzz(Fuzz { seconds, only }) => fuzz::fuzz(Duration::from_secs(seconds), &only),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
