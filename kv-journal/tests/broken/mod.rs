//! Journals that break one promise each.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use kv_journal::{Entry, Error, ErrorKind, Journal, MemoryJournal, ReadLimits, Result, Tail};

/// The promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    CountsFromZero,
    RepeatedFence,
    IgnoresEpoch,
    IgnoresNumber,
    LosesTheLast,
    SwapsBytes,
    SplitsBatches,
    UncheckedEmptyBatch,
    StoresWhatItRefuses,
    BoundlessReads,
    EmptyReads,
    TrimsTooMuch,
    ForgetsTrimmed,
    TornByCancel,
    SharesOldTails,
    ForgetsItsFence,
}

impl Flaw {
    pub(crate) const ALL: [Self; 16] = [
        Self::CountsFromZero,
        Self::RepeatedFence,
        Self::IgnoresEpoch,
        Self::IgnoresNumber,
        Self::LosesTheLast,
        Self::SwapsBytes,
        Self::SplitsBatches,
        Self::UncheckedEmptyBatch,
        Self::StoresWhatItRefuses,
        Self::BoundlessReads,
        Self::EmptyReads,
        Self::TrimsTooMuch,
        Self::ForgetsTrimmed,
        Self::TornByCancel,
        Self::SharesOldTails,
        Self::ForgetsItsFence,
    ];

    /// The contract item that it breaks.
    pub(crate) fn item(self) -> &'static str {
        match self {
            Self::CountsFromZero => "1",
            Self::RepeatedFence => "2",
            Self::IgnoresEpoch => "3",
            Self::IgnoresNumber => "4",
            Self::LosesTheLast | Self::SwapsBytes => "5",
            Self::SplitsBatches | Self::UncheckedEmptyBatch => "6",
            Self::StoresWhatItRefuses => "7",
            Self::BoundlessReads | Self::EmptyReads => "8",
            Self::TrimsTooMuch | Self::ForgetsTrimmed => "9",
            Self::TornByCancel => "10",
            Self::SharesOldTails => "11",
            Self::ForgetsItsFence => "12",
        }
    }
}

/// A memory journal with one flaw.
pub(crate) struct BrokenJournal {
    inner: MemoryJournal,
    flaw: Flaw,
    /// The answer on its way to those who asked for the tail.
    answer: Mutex<Option<Tail>>,
}

impl BrokenJournal {
    pub(crate) fn new(flaw: Flaw) -> Self {
        Self { inner: MemoryJournal::new(), flaw, answer: Mutex::default() }
    }

    fn seen(&self, mut tail: Tail) -> Tail {
        if self.flaw == Flaw::CountsFromZero {
            tail.next_seq -= 1;
        }
        tail
    }

    async fn append_flawed(&self, epoch: u64, seq: u64, batch: &[Bytes]) -> Result<()> {
        let tail = self.inner.tail().await?;
        match self.flaw {
            Flaw::IgnoresEpoch => self.inner.append(tail.epoch, seq, batch).await,
            Flaw::IgnoresNumber => self.inner.append(epoch, tail.next_seq, batch).await,
            Flaw::LosesTheLast => {
                let kept = batch.split_last().map_or(batch, |(_, kept)| kept);
                self.inner.append(epoch, seq, kept).await
            }
            Flaw::SwapsBytes => {
                let zeros: Vec<_> = batch.iter().map(|r| Bytes::from(vec![0; r.len()])).collect();
                self.inner.append(epoch, seq, &zeros).await
            }
            Flaw::SplitsBatches => {
                let (left, right) = batch.split_at(batch.len() / 2);
                self.inner.append(epoch, seq, &[right, left].concat()).await
            }
            Flaw::UncheckedEmptyBatch if batch.is_empty() => Ok(()),
            Flaw::TornByCancel => self.append_slowly(epoch, seq, batch).await,
            _ => self.inner.append(epoch, seq, batch).await,
        }
    }

    /// One record after the other, with a pause in which the caller may leave.
    async fn append_slowly(&self, epoch: u64, seq: u64, batch: &[Bytes]) -> Result<()> {
        for (record, index) in batch.iter().zip(0..) {
            let seq = seq.wrapping_add(index);
            self.inner.append(epoch, seq, std::slice::from_ref(record)).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Whoever asks while an answer is on its way gets that one, though it may be old.
    async fn shared_tail(&self) -> Result<Tail> {
        let under_way = *self.answer.lock().unwrap();
        if let Some(answer) = under_way {
            return Ok(answer);
        }
        let answer = self.inner.tail().await?;
        *self.answer.lock().unwrap() = Some(answer);
        late().await;
        *self.answer.lock().unwrap() = None;
        Ok(answer)
    }

    async fn store_anyway(&self, batch: &[Bytes]) -> Result<()> {
        let tail = self.inner.tail().await?;
        self.inner.append(tail.epoch, tail.next_seq, batch).await
    }
}

/// Long enough for others to act.
async fn late() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// A whole journal whose tails take their time: each is what was true when it was asked.
pub(crate) struct LateTails(pub(crate) MemoryJournal);

#[async_trait]
impl Journal for LateTails {
    async fn fence(&self, epoch: u64) -> Result<Tail> {
        self.0.fence(epoch).await
    }

    async fn append(&self, epoch: u64, seq: u64, batch: &[Bytes]) -> Result<()> {
        self.0.append(epoch, seq, batch).await
    }

    async fn read(&self, from: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        self.0.read(from, limits).await
    }

    async fn tail(&self) -> Result<Tail> {
        let tail = self.0.tail().await;
        late().await;
        tail
    }

    async fn trim(&self, before: u64) -> Result<()> {
        self.0.trim(before).await
    }
}

#[async_trait]
impl Journal for BrokenJournal {
    async fn fence(&self, epoch: u64) -> Result<Tail> {
        let tail = self.inner.tail().await?;
        if self.flaw == Flaw::RepeatedFence && epoch == tail.epoch {
            return Ok(tail);
        }
        self.inner.fence(epoch).await.map(|tail| self.seen(tail))
    }

    async fn append(&self, epoch: u64, seq: u64, batch: &[Bytes]) -> Result<()> {
        let seq = if self.flaw == Flaw::CountsFromZero { seq.wrapping_add(1) } else { seq };
        let result = self.append_flawed(epoch, seq, batch).await;
        if result.is_err() && self.flaw == Flaw::StoresWhatItRefuses {
            self.store_anyway(batch).await?;
        }
        result
    }

    async fn read(&self, from: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        let limits = match self.flaw {
            Flaw::BoundlessReads => ReadLimits { records: usize::MAX, bytes: usize::MAX },
            Flaw::EmptyReads if limits.records == 0 => return Ok(Vec::new()),
            _ => limits,
        };
        match self.inner.read(from, limits).await {
            Err(error) if self.flaw == Flaw::ForgetsTrimmed => {
                Err(Error::new(ErrorKind::Invalid, "no such record").with_source(error))
            }
            read => read,
        }
    }

    async fn tail(&self) -> Result<Tail> {
        if self.flaw == Flaw::SharesOldTails {
            return self.shared_tail().await;
        }
        self.inner.tail().await.map(|tail| self.seen(tail))
    }

    async fn trim(&self, before: u64) -> Result<()> {
        let more = u64::from(self.flaw == Flaw::TrimsTooMuch);
        self.inner.trim(before.saturating_add(more)).await
    }

    fn local_epoch(&self) -> Option<Arc<AtomicU64>> {
        (self.flaw == Flaw::ForgetsItsFence).then(|| Arc::new(AtomicU64::new(1)))
    }
}
