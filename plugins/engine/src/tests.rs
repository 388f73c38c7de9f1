//! The dialect, as scripts see it: every rule of `docs/workflows.md` has a script here.

mod attacks;
mod dialect;
mod errors;
mod host;
mod panels;
mod values;
