//! What is recorded of what a cell saw.

use super::*;
use vespiary_kernel::observed::{Observation, Observed, ReadSet};

fn state<'a>(set: &'a ReadSet, path: &str) -> Option<&'a Observed> {
    set.observations.iter().find(|one| one.path == path).map(|Observation { state, .. }| state)
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_string()
}

#[test]
fn contents_listings_links_and_absences_are_recorded_once_each() {
    let mut bed = Bed::with(&["read:."]).holding(&["a", "d/b", ".env"]);
    symlink("d", bed.root.join("l")).unwrap();
    bed.read("a").unwrap();
    bed.read("a").unwrap();
    bed.read("l/b").unwrap();
    bed.read("none").unwrap_err();
    bed.read(".env").unwrap_err();
    bed.names("d");
    bed.files.stat_at(&bed.dir, "d/b", Last::Follow).unwrap();
    let set = bed.files.observations();
    assert!(set.complete);
    let paths: Vec<_> = set.observations.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(paths, ["a", "d", "d/b", "l", "none"], "what is hidden leaves no trace");
    let Some(Observed::File { bytes: 12, read: true, content: Some(content) }) = state(&set, "a") else { panic!() };
    assert_eq!(content.to_string(), digest(b"content of a"));
    assert!(matches!(state(&set, "d"), Some(Observed::Directory { listing: Some(_) })));
    assert!(matches!(state(&set, "l"), Some(Observed::Link { target: Some(target) }) if target == "d"));
    assert_eq!(state(&set, "none"), Some(&Observed::Absent));
    assert!(bed.files.observations().observations.is_empty());
}

#[test]
fn a_part_that_was_read_stands_for_the_whole() {
    let mut bed = Bed::with(&["read:."]);
    let content = vec![7; 3 << 20];
    std::fs::write(bed.root.join("big"), &content).unwrap();
    let mut file = bed.file("big", READ).unwrap();
    bed.files.read(&mut file, 10, 5).unwrap();
    let set = bed.files.observations();
    let Some(Observed::File { content: Some(found), .. }) = state(&set, "big") else { panic!() };
    assert_eq!(found.to_string(), digest(&content));
}

#[test]
fn what_the_cell_wrote_itself_is_no_observation() {
    let mut bed = Bed::with(&["write:."]).holding(&["kept", "moved/x", "replaced"]);
    bed.write("new", "x").unwrap();
    bed.read("new").unwrap();
    bed.write("replaced", "y").unwrap();
    bed.read("replaced").unwrap();
    bed.files.rename((&bed.dir, "moved"), (&bed.dir, "away")).unwrap();
    bed.read("away/x").unwrap();
    let mut kept = bed.file("kept", WRITE).unwrap();
    bed.files.write(&mut kept, b"C", 0).unwrap();
    bed.read("kept").unwrap();
    let set = bed.files.observations();
    assert_eq!(state(&set, "new"), Some(&Observed::Absent), "that nothing was there decided something");
    assert!(matches!(state(&set, "replaced"), Some(Observed::File { content: None, .. })));
    assert_eq!(state(&set, "away/x"), None);
    let Some(Observed::File { content: Some(before), .. }) = state(&set, "kept") else { panic!() };
    assert_eq!(before.to_string(), digest(b"content of kept"), "as it was before");
}

#[test]
fn a_file_that_changes_under_the_call_makes_the_record_partial() {
    let mut bed = Bed::with(&["read:."]).holding(&["a"]);
    bed.read("a").unwrap();
    std::fs::write(bed.root.join("a"), "CONTENT of a").unwrap();
    bed.read("a").unwrap();
    assert!(!bed.files.observations().complete);
}

#[test]
fn without_digests_paths_are_recorded_and_off_means_nothing() {
    let mut bed = Setting { recording: Recording::Paths, ..Setting::of(&["read:."]) }.bed().holding(&["a", "b"]);
    bed.read("a").unwrap();
    bed.files.stat_at(&bed.dir, "b", Last::Follow).unwrap();
    let set = bed.files.observations();
    assert!(!set.complete, "a record without digests proves nothing");
    assert_eq!(state(&set, "a"), Some(&Observed::File { bytes: 12, read: true, content: None }));
    assert_eq!(state(&set, "b"), Some(&Observed::File { bytes: 12, read: false, content: None }));
    let mut bed = Setting { recording: Recording::Off, ..Setting::of(&["read:."]) }.bed().holding(&["a"]);
    bed.read("a").unwrap();
    assert_eq!(bed.files.observations(), ReadSet::default());
}
