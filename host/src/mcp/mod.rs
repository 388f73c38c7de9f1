//! The MCP server: one more door to the dispatcher, for the assistant a person already has. A client's words become calls, runs
//! and questions here; what may run is decided where it always is. Nothing that a client can send widens a grant, and what
//! only a person may decide goes to the person: through the client where it can ask, and otherwise to a terminal.
//!
//! `nest` is what all clients share, `door` speaks the protocol with one of them, `visit` is a client's own run in the record.
//! `offers` says which tools there are, `own` what the tools of the server itself take and do, `told` what clients read of them.
//! `launch` starts runs, `account` tells of them, `shown` serves them as resources. `voice` carries questions and progress, `form`
//! and `results` are how both sides read them. `streams` are those of a client on this machine; `http` and `bearer` guard the
//! network, and `install` knows the settings of clients.

pub mod account;
pub mod bearer;
pub mod door;
mod form;
pub mod http;
pub mod install;
pub mod launch;
pub mod nest;
pub mod offers;
pub mod own;
pub mod quick;
mod results;
pub mod shown;
pub mod streams;
mod told;
pub mod visit;
pub mod voice;
