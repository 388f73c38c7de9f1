//! The limits of one call, each with its default, its bounds and its name, in one table: manifests, policy files, refusals and
//! the ledger all use these names. What a whole agent or run may use is in `account`; places on the host are in `pool`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const HOUR_MS: u64 = 3_600_000;

/// The most bytes of one value or artifact that a record can hold. No quota lets a call leave more.
pub const STORED_BYTES_MAX: u64 = 900 * MIB;

/// Makes the quota, the request and everything that must know all rows from one table. A row is: field, unit of the request,
/// name, default, least, most.
macro_rules! quota {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty, $request:ident, $name:literal, $default:expr, $least:expr, $most:expr;)+) => {
        /// The limits of one call.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Quota {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        /// Changes to a quota, as manifests write them, or ceilings on one, as policies do: `memory-bytes-max = 1048576`. Times
        /// are in milliseconds. Unset means: as it was.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
        pub struct QuotaRequest {
            $($(#[doc = $doc])+ #[serde(skip_serializing_if = "Option::is_none")] pub $request: Option<u64>,)+
        }

        impl Default for Quota {
            fn default() -> Self {
                Self { $($field: Unit::of_number($default),)+ }
            }
        }

        impl QuotaRequest {
            /// `base` with these changes, or every value that lies outside its bounds.
            pub fn applied_to(&self, base: &Quota) -> Result<Quota, Vec<String>> {
                let faults = self.faults();
                if !faults.is_empty() {
                    return Err(faults);
                }
                Ok(Quota { $($field: self.$request.map_or(base.$field, Unit::of_number),)+ })
            }

            /// Every value that lies outside its bounds, in words.
            pub fn faults(&self) -> Vec<String> {
                let mut faults = Vec::new();
                $(if let Some(value) = self.$request && !($least..=$most).contains(&value) {
                    faults.push(format!("{}-max is {value}; it must lie between {} and {}", $name, $least, $most));
                })+
                faults
            }

            /// The lower of each pair: two ceilings in force together.
            pub fn lower_of(&self, other: &QuotaRequest) -> QuotaRequest {
                QuotaRequest { $($request: lower(self.$request, other.$request),)+ }
            }
        }

        impl Quota {
            /// The same, with nothing above `ceiling`.
            pub fn under(&self, ceiling: &QuotaRequest) -> Quota {
                Quota { $($field: ceiling.$request.map_or(self.$field, |most| self.$field.min(Unit::of_number(most))),)+ }
            }

            /// Every row: name, value in the unit its name ends with, and what it bounds.
            pub fn rows(&self) -> Vec<(&'static str, u64, &'static str)> {
                vec![$(($name, self.$field.number(), concat!($($doc),+).trim_ascii()),)+]
            }
        }
    };
}

quota! {
    /// Time on a processor, host calls made on the guest's behalf included.
    cpu_time_max: Duration, cpu_time_ms_max, "cpu-time-ms", 10_000, 1, HOUR_MS;
    /// Time from start to end, waiting included.
    wall_time_max: Duration, wall_time_ms_max, "wall-time-ms", 60_000, 1, 24 * HOUR_MS;
    /// Time of one wait during which the cell neither computes nor is served by a tool.
    idle_time_max: Duration, idle_time_ms_max, "idle-time-ms", 30_000, 1, 24 * HOUR_MS;
    /// Linear memory of all the cell's memories together; of a host program, all memory of all its processes.
    memory_bytes_max: u64, memory_bytes_max, "memory-bytes", 128 * MIB, 65_536, 65_536 * MIB;
    /// Elements of all the cell's tables together.
    table_elements_max: u64, table_elements_max, "table-elements", 20_000, 1, 20_000;
    /// Instances a component may consist of.
    instances_max: u64, instances_max, "instances", 32, 1, 32;
    /// JSON text returned.
    result_bytes_max: u64, result_bytes_max, "result-bytes", 4 * MIB, 4, 64 * MIB;
    /// Log lines and standard output together.
    log_bytes_max: u64, log_bytes_max, "log-bytes", 256 * KIB, 0, 64 * MIB;
    /// Files and directories open at once.
    open_files_max: u64, open_files_max, "open-files", 256, 0, 4_096;
    /// Bytes written to files, and bytes by which files grew.
    bytes_written_max: u64, bytes_written_max, "bytes-written", 256 * MIB, 0, 1u64 << 40;
    /// Files, directories and links created.
    files_written_max: u64, files_written_max, "files-written", 10_000, 0, 10_000_000;
    /// HTTP requests sent.
    http_requests_max: u64, http_requests_max, "http-requests", 1_000, 0, 10_000_000;
    /// Bytes of HTTP requests, headers included.
    http_bytes_out_max: u64, http_bytes_out_max, "http-bytes-out", 64 * MIB, 0, 1u64 << 40;
    /// Bytes of HTTP responses, headers included.
    http_bytes_in_max: u64, http_bytes_in_max, "http-bytes-in", 256 * MIB, 0, 1u64 << 40;
    /// Artifacts together.
    artifact_bytes_max: u64, artifact_bytes_max, "artifact-bytes", 64 * MIB, 0, STORED_BYTES_MAX;
    /// Calls an agent plugin makes.
    tool_calls_max: u64, tool_calls_max, "tool-calls", 10_000, 0, 1_000_000;
}

/// A number with a unit, as the table writes it.
trait Unit: Copy + Ord {
    fn of_number(number: u64) -> Self;
    fn number(self) -> u64;
}

impl Unit for u64 {
    fn of_number(number: u64) -> Self {
        number
    }
    fn number(self) -> u64 {
        self
    }
}

impl Unit for Duration {
    fn of_number(ms: u64) -> Self {
        Duration::from_millis(ms)
    }
    fn number(self) -> u64 {
        u64::try_from(self.as_millis()).unwrap_or(u64::MAX)
    }
}

fn lower(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The limit that ended a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitHit {
    /// The quota's name; its last part is the unit, for example `memory-bytes`, `cpu-time-ms`. A limit that a whole agent or
    /// run shares begins with `agent-` or `run-`.
    pub quota: String,
    /// The limit, in that unit.
    pub limit: u64,
    /// What had been used or was asked for, in that unit.
    pub used: u64,
}

impl fmt::Display for LimitHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.quota.split_once('-') {
            Some(("run", _)) => "the run",
            Some(("agent", _)) => "the agent",
            _ => "the call",
        };
        write!(f, "{} is limited to {}; {who} used {}", self.quota, self.limit, self.used)
    }
}

/// A count that may not pass its limit, however many ask at once.
#[derive(Debug)]
pub struct Meter {
    name: &'static str,
    limit: u64,
    used: AtomicU64,
}

impl Meter {
    /// Nothing used yet of `limit`.
    pub fn new(name: &'static str, limit: u64) -> Self {
        Self { name, limit, used: AtomicU64::new(0) }
    }

    /// Take `amount`, or say what the limit is and leave the count as it was.
    pub fn take(&self, amount: u64) -> Result<(), LimitHit> {
        take_below(&self.used, self.limit, amount).map_err(|used| LimitHit {
            quota: self.name.into(),
            limit: self.limit,
            used,
        })
    }

    /// Give back what was taken and not used.
    pub fn give_back(&self, amount: u64) {
        give_back(&self.used, amount);
    }

    /// What has been taken.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Add `amount` unless the sum would pass `limit`; the error is what the sum would have been.
pub(crate) fn take_below(used: &AtomicU64, limit: u64, amount: u64) -> Result<(), u64> {
    let taken = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        used.checked_add(amount).filter(|sum| *sum <= limit)
    });
    taken.map(drop).map_err(|used| used.saturating_add(amount))
}

pub(crate) fn give_back(used: &AtomicU64, amount: u64) {
    // Never below zero, whatever a caller returns: what is not there cannot be given back.
    let _ = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(amount)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_meter_is_never_passed_by_one_unit() {
        let meter = Arc::new(Meter::new("tool-calls", 1_000));
        let refused: u64 = std::thread::scope(|scope| {
            let takers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..500).filter(|_| meter.take(1).is_err()).count() as u64)).collect();
            takers.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!((meter.used(), refused), (1_000, 1_000));
        assert_eq!(meter.take(2).unwrap_err(), LimitHit { quota: "tool-calls".into(), limit: 1_000, used: 1_002 });
        meter.give_back(5_000);
        assert_eq!(meter.used(), 0);
    }

    #[test]
    fn a_request_outside_its_bounds_is_named() {
        let request = QuotaRequest { memory_bytes_max: Some(1 << 50), cpu_time_ms_max: Some(0), ..Default::default() };
        assert_eq!(request.applied_to(&Quota::default()).unwrap_err().len(), 2);
    }

    /// One artifact may be all that a call leaves, and the record must hold it.
    #[test]
    fn no_call_may_leave_or_return_what_no_record_holds() {
        for field in ["artifact-bytes-max", "result-bytes-max"] {
            let request: QuotaRequest = toml::from_str(&format!("{field} = {}", STORED_BYTES_MAX + 1)).unwrap();
            assert_eq!(request.faults().len(), 1, "{field}");
        }
        let most = QuotaRequest { artifact_bytes_max: Some(STORED_BYTES_MAX), ..Default::default() };
        assert!(most.faults().is_empty());
    }

    #[test]
    fn a_ceiling_lowers_and_never_raises() {
        let ceiling = QuotaRequest { wall_time_ms_max: Some(5), log_bytes_max: Some(u64::MAX), ..Default::default() };
        let quota = Quota::default().under(&ceiling);
        assert_eq!((quota.wall_time_max, quota.log_bytes_max), (Duration::from_millis(5), 256 * KIB));
        let other = QuotaRequest { wall_time_ms_max: Some(9), cpu_time_ms_max: Some(1), ..Default::default() };
        let both = ceiling.lower_of(&other);
        assert_eq!((both.wall_time_ms_max, both.cpu_time_ms_max), (Some(5), Some(1)));
    }

    #[test]
    fn every_row_lies_within_its_own_bounds() {
        let rows = Quota::default().rows();
        assert_eq!(rows.len(), 16);
        for (name, value, what) in rows {
            let text = format!("{name}-max = {value}");
            let request: QuotaRequest = toml::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert!(request.faults().is_empty() && what.ends_with('.'), "{text} {what}");
        }
    }

    #[test]
    fn a_hit_says_whose_limit_it_was() {
        let hit = |quota: &str| LimitHit { quota: quota.into(), limit: 1, used: 2 }.to_string();
        assert!(hit("run-tool-calls").contains("the run used") && hit("agent-usd-micros").contains("the agent"));
        assert!(hit("memory-bytes").contains("the call used"));
    }
}
