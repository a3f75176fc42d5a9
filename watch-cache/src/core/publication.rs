//! Where the one writer shows its state to those who read it.

use std::sync::atomic::Ordering;

use super::mark::Mark;
use super::sync::{AtomicU64, Held, Swap};

/// The published state, and how far the groups' heads are complete.
#[derive(Debug)]
pub(crate) struct Publication<V> {
    view: Swap<V>,
    /// Up to here the groups' heads are complete, and what they lead to is published.
    settled: AtomicU64,
}

/// What a reader of a group has found, each part at least as new as the one before.
pub(crate) struct Reading<V> {
    /// The group's head is complete up to here.
    pub(crate) settled: u64,
    /// The newest revision that concerned the group, if a group was asked for and that is known: if not,
    /// the log is to be read itself.
    pub(crate) head: Option<u64>,
    /// Everything that the head leads to is in it.
    pub(crate) view: Held<V>,
}

impl<V> Publication<V> {
    pub(crate) fn new(view: V) -> Self {
        Self { view: Swap::new(view), settled: AtomicU64::new(0) }
    }

    /// Loading it waits for nobody, and nobody waits for who has it.
    pub(crate) fn view(&self) -> Held<V> {
        self.view.load()
    }

    /// Shows the state at a revision. A reader that finds a head which `settle` has set finds what it
    /// leads to, and one that finds the revision settled finds the heads.
    ///
    /// Where all begins `anew`, at whatever revision, who has seen the new state finds nothing settled
    /// before it is. The heads of before have to stay until `settle`: who finds another has to find that
    /// the state is another, too.
    pub(crate) fn publish<T>(
        &self,
        view: V,
        revision: u64,
        anew: bool,
        settle: impl FnOnce() -> T,
    ) -> T {
        if anew {
            self.settled.store(0, Ordering::Release);
        }
        self.view.store(view);
        let settled = settle();
        self.settled.store(revision, Ordering::Release);
        settled
    }

    /// What is there to read for a group: in the other order than it is published.
    pub(crate) fn read(&self, mark: Option<&Mark>, revision: impl Fn(&V) -> u64) -> Reading<V> {
        let settled = self.settled.load(Ordering::Acquire);
        let head = mark.map(Mark::head);
        let view = self.view.load();
        // One beyond it is of before all began anew.
        let head = head.filter(|head| *head <= revision(&view));
        Reading { settled, head, view }
    }
}
