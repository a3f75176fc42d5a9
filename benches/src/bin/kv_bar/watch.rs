//! Events on their way to very many watchers.

use std::time::Instant;

use benches::kv_journal::{Outcome, Running, keys, put_all, runtime, sample};
use benches::settings::Settings;
use bytes::Bytes;
use futures_util::StreamExt;
use kv_journal::{KeyRange, MemoryJournal, PutRequest, Store, WatchMessage, WatchStream};
use tokio::sync::mpsc;

use super::report;

const WATCHERS: usize = 100_000;
/// Watchers in one stream, as those of one API server's connection.
const OF_STREAM: usize = 1000;
const SINGLE_KEYS: usize = 1_000_000;
/// Events of a round in which matching is measured.
const EVENTS: usize = 100_000;
const VALUE_LEN: usize = 256;
const PREFIX: &str = "/registry/pods/";

/// One event to the sinks of many watchers of one prefix: from the put until each watcher's stream
/// has handed it out. Once with a stream and a task for each watcher, once with streams of many.
pub(crate) fn fanout(settings: &Settings) -> Outcome<()> {
    runtime()?.block_on(async {
        let watchers = settings.count(WATCHERS);
        report::line("fanout-100k-tasks", fanout_millis(settings, watchers, 1).await?, "ms");
        report::line("fanout-100k", fanout_millis(settings, watchers, OF_STREAM).await?, "ms");
        Ok(())
    })
}

/// The median time of one event to `watchers`, so many of them in each stream.
async fn fanout_millis(settings: &Settings, watchers: usize, of_stream: usize) -> Outcome<f64> {
    let running = Running::open(MemoryJournal::new()).await?;
    let (told, mut streams_told) = mpsc::unbounded_channel();
    let mut streams = 0;
    for first in (0..watchers).step_by(of_stream) {
        let members = of_stream.min(watchers - first);
        let ranges = std::iter::repeat_n(KeyRange::prefix(PREFIX), members);
        let stream = stream_of(&running.store, ranges)?;
        tokio::spawn(hand_out(stream, members, told.clone()));
        streams += 1;
    }
    let value = Bytes::from(vec![7; VALUE_LEN]);
    let mut millis = Vec::new();
    // The first events find watchers that were never asked before.
    for round in 0..settings.rounds + 2 {
        let start = Instant::now();
        running.store.put(PutRequest::new(format!("{PREFIX}{round}"), value.clone())).await?;
        for _ in 0..streams {
            streams_told.recv().await.ok_or("a watch stream has ended")?;
        }
        millis.push(start.elapsed().as_secs_f64() * 1e3);
    }
    report::rounds("fanout, us", &millis.iter().map(|millis| millis * 1e3).collect::<Vec<_>>());
    Ok(report::median(&millis[2..]))
}

/// A stream with a watcher for each range.
fn stream_of(store: &Store, ranges: impl Iterator<Item = KeyRange>) -> Outcome<WatchStream> {
    let stream = store.watch_stream()?;
    for range in ranges {
        stream.create(range)?;
    }
    Ok(stream)
}

/// Takes what a stream gives, and tells whenever each of its watchers was given an event.
async fn hand_out(mut stream: WatchStream, members: usize, told: mpsc::UnboundedSender<()>) {
    let mut events = 0;
    while let Some(Ok(message)) = stream.next().await {
        events += usize::from(matches!(message, WatchMessage::Events { .. }));
        if events == members {
            events = 0;
            if told.send(()).is_err() {
                return;
            }
        }
    }
}

/// What an event costs more when each of a million keys has a watcher: the time from many puts
/// until the last of their events is handed out, with those watchers and without.
pub(crate) fn matching(settings: &Settings) -> Outcome<()> {
    runtime()?.block_on(async {
        let keys = keys(settings.count(SINGLE_KEYS));
        let (mut without, mut with) = (Matching::new(&[]).await?, Matching::new(&keys).await?);
        let written = sample(&keys, settings.count(EVENTS));
        let (mut base, mut micros) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            base.push(without.micros(&written).await?);
            micros.push(with.micros(&written).await?);
        }
        let (base, micros) = (report::median(&base), report::median(&micros));
        report::line("match-1m-put-without", base, "us");
        report::line("match-1m-put-with", micros, "us");
        report::line("match-1m", micros - base, "us");
        Ok(())
    })
}

/// A store with watchers of single keys, and one of the key that is put last.
struct Matching {
    running: Running,
    last: WatchStream,
    /// Nobody reads them: what they are told waits in them, once for each watcher.
    _streams: Vec<WatchStream>,
}

const LAST: &str = "last";

impl Matching {
    async fn new(keys: &[Bytes]) -> Outcome<Self> {
        let running = Running::open(MemoryJournal::new()).await?;
        let stream = |keys: &[Bytes]| {
            stream_of(&running.store, keys.iter().map(|key| KeyRange::key(key.clone())))
        };
        let streams = keys.chunks(OF_STREAM).map(stream).collect::<Outcome<_>>()?;
        let last = stream_of(&running.store, std::iter::once(KeyRange::key(LAST)))?;
        Ok(Self { running, last, _streams: streams })
    }

    /// What each event of so many puts took until the last one was handed out.
    async fn micros(&mut self, keys: &[Bytes]) -> Outcome<f64> {
        let values = [Bytes::from(vec![7; VALUE_LEN])];
        let start = Instant::now();
        put_all(&self.running.store, keys, &values, 4096).await?;
        self.running.store.put(PutRequest::new(LAST, "")).await?;
        loop {
            let message = self.last.next().await.ok_or("the watch stream has ended")??;
            if matches!(message, WatchMessage::Events { .. }) {
                break;
            }
        }
        Ok(start.elapsed().as_secs_f64() * 1e6 / keys.len() as f64)
    }
}
