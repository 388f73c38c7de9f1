//! A small memory of things lately used, bounded by what they weigh. What must never live here: what the things are.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::Hash;

/// Keeps what was used last, up to a total weight in bytes.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    kept: RefCell<HashMap<K, Kept<V>>>,
    bytes: Cell<usize>,
    bytes_max: usize,
    clock: Cell<u64>,
}

#[derive(Debug)]
struct Kept<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Hash + Eq + Copy, V: Clone> Recent<K, V> {
    /// An empty memory for values that weigh `bytes_max` bytes together.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { kept: RefCell::default(), bytes: Cell::new(0), bytes_max, clock: Cell::new(0) }
    }

    /// The value kept under `key`, if it still is.
    pub(crate) fn recall(&self, key: &K) -> Option<V> {
        let mut kept = self.kept.borrow_mut();
        let found = kept.get_mut(key)?;
        found.used = self.tick();
        Some(found.value.clone())
    }

    /// Keeps a value that weighs `bytes`. One heavier than a quarter of the whole is not kept: it would push out too much.
    pub(crate) fn keep(&self, key: K, value: V, bytes: usize) {
        if bytes > self.bytes_max / 4 {
            return;
        }
        if self.bytes.get() + bytes > self.bytes_max {
            self.forget_older_half();
        }
        let kept = Kept { value, bytes, used: self.tick() };
        let replaced = self.kept.borrow_mut().insert(key, kept).map_or(0, |old| old.bytes);
        self.bytes.set(self.bytes.get() + bytes - replaced);
    }

    /// Half at once, so that a full memory does not sort itself for every value that comes in.
    fn forget_older_half(&self) {
        let mut kept = self.kept.borrow_mut();
        let mut stamps: Vec<u64> = kept.values().map(|value| value.used).collect();
        stamps.sort_unstable();
        let middle = stamps.get(stamps.len() / 2).copied().unwrap_or(0);
        kept.retain(|_, value| value.used > middle);
        self.bytes.set(kept.values().map(|value| value.bytes).sum());
    }

    fn tick(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_is_bounded_and_the_lately_used_stay() {
        let recent = Recent::new(1000);
        for key in 0..100 {
            recent.keep(key, key * 2, 100);
            assert_eq!(recent.recall(&0), Some(0), "0 is used all the time");
            assert!(recent.bytes.get() <= 1000);
        }
        assert_eq!(recent.recall(&1), None);
        recent.keep(1000, 1, 900);
        assert_eq!(recent.recall(&1000), None, "too heavy to keep");
    }
}
