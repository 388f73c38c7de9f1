//! The verbs against a real directory. What must never live here: tests of one part; those are beside it.

use super::*;
use std::io::{Read, Seek, SeekFrom, Write};

fn root() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    set_root(dir.path());
    dir
}

#[test]
fn what_is_written_is_read() {
    let _root = root();
    create_dir_all("a/b").unwrap();
    create_dir_all("a/b").unwrap();
    write("a/b/c.txt", "one\n").unwrap();
    append("a/b/c.txt", "two\n").unwrap();
    assert_eq!(read_to_string("./a//b/c.txt").unwrap(), "one\ntwo\n");
    assert_eq!(metadata("a/b/c.txt").unwrap().len(), 8);
    assert!(metadata("a").unwrap().is_dir());
    write("a/b/c.txt", "three").unwrap();
    assert_eq!(read("a/b/c.txt").unwrap(), b"three");
}

#[test]
fn absolute_paths_are_not_below_the_root() {
    let root = root();
    write("x", "here").unwrap();
    assert_eq!(read(root.path().join("x")).unwrap(), b"here");
    assert_eq!(read("/x-that-is-nowhere").unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn errors_name_the_path() {
    let _root = root();
    let error = read("no/such").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().starts_with("cannot open no/such: "), "{error}");
    write("latin", b"caf\xe9").unwrap();
    let error = read_to_string("latin").unwrap_err();
    assert_eq!(error.to_string(), "cannot read latin: not UTF-8 text: byte 3 does not fit");
    write("file", "").unwrap();
    assert!(create_dir_all("file/below").is_err());
    assert!(read_dir("file").is_err());
}

#[test]
fn a_denial_says_what_is_held() {
    let cause = io::Error::from(io::ErrorKind::PermissionDenied);
    let error = error::at("read", "src/x", cause);
    assert_eq!(error.to_string(), "cannot read src/x: permission denied; the cell holds write:., write:/");
    let denial = denial(&error).unwrap();
    assert_eq!(denial.needed, "read:src/x");
    assert_eq!(crate::Error::from(error), crate::Error::Denied(denial));
}

#[test]
fn entries_carry_their_type_and_odd_names_do_not_end_the_listing() {
    let root = root();
    create_dir_all("d/sub").unwrap();
    write("d/file", "").unwrap();
    let dir = root.path().join("d");
    std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
    odd_name(&dir);
    let (named, odd): (Vec<_>, Vec<_>) = read_dir("d").unwrap().partition(Result::is_ok);
    let mut named: Vec<_> = named.into_iter().flatten().map(|entry| (entry.path(), entry.file_type())).collect();
    named.sort();
    let expected = [("d/file", FileType::File), ("d/link", FileType::Symlink), ("d/sub", FileType::Dir)]
        .map(|(p, t)| (p.to_owned(), t));
    assert_eq!(named, expected);
    assert_eq!(odd.len(), 1);
    assert!(symlink_metadata("d/link").unwrap().is_symlink());
    assert!(metadata("d/link").unwrap().is_file());
}

fn odd_name(dir: &Path) {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"odd\xff");
    #[allow(clippy::disallowed_methods, reason = "the SDK itself cannot make such a name")]
    std::fs::write(dir.join(name), "").unwrap();
}

#[test]
fn files_read_and_write_in_place() {
    let _root = root();
    let mut file = File::create("f").unwrap();
    file.write_all(b"0123456789").unwrap();
    file.seek(SeekFrom::Start(4)).unwrap();
    file.write_all(b"xy").unwrap();
    let mut file = File::open("f").unwrap();
    assert_eq!(file.read_at(3, 4).unwrap(), b"3xy6");
    assert_eq!(file.read_at(8, 10).unwrap(), b"89");
    assert_eq!(file.seek(SeekFrom::End(-2)).unwrap(), 8);
    let mut rest = Vec::new();
    file.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"89");
    assert!(file.seek(SeekFrom::Start(0)).and_then(|_| file.seek(SeekFrom::Current(-1))).is_err());
}

#[test]
fn a_bounded_read_says_whether_there_was_more() {
    let _root = root();
    write("f", "12345").unwrap();
    let file = File::open("f").unwrap();
    let mut bytes = b"old".to_vec();
    assert_eq!(file.read_whole(&mut bytes, 5).unwrap(), Size::Whole);
    assert_eq!(bytes, b"12345");
    let file = File::open("f").unwrap();
    assert_eq!(file.read_whole(&mut bytes, 4).unwrap(), Size::CutOff);
    assert_eq!(bytes, b"1234");
}

#[test]
fn things_are_renamed_and_removed() {
    let _root = root();
    write("f", "1").unwrap();
    create_dir_all("d").unwrap();
    rename("f", "d/g").unwrap();
    assert!(remove_dir("d").is_err());
    remove_file("d/g").unwrap();
    remove_dir("d").unwrap();
    assert_eq!(metadata("d").unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_dir_opens_what_is_below_it() {
    let _root = root();
    create_dir_all("d/e").unwrap();
    write("d/e/f", "deep").unwrap();
    let dir = Dir::open("d").unwrap().open_dir("e").unwrap();
    assert_eq!(dir.path(), "d/e");
    let mut bytes = Vec::new();
    dir.open_file("f").unwrap().read_whole(&mut bytes, u64::MAX).unwrap();
    assert_eq!(bytes, b"deep");
    assert!(dir.open_file("../../x").is_err());
}
