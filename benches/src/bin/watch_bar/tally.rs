//! When the last of many has an event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use benches::kv_journal::Outcome;
use watch_cache::{Delivery, Error, Flow, Sink};

/// How long a round may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts those who have it, in parts that do not share a cache line.
pub(crate) struct Tally {
    stripes: Vec<Stripe>,
    begun: Instant,
    done: mpsc::Sender<()>,
}

#[repr(align(128))]
struct Stripe {
    size: usize,
    have: AtomicUsize,
    /// Nanoseconds after the beginning at which the last one had it.
    last: AtomicU64,
}

/// One of those who are counted.
#[derive(Clone)]
pub(crate) struct Ticket {
    tally: Arc<Tally>,
    stripe: usize,
}

impl Tally {
    /// So many, in so many parts; and where it is told that a part is complete.
    pub(crate) fn new(count: usize, parts: usize) -> (Arc<Self>, mpsc::Receiver<()>) {
        let stripe = |part| Stripe {
            size: (count + parts - 1 - part) / parts,
            have: AtomicUsize::new(0),
            last: AtomicU64::new(0),
        };
        let (done, told) = mpsc::channel();
        let stripes = (0..parts).map(stripe).filter(|stripe| stripe.size > 0).collect();
        (Arc::new(Self { stripes, begun: Instant::now(), done }), told)
    }

    pub(crate) fn ticket(self: &Arc<Self>, number: usize) -> Ticket {
        Ticket { tally: Arc::clone(self), stripe: number % self.stripes.len() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The milliseconds from `tell` until all have it.
    pub(crate) fn round(&self, told: &mpsc::Receiver<()>, tell: impl FnOnce()) -> Outcome<f64> {
        let start = self.now();
        tell();
        for _ in &self.stripes {
            told.recv_timeout(PATIENCE)?;
        }
        let last = self.stripes.iter().map(|stripe| stripe.last.load(Ordering::Relaxed)).max();
        Ok(last.unwrap_or_default().saturating_sub(start) as f64 / 1e6)
    }
}

impl Ticket {
    /// One more has it.
    pub(crate) fn count(&self) {
        let Some(stripe) = self.tally.stripes.get(self.stripe) else { return };
        let have = stripe.have.fetch_add(1, Ordering::Relaxed) + 1;
        if have.is_multiple_of(stripe.size) {
            stripe.last.store(self.tally.now(), Ordering::Relaxed);
            // A round that has run out of patience has said so.
            let _ = self.tally.done.send(());
        }
    }
}

/// A sink that keeps what came last.
pub(crate) struct Keep {
    pub(crate) ticket: Ticket,
    pub(crate) last: Option<Delivery>,
}

impl Sink for Keep {
    fn deliver(&mut self, delivery: &Delivery) -> Flow {
        self.last = Some(delivery.clone());
        self.ticket.count();
        Flow::Taken
    }

    /// Then its ticket is missing.
    fn end(&mut self, _: Error) {}
}
