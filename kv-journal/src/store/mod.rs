//! The shell: a cloneable handle, the driver behind it, and the watchers.

mod barrier;
mod by_class;
mod checkpointer;
mod commit;
mod components;
mod driver;
mod expiry;
mod export;
mod fork;
mod hash_kv;
mod import;
mod leases;
#[cfg(feature = "ledger")]
mod ledger;
mod load;
mod metrics;
mod properties;
mod quota;
mod range_stream;
mod recovery;
mod replay;
mod sequencer;
mod shared;
mod snapshot;
mod stats;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{SemaphorePermit, TryAcquireError, mpsc, oneshot, watch as channel};

pub use by_class::Ack;
pub use checkpointer::Checkpoint;
pub use components::Components;
pub use driver::Driver;
pub use export::Export;
pub use fork::Fork;
pub use range_stream::RangeStream;
pub use recovery::{DamagedCheckpoint, Recovery};
pub use snapshot::Snapshot;
pub use stats::Stats;
pub use watch::{
    WatchBatch, WatchDriver, WatchHandle, WatchMessage, WatchRequest, WatchStream, Watcher,
};

use crate::config::{ChunkLimits, Config, WhenFull};
use crate::core::{
    Classes, DeleteRequest, DeleteResponse, Durations, KeyValue, Op, OpResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RequestLimits, Txn, TxnResponse, check_delete,
    check_put, check_range, check_txn,
};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Journal;
use barrier::{Barrier, Waiter};
use checkpointer::{Asked, Checkpointer, no_place};
use expiry::Expiry;
use leases::Leases;
#[cfg(feature = "ledger")]
use ledger::PublishedLedger;
use recovery::{Recovered, recover};
use sequencer::{Beside, Command, Request, Sequencer};
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
    /// What the calls of this handle do when the queue is full.
    when_full: WhenFull,
}

struct Inner {
    commands: mpsc::Sender<Command>,
    barrier: mpsc::Sender<Waiter>,
    /// The journal's epoch, if nobody else can have taken it over unseen.
    local_epoch: Option<Arc<AtomicU64>>,
    shared: Arc<Shared>,
    moved: channel::Receiver<Watermark>,
    leases: Arc<Leases>,
    limits: RequestLimits,
    classes: Classes,
    queue_bytes: usize,
    watch_limits: watch::Limits,
    frame_bytes: usize,
    recovery: Recovery,
    /// `None` if there is no place for checkpoints.
    checkpoints: Option<mpsc::Sender<Asked>>,
}

/// Those who wait for a checkpoint while one is being made.
const CHECKPOINT_QUEUE: usize = 64;

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
        Self::open_with(Components::new(journal), config).await
    }

    /// As [`open`](Self::open), on a journal that may have been trimmed behind its checkpoints:
    /// loads the newest good one and replays the journal from there.
    ///
    /// While it runs the driver makes checkpoints, as [`Config`] says, and trims the journal.
    ///
    /// # Errors
    /// As [`open`](Self::open), and what the checkpoints fail with; `Corrupt` if the journal
    /// begins later than any checkpoint that can be loaded, or ends before the newest one.
    ///
    /// # Cancel safety
    /// As [`open`](Self::open).
    pub async fn open_with(components: Components, config: Config) -> Result<(Self, Driver)> {
        config.check()?;
        let recovered = recover(&components, &config).await?;
        Ok(Self::start(components, config, recovered))
    }

    /// Opens a new store on an [`Export`], with its revisions and everything that they hold. The
    /// journal and the checkpoints of `components` must be empty.
    ///
    /// All or nothing: until the last byte of the export is verified the journal stays empty.
    ///
    /// # Errors
    /// `Invalid` if the journal or the checkpoints are not empty, or `components` has no place for
    /// checkpoints; `Corrupt` if the export is damaged or cut; `Fenced` if another store opens
    /// the journal meanwhile; and what `export`, the journal and the checkpoints fail with. After
    /// `Unknown` and after a crash the journal is empty, imported, or says with `Trimmed` that an
    /// import did not finish: then import again.
    ///
    /// # Cancel safety
    /// As after a crash.
    pub async fn import(
        components: Components,
        export: impl Stream<Item = Result<Bytes>> + Send,
        config: Config,
    ) -> Result<(Self, Driver)> {
        config.check()?;
        let recovered = import::import(&components, export, &config).await?;
        Ok(Self::start(components, config, recovered))
    }

    fn start(components: Components, config: Config, recovered: Recovered) -> (Self, Driver) {
        let (commands, queue) = mpsc::channel(config.queue_len);
        let state = Arc::new(recovered.state.pinned());
        let at = Watermark { revision: state.revision(), next_seq: recovered.tail.next_seq };
        #[cfg_attr(not(feature = "ledger"), expect(unused_mut, reason = "the ledger is added"))]
        let mut shared = Shared::new(state, recovered.tail.epoch, &config);
        #[cfg(feature = "ledger")]
        {
            let ledger = recovered.ledger.clone();
            shared.ledger = ledger.map(|tree| PublishedLedger::new(tree, &components.journal));
        }
        let shared = Arc::new(shared);
        let (publisher, moved) = Publisher::new(Arc::clone(&shared), at);
        let (waiters, barrier) = Barrier::new(Arc::clone(&components.journal));
        let (ask, asked) = mpsc::channel(CHECKPOINT_QUEUE);
        let recovery = recovered.report.clone();
        let checkpointer = Checkpointer::new(
            &components,
            &config,
            Arc::clone(&shared),
            moved.clone(),
            &recovery,
            asked,
        );
        let leases = Leases::new(recovered.tail.epoch, config.lease_min_ttl_secs);
        let expiry =
            Expiry::new(Arc::clone(&leases), &recovered.state, config.lease_revokes_per_sec);
        let inner = Inner {
            commands,
            barrier: waiters,
            local_epoch: components.journal.local_epoch(),
            shared,
            moved,
            leases,
            limits: RequestLimits::from(&config),
            classes: Classes::new(&config.durability),
            queue_bytes: config.queue_bytes,
            watch_limits: watch::Limits::from(&config),
            frame_bytes: config.checkpoint_frame_bytes,
            recovery,
            checkpoints: checkpointer.as_ref().map(|_| ask),
        };
        let pump = watch::Pump::new(Arc::clone(&inner.shared));
        let when_full = config.when_full;
        let beside = Beside { barrier, checkpointer, expiry };
        let sequencer =
            Sequencer::new(queue, beside, publisher, components.journal, config, recovered);
        (Self { inner: Arc::new(inner), when_full }, Driver::new(sequencer.run(), pump))
    }
}

/// Checkpoints.
impl Store {
    /// Makes a checkpoint of what is published now, or of something newer, and then trims the
    /// journal behind the oldest checkpoint that is kept. Writes go on meanwhile.
    ///
    /// If the newest checkpoint already holds everything, it is returned.
    ///
    /// # Errors
    /// `Invalid` if the store was opened without a place for checkpoints; `Closed`; and what the
    /// checkpoints or the journal fail with. The store goes on in any case.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop a checkpoint that was begun.
    pub async fn checkpoint(&self) -> Result<Checkpoint> {
        self.inner.shared.check_open()?;
        let checkpoints = self.inner.checkpoints.as_ref().ok_or_else(no_place)?;
        let (asked, answer) = oneshot::channel();
        let sent = checkpoints.send(asked).await;
        sent.map_err(|_| self.inner.shared.closed_error())?;
        answer.await.unwrap_or_else(|_| Err(self.inner.shared.closed_error()))
    }

    /// Why the last checkpoint failed; `None` if it did not, or if there was none.
    #[must_use]
    pub fn checkpoint_failure(&self) -> Option<Error> {
        self.inner.shared.checkpoint_failure.lock().clone()
    }

    /// What was found when the store was opened.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.inner.recovery
    }
}

/// Writes.
impl Store {
    /// Writes one key.
    ///
    /// # Errors
    /// `Invalid` if the request is malformed or too large, or keeps the value or lease of a key
    /// that does not exist; `LeaseNotFound` if it names a lease that does not; `Exhausted` if the
    /// quota's alarm is raised or the journal's disk is full and nothing was written;
    /// `Unavailable` if the journal is, or the queue is full and this handle does not wait, and
    /// nothing was written; `Unknown` if it cannot be
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

    /// Takes the quota's alarm back and says whether there was one. The next write that does not
    /// fit raises it again: delete and compact first.
    ///
    /// The alarm is not journaled. A store that opens raises it if it uses its quota up.
    #[expect(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn disarm(&self) -> bool {
        self.inner.shared.quota.disarm()
    }

    /// A handle of the same store whose writes wait, or fail, when the queue is full.
    #[must_use]
    pub fn when_full(&self, when_full: WhenFull) -> Self {
        Self { inner: Arc::clone(&self.inner), when_full }
    }

    async fn submit(&self, request: Request) -> Result<TxnResponse> {
        self.submit_as(request, false).await
    }

    /// Hands `request` to the sequencer and waits until it is durable or, if it is `relaxed`,
    /// evaluated.
    async fn submit_as(&self, request: Request, relaxed: bool) -> Result<TxnResponse> {
        let shared = &self.inner.shared;
        shared.check_open()?;
        // What is larger than the whole queue takes all of it.
        let bytes = request.bytes().min(self.inner.queue_bytes);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = match shared.room.try_acquire_many(bytes) {
            Ok(room) => room,
            Err(TryAcquireError::NoPermits) => self.wait_for_room(bytes).await?,
            Err(TryAcquireError::Closed) => return Err(shared.closed_error()),
        };
        let (reply, answer) = oneshot::channel();
        let command = Command { request, reply, relaxed, bytes };
        // Sending by way of a future costs several times as much as a free place in the queue.
        if let Err(TrySendError::Full(command)) = self.inner.commands.try_send(command) {
            self.may_wait()?;
            let sent = self.inner.commands.send(command).await;
            sent.map_err(|_| shared.closed_error())?;
        }
        // The sequencer gives it back.
        room.forget();
        answer.await.unwrap_or_else(|_| Err(shared.closed_error()))
    }

    async fn wait_for_room(&self, bytes: u32) -> Result<SemaphorePermit<'_>> {
        self.may_wait()?;
        let room = self.inner.shared.room.acquire_many(bytes).await;
        room.map_err(|_| self.inner.shared.closed_error())
    }

    fn may_wait(&self) -> Result<()> {
        match self.when_full {
            WhenFull::Wait => Ok(()),
            WhenFull::Fail => Err(Error::new(
                ErrorKind::Unavailable,
                "the journal falls behind and the queue is full: retry later",
            )),
        }
    }
}

/// Reads.
impl Store {
    /// The newest published version of `key`.
    ///
    /// # Errors
    /// `Closed`.
    pub fn get(&self, key: &[u8]) -> Result<Option<KeyValue>> {
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
        Snapshot { state: self.inner.shared.state(), frame_bytes: self.inner.frame_bytes }
    }

    /// The state as it was at a retained revision, for as long as wanted.
    ///
    /// # Errors
    /// `FutureRevision` or `Compacted` if it cannot be read; `Invalid` for 0; `Closed`.
    pub fn at_revision(&self, revision: u64) -> Result<Fork> {
        self.inner.shared.check_open()?;
        self.snapshot().at(revision)
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

    /// How long batches took from when they went to the journal until they were durable.
    #[must_use]
    pub fn commit_durations(&self) -> Durations {
        self.inner.shared.commits.durations()
    }

    /// Waits until this store has applied everything that was in the journal when it was asked,
    /// by whomever, and returns the published revision: a read after it is linearizable.
    ///
    /// Where only this process can write to the journal, as to a directory that it has locked,
    /// nobody needs to be asked: what is published holds everything that was acknowledged.
    /// Otherwise calls share a question to the journal, but none is served by one that was sent before it
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
        if let Some(epoch) = &self.inner.local_epoch {
            self.check_epoch(epoch.load(Ordering::Acquire))?;
            return Ok(self.revision());
        }
        let (waiter, answer) = oneshot::channel();
        let asked = self.inner.barrier.send(waiter).await;
        asked.map_err(|_| self.inner.shared.closed_error())?;
        let tail = answer.await.unwrap_or_else(|_| Err(self.inner.shared.closed_error()))?;
        self.check_epoch(tail.epoch)?;
        let mut moved = self.inner.moved.clone();
        let reached = moved.wait_for(|at| at.next_seq >= tail.next_seq).await;
        reached.map(|at| at.revision).map_err(|_| self.inner.shared.closed_error())
    }

    fn check_epoch(&self, current: u64) -> Result<()> {
        if current <= self.inner.shared.epoch() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Fenced,
            format!("another store took the journal over at epoch {current}: open again"),
        ))
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
