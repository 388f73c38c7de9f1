//! Who decides gates. A port: the roof knows the terminal and where decisions are left, the fleet only that there is a person, or
//! nobody. No script, agent or tool can reach an implementation: it is asked by the driver alone, and answers with what a person
//! said.

use std::fmt;
use vespiary_kernel::gate::{Decision, Matter};
use vespiary_kernel::ids::Digest;
use vespiary_kernel::ports::BoxFuture;

/// Brings matters before a person.
pub trait Gatekeeper: fmt::Debug + Send + Sync {
    /// Why no decision could be trusted in this run, where that is so: then no gate is opened.
    fn distrusts(&self) -> Option<String>;

    /// What was decided earlier, in the runs that this one goes on from. Quick.
    fn decided(&self, gate: &Digest) -> Option<Decision>;

    /// What somebody elsewhere has decided about a gate of this run. Asked again and again; quick.
    fn left(&self, gate: &Digest) -> Option<Decision>;

    /// Ask whoever sits at this run. None: nobody does, or nobody does any more. Dropping the future takes the question back.
    fn ask<'a>(&'a self, matter: &'a Matter) -> BoxFuture<'a, Option<Decision>>;
}
