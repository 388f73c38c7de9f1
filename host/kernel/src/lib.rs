//! Vespiary's ground floor: what may be done, by whom, within which limits, and the one door through which everything goes.
//! Pure decisions. No file, socket, database or WebAssembly engine is named here; the pillars bring those through `ports`.
#![forbid(unsafe_code)]

pub mod admit;
pub mod call;
pub mod capability;
pub mod dispatch;
pub mod event;
pub mod grant;
pub mod ids;
pub mod json;
pub mod plugin;
pub mod policy;
pub mod ports;
pub mod principal;
pub mod quota;
pub mod script;
