//! The one place where order is made.
//!
//! Requests are evaluated against the newest state, which may not be durable yet; their records
//! gather in a batch while the batch before it is being made durable. A batch is published when it
//! is durable, whole, and only then are its callers answered. A request that changed nothing is
//! answered with the batch that it saw, since it may have seen what is not durable.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::barrier::Barrier;
use super::checkpointer::Checkpointer;
use super::commit::{Commit, Committed};
use super::expiry::{Expiry, LeaseChanges};
use super::metrics::{self, BatchSize};
use super::recovery::Recovered;
use super::shared::Publisher;
use crate::config::Config;
use crate::core::{
    LEASE_BYTES, PropertyChange, Record, State, Txn, TxnResponse, cost, evaluate, grant, revoke,
    txn_bytes,
};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Journal;

/// Events freed after a compaction for each batch, and between two looks at the queue while there
/// is none: some tenths of a millisecond. As many as the batch applied are freed in any case: what
/// one compaction leaves is gone before as much was written again.
const SWEEP_STEP: usize = 256;

/// Requests taken from the queue at once. A batch copies the paths that it changes in the trees,
/// so a large one costs less for each request; this many take some milliseconds.
const TAKE: usize = 2048;

pub(super) enum Request {
    Txn(Txn),
    Compact(u64),
    LeaseGrant { id: i64, ttl_secs: u64 },
    LeaseRevoke { id: i64 },
    Properties(Vec<PropertyChange>),
}

/// What a request counts in the queue beside its keys and values.
const REQUEST_OVERHEAD: usize = 256;

impl Request {
    pub(super) fn bytes(&self) -> usize {
        let content = match self {
            Self::Txn(txn) => txn_bytes(txn),
            Self::Properties(changes) => changes.iter().map(PropertyChange::byte_len).sum(),
            Self::Compact(_) | Self::LeaseGrant { .. } | Self::LeaseRevoke { .. } => 0,
        };
        content + REQUEST_OVERHEAD
    }
}

type Answer = Result<TxnResponse>;

pub(super) struct Command {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Answer>,
    /// To be answered once it is evaluated.
    pub(super) relaxed: bool,
    /// What it has taken of the queue's room.
    pub(super) bytes: u32,
}

struct Waiting {
    reply: oneshot::Sender<Answer>,
    answer: Answer,
}

/// What gathers while the batch before it is in flight.
#[derive(Default)]
struct Batch {
    records: Vec<Bytes>,
    bytes: usize,
    waiting: Vec<Waiting>,
    leases: LeaseChanges,
    /// Relaxed writes that were answered.
    relaxed: u64,
}

/// The batch that the journal is making durable.
struct InFlight {
    commit: Pin<Box<dyn Future<Output = Committed> + Send>>,
    size: BatchSize,
    /// When it went to the journal.
    started: Instant,
    waiting: Vec<Waiting>,
    leases: LeaseChanges,
    relaxed: u64,
    /// The state with this batch and without the next one.
    state: Arc<State>,
}

/// What runs beside the sequencer, on the same driver.
pub(super) struct Beside {
    pub(super) barrier: Barrier,
    pub(super) checkpointer: Option<Checkpointer>,
    pub(super) expiry: Expiry,
}

pub(super) struct Sequencer {
    queue: mpsc::Receiver<Command>,
    queue_open: bool,
    taken: VecDeque<Command>,
    barrier: Barrier,
    expiry: Expiry,
    journal: Arc<dyn Journal>,
    config: Config,
    /// The newest state; ahead of what is published by the batch in flight and the one gathering.
    state: State,
    batch: Batch,
    epoch: u64,
    next_seq: u64,
    /// Events applied since the last sweep.
    applied: usize,
    /// Whether the published state still holds what a compaction has freed in `state`.
    sweep_unpublished: bool,
    /// Makes checkpoints meanwhile.
    checkpointer: Option<Pin<Box<dyn Future<Output = Infallible> + Send>>>,
    /// Dropped last: whoever finds the store closed finds the journal let go of.
    publisher: Publisher,
}

impl Sequencer {
    pub(super) fn new(
        queue: mpsc::Receiver<Command>,
        beside: Beside,
        publisher: Publisher,
        journal: Arc<dyn Journal>,
        config: Config,
        recovered: Recovered,
    ) -> Self {
        Self {
            queue,
            queue_open: true,
            taken: VecDeque::with_capacity(TAKE),
            barrier: beside.barrier,
            expiry: beside.expiry,
            checkpointer: beside.checkpointer.map(|it| Box::pin(it.run()) as Pin<Box<_>>),
            publisher,
            journal,
            config,
            state: recovered.state,
            batch: Batch::default(),
            epoch: recovered.tail.epoch,
            next_seq: recovered.tail.next_seq,
            applied: 0,
            sweep_unpublished: false,
        }
    }

    /// Runs until every handle is dropped and all they asked for is done, or until a failure.
    pub(super) async fn run(mut self) -> Result<()> {
        let result = self.run_until_end().await;
        if let Err(error) = &result {
            self.publisher.fail(error);
        }
        result
    }

    async fn run_until_end(&mut self) -> Result<()> {
        let mut in_flight = None;
        let released = self.state.released();
        loop {
            self.accept_taken()?;
            self.revoke_expired(in_flight.as_ref())?;
            let mut swept = true;
            if in_flight.is_none() {
                in_flight = self.start_batch();
                if in_flight.is_some() {
                    // What it had no room for fills the next one while it syncs.
                    self.accept_taken()?;
                }
                swept = self.sweep(in_flight.is_none());
            }
            let idle = in_flight.is_none() && self.taken.is_empty();
            if idle && !self.queue_open {
                return Ok(());
            }
            if in_flight.is_none() && !self.taken.is_empty() {
                // A full batch without records was just answered: there is room again.
                continue;
            }
            let takes = self.queue_open && self.taken.is_empty();
            // The same memory every time, and what is received stays where it is.
            let mut received = Vec::from(std::mem::take(&mut self.taken));
            tokio::select! {
                biased;
                never = poll_fn(|cx| self.barrier.poll(cx)) => match never {},
                never = poll_checkpointer(&mut self.checkpointer) => match never {},
                committed = poll_commit(&mut in_flight), if in_flight.is_some() => {
                    if let Some(batch) = in_flight.take() {
                        self.finish(batch, committed)?;
                    }
                }
                () = poll_fn(|cx| self.expiry.poll(cx)), if self.has_room() => self.expiry.look(),
                count = self.queue.recv_many(&mut received, TAKE), if takes => {
                    self.queue_open = count > 0;
                }
                () = yield_once(), if !swept && in_flight.is_none() => {}
                () = released.notified(), if swept && in_flight.is_none() => {}
            }
            self.taken = received.into();
        }
    }

    /// Evaluates what was taken from the queue while the batch has room.
    fn accept_taken(&mut self) -> Result<()> {
        let (mut evaluated, mut bytes) = (0, 0);
        while self.has_room()
            && let Some(command) = self.taken.pop_front()
        {
            evaluated += 1;
            bytes += command.bytes as usize;
            let records = self.batch.records.len();
            let answer = match command.request {
                Request::Txn(txn) => self.accept_txn(txn)?,
                Request::Compact(revision) => self.accept_compaction(revision)?,
                Request::LeaseGrant { id, ttl_secs } => self.accept_grant(id, ttl_secs)?,
                Request::LeaseRevoke { id } => self.accept_revoke(id)?,
                Request::Properties(changes) => self.accept_properties(changes)?,
            };
            let waiting = Waiting { reply: command.reply, answer };
            if command.relaxed {
                self.batch.relaxed += (self.batch.records.len() - records) as u64;
                waiting.answer();
            } else {
                self.batch.waiting.push(waiting);
            }
        }
        if evaluated > 0 {
            self.publisher.shared.room.add_permits(bytes);
            metrics::requests_evaluated(evaluated);
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.batch.bytes < self.config.batch_bytes
            && self.batch.waiting.len().max(self.batch.records.len()) < self.config.batch_records
    }

    /// The answer to give once everything that it depends on is durable. The outer error is fatal.
    fn accept_txn(&mut self, txn: Txn) -> Result<Answer> {
        if let Err(error) = self.publisher.shared.quota.admit(self.state.bytes(), cost(&txn)) {
            return Ok(Err(error));
        }
        let outcome = match evaluate(&self.state, txn) {
            Ok(outcome) => outcome,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(record) = outcome.record {
            match self.check_record(&record).and_then(|()| record.encode()) {
                Ok(encoded) => self.apply(encoded, &record)?,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(outcome.response))
    }

    fn accept_compaction(&mut self, revision: u64) -> Result<Answer> {
        if let Err(error) = self.state.check_compaction(revision) {
            return Ok(Err(error));
        }
        self.accept_record(&Record::Compaction { revision })
    }

    fn accept_grant(&mut self, id: i64, ttl_secs: u64) -> Result<Answer> {
        if let Err(error) = self.publisher.shared.quota.admit(self.state.bytes(), LEASE_BYTES) {
            return Ok(Err(error));
        }
        let answer = self.accept_lease(grant(&self.state, id, ttl_secs))?;
        if answer.is_ok() {
            self.batch.leases.granted(id, ttl_secs);
        }
        Ok(answer)
    }

    fn accept_revoke(&mut self, id: i64) -> Result<Answer> {
        let answer = self.accept_lease(revoke(&self.state, id))?;
        if answer.is_ok() {
            self.batch.leases.revoked(id);
        }
        Ok(answer)
    }

    /// Revokes leases whose time has run out, as if somebody had asked for it.
    fn revoke_expired(&mut self, in_flight: Option<&InFlight>) -> Result<()> {
        while self.has_room() {
            let unpublished = |id| {
                self.batch.leases.concern(id) || in_flight.is_some_and(|b| b.leases.concern(id))
            };
            let Some(id) = self.expiry.next_revoke(unpublished) else {
                break;
            };
            if self.accept_lease(revoke(&self.state, id))?.is_ok() {
                self.batch.leases.expired(id);
            }
        }
        Ok(())
    }

    fn accept_lease(&mut self, record: Result<Record>) -> Result<Answer> {
        match record {
            Ok(record) => self.accept_record(&record),
            Err(error) => Ok(Err(error)),
        }
    }

    fn accept_properties(&mut self, changes: Vec<PropertyChange>) -> Result<Answer> {
        let revision = self.state.revision();
        self.accept_record(&Record::Properties { revision, changes })
    }

    /// Of what has nothing to answer but the newest revision.
    fn accept_record(&mut self, record: &Record) -> Result<Answer> {
        self.apply(record.encode()?, record)?;
        Ok(Ok(TxnResponse { revision: self.state.revision(), ..TxnResponse::default() }))
    }

    /// Values that a transaction keeps are written again, so they count as if they were given.
    fn check_record(&self, record: &Record) -> Result<()> {
        let (bytes, limit) = (record.content_len(), self.config.request_bytes);
        if bytes <= limit {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Invalid,
            format!("the transaction keeps and writes {bytes} bytes: the limit is {limit}"),
        ))
    }

    /// From here on a request is its record: the state goes the way that recovery will go.
    fn apply(&mut self, encoded: Bytes, record: &Record) -> Result<()> {
        let before = self.state.versions();
        self.state.apply(record)?;
        // Every event adds one version.
        let added = self.state.versions() - before;
        self.applied = self.applied.saturating_add(usize::try_from(added).unwrap_or(usize::MAX));
        self.batch.bytes += encoded.len();
        self.batch.records.push(encoded);
        Ok(())
    }

    /// Hands the gathered batch to the journal. One without records is answered at once.
    fn start_batch(&mut self) -> Option<InFlight> {
        let batch = std::mem::take(&mut self.batch);
        if batch.records.is_empty() {
            batch.waiting.into_iter().for_each(Waiting::answer);
            return None;
        }
        let size = BatchSize { records: batch.records.len(), bytes: batch.bytes };
        metrics::batch_started(size);
        let counters = &self.publisher.shared.counters;
        counters.relaxed_accepted.fetch_add(batch.relaxed, Ordering::Relaxed);
        metrics::relaxed_accepted(batch.relaxed);
        let commit = Commit {
            journal: Arc::clone(&self.journal),
            shared: Arc::clone(&self.publisher.shared),
            epoch: self.epoch,
            seq: self.next_seq,
            attempts: self.config.resolve_attempts,
        };
        Some(InFlight {
            commit: Box::pin(commit.run(batch.records)),
            size,
            started: Instant::now(),
            waiting: batch.waiting,
            leases: batch.leases,
            relaxed: batch.relaxed,
            state: Arc::new(self.state.pinned()),
        })
    }

    fn finish(&mut self, batch: InFlight, committed: Committed) -> Result<()> {
        self.epoch = committed.epoch;
        match committed.result {
            Ok(()) => {
                #[cfg(feature = "ledger")]
                self.publisher.shared.publish_ledger(committed.ledger);
                self.publish(batch);
                Ok(())
            }
            Err(error) if leaves_nothing(error.kind()) => {
                self.roll_back(batch, &error);
                Ok(())
            }
            Err(error) => {
                self.count_lost(batch.relaxed + self.batch.relaxed);
                batch.waiting.into_iter().for_each(|waiting| waiting.fail(&error));
                Err(error)
            }
        }
    }

    fn publish(&mut self, batch: InFlight) {
        self.next_seq += batch.size.records as u64;
        let took = batch.started.elapsed();
        metrics::batch_durable(batch.size, took);
        self.publisher.shared.commits.record(took);
        debug_assert_eq!(batch.state.next_seq(), self.next_seq);
        let counters = &self.publisher.shared.counters;
        counters.batches.fetch_add(1, Ordering::Relaxed);
        counters.records.fetch_add(batch.size.records as u64, Ordering::Relaxed);
        counters.record_bytes.fetch_add(batch.size.bytes as u64, Ordering::Relaxed);
        metrics::published(&batch.state, &self.publisher.shared, self.queue.len());
        // A lease is in the table before whoever asked for it hears of it.
        self.expiry.published(batch.leases);
        self.publisher.publish(batch.state, self.next_seq);
        batch.waiting.into_iter().for_each(Waiting::answer);
    }

    /// Forgets the failed batch and the one that was evaluated on top of it. Nobody has seen
    /// their revisions, so they are given out again.
    fn roll_back(&mut self, batch: InFlight, error: &Error) {
        self.publisher.shared.counters.failed_batches.fetch_add(1, Ordering::Relaxed);
        metrics::batch_failed();
        self.state = self.publisher.shared.with_state(State::writable);
        let gathered = std::mem::take(&mut self.batch);
        self.count_lost(batch.relaxed + gathered.relaxed);
        let waiting = batch.waiting.into_iter().chain(gathered.waiting);
        waiting.for_each(|waiting| waiting.fail(error));
    }

    /// Counts relaxed writes that were acknowledged and are now lost, or may be.
    fn count_lost(&self, relaxed: u64) {
        self.publisher.shared.counters.relaxed_lost.fetch_add(relaxed, Ordering::Relaxed);
        metrics::relaxed_lost(relaxed);
    }

    /// Frees some of what was compacted; when all is freed and nothing is under way, lets go of
    /// the published state that still holds it.
    fn sweep(&mut self, nothing_in_flight: bool) -> bool {
        if !self.state.is_swept() {
            self.sweep_unpublished = true;
            // The journal's thread may just have been woken, and have no core to run on.
            std::thread::yield_now();
        }
        let applied = std::mem::take(&mut self.applied);
        let swept = self.state.sweep(SWEEP_STEP.max(applied));
        if swept && self.sweep_unpublished && nothing_in_flight && self.batch.waiting.is_empty() {
            metrics::published(&self.state, &self.publisher.shared, self.queue.len());
            self.publisher.publish(Arc::new(self.state.pinned()), self.next_seq);
            self.sweep_unpublished = false;
        }
        swept
    }
}

impl Waiting {
    fn answer(self) {
        // A caller that has gone away does not want it.
        let _gone = self.reply.send(self.answer);
    }

    fn fail(self, error: &Error) {
        let _gone = self.reply.send(Err(error.clone()));
    }
}

/// Whether an append that failed so has surely stored nothing and may be tried again later.
fn leaves_nothing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Exhausted | ErrorKind::Unavailable | ErrorKind::Invalid)
}

async fn poll_checkpointer(
    checkpointer: &mut Option<Pin<Box<dyn Future<Output = Infallible> + Send>>>,
) -> Infallible {
    match checkpointer {
        Some(checkpointer) => checkpointer.await,
        None => pending().await,
    }
}

async fn poll_commit(in_flight: &mut Option<InFlight>) -> Committed {
    poll_fn(|cx| match in_flight {
        Some(batch) => batch.commit.as_mut().poll(cx),
        None => Poll::Pending,
    })
    .await
}

/// Lets other tasks run once.
pub(super) async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
