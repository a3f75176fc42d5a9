//! The future that the caller spawns.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::watch::{Pump, Step, WatchDriver};
use crate::error::Result;

/// The work behind a [`Store`](super::Store): spawn it, or nothing moves.
///
/// It ends with `Ok` once every handle is dropped and what they asked for is done, and with the
/// error that stopped it otherwise. Dropping it closes the handles: their calls fail with
/// [`Closed`](crate::ErrorKind::Closed).
#[must_use = "nothing moves until the driver is spawned"]
pub struct Driver {
    run: Pin<Box<dyn Future<Output = Result<()>> + Send>>,
    /// Tells the watchers, unless it was split off.
    pump: Option<Pump>,
}

impl Driver {
    pub(super) fn new(run: impl Future<Output = Result<()>> + Send + 'static, pump: Pump) -> Self {
        Self { run: Box::pin(run), pump: Some(pump) }
    }

    /// Parts the work for watchers from the rest, so that the two can run at the same time. Both
    /// must be spawned. `None` if that was done before.
    pub fn split(&mut self) -> Option<WatchDriver> {
        self.pump.take().map(WatchDriver::new)
    }
}

impl Future for Driver {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = self.run.as_mut().poll(cx);
        // Publications come from the poll above, so the pump looks after it and need not be woken.
        let step = self.pump.as_mut().map(|pump| pump.step(None));
        if ended.is_pending() && step == Some(Step::Unfinished) {
            cx.waker().wake_by_ref();
        }
        ended
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
