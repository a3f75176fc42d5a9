//! Streams of watchers that come, go and read at random, against a list of what was written.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]
#![allow(clippy::panic, reason = "a model panics where the store differs")]

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use kv_journal::{
    Config, ErrorKind, EventKind, KeyRange, MemoryJournal, Op, Store, Txn, WatchBatch,
    WatchMessage, WatchRequest, WatchStream,
};
use proptest::prelude::*;

/// With this many bytes a fragment holds three events.
const VALUE: usize = 250;

#[derive(Debug, Clone)]
enum Step {
    /// Writes each key in one revision, so many times.
    Put {
        keys: Vec<u8>,
        times: usize,
    },
    Delete(KeyRange),
    Compact {
        back: u64,
    },
    Create {
        stream: usize,
        watch: WatchRequest,
        start: Option<u64>,
    },
    Cancel {
        stream: usize,
        nth: usize,
    },
    Progress {
        stream: usize,
    },
    /// Reads so many messages, or all that are there.
    Read {
        stream: usize,
        count: usize,
    },
    /// Drops a stream and opens another.
    Replace {
        stream: usize,
    },
}

const STREAMS: usize = 3;

fn key() -> impl Strategy<Value = u8> {
    b'a'..b'f'
}

fn range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        3 => key().prop_map(|key| KeyRange::key(vec![key])),
        2 => (key(), key()).prop_map(|(a, b)| KeyRange::range(vec![a.min(b)], vec![a.max(b) + 1])),
        1 => Just(KeyRange::all()),
        1 => key().prop_map(|key| KeyRange::from(vec![key])),
    ]
}

fn watch() -> impl Strategy<Value = WatchRequest> {
    (range(), 0..8_u8, any::<bool>()).prop_map(|(range, filter, fragment)| {
        let mut watch = WatchRequest::new(range);
        (watch.no_put, watch.no_delete) = (filter == 0, filter == 1);
        (watch.prev_kv, watch.fragment) = (filter % 2 == 0, fragment);
        watch
    })
}

fn step() -> impl Strategy<Value = Step> {
    let stream = || 0..STREAMS;
    let keys = prop::collection::btree_set(key(), 1..6);
    prop_oneof![
        6 => (keys, prop_oneof![4 => Just(1), 1 => 30..50_usize])
            .prop_map(|(keys, times)| Step::Put { keys: keys.into_iter().collect(), times }),
        2 => range().prop_map(Step::Delete),
        1 => (0..6_u64).prop_map(|back| Step::Compact { back }),
        5 => (stream(), watch(), prop::option::of(0..12_u64))
            .prop_map(|(stream, watch, start)| Step::Create { stream, watch, start }),
        2 => (stream(), 0..9_usize).prop_map(|(stream, nth)| Step::Cancel { stream, nth }),
        2 => stream().prop_map(|stream| Step::Progress { stream }),
        4 => (stream(), prop_oneof![0..5_usize, Just(usize::MAX)])
            .prop_map(|(stream, count)| Step::Read { stream, count }),
        1 => stream().prop_map(|stream| Step::Replace { stream }),
    ]
}

type Changes = Vec<(EventKind, Bytes)>;

struct World {
    store: Store,
    /// By revision; nothing happened at the first two.
    log: Vec<Changes>,
    live: BTreeSet<Bytes>,
    streams: Vec<Read>,
}

struct Read {
    stream: WatchStream,
    watchers: BTreeMap<i64, Watched>,
}

struct Watched {
    request: WatchRequest,
    /// It has seen everything before this.
    next: u64,
    /// The part of revision `next` that was told in fragments.
    part: Changes,
    created: bool,
    canceled: bool,
}

impl Watched {
    fn wanted(&self, changes: &Changes) -> Changes {
        let wanted = changes.iter().filter(|(kind, key)| {
            let filtered = match kind {
                EventKind::Put => self.request.no_put,
                EventKind::Delete => self.request.no_delete,
            };
            !filtered && self.request.range.contains(key)
        });
        wanted.cloned().collect()
    }

    /// Whether it has seen everything up to `revision`, were it told of nothing more.
    fn has_seen(&self, log: &[Changes], revision: u64) -> bool {
        let unseen = log.iter().enumerate().skip(usize::try_from(self.next).unwrap());
        let mut unseen = unseen.take_while(|(at, _)| *at as u64 <= revision);
        self.part.is_empty() && unseen.all(|(_, changes)| self.wanted(changes).is_empty())
    }

    fn see(&mut self, batch: &WatchBatch, log: &[Changes]) {
        assert!(self.created && !self.canceled);
        assert!(batch.revision >= self.next, "{} after {}", batch.revision, self.next);
        assert!(!batch.events.is_empty() && (self.request.fragment || !batch.more));
        if self.part.is_empty() {
            assert!(self.has_seen(log, batch.revision - 1), "missed before {}", batch.revision);
            self.next = batch.revision;
        }
        assert_eq!(batch.revision, self.next);
        for event in batch.events.iter() {
            assert_eq!(event.kv.mod_revision(), batch.revision);
            assert!(self.request.prev_kv || event.prev_kv.is_none());
            self.part.push((event.kind, event.kv.key_bytes()));
        }
        if !batch.more {
            let changes = &log[usize::try_from(batch.revision).unwrap()];
            assert_eq!(std::mem::take(&mut self.part), self.wanted(changes));
            self.next += 1;
        }
    }
}

impl World {
    async fn new() -> Self {
        let mut config = Config::default();
        config.watch_fragment_bytes = 1 << 10;
        let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), config).await.unwrap();
        tokio::spawn(driver);
        let streams = (0..STREAMS).map(|_| Read::new(&store)).collect();
        Self { store, log: vec![Vec::new(); 2], live: BTreeSet::new(), streams }
    }

    fn revision(&self) -> u64 {
        self.log.len() as u64 - 1
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Put { keys, times } => {
                for _ in 0..times {
                    self.put(&keys).await;
                }
            }
            Step::Delete(range) => self.delete(range).await,
            Step::Compact { back } => {
                let _refused = self.store.compact(self.revision().saturating_sub(back)).await;
            }
            Step::Create { stream, watch, start } => {
                // Up to five in the past, and some in the future.
                let start = start.map_or(0, |ahead| (self.revision() + ahead).saturating_sub(5));
                self.create(stream, watch.from_revision(start));
            }
            Step::Cancel { stream, nth } => self.streams[stream].cancel(nth),
            Step::Progress { stream } => self.streams[stream].stream.request_progress(),
            Step::Read { stream, count } => self.read(stream, count),
            Step::Replace { stream } => self.streams[stream] = Read::new(&self.store),
        }
    }

    async fn put(&mut self, keys: &[u8]) {
        let ops = keys.iter().map(|key| Op::put(vec![*key], vec![b'x'; VALUE]));
        let txn = ops.fold(Txn::new(), Txn::then);
        self.store.txn(txn).await.unwrap();
        let keys = keys.iter().map(|key| Bytes::from(vec![*key]));
        self.live.extend(keys.clone());
        self.log.push(keys.map(|key| (EventKind::Put, key)).collect());
    }

    async fn delete(&mut self, range: KeyRange) {
        self.store.delete_range(range.clone()).await.unwrap();
        let gone = self.live.iter().filter(|key| range.contains(key)).cloned();
        let gone: Changes = gone.map(|key| (EventKind::Delete, key)).collect();
        self.live.retain(|key| !range.contains(key));
        if !gone.is_empty() {
            self.log.push(gone);
        }
    }

    fn create(&mut self, stream: usize, request: WatchRequest) {
        let next = match request.start_revision {
            0 => self.revision() + 1,
            start => start,
        };
        let read = &mut self.streams[stream];
        let id = read.stream.create(request.clone()).unwrap();
        let watched = Watched { request, next, part: Vec::new(), created: false, canceled: false };
        assert!(read.watchers.insert(id, watched).is_none());
    }

    fn read(&mut self, stream: usize, count: usize) {
        for _ in 0..count {
            // A stream that searches the log lets others run in between.
            let message = (0..9).find_map(|_| self.streams[stream].stream.next().now_or_never());
            let Some(message) = message else { return };
            self.hear(stream, message.unwrap().unwrap());
        }
    }

    fn hear(&mut self, stream: usize, message: WatchMessage) {
        let newest = self.revision();
        let Read { watchers, .. } = &mut self.streams[stream];
        match message {
            WatchMessage::Created { watch_id, revision } => {
                let watched = watchers.get_mut(&watch_id).unwrap();
                assert!(!watched.created && revision <= newest);
                watched.created = true;
            }
            WatchMessage::Canceled { watch_id, reason, .. } => {
                let watched = watchers.remove(&watch_id).unwrap();
                assert!(watched.created);
                let compact_revision = self.store.compact_revision();
                match reason.map(|error| error.kind()) {
                    None => assert!(watched.canceled),
                    Some(ErrorKind::Compacted { compact_revision: told }) => {
                        assert!(watched.next < told && told <= compact_revision);
                    }
                    Some(kind) => panic!("{kind:?}"),
                }
            }
            WatchMessage::Events { watch_id, batch } => {
                watchers.get_mut(&watch_id).unwrap().see(&batch, &self.log);
            }
            WatchMessage::Progress { watch_id, revision } => {
                assert_eq!((watch_id, revision), (None, newest));
                for watched in watchers.values() {
                    assert!(watched.created && watched.request.start_revision <= revision + 1);
                    assert!(watched.has_seen(&self.log, revision));
                }
            }
            _ => unreachable!(),
        }
    }
}

impl Read {
    fn new(store: &Store) -> Self {
        Self { stream: store.watch_stream().unwrap(), watchers: BTreeMap::new() }
    }

    fn cancel(&mut self, nth: usize) {
        if let Some((id, watched)) = self.watchers.iter_mut().nth(nth) {
            // False if it was canceled before, by us or by a compaction.
            if self.stream.cancel(*id) {
                watched.canceled = true;
                watched.part.clear();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn streams_of_watchers_tell_what_was_written(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.step(step).await;
            }
            for stream in 0..STREAMS {
                world.streams[stream].stream.request_progress();
                world.read(stream, usize::MAX);
                let newest = world.revision();
                for watched in world.streams[stream].watchers.values() {
                    assert!(watched.created && !watched.canceled);
                    assert!(watched.has_seen(&world.log, newest));
                }
            }
        });
    }
}
