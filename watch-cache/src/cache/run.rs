//! The driver's loop: one writer of the state.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{
    Duration, Instant, Interval, MissedTickBehavior, Sleep, interval_at, sleep_until,
};

use super::checkpoint::Saver;
use super::compare::{Comparisons, ask_digest};
use super::cursor::Slot;
use super::feed::{Fed, feed, yield_now};
use super::fresh::{Answer, Asked, Held, ask, request_progress, tell_prints};
use super::metrics;
use super::shared::Shared;
use super::stats::add;
use super::verify::Prints;
use super::wait::{Reply, Waits};
use crate::config::Config;
use crate::core::predicate::Predicate;
use crate::core::questions::Questions;
use crate::core::state::{Retention, State};
use crate::error::{Error, ErrorKind, Result};
use crate::source::{Freshness, Source};

/// How many commands are taken before the source is looked at again.
const COMMANDS: usize = 4096;

/// What handles ask of the driver.
#[derive(Debug)]
pub(super) enum Command {
    Register { id: u64, predicate: Arc<Predicate>, slot: Arc<Slot> },
    Unregister { id: u64 },
    Wait { revision: u64, reply: Reply },
    Fresh { reply: Reply },
    Save { reply: oneshot::Sender<Result<u64>> },
    Verify { reply: oneshot::Sender<Result<Prints>> },
}

/// What woke the driver; at least one of it.
#[derive(Debug, Default)]
struct Inbox {
    commands: Vec<Command>,
    asked: Vec<Asked>,
    fed: Vec<Fed>,
    ticks: Vec<Tick>,
    ended: bool,
}

/// What time has come for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tick {
    Bookmarks,
    Progress,
    Question,
    Metrics,
    Checkpoint,
    Compare,
}

pub(super) struct Run {
    source: Arc<dyn Source>,
    closing: Closing,
    feed: BoxStream<'static, Vec<Fed>>,
    state: State<Arc<Slot>>,
    waits: Waits,
    held: Vec<Held>,
    questions: Questions<Reply>,
    asking: FuturesUnordered<BoxFuture<'static, Asked>>,
    started: Instant,
    question_due: Pin<Box<Sleep>>,
    bookmarks: Interval,
    progress: Interval,
    metrics: Option<Interval>,
    saver: Option<Saver>,
    checkpoint: Option<Interval>,
    comparisons: Comparisons,
    on_request: bool,
}

impl Run {
    /// Timers belong to the runtime that polls the driver, so this is called from within it.
    fn new(source: Arc<dyn Source>, closing: Closing) -> Self {
        let shared = &closing.shared;
        let config = &shared.config;
        let retention = Retention {
            log_revisions: config.log_revisions,
            log_bytes: config.log_bytes,
            traces: config.traces,
            memory_bytes: config.memory_bytes,
        };
        let started = Instant::now();
        let list_only = matches!(source.freshness(), Freshness::ListOnly);
        Self {
            on_request: matches!(source.freshness(), Freshness::OnRequest(_)),
            feed: feed(Arc::clone(&source), Arc::clone(shared))
                .ready_chunks(config.batch_revisions)
                .boxed(),
            state: State::new(
                &config.prefixes,
                Arc::clone(&shared.planner.indexes),
                retention,
                Arc::clone(&shared.pins),
            ),
            waits: Waits::default(),
            held: Vec::new(),
            questions: Questions::new(config.question_interval, list_only),
            asking: FuturesUnordered::new(),
            started,
            question_due: Box::pin(sleep_until(started)),
            bookmarks: every(config.bookmark_interval),
            progress: every(config.progress_interval),
            metrics: metrics::INTERVAL.map(every),
            saver: Saver::new(shared),
            checkpoint: config.checkpoint.as_ref().map(|checkpoint| every(checkpoint.interval)),
            comparisons: Comparisons::new(config),
            source,
            closing,
        }
    }

    async fn run(&mut self) -> Result<()> {
        loop {
            let inbox = poll_fn(|cx| self.poll_inbox(cx)).await;
            if inbox.ended {
                return match &mut self.saver {
                    Some(saver) => saver.finish().await,
                    None => Ok(()),
                };
            }
            for command in inbox.commands {
                self.obey(command);
            }
            for asked in inbox.asked {
                self.hear(asked);
            }
            let applied = !inbox.fed.is_empty();
            self.apply(inbox.fed)?;
            for tick in inbox.ticks {
                match tick {
                    Tick::Bookmarks => {
                        self.wake_for_bookmarks();
                        self.drop_held();
                    }
                    Tick::Progress => self.request_progress(),
                    Tick::Question => {}
                    Tick::Metrics => metrics::tell(&self.closing.shared),
                    Tick::Compare => self.ask_digest(),
                    Tick::Checkpoint => self.saver.iter_mut().for_each(Saver::due),
                }
            }
            // A question may be due without a tick, as the first one after a pause is.
            if self.questions.is_due(self.started.elapsed()) {
                self.gather().await;
                self.ask();
            }
            if applied {
                // A source that always has more must not keep this thread from its other tasks.
                yield_now().await;
            }
        }
    }

    /// Looks at everything at each wake, so that nothing starves the rest.
    fn poll_inbox(&mut self, cx: &mut Context<'_>) -> Poll<Inbox> {
        let mut inbox = Inbox::default();
        while let Poll::Ready(Some(asked)) = self.asking.poll_next_unpin(cx) {
            inbox.asked.push(asked);
        }
        // An earlier question may have a lower revision, which its waiters need not wait beyond.
        inbox.asked.sort_by_key(Asked::question);
        if let Poll::Ready(Some(fed)) = self.feed.poll_next_unpin(cx) {
            inbox.fed = fed;
        }
        let bookmarks = self.bookmarks.poll_tick(cx).is_ready();
        let progress = self.wants_progress() && self.progress.poll_tick(cx).is_ready();
        let question = self.poll_question(cx);
        let tells = self.metrics.as_mut().is_some_and(|due| due.poll_tick(cx).is_ready());
        inbox.ticks.extend(tells.then_some(Tick::Metrics));
        let saves = self.checkpoint.as_mut().is_some_and(|due| due.poll_tick(cx).is_ready());
        inbox.ticks.extend(saves.then_some(Tick::Checkpoint));
        let compares = self.comparisons.poll_due(cx);
        inbox.ticks.extend(compares.then_some(Tick::Compare));
        self.saver.iter_mut().for_each(|saver| saver.poll(cx));
        inbox.ticks.extend(bookmarks.then_some(Tick::Bookmarks));
        inbox.ticks.extend(progress.then_some(Tick::Progress));
        inbox.ticks.extend(question.then_some(Tick::Question));
        // Last, since a source may panic: a command that was taken would be lost, and whoever waits
        // for it with it.
        let taken = self.closing.commands.poll_recv_many(cx, &mut inbox.commands, COMMANDS);
        inbox.ended = taken == Poll::Ready(0);
        if inbox.is_empty() { Poll::Pending } else { Poll::Ready(inbox) }
    }

    /// Whether a question that was not sent because of the interval is due now.
    fn poll_question(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.questions.due_at() else {
            return false;
        };
        let due = self.started + due;
        if self.question_due.deadline() != due {
            self.question_due.as_mut().reset(due);
        }
        self.question_due.as_mut().poll(cx).is_ready()
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Register { id, predicate, slot } => {
                let mark = self.state.add_watcher(id, &predicate, Arc::clone(&slot));
                // A slot is registered once.
                let _ = slot.mark.set(mark);
                slot.wake();
            }
            Command::Unregister { id } => self.state.remove_watcher(id),
            Command::Wait { revision, reply } => self.wait(revision, reply),
            Command::Fresh { reply } => self.questions.arrive(reply),
            Command::Verify { reply } => {
                let prefixes = self.closing.shared.config.prefixes.clone();
                let told = tell_prints(Arc::clone(&self.source), prefixes, reply);
                self.asking.push(Box::pin(told));
            }
            Command::Save { reply } => {
                // Nobody asks where there is none.
                if let Some(saver) = &mut self.saver {
                    saver.ask(reply);
                }
            }
        }
    }

    fn wait(&mut self, revision: u64, reply: Reply) {
        let view = self.state.view();
        if view.ready && view.revision >= revision {
            // A caller that gave up does not need the answer.
            let _ = reply.send(Ok(()));
        } else {
            self.waits.add(revision, reply);
        }
    }

    /// Lets those come who are about to: an answer wakes many at once, who read again and then share the
    /// next question, where all but the first would wait for the one after it.
    async fn gather(&mut self) {
        yield_now().await;
        for _ in 0..COMMANDS {
            let Ok(command) = self.closing.commands.try_recv() else { break };
            self.obey(command);
        }
    }

    /// Sends the next question if one is due.
    fn ask(&mut self) {
        let now = self.started.elapsed();
        let Some(question) = self.questions.send(now) else {
            return;
        };
        add(&self.closing.shared.counters.questions, 1);
        let config = &self.closing.shared.config;
        let source = Arc::clone(&self.source);
        let asked = ask(source, config.prefixes.clone(), question, config.wait_timeout);
        self.asking.push(Box::pin(asked));
    }

    fn ask_digest(&mut self) {
        if self.comparisons.begin() {
            let config = &self.closing.shared.config;
            let patience = config.compare_interval.unwrap_or(Config::COMPARE_INTERVAL.default);
            let source = Arc::clone(&self.source);
            let asked = ask_digest(source, config.prefixes.clone(), patience);
            self.asking.push(Box::pin(asked));
        }
    }

    fn hear(&mut self, asked: Asked) {
        match asked {
            Asked::Progress(Ok(())) | Asked::Told => {}
            Asked::Progress(Err(_)) => add(&self.closing.shared.counters.source_errors, 1),
            Asked::Digest(answer) => {
                if answer.is_err() {
                    add(&self.closing.shared.counters.source_errors, 1);
                }
                self.comparisons.hear(answer.ok().flatten());
                match self.comparisons.wants() {
                    Some(revision) if self.state.view().revision < revision => self.hurry(),
                    _ => self.comparisons.compare(self.state.view(), &self.closing.shared),
                }
            }
            Asked::Answer(question, Ok(answer)) => {
                let waiters = self.questions.answered(question);
                self.serve(waiters, answer);
            }
            Asked::Answer(question, Err(error)) => {
                add(&self.closing.shared.counters.source_errors, 1);
                for waiter in self.questions.failed(question) {
                    let _ = waiter.send(Err(not_answered(&error)));
                }
            }
        }
    }

    fn serve(&mut self, waiters: Vec<Reply>, answer: Answer) {
        match answer {
            Answer::Revision(revision) => {
                let counters = &self.closing.shared.counters;
                counters.source_revision.fetch_max(revision, Ordering::Relaxed);
                let behind = !waiters.is_empty() && self.state.view().revision < revision;
                for waiter in waiters {
                    self.wait(revision, waiter);
                }
                if behind {
                    self.hurry();
                }
            }
            Answer::State(mut held) => {
                held.waiters = waiters;
                self.held.push(held);
                self.end_waits();
            }
        }
    }

    fn apply(&mut self, fed: Vec<Fed>) -> Result<()> {
        if fed.is_empty() {
            return Ok(());
        }
        let mut failed = None;
        for fed in fed {
            match fed {
                Fed::Listed { revision, objects, trusted } => {
                    self.state.relist(revision, objects, trusted);
                }
                Fed::Restored(saved) => self.state.restore(saved),
                Fed::Advanced(advance) => {
                    add(&self.closing.shared.counters.applied, advance.revisions.len() as u64);
                    for revision in advance.revisions {
                        self.state.apply(revision);
                    }
                    self.state.progress(advance.reached);
                }
                Fed::Failed(error) => failed = Some(error),
            }
        }
        self.publish();
        if failed.is_none()
            && self.state.footprint().objects > self.closing.shared.config.memory_bytes
        {
            failed = Some(too_large());
        }
        failed.map_or(Ok(()), Err)
    }

    fn publish(&mut self) {
        let counters = &self.closing.shared.counters;
        add(&counters.published, 1);
        let shared = &self.closing.shared;
        self.state.watchers = shared.watchers.load(Ordering::Relaxed);
        let view = self.state.seal();
        let restarted = shared.view().epoch != view.epoch;
        let touched = shared.publish(view, restarted, || self.state.settle());
        let footprint = self.state.footprint();
        counters.footprint.store(&footprint);
        let full = footprint.lasting() >= shared.config.memory_bytes;
        shared.full.store(full, Ordering::Relaxed);
        let mut wakes = 0;
        for group in touched {
            for slot in self.state.interests.watchers(group) {
                slot.wake();
                wakes += 1;
            }
        }
        add(&counters.wakes, wakes);
        if restarted {
            self.state.interests.all().for_each(|slot| slot.wake());
        }
        self.end_waits();
    }

    fn end_waits(&mut self) {
        let view = self.state.view();
        if !view.ready {
            return;
        }
        self.waits.reached(view.revision);
        for held in self.held.extract_if(.., |held| held.is_reached(view)) {
            for waiter in held.waiters {
                let _ = waiter.send(Ok(()));
            }
        }
        self.drop_held();
        self.comparisons.compare(self.state.view(), &self.closing.shared);
    }

    /// A listing that nobody waits for any more is not kept.
    fn drop_held(&mut self) {
        self.held.retain(|held| held.waiters.iter().any(|waiter| !waiter.is_closed()));
    }

    fn wake_for_bookmarks(&self) {
        for slot in self.state.interests.all().filter(|slot| slot.bookmarks.load(Ordering::Relaxed))
        {
            slot.bookmark_due.store(true, Ordering::Release);
            slot.wake();
        }
    }

    /// Watches of several prefixes are joined by their progress, so those always need it.
    fn wants_progress(&mut self) -> bool {
        let prefixes = self.closing.shared.config.prefixes.len();
        self.on_request
            && (prefixes > 1 || self.waits.wanted() || self.comparisons.wants().is_some())
    }

    /// Somebody waits for what the source has reached.
    fn hurry(&mut self) {
        if self.on_request {
            self.request_progress();
        }
    }

    fn request_progress(&mut self) {
        add(&self.closing.shared.counters.progress_requests, 1);
        self.asking.push(Box::pin(request_progress(Arc::clone(&self.source))));
    }
}

impl Inbox {
    fn is_empty(&self) -> bool {
        self.commands.is_empty()
            && self.asked.is_empty()
            && self.fed.is_empty()
            && self.ticks.is_empty()
            && !self.ended
    }
}

/// Follows the source until all handles are gone.
pub(super) async fn run(source: Arc<dyn Source>, closing: Closing) -> Result<()> {
    let mut run = Run::new(source, closing);
    let done = run.run().await;
    if let Err(error) = &done {
        run.closing.shared.close(error.clone());
    }
    done
}

/// The receiving end. Dropping it, in whatever state of the driver, leaves nobody waiting.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) shared: Arc<Shared>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.shared.close(Error::new(ErrorKind::Closed, "the driver was dropped"));
        self.commands.close();
        fence(Ordering::SeqCst);
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Register { slot, .. } = command {
                slot.wake();
            }
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.closing.shared.close(Error::new(ErrorKind::Closed, "the driver was dropped"));
        self.state.interests.all().for_each(|slot| slot.wake());
    }
}

pub(super) fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// What ends a driver whose objects have no room.
pub(super) fn too_large() -> Error {
    let message = "the objects alone take more than memory_bytes: raise it, or hold fewer prefixes";
    Error::new(ErrorKind::Exhausted, message)
}

fn not_answered(error: &Error) -> Error {
    let message = "the source did not say its current revision: retry later";
    Error::new(ErrorKind::Unavailable, message).with_source(error.clone())
}
