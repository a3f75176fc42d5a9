//! The multi-version state: what every retained revision looked like.
//!
//! Three persistent trees, so that a copy is a snapshot and costs nothing:
//!
//! - `live`: the newest version of every key that exists now. Counts cost `O(log n)` here.
//! - `deleted`: the last delete of every key that does not, while a readable revision had the key.
//! - `log`: the changes of every retained revision, from which watchers and compaction work.
//!
//! What a key was before is a chain that begins at its entry, see [`past`](super::past). All
//! copies of a state share the chains: a copy that is read while another is written and swept has
//! to be [`pinned`](State::pinned).

use std::sync::Arc;

use tokio::sync::Notify;

use super::entry::{Keys, Newest, tombstone};
use super::key_range::KeyRange;
use super::lease::LeaseSet;
use super::log::Log;
use super::pins::{Pin, Pins};
use super::property::Properties;
use super::record::{Mutation, Record};
use super::retained::Parts;
use super::value::{KeyValue, Meta};
use crate::error::{Error, ErrorKind, Result};

/// Changes that are swept without letting a reader set or let go of a pin.
const SWEPT_AT_ONCE: usize = 64;

/// What a version takes beside its key and value: its numbers, its link, its place in the trees.
const VERSION_OVERHEAD: u64 = 256;

/// What a lease takes: its deadline, its entry in the wheel, its place in the tree.
pub(crate) const LEASE_BYTES: u64 = 128;

pub(crate) struct State {
    revision: u64,
    compact_revision: u64,
    /// Up to and including this revision the sweep is done.
    swept_revision: u64,
    /// Of the revision after that, so many changes are swept.
    swept_changes: usize,
    bytes: u64,
    /// The journal's number of the record that follows.
    next_seq: u64,
    /// Retained versions and deletes.
    versions: u64,
    pub(super) live: Keys,
    pub(super) deleted: Keys,
    pub(super) log: Log,
    leases: LeaseSet,
    properties: Properties,
    pins: Arc<Pins>,
    /// Set in a state that may be read while another copy is swept.
    _pin: Option<Pin>,
}

impl State {
    /// The state of a store that nothing was written to. Its revision is 1, as in etcd.
    pub(crate) fn new() -> Self {
        Self {
            revision: 1,
            compact_revision: 0,
            swept_revision: 1,
            swept_changes: 0,
            bytes: 0,
            next_seq: 1,
            versions: 0,
            live: Keys::new(),
            deleted: Keys::new(),
            log: Log::new(),
            leases: LeaseSet::default(),
            properties: Properties::default(),
            pins: Arc::default(),
            _pin: None,
        }
    }

    /// A copy for readers: whatever becomes of the other copies, all that can be read from it now
    /// can be read for as long as it is there.
    pub(crate) fn pinned(&self) -> Self {
        let pin = self.pins.pin(self.compact_revision..=self.revision);
        Self { _pin: Some(pin), ..self.writable() }
    }

    /// A copy for the writer, to go on from this state.
    pub(crate) fn writable(&self) -> Self {
        Self {
            live: self.live.clone(),
            deleted: self.deleted.clone(),
            log: self.log.clone(),
            leases: self.leases.clone(),
            properties: self.properties.clone(),
            pins: Arc::clone(&self.pins),
            _pin: None,
            ..*self
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn compact_revision(&self) -> u64 {
        self.compact_revision
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes + self.properties.bytes()
    }

    /// The journal's number of the first record that is not applied.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Says where in the journal this state is.
    pub(crate) fn set_next_seq(&mut self, next_seq: u64) {
        self.next_seq = next_seq;
    }

    pub(crate) fn keys(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn versions(&self) -> u64 {
        self.versions
    }

    /// The leases that exist, and what is attached to them.
    pub(crate) fn leases(&self) -> &LeaseSet {
        &self.leases
    }

    /// What is remembered beside the keys.
    pub(crate) fn properties(&self) -> &Properties {
        &self.properties
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

    pub(crate) fn get(&self, key: &[u8]) -> Option<&KeyValue> {
        self.live.get_key_value(key).map(|(newest, ())| &newest.0)
    }

    pub(crate) fn count(&self, range: &KeyRange) -> u64 {
        if range.is_empty() { 0 } else { self.live.count_of::<[u8], _>(range.bounds()) as u64 }
    }

    /// The keys of `range` that exist now, in key order.
    pub(crate) fn iter(&self, range: &KeyRange) -> impl DoubleEndedIterator<Item = &KeyValue> {
        let range = (!range.is_empty()).then_some(range);
        range
            .into_iter()
            .flat_map(|range| self.live.range::<[u8], _>(range.bounds()))
            .map(|(newest, ())| &newest.0)
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
        self.apply_content(record)?;
        self.next_seq += 1;
        Ok(())
    }

    fn apply_content(&mut self, record: &Record) -> Result<()> {
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
            Record::Properties { revision, changes } => {
                if *revision != self.revision {
                    return Err(self.does_not_follow(&format!("properties at {revision}")));
                }
                for change in changes {
                    self.properties.apply(change);
                }
                Ok(())
            }
            Record::Import { revision } => Err(imported_elsewhere(*revision, self.next_seq)),
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
        let mut changes = Vec::new();
        for mutation in mutations {
            self.apply_mutation(revision, mutation, &mut changes)?;
        }
        self.revision = revision;
        self.log.push(changes);
        Ok(())
    }

    /// Deletes what is attached to a lease, in one revision if there is anything, and the lease.
    fn apply_revoke(&mut self, revision: u64, id: i64, deleted: u64) -> Result<()> {
        let doomed: Vec<_> =
            self.leases.keys(id).filter_map(|key| self.get(key)).cloned().collect();
        let follows = self.leases.contains(id)
            && doomed.len() as u64 == deleted
            && revision == self.revision + u64::from(deleted > 0);
        if !follows {
            return Err(self.does_not_follow(&format!("a revoke of lease {id} at {revision}")));
        }
        if deleted > 0 {
            let numbered = (0..).zip(&doomed);
            let changes = numbered.map(|(sub, prev)| self.delete(revision, sub, prev));
            let changes: Vec<_> = changes.collect();
            self.revision = revision;
            self.log.push(changes);
        }
        self.leases.remove(id);
        self.bytes = self.bytes.saturating_sub(LEASE_BYTES);
        Ok(())
    }

    pub(super) fn apply_mutation(
        &mut self,
        revision: u64,
        mutation: &Mutation,
        changes: &mut Vec<KeyValue>,
    ) -> Result<()> {
        match mutation {
            Mutation::Put { key, value, lease } => {
                if *lease != 0 && !self.leases.contains(*lease) {
                    return Err(self.does_not_follow(&format!("a put with lease {lease}")));
                }
                let sub = sub_revision(changes.len());
                changes.push(self.put(revision, sub, key, value, *lease));
            }
            Mutation::Delete { range, deleted } => {
                let doomed: Vec<_> = self.iter(range).cloned().collect();
                if doomed.len() as u64 != *deleted {
                    return Err(self.does_not_follow(&format!(
                        "a delete of {deleted} keys where there are {}",
                        doomed.len()
                    )));
                }
                let subs = sub_revision(changes.len())..;
                let deletes = subs.zip(&doomed);
                changes.extend(deletes.map(|(sub, prev)| self.delete(revision, sub, prev)));
            }
        }
        Ok(())
    }

    fn put(&mut self, revision: u64, sub: u32, key: &[u8], value: &[u8], lease: i64) -> KeyValue {
        let deleted = &mut self.deleted;
        let (replaced, kv) = self.live.replace_with(key, |old| {
            let old = old.map(|(newest, ())| &newest.0);
            // A key that does not exist may have been there before.
            let prev = old.cloned().or_else(|| Some(deleted.remove_entry(key)?.0.0));
            let meta = Meta {
                create_revision: old.map_or(revision, KeyValue::create_revision),
                mod_revision: revision,
                version: old.map_or(1, |old| old.version() + 1),
                lease,
            };
            let kv = KeyValue::following(prev, key, value, meta, sub);
            ((Newest(kv.clone()), ()), kv)
        });
        let prev_kv = replaced.map(|(prev, ())| prev.0);
        self.add_version(&kv);
        self.leases.reattach(key, prev_kv.as_ref().map_or(0, KeyValue::lease), lease);
        kv
    }

    fn delete(&mut self, revision: u64, sub: u32, prev: &KeyValue) -> KeyValue {
        let kv = tombstone(prev.key(), revision, sub, Some(prev.clone()));
        self.add_version(&kv);
        self.live.remove(prev.key());
        self.leases.reattach(kv.key(), prev.lease(), 0);
        self.deleted.insert(Newest(kv.clone()), ());
        kv
    }

    fn add_version(&mut self, kv: &KeyValue) {
        self.versions += 1;
        self.bytes += version_bytes(kv);
    }

    /// Takes the place of a state that nothing was written to.
    pub(super) fn restore(&mut self, parts: Parts) {
        self.versions = parts.versions;
        self.bytes = parts.bytes
            + parts.versions * VERSION_OVERHEAD
            + parts.leases.len() as u64 * LEASE_BYTES;
        self.revision = parts.revision;
        self.compact_revision = parts.compact_revision;
        self.swept_revision = parts.compact_revision.max(1);
        self.next_seq = parts.next_seq;
        self.live = parts.live;
        self.deleted = parts.deleted;
        self.log = parts.log;
        self.leases = parts.leases;
        self.properties = parts.properties;
    }

    /// Makes revisions below `revision` unreadable; [`sweep`](Self::sweep) frees their memory.
    fn compact(&mut self, revision: u64) {
        if self.swept_revision == self.compact_revision {
            self.log.trim(self.compact_revision + 1);
        }
        self.compact_revision = revision;
    }

    /// Frees what compaction left, for at most `budget` events, and says whether all is freed.
    ///
    /// For every event at or below the compact revision the version before it is unreachable, and
    /// so is the event itself if it is a delete. The events of the compact revision stay, since a
    /// watch may start there, but without what was before.
    ///
    /// What was kept for readers that are gone is freed beside that, as much of it again.
    pub(crate) fn sweep(&mut self, budget: usize) -> bool {
        let all_released = self.pins.sweep_released(budget);
        let mut left = budget;
        let log = self.log.clone();
        while self.swept_revision < self.compact_revision && left > 0 {
            let revision = self.swept_revision + 1;
            let rest = log.at(revision).get(self.swept_changes..).unwrap_or_default();
            let part = rest.split_at(rest.len().min(left).min(SWEPT_AT_ONCE)).0;
            for change in part {
                self.forget_before(change);
            }
            self.pins.sweep(part);
            left -= part.len().max(1);
            if part.len() < rest.len() {
                self.swept_changes += part.len();
                continue;
            }
            (self.swept_revision, self.swept_changes) = (revision, 0);
        }
        drop(log);
        self.log.trim(self.compact_revision.min(self.swept_revision + 1));
        self.swept_revision >= self.compact_revision && all_released
    }

    /// Told when a [`sweep`](Self::sweep) has something to do because a reader has gone away.
    pub(crate) fn released(&self) -> Arc<Notify> {
        self.pins.released()
    }

    /// How many revisions were compacted and are still to be freed.
    pub(crate) fn unswept(&self) -> u64 {
        self.compact_revision.saturating_sub(self.swept_revision)
    }

    /// How many changes were compacted and swept, and still keep what was before them for readers.
    pub(crate) fn held(&self) -> usize {
        self.pins.held()
    }

    /// Whether nothing that was compacted is still held.
    pub(crate) fn is_swept(&self) -> bool {
        self.swept_revision >= self.compact_revision
    }

    /// No longer counts what was before a change, which is still linked.
    fn forget_before(&mut self, change: &KeyValue) {
        if let Some(replaced) = change.past().prev().filter(|prev| !prev.is_delete()) {
            self.forget(version_bytes(&replaced));
        }
        if change.is_delete() {
            self.forget(version_bytes(change));
            let is_last = |(last, ()): (&Newest, &())| last.0.is_same(change);
            if self.deleted.get_key_value(change.key()).is_some_and(is_last) {
                self.deleted.remove(change.key());
            }
        }
    }

    fn forget(&mut self, bytes: u64) {
        self.versions = self.versions.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// The place of a change after so many of its revision. A revision has fewer than 2^32.
fn sub_revision(changes: usize) -> u32 {
    u32::try_from(changes).unwrap_or(u32::MAX)
}

/// What comes before such a record is in a checkpoint that ends with it.
fn imported_elsewhere(revision: u64, seq: u64) -> Error {
    Error::new(
        ErrorKind::Trimmed { first_seq: seq + 1 },
        format!(
            "record {seq} begins an import of revision {revision}, whose checkpoint is missing: \
             open with it or import again"
        ),
    )
}

pub(super) fn version_bytes(kv: &KeyValue) -> u64 {
    version_bytes_of(kv.key(), kv.value())
}

/// What a version with this key and value counts.
pub(super) fn version_bytes_of(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64 + VERSION_OVERHEAD
}
