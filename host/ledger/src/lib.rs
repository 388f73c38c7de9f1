//! The record of every run: append-only, hash-chained, in one SQLite file. The only crate that names SQLite.
//!
//! `Ledger` writes (and is the kernel's `Log`), `Reader` reads, also while another process writes. Nothing here judges a
//! call or gives an event a meaning beyond what its summary counts.
//!
//! | file | holds |
//! |---|---|
//! | `chain` | the canonical bytes that are hashed |
//! | `succession` | which run stands before which |
//! | `store` | opening a file: owner-only, the right schema, errors with remedies |
//! | `queue` | what callers hand to the writer, and who waits for it |
//! | `writer` | the thread that turns a group of events into one transaction |
//! | `feed` | what is written, handed on within the process |
//! | `ledger` | the handle that ties these together |
//! | `lineage` | which run goes on from which, and which were over the same project |
//! | `recall` | what earlier runs came to, for one that goes on from them |
//! | `reader`, `verify` | queries, and the proof that nothing was changed |
//! | `bundle` | one run as one file, written and checked |
#![forbid(unsafe_code)]

pub mod bundle;
mod chain;
pub mod feed;
pub mod ledger;
pub mod lineage;
mod queue;
pub mod reader;
pub mod recall;
pub mod store;
mod succession;
pub mod verify;
mod writer;

#[cfg(test)]
mod tests;
