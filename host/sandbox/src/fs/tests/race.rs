//! A neighbour outside the cell swaps things while the cell opens them. Nothing outside is ever reached, however often.

use super::*;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Opens that are tried while things are swapped.
const TRIES: usize = 20_000;

/// Says that it is over when it is dropped, also by a test that fails: otherwise that test would hang instead.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Exchange `one` and `other` for as long as `run` goes on; gives how often that happened.
fn while_swapping(one: &Path, other: &Path, run: impl FnOnce()) -> usize {
    let (stop, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let over = Over(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        run();
        drop(over);
    });
    swaps.load(Ordering::Relaxed)
}

#[test]
fn a_directory_swapped_for_a_link_out_never_leads_out() {
    for name_by_name in [false, true] {
        let mut bed = Setting { name_by_name, recording: Recording::Off, ..Setting::of(&["write:."]) }.bed();
        bed = bed.holding(&["dir/secret", "way/"]);
        symlink(&bed.outside, bed.root.join("absolute")).unwrap();
        symlink("..", bed.root.join("relative")).unwrap();
        // An inner link, so that paths through it are walked and not only opened.
        symlink("../dir", bed.root.join("way/in")).unwrap();
        for trap in ["absolute", "relative"] {
            let (mut inside, mut refused) = (0, 0);
            let swaps = while_swapping(&bed.root.join("dir"), &bed.root.join(trap), || {
                for n in 0..TRIES / 4 {
                    let path = ["dir/secret", "way/in/secret", "way/in/../dir/secret"][n % 3];
                    match bed.read(path) {
                        Ok(text) => {
                            assert_eq!(text, "content of dir/secret", "something outside was read");
                            inside += 1;
                        }
                        Err(_) => refused += 1,
                    }
                    let _ = bed.files.make_dir(&bed.dir, "dir/made");
                    let _ = bed.files.remove_dir(&bed.dir, "dir/made");
                    let _ = bed.files.rename((&bed.dir, "dir/secret"), (&bed.dir, "dir/secret"));
                    assert!(!bed.outside.join("made").exists(), "something was made outside");
                }
            });
            assert!(swaps > 100 && inside > 0 && refused > 0, "{swaps} swaps, {inside} inside, {refused} refused");
            // However many swaps there were, the directory goes back to its name.
            if bed.root.join("dir").is_symlink() {
                renameat_with(CWD, bed.root.join("dir"), CWD, bed.root.join(trap), RenameFlags::EXCHANGE).unwrap();
            }
        }
        assert_eq!(std::fs::read_to_string(bed.outside.join("secret")).unwrap(), "outside");
    }
}

#[test]
fn a_file_swapped_for_a_link_or_a_fifo_is_never_waited_for_nor_followed() {
    let mut bed = Setting { recording: Recording::Off, ..Setting::of(&["write:."]) }.bed().holding(&["file"]);
    symlink("../secret", bed.root.join("link")).unwrap();
    fifo(&bed.root.join("fifo"));
    for trap in ["link", "fifo"] {
        let mut inside = 0;
        while_swapping(&bed.root.join("file"), &bed.root.join(trap), || {
            for _ in 0..TRIES {
                if let Ok(text) = bed.read("file") {
                    assert_eq!(text, "content of file");
                    inside += 1;
                }
                if let Ok(mut file) = bed.file("file", WRITE) {
                    let _ = bed.files.write(&mut file, b"c", 0);
                }
            }
        });
        assert!(inside > 0, "{trap}");
        if bed.root.join(trap).is_file() && !bed.root.join(trap).is_symlink() {
            renameat_with(CWD, bed.root.join("file"), CWD, bed.root.join(trap), RenameFlags::EXCHANGE).unwrap();
        }
    }
    assert_eq!(std::fs::read_to_string(bed.outside.join("secret")).unwrap(), "outside");
}

#[test]
fn a_hidden_file_swapped_in_under_a_visible_name_needs_the_neighbours_help_to_be_seen() {
    // Moving a hidden file to a visible name is the neighbour's own act; a link to it is not enough at any moment.
    let mut bed = Setting { recording: Recording::Off, ..Setting::of(&["read:."]) }.bed().holding(&["file", ".env"]);
    symlink(".env", bed.root.join("link")).unwrap();
    while_swapping(&bed.root.join("file"), &bed.root.join("link"), || {
        for _ in 0..TRIES {
            if let Ok(text) = bed.read("file") {
                assert_eq!(text, "content of file");
            }
        }
    });
}
