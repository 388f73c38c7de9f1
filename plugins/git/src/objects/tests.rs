//! Honest and hostile stores.

#![allow(clippy::disallowed_methods, reason = "repositories for tests are made on the disk, by git")]

use super::*;
use crate::fixture::{Fixture, Packed, deflated, write_pack};

fn store() -> Objects {
    Objects::open(".git/objects".to_owned()).unwrap()
}

fn id_of(data: &[u8]) -> ObjectId {
    hash(Kind::Blob, data).unwrap()
}

fn whole(data: &[u8]) -> Packed {
    Packed { id: id_of(data), code: 3, size: data.len() as u64, base: Vec::new(), data: data.to_vec() }
}

fn delta(id: ObjectId, base: ObjectId, data: &[u8]) -> Packed {
    Packed { id, code: 7, size: data.len() as u64, base: base.as_slice().to_vec(), data: data.to_vec() }
}

fn any_id(byte: u8) -> ObjectId {
    ObjectId::from([byte; 20])
}

/// Every object that git knows is read alike, loose and packed.
#[test]
fn all_objects_are_read_as_git_reads_them() {
    let mut fixture = Fixture::new();
    let mut text: Vec<String> =
        (0..3000).map(|line| format!("line {line} of a file that is worth a delta\n")).collect();
    for round in 0..12 {
        text[round * 100] = format!("changed in round {round}\n");
        fixture.write("big.txt", text.concat());
        fixture.write(&format!("dir/{round}.txt"), format!("{round}\n"));
        fixture.commit("round");
    }
    fixture.git(&["tag", "-a", "v1", "-m", "first"]);
    let list = fixture.git(&["cat-file", "--batch-check", "--batch-all-objects"]);
    let read_all = || {
        let store = store();
        for line in list.lines() {
            let (id, rest) = line.split_once(' ').unwrap();
            let object = store.read(ObjectId::from_hex(id.as_bytes()).unwrap()).unwrap();
            assert_eq!(format!("{} {}", object.kind, object.data.len()), rest);
        }
    };
    assert!(list.lines().count() > 40);
    read_all();
    fixture.git(&["repack", "-q", "-a", "-d", "-f", "--depth=50"]);
    assert_eq!(fixture.git(&["count-objects"]).trim(), "0 objects, 0 kilobytes");
    read_all();
    // Packs whose deltas name their base by hash.
    let pack = fixture.git_bytes(&["pack-objects", "--all", "--stdout", "--no-delta-base-offset", "-q"], b"");
    let old = fixture.file(".git/objects/pack", ".pack");
    std::fs::remove_file(old.with_extension("idx")).unwrap();
    std::fs::remove_file(old).unwrap();
    fixture.write("new.pack", &pack);
    fixture.git(&["index-pack", "-o", ".git/objects/pack/pack-new.idx", "new.pack"]);
    std::fs::rename(fixture.path("new.pack"), fixture.path(".git/objects/pack/pack-new.pack")).unwrap();
    read_all();
}

#[test]
fn abbreviations_find_loose_and_packed_objects() {
    let mut fixture = Fixture::new();
    fixture.write("a", "a");
    let packed = fixture.commit("one");
    fixture.git(&["repack", "-q", "-a", "-d"]);
    fixture.write("a", "b");
    let loose = fixture.commit("two");
    for id in [packed, loose] {
        let found = store().beginning(&Prefix::parse(&id[..9]).unwrap(), 10).unwrap();
        assert_eq!(found, [ObjectId::from_hex(id.as_bytes()).unwrap()]);
    }
    assert!(Prefix::parse("abc").is_none() && Prefix::parse("xyzw").is_none());
}

#[test]
fn an_alternate_inside_is_used_and_one_outside_is_named() {
    let mut fixture = Fixture::new();
    fixture.write("a", "in the alternate");
    fixture.commit("one");
    let id = id_of(b"in the alternate");
    std::fs::rename(fixture.path(".git/objects"), fixture.path("elsewhere")).unwrap();
    fixture.write(".git/objects/info/alternates", "../../elsewhere\n../../../../../nowhere\n");
    assert_eq!(store().read(id).unwrap().data.as_slice(), b"in the alternate");
    let said = store().read(any_id(7)).unwrap_err().to_string();
    assert!(said.contains("missing") && said.contains("../../../../../nowhere"), "{said}");
}

#[test]
fn a_false_hash_is_found_out() {
    let fixture = Fixture::new();
    let mut liar = whole(b"not what it says");
    liar.id = any_id(0x42);
    write_pack(&fixture, &[liar]);
    let said = store().read(any_id(0x42)).unwrap_err().to_string();
    assert!(said.contains("its content has the hash"), "{said}");
}

#[test]
fn chains_in_a_circle_end() {
    let fixture = Fixture::new();
    let (one, two) = (any_id(1), any_id(2));
    write_pack(&fixture, &[delta(one, two, &[0, 0]), delta(two, one, &[0, 0]), delta(any_id(3), any_id(3), &[0, 0])]);
    for id in [one, two, any_id(3)] {
        let said = store().read(id).unwrap_err().to_string();
        assert!(said.contains("chain of deltas is longer"), "{said}");
    }
}

#[test]
fn a_delta_bomb_is_refused_before_it_unfolds() {
    let fixture = Fixture::new();
    let base = vec![b'x'; 0x10000];
    // Each step copies its base sixteen times.
    let mut entries = vec![whole(&base)];
    let mut last = (entries[0].id, base.len() as u64);
    for step in 1..12 {
        let size = last.1 * 16;
        let mut data = Vec::new();
        for mut number in [last.1, size] {
            while number > 0x7f {
                data.push((number & 0x7f) as u8 | 0x80);
                number >>= 7;
            }
            data.push(number as u8);
        }
        for _ in 0..16 {
            data.extend_from_slice(&[0xf0, 0xff, 0xff, 0xff]);
        }
        entries.push(delta(any_id(step), last.0, &data));
        last = (any_id(step), size);
    }
    write_pack(&fixture, &entries);
    for step in [2, 3, 11] {
        assert!(store().read(any_id(step)).is_err());
    }
    assert!(store().read(entries[0].id).is_ok());
}

#[test]
fn claims_of_size_are_not_believed() {
    let fixture = Fixture::new();
    let mut huge = whole(b"small");
    (huge.id, huge.size) = (any_id(1), u64::MAX >> 7);
    let mut large = whole(b"small");
    (large.id, large.size) = (any_id(2), OBJECT_BYTES_MAX);
    let mut less = whole(b"larger than it says");
    (less.id, less.size) = (any_id(3), 3);
    let bomb = Packed { id: any_id(4), code: 3, size: 10, base: Vec::new(), data: vec![0; 1 << 20] };
    let nowhere = Packed { id: any_id(5), code: 6, size: 2, base: vec![0xff, 0xff, 0xff, 0x7f], data: vec![0, 0] };
    let itself = Packed { id: any_id(6), code: 6, size: 2, base: vec![0], data: vec![0, 0] };
    let unknown = Packed { id: any_id(8), code: 5, size: 2, base: Vec::new(), data: vec![0, 0] };
    write_pack(&fixture, &[huge, large, less, bomb, nowhere, itself, unknown]);
    for (byte, why) in [
        (1, "at most"),
        (2, "fewer"),
        (3, "more"),
        (4, "more"),
        (5, "outside its pack"),
        (6, "outside its pack"),
        (8, "none of Git's"),
    ] {
        let said = store().read(any_id(byte)).unwrap_err().to_string();
        assert!(said.contains(why), "{byte}: {said}");
    }
}

#[test]
fn loose_files_that_lie_are_refused() {
    let fixture = Fixture::new();
    for (content, why) in [
        (deflated(b"blob 5\0four"), "fewer"),
        (deflated(b"blob 3\0four"), "more"),
        (deflated(b"blob 99999999999\0x"), "at most"),
        (deflated(b"blob -1\0x"), "header"),
        (deflated(b"blob \0x"), "header"),
        (deflated(b"bolb 1\0x"), "header"),
        (deflated(&[b'9'; 4000]), "header"),
        (b"not compressed".to_vec(), "damaged"),
        (Vec::new(), "too early"),
        (deflated(b"blob 4\0four")[..12].to_vec(), "too early"),
        (deflated(b"blob 4\0four"), "has the hash"),
    ] {
        fixture.write(&format!(".git/objects/{}/{}", "07", "07".repeat(19)), content);
        let said = store().read(any_id(7)).unwrap_err().to_string();
        assert!(said.contains(why), "{why}: {said}");
    }
}

/// Every byte of a small pack and of its index is damaged in turn; nothing may panic, nothing false may be given.
#[test]
fn damage_anywhere_is_an_error_or_harmless() {
    let mut fixture = Fixture::new();
    for round in 0..4 {
        fixture.write("a", format!("{}{round}", "some text that deltas like\n".repeat(40)));
        fixture.commit("round");
    }
    fixture.git(&["repack", "-q", "-a", "-d", "-f"]);
    let ids: Vec<ObjectId> = fixture
        .git(&["cat-file", "--batch-check=%(objectname)", "--batch-all-objects"])
        .lines()
        .map(|id| ObjectId::from_hex(id.as_bytes()).unwrap())
        .collect();
    for end in [".pack", ".idx"] {
        let path = fixture.file(".git/objects/pack", end);
        let good = std::fs::read(&path).unwrap();
        let step = good.len() / 400 + 1;
        for at in (0..good.len()).step_by(step) {
            for mask in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= mask;
                Fixture::overwrite(&path, &bad);
                let store = store();
                for id in &ids {
                    if let Ok(object) = store.read(*id) {
                        assert_eq!(hash(object.kind, &object.data).unwrap(), *id);
                    }
                }
                let _ = store.beginning(&Prefix::parse(&ids[0].to_string()[..4]).unwrap(), 10);
            }
            Fixture::overwrite(&path, &good[..at]);
            let store = store();
            for id in &ids {
                let _ = store.read(*id);
            }
        }
        Fixture::overwrite(&path, &good);
    }
}
