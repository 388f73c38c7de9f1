//! One script from its source to its result: check it, start it, answer it until it ends. This is the only file that
//! holds JavaScript values; what they ask for leaves through [`crate::bridge`]. The functions that a script sees are
//! JavaScript themselves: `prelude.js` and `panel.js`, compiled into this file and run before any script.

use std::cell::RefCell;
use std::rc::Rc;

use rquickjs::context::EvalOptions;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::promise::PromiseState;
use rquickjs::{
    CatchResultExt, CaughtError, Context, Ctx, Exception, Function, Module, Object, Persistent, Promise, Runtime, Value,
};

use crate::bridge::{Action, Budget, Completion, Outbox, Request, Settlement, Verdict};
use crate::fault::{Fault, Kind, Place};
use crate::meta::Meta;
use crate::source::{FILE, Source, Wrapping};
use crate::{frames, gate, hints, json, merge, options};

/// JavaScript heap: past it, the script gets an exception that it can catch. The cell's own limit must leave room beside
/// it for the batches that cross the border.
const MEMORY_BYTES_MAX: usize = 192 << 20;

/// Stack of the C code under JavaScript: past it, the script gets a RangeError that it can catch. About a thousand nested
/// calls. As a component this bounds the part of the stack that has addresses; the flags in Cargo.toml make it large
/// enough, beside the part that has none, to be the first of the two to run out.
const STACK_BYTES_MAX: usize = 288 << 10;

/// Growth of the heap before the cycle collector runs for the first time; most scripts end before that.
const COLLECT_AFTER_BYTES: usize = 8 << 20;

const PRELUDE: &str = include_str!("prelude.js");
const PANEL: &str = include_str!("panel.js");

/// What the record of a verdict keeps of the claim, and of each voter's reason.
const CLAIM_CHARS_MAX: usize = 2000;
const REASON_CHARS_MAX: usize = 500;

/// What happened since the last call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// What the script asked for, in its order.
    pub requests: Vec<Request>,
    /// Where it stands.
    pub state: State,
}

/// Where a script stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It waits for answers to requests already emitted.
    Waiting,
    /// It returned this value, as JSON.
    Done(String),
    /// It cannot run, or cannot go on.
    Failed(Fault),
}

/// The engine could not be set up: there was no memory for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the script engine could not start: {0}")]
pub struct SetupError(String);

/// A QuickJS realm with the workflow dialect in it, and at most one script.
pub struct Engine {
    // Declared, and so dropped, before the runtime that owns their values.
    progress: Progress,
    /// The source that was found to compile.
    checked: Option<Checked>,
    prelude: Prelude,
    budget: Budget,
    outbox: Rc<RefCell<Outbox>>,
    context: Context,
    runtime: Runtime,
}

struct Checked {
    source: String,
    meta: Meta,
}

enum Progress {
    Ready,
    Running(Running),
    Ended(State),
}

struct Running {
    main: Persistent<Promise<'static>>,
    source: String,
    /// Where the body begins: behind `meta`.
    body: usize,
}

/// The functions of `prelude.js` that only the engine calls.
#[derive(Clone)]
struct Prelude {
    resolved: Persistent<Function<'static>>,
    rejected: Persistent<Function<'static>>,
    describe: Persistent<Function<'static>>,
    encode: Persistent<Function<'static>>,
    account: Persistent<Function<'static>>,
    report_unseen: Persistent<Function<'static>>,
}

impl Engine {
    /// A fresh engine, ready for one script.
    pub fn new() -> Result<Self, SetupError> {
        let failed = |error: rquickjs::Error| SetupError(error.to_string());
        let runtime = Runtime::new().map_err(failed)?;
        runtime.set_memory_limit(MEMORY_BYTES_MAX);
        runtime.set_max_stack_size(STACK_BYTES_MAX);
        runtime.set_gc_threshold(COLLECT_AFTER_BYTES);
        runtime.set_loader(NoModules, NoModules);
        let context = Context::full(&runtime).map_err(failed)?;
        let outbox = Rc::new(RefCell::new(Outbox::default()));
        let (prelude, track) =
            context.with(|ctx| install(&ctx, &outbox).catch(&ctx).map_err(|error| SetupError(error.to_string())))?;
        runtime.set_host_promise_rejection_tracker(Some(Box::new(move |ctx, promise, reason, handled| {
            let noted = track.clone().restore(&ctx).and_then(|track| track.call::<_, ()>((promise, reason, handled)));
            // Out of memory or stack: the rejection itself still reaches whoever awaits it.
            if noted.is_err() {
                ctx.catch();
            }
        })));
        Ok(Self {
            progress: Progress::Ready,
            checked: None,
            prelude,
            budget: Budget::default(),
            outbox,
            context,
            runtime,
        })
    }

    /// End whatever the script is computing, with an exception that it cannot catch, once `stop` says so. In a cell the host
    /// ends what goes on for too long; natively nobody else does.
    pub fn interrupt_when(&mut self, stop: impl FnMut() -> bool + 'static) {
        self.runtime.set_interrupt_handler(Some(Box::new(stop)));
    }

    /// Read `meta` and compile the whole source, running none of it. Gives `meta` as JSON.
    ///
    /// # Errors
    /// The first thing wrong with the source, of kind `Meta` or `Syntax`.
    pub fn check(&mut self, source: &str) -> Result<String, Fault> {
        self.checked = None;
        let source = Source::new(source);
        let meta = Meta::read(source)?;
        self.context.with(|ctx| compile(&ctx, source, &meta))?;
        let value = meta.value.to_string();
        self.checked = Some(Checked { source: source.text().to_owned(), meta });
        Ok(value)
    }

    /// Run the source from the top until it waits or ends. `args` is JSON; `budget` is what the script is told of it. Call
    /// once. What was checked just before is not checked again.
    pub fn start(&mut self, source: &str, args: &str, budget: Budget) -> Turn {
        if !matches!(self.progress, Progress::Ready) {
            return self.misused("start was called a second time; each run needs a fresh engine");
        }
        self.budget = budget;
        match self.begin(Source::new(source), args) {
            Ok(running) => {
                self.progress = Progress::Running(running);
                self.advance()
            }
            Err(fault) => self.finish(State::Failed(fault)),
        }
    }

    /// Settle promises, in the order given, then run until the script waits or ends again. Answers to requests that do
    /// not wait for one are ignored. `spent` is what the script is told that its budget has been used.
    pub fn step(&mut self, completions: Vec<Completion>, spent: u64) -> Turn {
        match &self.progress {
            Progress::Ready => return self.misused("step was called before start"),
            Progress::Ended(state) => return Turn { requests: Vec::new(), state: state.clone() },
            Progress::Running(_) => {}
        }
        self.budget.spent = spent;
        let told = self
            .context
            .with(|ctx| self.prelude.account(&ctx, self.budget).catch(&ctx).map_err(|error| error.to_string()));
        if let Err(message) = told {
            let message = format!("the budget could not be told to the script: {message}");
            return self.finish(State::Failed(Fault::at(Kind::Thrown, Place::default(), message)));
        }
        for completion in completions {
            if !self.outbox.borrow_mut().answer(completion.id) {
                continue;
            }
            let settled = self
                .context
                .with(|ctx| self.prelude.settle(&ctx, completion).catch(&ctx).map_err(|error| error.to_string()));
            if let Err(message) = settled {
                let message = format!("an answer could not be handed to the script: {message}");
                return self.finish(State::Failed(Fault::at(Kind::Thrown, Place::default(), message)));
            }
        }
        self.advance()
    }

    fn begin(&mut self, source: Source<'_>, args: &str) -> Result<Running, Fault> {
        let checked = self.checked.take().filter(|checked| checked.source == source.text());
        let meta = match checked {
            Some(checked) => checked.meta,
            None => {
                let meta = Meta::read(source)?;
                self.context.with(|ctx| compile(&ctx, source, &meta))?;
                meta
            }
        };
        let body = meta.statement.end;
        let thrown = |message: String| Fault::at(Kind::Thrown, Place::default(), message);
        self.context.with(|ctx| {
            let args =
                ctx.json_parse(args).catch(&ctx).map_err(|error| thrown(format!("args is not JSON: {error}")))?;
            let run = || {
                self.prelude.account(&ctx, self.budget)?;
                ctx.globals().set("args", args)?;
                let value = ctx.json_parse(meta.value.to_string())?;
                let function: Function<'_> = evaluate(&ctx, source.wrapped(&meta.statement, Wrapping::Callable))?;
                let main: Promise<'_> = function.call((value,))?;
                Ok(Running { main: Persistent::save(&ctx, main), source: source.text().to_owned(), body })
            };
            run().map_err(|error| self.caught(&ctx, error, source.with_body_at(body)))
        })
    }

    fn advance(&mut self) -> Turn {
        self.run_jobs();
        let Progress::Running(running) = &self.progress else {
            return self.misused("there is no script to advance");
        };
        let source = Source::new(&running.source).with_body_at(running.body);
        let state = self.context.with(|ctx| {
            let main = match running.main.clone().restore(&ctx) {
                Ok(main) => main,
                Err(error) => return State::Failed(self.caught(&ctx, error, source)),
            };
            match main.state() {
                PromiseState::Pending if self.outbox.borrow().is_waiting() => State::Waiting,
                PromiseState::Pending => State::Failed(stalled()),
                PromiseState::Resolved => {
                    let value = main.result::<Value<'_>>().unwrap_or_else(|| Ok(Value::new_undefined(ctx.clone())));
                    match value.and_then(|value| self.prelude.encode(&ctx, value, "the value returned by the script")) {
                        Ok(json) => State::Done(json),
                        Err(error) => State::Failed(self.caught(&ctx, error, source)),
                    }
                }
                PromiseState::Rejected => match main.result::<Value<'_>>() {
                    Some(Err(error)) => State::Failed(self.caught(&ctx, error, source)),
                    _ => State::Failed(self.described(&ctx, Value::new_undefined(ctx.clone()), source)),
                },
            }
        });
        match state {
            State::Waiting => Turn { requests: self.outbox.borrow_mut().take(), state },
            ended => self.finish(ended),
        }
    }

    /// Run promise reactions until none is left.
    fn run_jobs(&self) {
        loop {
            match self.runtime.execute_pending_job() {
                Ok(true) => {}
                Ok(false) => return,
                // Only a callback given to queueMicrotask can end so; nothing awaits it.
                Err(job) => {
                    let reason = job.0.with(|ctx| {
                        let reason = ctx.catch();
                        self.prelude
                            .describe(&ctx, reason)
                            .map_or_else(|_| "out of memory".to_owned(), |(message, _)| message)
                    });
                    let line = format!("warning: a microtask threw and nothing caught it: {reason}");
                    self.outbox.borrow_mut().emit(Action::Log(line));
                }
            }
        }
    }

    /// Remember how the script ended, and warn of rejections that nobody saw.
    fn finish(&mut self, state: State) -> Turn {
        let main = match std::mem::replace(&mut self.progress, Progress::Ended(state.clone())) {
            Progress::Running(running) => Some(running.main),
            Progress::Ready | Progress::Ended(_) => None,
        };
        self.context.with(|ctx| {
            let reported = self.prelude.report_unseen.clone().restore(&ctx).and_then(|report| {
                let main = main.map(|main| main.restore(&ctx)).transpose()?;
                report.call::<_, ()>((main,))
            });
            // The warnings are a courtesy; the outcome stands without them.
            if reported.is_err() {
                ctx.catch();
            }
        });
        Turn { requests: self.outbox.borrow_mut().take(), state }
    }

    fn misused(&self, message: &str) -> Turn {
        let fault = Fault::at(
            Kind::Thrown,
            Place::default(),
            format!("{message}; this is a defect of the host, not of the script"),
        );
        Turn { requests: Vec::new(), state: State::Failed(fault) }
    }

    /// The fault behind an error of the binding: the pending exception where there is one.
    fn caught(&self, ctx: &Ctx<'_>, error: rquickjs::Error, source: Source<'_>) -> Fault {
        if error.is_exception() {
            let reason = ctx.catch();
            return self.described(ctx, reason, source);
        }
        Fault::at(Kind::Thrown, Place::default(), format!("the script engine failed: {error}"))
    }

    /// The fault of an uncaught exception.
    fn described<'js>(&self, ctx: &Ctx<'js>, reason: Value<'js>, source: Source<'_>) -> Fault {
        let Ok((mut message, stack)) = self.prelude.describe(ctx, reason) else {
            ctx.catch();
            return Fault::at(
                Kind::Thrown,
                Place::default(),
                "the script failed, and there was no memory left to say why",
            );
        };
        if message == "TypeError: not a function"
            && let Some(name) = frames::innermost(&stack)
                .and_then(|frame| source.offset(frame.line, frame.column_bytes))
                .and_then(|offset| hints::callee(source.text(), offset))
        {
            message = format!("TypeError: {name} is not a function");
        }
        if let Some(hint) = hints::for_uncaught(&message) {
            message = format!("{message} ({hint})");
        }
        let place = frames::frames(&stack)
            .find_map(|frame| source.place_of(frame.line, frame.column_bytes))
            .unwrap_or_default();
        Fault { kind: Kind::Thrown, message, place, stack: frames::readable(&stack, source) }
    }
}

/// Where `import()` ends.
struct NoModules;

impl Resolver for NoModules {
    fn resolve<'js>(
        &mut self,
        _: &Ctx<'js>,
        _: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        Ok(name.to_owned())
    }
}

impl Loader for NoModules {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        _: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        Err(Exception::throw_type(ctx, hints::NO_MODULES))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The tracker holds a function of the runtime that stores it.
        self.runtime.set_host_promise_rejection_tracker(None);
    }
}

impl Prelude {
    fn settle<'js>(&self, ctx: &Ctx<'js>, completion: Completion) -> rquickjs::Result<()> {
        #[allow(clippy::cast_precision_loss, reason = "identifiers count up from 1 and stay far below 2^53")]
        let id = completion.id as f64;
        match completion.settlement {
            Settlement::Resolved(value) => match ctx.json_parse(value).catch(ctx) {
                Ok(value) => self.resolved.clone().restore(ctx)?.call((id, value)),
                // Nested more deeply than can be read, or too large: that is whoever asked's to know, not the script's end.
                Err(error) => {
                    let message = format!("the answer cannot be read: {}", error.to_string().trim_end());
                    self.rejected.clone().restore(ctx)?.call((id, "failed", message, Value::new_null(ctx.clone())))
                }
            },
            Settlement::Rejected { code, message, detail } => {
                let detail = ctx.json_parse(detail)?;
                self.rejected.clone().restore(ctx)?.call((id, code, message, detail))
            }
        }
    }

    fn account(&self, ctx: &Ctx<'_>, budget: Budget) -> rquickjs::Result<()> {
        #[allow(clippy::cast_precision_loss, reason = "past 2^53 tokens, the last digits no longer matter")]
        let (total, spent) = (budget.total.map(|total| total as f64), budget.spent as f64);
        self.account.clone().restore(ctx)?.call((total, spent))
    }

    fn describe<'js>(&self, ctx: &Ctx<'js>, reason: Value<'js>) -> rquickjs::Result<(String, String)> {
        let told: Object<'js> = self.describe.clone().restore(ctx)?.call((reason,))?;
        Ok((told.get("message")?, told.get("stack")?))
    }

    fn encode<'js>(&self, ctx: &Ctx<'js>, value: Value<'js>, what: &str) -> rquickjs::Result<String> {
        let text: String = self.encode.clone().restore(ctx)?.call((value, what))?;
        Ok(json::well_formed(text))
    }
}

/// Evaluate the prelude with its ways out, and keep its ways in.
fn install<'js>(
    ctx: &Ctx<'js>,
    outbox: &Rc<RefCell<Outbox>>,
) -> rquickjs::Result<(Prelude, Persistent<Function<'static>>)> {
    let host = ways_out(ctx, outbox)?;
    let enter: Function<'js> = evaluate_as(ctx, "engine", PRELUDE)?;
    let ways_in: Object<'js> = enter.call((host.clone(),))?;
    let enter: Function<'js> = evaluate_as(ctx, "engine", PANEL)?;
    enter.call::<_, ()>((host, ways_in.get::<_, Object<'js>>("kit")?))?;
    let keep = |name: &str| ways_in.get::<_, Function<'js>>(name).map(|function| Persistent::save(ctx, function));
    let prelude = Prelude {
        resolved: keep("resolved")?,
        rejected: keep("rejected")?,
        describe: keep("describe")?,
        encode: keep("encode")?,
        account: keep("account")?,
        report_unseen: keep("reportUnseen")?,
    };
    Ok((prelude, keep("track")?))
}

/// What the prelude may call.
fn ways_out<'js>(ctx: &Ctx<'js>, outbox: &Rc<RefCell<Outbox>>) -> rquickjs::Result<Object<'js>> {
    let host = Object::new(ctx.clone())?;
    let requests = Rc::clone(outbox);
    let emit = move |kind: u32, first: String, second: String| -> f64 {
        let action = match kind {
            0 => Action::Agent { prompt: first, options: second, status: false },
            1 => Action::Tool { name: first, arguments: json::well_formed(second) },
            2 => Action::Phase(first),
            4 => Action::Agent { prompt: first, options: second, status: true },
            5 => Action::Workflow { name: first, args: json::well_formed(second) },
            6 => Action::Gate(json::well_formed(second)),
            _ => Action::Log(first),
        };
        #[allow(clippy::cast_precision_loss, reason = "identifiers count up from 1 and stay far below 2^53")]
        let id = requests.borrow_mut().emit(action) as f64;
        id
    };
    host.set("emit", Function::new(ctx.clone(), emit)?)?;
    let verdicts = Rc::clone(outbox);
    let emit_verdict = move |verdict: String, claim: String, votes: String| {
        let verdict = match verdict.as_str() {
            "verified" => Verdict::Verified,
            "refuted" => Verdict::Refuted,
            _ => Verdict::Unverified,
        };
        verdicts.borrow_mut().emit(Action::Verdict { claim: cut(claim, CLAIM_CHARS_MAX), verdict, votes });
    };
    host.set("emitVerdict", Function::new(ctx.clone(), emit_verdict)?)?;
    host.set("cutReason", Function::new(ctx.clone(), |reason: String| cut(reason, REASON_CHARS_MAX))?)?;
    let settle_options = |ctx: Ctx<'js>, caller: String, written: String, phase: Option<String>| {
        options::settle(&caller, &json::well_formed(written), phase.as_deref(), None)
            .map_err(|message| Exception::throw_type(&ctx, &message))
    };
    host.set("settleOptions", Function::new(ctx.clone(), settle_options)?)?;
    let check_gate = |ctx: Ctx<'js>, written: String| {
        gate::check(&json::well_formed(written)).map_err(|message| Exception::throw_type(&ctx, &message))
    };
    host.set("checkGate", Function::new(ctx.clone(), check_gate)?)?;
    let settle_seat =
        |ctx: Ctx<'js>, panel: String, written: String, phase: Option<String>, place: String, schema: String| {
            let seat = options::Seat { panel: &panel, place: &place, schema: &schema };
            options::settle(&format!("{panel}()'s agent"), &json::well_formed(written), phase.as_deref(), Some(seat))
                .map_err(|message| Exception::throw_type(&ctx, &message))
        };
    host.set("settleSeat", Function::new(ctx.clone(), settle_seat)?)?;
    let merge = |ctx: Ctx<'js>, values: String, strategy: String, key: Option<String>| {
        merge::merge(&json::well_formed(values), &strategy, key.as_deref())
            .map_err(|message| Exception::throw_type(&ctx, &message))
    };
    host.set("merge", Function::new(ctx.clone(), merge)?)?;
    let place = |stack: String| {
        frames::frames(&stack).next().map_or_else(String::new, |frame| format!(" (line {})", frame.line))
    };
    host.set("place", Function::new(ctx.clone(), place)?)?;
    Ok(host)
}

/// The beginning of a text that a record of a verdict has room for.
fn cut(mut text: String, chars_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
    }
    text
}

fn evaluate<'js, T: rquickjs::FromJs<'js>>(ctx: &Ctx<'js>, text: String) -> rquickjs::Result<T> {
    evaluate_as(ctx, FILE, &text)
}

fn evaluate_as<'js, T: rquickjs::FromJs<'js>>(ctx: &Ctx<'js>, file: &str, text: &str) -> rquickjs::Result<T> {
    let mut named = EvalOptions::default();
    named.filename = Some(file.to_owned());
    ctx.eval_with_options(text, named)
}

/// A message of the parser, and the byte offset it points at; `None` past the end of the source.
struct Refusal {
    message: String,
    offset: Option<usize>,
}

/// Compile the body, running nothing. It is compiled inside a statement and inside an expression: a `}` that closes the
/// function too early cannot be followed by something that suits both.
fn compile(ctx: &Ctx<'_>, source: Source<'_>, meta: &Meta) -> Result<(), Fault> {
    if let Some(offset) = source.text().find('\0') {
        return Err(Fault::at(
            Kind::Syntax,
            source.place(offset),
            "a NUL character is not JavaScript; save the script as UTF-8 text",
        ));
    }
    let parse = |wrapping| parse(ctx, source, meta, wrapping);
    let syntax = |offset: usize, message: String| Err(Fault::at(Kind::Syntax, source.place(offset), message));
    let stray = |offset: Option<usize>| {
        let before = source.text()[..offset.unwrap_or(source.text().len())].trim_end();
        syntax(before.len() - usize::from(before.ends_with('}')), hints::STRAY_BRACE.to_owned())
    };
    match parse(Wrapping::Statement) {
        Ok(()) => match parse(Wrapping::Expression) {
            Ok(()) => Ok(()),
            // Some rules tell a function from an arrow function; those errors speak for themselves.
            Err(Refusal { message, offset: Some(offset) }) if !source.text()[..offset].trim_end().ends_with('}') => {
                syntax(offset, message)
            }
            Err(refusal) => stray(refusal.offset),
        },
        Err(Refusal { message, offset: Some(offset) }) if !source.text()[offset..].trim().is_empty() => {
            let (before, rest) = source.text().split_at(offset);
            syntax(offset, hints::for_syntax(&message, before, rest))
        }
        // With one closing brace fewer it compiles: the script brought that brace.
        Err(_) if parse(Wrapping::Unclosed).is_ok() => {
            stray(parse(Wrapping::Expression).err().and_then(|refusal| refusal.offset))
        }
        Err(refusal) => syntax(source.text().trim_end().len(), hints::for_syntax_at_end(&refusal.message)),
    }
}

fn parse(ctx: &Ctx<'_>, source: Source<'_>, meta: &Meta, wrapping: Wrapping) -> Result<(), Refusal> {
    match evaluate::<Value<'_>>(ctx, source.wrapped(&meta.statement, wrapping)).catch(ctx) {
        // The text begins with `throw 0`: reaching it means that all of it compiled.
        Ok(_) | Err(CaughtError::Value(_)) => Ok(()),
        Err(CaughtError::Exception(exception)) => {
            let stack = exception.stack().unwrap_or_default();
            let offset = frames::frames(&stack).next().and_then(|frame| source.offset(frame.line, frame.column_bytes));
            Err(Refusal { message: exception.message().unwrap_or_default(), offset })
        }
        Err(CaughtError::Error(error)) => Err(Refusal { message: error.to_string(), offset: None }),
    }
}

fn stalled() -> Fault {
    let message = "the script waits for a promise that nothing will settle: no agent, tool call, workflow or gate is outstanding; look for a \
                   promise whose resolve function is never called";
    Fault::at(Kind::Stalled, Place::default(), message)
}
