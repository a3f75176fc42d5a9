//! Asking the journal how far it is, for readers who want to be sure.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::Result;
use crate::journal::{Journal, Tail};

/// Between two questions that are under way at once.
const SPACING: Duration = Duration::from_millis(1);

/// Questions under way at once. A journal that is slower than this many [`SPACING`]s is asked
/// again as its answers come.
const IN_FLIGHT: usize = 64;

/// Waiters for the next question; the others wait in the channel and, if that is full, outside.
const WAITERS: usize = 4096;

/// Who waits for the answer to a question.
pub(super) type Waiter = oneshot::Sender<Result<Tail>>;

type Question = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The driver's side of [`read_barrier`](super::Store::read_barrier).
///
/// One question serves all who came before it was sent, and nobody who came after: its answer may
/// be older than they are. So while answers are awaited new questions go out, one each
/// [`SPACING`]; without any under way, a question goes out at once.
pub(super) struct Barrier {
    journal: Arc<dyn Journal>,
    arrivals: mpsc::Receiver<Waiter>,
    arrived: Vec<Waiter>,
    asked: FuturesUnordered<Question>,
    last_asked: Instant,
    /// Runs while somebody waits for the next question to be allowed.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Barrier {
    pub(super) fn new(journal: Arc<dyn Journal>) -> (mpsc::Sender<Waiter>, Self) {
        let (handle, arrivals) = mpsc::channel(WAITERS);
        let barrier = Self {
            journal,
            arrivals,
            arrived: Vec::new(),
            asked: FuturesUnordered::new(),
            last_asked: Instant::now(),
            pause: None,
        };
        (handle, barrier)
    }

    /// Asks and answers. Never ready; all that it knows is kept between polls.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Infallible> {
        loop {
            while let Poll::Ready(Some(())) = self.asked.poll_next_unpin(cx) {}
            self.receive(cx);
            if !self.may_ask(cx) {
                return Poll::Pending;
            }
            self.ask();
        }
    }

    fn receive(&mut self, cx: &mut Context<'_>) {
        if self.arrived.len() >= WAITERS {
            self.arrived.retain(|waiter| !waiter.is_closed());
        }
        loop {
            let room = WAITERS - self.arrived.len();
            if room == 0 {
                return;
            }
            match self.arrivals.poll_recv_many(cx, &mut self.arrived, room) {
                Poll::Ready(1..) => {}
                Poll::Ready(0) | Poll::Pending => return,
            }
        }
    }

    fn may_ask(&mut self, cx: &mut Context<'_>) -> bool {
        if self.arrived.is_empty() || self.asked.len() >= IN_FLIGHT {
            return false;
        }
        if self.asked.is_empty() {
            return true;
        }
        let due = self.last_asked + SPACING;
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep_until(due)));
        pause.as_mut().poll(cx).is_ready()
    }

    fn ask(&mut self) {
        self.pause = None;
        let mut waiters = std::mem::take(&mut self.arrived);
        waiters.retain(|waiter| !waiter.is_closed());
        if waiters.is_empty() {
            return;
        }
        self.last_asked = Instant::now();
        let journal = Arc::clone(&self.journal);
        self.asked.push(Box::pin(async move {
            let answer = journal.tail().await;
            for waiter in waiters {
                // A reader who has gone away does not want it.
                let _gone = waiter.send(answer.clone());
            }
        }));
    }
}
