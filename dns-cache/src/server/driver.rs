//! The future, or futures, that the caller spawns.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::error::Result;

/// One socket's work.
pub(super) type Part = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// The work behind a [`Server`](super::Server): spawn it, or nothing is answered.
///
/// It ends with `Ok` once every handle is dropped and what they have taken is answered, and with
/// the error that stopped it otherwise. Dropping it closes the sockets.
#[must_use = "nothing is answered until the driver is spawned"]
pub struct ServerDriver {
    parts: FuturesUnordered<Part>,
}

impl ServerDriver {
    pub(super) fn new(parts: Vec<Part>) -> Self {
        Self { parts: parts.into_iter().collect() }
    }

    /// The same work as `n` futures for as many tasks or threads, each with its share of the
    /// sockets. Beyond the number of sockets the futures have nothing to do and end at once.
    pub fn split(self, n: usize) -> Vec<Self> {
        let mut shares: Vec<Vec<Part>> = Vec::new();
        shares.resize_with(n.max(1), Vec::new);
        for (at, part) in self.parts.into_iter().enumerate() {
            if let Some(share) = shares.get_mut(at % n.max(1)) {
                share.push(part);
            }
        }
        shares.into_iter().map(Self::new).collect()
    }
}

impl Future for ServerDriver {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.parts.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(()))) => {}
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl fmt::Debug for ServerDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerDriver").field("sockets", &self.parts.len()).finish()
    }
}
