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
use rustix::time::{ClockId, clock_gettime};
use slab::Slab;

/// Whoever has not been asked for so long is slow.
const SLOW: Duration = Duration::from_secs(1);

/// Where the client of a connection is.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientAddr(pub(super) SocketAddr);

/// A time since some moment that does not change: to a few milliseconds, so that it costs nothing to
/// ask for each event.
pub(super) fn now() -> Duration {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::MonotonicCoarse;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    clock_gettime(CLOCK).try_into().unwrap_or_default()
}

/// Every stream.
#[derive(Debug, Default)]
pub(super) struct Audience {
    streams: Mutex<Slab<Arc<Stream>>>,
}

#[derive(Debug)]
struct Stream {
    client: Option<ClientAddr>,
    watchers: AtomicU64,
    /// When it handed something out and was not asked since, as [`now`] in nanoseconds; [`READ`] if it
    /// was asked.
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
        Seat { audience: Arc::clone(self), number, stream }
    }

    /// Those that are not read, the longest first.
    pub(super) fn slow(&self, now: Duration) -> Vec<Slow> {
        let slow = |(number, stream): (usize, &Arc<Stream>)| {
            let since = stream.unread_since.load(Ordering::Relaxed);
            let unread = now.checked_sub(Duration::from_nanos(since))?;
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
}

/// A stream's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    audience: Arc<Audience>,
    number: usize,
    stream: Arc<Stream>,
}

impl Seat {
    /// The stream is asked for more.
    pub(super) fn asked(&self) {
        self.stream.unread_since.store(READ, Ordering::Relaxed);
    }

    /// It hands something out.
    pub(super) fn handed_out(&self, now: Duration) {
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(READ - 1);
        self.stream.unread_since.store(nanos, Ordering::Relaxed);
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
    use super::*;

    #[test]
    fn who_is_not_asked_for_a_second_is_slow() {
        const AT: Duration = Duration::from_secs(1_000_000);
        let ms = |ms: u64| AT + Duration::from_millis(ms);
        let audience = Arc::new(Audience::default());
        let client = ClientAddr("127.0.0.1:7".parse().unwrap());
        let (first, second) = (audience.join(None), audience.join(Some(client)));
        assert_eq!(audience.slow(ms(0)), [], "nothing was handed out");
        first.handed_out(ms(0));
        second.watcher_created();
        second.watcher_created();
        second.watcher_canceled();
        second.handed_out(ms(0));
        assert_eq!(audience.slow(ms(999)), []);
        // What it is told now is as old as now, however long it was not asked before.
        first.asked();
        first.handed_out(ms(999));
        let slow = |client: &str, stream, watchers, unread| Slow {
            client: client.to_owned(),
            stream,
            watchers,
            unread: Duration::from_millis(unread),
        };
        assert_eq!(audience.slow(ms(1000)), [slow("127.0.0.1:7", 1, 1, 1000)]);
        assert_eq!(
            audience.slow(ms(2000)),
            [slow("127.0.0.1:7", 1, 1, 2000), slow("", 0, 0, 1001)]
        );
        drop(second);
        first.asked();
        assert_eq!(audience.slow(ms(9000)), []);
    }

    #[test]
    fn time_goes_on() {
        let before = now();
        assert!(before > Duration::ZERO);
        while now() == before {}
        assert!(now() > before);
    }
}
