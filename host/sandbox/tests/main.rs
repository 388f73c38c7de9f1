//! The sandbox as the dispatcher meets it, against guests written for the purpose: each shows one thing a guest may try.
#![allow(clippy::disallowed_methods, reason = "tests set the disk up")]

mod bundled;
mod cache;
mod compile;
mod contract;
mod guest;
mod nest;
mod script;
mod walls;
