//! What a cell is given. The only file that reads a receipt (`Admitted`) and turns it into imports: linked functions, open
//! directories, the door of an agent. Whatever is not named here does not exist inside a cell.

use crate::bindings::{dispatch, report, tree, types};
use crate::cell::{Cell, Door, Senses};
use crate::fs::overlay::Overlay;
use crate::fs::seen::{Recording, Seen};
use crate::fs::{Files, Granted};
use crate::http::{self, Http, Way};
use crate::known::Known;
use crate::scope::Scopes;
use crate::worktrees::Layers;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use vespiary_kernel::account::Account;
use vespiary_kernel::admit::Admitted;
use vespiary_kernel::call::{Ending, Failure};
use vespiary_kernel::capability::Capability;
use vespiary_kernel::http::{Egress, NetPass};
use vespiary_kernel::plugin::{Kind, Plugin};
use vespiary_kernel::pool::Lease;
use vespiary_kernel::principal::Isolation;
use vespiary_kernel::quota::Quota;
use vespiary_kernel::scope::Scope;
use wasmtime::Engine;
use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::p2::bindings::sync::filesystem::types as filesystem;
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem::preopens, io, random};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};

/// The interfaces every kind of guest may import. Clocks and randomness say nothing about this machine but the time;
/// standard streams end in the call's own log; the filesystem holds what was granted, or nothing.
const WASI: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// What sort of guest it is, as far as its imports go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sort {
    pub(crate) kind: Kind,
    /// Whether it declared that it wants to reach the network.
    pub(crate) net: bool,
}

impl Sort {
    pub(crate) fn of(plugin: &Plugin) -> Self {
        let net = plugin.needs.iter().any(|need| matches!(need.capability, Capability::Net(_)));
        // What an agent reaches, its tools reach for it, each under its own name in the record.
        Self { kind: plugin.kind, net: net && plugin.kind == Kind::Tools }
    }
}

/// The linked functions, one set a sort of guest.
pub(crate) struct Imports {
    tools: Linker<Cell>,
    net_tools: Linker<Cell>,
    agents: Linker<Cell>,
    engine: Linker<Cell>,
    scopes: Scopes,
    egress: Option<Arc<dyn Egress>>,
    variables: Arc<BTreeMap<String, String>>,
    layers: Option<Arc<Layers>>,
    known: Option<Arc<Known>>,
}

impl Imports {
    pub(crate) fn new(
        engine: &Engine,
        egress: Option<Arc<dyn Egress>>,
        variables: Arc<BTreeMap<String, String>>,
        layers: Option<Arc<Layers>>,
        known: Option<Arc<Known>>,
    ) -> wasmtime::Result<Self> {
        let mut bare = Linker::new(engine);
        link_wasi(&mut bare)?;
        let mut tools = bare.clone();
        types::add_to_linker::<Cell, HasSelf<Cell>>(&mut tools, |cell| cell)?;
        report::add_to_linker::<Cell, HasSelf<Cell>>(&mut tools, |cell| cell)?;
        let mut agents = tools.clone();
        tree::add_to_linker::<Cell, HasSelf<Cell>>(&mut tools, |cell| cell)?;
        let mut net_tools = tools.clone();
        http::link(&mut net_tools)?;
        dispatch::add_to_linker::<Cell, HasSelf<Cell>>(&mut agents, |cell| cell)?;
        let scopes = Scopes::default();
        Ok(Self { tools, net_tools, agents, engine: bare, scopes, egress, variables, layers, known })
    }

    /// The functions a guest of this sort can be linked with.
    pub(crate) fn linker(&self, sort: Sort) -> &Linker<Cell> {
        match sort.kind {
            Kind::Tools if sort.net => &self.net_tools,
            Kind::Tools => &self.tools,
            Kind::Agent => &self.agents,
            // What is part of the host is no component, so nothing is ever linked for it.
            Kind::Engine | Kind::Program | Kind::Model | Kind::Mcp => &self.engine,
        }
    }

    /// Whether a guest of this sort may import the interface `name`, whatever its version.
    pub(crate) fn offers(Sort { kind, net }: Sort, name: &str) -> bool {
        let interface = name.split_once('@').map_or(name, |(interface, _)| interface);
        WASI.contains(&interface)
            || (net && http::INTERFACES.contains(&interface))
            || match interface {
                "vespiary:plugin/types" => true,
                "vespiary:plugin/report" => kind != Kind::Engine,
                "vespiary:plugin/tree" => kind == Kind::Tools,
                "vespiary:plugin/dispatch" => kind == Kind::Agent,
                _ => false,
            }
    }

    /// What a call under `scope` can reach in the project at `root`.
    pub(crate) fn reach(&self, root: &Path, scope: &Scope) -> Result<Arc<Granted>, Failure> {
        self.scopes.open(root, scope)
    }

    /// The cell of one tool call: the scope's directories and variables, its way to the network, and nothing else.
    pub(crate) fn of_tool(&self, admitted: &Admitted) -> Result<Cell, Failure> {
        let granted = match admitted.isolation() {
            Isolation::Shared => self.scopes.open(admitted.root(), admitted.scope())?,
            Isolation::Worktree => {
                let layer = self.layer(admitted)?;
                Scopes::open_above(admitted.root(), admitted.scope(), &layer)?
            }
        };
        let mut cell = self.cell(Kind::Tools, admitted, granted);
        let granted = admitted.scope().variables().filter_map(|name| self.variables.get_key_value(name));
        cell.variables = granted.map(|(name, value)| (name.clone(), value.clone())).collect();
        cell.http = self.way(admitted).map(|way| Box::new(Http::new(Some(way), cell.report.network())));
        Ok(cell)
    }

    /// The layer of an isolated agent. Without a place for it nothing runs: the project itself is not the agent's to change.
    fn layer(&self, admitted: &Admitted) -> Result<Overlay, Failure> {
        let layers = self.layers.as_deref().ok_or_else(|| {
            Failure::Host("this host keeps no worktrees, so an isolated agent has nowhere to write".into())
        })?;
        layers
            .of(admitted.run(), admitted.agent(), admitted.root())
            .map_err(|error| Failure::Host(format!("the worktree of {} cannot be made: {error}", admitted.agent())))
    }

    /// The cell of an agent: a door to its tools, and no directory, though its grant may name some: those are for its tools.
    pub(crate) fn of_agent(&self, admitted: Admitted) -> Cell {
        let mut cell = self.cell(Kind::Agent, &admitted, Arc::default());
        let (lease, nested) = admitted.into_holds();
        cell.door = nested.map(|nested| Door { nested, lease });
        cell
    }

    /// The cell of a script: nothing but its limits. The lease is the caller's to park between steps.
    pub(crate) fn of_script(&self, admitted: Admitted) -> (Cell, Lease) {
        let cell = self.cell(Kind::Engine, &admitted, Arc::default());
        (cell, admitted.into_holds().0)
    }

    /// A cell that holds nothing, for asking a component what it is.
    pub(crate) fn of_nobody(&self, kind: Kind, quota: &Quota) -> Cell {
        let account = Account::alone(quota);
        let files = Files::new(Arc::default(), &account, quota, Seen::new(Recording::Off, None));
        Cell::empty(quota, account, Senses::of(kind), files)
    }

    fn way(&self, admitted: &Admitted) -> Option<Way> {
        let egress = Arc::clone(self.egress.as_ref()?);
        NetPass::of(admitted).map(|pass| Way { egress, pass: Arc::new(pass) })
    }

    fn cell(&self, kind: Kind, admitted: &Admitted, granted: Arc<Granted>) -> Cell {
        let (quota, account) = (admitted.quota(), admitted.account());
        // Whatever the tool says of itself: a run that is gone on with uses its answer again where it read the same.
        let seen = Seen::new(Recording::Contents, self.known.clone());
        let files = Files::new(granted, account, quota, seen);
        Cell::empty(quota, Arc::clone(account), Senses::of(kind), files)
    }
}

fn link_wasi(linker: &mut Linker<Cell>) -> wasmtime::Result<()> {
    let l = linker;
    io::error::add_to_linker::<Cell, Table>(l, |cell| &mut cell.table)?;
    io::poll::add_to_linker::<Cell, Table>(l, |cell| &mut cell.table)?;
    io::streams::add_to_linker::<Cell, Table>(l, |cell| &mut cell.table)?;
    clocks::wall_clock::add_to_linker::<Cell, WasiClocks>(l, Cell::clocks)?;
    clocks::monotonic_clock::add_to_linker::<Cell, WasiClocks>(l, Cell::clocks)?;
    random::random::add_to_linker::<Cell, WasiRandom>(l, Cell::random)?;
    random::insecure::add_to_linker::<Cell, WasiRandom>(l, Cell::random)?;
    random::insecure_seed::add_to_linker::<Cell, WasiRandom>(l, Cell::random)?;
    cli::environment::add_to_linker::<Cell, WasiCli>(l, Cell::cli)?;
    cli::exit::add_to_linker::<Cell, WasiCli>(l, Cell::cli)?;
    cli::stdin::add_to_linker::<Cell, WasiCli>(l, Cell::cli)?;
    cli::stdout::add_to_linker::<Cell, WasiCli>(l, Cell::cli)?;
    cli::stderr::add_to_linker::<Cell, WasiCli>(l, Cell::cli)?;
    cli::terminal_input::add_to_linker::<Cell, WasiCli>(l, Cell::cli)?;
    cli::terminal_output::add_to_linker::<Cell, WasiCli>(l, Cell::cli)?;
    cli::terminal_stdin::add_to_linker::<Cell, WasiCli>(l, Cell::cli)?;
    cli::terminal_stdout::add_to_linker::<Cell, WasiCli>(l, Cell::cli)?;
    cli::terminal_stderr::add_to_linker::<Cell, WasiCli>(l, Cell::cli)?;
    // Files are read and written on the thread that drives the cell: handing each operation to another thread costs ten
    // times what a small read does.
    preopens::add_to_linker::<Cell, HasSelf<Cell>>(l, |cell| cell)?;
    filesystem::add_to_linker::<Cell, HasSelf<Cell>>(l, |cell| cell)
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

impl types::Host for Cell {}

impl dispatch::Host for Cell {
    async fn call(
        &mut self,
        requests: Vec<dispatch::Request>,
    ) -> wasmtime::Result<Vec<Result<dispatch::Success, types::ToolError>>> {
        let Some(door) = &mut self.door else {
            // Describing itself is all a guest without a door was asked to do.
            return Err(wasmtime::format_err!("tools cannot be called from here"));
        };
        let requests = requests.into_iter().map(|request| (request.tool, request.arguments)).collect();
        // As much comes back through one call as may go out through one.
        let answered = door.nested.call(&mut door.lease, requests, self.host_call_bytes_max);
        let outcomes = self.walls.clock.untimed(answered).await;
        Ok(outcomes
            .into_iter()
            .map(|outcome| match outcome.ending {
                Ending::Done(value) => Ok(dispatch::Success {
                    value: value.as_str().to_owned(),
                    artifacts: outcome.artifacts.iter().map(crate::report::to_guest).collect(),
                }),
                Ending::Failed(failure) => Err(self.told.tell(failure)),
            })
            .collect())
    }
}
