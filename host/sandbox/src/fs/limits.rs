//! What a cell may write, make and hold open. Shared between the cell and its streams. The guest hears `quota`, and the limit
//! it met first is remembered, so that the outcome can name it when the call fails.

use rustix::io::Errno;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use vespiary_kernel::account::{Account, Resource};
use vespiary_kernel::quota::{LimitHit, Quota};

/// Entries of listings one cell may hold at once: what a guest has not read is in the host's memory.
const LISTED_MAX: u64 = 1 << 20;

/// What a cell used of what it may use.
#[derive(Debug)]
pub(crate) struct Spent {
    account: Arc<Account>,
    open: AtomicU64,
    open_max: u64,
    /// Entries of listings that a guest holds and has not read to the end.
    listed: AtomicU64,
    refused: Mutex<Option<LimitHit>>,
}

impl Spent {
    pub(crate) fn new(account: &Arc<Account>, quota: &Quota) -> Arc<Self> {
        Arc::new(Self {
            account: Arc::clone(account),
            open: AtomicU64::new(0),
            open_max: quota.open_files_max,
            listed: AtomicU64::new(0),
            refused: Mutex::default(),
        })
    }

    /// Before bytes are written, or a file grows. Cutting a file returns nothing.
    pub(crate) fn write(&self, bytes: u64) -> io::Result<()> {
        self.account.take(Resource::BytesWritten, bytes).map_err(|hit| self.refuse(hit))
    }

    /// Before a file, directory or link is made.
    pub(crate) fn make(&self) -> io::Result<()> {
        self.account.take(Resource::FilesWritten, 1).map_err(|hit| self.refuse(hit))
    }

    /// What was paid for could not be made.
    pub(crate) fn unmade(&self) {
        self.account.give_back(Resource::FilesWritten, 1);
    }

    /// Before a file is opened. What is returned counts for as long as it lives.
    pub(crate) fn open(self: &Arc<Self>) -> io::Result<Held> {
        self.hold(What::File, 1, "open-files", self.open_max)
    }

    /// Before a listing is handed out.
    pub(crate) fn list(self: &Arc<Self>, entries: usize) -> io::Result<Held> {
        self.hold(What::Entry, entries as u64, "listed-entries", LISTED_MAX)
    }

    fn hold(self: &Arc<Self>, what: What, amount: u64, quota: &str, limit: u64) -> io::Result<Held> {
        let before = self.count(what).fetch_add(amount, Ordering::Relaxed);
        let held = Held { spent: Arc::clone(self), what, amount };
        let used = before.saturating_add(amount);
        if used > limit {
            return Err(self.refuse(LimitHit { quota: quota.into(), limit, used }));
        }
        Ok(held)
    }

    fn count(&self, what: What) -> &AtomicU64 {
        match what {
            What::File => &self.open,
            What::Entry => &self.listed,
        }
    }

    /// The first limit that was met, if one was: the likely reason when the call fails afterwards.
    pub(crate) fn refusal(&self) -> Option<LimitHit> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes written and files made so far.
    #[cfg(test)]
    pub(crate) fn used(&self) -> (u64, u64) {
        (self.account.used(Resource::BytesWritten), self.account.used(Resource::FilesWritten))
    }

    fn refuse(&self, hit: LimitHit) -> io::Error {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(hit);
        Errno::DQUOT.into()
    }
}

/// What is held and given back.
#[derive(Debug, Clone, Copy)]
enum What {
    File,
    Entry,
}

/// The place of an open file or of a listing.
#[derive(Debug)]
pub(crate) struct Held {
    spent: Arc<Spent>,
    what: What,
    amount: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.spent.count(self.what).fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_and_bytes_do_not() {
        let quota = Quota { bytes_written_max: 10, files_written_max: 1, open_files_max: 2, ..Quota::default() };
        let spent = Spent::new(&Account::alone(&quota), &quota);
        let (one, _two) = (spent.open().unwrap(), spent.open().unwrap());
        assert!(spent.open().is_err() && spent.open().is_err(), "a refusal takes no place");
        drop(one);
        let _three = spent.open().unwrap();
        spent.write(10).unwrap();
        assert_eq!(spent.write(1).unwrap_err().raw_os_error(), Some(Errno::DQUOT.raw_os_error()));
        assert_eq!(spent.refusal().unwrap().quota, "open-files", "the first refusal is the one remembered");
        spent.make().unwrap();
        assert!(spent.make().is_err());
        spent.unmade();
        spent.make().unwrap();
        assert_eq!(spent.used(), (10, 1));
    }

    #[test]
    fn entries_that_are_held_have_a_limit_and_come_back() {
        let quota = Quota::default();
        let spent = Spent::new(&Account::alone(&quota), &quota);
        let all = spent.list(LISTED_MAX as usize).unwrap();
        assert!(spent.list(1).is_err());
        assert_eq!(spent.refusal().unwrap().quota, "listed-entries");
        drop(all);
        spent.list(1).unwrap();
    }
}
