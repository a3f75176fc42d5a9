//! A group's place in the log.

use std::sync::atomic::Ordering;

use super::sync::AtomicU64;

/// A group's place in the log, shared with its watchers.
#[derive(Debug)]
pub(crate) struct Mark {
    /// A later group may have it again: what is posted of this one is then before its `since`.
    pub(crate) id: u32,
    /// The group's posts are complete above this revision.
    pub(crate) since: u64,
    /// False where the group is concerned by everything and reads the log itself.
    pub(crate) posted: bool,
    /// The newest published revision that concerned the group; 0 for none.
    head: AtomicU64,
}

impl Mark {
    pub(crate) fn new(id: u32, since: u64, posted: bool) -> Self {
        Self { id, since, posted, head: AtomicU64::new(0) }
    }

    /// Every revision up to one that was settled before is at this or reached from it.
    pub(crate) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// What leads to `head` is published.
    pub(crate) fn set_head(&self, head: u64) {
        self.head.store(head, Ordering::Release);
    }
}
