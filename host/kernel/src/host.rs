//! Ceilings on what the host spends for everybody together and before any call: cells, memory, queues, compiling, connections.
//! Each has a default and its bounds here; a policy lowers them.

use serde::{Deserialize, Serialize};

const MIB: u64 = 1 << 20;

macro_rules! host_limits {
    ($($(#[doc = $doc:literal])+ $field:ident, $request:ident, $name:literal, $default:expr, $least:expr, $most:expr;)+) => {
        /// What the host may spend.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct HostLimits {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        /// Ceilings on it, as policies write them: `compile-time-ms-max = 30000`.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
        pub struct HostCeiling {
            $($(#[doc = $doc])+ #[serde(skip_serializing_if = "Option::is_none")] pub $request: Option<u64>,)+
        }

        impl Default for HostLimits {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl HostLimits {
            /// The same, with nothing above `ceiling`.
            #[must_use]
            pub fn under(&self, ceiling: &HostCeiling) -> Self {
                Self { $($field: ceiling.$request.map_or(self.$field, |most| self.$field.min(most)),)+ }
            }

            /// Every row: name, value in the unit its name ends with, and what it bounds.
            pub fn rows(&self) -> Vec<(&'static str, u64, &'static str)> {
                vec![$(($name, self.$field, concat!($($doc),+).trim_ascii()),)+]
            }
        }

        impl HostCeiling {
            /// Every value that lies outside its bounds, in words.
            pub fn faults(&self) -> Vec<String> {
                let mut faults = Vec::new();
                $(if let Some(value) = self.$request && !($least..=$most).contains(&value) {
                    faults.push(format!("{}-max is {value}; it must lie between {} and {}", $name, $least, $most));
                })+
                faults
            }

            /// The lower of each pair: two ceilings in force together.
            #[must_use]
            pub fn lower_of(&self, other: &HostCeiling) -> Self {
                Self {
                    $($request: match (self.$request, other.$request) {
                        (Some(one), Some(other)) => Some(one.min(other)),
                        (one, other) => one.or(other),
                    },)+
                }
            }
        }
    };
}

host_limits! {
    /// Tool cells alive at once.
    cells_alive, cells_alive_max, "cells-alive", 512, 1, 10_000;
    /// Agent cells alive at once.
    agents_alive, agents_alive_max, "agents-alive", 256, 1, 10_000;
    /// Requests to models under way at once.
    model_requests, model_requests_max, "model-requests", 64, 1, 10_000;
    /// Calls of each sort that wait for a place.
    queue_length, queue_length_max, "queue-length", 100_000, 1, 10_000_000;
    /// Linear memory of all cells together. The default is half of the machine's.
    cells_memory_bytes, cells_memory_bytes_max, "cells-memory-bytes", u64::MAX, 256 * MIB, u64::MAX;
    /// Stack of a guest.
    stack_bytes, stack_bytes_max, "stack-bytes", MIB, 64 << 10, 2 * MIB;
    /// A component before it is compiled.
    component_bytes, component_bytes_max, "component-bytes", 64 * MIB, 8, 1_024 * MIB;
    /// Time to compile one.
    compile_time_ms, compile_time_ms_max, "compile-time-ms", 120_000, 1, 3_600_000;
    /// Memory of the compiler.
    compile_memory_bytes, compile_memory_bytes_max, "compile-memory-bytes", 4_096 * MIB, 256 * MIB, u64::MAX;
    /// HTTP requests to one host in a second, of all calls of a run together.
    http_requests_per_second_per_host, http_requests_per_second_per_host_max, "http-requests-per-second-per-host", 50, 1, 1_000_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_lowers_and_never_raises() {
        let ceiling: HostCeiling = toml::from_str("compile-time-ms-max = 5\nagents-alive-max = 9000").unwrap();
        let limits = HostLimits::default().under(&ceiling);
        assert_eq!((limits.compile_time_ms, limits.agents_alive), (5, 256));
        let other: HostCeiling = toml::from_str("compile-time-ms-max = 3").unwrap();
        assert_eq!(ceiling.lower_of(&other).compile_time_ms_max, Some(3));
        assert!(toml::from_str::<HostCeiling>("compile-time = 5").is_err());
        assert_eq!(HostCeiling { stack_bytes_max: Some(1), ..HostCeiling::default() }.faults().len(), 1);
    }

    #[test]
    fn every_default_lies_within_its_own_bounds() {
        for (name, value, what) in HostLimits::default().rows() {
            // TOML has no number above i64::MAX.
            let value = value.min(i64::MAX as u64);
            let ceiling: HostCeiling = toml::from_str(&format!("{name}-max = {value}")).unwrap();
            assert!(ceiling.faults().is_empty() && what.ends_with('.'), "{name}");
        }
    }
}
