//! The guarantees of a watch, as one oracle over a recorded history.
//!
//! A test, or a drill in a running system, keeps what a watcher was told and takes the history from
//! the journal's records. [`Oracle::check`] compares both and names the first guarantee that is
//! broken. The history is a map of versions that shares no code with the store's state.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use futures_util::StreamExt;
//! use kv_journal::oracle::{Oracle, Told};
//! use kv_journal::{Config, KeyRange, MemoryJournal, PutRequest, Store, WatchRequest};
//!
//! let journal = Arc::new(MemoryJournal::new());
//! let (store, driver) = Store::open(journal.clone(), Config::default()).await?;
//! tokio::spawn(driver);
//! let request = WatchRequest::new(KeyRange::prefix("pods/")).from_revision(1);
//! let mut watcher = store.watch(request.clone())?;
//! store.put(PutRequest::new("pods/a", "pending")).await?;
//!
//! let mut told = Told::new(request);
//! told.batches.extend(watcher.next().await.transpose()?);
//! told.complete_to = 2;
//! Oracle::read(&*journal).await?.check(&told)?;
//! # Ok(()) }
//! ```

mod check;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;

use crate::core::{Event, EventKind, KeyRange, KeyValue, Meta, Mutation, Record};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Journal, ReadLimits};
use crate::store::{WatchBatch, WatchMessage, WatchRequest};

/// What a watcher may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guarantee {
    /// Revisions come upwards, the events of one in the order of its transaction.
    Ordered,
    /// No event comes twice.
    Unique,
    /// No event is missing, and nobody is told of a compaction that did not concern them.
    Reliable,
    /// A batch is all that one revision holds for the watcher, and of that revision alone.
    Atomic,
    /// A watch from a revision delivers nothing from before it.
    Resumable,
    /// What a progress notice covers has come before it; nothing of it comes later, and it exists.
    Bookmarkable,
    /// Only keys of the range and kinds that were asked for come.
    Filtered,
    /// `prev_kv` is the version before, and absent only if there was none or it was compacted.
    Previous,
    /// Each event is what the revision did: kind, value, lease, version and revisions.
    Exact,
}

/// A broken guarantee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub guarantee: Guarantee,
    /// What was seen, and where.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is broken: {}", self.guarantee, self.seen)
    }
}

impl std::error::Error for Violation {}

/// What one watcher was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What it asked for. A start of 0 is to be replaced by the revision that was the next one.
    pub request: WatchRequest,
    /// Everything that it got, in order, progress notices too.
    pub batches: Vec<WatchBatch>,
    /// It had time to hear of everything up to this revision; 0 claims nothing.
    pub complete_to: u64,
    /// The compact revision that it was told at its end, if it ended with `Compacted`.
    pub compacted: Option<u64>,
}

impl Told {
    /// A watcher that was told nothing yet.
    #[must_use]
    pub fn new(request: WatchRequest) -> Self {
        Self { request, batches: Vec::new(), complete_to: 0, compacted: None }
    }

    /// Adds what a stream of watchers told this one.
    pub fn hear(&mut self, message: WatchMessage) {
        match message {
            WatchMessage::Created { revision, .. } => {
                if self.request.start_revision == 0 {
                    self.request.start_revision = revision + 1;
                }
            }
            WatchMessage::Events { batch, .. } => self.batches.push(batch),
            WatchMessage::Progress { revision, .. } => {
                self.batches.push(WatchBatch::progress(revision));
            }
            WatchMessage::Canceled { reason, .. } => {
                if let Some(ErrorKind::Compacted { compact_revision }) = reason.map(|r| r.kind()) {
                    self.compacted = Some(compact_revision);
                }
            }
        }
    }

    /// The first revision that it has not been told of; where it would resume.
    #[must_use]
    pub fn next_revision(&self) -> u64 {
        // Of a revision that broke off all is to come again.
        let after = self.batches.last().map_or(0, |last| last.revision + u64::from(!last.more));
        after.max(self.request.start_revision)
    }
}

/// Everything that a store did, revision by revision.
#[derive(Debug, Clone)]
pub struct Oracle {
    revision: u64,
    compact_revision: u64,
    leases: BTreeSet<i64>,
    log: BTreeMap<u64, Vec<Event>>,
    /// Every version of every key by its revision; `None` is a delete.
    versions: BTreeMap<Bytes, BTreeMap<u64, Option<KeyValue>>>,
}

impl Default for Oracle {
    fn default() -> Self {
        Self {
            revision: 1,
            compact_revision: 0,
            leases: BTreeSet::new(),
            log: BTreeMap::new(),
            versions: BTreeMap::new(),
        }
    }
}

/// The history.
impl Oracle {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A store of which only the keys at `revision` are known. Nothing before can be checked.
    pub fn starting_with(revision: u64, kvs: impl IntoIterator<Item = KeyValue>) -> Self {
        let mut oracle = Self { revision, compact_revision: revision, ..Self::default() };
        for kv in kvs {
            let versions = oracle.versions.entry(kv.key_bytes()).or_default();
            versions.insert(kv.mod_revision(), Some(kv));
        }
        oracle
    }

    /// The store that the records of `journal` describe.
    ///
    /// # Errors
    /// `Trimmed` if the journal's beginning is gone, `Corrupt` if a record does not follow from
    /// those before it, and what the journal fails with.
    pub async fn read(journal: &dyn Journal) -> Result<Self> {
        let mut oracle = Self::new();
        oracle.follow(journal, 1).await?;
        Ok(oracle)
    }

    /// Adds the records of `journal` from `seq` on and returns the number of the next one.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn follow(&mut self, journal: &dyn Journal, mut seq: u64) -> Result<u64> {
        loop {
            let entries = journal.read(seq, ReadLimits::default()).await?;
            if entries.is_empty() {
                return Ok(seq);
            }
            for entry in entries {
                self.push(&Record::decode(entry.payload)?)?;
                seq += 1;
            }
        }
    }

    /// One more record.
    ///
    /// # Errors
    /// `Corrupt` if it does not follow from those before it.
    pub fn push(&mut self, record: &Record) -> Result<()> {
        match record {
            Record::Transaction { revision, mutations } => self.transaction(*revision, mutations),
            Record::Compaction { revision } => {
                if *revision <= self.compact_revision || *revision > self.revision {
                    return Err(does_not_follow(&format!("a compaction to {revision}")));
                }
                self.compact_revision = *revision;
                Ok(())
            }
            Record::LeaseGrant { revision, id, .. } => {
                if *revision != self.revision || !self.leases.insert(*id) {
                    return Err(does_not_follow(&format!("a grant of lease {id} at {revision}")));
                }
                Ok(())
            }
            Record::Import { revision } => Err(does_not_follow(&format!(
                "an import of revision {revision}, whose beginning is in a checkpoint"
            ))),
            Record::Properties { revision, .. } if *revision == self.revision => Ok(()),
            Record::Properties { revision, .. } => {
                Err(does_not_follow(&format!("properties at {revision}")))
            }
            Record::LeaseRevoke { revision, id, deleted } => self.revoke(*revision, *id, *deleted),
        }
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The last revision that was compacted to; 0 if there was none.
    #[must_use]
    pub fn compact_revision(&self) -> u64 {
        self.compact_revision
    }

    /// What `revision` did, in the order of its transaction.
    #[must_use]
    pub fn events(&self, revision: u64) -> &[Event] {
        self.log.get(&revision).map(Vec::as_slice).unwrap_or_default()
    }

    /// The version of `key` that a read at `revision` sees, compacted or not.
    #[must_use]
    pub fn get_at(&self, key: &[u8], revision: u64) -> Option<&KeyValue> {
        newest(self.versions.get(key)?, revision)
    }

    /// The keys of `range` as of `revision`, in key order, compacted or not.
    pub fn range_at(&self, range: &KeyRange, revision: u64) -> impl Iterator<Item = &KeyValue> {
        let range = (!range.is_empty()).then(|| range.bounds());
        let keys = range.into_iter().flat_map(|bounds| self.versions.range::<[u8], _>(bounds));
        keys.filter_map(move |(_, versions)| newest(versions, revision))
    }

    fn transaction(&mut self, revision: u64, mutations: &[Mutation]) -> Result<()> {
        if revision != self.revision + 1 {
            return Err(does_not_follow(&format!("revision {revision} after {}", self.revision)));
        }
        let mut events = Vec::new();
        for mutation in mutations {
            match mutation {
                Mutation::Put { key, value, lease } => {
                    let prev_kv = self.get_at(key, revision).cloned();
                    let meta = Meta {
                        create_revision: prev_kv
                            .as_ref()
                            .map_or(revision, KeyValue::create_revision),
                        mod_revision: revision,
                        version: prev_kv.as_ref().map_or(1, |kv| kv.version() + 1),
                        lease: *lease,
                    };
                    let kv = KeyValue::new(key, value, meta);
                    events.push(Event { kind: EventKind::Put, kv, prev_kv });
                    self.record_last(revision, &events);
                }
                Mutation::Delete { range, deleted } => {
                    let doomed: Vec<_> = self.range_at(range, revision).cloned().collect();
                    if doomed.len() as u64 != *deleted {
                        return Err(does_not_follow(&format!("{deleted} deletes at {revision}")));
                    }
                    for prev in doomed {
                        events.push(deletion(revision, prev));
                        self.record_last(revision, &events);
                    }
                }
            }
        }
        self.revision = revision;
        self.log.insert(revision, events);
        Ok(())
    }

    /// Without keys a revoke makes no revision.
    fn revoke(&mut self, revision: u64, id: i64, deleted: u64) -> Result<()> {
        let all = KeyRange::all();
        let attached = self.range_at(&all, self.revision).filter(|kv| kv.lease() == id);
        let doomed: Vec<_> = attached.cloned().collect();
        let makes = self.revision + u64::from(!doomed.is_empty());
        if revision != makes || doomed.len() as u64 != deleted {
            return Err(does_not_follow(&format!("a revoke of lease {id} at {revision}")));
        }
        self.leases.remove(&id);
        let mut events = Vec::new();
        for prev in doomed {
            events.push(deletion(revision, prev));
            self.record_last(revision, &events);
        }
        if revision > self.revision {
            self.revision = revision;
            self.log.insert(revision, events);
        }
        Ok(())
    }

    fn record_last(&mut self, revision: u64, events: &[Event]) {
        let Some(event) = events.last() else { return };
        let version = (event.kind == EventKind::Put).then(|| event.kv.clone());
        self.versions.entry(event.kv.key_bytes()).or_default().insert(revision, version);
    }
}

fn newest(versions: &BTreeMap<u64, Option<KeyValue>>, revision: u64) -> Option<&KeyValue> {
    versions.range(..=revision).next_back()?.1.as_ref()
}

fn deletion(revision: u64, prev: KeyValue) -> Event {
    let meta = Meta { mod_revision: revision, ..Meta::default() };
    let kv = KeyValue::new(prev.key(), &[], meta);
    Event { kind: EventKind::Delete, kv, prev_kv: Some(prev) }
}

fn does_not_follow(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the history goes on with {what}: the journal's order is broken"),
    )
}
