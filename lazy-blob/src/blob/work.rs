//! What the driver does: fetch, verify, decode, answer.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::stats::add;
use crate::error::{Error, ErrorKind, Result};
use crate::source::Source;

/// A handle's request for adjacent spans, with one reply for each.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) first: usize,
    pub(super) replies: Vec<Reply>,
}

pub(super) type Reply = oneshot::Sender<Result<Bytes>>;

/// The driver's state. A span is at most once in `flights`, and while it is there it is in
/// exactly one of `queued`, `running` and `decoding`: that is the single flight.
pub(super) struct Work {
    shared: Arc<Shared>,
    source: Arc<dyn Source>,
    wants: mpsc::Receiver<Want>,
    /// Who waits for which span.
    flights: HashMap<usize, Vec<Reply>>,
    /// What is to be fetched.
    queued: VecDeque<Run>,
    running: FuturesUnordered<Pin<Box<dyn Future<Output = Fetched> + Send>>>,
    /// Spans whose bytes are here.
    decoding: VecDeque<Compressed>,
}

/// Adjacent spans to fetch at once, and how often they came wrong.
struct Run {
    spans: Range<usize>,
    attempt: u32,
}

struct Fetched {
    run: Run,
    answer: Result<Bytes>,
}

struct Compressed {
    number: usize,
    attempt: u32,
    bytes: Bytes,
}

impl Work {
    pub(super) fn new(
        shared: Arc<Shared>,
        source: Arc<dyn Source>,
        wants: mpsc::Receiver<Want>,
    ) -> Self {
        Self {
            shared,
            source,
            wants,
            flights: HashMap::new(),
            queued: VecDeque::new(),
            running: FuturesUnordered::new(),
            decoding: VecDeque::new(),
        }
    }

    /// Works until every handle is gone and what they asked for is done.
    pub(super) async fn run(mut self) -> Result<()> {
        let (mut open, mut accepted) = (true, 0);
        loop {
            self.start_fetches();
            if !open && self.flights.is_empty() {
                return Ok(());
            }
            // Held back here, callers wait in the channel, which is bounded; and however many come,
            // what is here gets decoded.
            let queue = self.shared.config.queue;
            let idle = self.decoding.is_empty();
            let accepting = open && self.queued.len() < queue && (idle || accepted < queue);
            tokio::select! {
                biased;
                Some(fetched) = self.running.next() => self.receive(fetched)?,
                want = self.wants.recv(), if accepting => match want {
                    Some(want) => {
                        self.accept(want);
                        accepted += 1;
                    }
                    None => open = false,
                },
                () = std::future::ready(()), if !idle => {
                    self.decode_one();
                    accepted = 0;
                    yield_once().await;
                }
            }
        }
    }

    /// Joins flights that are under way and queues runs for what is not.
    fn accept(&mut self, want: Want) {
        for (number, reply) in (want.first..).zip(want.replies) {
            if let Some(waiters) = self.flights.get_mut(&number) {
                if waiters.len() == waiters.capacity() {
                    // Those who gave up leave before the list grows.
                    waiters.retain(|reply| !reply.is_closed());
                }
                waiters.push(reply);
            } else if let Some(span) = self.shared.cache.lock().get(number) {
                // Decoded since the handle looked; it may have given up, which is fine.
                drop(reply.send(Ok(span)));
            } else {
                self.flights.insert(number, vec![reply]);
                self.enqueue(number);
            }
        }
    }

    /// Adds a span to the last run if it is adjacent and the run stays within the limit.
    fn enqueue(&mut self, number: usize) {
        let limit = self.shared.config.fetch_bytes;
        if let Some(Run { spans, attempt: 0 }) = self.queued.back_mut()
            && spans.end == number
            && self.shared.fetch_length(&(spans.start..number + 1)) <= limit
        {
            spans.end = number + 1;
        } else {
            self.queued.push_back(Run { spans: number..number + 1, attempt: 0 });
        }
    }

    /// Starts what the limit allows. A source that is faster than decoding waits for it, so that
    /// not more than two rounds of fetches are held.
    fn start_fetches(&mut self) {
        let fetches = self.shared.config.fetches;
        while self.running.len() < fetches
            && self.decoding.len() < fetches
            && let Some(run) = self.queued.pop_front()
        {
            if self.is_wanted(&run.spans) {
                self.start_fetch(run);
            } else {
                run.spans.for_each(|number| drop(self.flights.remove(&number)));
            }
        }
    }

    fn is_wanted(&self, run: &Range<usize>) -> bool {
        run.clone()
            .filter_map(|number| self.flights.get(&number))
            .any(|waiters| waiters.iter().any(|reply| !reply.is_closed()))
    }

    fn start_fetch(&mut self, run: Run) {
        let (source, range) = (Arc::clone(&self.source), self.shared.fetch_range(&run.spans));
        add(&self.shared.counters.requests, 1);
        self.running
            .push(Box::pin(async move { Fetched { run, answer: source.read(range).await } }));
    }

    /// Cuts an answer into its spans.
    ///
    /// # Errors
    ///
    /// [`Changed`](ErrorKind::Changed), which no later read can mend: it ends the driver.
    fn receive(&mut self, Fetched { run, answer }: Fetched) -> Result<()> {
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(error) => return self.fail_run(run.spans, &error),
        };
        add(&self.shared.counters.bytes_fetched, bytes.len() as u64);
        let range = self.shared.fetch_range(&run.spans);
        if bytes.len() as u64 != range.end - range.start {
            let error = wrong_length(&range, bytes.len());
            self.try_again(run, &error);
            return Ok(());
        }
        for number in run.spans {
            let span = self.shared.fetch_range(&(number..number + 1));
            let at = |offset: u64| usize::try_from(offset - range.start).unwrap_or(usize::MAX);
            // Within `bytes`, since the run's range covers each of its spans.
            let bytes = bytes.slice(at(span.start)..at(span.end));
            self.decoding.push_back(Compressed { number, attempt: run.attempt, bytes });
        }
        Ok(())
    }

    fn fail_run(&mut self, run: Range<usize>, error: &Error) -> Result<()> {
        for number in run {
            self.answer(number, &Err(error.clone()));
        }
        if error.kind() == ErrorKind::Changed {
            // The first failure is the one to tell.
            let _ = self.shared.failure.set(error.clone());
            return Err(error.clone());
        }
        Ok(())
    }

    /// After wrong bytes: once more before all else, or tell.
    fn try_again(&mut self, Run { spans, attempt }: Run, error: &Error) {
        add(&self.shared.counters.digest_failures, 1);
        if attempt < self.shared.config.retries {
            self.queued.push_front(Run { spans, attempt: attempt + 1 });
        } else {
            spans.for_each(|number| self.answer(number, &Err(error.clone())));
        }
    }

    /// Verifies and decodes one span: about a millisecond for one of the default size.
    fn decode_one(&mut self) {
        let Some(Compressed { number, attempt, bytes }) = self.decoding.pop_front() else {
            return;
        };
        match self.shared.index.decode_span(number, &bytes) {
            Ok(span) => {
                add(&self.shared.counters.spans_decoded, 1);
                self.shared.cache.lock().insert(number, span.clone());
                self.answer(number, &Ok(span));
            }
            Err(error) => {
                self.try_again(Run { spans: number..number + 1, attempt }, &error);
            }
        }
    }

    fn answer(&mut self, number: usize, answer: &Result<Bytes>) {
        for reply in self.flights.remove(&number).into_iter().flatten() {
            // A reader that has gone needs no answer.
            drop(reply.send(answer.clone()));
        }
    }
}

fn wrong_length(range: &Range<u64>, seen: usize) -> Error {
    let Range { start, end } = range;
    Error::new(
        ErrorKind::Corrupt,
        format!("range {start}..{end}: the source gave {seen} bytes: it breaks its contract"),
    )
}

/// Lets the runtime's other tasks run before the next span is decoded.
async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
