//! Who runs what was admitted: components in the sandbox, host programs in their own walls, models by
//! their provider, tools of MCP servers by those who speak for them. The receipt says which it is.

use std::path::Path;
use std::sync::Arc;
use vespiary_fleet::model::Models;
use vespiary_kernel::admit::Admitted;
use vespiary_kernel::call::{Failure, Outcome};
use vespiary_kernel::change::ChangeSet;
use vespiary_kernel::observed::Observation;
use vespiary_kernel::plugin::Kind;
use vespiary_kernel::ports::{BoxFuture, Runner, ScriptCell};
use vespiary_kernel::scope::Scope;
use vespiary_mcp::Servers;
use vespiary_programs::Programs;
use vespiary_sandbox::Sandbox;

/// The sandbox, and beside it the programs of this machine, whoever answers for models, and MCP servers.
#[derive(Debug)]
pub struct Runners {
    sandbox: Arc<Sandbox>,
    programs: Programs,
    models: Option<Models>,
    servers: Option<Servers>,
}

impl Runners {
    /// All of them, and what asks models and MCP servers where there are any.
    pub fn new(sandbox: Arc<Sandbox>, programs: Programs, models: Option<Models>, servers: Option<Servers>) -> Self {
        Self { sandbox, programs, models, servers }
    }
}

impl Runner for Runners {
    fn run(&self, admitted: Admitted) -> BoxFuture<'_, Outcome> {
        match admitted.plugin().kind {
            Kind::Program => self.programs.run(admitted),
            Kind::Mcp => match &self.servers {
                Some(servers) => servers.run(admitted),
                None => {
                    let why = "MCP servers are not called from here".into();
                    Box::pin(std::future::ready(Outcome::refused(Failure::Unrunnable(why))))
                }
            },
            Kind::Model => match &self.models {
                Some(models) => models.run(admitted),
                None => {
                    let why = "no provider of models is in use; start the run with --provider".into();
                    Box::pin(std::future::ready(Outcome::refused(Failure::Unrunnable(why))))
                }
            },
            Kind::Tools | Kind::Agent | Kind::Engine => self.sandbox.run(admitted),
        }
    }

    fn unchanged(&self, root: &Path, scope: &Scope, seen: &[&Observation]) -> bool {
        self.sandbox.unchanged(root, scope, seen)
    }

    fn is_base(&self, root: &Path, changes: &ChangeSet) -> bool {
        self.sandbox.is_base(root, changes)
    }

    fn open_script(&self, admitted: Admitted) -> BoxFuture<'_, Result<Box<dyn ScriptCell>, Outcome>> {
        self.sandbox.open_script(admitted)
    }
}
