//! The batched interface answers as the standard one does, and no call of it is without bound.

use super::super::backing::Kind;
use super::differential::{any_path, furnish};
use super::*;
use crate::bindings::tree::Host;
use crate::cell::{Cell, Senses};
use proptest::prelude::*;

fn cell(bed: Bed) -> (Cell, DirHandle, tempfile::TempDir) {
    let quota = Quota::default();
    (Cell::empty(&quota, Account::alone(&quota), Senses::Real, bed.files), bed.dir, bed._temp)
}

/// What the standard interface says of reading `path`, a link at its end not followed.
fn standard(cell: &mut Cell, dir: &DirHandle, path: &str) -> Result<Vec<u8>, String> {
    let read = cell.files.open_at(dir, path, Last::Keep, READ).and_then(|handle| match handle {
        Handle::Dir(_) => Err(Errno::ISDIR.into()),
        Handle::File(mut file) => cell.files.read(&mut file, u64::MAX, 0).map(|(bytes, _)| bytes),
    });
    read.map_err(|error| super::super::code::code(&error).name().to_owned())
}

/// What the standard interface says of the length of the file at `path`, a link at its end not followed.
fn standard_length(cell: &mut Cell, dir: &DirHandle, path: &str) -> Result<u64, String> {
    let length = cell.files.stat_at(dir, path, Last::Keep).and_then(|stat| match stat.kind {
        Kind::File => Ok(stat.bytes),
        Kind::Dir => Err(Errno::ISDIR.into()),
        _ => Err(Errno::INVAL.into()),
    });
    length.map_err(|error| super::super::code::code(&error).name().to_owned())
}

/// What the standard interface says of the names in the directory at `path`, a link at its end not followed.
fn standard_names(cell: &mut Cell, dir: &DirHandle, path: &str) -> Result<Vec<String>, String> {
    let wanted = Wanted { directory: true, ..READ };
    let names = cell.files.open_at(dir, path, Last::Keep, wanted).and_then(|handle| match handle {
        Handle::File(_) => Err(Errno::NOTDIR.into()),
        Handle::Dir(dir) => cell.files.list(&dir),
    });
    let names = names.map(|entries| sorted(entries.into_iter().filter_map(|entry| entry.name.into_string().ok())));
    names.map_err(|error| super::super::code::code(&error).name().to_owned())
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_is_judged_as_the_standard_interface_judges(
        paths in proptest::collection::vec(any_path().prop_filter("the root and climbing are spelled otherwise", |path| {
            !path.is_empty() && !path.starts_with('/') && !path.split('/').any(|name| name == "..")
        }), 1..12),
    ) {
        let granted = &["read:a", "read:f", "read:l", "read:c", "read:b", "read:x"];
        let bed = Setting { denied: &["read:a/b"], ..Setting::of(granted) }.bed();
        furnish(&bed.root);
        let (mut cell, dir, _temp) = cell(bed);
        let answers = Host::read(&mut cell, paths.clone(), u64::MAX).unwrap();
        prop_assert_eq!(answers.len(), paths.len());
        for (path, answer) in paths.iter().zip(answers) {
            let expected = standard(&mut cell, &dir, path);
            prop_assert_eq!(answer.map(|content| content.bytes), expected, "{}", path);
        }
        let lengths = Host::lengths(&mut cell, paths.clone()).unwrap();
        let listings = Host::list(&mut cell, paths.clone()).unwrap();
        prop_assert_eq!((lengths.len(), listings.len()), (paths.len(), paths.len()));
        for (path, (length, listing)) in paths.iter().zip(lengths.into_iter().zip(listings)) {
            prop_assert_eq!(length, standard_length(&mut cell, &dir, path), "the length of {}", path);
            let names = listing.map(|listing| sorted(listing.entries.into_iter().map(|entry| entry.name)));
            prop_assert_eq!(names, standard_names(&mut cell, &dir, path), "the entries of {}", path);
        }
    }
}

#[test]
fn hidden_and_outside_paths_are_refused_in_batches_too() {
    let bed = Bed::with(&["read:."]).holding(&["a", ".env", "d/.env", "d/b", ".git/config"]);
    symlink(".env", bed.root.join("link")).unwrap();
    let (mut cell, _, _temp) = cell(bed);
    let ask = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let paths = ask(&[".env", "d/.env", ".git/config", "./.env", "link", "../secret", "/etc/passwd", "d/../.env", "d"]);
    let answers = Host::read(&mut cell, paths.clone(), 100).unwrap();
    let codes: Vec<_> = answers.into_iter().map(|answer| answer.err().unwrap()).collect();
    let absent = "no-entry";
    assert_eq!(
        codes,
        [absent, absent, absent, absent, "loop", "not-permitted", "not-permitted", "not-permitted", "is-directory"]
    );
    let answers = Host::lengths(&mut cell, paths).unwrap();
    let codes: Vec<_> = answers.into_iter().map(|answer| answer.err().unwrap()).collect();
    assert_eq!(
        codes,
        [absent, absent, absent, absent, "invalid", "not-permitted", "not-permitted", "not-permitted", "is-directory"]
    );
    let listings = Host::list(&mut cell, ask(&[".", "d", "a", ".git", "none"])).unwrap();
    let names = |listing: &Result<crate::bindings::tree::Listing, String>| -> Vec<String> {
        let mut names: Vec<_> = listing.as_ref().unwrap().entries.iter().map(|entry| entry.name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&listings[0]), [".git", "a", "d", "link"]);
    assert_eq!(names(&listings[1]), ["b"]);
    assert_eq!(names(&listings[3]), [""; 0]);
    assert_eq!(
        (listings[2].as_ref().err().unwrap().as_str(), listings[4].as_ref().err().unwrap().as_str()),
        ("not-directory", absent)
    );
}

#[test]
fn what_is_too_long_is_not_judged_in_batches_either() {
    let (mut cell, _, _temp) = cell(Bed::with(&["read:."]));
    let paths = || vec![hidden_and_long(); 3];
    let all = |codes: Vec<Option<String>>| codes.iter().all(|code| code.as_deref() == Some("name-too-long"));
    assert!(all(Host::read(&mut cell, paths(), 100).unwrap().into_iter().map(Result::err).collect()));
    assert!(all(Host::lengths(&mut cell, paths()).unwrap().into_iter().map(Result::err).collect()));
    assert!(all(Host::list(&mut cell, paths()).unwrap().into_iter().map(Result::err).collect()));
}

#[test]
fn a_call_gives_only_so_much_and_always_something() {
    let bed = Bed::with(&["read:."]).holding(&["small"]);
    for n in 0..5 {
        std::fs::write(bed.root.join(format!("big-{n}")), vec![b'x'; 3 << 20]).unwrap();
    }
    let (mut cell, _, _temp) = cell(bed);
    let big: Vec<_> = (0..5).map(|n| format!("big-{n}")).collect();
    let answers = Host::read(&mut cell, big.clone(), u64::MAX).unwrap();
    assert_eq!(answers.len(), 1, "two of them are more than a call gives");
    let first = answers.into_iter().next().unwrap().unwrap();
    assert_eq!((first.bytes.len(), first.whole), (3 << 20, true));
    let answers = Host::read(&mut cell, big, 1_000).unwrap();
    assert_eq!(answers.len(), 5);
    assert!(
        answers.iter().all(|answer| matches!(answer, Ok(content) if content.bytes.len() == 1_000 && !content.whole))
    );
    let many = Host::read(&mut cell, vec!["small".to_owned(); 5_000], 100).unwrap();
    assert_eq!(many.len(), 1_024);
    assert_eq!(Host::list(&mut cell, vec![".".to_owned(); 5_000]).unwrap().len(), 1_024);
    assert_eq!(Host::lengths(&mut cell, vec!["small".to_owned(); 5_000]).unwrap(), vec![Ok(16); 1_024]);
    assert!(Host::read(&mut cell, Vec::new(), 100).unwrap().is_empty());
}
