//! The roof: the command line, the wiring of the pillars behind the dispatcher, and what people read afterwards. No rule about
//! what may run lives here; that is the kernel's.
#![forbid(unsafe_code)]

pub mod apply;
pub mod approve;
pub mod catalog;
pub mod cli;
pub mod commands;
pub mod decide;
pub mod detach;
pub mod disk;
pub mod entries;
pub mod examine;
pub mod exit;
pub mod foresee;
pub mod gates;
pub mod lint;
pub mod live;
pub mod mcp;
pub mod models;
pub mod paths;
pub mod policy;
pub mod progress;
pub mod report;
pub mod runners;
pub mod servers;
pub mod terminal;
pub mod wiring;
pub mod workflows;
