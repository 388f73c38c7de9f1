//! What `wit/` looks like from the host: generated, never written. The three worlds share one set of types.

#![allow(missing_docs, reason = "generated; the contract is documented in wit/")]

/// A plugin that offers tools.
pub(crate) mod tool {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "tool-plugin",
        imports: { default: trappable },
        exports: { default: async },
        with: { "vespiary:plugin/report.artifact-writer": crate::report::Writer },
    });
}

/// A plugin that is an agent.
pub(crate) mod agent {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "agent-plugin",
        imports: { default: trappable, "vespiary:plugin/dispatch.call": async | trappable },
        exports: { default: async },
        with: {
            "vespiary:plugin/types": crate::bindings::tool::vespiary::plugin::types,
            "vespiary:plugin/report": crate::bindings::tool::vespiary::plugin::report,
        },
    });
}

/// The workflow engine.
pub(crate) mod script {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "script-engine",
        imports: { default: trappable },
        exports: { default: async },
        with: { "vespiary:plugin/types": crate::bindings::tool::vespiary::plugin::types },
    });
}

pub(crate) use agent::vespiary::plugin::dispatch;
pub(crate) use tool::vespiary::plugin::{report, tree, types};
