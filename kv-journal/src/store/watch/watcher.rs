//! One watcher by itself.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::Limits;
use super::request::{WatchBatch, WatchRequest};
use super::stream::{WatchMessage, WatchStream};
use crate::error::Result;
use crate::store::shared::Shared;

/// A [`Stream`] of the events of a range: each revision once, whole, in order.
///
/// It fails once and then ends: with `Compacted` if a compaction passed what it had not seen, with
/// `Closed` once the driver has ended and everything published before was delivered. It does not
/// keep the store open. It is a [`WatchStream`] with one watcher, which is the cheaper way to have
/// many.
pub struct Watcher {
    stream: WatchStream,
    ended: bool,
}

impl Watcher {
    pub(in crate::store) fn new(
        request: &WatchRequest,
        shared: Arc<Shared>,
        limits: Limits,
    ) -> Result<Self> {
        request.check()?;
        let start = request.start_revision;
        shared.with_state(|state| match start {
            1.. if start < state.compact_revision() => Err(state.compacted(start)),
            _ => Ok(()),
        })?;
        let stream = WatchStream::new(shared, limits)?;
        stream.create(request.clone())?;
        Ok(Self { stream, ended: false })
    }

    /// Asks for a progress notice, which comes once the watcher has caught up. Several requests
    /// may get one answer; a watcher whose start lies in the future gets none until then.
    pub fn request_progress(&self) {
        self.stream.request_progress();
    }
}

impl Stream for Watcher {
    type Item = Result<WatchBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.ended {
            let batch = match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(Ok(WatchMessage::Created { .. })) => continue,
                Some(Ok(WatchMessage::Events { batch, .. })) => Ok(batch),
                Some(Ok(WatchMessage::Progress { revision, .. })) => {
                    Ok(WatchBatch::progress(revision))
                }
                Some(Ok(WatchMessage::Canceled { reason: Some(reason), .. }) | Err(reason)) => {
                    self.ended = true;
                    Err(reason)
                }
                Some(Ok(WatchMessage::Canceled { reason: None, .. })) | None => break,
            };
            return Poll::Ready(Some(batch));
        }
        self.ended = true;
        Poll::Ready(None)
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}
