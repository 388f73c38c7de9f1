//! The receipt. An `Admitted` is proof that a call was recorded, judged and given a place; a runner takes nothing else. Its
//! constructor is private to this crate and used in `dispatch` alone, so no other code can make one.

use crate::dispatch::Nested;
use crate::grant::Grant;
use crate::ids::CallId;
use crate::json::Json;
use crate::plugin::Plugin;
use crate::quota::{Lease, Quota};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A call that may run: once, with this scope and nothing else.
///
/// Reading one is open to every runner:
///
/// ```
/// use vespiary_kernel::{admit::Admitted, grant::Grant};
/// fn scope(admitted: &Admitted) -> &Grant { admitted.scope() }
/// ```
///
/// Making one is not: neither by the constructor,
///
/// ```compile_fail,E0624
/// let forge = vespiary_kernel::admit::Admitted::seal;
/// ```
///
/// nor by naming its fields,
///
/// ```compile_fail,E0451
/// use vespiary_kernel::{admit::Admitted, grant::Grant};
/// fn widen(admitted: Admitted, scope: Grant) -> Admitted { Admitted { scope, ..admitted } }
/// ```
///
/// nor by copying one, which would let one permission pay for two calls.
///
/// ```compile_fail,E0599
/// use vespiary_kernel::admit::Admitted;
/// fn twice(admitted: Admitted) -> (Admitted, Admitted) { (admitted.clone(), admitted) }
/// ```
#[derive(Debug)]
pub struct Admitted {
    call: CallId,
    plugin: Arc<Plugin>,
    local: Box<str>,
    arguments: Json,
    scope: Grant,
    root: PathBuf,
    lease: Lease,
    nested: Option<Nested>,
}

impl Admitted {
    /// Sealed by the dispatcher. `nested` is the door through which an agent plugin asks for tools.
    #[allow(clippy::too_many_arguments, reason = "a receipt lists all it was given; a builder could be left half full")]
    pub(crate) fn seal(
        call: CallId,
        plugin: Arc<Plugin>,
        local: &str,
        arguments: Json,
        scope: Grant,
        root: &Path,
        lease: Lease,
        nested: Option<Nested>,
    ) -> Self {
        Self { call, plugin, local: local.into(), arguments, scope, root: root.into(), lease, nested }
    }

    /// The call's number in its run.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// The plugin to run.
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// The name of the tool inside the plugin.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The arguments.
    pub fn arguments(&self) -> &Json {
        &self.arguments
    }

    /// What the cell may hold.
    pub fn scope(&self) -> &Grant {
        &self.scope
    }

    /// The project directory on the host.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The limits.
    pub fn quota(&self) -> &Quota {
        &self.plugin.quota
    }

    /// Take the receipt apart for running: the lease lives as long as the cell, the door goes into it.
    pub fn into_holds(self) -> (Lease, Option<Nested>) {
        (self.lease, self.nested)
    }
}
