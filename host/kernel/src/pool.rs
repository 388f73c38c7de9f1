//! The host's own capacity: places for cells, memory for them, and processors. A `Lease` holds part of it before a cell starts
//! and gives it back when dropped, so a fleet of any size waits for the machine instead of exhausting it. Waiting is first in,
//! first out within a run, and turn by turn between runs.

use crate::ids::RunId;
use crate::principal::NESTING_MAX;
use crate::quota::LimitHit;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Which sort of cell takes a place. Each sort has places and memory of its own, so that agents that wait for tools can never
/// occupy what their tools need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Berth {
    /// A tool call.
    Tool,
    /// An agent plugin, and how deep it lies below those that scripts start. Who started it waits for it, so each depth has places of
    /// its own.
    Agent(u8),
    /// A script's engine.
    Script,
    /// A request to a model. No cell, no memory and no processor: it waits for somebody else's machine.
    Model,
    /// A call to a tool of an MCP server. No cell and no processor either: it waits for a program that all calls share, or for
    /// somebody else's machine.
    Server,
}

/// Depths at which agents lie.
const DEPTHS: usize = NESTING_MAX as usize + 1;

/// How many cells of each sort may be alive, how much memory they may hold, and how many may compute at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Tool cells alive.
    pub tools: usize,
    /// Agent cells alive, of all depths together: one of 32 is for each depth below the first, or one, as far as they go.
    pub agents: usize,
    /// Script engines alive.
    pub scripts: usize,
    /// Requests to models under way.
    pub models: usize,
    /// Calls to MCP servers under way.
    pub servers: usize,
    /// Cells that compute at the same time.
    pub running: usize,
    /// Linear memory of all cells together, bytes. Half is for tools, three eighths for agents, of which each depth below the first gets
    /// a twelfth, the rest for scripts. Each sort gets at least what one cell may ask for; scripts get that for two, since one may
    /// call another.
    pub memory_bytes_max: u64,
    /// Calls that may wait for a place, of each sort.
    pub queue_max: usize,
}

/// The most linear memory a component's cell can have.
pub const CELL_BYTES_MAX: u64 = 256 << 20;

impl Capacity {
    /// All cells that can be alive at once.
    pub fn cells(&self) -> usize {
        self.tools + self.agents + self.scripts
    }

    /// Agent cells alive at each depth. There is one place at least at the first; below there may be none.
    fn agents_at(&self) -> [usize; DEPTHS] {
        let (mut places, mut left) = ([0; DEPTHS], self.agents.saturating_sub(1));
        for below in &mut places[1..] {
            *below = (self.agents / 32).max(1).min(left);
            left -= *below;
        }
        places[0] = left + 1;
        places
    }

    /// Script engines that can be alive at once, however much memory each asks for.
    pub fn scripts_alive(&self) -> usize {
        let fit = usize::try_from(self.scripts_memory() / CELL_BYTES_MAX).unwrap_or(usize::MAX);
        self.scripts.min(fit).max(1)
    }

    fn scripts_memory(&self) -> u64 {
        (self.memory_bytes_max / 8).max(self.scripts.clamp(1, 2) as u64 * CELL_BYTES_MAX)
    }

    /// The same, with memory for every place at its largest and a queue without end. For tests and for one call.
    pub const fn of_places(tools: usize, agents: usize, scripts: usize, running: usize) -> Self {
        let memory_bytes_max = 8 * (tools + agents + scripts) as u64 * CELL_BYTES_MAX;
        Self {
            tools,
            agents,
            scripts,
            models: agents,
            servers: tools,
            running,
            memory_bytes_max,
            queue_max: usize::MAX,
        }
    }
}

/// The host's places.
#[derive(Debug, Clone)]
pub struct Pool {
    tools: Arc<Turnstile>,
    /// By depth; none where there is no place.
    agents: [Option<Arc<Turnstile>>; DEPTHS],
    agents_in_all: usize,
    scripts: Arc<Turnstile>,
    models: Arc<Turnstile>,
    servers: Arc<Turnstile>,
    running: Arc<Turnstile>,
}

impl Pool {
    /// A pool with `capacity`, all of it free.
    pub fn new(capacity: Capacity) -> Self {
        let memory = |parts: u64| (capacity.memory_bytes_max / 32 * parts).max(CELL_BYTES_MAX);
        let sort = |places, memory| Turnstile::new(places, memory, capacity.queue_max);
        let at = capacity.agents_at();
        let agents = |depth: usize| (at[depth] > 0).then(|| sort(at[depth], memory(if depth == 0 { 9 } else { 1 })));
        Self {
            tools: sort(capacity.tools, memory(16)),
            agents: std::array::from_fn(agents),
            agents_in_all: capacity.agents,
            scripts: sort(capacity.scripts, capacity.scripts_memory()),
            models: Turnstile::new(capacity.models, u64::MAX, capacity.queue_max),
            servers: Turnstile::new(capacity.servers, u64::MAX, capacity.queue_max),
            // Whoever asks for this has a place already, so its queue is as long as there are places.
            running: Turnstile::new(capacity.running, u64::MAX, usize::MAX),
        }
    }

    /// Wait for a place to live with `memory_bytes`, and a place to run. Fails at once when too many wait
    /// already, or where there never is such a place.
    pub async fn lease(&self, run: &RunId, berth: Berth, memory_bytes: u64) -> Result<Lease, LimitHit> {
        let places = match berth {
            Berth::Tool => &self.tools,
            Berth::Agent(depth) => {
                let places = self.agents.get(usize::from(depth)).and_then(Option::as_ref);
                let limit = self.agents_in_all as u64;
                places.ok_or_else(|| LimitHit { quota: "agents-alive".into(), limit, used: limit + 1 })?
            }
            Berth::Script => &self.scripts,
            Berth::Model => &self.models,
            Berth::Server => &self.servers,
        };
        // Whoever wants more than there ever is gets all of it, alone.
        let place = places.enter(run, memory_bytes.min(places.bytes_in_all)).await?;
        let running = match berth {
            Berth::Model | Berth::Server => None,
            Berth::Tool | Berth::Agent(_) | Berth::Script => Some(self.running.enter(run, 0).await?),
        };
        Ok(Lease { running, processors: Arc::clone(&self.running), run: run.clone(), _place: place })
    }
}

/// A hold on one cell's place; dropping it returns the place.
#[derive(Debug)]
pub struct Lease {
    running: Option<Hold>,
    processors: Arc<Turnstile>,
    run: RunId,
    _place: Hold,
}

impl Lease {
    /// Stay alive without computing: others may run meanwhile.
    pub fn park(&mut self) {
        self.running = None;
    }

    /// Wait for a place to run again.
    pub async fn resume(&mut self) {
        while self.running.is_none() {
            // The queue for processors has no end, so this is never refused.
            self.running = self.processors.enter(&self.run, 0).await.ok();
        }
    }
}

/// Places and bytes, and who waits for them.
#[derive(Debug)]
struct Turnstile {
    free: Mutex<Free>,
    bytes_in_all: u64,
    queue_max: usize,
}

#[derive(Debug)]
struct Free {
    places: usize,
    bytes: u64,
    /// Everybody who waits, by run, in the order they came.
    queues: HashMap<RunId, VecDeque<Waiter>>,
    /// Runs of which somebody waits, in the order of their turns.
    turns: VecDeque<RunId>,
    waiting: usize,
}

#[derive(Debug)]
struct Waiter {
    bytes: u64,
    call: oneshot::Sender<Hold>,
}

/// One place and some bytes, given back when dropped.
#[derive(Debug)]
struct Hold {
    home: Arc<Turnstile>,
    bytes: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let home = Arc::clone(&self.home);
        let mut free = home.free();
        free.places += 1;
        free.bytes = free.bytes.saturating_add(self.bytes);
        home.admit(free);
    }
}

impl Turnstile {
    fn new(places: usize, bytes: u64, queue_max: usize) -> Arc<Self> {
        let free = Free { places: places.max(1), bytes, queues: HashMap::new(), turns: VecDeque::new(), waiting: 0 };
        Arc::new(Self { free: Mutex::new(free), bytes_in_all: bytes, queue_max })
    }

    /// A poisoned lock only means that a thread died between two counts that are always changed together under it.
    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn enter(self: &Arc<Self>, run: &RunId, bytes: u64) -> Result<Hold, LimitHit> {
        let called = {
            let mut free = self.free();
            if free.turns.is_empty() && free.fits(bytes) {
                return Ok(self.hold(&mut free, bytes));
            }
            if free.waiting >= self.queue_max {
                free.forget_the_gone();
            }
            if free.waiting >= self.queue_max {
                let (limit, used) = (self.queue_max as u64, free.waiting as u64 + 1);
                return Err(LimitHit { quota: "queue-length".into(), limit, used });
            }
            let (call, called) = oneshot::channel();
            free.waiting += 1;
            let queue = free.queues.entry(run.clone()).or_default();
            queue.push_back(Waiter { bytes, call });
            if queue.len() == 1 {
                free.turns.push_back(run.clone());
            }
            self.admit(free);
            called
        };
        match called.await {
            Ok(hold) => Ok(hold),
            // Nothing drops a waiter uncalled; were it so, waiting for ever is the safe answer: no place, no cell.
            Err(_) => std::future::pending().await,
        }
    }

    fn hold(self: &Arc<Self>, free: &mut Free, bytes: u64) -> Hold {
        free.places -= 1;
        free.bytes -= bytes;
        Hold { home: Arc::clone(self), bytes }
    }

    /// Call in whoever has the turn, as long as there is room. Whoever needs more than is free is waited for, not passed over:
    /// otherwise small cells could keep a large one out for ever.
    fn admit(self: &Arc<Self>, mut free: MutexGuard<'_, Free>) {
        let mut unwanted = Vec::new();
        while let Some(run) = free.turns.front().cloned() {
            let now = &mut *free;
            let Some(queue) = now.queues.get_mut(&run) else {
                now.turns.pop_front();
                continue;
            };
            // Whoever stopped waiting has dropped the other end.
            while queue.front().is_some_and(|waiter| waiter.call.is_closed()) {
                queue.pop_front();
                now.waiting -= 1;
            }
            let fits = queue.front().is_some_and(|next| now.places > 0 && now.bytes >= next.bytes);
            match if fits { queue.pop_front() } else { None } {
                Some(waiter) => {
                    now.waiting -= 1;
                    now.turns.rotate_left(1);
                    let hold = self.hold(now, waiter.bytes);
                    // Dropping a hold takes this lock, so one that nobody takes any more is kept until the lock is free.
                    unwanted.extend(waiter.call.send(hold).err());
                }
                None if queue.is_empty() => {
                    now.queues.remove(&run);
                    now.turns.pop_front();
                }
                None => break,
            }
        }
        drop(free);
        drop(unwanted);
    }
}

impl Free {
    fn fits(&self, bytes: u64) -> bool {
        self.places > 0 && self.bytes >= bytes
    }

    fn forget_the_gone(&mut self) {
        self.queues.values_mut().for_each(|queue| queue.retain(|waiter| !waiter.call.is_closed()));
        self.waiting = self.queues.values().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::time::Duration;

    const WAIT: Duration = Duration::from_secs(5);

    fn run(name: &str) -> RunId {
        name.parse().unwrap()
    }

    async fn soon<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(WAIT, future).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_agent_lets_its_tool_run() {
        let pool = Pool::new(Capacity::of_places(1, 1, 1, 1));
        let one = run("one");
        let mut agent = pool.lease(&one, Berth::Agent(0), 1).await.unwrap();
        assert!(soon(pool.lease(&one, Berth::Tool, 1)).await.is_none(), "the one running place was taken");
        agent.park();
        let tool = soon(pool.lease(&one, Berth::Tool, 1)).await.expect("the place was given back").unwrap();
        assert!(soon(agent.resume()).await.is_none());
        drop(tool);
        soon(agent.resume()).await.expect("dropping the lease returned the place");
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_held_before_a_cell_starts() {
        let capacity = Capacity { memory_bytes_max: 2 * CELL_BYTES_MAX, ..Capacity::of_places(9, 9, 1, 9) };
        let (pool, one) = (Pool::new(capacity), run("one"));
        let large = pool.lease(&one, Berth::Tool, CELL_BYTES_MAX).await.unwrap();
        assert!(soon(pool.lease(&one, Berth::Tool, 1)).await.is_none(), "there were places and no memory");
        soon(pool.lease(&one, Berth::Agent(0), 1)).await.expect("agents have memory of their own").unwrap();
        drop(large);
        soon(pool.lease(&one, Berth::Tool, u64::MAX)).await.expect("nobody waits for more than there is").unwrap();
    }

    #[tokio::test]
    async fn a_script_and_those_it_calls_fit_however_little_memory_there_is() {
        for memory_bytes_max in [1, CELL_BYTES_MAX, 24 * CELL_BYTES_MAX, 1 << 50] {
            let capacity = Capacity { memory_bytes_max, ..Capacity::of_places(1, 1, 5, 9) };
            let (pool, one) = (Pool::new(capacity), run("one"));
            let alive = capacity.scripts_alive();
            assert!((2..=5).contains(&alive), "{alive}");
            let mut leases = Vec::new();
            for _ in 0..alive {
                leases.push(pool.lease(&one, Berth::Script, CELL_BYTES_MAX).now_or_never().expect("it fits").unwrap());
            }
        }
        assert_eq!(Capacity::of_places(1, 1, 1, 1).scripts_alive(), 1);
    }

    #[tokio::test]
    async fn agents_of_all_depths_together_are_no_more_than_may_be_alive() {
        for (agents, at) in
            [(1, [1, 0, 0, 0]), (2, [1, 1, 0, 0]), (4, [1, 1, 1, 1]), (16, [13, 1, 1, 1]), (256, [232, 8, 8, 8])]
        {
            let (pool, one) = (Pool::new(Capacity::of_places(1, agents, 1, 999)), run("one"));
            let mut leases = Vec::new();
            for (depth, places) in (0u8..).zip(at) {
                for _ in 0..places {
                    leases.push(
                        pool.lease(&one, Berth::Agent(depth), 1).now_or_never().expect("there is a place").unwrap(),
                    );
                }
                match pool.lease(&one, Berth::Agent(depth), 1).now_or_never() {
                    None => assert!(places > 0, "who waits in vain should be told"),
                    Some(refused) => assert_eq!((places, &*refused.unwrap_err().quota), (0, "agents-alive")),
                }
            }
            assert_eq!(leases.len(), agents);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn runs_take_turns_and_each_keeps_its_order() {
        let pool = Pool::new(Capacity::of_places(1, 1, 1, 9));
        let first = pool.lease(&run("busy"), Berth::Tool, 1).await.unwrap();
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (name, n) in [("busy", 0), ("busy", 1), ("busy", 2), ("busy", 3), ("late", 0), ("late", 1)] {
            let (pool, served) = (pool.clone(), Arc::clone(&served));
            tasks.push(tokio::spawn(async move {
                let _lease = pool.lease(&run(name), Berth::Tool, 1).await.unwrap();
                served.lock().unwrap().push((name, n));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }));
            tokio::task::yield_now().await;
        }
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        let order = served.lock().unwrap().clone();
        assert_eq!(order, [("busy", 0), ("late", 0), ("busy", 1), ("late", 1), ("busy", 2), ("busy", 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_cell_is_not_kept_out_by_small_ones() {
        let capacity = Capacity { memory_bytes_max: 2 * CELL_BYTES_MAX, ..Capacity::of_places(9, 1, 1, 9) };
        let (pool, one) = (Pool::new(capacity), run("one"));
        let small = pool.lease(&one, Berth::Tool, 1).await.unwrap();
        let mut large = Box::pin(pool.lease(&one, Berth::Tool, CELL_BYTES_MAX));
        assert!((&mut large).now_or_never().is_none());
        let mut later = Box::pin(pool.lease(&one, Berth::Tool, 1));
        assert!((&mut later).now_or_never().is_none(), "it fits, and waits for its turn");
        drop(small);
        drop(soon(large).await.expect("the large one came first").unwrap());
        soon(later).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_is_forgotten_and_a_full_queue_says_so() {
        let capacity = Capacity { queue_max: 2, ..Capacity::of_places(1, 1, 1, 9) };
        let (pool, one) = (Pool::new(capacity), run("one"));
        let held = pool.lease(&one, Berth::Tool, 1).await.unwrap();
        let mut first = Box::pin(pool.lease(&one, Berth::Tool, 1));
        let mut second = Box::pin(pool.lease(&one, Berth::Tool, 1));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        let refused = pool.lease(&one, Berth::Tool, 1).await.unwrap_err();
        assert_eq!(refused, LimitHit { quota: "queue-length".into(), limit: 2, used: 3 });
        drop(first);
        drop(held);
        soon(second).await.expect("the place went past the one who left").unwrap();
        assert_eq!(pool.tools.free().waiting, 0);
        soon(pool.lease(&one, Berth::Tool, 1)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn under_many_takers_every_place_comes_back() {
        let pool = Pool::new(Capacity::of_places(3, 1, 1, 2));
        let tasks: Vec<_> = (0..500u64)
            .map(|n| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let run = run(&format!("r{}", n % 7));
                    let wait = Duration::from_micros(n * 37 % 900);
                    // Some give up while they wait, or in the instant they are called.
                    if let Ok(Ok(lease)) = tokio::time::timeout(wait, pool.lease(&run, Berth::Tool, n << 10)).await {
                        tokio::task::yield_now().await;
                        drop(lease);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let whole = Pool::new(Capacity::of_places(3, 1, 1, 2));
        for (now, new) in [(&pool.tools, &whole.tools), (&pool.running, &whole.running)] {
            let (now, new) = (now.free(), new.free());
            assert_eq!((now.places, now.bytes), (new.places, new.bytes));
        }
    }
}
