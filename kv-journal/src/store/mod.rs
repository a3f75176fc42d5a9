//! The shell: a cloneable handle, the driver behind it, and the watchers.

mod barrier;
mod commit;
mod driver;
mod expiry;
mod leases;
#[cfg(feature = "ledger")]
mod ledger;
mod range_stream;
mod recovery;
mod sequencer;
mod shared;
mod snapshot;
mod stats;
mod watch;

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch as channel};

pub use driver::Driver;
pub use range_stream::RangeStream;
pub use snapshot::Snapshot;
pub use stats::Stats;
pub use watch::{
    WatchBatch, WatchDriver, WatchHandle, WatchMessage, WatchRequest, WatchStream, Watcher,
};

use crate::config::{ChunkLimits, Config};
use crate::core::{
    DeleteRequest, DeleteResponse, KeyValue, Op, OpResponse, PutRequest, PutResponse, RangeRequest,
    RangeResponse, RequestLimits, Txn, TxnResponse, check_delete, check_put, check_range,
    check_txn,
};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Journal;
use barrier::{Barrier, Waiter};
use expiry::Expiry;
use leases::Leases;
#[cfg(feature = "ledger")]
use ledger::PublishedLedger;
use recovery::recover;
use sequencer::{Command, Request, Sequencer};
use shared::{Publisher, Shared, Watermark};

/// A key-value store with etcd v3 semantics over a [`Journal`]. Clones are handles of one store.
///
/// Reads are synchronous and see what is published: revisions that are durable, whole, in order.
/// Writes go through the one sequencer in the [`Driver`] and return once they are durable.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use std::sync::Arc;
/// use kv_journal::{Config, KeyRange, MemoryJournal, PutRequest, Store};
///
/// let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), Config::default()).await?;
/// tokio::spawn(driver);
///
/// let put = store.put(PutRequest::new("pods/a", "pending")).await?;
/// assert_eq!(put.revision, 2); // an empty store is at revision 1
/// assert_eq!(store.range(KeyRange::prefix("pods/"))?.count, 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    commands: mpsc::Sender<Command>,
    barrier: mpsc::Sender<Waiter>,
    shared: Arc<Shared>,
    moved: channel::Receiver<Watermark>,
    leases: Arc<Leases>,
    limits: RequestLimits,
    quota_bytes: u64,
    watch_limits: watch::Limits,
}

/// Opening.
impl Store {
    /// Takes the journal over, replays it, and returns a handle and the driver to spawn.
    ///
    /// A store that had the journal before is fenced: its next write fails and its driver ends.
    ///
    /// The driver sleeps now and then, so it wants a tokio runtime with time enabled.
    ///
    /// # Errors
    /// `Invalid` if a setting is out of its range; `Corrupt` if the journal cannot be replayed;
    /// `Trimmed` if its beginning is gone; `Fenced` if another store opened it in the same moment;
    /// and what the journal fails with.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the journal fenced, which ends an older store. Nothing else.
    pub async fn open(journal: Arc<dyn Journal>, config: Config) -> Result<(Self, Driver)> {
        config.check()?;
        let recovered = recover(&*journal, &config).await?;
        let (commands, queue) = mpsc::channel(config.queue_len);
        let state = Arc::new(recovered.state.clone());
        let at = Watermark { revision: state.revision(), next_seq: recovered.tail.next_seq };
        #[cfg_attr(not(feature = "ledger"), expect(unused_mut, reason = "the ledger is added"))]
        let mut shared = Shared::new(state, recovered.tail.epoch);
        #[cfg(feature = "ledger")]
        {
            let ledger = recovered.ledger.clone();
            shared.ledger = ledger.map(|tree| PublishedLedger::new(tree, &journal));
        }
        let shared = Arc::new(shared);
        let (publisher, moved) = Publisher::new(Arc::clone(&shared), at);
        let (waiters, barrier) = Barrier::new(Arc::clone(&journal));
        let leases = Leases::new(recovered.tail.epoch, config.lease_min_ttl_secs);
        let expiry =
            Expiry::new(Arc::clone(&leases), &recovered.state, config.lease_revokes_per_sec);
        let inner = Inner {
            commands,
            barrier: waiters,
            shared,
            moved,
            leases,
            limits: RequestLimits::from(&config),
            quota_bytes: config.quota_bytes,
            watch_limits: watch::Limits::from(&config),
        };
        let pump = watch::Pump::new(Arc::clone(&inner.shared));
        let sequencer =
            Sequencer::new(queue, barrier, expiry, publisher, journal, config, recovered);
        Ok((Self { inner: Arc::new(inner) }, Driver::new(sequencer.run(), pump)))
    }
}

/// Writes.
impl Store {
    /// Writes one key.
    ///
    /// # Errors
    /// `Invalid` if the request is malformed or too large, or keeps the value or lease of a key
    /// that does not exist; `LeaseNotFound` if it names a lease that does not; `Exhausted` if the quota or the journal's disk is full and nothing was
    /// written; `Unavailable` if the journal is, and nothing was written; `Unknown` if it cannot be
    /// found out whether it was written; `Fenced` if another store took over; `Closed`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the write undone or done whole.
    pub async fn put(&self, request: PutRequest) -> Result<PutResponse> {
        check_put(&request, &self.inner.limits)?;
        let response = self.run_op(Op::Put(request)).await?;
        match response {
            OpResponse::Put(put) => Ok(put),
            _ => Err(mismatched()),
        }
    }

    /// Deletes every key of a range, in one revision. If there is none the revision stays.
    ///
    /// # Errors
    /// As [`put`](Self::put), except that the quota does not stop a delete.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the delete undone or done whole.
    pub async fn delete_range(
        &self,
        request: impl Into<DeleteRequest> + Send,
    ) -> Result<DeleteResponse> {
        let request = request.into();
        check_delete(&request, &self.inner.limits)?;
        let response = self.run_op(Op::Delete(request)).await?;
        match response {
            OpResponse::Delete(delete) => Ok(delete),
            _ => Err(mismatched()),
        }
    }

    /// Runs one branch of a transaction, in one revision if it changes anything.
    ///
    /// One that changes nothing does not ask the journal: if another store may have taken over,
    /// call [`read_barrier`](Self::read_barrier) before it.
    ///
    /// # Errors
    /// As [`put`](Self::put), and `Invalid` if a branch changes one key twice or keeps values that
    /// together with what it writes exceed the limit of a request; `Compacted` or
    /// `FutureRevision` if it reads a revision that is not there. Nothing of it happens then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the transaction undone or done whole.
    pub async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        check_txn(&txn, &self.inner.limits)?;
        self.submit(Request::Txn(txn)).await
    }

    /// Makes revisions below `revision` unreadable and frees their memory, in small steps while
    /// the store works on. Returns the newest revision, which a compaction does not change.
    ///
    /// # Errors
    /// `Compacted` if `revision` is not above the last compaction; `FutureRevision` if it does not
    /// exist yet; otherwise as [`put`](Self::put), except that the quota does not stop it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the compaction undone or done whole.
    pub async fn compact(&self, revision: u64) -> Result<u64> {
        self.submit(Request::Compact(revision)).await.map(|response| response.revision)
    }

    async fn run_op(&self, op: Op) -> Result<OpResponse> {
        let txn = Txn::new().then(op);
        let response = self.submit(Request::Txn(txn)).await?;
        response.responses.into_iter().next().ok_or_else(mismatched)
    }

    async fn submit(&self, request: Request) -> Result<TxnResponse> {
        self.inner.shared.check_open()?;
        let (reply, answer) = oneshot::channel();
        let command = Command { request, reply };
        // Sending by way of a future costs several times as much as a free place in the queue.
        if let Err(TrySendError::Full(command)) = self.inner.commands.try_send(command) {
            let sent = self.inner.commands.send(command).await;
            sent.map_err(|_| self.inner.shared.closed_error())?;
        }
        answer.await.unwrap_or_else(|_| Err(self.inner.shared.closed_error()))
    }
}

/// Reads.
impl Store {
    /// The newest published version of `key`.
    ///
    /// # Errors
    /// `Closed`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Arc<KeyValue>>> {
        self.inner.shared.check_open()?;
        Ok(self.inner.shared.with_state(|state| state.get(key).cloned()))
    }

    /// Reads a range, now or at any retained revision.
    ///
    /// # Errors
    /// `FutureRevision` or `Compacted` if it asks for a revision that cannot be read; `Invalid` if
    /// it asks for one empty key; `Closed`.
    pub fn range(&self, request: impl Into<RangeRequest>) -> Result<RangeResponse> {
        self.inner.shared.check_open()?;
        let request = request.into();
        check_range(&request.range)?;
        self.inner.shared.with_state(|state| state.range(&request))
    }

    /// Reads a range in chunks, for ranges that are too large to answer at once: all of it as of
    /// now, or of any retained revision, whatever is written or compacted meanwhile.
    ///
    /// # Errors
    /// As [`range`](Self::range), and `Invalid` if it asks for an order that is not the keys', or
    /// for filters, or a limit is out of its range.
    pub fn range_stream(
        &self,
        request: impl Into<RangeRequest>,
        limits: ChunkLimits,
    ) -> Result<RangeStream> {
        self.inner.shared.check_open()?;
        RangeStream::new(self.inner.shared.state(), &request.into(), limits)
    }

    /// A state to read from for as long as wanted. It goes on working when the store is closed.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { state: self.inner.shared.state() }
    }

    /// The newest published revision; the last one when the store is closed.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.inner.shared.with_state(crate::core::State::revision)
    }

    /// The oldest revision that can be read; 0 if nothing was ever compacted.
    #[must_use]
    pub fn compact_revision(&self) -> u64 {
        self.inner.shared.with_state(crate::core::State::compact_revision)
    }

    /// What the store holds and has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.inner)
    }

    /// Waits until this store has applied everything that was in the journal when it was asked,
    /// by whomever, and returns the published revision: a read after it is linearizable.
    ///
    /// Calls share a question to the journal, but none is served by one that was sent before it
    /// came. While answers are awaited, at most one question goes out each millisecond.
    ///
    /// # Errors
    /// `Fenced` if another store has taken the journal over; `Closed`; and what the journal fails
    /// with when asked for its tail.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn read_barrier(&self) -> Result<u64> {
        self.inner.shared.check_open()?;
        let (waiter, answer) = oneshot::channel();
        let asked = self.inner.barrier.send(waiter).await;
        asked.map_err(|_| self.inner.shared.closed_error())?;
        let tail = answer.await.unwrap_or_else(|_| Err(self.inner.shared.closed_error()))?;
        if tail.epoch > self.inner.shared.epoch() {
            return Err(Error::new(
                ErrorKind::Fenced,
                format!("another store took the journal over at epoch {}: open again", tail.epoch),
            ));
        }
        let mut moved = self.inner.moved.clone();
        let reached = moved.wait_for(|at| at.next_seq >= tail.next_seq).await;
        reached.map(|at| at.revision).map_err(|_| self.inner.shared.closed_error())
    }

    /// Events of a range, in order and without gaps, from any retained revision.
    ///
    /// # Errors
    /// `Compacted` if the start is below the compact revision; `Invalid` if the range is empty or
    /// the progress interval too short; `Closed`.
    pub fn watch(&self, request: impl Into<WatchRequest>) -> Result<Watcher> {
        self.inner.shared.check_open()?;
        let shared = Arc::clone(&self.inner.shared);
        Watcher::new(&request.into(), shared, self.inner.watch_limits)
    }

    /// A stream of many watchers, which are created and canceled while it runs. A million in one
    /// stream are fine.
    ///
    /// # Errors
    /// `Closed`.
    pub fn watch_stream(&self) -> Result<WatchStream> {
        self.inner.shared.check_open()?;
        WatchStream::new(Arc::clone(&self.inner.shared), self.inner.watch_limits)
    }

    /// Waits until the driver has ended.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn closed(&self) {
        let mut moved = self.inner.moved.clone();
        while moved.changed().await.is_ok() {}
    }
}

fn mismatched() -> Error {
    Error::new(ErrorKind::Closed, "the sequencer answered another request: open the store again")
}

impl From<&Config> for RequestLimits {
    fn from(config: &Config) -> Self {
        Self {
            request_bytes: config.request_bytes,
            key_bytes: config.key_bytes,
            value_bytes: config.value_bytes,
            txn_ops: config.txn_ops,
            txn_depth: config.txn_depth,
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("revision", &self.revision()).finish_non_exhaustive()
    }
}
