//! The future that the caller spawns.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::pump::Pump;
use crate::error::Result;

/// The work behind a [`Cache`](super::Cache): spawn it, or nothing moves.
///
/// It ends with `Ok` once every handle is dropped, what they asked for is done and the
/// [checkpoint](crate::CheckpointConfig), if there is one, is written; and with the error that stopped it
/// otherwise. Dropping it closes the handles: their calls fail with
/// [`Closed`](crate::ErrorKind::Closed).
#[must_use = "nothing moves until the driver is spawned"]
pub struct Driver {
    run: Pin<Box<dyn Future<Output = Result<()>> + Send>>,
    done: Option<Result<()>>,
    pumps: Vec<Pump>,
}

impl Driver {
    pub(super) fn new(
        run: impl Future<Output = Result<()>> + Send + 'static,
        pumps: Vec<Pump>,
    ) -> Self {
        Self { run: Box::pin(run), done: None, pumps }
    }

    /// The pumps, to spawn each on its own: as many as the config says, none the second time. A
    /// driver that keeps them runs them itself, between its other work.
    pub fn take_pumps(&mut self) -> Vec<Pump> {
        std::mem::take(&mut self.pumps)
    }
}

impl Future for Driver {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.done.is_none()
            && let Poll::Ready(done) = self.run.as_mut().poll(cx)
        {
            self.done = Some(done);
        }
        self.pumps.retain_mut(|pump| Pin::new(pump).poll(cx).is_pending());
        match self.done.take() {
            Some(done) if self.pumps.is_empty() => Poll::Ready(done),
            done => {
                self.done = done;
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
