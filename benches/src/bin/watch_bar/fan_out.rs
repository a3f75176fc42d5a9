//! One event to very many.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use benches::kv_journal::{Outcome, runtime};
use benches::report;
use benches::settings::Settings;
use benches::watch_cache::{PODS, Script, Stack};
use futures_util::StreamExt;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, broadcast, mpsc};
use watch_cache::{Config, Subscription, WatchRequest};

use super::tally::{Keep, Tally};

pub(crate) const WATCHERS: usize = 130_000;
const OBJECTS: u32 = 10_000;
/// As many as there are cores.
const PUMPS: usize = 2;
/// Events of a round; the median counts.
const EVENTS: usize = 50;
const SINKS: usize = 10_000;
/// Events that are told one after the other.
const TOLD: usize = 2_000;

/// Into sinks by pumps; beside a stream and a task for each, and a task for each at a shared notify,
/// a broadcast channel and channels of their own.
pub(crate) fn run(settings: &Settings) -> Outcome<()> {
    let runtime = runtime()?;
    let _guard = runtime.enter();
    let count = settings.count(WATCHERS);
    let mut sides = Sides::open(&runtime, count)?;
    let mut millis: Vec<Vec<f64>> = vec![Vec::new(); sides.all.len()];
    for _ in 0..settings.rounds {
        for (side, millis) in sides.all.iter_mut().zip(&mut millis) {
            let mut round = Vec::new();
            for _ in 0..settings.count(EVENTS) {
                round.push(side.tally.round(&side.told, &mut side.tell)?);
            }
            millis.push(report::median(&round));
        }
    }
    let ours = millis.first().map_or(0.0, |ours| report::median(ours));
    for (side, millis) in sides.all.iter().zip(&millis).skip(1) {
        report::rounds(&format!("{}, ms", side.name), millis);
        report::rival("fan-out", side.name, report::median(millis), "ms", |theirs| theirs / ours);
    }
    report::rounds("fan-out, us", &millis[0].iter().map(|ms| ms * 1e3).collect::<Vec<_>>());
    report::line("fan-out", ours, "ms");
    Ok(())
}

/// One who tells, and those who are told.
struct Side {
    name: &'static str,
    tally: Arc<Tally>,
    told: Receiver<()>,
    tell: Box<dyn FnMut()>,
}

struct Sides {
    all: Vec<Side>,
    _watches: Vec<Subscription>,
}

impl Sides {
    fn open(runtime: &Runtime, count: usize) -> Outcome<Self> {
        let mut config = Config::default();
        config.pumps = PUMPS;
        let stack = runtime.block_on(Stack::of(Script::new(OBJECTS, OBJECTS), config))?;
        let (tally, told) = Tally::new(count, PUMPS);
        let mut watches = Vec::with_capacity(count);
        for number in 0..count {
            let keep = Keep { ticket: tally.ticket(number), last: None };
            watches.push(stack.cache.watch_into(WatchRequest::new(PODS), keep)?);
        }
        let script = stack.script;
        let sinks = Side { name: "sinks", tally, told, tell: write_on(script) };
        let all =
            vec![sinks, streams(runtime, count)?, notify(count), broadcast(count), channels(count)];
        Ok(Self { all, _watches: watches })
    }
}

fn streams(runtime: &Runtime, count: usize) -> Outcome<Side> {
    let script = Script::new(OBJECTS, OBJECTS);
    let stack = runtime.block_on(Stack::of(script, Config::default()))?;
    let (tally, told) = Tally::new(count, PUMPS);
    for number in 0..count {
        let (ticket, mut watch) =
            (tally.ticket(number), stack.cache.watch(WatchRequest::new(PODS))?);
        tokio::spawn(async move {
            while let Some(Ok(_)) = watch.next().await {
                ticket.count();
            }
        });
    }
    let script = stack.script;
    Ok(Side { name: "stream-and-task", tally, told, tell: write_on(script) })
}

/// One write more, each time.
fn write_on(script: Arc<Script>) -> Box<dyn FnMut()> {
    Box::new(move || {
        script.tell(&script.write_to(0));
    })
}

fn notify(count: usize) -> Side {
    let (tally, told) = Tally::new(count, PUMPS);
    let notify = Arc::new(Notify::new());
    for number in 0..count {
        let (ticket, notify) = (tally.ticket(number), Arc::clone(&notify));
        tokio::spawn(async move {
            let mut next = Box::pin(Arc::clone(&notify).notified_owned());
            loop {
                next.as_mut().await;
                next.set(Arc::clone(&notify).notified_owned());
                next.as_mut().enable();
                ticket.count();
            }
        });
    }
    Side { name: "notify", tally, told, tell: Box::new(move || notify.notify_waiters()) }
}

fn broadcast(count: usize) -> Side {
    let (tally, told) = Tally::new(count, PUMPS);
    let (sender, _) = broadcast::channel(16);
    for number in 0..count {
        let (ticket, mut receiver) = (tally.ticket(number), sender.subscribe());
        tokio::spawn(async move {
            while let Ok(()) = receiver.recv().await {
                ticket.count();
            }
        });
    }
    let tell = Box::new(move || {
        // Those who listen live as long as the runtime.
        let _ = sender.send(());
    });
    Side { name: "broadcast", tally, told, tell }
}

fn channels(count: usize) -> Side {
    let (tally, told) = Tally::new(count, PUMPS);
    let mut senders = Vec::with_capacity(count);
    for number in 0..count {
        let (sender, mut receiver) = mpsc::channel(10);
        senders.push(sender);
        let ticket = tally.ticket(number);
        tokio::spawn(async move {
            while let Some(()) = receiver.recv().await {
                ticket.count();
            }
        });
    }
    let tell = Box::new(move || {
        for sender in &senders {
            // None is full: a round ends when all have taken.
            let _ = sender.try_send(());
        }
    });
    Side { name: "channels", tally, told, tell }
}

/// Deliveries by one pump, with the driver on the same thread.
pub(crate) fn deliveries(settings: &Settings) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let count = settings.count(SINKS);
    let stack = runtime.block_on(Stack::of(Script::new(OBJECTS, OBJECTS), Config::default()))?;
    let (tally, _told) = Tally::new(count, 1);
    let mut watches = Vec::new();
    for number in 0..count {
        let keep = Keep { ticket: tally.ticket(number), last: None };
        watches.push(stack.cache.watch_into(WatchRequest::new(PODS), keep)?);
    }
    let events = settings.count(TOLD);
    let mut rates = Vec::new();
    for _ in 0..=settings.rounds {
        let before = stack.cache.stats().deliveries;
        let start = std::time::Instant::now();
        runtime.block_on(async {
            for event in 1..=events {
                stack.script.tell(&stack.script.write_to(0));
                let expected = before + (event * count) as u64;
                while stack.cache.stats().deliveries < expected {
                    tokio::task::yield_now().await;
                }
            }
            Outcome::Ok(())
        })?;
        let delivered = stack.cache.stats().deliveries - before;
        rates.push(delivered as f64 / start.elapsed().as_secs_f64());
    }
    report::rounds("deliveries", &rates);
    report::line("deliveries", report::median(&rates[1..]), "deliveries/s");
    Ok(())
}
