//! A source that fails on purpose.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::Source;
use crate::error::{Error, ErrorKind, Result};

/// What a [`FaultSource`] does with one read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Passes the read through.
    None,
    /// Answers with an error of this kind and does not ask the source.
    Error(ErrorKind),
    /// Gives only the first bytes of the answer, against the contract.
    Short(usize),
    /// Gives this many bytes more than asked, against the contract.
    Long(usize),
    /// Flips the bits of `mask` in the byte at `offset` (modulo the answer's length).
    Flip {
        /// Position in the answer.
        offset: usize,
        /// Bits to flip.
        mask: u8,
    },
    /// Waits, then passes the read through.
    Delay(Duration),
}

/// One read, as the policy of a [`FaultSource`] sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadCall {
    /// The number of reads before this one.
    pub sequence: u64,
    /// The range that is asked for.
    pub range: Range<u64>,
}

/// What a [`FaultSource`] has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FaultStats {
    /// Reads that were asked for.
    pub reads: u64,
    /// Reads that met a fault other than [`Fault::None`].
    pub faults: u64,
}

/// A decorator that lets a policy decide the fate of each read.
///
/// ```
/// use lazy_blob::{ErrorKind, Fault, FaultSource, MemorySource, Source};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let once = FaultSource::new(MemorySource::new("abc"), |call| match call.sequence {
///     0 => Fault::Error(ErrorKind::Unavailable),
///     _ => Fault::None,
/// });
/// assert!(once.read(0..1).await.is_err());
/// assert_eq!(once.read(0..1).await?, "a");
/// # Ok::<(), lazy_blob::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FaultSource<S> {
    inner: S,
    policy: Box<dyn Fn(&ReadCall) -> Fault + Send + Sync>,
    reads: AtomicU64,
    faults: AtomicU64,
}

impl<S: Source> FaultSource<S> {
    /// A source over `inner` whose reads meet the faults that `policy` names.
    pub fn new(inner: S, policy: impl Fn(&ReadCall) -> Fault + Send + Sync + 'static) -> Self {
        let (reads, faults) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { inner, policy: Box::new(policy), reads, faults }
    }

    /// What was seen so far.
    pub fn stats(&self) -> FaultStats {
        FaultStats {
            reads: self.reads.load(Ordering::Relaxed),
            faults: self.faults.load(Ordering::Relaxed),
        }
    }

    fn next_fault(&self, range: &Range<u64>) -> Fault {
        let sequence = self.reads.fetch_add(1, Ordering::Relaxed);
        let fault = (self.policy)(&ReadCall { sequence, range: range.clone() });
        if fault != Fault::None {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        fault
    }
}

#[async_trait]
impl<S: Source> Source for FaultSource<S> {
    async fn size(&self) -> Result<u64> {
        self.inner.size().await
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        match self.next_fault(&range) {
            Fault::None => self.inner.read(range).await,
            Fault::Error(kind) => Err(Error::new(kind, "injected fault")),
            Fault::Short(keep) => Ok(shorten(self.inner.read(range).await?, keep)),
            Fault::Long(more) => Ok(lengthen(&self.inner.read(range).await?, more)),
            Fault::Flip { offset, mask } => {
                Ok(flip(self.inner.read(range).await?.into(), offset, mask))
            }
            Fault::Delay(delay) => {
                tokio::time::sleep(delay).await;
                self.inner.read(range).await
            }
        }
    }
}

fn shorten(mut answer: Bytes, keep: usize) -> Bytes {
    answer.truncate(keep);
    answer
}

fn lengthen(answer: &Bytes, more: usize) -> Bytes {
    let mut longer = answer.to_vec();
    longer.resize(answer.len() + more, 0xa5);
    longer.into()
}

fn flip(mut answer: Vec<u8>, offset: usize, mask: u8) -> Bytes {
    let position = offset.checked_rem(answer.len()).unwrap_or(0);
    if let Some(byte) = answer.get_mut(position) {
        *byte ^= mask;
    }
    answer.into()
}

impl<S: fmt::Debug> fmt::Debug for FaultSource<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultSource").field("inner", &self.inner).finish_non_exhaustive()
    }
}
