//! A decorator that makes any journal fail as told.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::chance::Chance;
use super::{Entry, Journal, ReadLimits, Tail};
use crate::error::{Error, ErrorKind, Result};

/// What happens to one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: it is passed on.
    Pass,
    /// It fails with this kind and nothing is stored.
    Fail(ErrorKind),
    /// Its outcome is `Unknown`, and it was stored.
    UnknownStored,
    /// Its outcome is `Unknown`, and it was lost.
    UnknownLost,
    /// Its outcome is `Unknown`, and it is stored only when the journal is next asked to fence or
    /// to append, as a packet that was under way for a while.
    UnknownLate,
    /// Its outcome is `Unknown`, and only so many records of the batch were stored, as a journal
    /// without whole batches would leave them.
    Torn(usize),
    /// It waits for [`FaultJournal::release`] and is then passed on.
    Hold,
}

/// How often in a thousand calls a [`FaultJournal`] fails by itself.
///
/// ```
/// use kv_journal::FaultRates;
///
/// let mut rates = FaultRates::default();
/// rates.appends = 50;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FaultRates {
    /// Appends that fail with nothing stored, are unknown and stored, lost or late, or are torn.
    pub appends: u32,
    /// Fences that fail without effect.
    pub fences: u32,
    /// Reads that fail.
    pub reads: u32,
    /// Questions for the tail that fail.
    pub tails: u32,
    /// Trims that fail without effect.
    pub trims: u32,
}

/// A [`Journal`] that passes everything on to another one, except where a fault was scripted or,
/// beyond the scripts, drawn at random.
///
/// Clones share the script, so that a test keeps one clone and gives another one to the store.
/// Without faults it keeps the whole contract.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use bytes::Bytes;
/// use kv_journal::{ErrorKind, Fault, FaultJournal, Journal, MemoryJournal};
///
/// let journal = FaultJournal::new(MemoryJournal::new());
/// journal.fence(1).await?;
/// journal.script([Fault::UnknownLost]);
/// let failed = journal.append(1, 1, &[Bytes::from("record")]).await.unwrap_err();
/// assert_eq!(failed.kind(), ErrorKind::Unknown);
/// assert_eq!(journal.tail().await?.next_seq, 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct FaultJournal {
    inner: Arc<dyn Journal>,
    faults: Arc<Faults>,
}

struct Faults {
    appends: Mutex<VecDeque<Fault>>,
    fences: Script,
    reads: Script,
    tails: Script,
    trims: Script,
    released: Semaphore,
    /// Answers to questions for the tail that are to be held back.
    tails_to_hold: Mutex<usize>,
    tails_released: Semaphore,
    late: Mutex<Vec<Late>>,
    random: Mutex<(Chance, FaultRates)>,
}

/// How the next calls of one kind fail.
type Script = Mutex<VecDeque<ErrorKind>>;

/// An append that was answered before it arrived.
struct Late {
    epoch: u64,
    seq: u64,
    batch: Vec<Bytes>,
}

impl FaultJournal {
    /// `inner` without faults.
    pub fn new(inner: impl Journal) -> Self {
        let faults = Faults {
            appends: Mutex::default(),
            fences: Mutex::default(),
            reads: Mutex::default(),
            tails: Mutex::default(),
            trims: Mutex::default(),
            released: Semaphore::new(0),
            tails_to_hold: Mutex::new(0),
            tails_released: Semaphore::new(0),
            late: Mutex::default(),
            random: Mutex::new((Chance::new(0), FaultRates::default())),
        };
        Self { inner: Arc::new(inner), faults: Arc::new(faults) }
    }

    /// What happens to the next appends, one each, after those already scripted.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.appends.lock().extend(faults);
    }

    /// The next fences fail so, one each, without effect.
    pub fn fail_fences(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.faults.fences.lock().extend(kinds);
    }

    /// The next reads fail so, one each.
    pub fn fail_reads(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.faults.reads.lock().extend(kinds);
    }

    /// The next questions for the tail fail so, one each.
    pub fn fail_tails(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.faults.tails.lock().extend(kinds);
    }

    /// The next trims fail so, one each, without effect.
    pub fn fail_trims(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.faults.trims.lock().extend(kinds);
    }

    /// Once the scripts are used up, calls fail so often, always in the same way for the same
    /// seed and order of calls. Rates of 0 end it.
    pub fn fail_at_random(&self, seed: u64, rates: FaultRates) {
        *self.faults.random.lock() = (Chance::new(seed), rates);
    }

    /// Lets one held append go on, now or when it comes.
    pub fn release(&self) {
        self.faults.released.add_permits(1);
    }

    /// The journal answers the next `count` questions for the tail at once, but each answer
    /// arrives only after a [`release_tail`](Self::release_tail).
    pub fn hold_tails(&self, count: usize) {
        *self.faults.tails_to_hold.lock() += count;
    }

    /// Lets the oldest held answer go on, now or when there is one.
    pub fn release_tail(&self) {
        self.faults.tails_released.add_permits(1);
    }

    /// How many scripted faults have not happened yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.faults.appends.lock().len()
    }

    async fn append_torn(&self, epoch: u64, seq: u64, stored: &[Bytes]) -> Result<()> {
        self.inner.append(epoch, seq, stored).await?;
        Err(injected(ErrorKind::Unknown))
    }

    async fn append_held(&self, epoch: u64, seq: u64, batch: &[Bytes]) -> Result<()> {
        wait_for(&self.faults.released).await?;
        self.inner.append(epoch, seq, batch).await
    }

    fn append_late(&self, epoch: u64, seq: u64, batch: &[Bytes]) -> Result<()> {
        self.faults.late.lock().push(Late { epoch, seq, batch: batch.to_vec() });
        Err(injected(ErrorKind::Unknown))
    }

    /// What was late arrives. Nobody waits for how it ends.
    async fn arrive(&self) {
        let late = std::mem::take(&mut *self.faults.late.lock());
        for Late { epoch, seq, batch } in late {
            let _nobody_waits = self.inner.append(epoch, seq, &batch).await;
        }
    }
}

impl Faults {
    fn next_append(&self, records: usize) -> Fault {
        if let Some(fault) = self.appends.lock().pop_front() {
            return fault;
        }
        let (chance, rates) = &mut *self.random.lock();
        if chance.per_mille(rates.appends) { draw(chance, records) } else { Fault::Pass }
    }

    fn next_failure(&self, script: &Script, rate: fn(&FaultRates) -> u32) -> Result<()> {
        if let Some(kind) = script.lock().pop_front() {
            return Err(injected(kind));
        }
        let (chance, rates) = &mut *self.random.lock();
        if chance.per_mille(rate(rates)) { Err(injected(ErrorKind::Unavailable)) } else { Ok(()) }
    }

    fn holds_this_tail(&self) -> bool {
        let mut to_hold = self.tails_to_hold.lock();
        let holds = *to_hold > 0;
        *to_hold = to_hold.saturating_sub(1);
        holds
    }
}

fn draw(chance: &mut Chance, records: usize) -> Fault {
    match chance.below(6) {
        0 => Fault::Fail(ErrorKind::Exhausted),
        1 => Fault::Fail(ErrorKind::Unavailable),
        2 => Fault::UnknownStored,
        3 => Fault::UnknownLost,
        4 => Fault::UnknownLate,
        _ => Fault::Torn(chance.below(records + 1)),
    }
}

fn injected(kind: ErrorKind) -> Error {
    Error::new(kind, format!("injected fault: {kind:?}"))
}

async fn wait_for(released: &Semaphore) -> Result<()> {
    let permit = released.acquire().await.map_err(|_| injected(ErrorKind::Closed))?;
    permit.forget();
    Ok(())
}

#[async_trait]
impl Journal for FaultJournal {
    async fn fence(&self, epoch: u64) -> Result<Tail> {
        self.faults.next_failure(&self.faults.fences, |rates| rates.fences)?;
        self.arrive().await;
        self.inner.fence(epoch).await
    }

    async fn append(&self, epoch: u64, expected_seq: u64, batch: &[Bytes]) -> Result<()> {
        self.arrive().await;
        match self.faults.next_append(batch.len()) {
            Fault::Pass => self.inner.append(epoch, expected_seq, batch).await,
            Fault::Fail(kind) => Err(injected(kind)),
            Fault::UnknownStored => self.append_torn(epoch, expected_seq, batch).await,
            Fault::UnknownLost => Err(injected(ErrorKind::Unknown)),
            Fault::UnknownLate => self.append_late(epoch, expected_seq, batch),
            Fault::Torn(records) => {
                let stored = batch.get(..records).unwrap_or(batch);
                self.append_torn(epoch, expected_seq, stored).await
            }
            Fault::Hold => self.append_held(epoch, expected_seq, batch).await,
        }
    }

    async fn read(&self, from_seq: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        self.faults.next_failure(&self.faults.reads, |rates| rates.reads)?;
        self.inner.read(from_seq, limits).await
    }

    async fn tail(&self) -> Result<Tail> {
        self.faults.next_failure(&self.faults.tails, |rates| rates.tails)?;
        let holds = self.faults.holds_this_tail();
        let answer = self.inner.tail().await;
        if holds {
            wait_for(&self.faults.tails_released).await?;
        }
        answer
    }

    async fn trim(&self, before: u64) -> Result<()> {
        self.faults.next_failure(&self.faults.trims, |rates| rates.trims)?;
        self.inner.trim(before).await
    }
}

impl fmt::Debug for FaultJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultJournal").field("remaining", &self.remaining()).finish_non_exhaustive()
    }
}
