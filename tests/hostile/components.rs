//! Components that cannot be run, or must not: malformed, of another contract, or asking for what no grant of this version
//! holds. Each is refused before anything in it runs.

use super::READ;
use super::checks::{limit, unrunnable};
use super::rig::{Guests, Rig, all_guests, built};
use super::stage::play;
use serde_json::json;
use std::sync::Arc;
use vespiary_kernel::call::Failure;
use vespiary_kernel::plugin::Kind;
use vespiary_kernel::pool::Capacity;
use vespiary_sandbox::{Sandbox, SandboxConfig};

/// Bytes that are no sound component; what is written as text the rig finds by itself.
pub fn guests(guests: &mut Guests) {
    let good = built("hostile");
    guests.add("truncated", Kind::Tools, "", good[..good.len() / 2].to_vec());
    let bent = good.iter().enumerate().map(|(i, b)| if i % 977 == 400 { b ^ 0x55 } else { *b });
    guests.add("bent", Kind::Tools, "", bent.collect());
    guests.add("core", Kind::Tools, "", wat::parse_str("(module)").unwrap());
    guests.add("noise", Kind::Tools, "", (0..4096u32).map(|i| (i * 7 % 251) as u8).collect());
    guests.add("empty", Kind::Tools, "", Vec::new());
    guests.add("oversized", Kind::Tools, "", [good.as_slice(), &vec![0; 80 << 20]].concat());
    // An empty section of a name that means nothing: sound, and another component than the one it was.
    let marked = [good.as_slice(), &[0, 2, 1, b'x']].concat();
    guests.add("swapped-bytes", Kind::Tools, "", marked.clone());
    guests.swap(&marked, good);
}

written!(sockets, |f| unrunnable(&f, "wasi:sockets"));
written!(http, |f| unrunnable(&f, "wasi:http"));
written!(other_world, |f| unrunnable(&f, "tool-plugin"));
written!(truncated, |f| assert!(matches!(f, Failure::Unrunnable(_)), "{f:?}"));
written!(bent, |f| assert!(matches!(f, Failure::Unrunnable(_)), "{f:?}"));
written!(core, |f| unrunnable(&f, "core WebAssembly module"));
written!(noise, |f| unrunnable(&f, "not WebAssembly"));
written!(empty, |f| unrunnable(&f, "not WebAssembly"));
written!(oversized, |f| limit(&f, "component-bytes"));

/// The catalog gives out other bytes than those that were added, on a host that has never compiled either.
#[test]
fn swapped_bytes() {
    play(async {
        let config = SandboxConfig::new(Capacity::of_places(8, 2, 2, 8), all_guests());
        let rig = Rig::on(Arc::new(Sandbox::new(config).unwrap()));
        let failure = rig.attack("swapped-bytes.anything", json!({}), READ).await;
        unrunnable(&failure, "changed after the plugin was added");
    });
}

written!(huge_table, |f| assert!(matches!(f, Failure::Unrunnable(_) | Failure::Limit(_)), "{f:?}"));
written!(shared_memory, |f| assert!(matches!(f, Failure::Unrunnable(_)), "{f:?}"));
written!(memory_of_64_bits, |f| assert!(matches!(f, Failure::Unrunnable(_) | Failure::Limit(_)), "{f:?}"));
