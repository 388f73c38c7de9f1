//! What a cell is given. The only file that reads a receipt (`Admitted`) and turns it into imports: linked functions, open
//! directories, the door of an agent. Whatever is not named here does not exist inside a cell.

use crate::bindings::{dispatch, report, types};
use crate::cell::{Cell, Door, Senses};
use crate::files::{Preopen, shadow_open_at};
use crate::scope::Scopes;
use crate::text;
use std::sync::Arc;
use vespiary_kernel::admit::Admitted;
use vespiary_kernel::call::{Ending, Failure};
use vespiary_kernel::plugin::Kind;
use vespiary_kernel::quota::{Lease, Quota};
use wasmtime::Engine;
use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemCtx, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, io, random};
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

/// The linked functions, one set a kind of guest.
pub(crate) struct Imports {
    tools: Linker<Cell>,
    agents: Linker<Cell>,
    engine: Linker<Cell>,
    scopes: Scopes,
    files: WasiFilesystemCtx,
}

impl Imports {
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut bare = Linker::new(engine);
        link_wasi(&mut bare)?;
        let mut tools = bare.clone();
        types::add_to_linker::<Cell, HasSelf<Cell>>(&mut tools, |cell| cell)?;
        report::add_to_linker::<Cell, HasSelf<Cell>>(&mut tools, |cell| cell)?;
        let mut agents = tools.clone();
        dispatch::add_to_linker::<Cell, HasSelf<Cell>>(&mut agents, |cell| cell)?;
        // Files are read and written on the thread that drives the cell: handing each operation to another thread costs
        // ten times what a small read does.
        let files = WasiCtxBuilder::new().allow_blocking_current_thread(true).build().filesystem().clone();
        Ok(Self { tools, agents, engine: bare, scopes: Scopes::default(), files })
    }

    /// The functions a guest of this kind can be linked with.
    pub(crate) fn linker(&self, kind: Kind) -> &Linker<Cell> {
        match kind {
            Kind::Tools => &self.tools,
            Kind::Agent => &self.agents,
            Kind::Engine => &self.engine,
        }
    }

    /// Whether a guest of this kind may import the interface `name`, whatever its version.
    pub(crate) fn offers(kind: Kind, name: &str) -> bool {
        let interface = name.split_once('@').map_or(name, |(interface, _)| interface);
        WASI.contains(&interface)
            || match interface {
                "vespiary:plugin/types" => true,
                "vespiary:plugin/report" => kind != Kind::Engine,
                "vespiary:plugin/dispatch" => kind == Kind::Agent,
                _ => false,
            }
    }

    /// The cell of one tool call: the scope's directories, and nothing else.
    pub(crate) fn of_tool(&self, admitted: &Admitted) -> Result<Cell, Failure> {
        let mut cell = self.of_nobody(Kind::Tools, admitted.quota());
        cell.preopens = self.directories(admitted)?;
        Ok(cell)
    }

    /// The cell of an agent: a door to its tools, and no directory, though its grant may name some: those are for its tools.
    pub(crate) fn of_agent(&self, admitted: Admitted) -> Cell {
        let mut cell = self.of_nobody(Kind::Agent, admitted.quota());
        let (lease, nested) = admitted.into_holds();
        cell.door = nested.map(|nested| Door { nested, lease });
        cell
    }

    /// The cell of a script: nothing but its limits. The lease is the caller's to park between steps.
    pub(crate) fn of_script(&self, admitted: Admitted) -> (Cell, Lease) {
        let cell = self.of_nobody(Kind::Engine, admitted.quota());
        (cell, admitted.into_holds().0)
    }

    /// A cell that holds nothing, for asking a component what it is.
    pub(crate) fn of_nobody(&self, kind: Kind, quota: &Quota) -> Cell {
        let senses = if kind == Kind::Engine { Senses::Still } else { Senses::Real };
        Cell::empty(quota, senses, self.files.clone())
    }

    fn directories(&self, admitted: &Admitted) -> Result<Arc<[Preopen]>, Failure> {
        self.scopes.open(admitted.root(), admitted.scope())
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
    filesystem::preopens::add_to_linker::<Cell, HasSelf<Cell>>(l, |cell| cell)?;
    filesystem::types::add_to_linker::<Cell, WasiFilesystem>(l, |cell| WasiFilesystemCtxView {
        ctx: &mut cell.files,
        table: &mut cell.table,
    })?;
    shadow_open_at(l)
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
        let outcomes = self.walls.clock.untimed(door.nested.call(&mut door.lease, requests)).await;
        Ok(outcomes
            .into_iter()
            .map(|outcome| match outcome.ending {
                Ending::Done(value) => Ok(dispatch::Success {
                    value: value.as_str().to_owned(),
                    artifacts: outcome.artifacts.iter().map(crate::report::to_guest).collect(),
                }),
                Ending::Failed(failure) => Err(to_guest(failure)),
            })
            .collect())
    }
}

/// A cause as a guest may see it. What went wrong inside the host or another guest is told in words.
fn to_guest(failure: Failure) -> types::ToolError {
    match failure {
        Failure::InvalidArguments(why) => types::ToolError::InvalidArguments(why),
        Failure::NotFound(what) => types::ToolError::NotFound(what),
        Failure::Denied(denial) => {
            types::ToolError::Denied(types::Denial { needed: denial.needed, held: denial.held, hint: denial.hint })
        }
        Failure::Limit(hit) => {
            types::ToolError::Limit(types::LimitHit { quota: hit.quota, limit: hit.limit, used: hit.used })
        }
        Failure::Cancelled => types::ToolError::Cancelled,
        Failure::Failed(why) => types::ToolError::Failed(why),
        other @ (Failure::Trapped(_) | Failure::Unrunnable(_) | Failure::Unrecorded(_) | Failure::Host(_)) => {
            types::ToolError::Failed(text::cause(other.to_string()))
        }
    }
}
