//! The calls of a connection, in the task of the connection.
//!
//! Where a hundred puts become durable at once, the connection is woken once, and writes all their
//! answers with one call of the system. Each call as a task of its own would wake a hundred, and the
//! connection after each of them.
//!
//! What takes long does not stand in the line: a call moves out into a task of its own when it says
//! so, or when it was polled so often that it is a stream.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;

use crate::etcd_api::Spawn;

/// What is answered once is done after some four.
const POLLS: u32 = 16;

thread_local! {
    /// Whether the call that is being polled wants to move out.
    static MOVES_OUT: Cell<bool> = const { Cell::new(false) };
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// From here on the call may take long. Where it does not stand in a line this does nothing.
pub(super) async fn move_out() {
    let mut told = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut told, true) {
            return Poll::Ready(());
        }
        MOVES_OUT.set(true);
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// How many calls of a connection run, in the line or elsewhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Running(Arc<AtomicUsize>);

impl Running {
    fn one_more(&self) -> OneRuns {
        self.0.fetch_add(1, Ordering::Relaxed);
        OneRuns(self.clone())
    }

    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// Counts a call for as long as it is held.
struct OneRuns(Running);

impl Drop for OneRuns {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Hyper's way to run the calls of a connection: they wait for the connection's task.
#[derive(Clone, Default)]
pub(super) struct NewCalls {
    waiting: Arc<Mutex<Vec<Task>>>,
    running: Running,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for NewCalls {
    fn execute(&self, call: F) {
        let runs = self.running.one_more();
        self.waiting.lock().push(Box::pin(call.map(move |()| drop(runs))));
    }
}

/// A call that stands in the line.
struct Call {
    /// `None` once it has moved out.
    task: Option<Task>,
    polls: u32,
    spawn: Arc<dyn Spawn>,
}

impl Future for Call {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(task) = &mut self.task else { return Poll::Ready(()) };
        MOVES_OUT.set(false);
        if task.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.polls += 1;
        if !MOVES_OUT.take() && self.polls < POLLS {
            return Poll::Pending;
        }
        if let Some(task) = self.task.take() {
            self.spawn.spawn(task);
        }
        Poll::Ready(())
    }
}

/// The calls of one connection.
pub(super) struct Line {
    new: NewCalls,
    calls: FuturesUnordered<Call>,
    spawn: Arc<dyn Spawn>,
}

impl Line {
    pub(super) fn new(spawn: Arc<dyn Spawn>) -> Self {
        Self { new: NewCalls::default(), calls: FuturesUnordered::new(), spawn }
    }

    /// Where new calls come in.
    pub(super) fn entry(&self) -> NewCalls {
        self.new.clone()
    }

    pub(super) fn running(&self) -> Running {
        self.new.running.clone()
    }

    /// Runs a connection and its calls until the connection ends, or cannot `send` any more what
    /// there is to send when nothing else is to be done.
    pub(super) async fn run_with<T: Send>(
        &mut self,
        mut connection: Pin<&mut (impl Future<Output = T> + Send)>,
        send: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>> + Send + Sync,
    ) {
        poll_fn(|cx| {
            loop {
                if connection.as_mut().poll(cx).is_ready() {
                    // How it ends is the client's affair; what was said last may reach it.
                    let _sent = send(cx);
                    return Poll::Ready(());
                }
                // A call that went on has something for the connection to write.
                if !self.go_on(cx) {
                    let failed = matches!(send(cx), Poll::Ready(Err(_)));
                    return if failed { Poll::Ready(()) } else { Poll::Pending };
                }
            }
        })
        .await;
    }

    /// Whether a call has begun or ended.
    fn go_on(&mut self, cx: &mut Context<'_>) -> bool {
        let new = std::mem::take(&mut *self.new.waiting.lock());
        let mut went_on = !new.is_empty();
        let spawn = &self.spawn;
        let call = |task| Call { task: Some(task), polls: 0, spawn: Arc::clone(spawn) };
        self.calls.extend(new.into_iter().map(call));
        while let Poll::Ready(Some(())) = self.calls.poll_next_unpin(cx) {
            went_on = true;
        }
        went_on
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Executor;

    use super::*;

    /// Counts what it was given, and runs nothing.
    #[derive(Clone, Default)]
    struct Spawned(Arc<Mutex<Vec<Task>>>);

    impl Spawn for Spawned {
        fn spawn(&self, task: Task) {
            self.0.lock().push(task);
        }
    }

    /// A line with one call, after a connection was woken so often.
    async fn after(call: impl Future<Output = ()> + Send + 'static, wakes: usize) -> usize {
        let spawned = Spawned::default();
        let mut line = Line::new(Arc::new(spawned.clone()));
        line.entry().execute(call);
        let mut left = wakes;
        let connection = poll_fn(|cx| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        line.run_with(std::pin::pin!(connection), |_| Poll::Ready(Ok(()))).await;
        spawned.0.lock().len()
    }

    /// A call that is polled so often before it ends, and counts that.
    fn polled(times: usize, counted: Arc<AtomicUsize>) -> impl Future<Output = ()> + Send {
        poll_fn(move |cx| {
            if counted.fetch_add(1, Ordering::Relaxed) + 1 == times {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    #[tokio::test]
    async fn a_short_call_ends_in_the_line() {
        let counted = Arc::new(AtomicUsize::new(0));
        assert_eq!(after(polled(5, Arc::clone(&counted)), 100).await, 0);
        assert_eq!(counted.load(Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn a_call_runs_until_it_ends_or_is_dropped() {
        let calls = NewCalls::default();
        assert!(!calls.running.any());
        calls.execute(std::future::ready(()));
        calls.execute(std::future::pending());
        assert!(calls.running.any());
        let mut waiting = std::mem::take(&mut *calls.waiting.lock());
        waiting.remove(0).await;
        assert!(calls.running.any());
        waiting.clear();
        assert!(!calls.running.any());
    }

    #[tokio::test]
    async fn a_stream_moves_out() {
        let counted = Arc::new(AtomicUsize::new(0));
        assert_eq!(after(polled(1000, Arc::clone(&counted)), 100).await, 1);
        assert_eq!(counted.load(Ordering::Relaxed), POLLS as usize);
    }

    #[tokio::test]
    async fn who_says_so_moves_out_at_once() {
        let counted = Arc::new(AtomicUsize::new(0));
        let after_that = Arc::clone(&counted);
        let call = async move {
            move_out().await;
            after_that.fetch_add(1, Ordering::Relaxed);
        };
        assert_eq!(after(call, 100).await, 1);
        assert_eq!(counted.load(Ordering::Relaxed), 0);
        // Elsewhere nothing happens.
        move_out().await;
    }
}
