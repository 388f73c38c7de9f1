//! Vespiary's ground floor: what may be done, by whom, within which limits, and the one door through which everything goes.
//! Pure decisions. No file, socket, database or WebAssembly engine is named here; the pillars bring those through `ports`.
#![forbid(unsafe_code)]

pub mod account;
pub mod admit;
pub mod call;
pub mod capability;
pub mod change;
pub mod dispatch;
pub mod event;
pub mod gate;
pub mod grant;
mod hex;
pub mod hidden;
pub mod host;
pub mod http;
pub mod ids;
pub mod json;
pub mod legible;
pub mod mcp;
pub mod model;
pub mod net;
pub mod observed;
pub mod path;
pub mod pattern;
pub mod plugin;
pub mod policy;
pub mod pool;
pub mod ports;
pub mod principal;
pub mod program;
pub mod quota;
pub mod reuse;
pub mod scope;
pub mod script;
pub mod sight;
pub mod worktree;
