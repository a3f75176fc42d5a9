//! A snapshot as a stream of bytes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use crate::core::State;
use crate::core::checkpoint::{Encoder, Step};
use crate::error::Result;

/// What one poll encodes at most before other tasks are let in.
const STEP_VERSIONS: usize = 512;
const STEP_BYTES: usize = 256 << 10;

/// The bytes of a [`Snapshot`](super::Snapshot), with every revision that it holds, in the format
/// of a checkpoint: checksums, order and totals tell whether all of it arrived.
///
/// It is made while it is read, a frame at a time, and holds no more than one frame. As a stream
/// it never fails; its items are results as those of other streams of bytes are.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Export {
    encoder: Encoder,
    revision: u64,
}

impl Export {
    pub(super) fn new(state: Arc<State>, frame_bytes: usize) -> Self {
        let revision = state.revision();
        Self { encoder: Encoder::new(state, frame_bytes), revision }
    }

    /// The newest revision in it.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

impl Stream for Export {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.encoder.step(STEP_VERSIONS, STEP_BYTES) {
            Step::Frame(frame) => Poll::Ready(Some(Ok(frame))),
            Step::End => Poll::Ready(None),
            Step::More => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("revision", &self.revision).finish_non_exhaustive()
    }
}
