//! A decorator that makes any journal as slow as told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;

use super::{Entry, Journal, ReadLimits, Tail};
use crate::error::Result;

/// How slow a [`ThrottleJournal`] is. The default is not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Throttle {
    /// What every append takes, whatever its size, as the sync of a disk or the way to a server.
    pub append_latency: Duration,
    /// What an append transfers in a second, on top of its latency; `None` is without bound. 0 is
    /// taken for 1.
    pub append_bytes_per_sec: Option<u64>,
}

impl Throttle {
    /// What an append of so many bytes takes.
    fn delay(&self, bytes: usize) -> Duration {
        let transfer = self.append_bytes_per_sec.map_or(0, |rate| {
            let nanos = bytes as u128 * Duration::from_secs(1).as_nanos() / u128::from(rate.max(1));
            u64::try_from(nanos).unwrap_or(u64::MAX)
        });
        self.append_latency.saturating_add(Duration::from_nanos(transfer))
    }
}

/// A [`Journal`] that passes everything on to another one, appends after a delay.
///
/// Appends wait one after the other, in the order of their calls, as before one disk: the latency
/// bounds how many there are in a second. Everything else is passed on at once. Time is
/// tokio's, so that a test can pause it. Clones share the queue. It keeps the whole contract.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use std::time::Duration;
/// use bytes::Bytes;
/// use kv_journal::{Journal, MemoryJournal, Throttle, ThrottleJournal};
///
/// let mut throttle = Throttle::default();
/// throttle.append_latency = Duration::from_millis(2);
/// throttle.append_bytes_per_sec = Some(100 << 20);
/// let journal = ThrottleJournal::new(MemoryJournal::new(), throttle);
/// journal.fence(1).await?;
/// journal.append(1, 1, &[Bytes::from("record")]).await?; // two milliseconds later
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ThrottleJournal {
    inner: Arc<dyn Journal>,
    throttle: Throttle,
    /// Held by the append that is under way. Those that wait get it in their order.
    turn: Arc<Mutex<()>>,
}

impl ThrottleJournal {
    /// `inner`, with appends as slow as `throttle` says.
    pub fn new(inner: impl Journal, throttle: Throttle) -> Self {
        Self { inner: Arc::new(inner), throttle, turn: Arc::default() }
    }
}

#[async_trait]
impl Journal for ThrottleJournal {
    async fn fence(&self, epoch: u64) -> Result<Tail> {
        self.inner.fence(epoch).await
    }

    async fn append(&self, epoch: u64, expected_seq: u64, batch: &[Bytes]) -> Result<()> {
        let _turn = self.turn.lock().await;
        let delay = self.throttle.delay(batch.iter().map(Bytes::len).sum());
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        self.inner.append(epoch, expected_seq, batch).await
    }

    async fn read(&self, from_seq: u64, limits: ReadLimits) -> Result<Vec<Entry>> {
        self.inner.read(from_seq, limits).await
    }

    async fn tail(&self) -> Result<Tail> {
        self.inner.tail().await
    }

    async fn trim(&self, before: u64) -> Result<()> {
        self.inner.trim(before).await
    }
}

impl fmt::Debug for ThrottleJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleJournal").field("throttle", &self.throttle).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join3;
    use tokio::time::Instant;

    use super::*;
    use crate::journal::MemoryJournal;

    fn slow(latency_ms: u64, bytes_per_sec: Option<u64>) -> ThrottleJournal {
        let append_latency = Duration::from_millis(latency_ms);
        let throttle = Throttle { append_latency, append_bytes_per_sec: bytes_per_sec };
        ThrottleJournal::new(MemoryJournal::new(), throttle)
    }

    fn batch(bytes: usize) -> [Bytes; 1] {
        [Bytes::from(vec![0; bytes])]
    }

    #[tokio::test(start_paused = true)]
    async fn appends_take_their_latency_and_their_bytes_one_after_the_other() {
        let journal = slow(5, Some(1000));
        journal.fence(1).await.unwrap();
        let start = Instant::now();
        let (first, second, third) = (batch(200), batch(100), batch(0));
        let appends = join3(
            journal.append(1, 1, &first),
            journal.append(1, 2, &second),
            journal.append(1, 3, &third),
        );
        let (first, second, third) = appends.await;
        first.and(second).and(third).unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(205 + 105 + 5));
        assert_eq!(journal.tail().await.unwrap().next_seq, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_append_dropped_while_it_waits_stores_nothing_and_holds_nobody_up() {
        let journal = slow(5, None);
        journal.fence(1).await.unwrap();
        let (start, records) = (Instant::now(), batch(1));
        let dropped = journal.append(1, 1, &records);
        assert!(tokio::time::timeout(Duration::from_millis(3), dropped).await.is_err());
        assert_eq!(journal.tail().await.unwrap().next_seq, 1);
        journal.append(1, 1, &records).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(8));
    }

    #[tokio::test(start_paused = true)]
    async fn without_bounds_nothing_waits() {
        let journal = slow(0, None);
        let start = Instant::now();
        journal.fence(1).await.unwrap();
        journal.append(1, 1, &batch(1 << 20)).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
