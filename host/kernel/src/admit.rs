//! The receipt. An `Admitted` is proof that a call was recorded, judged and given a place; a runner takes nothing else. Its
//! constructor is private to this crate and used in `dispatch` alone, so no other code can make one.

use crate::account::Account;
use crate::dispatch::Nested;
use crate::ids::{AgentId, CallId, RunId};
use crate::json::Json;
use crate::plugin::Plugin;
use crate::pool::Lease;
use crate::principal::{Isolation, Principal};
use crate::quota::Quota;
use crate::scope::Scope;
use std::path::Path;
use std::sync::Arc;

/// A call that may run: once, with this scope and nothing else.
///
/// Reading one is open to every runner:
///
/// ```
/// use vespiary_kernel::{admit::Admitted, scope::Scope};
/// fn scope(admitted: &Admitted) -> &Scope { admitted.scope() }
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
/// use vespiary_kernel::{admit::Admitted, scope::Scope};
/// fn widen(admitted: Admitted, scope: Scope) -> Admitted { Admitted { scope, ..admitted } }
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
    who: Principal,
    plugin: Arc<Plugin>,
    local: Box<str>,
    arguments: Json,
    scope: Scope,
    quota: Quota,
    account: Arc<Account>,
    lease: Lease,
    nested: Option<Nested>,
}

/// What a receipt is made of.
pub(crate) struct Parts<'a> {
    pub(crate) call: CallId,
    pub(crate) who: &'a Principal,
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) local: &'a str,
    pub(crate) arguments: Json,
    pub(crate) scope: Scope,
    pub(crate) quota: Quota,
    pub(crate) account: Arc<Account>,
    pub(crate) lease: Lease,
    /// The door through which an agent plugin asks for tools.
    pub(crate) nested: Option<Nested>,
}

impl Admitted {
    /// Sealed by the dispatcher.
    pub(crate) fn seal(parts: Parts<'_>) -> Self {
        let Parts { call, who, plugin, local, arguments, scope, quota, account, lease, nested } = parts;
        Self { call, who: who.clone(), plugin, local: local.into(), arguments, scope, quota, account, lease, nested }
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
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The project directory on the host.
    pub fn root(&self) -> &Path {
        self.who.run().root()
    }

    /// The run.
    pub fn run(&self) -> &RunId {
        self.who.run().id()
    }

    /// Which agent asked.
    pub fn agent(&self) -> AgentId {
        self.who.agent()
    }

    /// Where its writes go.
    pub fn isolation(&self) -> Isolation {
        self.who.isolation()
    }

    /// The limits, as policy leaves them.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// What the call uses of what it, its agent and its run may use.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Take the receipt apart for running: the lease lives as long as the cell, the door goes into it.
    pub fn into_holds(self) -> (Lease, Option<Nested>) {
        (self.lease, self.nested)
    }
}
