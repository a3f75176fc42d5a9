//! The multi-version state: what every retained revision looked like.
//!
//! Three persistent trees, so that a clone is a snapshot and costs nothing:
//!
//! - `live`: the newest version of every key that exists now. Counts cost `O(log n)` here.
//! - `history`: `(key, revision)` of every version that was replaced or deleted since, and of
//!   every delete. A key that was written once has no entry.
//! - `log`: the events of every retained revision, from which watchers and compaction work.
//!
//! Invariant: a version in `live` with `mod_revision <= r` is what a read at `r` sees; otherwise
//! the newest entry of `history` at or below `r` says it.

use std::sync::Arc;

use bytes::Bytes;
use cow_tree::Tree;

use super::key_range::KeyRange;
use super::lease::LeaseSet;
use super::record::{Mutation, Record};
use super::value::{Event, EventKind, KeyValue};
use crate::error::{Error, ErrorKind, Result};

/// What a version takes beside its key and value: its struct, its event, its place in the trees.
const VERSION_OVERHEAD: u64 = 256;

/// What a lease takes: its deadline, its entry in the wheel, its place in the tree.
pub(crate) const LEASE_BYTES: u64 = 128;

#[derive(Clone)]
pub(crate) struct State {
    revision: u64,
    compact_revision: u64,
    /// Up to and including this revision the sweep is done.
    swept_revision: u64,
    bytes: u64,
    pub(super) live: Tree<Bytes, Arc<KeyValue>>,
    /// `None` is a delete.
    pub(super) history: Tree<(Bytes, u64), Option<Arc<KeyValue>>>,
    log: Tree<u64, Arc<[Event]>>,
    leases: LeaseSet,
}

impl State {
    /// The state of a store that nothing was written to. Its revision is 1, as in etcd.
    pub(crate) fn new() -> Self {
        Self {
            revision: 1,
            compact_revision: 0,
            swept_revision: 1,
            bytes: 0,
            live: Tree::new(),
            history: Tree::new(),
            log: Tree::new(),
            leases: LeaseSet::default(),
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn compact_revision(&self) -> u64 {
        self.compact_revision
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn keys(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn versions(&self) -> usize {
        self.live.len() + self.history.len()
    }

    /// The leases that exist, and what is attached to them.
    pub(crate) fn leases(&self) -> &LeaseSet {
        &self.leases
    }

    /// Adds a lease that a checkpoint holds, before the keys that are attached to it.
    ///
    /// # Errors
    /// `Corrupt` if it exists already, or its id is 0.
    pub(crate) fn load_lease(&mut self, id: i64, ttl_secs: u64) -> Result<()> {
        if id == 0 || self.leases.contains(id) {
            return Err(self.does_not_follow(&format!("a grant of lease {id}")));
        }
        self.leases.insert(id, ttl_secs);
        self.bytes += LEASE_BYTES;
        Ok(())
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Arc<KeyValue>> {
        self.live.get(key)
    }

    pub(crate) fn count(&self, range: &KeyRange) -> u64 {
        if range.is_empty() { 0 } else { self.live.count_of::<[u8], _>(range.bounds()) as u64 }
    }

    /// The keys of `range` that exist now, in key order.
    pub(crate) fn iter(&self, range: &KeyRange) -> impl DoubleEndedIterator<Item = &Arc<KeyValue>> {
        let range = (!range.is_empty()).then_some(range);
        range
            .into_iter()
            .flat_map(|range| self.live.range::<[u8], _>(range.bounds()))
            .map(|(_, kv)| kv)
    }

    /// The retained revisions from `revision` on, each with its events.
    pub(crate) fn log(&self, revision: u64) -> impl Iterator<Item = (u64, &Arc<[Event]>)> {
        self.log.range(revision..).map(|(revision, events)| (*revision, events))
    }

    /// Whether `revision` can be read.
    pub(crate) fn check_readable(&self, revision: u64) -> Result<()> {
        if revision > self.revision {
            let current_revision = self.revision;
            return Err(Error::new(
                ErrorKind::FutureRevision { current_revision },
                format!("revision {revision} does not exist yet: the newest is {current_revision}"),
            ));
        }
        if revision < self.compact_revision {
            return Err(self.compacted(revision));
        }
        Ok(())
    }

    pub(crate) fn compacted(&self, revision: u64) -> Error {
        let compact_revision = self.compact_revision;
        Error::new(
            ErrorKind::Compacted { compact_revision },
            format!("revision {revision} was compacted: the oldest is {compact_revision}"),
        )
    }

    /// Whether a compaction to `revision` is possible.
    pub(crate) fn check_compaction(&self, revision: u64) -> Result<()> {
        if revision <= self.compact_revision {
            return Err(self.compacted(revision));
        }
        self.check_readable(revision)
    }

    /// Applies a record: the one way in which the state ever changes, live and at recovery.
    ///
    /// # Errors
    /// `Corrupt` if the record does not follow from this state.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<()> {
        match record {
            Record::Transaction { revision, mutations } => {
                if Some(*revision) != self.revision.checked_add(1) {
                    return Err(self.does_not_follow(&format!("revision {revision}")));
                }
                self.apply_transaction(*revision, mutations)
            }
            Record::Compaction { revision } => {
                if *revision <= self.compact_revision || *revision > self.revision {
                    return Err(self.does_not_follow(&format!("a compaction to {revision}")));
                }
                self.compact(*revision);
                Ok(())
            }
            Record::LeaseGrant { revision, id, ttl_secs } => {
                if *revision != self.revision {
                    return Err(self.does_not_follow(&format!("a grant at {revision}")));
                }
                self.load_lease(*id, *ttl_secs)
            }
            Record::LeaseRevoke { revision, id, deleted } => {
                self.apply_revoke(*revision, *id, *deleted)
            }
        }
    }

    fn does_not_follow(&self, what: &str) -> Error {
        let revision = self.revision;
        Error::new(
            ErrorKind::Corrupt,
            format!("the journal continues revision {revision} with {what}: restore a backup"),
        )
    }

    fn apply_transaction(&mut self, revision: u64, mutations: &[Mutation]) -> Result<()> {
        let mut events = Vec::with_capacity(mutations.len());
        for mutation in mutations {
            self.apply_mutation(revision, mutation, &mut events)?;
        }
        self.revision = revision;
        self.log.insert(revision, events.into());
        Ok(())
    }

    /// Deletes what is attached to a lease, in one revision if there is anything, and the lease.
    fn apply_revoke(&mut self, revision: u64, id: i64, deleted: u64) -> Result<()> {
        let doomed: Vec<_> =
            self.leases.keys(id).filter_map(|key| self.live.get(&key[..])).cloned().collect();
        let follows = self.leases.contains(id)
            && doomed.len() as u64 == deleted
            && revision == self.revision + u64::from(deleted > 0);
        if !follows {
            return Err(self.does_not_follow(&format!("a revoke of lease {id} at {revision}")));
        }
        if deleted > 0 {
            let events = doomed.into_iter().map(|prev| self.delete(revision, prev)).collect();
            self.revision = revision;
            self.log.insert(revision, events);
        }
        self.leases.remove(id);
        self.bytes = self.bytes.saturating_sub(LEASE_BYTES);
        Ok(())
    }

    pub(super) fn apply_mutation(
        &mut self,
        revision: u64,
        mutation: &Mutation,
        events: &mut Vec<Event>,
    ) -> Result<()> {
        match mutation {
            Mutation::Put { key, value, lease } => {
                if *lease != 0 && !self.leases.contains(*lease) {
                    return Err(self.does_not_follow(&format!("a put with lease {lease}")));
                }
                events.push(self.put(revision, key, value.clone(), *lease));
            }
            Mutation::Delete { range, deleted } => {
                let doomed: Vec<_> = self.iter(range).cloned().collect();
                if doomed.len() as u64 != *deleted {
                    return Err(self.does_not_follow(&format!(
                        "a delete of {deleted} keys where there are {}",
                        doomed.len()
                    )));
                }
                events.extend(doomed.into_iter().map(|prev| self.delete(revision, prev)));
            }
        }
        Ok(())
    }

    fn put(&mut self, revision: u64, key: &Bytes, value: Bytes, lease: i64) -> Event {
        let replaced = self.live.update(key, |live| {
            let kv = Arc::new(KeyValue {
                key: live.key.clone(),
                value: value.clone(),
                create_revision: live.create_revision,
                mod_revision: revision,
                version: live.version + 1,
                lease,
            });
            (Arc::clone(&kv), std::mem::replace(live, kv))
        });
        let (kv, prev_kv) = match replaced {
            Some((kv, prev)) => {
                self.history.insert((kv.key.clone(), prev.mod_revision), Some(Arc::clone(&prev)));
                (kv, Some(prev))
            }
            None => (self.create(revision, key, value, lease), None),
        };
        self.bytes += version_bytes(&kv);
        self.leases.reattach(&kv.key, prev_kv.as_ref().map_or(0, |prev| prev.lease), lease);
        Event { kind: EventKind::Put, kv, prev_kv }
    }

    fn create(&mut self, revision: u64, key: &Bytes, value: Bytes, lease: i64) -> Arc<KeyValue> {
        // The key outlives the record that made it, so it has its own memory and is then shared
        // by all versions: a slice would pin the first record for as long.
        let key = Bytes::copy_from_slice(key);
        let kv = Arc::new(KeyValue {
            key,
            value,
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease,
        });
        self.live.insert(kv.key.clone(), Arc::clone(&kv));
        kv
    }

    fn delete(&mut self, revision: u64, prev: Arc<KeyValue>) -> Event {
        let key = prev.key.clone();
        let kv = KeyValue { key: key.clone(), mod_revision: revision, ..KeyValue::default() };
        self.bytes += version_bytes(&kv);
        self.live.remove(&key);
        self.leases.reattach(&key, prev.lease, 0);
        self.history.insert((key.clone(), prev.mod_revision), Some(Arc::clone(&prev)));
        self.history.insert((key, revision), None);
        Event { kind: EventKind::Delete, kv: Arc::new(kv), prev_kv: Some(prev) }
    }

    /// Makes revisions below `revision` unreadable; [`sweep`](Self::sweep) frees their memory.
    fn compact(&mut self, revision: u64) {
        if self.swept_revision == self.compact_revision {
            self.log.remove(&self.compact_revision);
        }
        self.compact_revision = revision;
    }

    /// Frees what compaction left, for at most `budget` events, and says whether all is freed.
    ///
    /// For every event at or below the compact revision the version before it is unreachable, and
    /// so is the event itself if it is a delete. The events of the compact revision stay, since a
    /// watch may start there, but without what was before.
    pub(crate) fn sweep(&mut self, budget: usize) -> bool {
        let mut freed = 0;
        while self.swept_revision < self.compact_revision && freed < budget {
            let revision = self.swept_revision + 1;
            if let Some(events) = self.log.get(&revision).cloned() {
                freed += events.len();
                events.iter().for_each(|event| self.forget_before(event));
                self.log.remove(&revision);
                if revision == self.compact_revision {
                    self.log.insert(revision, without_previous(&events));
                }
            }
            self.swept_revision = revision;
        }
        self.is_swept()
    }

    /// How many revisions were compacted and are still to be freed.
    pub(crate) fn unswept(&self) -> u64 {
        self.compact_revision.saturating_sub(self.swept_revision)
    }

    /// Whether nothing that was compacted is still held.
    pub(crate) fn is_swept(&self) -> bool {
        self.swept_revision >= self.compact_revision
    }

    fn forget_before(&mut self, event: &Event) {
        if let Some(prev) = &event.prev_kv {
            self.history.remove(&(prev.key.clone(), prev.mod_revision));
            self.bytes = self.bytes.saturating_sub(version_bytes(prev));
        }
        if event.kind == EventKind::Delete {
            self.history.remove(&(event.kv.key.clone(), event.kv.mod_revision));
            self.bytes = self.bytes.saturating_sub(version_bytes(&event.kv));
        }
    }
}

fn version_bytes(kv: &KeyValue) -> u64 {
    version_bytes_of(&kv.key, &kv.value)
}

/// What a version with this key and value counts.
pub(super) fn version_bytes_of(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64 + VERSION_OVERHEAD
}

/// The same events without what was there before: at the compact revision that is gone.
pub(crate) fn without_previous(events: &[Event]) -> Arc<[Event]> {
    events.iter().map(|event| Event { prev_kv: None, ..event.clone() }).collect()
}
