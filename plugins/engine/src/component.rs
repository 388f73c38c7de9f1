//! The engine as a component of the world `script-engine`: converts shapes at the border, and nothing else.
//!
//! The one module with `unsafe`: what `wit-bindgen` generates to lift and lower values, and one symbol with a C name.
#![allow(unsafe_code, reason = "generated canonical-ABI glue, and a symbol that C code links against")]

use std::cell::RefCell;

use crate::bridge::{Action, Budget, Completion, Settlement, Verdict};
use crate::engine::{Engine, State, Turn};
use crate::fault::{Fault, Kind};

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package vespiary:engine-guest;
        world guest {
            include vespiary:plugin/script-engine@0.1.0;
            /// Called once when the component is built, before its memory is snapshotted.
            export initialize: func();
        }
    ",
    world: "vespiary:engine-guest/guest",
    generate_all,
});

use exports::vespiary::plugin::script as wit;

thread_local! {
    /// One instance runs one script, so one engine is enough; it is there already when the instance is a snapshot.
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

/// The clock that QuickJS links against, in microseconds. A workflow has none: it stands still, which also fixes the seed
/// of everything that would be random.
#[unsafe(no_mangle)]
extern "C" fn __rquickjs_host_now_us() -> f64 {
    0.0
}

/// The value that QuickJS's functions keep on their stack frames and compare when they return. They are compiled so less
/// for the check than for the frame: it makes every recursion grow the stack that the engine limits, also in functions
/// that would keep nothing there. Fixed, because a random value would be a difference between runs.
#[unsafe(no_mangle)]
static __stack_chk_guard: usize = 0x5e57_1a00;

/// Called where such a value has changed: memory is corrupt, so the cell ends.
#[unsafe(no_mangle)]
extern "C" fn __stack_chk_fail() -> ! {
    core::arch::wasm32::unreachable()
}

struct Component;

export!(Component);

impl Guest for Component {
    fn initialize() {
        with_engine(|_| ());
    }
}

impl wit::Guest for Component {
    fn check(source: String) -> Result<String, wit::ScriptError> {
        with_engine(|engine| engine.check(&source)).map_err(fault)
    }

    fn start(source: String, args: String, budget: wit::Budget) -> wit::Turn {
        let budget = Budget { total: budget.total, spent: budget.spent };
        turn(with_engine(|engine| engine.start(&source, &args, budget)))
    }

    fn step(completions: Vec<wit::Completion>, spent: u64) -> wit::Turn {
        let completions = completions.into_iter().map(completion).collect();
        turn(with_engine(|engine| engine.step(completions, spent)))
    }
}

fn with_engine<T>(then: impl FnOnce(&mut Engine) -> T) -> T {
    ENGINE.with_borrow_mut(|slot| {
        let engine = slot.get_or_insert_with(|| match Engine::new() {
            Ok(engine) => engine,
            // Without memory for an empty realm there is nobody to tell: the cell traps, and the host says so.
            Err(error) => panic!("{error}"),
        });
        then(engine)
    })
}

fn turn(turn: Turn) -> wit::Turn {
    let requests =
        turn.requests.into_iter().map(|request| wit::Request { id: request.id, action: action(request.action) });
    let state = match turn.state {
        State::Waiting => wit::State::Waiting,
        State::Done(value) => wit::State::Done(value),
        State::Failed(error) => wit::State::Failed(fault(error)),
    };
    wit::Turn { requests: requests.collect(), state }
}

fn action(action: Action) -> wit::Action {
    match action {
        Action::Agent { prompt, options, status } => wit::Action::Agent(wit::AgentRequest { prompt, options, status }),
        Action::Tool { name, arguments } => wit::Action::Tool(wit::ToolRequest { name, arguments }),
        Action::Workflow { name, args } => wit::Action::Workflow(wit::WorkflowRequest { name, args }),
        Action::Gate(options) => wit::Action::Gate(options),
        Action::Phase(title) => wit::Action::Phase(title),
        Action::Log(line) => wit::Action::Log(line),
        Action::Verdict { claim, verdict, votes } => {
            let verdict = match verdict {
                Verdict::Verified => wit::Verdict::Verified,
                Verdict::Refuted => wit::Verdict::Refuted,
                Verdict::Unverified => wit::Verdict::Unverified,
            };
            wit::Action::Verdict(wit::VerdictNote { claim, verdict, votes })
        }
    }
}

fn completion(completion: wit::Completion) -> Completion {
    let settlement = match completion.settlement {
        wit::Settlement::Resolved(value) => Settlement::Resolved(value),
        wit::Settlement::Rejected(wit::Rejection { code, message, detail }) => {
            Settlement::Rejected { code, message, detail }
        }
    };
    Completion { id: completion.id, settlement }
}

fn fault(fault: Fault) -> wit::ScriptError {
    let kind = match fault.kind {
        Kind::Syntax => wit::ErrorKind::Syntax,
        Kind::Meta => wit::ErrorKind::Meta,
        Kind::Thrown => wit::ErrorKind::Thrown,
        Kind::Stalled => wit::ErrorKind::Stalled,
    };
    wit::ScriptError {
        kind,
        message: fault.message,
        line: fault.place.line,
        column: fault.place.column,
        stack: fault.stack,
    }
}
