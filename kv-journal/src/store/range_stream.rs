//! A range in chunks, for ranges that are too large to answer at once.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use crate::config::ChunkLimits;
use crate::core::{Chunks, RangeChunk, RangeRequest, State};
use crate::error::Result;

/// The keys of a range in chunks of bounded size, all as of the moment when it began.
///
/// It holds one snapshot and makes each chunk when it is asked for, so a slow consumer costs the
/// memory of what its snapshot alone still reads, and no more. It reads on when that is compacted
/// and when the store is closed. Made by [`Store::range_stream`](super::Store::range_stream).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use std::sync::Arc;
/// use futures_util::StreamExt;
/// use kv_journal::{ChunkLimits, Config, KeyRange, MemoryJournal, PutRequest, Store};
///
/// let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), Config::default()).await?;
/// tokio::spawn(driver);
/// for key in ["a", "b", "c"] {
///     store.put(PutRequest::new(key, "v")).await?;
/// }
/// let mut limits = ChunkLimits::default();
/// limits.keys = 2;
/// let chunks: Vec<_> = store.range_stream(KeyRange::all(), limits)?.collect().await;
/// assert_eq!((chunks[0].kvs.len(), chunks[0].summary), (2, None));
/// assert_eq!((chunks[1].kvs.len(), chunks[1].summary.map(|all| all.count)), (1, Some(3)));
/// # Ok(()) }
/// ```
pub struct RangeStream {
    /// Let go of with the last chunk.
    state: Option<Arc<State>>,
    chunks: Chunks,
    limits: ChunkLimits,
    /// Whether other tasks have had their turn since the last chunk.
    yielded: bool,
}

impl RangeStream {
    pub(super) fn new(
        state: Arc<State>,
        request: &RangeRequest,
        limits: ChunkLimits,
    ) -> Result<Self> {
        limits.check()?;
        let chunks = Chunks::new(&state, request)?;
        Ok(Self { state: Some(state), chunks, limits, yielded: true })
    }

    /// The next chunk, at once; `None` after the one with a summary.
    pub fn next_chunk(&mut self) -> Option<RangeChunk> {
        let chunk = self.chunks.next(self.state.as_deref()?, self.limits);
        if chunk.summary.is_some() {
            self.state = None;
        }
        Some(chunk)
    }
}

impl Stream for RangeStream {
    type Item = RangeChunk;

    /// A chunk takes its time and never waits, so between two of them other tasks get a turn.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.state.is_some() && !std::mem::replace(&mut self.yielded, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.yielded = false;
        Poll::Ready(self.next_chunk())
    }
}

impl FusedStream for RangeStream {
    fn is_terminated(&self) -> bool {
        self.state.is_none()
    }
}

impl fmt::Debug for RangeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeStream").field("chunks", &self.chunks).finish_non_exhaustive()
    }
}
