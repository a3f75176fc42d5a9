//! The clients' streams of watchers, and which of them are not read.
//!
//! A stream is asked for more as soon as there is room for it on its way to the client. One that has
//! handed something out and was not asked since has a client that does not read, or not fast enough.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;
use tokio::time::Instant;

/// Whoever has not been asked for so long is slow.
const SLOW: Duration = Duration::from_secs(1);

/// Where the client of a connection is.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientAddr(pub(super) SocketAddr);

/// Every stream.
#[derive(Debug)]
pub(super) struct Audience {
    began: Instant,
    streams: Mutex<Slab<Arc<Stream>>>,
}

impl Default for Audience {
    fn default() -> Self {
        Self { began: Instant::now(), streams: Mutex::default() }
    }
}

#[derive(Debug)]
struct Stream {
    client: Option<ClientAddr>,
    watchers: AtomicU64,
    /// When it handed something out and was not asked since, in nanoseconds after the audience
    /// began; [`READ`] if it was.
    unread_since: AtomicU64,
}

const READ: u64 = u64::MAX;

/// A stream that is not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slow {
    /// An address and a port.
    pub(super) client: String,
    /// A number of the stream's own.
    pub(super) stream: usize,
    pub(super) watchers: u64,
    /// For how long it was not asked.
    pub(super) unread: Duration,
}

impl Audience {
    pub(super) fn join(self: &Arc<Self>, client: Option<ClientAddr>) -> Seat {
        let stream = Arc::new(Stream {
            client,
            watchers: AtomicU64::new(0),
            unread_since: AtomicU64::new(READ),
        });
        let number = self.streams.lock().insert(Arc::clone(&stream));
        Seat { audience: Arc::clone(self), number, stream, now: 0 }
    }

    /// Those that are not read, the longest first.
    pub(super) fn slow(&self) -> Vec<Slow> {
        let now = self.now();
        let slow = |(number, stream): (usize, &Arc<Stream>)| {
            let since = stream.unread_since.load(Ordering::Relaxed);
            let unread = Duration::from_nanos(now.checked_sub(since)?);
            (unread >= SLOW).then(|| Slow {
                client: stream.client.map_or_else(String::new, |client| client.0.to_string()),
                stream: number,
                watchers: stream.watchers.load(Ordering::Relaxed),
                unread,
            })
        };
        let mut slow: Vec<_> = self.streams.lock().iter().filter_map(slow).collect();
        slow.sort_unstable_by_key(|slow| Reverse(slow.unread));
        slow
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(READ - 1)
    }
}

/// A stream's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    audience: Arc<Audience>,
    number: usize,
    stream: Arc<Stream>,
    /// When something was last handed out after a while.
    now: u64,
}

impl Seat {
    /// The stream is asked for more.
    pub(super) fn asked(&self) {
        self.stream.unread_since.store(READ, Ordering::Relaxed);
    }

    /// It hands something out: the first of some things that follow one another, or another of them,
    /// for which the clock is not asked.
    pub(super) fn handed_out(&mut self, first: bool) {
        if first {
            self.now = self.audience.now();
        }
        self.stream.unread_since.store(self.now, Ordering::Relaxed);
    }

    pub(super) fn watcher_created(&self) {
        self.stream.watchers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn watcher_canceled(&self) {
        self.stream.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.audience.streams.lock().try_remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_not_asked_for_a_second_is_slow() {
        let audience = Arc::new(Audience::default());
        let client = ClientAddr("127.0.0.1:7".parse().unwrap());
        let (mut first, mut second) = (audience.join(None), audience.join(Some(client)));
        advance(Duration::from_secs(9)).await;
        assert_eq!(audience.slow(), [], "nothing was handed out");
        first.handed_out(true);
        second.watcher_created();
        second.watcher_created();
        second.watcher_canceled();
        second.handed_out(true);
        advance(Duration::from_millis(999)).await;
        assert_eq!(audience.slow(), []);
        first.asked();
        first.handed_out(true);
        advance(Duration::from_millis(1)).await;
        let unread = Duration::from_secs(1);
        let slow = |client: &str, stream, watchers, unread| Slow {
            client: client.to_owned(),
            stream,
            watchers,
            unread,
        };
        assert_eq!(audience.slow(), [slow("127.0.0.1:7", 1, 1, unread)]);
        advance(unread).await;
        assert_eq!(
            audience.slow(),
            [slow("127.0.0.1:7", 1, 1, 2 * unread), slow("", 0, 0, Duration::from_millis(1001))]
        );
        drop(second);
        first.asked();
        assert_eq!(audience.slow(), []);
    }
}
