//! Write a Vespiary plugin: a tool is a function with a typed argument struct. Schemas and bindings are generated, and the
//! same crate builds natively, so a tool is unit-tested as any function is.
//!
//! ```
//! use vespiary_sdk::prelude::*;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct CountArgs {
//!     /// The file to count, relative to the project.
//!     path: String,
//! }
//!
//! #[derive(Serialize, JsonSchema)]
//! struct Count {
//!     lines: usize,
//! }
//!
//! /// Counts the lines of a text file.
//! #[tool]
//! fn count(args: CountArgs) -> Result<Count> {
//!     Ok(Count { lines: vespiary_sdk::fs::read_to_string(&args.path)?.lines().count() })
//! }
//!
//! vespiary_sdk::tool_plugin!(count);
//! # fn main() {}
//! ```
//!
//! A call meets a fresh cell: nothing survives from an earlier one, and the only files there are those the caller granted.
//! [`fs`] reads and writes them, [`report`] logs, shows progress and hands over large results, [`dispatch`] is how an agent
//! calls tools.
//!
//! What lives here: what plugin authors import. What must never live here: generated bindings in a public signature.

extern crate self as vespiary_sdk;

pub mod agent;
pub mod dispatch;
pub mod fs;
#[cfg(feature = "http")]
pub mod http;
pub mod report;
pub mod tool;
#[cfg(feature = "walk")]
pub mod walk;

mod error;
mod schema;
mod sys;

#[cfg(target_family = "wasm")]
mod bindings;

pub use agent::Task;
pub use error::{Denial, Error, LimitHit, Result};
pub use vespiary_sdk_macros::{agent, tool};

/// What nearly every plugin imports.
pub mod prelude {
    pub use crate::{Error, Result, Task, agent, tool};
    /// In scope because `#[derive(JsonSchema)]` names it.
    pub use schemars::{self, JsonSchema};
    pub use serde::{Deserialize, Serialize};
}

/// Makes this crate a tool plugin that offers the `#[tool]` functions named. Once a crate.
#[macro_export]
macro_rules! tool_plugin {
    ($($tool:path),+ $(,)?) => {
        #[doc(hidden)]
        #[allow(unused, missing_docs, unreachable_pub)]
        pub struct VespiaryToolPlugin;

        impl $crate::__private::ToolPlugin for VespiaryToolPlugin {
            const TOOLS: &'static [$crate::tool::Entry] = &[$(<$tool as $crate::tool::Tool>::ENTRY),+];
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::export_tools!(VespiaryToolPlugin with_types_in $crate::__private::tool_world);
    };
}

/// Makes this crate an agent plugin: the `#[agent]` function named. Once a crate.
#[macro_export]
macro_rules! agent_plugin {
    ($agent:path $(,)?) => {
        #[doc(hidden)]
        #[allow(unused, missing_docs, unreachable_pub)]
        pub struct VespiaryAgentPlugin;

        impl $crate::__private::AgentPlugin for VespiaryAgentPlugin {
            const AGENT: $crate::agent::Entry = <$agent as $crate::agent::Agent>::ENTRY;
        }

        #[cfg(target_family = "wasm")]
        $crate::__private::export_agent!(VespiaryAgentPlugin with_types_in $crate::__private::agent_world);
    };
}

#[doc(hidden)]
#[allow(missing_docs)]
pub mod __private {
    pub use crate::agent::{describe_agent, run};
    pub use crate::tool::{NoArguments, call, describe, dispatch};

    #[cfg(target_family = "wasm")]
    pub use crate::bindings::{agent_world, export_agent, export_tools, tool_world};

    /// Implemented by `tool_plugin!`.
    pub trait ToolPlugin {
        const TOOLS: &'static [crate::tool::Entry];
    }

    /// Implemented by `agent_plugin!`.
    pub trait AgentPlugin {
        const AGENT: crate::agent::Entry;
    }
}
