//! What all processes of a run use together, read from a `/proc` that shows no others. Looking is a sample: a peak between
//! two looks is missed, and the limits of `limits` bound what a single process can do meanwhile.
#![allow(clippy::disallowed_methods, reason = "it reads /proc")]

use crate::wire::Used;
use nix::sys::resource::{UsageWho, getrusage};
use std::fs;
use std::io;
use std::time::Duration;

/// Clock ticks of `/proc/PID/stat`: the kernel's interface fixes them at 100 a second, whatever it counts with itself.
const TICK: Duration = Duration::from_millis(10);

/// One look at the tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) processes: u64,
    pub(crate) memory_bytes: u64,
    cpu: Duration,
}

/// What the tree has used so far. Never goes down.
#[derive(Debug, Default)]
pub(crate) struct Account {
    last: Duration,
    lost: Duration,
    peak: u64,
}

impl Sample {
    /// Look at everything but this process, which is process 1.
    ///
    /// # Errors
    /// Something is there and cannot be looked at: what is not seen must not be taken for nothing.
    pub(crate) fn take() -> io::Result<Self> {
        let mut sample = Self::of_ended();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            if pid == 1 {
                continue;
            }
            let Some(line) = unless_ended(fs::read(format!("/proc/{pid}/stat")))? else { continue };
            let (cpu, threads) = stat(&line).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is odd")))?;
            sample.cpu += cpu;
            sample.processes += threads;
            let status = unless_ended(fs::read(format!("/proc/{pid}/status")))?.unwrap_or_default();
            sample.memory_bytes = sample.memory_bytes.saturating_add(memory(&status));
        }
        Ok(sample)
    }

    /// When nothing is left to look at.
    pub(crate) fn of_ended() -> Self {
        Self { cpu: of_ended(), ..Self::default() }
    }
}

/// A process that ends while it is looked at is found at the next look, in its parent's account.
fn unless_ended(read: io::Result<Vec<u8>>) -> io::Result<Option<String>> {
    match read {
        Ok(bytes) if bytes.is_empty() => Ok(None),
        // The name of a program need be no text.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Account {
    /// Take a look into account, and say what has been used up to it.
    pub(crate) fn note(&mut self, sample: &Sample) -> Used {
        // A parent that ignores its children's end makes their time vanish from the kernel's sums; here it stays.
        self.lost += self.last.saturating_sub(sample.cpu);
        self.last = sample.cpu;
        self.peak = self.peak.max(sample.memory_bytes);
        let cpu = self.last + self.lost;
        Used { cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX), memory_bytes_peak: self.peak }
    }
}

/// Processor time of all that ended and was waited for by this process, their own children's included.
fn of_ended() -> Duration {
    let micros = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0))
    };
    getrusage(UsageWho::RUSAGE_CHILDREN)
        .map_or(Duration::ZERO, |used| micros(used.user_time()) + micros(used.system_time()))
}

/// Processor time, with that of children waited for, and threads, out of a line of `/proc/PID/stat`.
fn stat(line: &str) -> Option<(Duration, u64)> {
    // The second field is the program's name in parentheses and may hold anything, parentheses too.
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u32>().ok()).sum::<u32>();
    Some((TICK * ticks, fields.get(17)?.parse().ok()?))
}

/// Private and shared memory out of `/proc/PID/status`, without what is only mapped from files.
fn memory(status: &str) -> u64 {
    let of = |line: &str| line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
    let counts = |line: &&str| ["RssAnon:", "RssShmem:", "VmSwap:"].iter().any(|name| line.starts_with(name));
    status.lines().filter(counts).map(of).sum::<u64>().saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_made_to_confuse_is_read_past() {
        let line = "7 (a) b) 9 9) S 1 7 7 0 -1 0 0 0 0 0 3 4 5 6 20 0 2 0 100 0 0";
        assert_eq!(stat(line), Some((TICK * 18, 2)));
        assert_eq!(stat("7 (x"), None);
    }

    #[test]
    fn memory_is_private_shared_and_swapped() {
        let status = "Name:\tx\nRssAnon:\t  10 kB\nRssFile:\t 500 kB\nRssShmem:\t   2 kB\nVmSwap:\t 1 kB\n";
        assert_eq!(memory(status), 13 * 1024);
    }

    #[test]
    fn time_that_vanishes_is_not_given_back() {
        let mut account = Account::default();
        let at = |ms| Sample { cpu: Duration::from_millis(ms), ..Sample::default() };
        assert_eq!(account.note(&at(500)).cpu_us, 500_000);
        assert_eq!(account.note(&at(100)).cpu_us, 500_000);
        assert_eq!(account.note(&at(150)).cpu_us, 550_000);
    }
}
