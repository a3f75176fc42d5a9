//! The future that the caller spawns.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::Result;

/// The work behind a [`Provisioner`](super::Provisioner): spawn it, or nothing moves.
///
/// It ends with `Ok` once every handle is dropped and what they asked for is done, and with the
/// error that stopped it otherwise. Dropping it closes the handles: their calls fail with
/// [`Closed`](crate::ErrorKind::Closed).
#[must_use = "nothing moves until the driver is spawned"]
pub struct Driver {
    run: Pin<Box<dyn Future<Output = Result<()>> + Send>>,
}

impl Driver {
    pub(super) fn new(run: impl Future<Output = Result<()>> + Send + 'static) -> Self {
        Self { run: Box::pin(run) }
    }
}

impl Future for Driver {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.run.as_mut().poll(cx)
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
