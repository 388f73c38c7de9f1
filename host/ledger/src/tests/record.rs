//! What goes in comes out: order, values, blobs, summaries, several runs and several processes' connections.

use super::*;
use crate::reader::{Reader, Tally};
use crate::store::FaultKind;
use crate::verify::Verdict;

#[test]
fn a_run_reads_back_as_it_was_appended() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    example(&ledger, "r1");
    ledger.close().unwrap();
    let reader = Reader::open(&path).unwrap();
    let events: Vec<_> = reader.events(&id("r1")).unwrap().map(Result::unwrap).collect();
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
    assert!(events.windows(2).all(|pair| pair[0].time_us <= pair[1].time_us && pair[0].hash != pair[1].hash));
    let Event::CallIntended { arguments, .. } = &events[3].event else { panic!("{:?}", events[3]) };
    let Payload::Blob { bytes, .. } = arguments else { panic!("a long value stayed inline") };
    assert_eq!(*bytes, 10_002);
    assert_eq!(reader.value(arguments).unwrap().unwrap().read::<String>().unwrap(), "long ".repeat(2_000));
    let Event::CallIntended { arguments, .. } = &events[5].event else { panic!("{:?}", events[5]) };
    assert_eq!(reader.value(arguments).unwrap().unwrap().as_str(), r#"{"path":"a"}"#);

    let summary = reader.run(&id("r1")).unwrap();
    assert_eq!((summary.title.as_str(), summary.status), ("an audit", RunStatus::Degraded));
    assert_eq!(summary.tally, Tally { agents: 1, agents_failed: 0, calls: 2, calls_failed: 1 });
    assert_eq!((summary.events, summary.head), (9, events[8].hash));
    assert!(summary.ended_ms.is_some_and(|end| end >= summary.started_ms));
    let Verdict::Intact(intact) = reader.verify(&id("r1")).unwrap() else { panic!() };
    assert_eq!((intact.events, intact.blobs, intact.ended, intact.head), (9, 2, true, summary.head));
}

#[test]
fn equal_bytes_are_kept_once() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let count = || -> i64 {
        ledger.reader().unwrap().connection.query_row("SELECT count(*) FROM blobs", [], |row| row.get(0)).unwrap()
    };
    example(&ledger, "r1");
    flush(&ledger).unwrap();
    assert_eq!(count(), 2, "the same value went in and came out; the artifact is the other");
    example(&ledger, "r2");
    flush(&ledger).unwrap();
    assert_eq!(count(), 2);
    assert_eq!(ledger.reader().unwrap().blob(&Digest::of(b"left behind")).unwrap().unwrap(), b"left behind");
    assert_eq!(ledger.reader().unwrap().blob(&Digest::of(b"never")).unwrap(), None);
}

#[test]
fn change_sets_are_kept_with_their_contents_and_verified_with_the_chain() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let long = |word: &str| Payload::Value(Json::of(&word.repeat(2_000)).unwrap());
    let artifacts = |content: &[u8]| vec![artifact(content)];
    for event in [
        started("t"),
        Event::AgentChanged {
            agent: AgentId(1),
            changes: long("one "),
            files: 1,
            counted: true,
            artifacts: artifacts(b"new content"),
        },
        Event::ChangesMerged {
            changes: long("two "),
            files: 1,
            conflicts: long("three "),
            conflicting: 1,
            artifacts: artifacts(b"merged content"),
        },
        ended(RunStatus::Completed),
    ] {
        ledger.append(&id("r1"), event).unwrap();
    }
    flush(&ledger).unwrap();
    let reader = ledger.reader().unwrap();
    let Verdict::Intact(intact) = reader.verify(&id("r1")).unwrap() else { panic!() };
    assert_eq!(intact.blobs, 5);
    for content in [&b"new content"[..], b"merged content"] {
        assert_eq!(reader.blob(&Digest::of(content)).unwrap().unwrap(), content);
    }
    ledger.close().unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("DROP TRIGGER blobs_stay").unwrap();
    connection.execute("DELETE FROM blobs WHERE digest = ?1", [Digest::of(b"merged content").as_bytes()]).unwrap();
    let Verdict::Broken(broken) = Reader::open(&path).unwrap().verify(&id("r1")).unwrap() else { panic!() };
    assert_eq!(broken.seq, 3);
}

#[test]
fn the_votes_on_a_claim_are_kept_like_any_long_value() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let votes = Json::of(&vec!["denied for a reason that takes a while to tell"; 200]).unwrap();
    ledger.append(&id("r"), started("claims")).unwrap();
    let judged = Event::ClaimJudged {
        claim: "all is well".into(),
        verdict: vespiary_kernel::script::Verdict::Refuted,
        votes: Payload::Value(votes.clone()),
    };
    ledger.append(&id("r"), judged).unwrap();
    ledger.close().unwrap();
    let reader = Reader::open(&path).unwrap();
    let events: Vec<_> = reader.events(&id("r")).unwrap().map(|event| event.unwrap().event).collect();
    let Event::ClaimJudged { votes: kept, .. } = &events[1] else { panic!("{:?}", events[1]) };
    assert!(matches!(kept, Payload::Blob { .. }), "{kept:?}");
    assert_eq!(reader.value(kept).unwrap().unwrap(), votes);
    let Verdict::Intact(intact) = reader.verify(&id("r")).unwrap() else { panic!() };
    assert_eq!(intact.blobs, 1);
    assert!(reader.verify_all(|_, verdict| assert!(matches!(verdict, Verdict::Intact(_)))).unwrap().is_empty());
    let manifest = reader.export(&id("r"), &Default::default(), &mut Vec::new()).unwrap();
    assert_eq!(manifest.blobs, 1, "it travels with the run");
}

#[test]
fn what_is_flushed_is_seen_by_a_reader_while_the_run_goes_on() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let reader = ledger.reader().unwrap();
    ledger.append(&id("r1"), started("t")).unwrap();
    for n in 1..=1_000 {
        ledger.append(&id("r1"), intended(n, Json::null())).unwrap();
        if n % 250 == 0 {
            flush(&ledger).unwrap();
            assert_eq!(reader.run(&id("r1")).unwrap().events, n + 1);
            assert_eq!(reader.events(&id("r1")).unwrap().count() as u64, n + 1, "over a page's end");
            assert!(matches!(reader.verify(&id("r1")).unwrap(), Verdict::Intact(i) if !i.ended));
        }
    }
    assert_eq!(reader.run(&id("r1")).unwrap().status, RunStatus::Running);
}

#[test]
fn runs_that_interleave_keep_chains_of_their_own_also_across_openings_and_writers() {
    let (_dir, path) = place();
    let names = ["a", "b", "c"];
    for (round, name) in names.iter().enumerate() {
        let ledgers = [Ledger::open(&path).unwrap(), Ledger::open(&path).unwrap()];
        ledgers[round % 2].append(&id(name), started(name)).unwrap();
        flush(&ledgers[round % 2]).unwrap();
        for n in 0..50 {
            for earlier in &names[..=round] {
                // Each run is written by one process at a time, as in life; the file by several.
                ledgers[round % 2].append(&id(earlier), intended(n, Json::null())).unwrap();
            }
            ledgers[1 - round % 2].append(&id(&format!("{name}-{n}")), started("other")).unwrap();
        }
        for ledger in &ledgers {
            ledger.close().unwrap();
        }
    }
    let reader = Reader::open(&path).unwrap();
    for (name, events) in names.iter().zip([151, 101, 51]) {
        assert!(matches!(reader.verify(&id(name)).unwrap(), Verdict::Intact(i) if i.events == events), "{name}");
    }
    let runs = reader.runs(10).unwrap();
    assert_eq!((runs.len(), runs[0].id.as_str()), (10, "c-49"), "newest first");
    assert_eq!(reader.runs(usize::MAX).unwrap().len(), 153);
}

#[test]
fn appending_from_many_threads_keeps_each_threads_order() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    ledger.append(&id("r"), started("t")).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let ledger = &ledger;
            scope.spawn(move || {
                (0..2_000).for_each(|n| ledger.append(&id("r"), intended(thread * 10_000 + n, Json::null())).unwrap())
            });
        }
    });
    ledger.close().unwrap();
    let reader = Reader::open(&path).unwrap();
    let mut last = [None; 8];
    for recorded in reader.events(&id("r")).unwrap().skip(1) {
        let Event::CallIntended { call, .. } = recorded.unwrap().event else { panic!() };
        let (thread, n) = ((call.0 / 10_000) as usize, call.0 % 10_000);
        assert_eq!(last[thread].map_or(0, |l| l + 1), n);
        last[thread] = Some(n);
    }
    assert_eq!(last, [Some(1_999); 8]);
    assert!(matches!(reader.verify(&id("r")).unwrap(), Verdict::Intact(i) if i.events == 16_001));
}

#[test]
fn a_run_begins_with_its_start_and_only_once() {
    for wrong in [vec![intended(1, Json::null())], vec![started("t"), started("again")]] {
        let (_dir, path) = place();
        let ledger = Ledger::open(&path).unwrap();
        for event in wrong {
            ledger.append(&id("r"), event).unwrap();
        }
        let error = flush(&ledger).unwrap_err();
        assert!(error.what.contains("run r "), "{error}");
        assert_eq!(ledger.append(&id("other"), started("t")).unwrap_err(), error, "and nothing more is accepted");
        assert!(Reader::open(&path).unwrap().runs(9).unwrap().is_empty(), "the group was not half written");
    }
}

#[test]
fn an_unknown_run_is_named_with_the_way_to_find_it() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let reader = ledger.reader().unwrap();
    for error in [
        reader.run(&id("nope")).unwrap_err(),
        reader.events(&id("nope")).map(drop).unwrap_err(),
        reader.verify(&id("nope")).unwrap_err(),
    ] {
        assert_eq!(error.kind, FaultKind::Missing);
        assert!(error.to_string().contains("no run nope") && error.to_string().contains("runs list"), "{error}");
    }
}

#[test]
fn after_closing_nothing_is_accepted_and_closing_again_is_harmless() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    example(&ledger, "r1");
    ledger.close().unwrap();
    ledger.close().unwrap();
    assert!(ledger.append(&id("r2"), started("t")).unwrap_err().to_string().contains("closed"));
    flush(&ledger).unwrap();
}

#[test]
fn dropping_writes_what_is_left() {
    let (_dir, path) = place();
    example(&Ledger::open(&path).unwrap(), "r1");
    assert_eq!(Reader::open(&path).unwrap().run(&id("r1")).unwrap().events, 9);
}
