//! Making checkpoints beside the sequencer, and trimming the journal behind them.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use tokio::sync::{mpsc, oneshot, watch};

use super::components::Components;
use super::metrics;
use super::recovery::Recovery;
use super::shared::{Shared, Watermark};
use crate::checkpoint::CheckpointStore;
use crate::config::Config;
use crate::core::State;
use crate::core::checkpoint::{Encoder, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Journal;

/// So many who wait for a checkpoint are answered at once.
const ANSWERED: usize = 64;

/// Frames that wait to be written.
const AHEAD: usize = 1;

/// The journal grows by this part of the state before a checkpoint is made unasked.
const STATE_PART: u64 = 4;

/// A checkpoint that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Its number: that of the journal's record that follows it.
    pub id: u64,
    /// The newest revision in it.
    pub revision: u64,
}

/// Who waits for a checkpoint.
pub(super) type Asked = oneshot::Sender<Result<Checkpoint>>;

/// Works inside the driver, one checkpoint at a time.
pub(super) struct Checkpointer {
    checkpoints: Arc<dyn CheckpointStore>,
    journal: Arc<dyn Journal>,
    config: Config,
    shared: Arc<Shared>,
    moved: watch::Receiver<Watermark>,
    asked: mpsc::Receiver<Asked>,
    newest: Option<Checkpoint>,
    /// Checkpoints that were found damaged and still take the place of good ones.
    damaged: Vec<u64>,
    /// How many records and bytes had been journaled at the last checkpoint, or attempt.
    since: Journaled,
    /// What was replayed when the store was opened.
    replayed: Journaled,
}

#[derive(Debug, Clone, Copy, Default)]
struct Journaled {
    records: u64,
    bytes: u64,
}

impl Checkpointer {
    /// `None` if there is no place for checkpoints.
    pub(super) fn new(
        components: &Components,
        config: &Config,
        shared: Arc<Shared>,
        moved: watch::Receiver<Watermark>,
        recovery: &Recovery,
        asked: mpsc::Receiver<Asked>,
    ) -> Option<Self> {
        let records = recovery.replayed_records;
        // A checkpoint that nothing follows is still the newest one.
        let newest = recovery.checkpoint.filter(|_| records == 0);
        let revision = shared.with_state(State::revision);
        Some(Self {
            checkpoints: Arc::clone(components.checkpoints.as_ref()?),
            journal: Arc::clone(&components.journal),
            config: config.clone(),
            shared,
            moved,
            asked,
            newest: newest.map(|id| Checkpoint { id, revision }),
            damaged: recovery.damaged.iter().map(|damaged| damaged.id).collect(),
            since: Journaled::default(),
            replayed: Journaled { records, bytes: recovery.replayed_bytes },
        })
    }

    /// Makes checkpoints as they are asked for or due, for as long as the driver runs.
    pub(super) async fn run(mut self) -> Infallible {
        loop {
            // Whoever asks from now on waits for the next one, which holds what comes meanwhile.
            let waiting = self.wait().await;
            self.since = self.journaled();
            let made = self.checkpoint().await;
            self.count(&made);
            for asked in waiting {
                let _gone = asked.send(made.clone());
            }
        }
    }

    /// Waits until a checkpoint is asked for, and returns by whom, or until one is due.
    async fn wait(&mut self) -> Vec<Asked> {
        let mut waiting = Vec::new();
        while !self.is_due() {
            tokio::select! {
                biased;
                count = self.asked.recv_many(&mut waiting, ANSWERED) => {
                    if count == 0 {
                        // The handles are gone, and the driver is about to end.
                        pending::<Infallible>().await;
                    }
                    break;
                }
                changed = self.moved.changed() => {
                    if changed.is_err() {
                        pending::<Infallible>().await;
                    }
                }
            }
        }
        waiting
    }

    fn is_due(&self) -> bool {
        let now = self.journaled();
        let (versions, bytes) = self.shared.with_state(|state| (state.versions(), state.bytes()));
        let passed = |since: u64, now: u64, limit: u64, state: u64| {
            limit > 0 && now - since >= limit.max(state / STATE_PART)
        };
        passed(self.since.bytes, now.bytes, self.config.checkpoint_bytes, bytes)
            || passed(self.since.records, now.records, self.config.checkpoint_records, versions)
    }

    /// What is in the journal behind the checkpoint that the store was opened from.
    fn journaled(&self) -> Journaled {
        let counters = &self.shared.counters;
        Journaled {
            records: self.replayed.records + counters.records.load(Ordering::Relaxed),
            bytes: self.replayed.bytes + counters.record_bytes.load(Ordering::Relaxed),
        }
    }

    fn count(&self, made: &Result<Checkpoint>) {
        let counters = &self.shared.counters;
        let counter =
            if made.is_ok() { &counters.checkpoints } else { &counters.failed_checkpoints };
        counter.fetch_add(1, Ordering::Relaxed);
        metrics::checkpointed(made.is_ok());
        *self.shared.checkpoint_failure.lock() = made.as_ref().err().cloned();
    }

    async fn checkpoint(&mut self) -> Result<Checkpoint> {
        let state = self.shared.state();
        let made = Checkpoint { id: state.next_seq(), revision: state.revision() };
        if self.newest == Some(made) && self.damaged.is_empty() {
            return Ok(made);
        }
        #[cfg(feature = "ledger")]
        let ledger = self.shared.ledger_at(made.id - 1)?;
        // The state is let go of by the thread that encodes it, as soon as that is done.
        let encoder = Encoder::new(state, self.config.checkpoint_frame_bytes);
        let work = move |steps| {
            #[cfg_attr(not(feature = "ledger"), expect(unused_mut, reason = "the ledger is added"))]
            let mut encoder = encoder;
            #[cfg(feature = "ledger")]
            if let Some(ledger) = ledger {
                encoder.set_ledger(ledger.encode());
            }
            encode(encoder, &steps);
        };
        write(&*self.checkpoints, made.id, work, &self.config).await?;
        self.newest = Some(made);
        self.damaged.retain(|id| *id != made.id);
        let tidied = self.tidy(made.id).await;
        tidied.map(|()| made).map_err(|cause| {
            let message = "the checkpoint is made, but what is older cannot be removed: ask again";
            let kind = cause.kind();
            cause.behind(kind, message)
        })
    }

    /// Removes the checkpoints that are no longer kept, then the journal's records before the
    /// oldest that is. In this order: at every moment the journal goes on from each checkpoint
    /// that counts.
    async fn tidy(&mut self, newest: u64) -> Result<()> {
        while let Some(id) = self.damaged.last() {
            self.checkpoints.remove(*id).await?;
            self.damaged.pop();
        }
        let listed = self.checkpoints.list().await?;
        // Another store that took over may have made newer ones: they are its own business.
        let ours: Vec<u64> = listed.iter().map(|info| info.id).filter(|id| *id <= newest).collect();
        let (kept, old) = ours.split_at(self.config.checkpoints_kept.min(ours.len()));
        for id in old {
            self.checkpoints.remove(*id).await?;
        }
        match kept.last() {
            Some(oldest) if kept.len() == self.config.checkpoints_kept => self.trim(*oldest).await,
            _ => Ok(()),
        }
    }

    async fn trim(&self, before: u64) -> Result<()> {
        if self.config.keeps_whole_journal() {
            return Ok(());
        }
        self.journal.trim(before).await
    }
}

/// Writes a checkpoint, which is encoded on a thread of its own: that is work for a second for each
/// gigabyte, and so is letting go of a state that has grown old.
async fn write(
    checkpoints: &dyn CheckpointStore,
    id: u64,
    work: impl FnOnce(mpsc::Sender<Step>) + Send + 'static,
    config: &Config,
) -> Result<()> {
    let mut writer = checkpoints.begin(id).await?;
    let (steps, mut frames) = mpsc::channel(AHEAD);
    let builder = thread::Builder::new().name(config.thread_name.clone());
    builder.spawn(move || work(steps)).map_err(|cause| {
        Error::new(ErrorKind::Unavailable, "the encoding thread cannot be started")
            .with_source(cause)
    })?;
    while let Some(step) = frames.recv().await {
        match step {
            Step::Frame(frame) => writer.write(frame).await?,
            Step::More => {}
            Step::End => return writer.commit().await,
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "the encoding thread ended too soon: ask again"))
}

/// Ends early if nobody wants the frames any more.
fn encode(mut encoder: Encoder, steps: &mpsc::Sender<Step>) {
    loop {
        let step = encoder.step(usize::MAX, usize::MAX);
        let ends = matches!(step, Step::End);
        if steps.blocking_send(step).is_err() || ends {
            return;
        }
    }
}

/// The answer to those who ask a store that has no place for checkpoints.
pub(super) fn no_place() -> Error {
    Error::new(ErrorKind::Invalid, "the store was opened without a place for checkpoints")
}
