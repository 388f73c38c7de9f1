//! The generated bindings and the glue between them and plain Rust. What lives here: the two worlds, and the host's view of
//! a plugin. What must never live here: anything an author names; nothing of this module is documented or stable.
#![allow(unsafe_code, missing_docs, unreachable_pub, reason = "generated code crosses the border with raw pointers")]
#![allow(clippy::all)]

pub mod tool_world {
    wit_bindgen::generate!({
        path: "../wit",
        world: "vespiary:plugin/tool-plugin",
        export_macro_name: "export_tools",
        pub_export_macro: true,
    });
}

pub mod agent_world {
    wit_bindgen::generate!({
        path: "../wit",
        world: "vespiary:plugin/agent-plugin",
        export_macro_name: "export_agent",
        pub_export_macro: true,
        with: {
            "vespiary:plugin/types@0.1.0": super::tool_world::vespiary::plugin::types,
            "vespiary:plugin/report@0.1.0": super::tool_world::vespiary::plugin::report,
        },
    });
}

pub use agent_world::export_agent;
pub use tool_world::export_tools;
