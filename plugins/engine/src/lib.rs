//! The workflow engine: QuickJS in a cell of its own, spoken to in batches.
//!
//! [`engine::Engine`] reads a script, runs it until it waits, and says what it asked for; its host answers and lets it
//! run on. A script has no files, network, clock or randomness: everything it can learn comes in through `args` and
//! through answers, so the same source, arguments and answers give the same requests.
//!
//! Everything here is plain Rust that tests natively. Only `component` knows that it becomes a WebAssembly component;
//! nothing else may name a host, a clock or a file.

#[cfg(target_arch = "wasm32")]
mod component;

pub mod bridge;
pub mod engine;
pub mod fault;
mod frames;
mod gate;
mod hints;
mod json;
mod literal;
mod merge;
mod meta;
mod options;
mod schema;
mod source;

#[cfg(test)]
mod tests;
