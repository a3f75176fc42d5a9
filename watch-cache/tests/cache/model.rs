//! Random writes, compactions, failures, lists and watches against a map of histories.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use proptest::prelude::*;
use watch_cache::oracle::{Begin, Oracle, Record};
use watch_cache::{
    At, Config, ContinueToken, Digest, ErrorKind, Events, Index, ListRequest, ListResponse, Object,
    ProgressMode, Selector, Source, SourceEvent, Start, Subscription, WatchEvent, WatchRequest,
    Watcher, Write,
};

use super::sinks::{Inbox, into_inbox};
use super::{World, name_of, node_of, rest_of, schema, world_with};

const KEYS: [&str; 6] = ["/p/a", "/p/b", "/p/b/c", "/q/a", "/q/b", "/r/a"];
const PREFIXES: [&str; 3] = ["/p/", "/p/b", "/q/"];
const NODES: [&str; 3] = ["", "n1", "n2"];

/// A version by what selectors ask for.
struct Facts<'a> {
    node: &'a str,
    odd: bool,
    name: &'a str,
}

type Means = fn(&Facts<'_>) -> bool;

/// Label selectors, and what they mean.
const LABELS: [(&str, Means); 8] = [
    ("", |_| true),
    ("node=n1", |facts| facts.node == "n1"),
    ("node!=n1", |facts| facts.node != "n1"),
    ("node in (n1,n2)", |facts| !facts.node.is_empty()),
    ("!node", |facts| facts.node.is_empty()),
    ("node,parity=odd", |facts| !facts.node.is_empty() && facts.odd),
    ("parity notin (odd)", |facts| !facts.odd),
    ("node=n2,parity=even,other!=x", |facts| facts.node == "n2" && !facts.odd),
];

/// Field selectors, and what they mean.
const FIELDS: [(&str, Means); 6] = [
    ("", |_| true),
    ("node=n1", |facts| facts.node == "n1"),
    ("node!=n1", |facts| facts.node != "n1"),
    ("node=", |facts| facts.node.is_empty()),
    ("name=b,node!=n2", |facts| facts.name == "b" && facts.node != "n2"),
    ("name!=a", |facts| facts.name != "a"),
];

/// Indexes that cover some of that.
fn indexes(which: u8) -> Vec<Index> {
    let all = [Index::label("parity"), Index::label("node"), Index::field("name")];
    let given = |at: &usize| which >> at & 1 == 1;
    (0..all.len()).filter(given).map(|at| all[at].clone()).collect()
}

#[derive(Debug, Clone)]
enum Op {
    Txn(Vec<(usize, Option<usize>)>),
    Compact { ago: u64 },
    Cut,
    Expire,
    FailLists(u64),
    FailWatches(u64),
    FailQuestions(u64),
    Sleep(u64),
    List { what: Select, at: Which, limit: Option<usize> },
    Watch { what: Select, from: Which, bookmarks: bool, exact: bool, room: Option<usize> },
    Drain(usize),
    Drop(usize),
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Default,
    Any,
    AtLeast { ago: u64 },
    Exactly { ago: u64 },
}

#[derive(Debug, Clone, Copy)]
struct Select {
    prefix: &'static str,
    node: Option<&'static str>,
    labels: (&'static str, Means),
    fields: (&'static str, Means),
}

impl Select {
    fn takes(self, object: &Object) -> bool {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let facts = Facts {
            node: text(node_of(object.value()).unwrap_or_default()),
            odd: rest_of(object.value()).unwrap() % 2 == 1,
            name: text(name_of(object.key())),
        };
        self.node.is_none_or(|node| facts.node == node)
            && object.key().starts_with(self.prefix.as_bytes())
            && (self.labels.1)(&facts)
            && (self.fields.1)(&facts)
    }

    fn selector(self) -> Selector {
        let selector = Selector::parse(self.labels.0, self.fields.0).unwrap();
        match self.node {
            Some(node) => selector.index("node", node),
            None => selector,
        }
    }

    /// Whether an index alone may not answer it.
    fn is_filtered(self) -> bool {
        !(self.labels.0.is_empty() && self.fields.0.is_empty())
    }
}

fn selects() -> impl Strategy<Value = Select> + Clone {
    let node = proptest::option::of(1..NODES.len());
    // Half of them without.
    let labels = prop_oneof![Just(0), 0..LABELS.len()];
    let fields = prop_oneof![Just(0), 0..FIELDS.len()];
    (0..PREFIXES.len(), node, labels, fields).prop_map(|(prefix, node, labels, fields)| Select {
        prefix: PREFIXES[prefix],
        node: node.map(|node| NODES[node]),
        labels: LABELS[labels],
        fields: FIELDS[fields],
    })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let select = selects();
    let which = prop_oneof![
        Just(Which::Default),
        Just(Which::Any),
        (0_u64..8).prop_map(|ago| Which::AtLeast { ago }),
        (0_u64..8).prop_map(|ago| Which::Exactly { ago }),
    ];
    let write = (0..KEYS.len(), proptest::option::weighted(0.8, 0..NODES.len()));
    let limit = proptest::option::of(1_usize..4);
    prop::collection::vec(
        prop_oneof![
            12 => prop::collection::vec(write, 1..4).prop_map(Op::Txn),
            1 => (0_u64..4).prop_map(|ago| Op::Compact { ago }),
            1 => Just(Op::Cut),
            1 => Just(Op::Expire),
            1 => (0_u64..3).prop_map(Op::FailLists),
            1 => (0_u64..3).prop_map(Op::FailWatches),
            1 => (0_u64..3).prop_map(Op::FailQuestions),
            3 => (0_u64..300).prop_map(Op::Sleep),
            8 => (select.clone(), which.clone(), limit)
                .prop_map(|(what, at, limit)| Op::List { what, at, limit }),
            4 => (select, which, any::<(bool, bool)>(), proptest::option::of(0_usize..4))
                .prop_map(|(what, from, (bookmarks, exact), room)| {
                    Op::Watch { what, from, bookmarks, exact, room }
                }),
            3 => any::<usize>().prop_map(Op::Drain),
            1 => any::<usize>().prop_map(Op::Drop),
        ],
        1..80,
    )
}

fn configs() -> impl Strategy<Value = (ProgressMode, Config)> {
    let mode = prop_oneof![
        Just(ProgressMode::Pushed),
        Just(ProgressMode::OnRequest),
        Just(ProgressMode::ListOnly),
    ];
    let small = prop_oneof![Just(None), (1_usize..12).prop_map(Some)];
    let traces = prop_oneof![Just(0_usize), 1_usize..6, Just(Config::TRACES.default)];
    let sizes = (small, 1_usize..4, 1_usize..3, traces);
    (mode, any::<bool>(), sizes, any::<u64>()).prop_map(|(mode, several, sizes, seed)| {
        let (log, batch, pumps, traces) = sizes;
        let mut config = Config::default();
        if several && mode != ProgressMode::ListOnly {
            config.prefixes = vec!["/p/".into(), "/q/".into()];
        }
        config.log_revisions = log.unwrap_or(config.log_revisions);
        config.batch_revisions = batch;
        config.pumps = pumps;
        config.traces = traces;
        config.bookmark_interval = Duration::from_millis(100);
        config.backoff_cap = Duration::from_millis(100);
        config.seed = seed;
        (mode, config)
    })
}

/// A watcher with all that it said.
struct Tracked {
    what: Select,
    from: Option<u64>,
    exact: bool,
    end: End,
    events: Vec<WatchEvent>,
    expired: bool,
}

/// Where its events come out.
enum End {
    Stream(Box<Watcher>),
    Sink(Inbox, Subscription),
}

struct Model {
    world: World,
    oracle: Oracle,
    history: Events,
    watchers: Vec<Tracked>,
    /// The prefixes of the cache.
    held: Vec<Bytes>,
    /// Whether a short log may lose events of a watcher.
    short_log: bool,
    /// Whether what changed is known, however far a watcher fell behind.
    all_traces: bool,
}

impl Model {
    async fn new(mode: ProgressMode, config: Config, indexes: Vec<Index>) -> Self {
        let all_traces = config.traces == Config::TRACES.default;
        let short_log = config.log_revisions < Config::LOG_REVISIONS.default;
        let held = config.prefixes.clone();
        let world = world_with(mode, config, schema(indexes)).await;
        world.cache.set_oracle(true);
        let mut history = world.store.watch(&Bytes::new(), 0).await.unwrap();
        // It has read on from here at each compaction to come.
        let first = history.next().now_or_never();
        assert_eq!(first.is_some(), mode == ProgressMode::Pushed);
        Self {
            world,
            oracle: Oracle::default(),
            history,
            watchers: Vec::new(),
            held,
            short_log,
            all_traces,
        }
    }

    async fn step(&mut self, op: Op) {
        let faults = &self.world.faults;
        match op {
            Op::Txn(writes) => self.write(writes),
            Op::Compact { ago } => self.world.store.compact(self.past(ago)).unwrap(),
            Op::Cut => faults.cut_watches(),
            Op::Expire => faults.expire_watches(),
            Op::FailLists(count) => faults.fail_lists(count),
            Op::FailWatches(count) => faults.fail_watches(count),
            Op::FailQuestions(count) => faults.fail_questions(count),
            Op::Sleep(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Op::List { what, at, limit } => self.list(what, at, limit).await,
            Op::Watch { what, from, bookmarks, exact, room } => {
                let mut request = WatchRequest::new(what.prefix).select(what.selector());
                (request.bookmarks, request.exact) = (bookmarks, exact);
                self.watch(what, from, request, room);
            }
            Op::Drain(which) => {
                let count = self.watchers.len().max(1);
                if let Some(tracked) = self.watchers.get_mut(which % count) {
                    tracked.hear();
                }
            }
            Op::Drop(which) if !self.watchers.is_empty() => {
                let which = which % self.watchers.len();
                self.watchers.swap_remove(which);
            }
            Op::Drop(_) => {}
        }
    }

    fn past(&self, ago: u64) -> u64 {
        self.world.store.revision().saturating_sub(ago).max(1)
    }

    fn write(&mut self, writes: Vec<(usize, Option<usize>)>) {
        let revision = self.world.store.revision();
        self.world.store.txn(writes.into_iter().map(|(key, node)| match node {
            Some(node) => {
                Write::Put(KEYS[key].into(), format!("{}:{revision}", NODES[node]).into())
            }
            None => Write::Delete(KEYS[key].into()),
        }));
        while let Some(Some(Ok(event))) = self.history.next().now_or_never() {
            if let SourceEvent::Revision(revision) = event {
                self.oracle.push(revision);
            }
        }
    }

    async fn list(&self, what: Select, which: Which, limit: Option<usize>) {
        let current = self.world.store.revision();
        let at = match which {
            Which::Default => At::Consistent,
            Which::Any => At::Any,
            Which::AtLeast { ago } => At::AtLeast(self.past(ago)),
            Which::Exactly { ago } => At::Exactly(self.past(ago)),
        };
        let request = ListRequest::new(what.prefix).select(what.selector());
        let mut first = request.clone().at(at);
        first.limit = limit;
        let page = match self.world.cache.list(first).await {
            Ok(page) => page,
            Err(error) => return self.judge(at, error.kind()),
        };
        let revision = page.revision;
        match at {
            // A source that only lists does not say that it is further; the state is the same.
            At::Consistent => {
                let newest = self.oracle.state_at(current, |object| what.takes(object));
                let listed = self.oracle.state_at(revision, |object| what.takes(object));
                assert_eq!(listed, newest, "a consistent list at {revision}");
            }
            At::Any => assert!(revision <= current),
            At::AtLeast(least) => assert!(revision >= least),
            At::Exactly(exact) => assert_eq!(revision, exact),
        }
        let unknown = what.is_filtered() && page.continue_token.is_some();
        let known = page.remaining.is_some() || matches!(at, At::Exactly(_));
        assert!(known || unknown, "{at:?} of {what:?}");
        let Some(objects) = self.rest(page, &request, limit).await else { return };
        let expected = self.oracle.state_at(revision, |object| what.takes(object));
        assert_eq!(objects, expected, "{what:?} at {revision}");
        match self.world.cache.list_stream(request.at(At::Exactly(revision))).await {
            Ok(stream) => {
                assert_eq!(stream.revision(), revision);
                let streamed: Vec<_> = stream.try_collect().await.unwrap();
                assert_eq!(streamed.concat(), expected, "{what:?} streamed at {revision}");
            }
            Err(error) => self.judge(At::Exactly(revision), error.kind()),
        }
        self.digest(revision).await;
    }

    async fn digest(&self, revision: u64) {
        let told = match self.world.cache.digest(At::Exactly(revision)).await {
            Ok(told) => told,
            Err(error) => return self.judge(At::Exactly(revision), error.kind()),
        };
        let held = |object: &Object| self.held.iter().any(|held| object.key().starts_with(held));
        let all = self.oracle.state_at(revision, held);
        let add =
            |digest: Digest, object: &Object| digest.with(object.key(), object.mod_revision());
        assert_eq!(told.digest, all.iter().fold(Digest::default(), add), "at {revision}");
    }

    /// All pages, if the revision does not leave the history before the last.
    async fn rest(
        &self,
        mut page: ListResponse,
        request: &ListRequest,
        limit: Option<usize>,
    ) -> Option<Vec<Object>> {
        let revision = page.revision;
        let mut objects = std::mem::take(&mut page.objects);
        // Of an older state how much there is may not be known before the last page.
        let total = page.remaining.map(|remaining| objects.len() + remaining);
        while let Some(token) = page.continue_token {
            let token: ContinueToken = token.to_string().parse().unwrap();
            let mut next = request.clone().continue_from(token);
            next.limit = limit;
            page = match self.world.cache.list(next).await {
                Ok(page) => page,
                Err(error) => {
                    self.judge(At::Exactly(revision), error.kind());
                    return None;
                }
            };
            assert_eq!(page.revision, revision);
            objects.extend(std::mem::take(&mut page.objects));
            let expected = match total {
                Some(total) => Some(total - objects.len()),
                None => page.continue_token.is_none().then_some(0),
            };
            assert_eq!(page.remaining, expected);
        }
        Some(objects)
    }

    /// Whether an error is one that the request may end with.
    fn judge(&self, at: At, kind: ErrorKind) {
        let stats = self.world.cache.stats();
        match (at, kind) {
            (At::Exactly(revision), ErrorKind::Expired { oldest_revision }) => {
                let known = revision >= stats.oldest_revision && stats.lists == 1;
                assert!(!known && oldest_revision > revision, "{revision}: {kind:?}, {stats:?}");
            }
            // The store's failures can outlast a consistent read; nothing else fails so.
            (At::Consistent, ErrorKind::Unavailable) => {
                assert!(stats.source_errors > 0, "{stats:?}");
            }
            // Nothing tells such a cache of revisions elsewhere.
            (At::AtLeast(least) | At::Exactly(least), ErrorKind::TooLarge { .. }) => {
                let list_only =
                    matches!(self.world.store.freshness(), watch_cache::Freshness::ListOnly);
                assert!(list_only && least > stats.revision, "{at:?}: {kind:?}, {stats:?}");
            }
            _ => panic!("{at:?} ended with {kind:?}, {stats:?}"),
        }
    }

    fn watch(&mut self, what: Select, which: Which, request: WatchRequest, room: Option<usize>) {
        let reached = self.world.cache.revision();
        let (from, after) = match which {
            Which::Default => (Start::Now, Some(reached)),
            Which::Any => (Start::Initial, None),
            Which::AtLeast { ago } | Which::Exactly { ago } => {
                let after = reached.saturating_sub(ago);
                (Start::After(after), Some(after))
            }
        };
        let request = request.from(from);
        let exact = request.exact;
        let cache = &self.world.cache;
        let end = match room {
            None => cache.watch(request).map(|watcher| End::Stream(Box::new(watcher))),
            Some(room) => {
                into_inbox(cache, request, room).map(|(inbox, watch)| End::Sink(inbox, watch))
            }
        };
        match end {
            Ok(end) => {
                let (events, expired) = (Vec::new(), false);
                self.watchers.push(Tracked { what, from: after, exact, end, events, expired });
            }
            Err(error) => {
                let stats = self.world.cache.stats();
                let left = after.is_some_and(|after| after < stats.oldest_revision);
                assert!(matches!(error.kind(), ErrorKind::Expired { .. }), "{error}");
                assert!(left || stats.lists > 1, "{after:?}: {error}, {stats:?}");
                let known =
                    after.is_some_and(|after| after > 0) && stats.lists == 1 && self.all_traces;
                assert!(exact || !known, "{after:?}: {error}, {stats:?}");
            }
        }
    }

    async fn finish(mut self) {
        self.world.faults.fail_lists(0);
        self.world.faults.fail_watches(0);
        self.world.faults.fail_questions(0);
        // One more of each prefix: a source that only lists tells of nothing else.
        self.write(vec![(0, Some(1)), (3, Some(1))]);
        let last = self.world.store.revision();
        self.world.cache.wait_for(last).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let stats = self.world.cache.stats();
        assert_eq!(self.world.cache.violation(), None);
        assert_eq!((stats.replayed, stats.malformed, stats.early_progress), (0, 0, 0));
        for mut tracked in std::mem::take(&mut self.watchers) {
            tracked.make_room();
            tokio::time::sleep(Duration::from_millis(5)).await;
            tracked.hear();
            if tracked.expired {
                assert!(self.short_log, "an event left a log that keeps all");
                assert!(tracked.exact || !self.all_traces, "what changed is known");
            } else if stats.lists == 1 {
                self.check_strictly(tracked, last);
            } else {
                self.check_state(&tracked, last);
            }
        }
        let World { cache, driver, .. } = self.world;
        drop(cache);
        driver.await.unwrap().unwrap();
    }

    /// Nothing was lost in the source: every event is told.
    fn check_strictly(&self, tracked: Tracked, complete_to: u64) {
        let what = tracked.what;
        let is_end =
            |event: &&WatchEvent| matches!(event, WatchEvent::Bookmark { initial_end: true, .. });
        let end = tracked.events.iter().find(is_end);
        let begin = match tracked.from {
            Some(after) => Begin::After(after),
            None => Begin::Initial(end.expect("the end of the initial events").revision()),
        };
        let record = Record { begin, events: tracked.events, complete_to };
        self.oracle.check(&record, |object| what.takes(object)).unwrap();
    }

    /// The source lost history: the events lead to the same state, in order.
    fn check_state(&self, tracked: &Tracked, last: u64) {
        let what = tracked.what;
        let state = |at| self.oracle.state_at(at, |object| what.takes(object));
        let named = |object: &Object| (object.key().to_vec(), object.clone());
        let mut held: BTreeMap<_, _> = match tracked.from {
            Some(after) => state(after).iter().map(named).collect(),
            None => BTreeMap::new(),
        };
        let mut reached = 0;
        for event in &tracked.events {
            assert!(event.revision() >= reached, "{event:?} after {reached}");
            reached = event.revision();
            match event {
                WatchEvent::Added { object, .. } => {
                    assert_eq!(
                        held.insert(object.key().to_vec(), object.clone()),
                        None,
                        "{event:?}"
                    );
                }
                WatchEvent::Modified { object, previous, .. } => {
                    let old = held.insert(object.key().to_vec(), object.clone());
                    assert_eq!(old.as_ref(), Some(previous), "{event:?}");
                }
                WatchEvent::Deleted { previous, .. } => {
                    assert_eq!(held.remove(previous.key()).as_ref(), Some(previous), "{event:?}");
                }
                WatchEvent::Coalesced { key, object: Some(object), .. } => {
                    held.insert(key.to_vec(), object.clone());
                }
                WatchEvent::Coalesced { key, object: None, .. } => {
                    held.remove(&key[..]);
                }
                WatchEvent::Resumed { revision, .. } | WatchEvent::Bookmark { revision, .. } => {
                    let held: Vec<_> = held.values().cloned().collect();
                    assert_eq!(held, state(*revision), "at the bookmark {revision}");
                }
            }
        }
        assert_eq!(held.into_values().collect::<Vec<_>>(), state(last));
    }
}

impl Tracked {
    /// Takes what is there.
    fn hear(&mut self) {
        match &mut self.end {
            End::Stream(watcher) => {
                while let Some(Some(item)) = watcher.next().now_or_never() {
                    match item {
                        Ok(event) => self.events.push(event),
                        Err(error) => {
                            assert!(matches!(error.kind(), ErrorKind::Expired { .. }), "{error}");
                            self.expired = true;
                        }
                    }
                }
            }
            End::Sink(inbox, watch) => {
                self.events.extend(inbox.take());
                self.expired = inbox.ended().is_some_and(|kind| {
                    assert!(matches!(kind, ErrorKind::Expired { .. }), "{kind:?}");
                    true
                });
                watch.resume();
            }
        }
    }

    /// Takes everything that comes from now on.
    fn make_room(&mut self) {
        self.hear();
        if let End::Sink(inbox, watch) = &self.end {
            inbox.make_room();
            watch.resume();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_cache_is_its_source_at_every_revision(
        (mode, config) in configs(), which: u8, ops in ops(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut model = Model::new(mode, config, indexes(which)).await;
            for op in ops {
                model.step(op).await;
            }
            model.finish().await;
        });
    }
}
