//! Who is told of what.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use slab::Slab;

use super::feed::Feed;
use super::group::{Group, Predicate};
use super::inbox::{Inbox, Wake};
use super::mark::Mark;
use crate::core::Interest;
use crate::error::{Error, ErrorKind, Result};
use crate::store::metrics;

/// The groups of watchers, found by the keys that concern them, and the streams that they are in.
///
/// The lock is held for one look-up or one change of the index, and by the [`Pump`](super::Pump)
/// for a few hundred look-ups. The sequencer never takes it.
pub(in crate::store) struct Hub {
    /// How far the store has published.
    pub(super) mark: Mark,
    /// Everything up to here is in the inboxes of those whom it concerns.
    told: AtomicU64,
    compacted: AtomicU64,
    pub(super) index: Mutex<Index>,
    chance: RandomState,
}

pub(super) struct Index {
    pub(super) groups: Interest<Arc<Group>>,
    /// The last revision that was or is being matched with the groups. One that is added now hears
    /// of those after it; its members find the others in the log of the state, which holds them
    /// since they are published. So between the two there is neither a gap nor a repetition.
    pub(super) posted: u64,
    streams: Slab<Arc<Inbox>>,
    /// The streams to be told when the store has come further, by their number.
    advancing: HashMap<usize, Arc<Inbox>>,
    /// How many are in groups.
    watchers: u64,
    closed: bool,
}

/// A watcher's membership.
pub(super) struct Joined {
    pub(super) group: Arc<Group>,
    /// The group's number in the index.
    pub(super) id: usize,
    /// The watcher's seat in the group.
    pub(super) seat: usize,
    /// Whether there is nothing to look at yet.
    pub(super) parked: bool,
}

impl Hub {
    pub(in crate::store) fn new(revision: u64, compact_revision: u64) -> Self {
        let index = Index {
            groups: Interest::new(RandomState::new()),
            posted: revision,
            streams: Slab::new(),
            advancing: HashMap::new(),
            watchers: 0,
            closed: false,
        };
        Self {
            mark: Mark::new(revision),
            told: AtomicU64::new(revision),
            compacted: AtomicU64::new(compact_revision),
            index: Mutex::new(index),
            chance: RandomState::new(),
        }
    }

    /// This state can be read from now on.
    pub(in crate::store) fn published(&self, revision: u64, compact_revision: u64) {
        self.compacted.store(compact_revision, Ordering::Release);
        self.mark.raise(revision);
    }

    /// The compact revision of the newest state.
    pub(super) fn compacted(&self) -> u64 {
        self.compacted.load(Ordering::Acquire)
    }

    /// A number that nobody can foresee.
    pub(super) fn chance(&self, of: (usize, i64)) -> u64 {
        self.chance.hash_one(of)
    }

    /// Everything up to here is in the inboxes. To be read before the inbox.
    pub(super) fn told(&self) -> u64 {
        self.told.load(Ordering::Acquire)
    }

    /// Everything up to `revision` is in the inboxes; whoever waits for that is told.
    pub(super) fn set_told(&self, revision: u64, wakes: &mut Vec<Wake>) {
        self.told.store(revision, Ordering::Release);
        let mut index = self.index.lock();
        wakes.extend(index.advancing.drain().map(|(_, inbox)| inbox.nudge()));
    }

    pub(super) fn add_stream(&self, inbox: &Arc<Inbox>) -> Result<usize> {
        let mut index = self.index.lock();
        index.check_open()?;
        let number = index.streams.insert(Arc::clone(inbox));
        metrics::watch_streams(index.streams.len());
        Ok(number)
    }

    pub(super) fn remove_stream(&self, number: usize) {
        let mut index = self.index.lock();
        index.streams.try_remove(number);
        index.advancing.remove(&number);
        metrics::watch_streams(index.streams.len());
    }

    /// Tells the stream once when the store has come further than `seen`. True if it has.
    pub(super) fn tell_advance(&self, number: usize, seen: u64) -> bool {
        let mut index = self.index.lock();
        if self.told() > seen {
            return true;
        }
        if let Some(inbox) = index.streams.get(number).cloned() {
            index.advancing.insert(number, inbox);
        }
        false
    }

    /// Adds a watcher that wants every revision from `next` on. What comes before that must be
    /// published.
    pub(super) fn join(
        &self,
        predicate: Predicate,
        inbox: &Arc<Inbox>,
        place: u32,
        next: u64,
    ) -> Result<Joined> {
        let mut index = self.index.lock();
        index.check_open()?;
        let (id, group) = index.group(predicate);
        let (seat, parked) = group.feed.join(Arc::clone(inbox), place, next);
        index.watchers += 1;
        metrics::watchers(index.watchers);
        Ok(Joined { group, id, seat, parked })
    }

    pub(super) fn leave(&self, id: usize, group: &Group, seat: usize) {
        let mut index = self.index.lock();
        if group.feed.leave(seat) {
            index.groups.remove(id);
        }
        index.watchers -= 1;
        metrics::watchers(index.watchers);
    }

    /// How many streams there are, and watchers in them.
    pub(in crate::store) fn counts(&self) -> (u64, u64) {
        let index = self.index.lock();
        (index.streams.len() as u64, index.watchers)
    }

    /// Nothing is matched any more: watchers find the rest in the log, and then they end.
    pub(in crate::store) fn close(&self) {
        self.mark.close();
        let mut index = self.index.lock();
        index.closed = true;
        let wakes: Vec<_> = index.streams.iter().map(|(_, inbox)| inbox.close()).collect();
        drop(index);
        wakes.into_iter().for_each(Wake::wake);
    }
}

impl Index {
    fn check_open(&self) -> Result<()> {
        if self.closed {
            return Err(Error::new(ErrorKind::Closed, "nobody tells the watchers any more"));
        }
        Ok(())
    }

    fn group(&mut self, predicate: Predicate) -> (usize, Arc<Group>) {
        let mut same = self.groups.same(&predicate.span);
        if let Some((id, group)) = same.find(|(_, group)| group.predicate == predicate) {
            return (id, Arc::clone(group));
        }
        drop(same);
        let group = Arc::new(Group { predicate, feed: Feed::new(self.posted + 1) });
        (self.groups.insert(Arc::clone(&group)), group)
    }
}
