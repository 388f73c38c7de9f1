//! A bundle is the same bytes each time, and any other bytes are no bundle.

use super::*;
use crate::bundle::{self, Opened};
use crate::reader::Reader;
use crate::verify::{Break, Verdict};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::Path;

fn report() -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([("report.md".to_owned(), b"# words".to_vec()), ("a.html".to_owned(), vec![b'x'; 600])])
}

/// A ledger with the example run, and its bundle.
fn bundled() -> (TempDir, PathBuf, Vec<u8>) {
    let (dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    example(&ledger, "r1");
    ledger.close().unwrap();
    let mut bytes = Vec::new();
    Reader::open(&path).unwrap().export(&id("r1"), &report(), &mut bytes).unwrap();
    (dir, path, bytes)
}

fn verify(bytes: &[u8]) -> Opened {
    bundle::verify(bytes, Path::new("b.tar")).unwrap()
}

#[track_caller]
fn broken(bytes: &[u8]) -> Break {
    match verify(bytes).verdict {
        Verdict::Broken(broken) => broken,
        Verdict::Intact(intact) => panic!("the forgery went unseen: {intact:?}"),
    }
}

#[test]
fn a_bundle_is_whole_repeatable_and_readable_by_anybody() {
    let (_dir, path, bytes) = bundled();
    let Opened { run, seal, verdict: Verdict::Intact(intact) } = verify(&bytes) else { panic!() };
    assert_eq!((run, intact.events, intact.blobs, intact.ended), (Some(id("r1")), 9, 2, true));
    let reader = Reader::open(&path).unwrap();
    assert_eq!(intact.head, reader.run(&id("r1")).unwrap().head);
    let mut again = Vec::new();
    let manifest = reader.export(&id("r1"), &report(), &mut again).unwrap();
    assert!(bytes == again, "the same run gives the same bytes");
    assert_eq!(seal, Some(manifest.seal()));

    let mut archive = tar::Archive::new(&bytes[..]);
    let names: Vec<_> =
        archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names[..2], ["bundle.json", "events.jsonl"]);
    assert!(names[2] < names[3] && names[2].starts_with("blobs/"), "{names:?}");
    assert_eq!(names[4..], ["report/a.html", "report/report.md"]);
}

/// Reports are made from the events, which the head stands for, by whoever writes the bundle.
#[test]
fn another_report_is_another_seal_and_no_other_head() {
    let (_dir, path, bytes) = bundled();
    let forged = |name: &str| {
        let mut forged = Vec::new();
        let report = BTreeMap::from([(name.to_owned(), b"All clear".to_vec())]);
        Reader::open(&path).unwrap().export(&id("r1"), &report, &mut forged).unwrap();
        forged
    };
    let (
        Opened { seal: one, verdict: Verdict::Intact(whole), .. },
        Opened { seal: other, verdict: Verdict::Intact(same), .. },
    ) = (verify(&bytes), verify(&forged("report.md")))
    else {
        panic!()
    };
    assert_eq!(whole.head, same.head);
    assert_ne!(one, other);
    for name in [".hidden", "a b", "x/y", "\u{1b}[2J"] {
        assert!(broken(&forged(name)).what.contains("no report is called"), "{name:?}");
    }
}

#[test]
fn every_changed_byte_is_seen() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    for event in [started("s"), call_ended(1, Ok(Json::null()), vec![artifact(b"x")]), ended(RunStatus::Completed)] {
        ledger.append(&id("r1"), event).unwrap();
    }
    ledger.close().unwrap();
    let (mut small, report) = (Vec::new(), BTreeMap::from([("a".to_owned(), b"y".to_vec())]));
    Reader::open(&path).unwrap().export(&id("r1"), &report, &mut small).unwrap();
    assert!(matches!(verify(&small).verdict, Verdict::Intact(_)));
    for at in 0..small.len() {
        for flip in [0x01, 0x20, 0x80] {
            small[at] ^= flip;
            assert!(!matches!(verify(&small).verdict, Verdict::Intact(_)), "byte {at} of {}", small.len());
            small[at] ^= flip;
        }
    }
}

#[test]
fn changed_bytes_anywhere_in_a_larger_one_are_seen() {
    let (_dir, _path, mut bytes) = bundled();
    let mut random = 0x9e37_79b9_u32;
    for _ in 0..300 {
        // Xorshift: the same places each time.
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let (at, flip) = (random as usize % bytes.len(), (random >> 24) as u8 | 1);
        bytes[at] ^= flip;
        broken(&bytes);
        bytes[at] ^= flip;
    }
}

#[test]
fn the_first_broken_link_is_named() {
    let (_dir, _path, bytes) = bundled();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut changed = bytes.clone();
    changed[text.find("scan").unwrap()] ^= 1;
    let found = broken(&changed);
    assert!(found.seq == 2 && found.expected.len() == 64 && found.found.len() == 64, "{found:?}");
    let mut changed = bytes.clone();
    changed[text.find("left behind").unwrap()] ^= 1;
    let found = broken(&changed);
    assert!(found.seq == 5 && found.what.contains("blob"), "{found:?}");
    let mut changed = bytes;
    changed[text.find("# words").unwrap()] ^= 1;
    let found = broken(&changed);
    assert!(found.seq == 0 && found.what.contains("report.md"), "{found:?}");
}

#[test]
fn a_bundle_cut_anywhere_or_grown_is_refused() {
    let (_dir, _path, bytes) = bundled();
    for length in (0..bytes.len()).step_by(97).chain([bytes.len() - 1, bytes.len() - 512, bytes.len() - 1_024]) {
        broken(&bytes[..length]);
    }
    for more in [&[0u8][..], &[0; 512], b"x"] {
        assert!(broken(&[&bytes[..], more].concat()).what.contains("something after"));
    }
    assert!(broken(b"").what.contains("too early"));
    assert!(broken(&[0; 4_096]).what.contains("bundle.json is missing"));
}

/// The parts of an archive, to be put together otherwise.
fn parts(bytes: &[u8]) -> Vec<(tar::Header, Vec<u8>)> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let (header, mut content) = (entry.header().clone(), Vec::new());
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        (header, content)
    });
    entries.collect()
}

fn packed(parts: &[(tar::Header, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (header, content) in parts {
        let mut header = header.clone();
        header.set_cksum();
        builder.append(&header, &content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn tricks_with_the_archive_are_refused() {
    let (_dir, _path, bytes) = bundled();
    let whole = parts(&bytes);
    assert!(packed(&whole) == bytes, "taken apart and put together it is the same");
    type Trick = fn(&mut Vec<(tar::Header, Vec<u8>)>);
    let tricks: [(&str, Trick); 14] = [
        ("a blob is missing", |p| drop(p.remove(2))),
        ("a report is missing", |p| drop(p.pop())),
        ("a file too many", |p| p.push(p[5].clone())),
        ("another order", |p| p.swap(2, 3)),
        ("events before the manifest", |p| p.swap(0, 1)),
        ("a path that leads out", |p| p[5].0.as_mut_bytes()[..6].copy_from_slice(b"../x\0\0")),
        ("an absolute path", |p| p[5].0.as_mut_bytes()[..6].copy_from_slice(b"/etc/x")),
        ("a symbolic link", |p| p[5].0.set_entry_type(tar::EntryType::Symlink)),
        ("a hard link", |p| p[5].0.set_entry_type(tar::EntryType::Link)),
        ("a link's target", |p| p[5].0.set_link_name("/etc/passwd").unwrap()),
        ("a time", |p| p[5].0.set_mtime(1)),
        ("a mode", |p| p[5].0.set_mode(0o4755)),
        ("an owner", |p| p[5].0.set_uid(1)),
        ("a name of more than one form", |p| p[5].0.as_mut_bytes()[99] = b'x'),
    ];
    for (name, trick) in tricks {
        let mut parts = whole.clone();
        trick(&mut parts);
        let found = broken(&packed(&parts));
        assert!(!found.what.is_empty(), "{name}");
    }
    // A size that no memory holds is refused before anything is read.
    for (part, bytes) in [(0, 1u64 << 30), (1, 1 << 40), (2, 1 << 40), (4, 1 << 40), (2, u64::MAX)] {
        let mut headers = Vec::new();
        for (header, content) in &whole[..part] {
            headers.extend_from_slice(
                &packed(&[(header.clone(), content.clone())])[..512 + content.len().div_ceil(512) * 512],
            );
        }
        let mut header = whole[part].0.clone();
        header.set_size(bytes);
        header.set_cksum();
        headers.extend_from_slice(header.as_bytes());
        let found = broken(&headers);
        assert!(
            found.what.contains("larger than") || found.what.contains("too early") || found.what.contains("line"),
            "{part}: {found:?}"
        );
    }
}

#[test]
fn a_record_that_does_not_hold_is_not_exported() {
    let (_dir, path, _bytes) = bundled();
    let forger = Connection::open(&path).unwrap();
    forger
        .execute_batch("DROP TRIGGER events_stay_as_written; UPDATE events SET time_us = 1 WHERE key & 4294967295 = 3")
        .unwrap();
    let error = Reader::open(&path).unwrap().export(&id("r1"), &report(), Vec::new()).unwrap_err();
    assert!(error.what.contains("event 3"), "{error}");
}
