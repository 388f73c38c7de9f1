//! Records: whatever text stands in a ledger's row, it is an event or an error, and an event written again is the same text.
//! Folding events into what reports show never fails, in whatever order they come.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vespiary::report::record::Record;
use vespiary_fuzz::lines;
use vespiary_kernel::event::Event;
use vespiary_kernel::json::Json;

fuzz_target!(|data: &[u8]| {
    let mut folding = Record::fold("fuzz".parse().unwrap());
    for (number, line) in (0u64..).zip(lines(data).into_iter().take(64)) {
        let Ok(event) = serde_json::from_str::<Event>(&line) else { continue };
        let written = Json::of(&event).expect("an event can be written");
        let again: Event = written.read().unwrap_or_else(|error| panic!("{written}: {error}"));
        assert_eq!(Json::of(&again).unwrap(), written, "an event changes when it is read");
        // Clocks go backwards, too.
        folding.add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (number % 60), event);
    }
    let record = folding.finish();
    let _ = (record.duration_us(), record.failed_agents().count());
});
