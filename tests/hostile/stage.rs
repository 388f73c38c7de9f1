//! Where one attack is played out: on a runtime of its own, which is gone before its test ends. In the serial pass (see
//! `laws`) nothing else happens in the process meanwhile, and then the host must hold afterwards exactly what it held
//! before: the same descriptors, the same threads. Memory is written down, for the pass to judge as a whole.

use std::any::type_name;
use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vespiary_kernel::pool::Capacity;
use vespiary_sandbox::{Sandbox, SandboxConfig};

/// Names the file that a serial pass writes its measures into; unset, nothing is measured.
pub const MEASURES: &str = "VESPIARY_HOSTILE_MEASURES";

/// Threads and descriptors are given back by the kernel a moment after their owner is done with them.
const MOMENT: Duration = Duration::from_secs(20);

/// Play `attack`. To be called by a test with an `async` block of its own: the name of the block's type is the test's.
pub fn play<F: Future<Output = ()>>(attack: F) {
    let Some(measures) = std::env::var_os(MEASURES) else { return run(attack) };
    warm_up();
    let before = Held::now();
    run(attack);
    let after = before.await_return();
    let name = type_name::<F>().split("::").nth(3).unwrap_or_default();
    let module = type_name::<F>().split("::").nth(2).unwrap_or_default();
    let mut file = fs::OpenOptions::new().append(true).open(Path::new(&measures)).unwrap();
    writeln!(file, "{module}::{name} {}", after.resident_bytes).unwrap();
    let left: Vec<_> = after.descriptors.difference(&before.descriptors).collect();
    assert!(left.is_empty(), "{module}::{name} left descriptors open: {left:?}");
    let left: Vec<_> = after.threads.difference(&before.threads).collect();
    assert!(left.is_empty(), "{module}::{name} left threads behind: {left:?}");
}

/// Whether this process plays one attack at a time.
pub fn alone() -> bool {
    std::env::var_os(MEASURES).is_some()
}

fn run(attack: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(attack);
    // Waits for every task and every thread, also for those that compile.
    drop(runtime);
}

/// Once a process: what is made on first use and kept for good is there before anything is compared.
fn warm_up() {
    static WARM: std::sync::Once = std::sync::Once::new();
    WARM.call_once(|| {
        run(async {
            let rig = super::rig::Rig::new();
            rig.attack("noise.anything", serde_json::json!({}), super::READ).await;
            rig.attack("hostile.panic_with_words", serde_json::json!({}), super::READ).await;
            // The compiler's own threads, which it keeps: they come with the first component that is compiled in this process,
            // and a cache would have its code already.
            let config = SandboxConfig::new(Capacity::of_places(1, 1, 1, 1), super::rig::all_guests());
            let rig = super::rig::Rig::on(Arc::new(Sandbox::new(config).unwrap()));
            rig.attack("bad-variant.anything", serde_json::json!({}), super::READ).await;
        });
    });
}

/// What a process holds of its machine.
struct Held {
    /// Number and target.
    descriptors: BTreeSet<(u32, String)>,
    /// Number and name.
    threads: BTreeSet<(u32, String)>,
    resident_bytes: u64,
}

impl Held {
    fn now() -> Self {
        let numbers = |dir: &str| -> Vec<u32> {
            let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
            names.map(|name| name.to_str().unwrap().parse().unwrap()).collect()
        };
        // What is gone a moment later was the directory being read, or a thread that is just ending.
        let descriptors = numbers("/proc/self/fd").into_iter().filter_map(|fd| {
            let target = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
            Some((fd, target.display().to_string()))
        });
        let threads = numbers("/proc/self/task").into_iter().filter_map(|thread| {
            let name = fs::read_to_string(format!("/proc/self/task/{thread}/comm")).ok()?;
            Some((thread, name.trim().to_owned()))
        });
        Self { descriptors: descriptors.collect(), threads: threads.collect(), resident_bytes: resident_bytes() }
    }

    /// What is held once it is no more than this, or after a moment.
    fn await_return(&self) -> Self {
        let begun = Instant::now();
        loop {
            let now = Self::now();
            let returned = now.descriptors.is_subset(&self.descriptors) && now.threads.is_subset(&self.threads);
            if returned || begun.elapsed() > MOMENT {
                return now;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Memory of this process that is in the machine's, bytes.
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
}
