//! Every test that needs more than one crate: the laws of the house (`tidy`), attacks (`hostile`), and the program as its
//! users run it (`cli`). One binary, so that it links once.
#![allow(missing_docs, unreachable_pub, reason = "a test binary has no readers of its interface")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests set the world up and look at it")]

mod cli;
mod hostile;
mod tidy;
