//! The fleet: workflow scripts, and the agents they fan out. This is the only crate that knows what a script may ask for;
//! it knows the engine by its protocol (`kernel::script`) and every call by the dispatcher's door. No engine, no database
//! and no WebAssembly is named here.
#![forbid(unsafe_code)]

pub mod changes;
pub mod drive;
pub mod excerpt;
pub mod gatekeeper;
pub mod gates;
pub mod library;
pub mod model;
pub mod options;
pub mod provider;
pub mod shape;
pub mod stop;
pub mod watch;

mod activity;
mod breaker;
mod brief;
mod deps;
mod jobs;
mod lanes;
mod nested;
mod pending;
mod phases;
mod session;
mod tally;
#[cfg(test)]
mod tests;
