//! What is handed on as it is written, beside what can be read back.

use super::{call_ended, ended, example, flush, id, intended, place, started};
use crate::ledger::Ledger;
use crate::reader::Recorded;
use vespiary_kernel::event::{Event, RunStatus};
use vespiary_kernel::json::Json;
use vespiary_kernel::ports::Log;

/// All that is in a feed which has ended or soon will.
fn all(feed: &crate::feed::Feed) -> Vec<Recorded> {
    std::iter::from_fn(|| feed.next()).flatten().collect()
}

#[test]
fn a_feed_holds_what_the_record_holds_and_long_values_whole() {
    let (_directory, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let feed = ledger.follow(&id("r-1"));
    example(&ledger, "r-2");
    example(&ledger, "r-1");
    flush(&ledger).unwrap();
    ledger.unfollow(&id("r-1"));
    let fed = all(&feed);
    let reader = ledger.reader().unwrap();
    let read: Vec<_> = reader.events(&id("r-1")).unwrap().map(Result::unwrap).collect();
    let places =
        |events: &[Recorded]| events.iter().map(|event| (event.seq, event.time_us, event.hash)).collect::<Vec<_>>();
    assert_eq!(places(&fed), places(&read));
    let mut long = 0;
    for (fed, read) in fed.iter().zip(&read) {
        let (fed, read) = (fed.event.contents().0, read.event.contents().0);
        for (fed, read) in fed.into_iter().zip(read) {
            let (vespiary_kernel::event::Payload::Value(whole), kept) = (fed, reader.value(read).unwrap()) else {
                panic!("{fed:?} is not whole")
            };
            assert_eq!(Some(whole), kept.as_ref());
            long += usize::from(whole.as_str().len() > 4_096);
        }
    }
    assert_eq!(long, 2);
}

#[test]
fn what_nobody_takes_is_left_out_and_the_place_of_what_follows_tells() {
    let (_directory, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    ledger.append(&id("r-1"), started("large")).unwrap();
    flush(&ledger).unwrap();
    let feed = ledger.follow(&id("r-1"));
    let large = Json::of(&"x".repeat(6 << 20)).unwrap();
    for call in 1..=4 {
        ledger.append(&id("r-1"), intended(call, large.clone())).unwrap();
        flush(&ledger).unwrap();
    }
    let places = |events: &[Recorded]| events.iter().map(|event| event.seq).collect::<Vec<_>>();
    assert_eq!(places(&feed.next().unwrap()), [2], "it began after the first");
    assert_eq!(places(&feed.next().unwrap()), [3]);
    // There is room again.
    ledger.append(&id("r-1"), call_ended(1, Ok(Json::null()), vec![])).unwrap();
    ledger.append(&id("r-1"), ended(RunStatus::Completed)).unwrap();
    flush(&ledger).unwrap();
    assert_eq!(places(&feed.next().unwrap()), [6, 7], "4 and 5 did not fit");
}

#[test]
fn a_feed_ends_with_the_ledger_or_with_the_next_one() {
    let (_directory, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let (first, second) = (ledger.follow(&id("r-1")), ledger.follow(&id("r-1")));
    ledger.append(&id("r-1"), started("short")).unwrap();
    flush(&ledger).unwrap();
    assert!(first.next().is_none());
    ledger.close().unwrap();
    assert!(matches!(&all(&second)[..], [Recorded { event: Event::RunStarted { .. }, .. }]));
    assert!(ledger.follow(&id("r-1")).next().is_none(), "nothing more will be written");
}
