//! The roof: the command line, the wiring of the pillars behind the dispatcher, and what people read afterwards. No rule about
//! what may run lives here; that is the kernel's.
#![forbid(unsafe_code)]

pub mod approve;
pub mod catalog;
pub mod cli;
pub mod commands;
pub mod disk;
pub mod exit;
pub mod paths;
pub mod progress;
pub mod report;
pub mod terminal;
pub mod wiring;
