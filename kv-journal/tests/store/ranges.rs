//! Ranges: orders with limits, and ranges in chunks.

use std::cmp::Ordering;

use futures_util::StreamExt;
use kv_journal::{
    ChunkLimits, ErrorKind, KeyRange, KeyValue, PutRequest, RangeChunk, RangeRequest, Sort,
    SortOrder, SortTarget, Store,
};
use proptest::prelude::*;

use crate::harness::{open_memory, put, text};

fn chunk_limits(keys: usize, bytes: usize) -> ChunkLimits {
    let mut limits = ChunkLimits::default();
    (limits.keys, limits.bytes) = (keys, bytes);
    limits
}

fn keys(kvs: &[KeyValue]) -> String {
    kvs.iter().map(|kv| text(kv.key())).collect()
}

async fn collect(
    store: &Store,
    request: impl Into<RangeRequest>,
    limits: ChunkLimits,
) -> Vec<RangeChunk> {
    store.range_stream(request, limits).unwrap().collect().await
}

fn shape(chunks: &[RangeChunk]) -> (Vec<String>, (u64, bool, u64)) {
    let (last, others) = chunks.split_last().unwrap();
    assert!(others.iter().all(|chunk| chunk.summary.is_none()));
    let summary = last.summary.unwrap();
    let keys = chunks.iter().map(|chunk| keys(&chunk.kvs)).collect();
    (keys, (summary.revision, summary.more, summary.count))
}

#[tokio::test]
async fn a_stream_is_bounded_in_keys_and_in_bytes_and_sums_up_last() {
    let (store, _) = open_memory().await;
    for key in ["a", "b", "c", "d", "e"] {
        put(&store, key, "0123456789").await;
    }
    let all = || RangeRequest::new(KeyRange::all());
    let streamed = async |request, keys, bytes| {
        shape(&collect(&store, request, chunk_limits(keys, bytes)).await)
    };
    let owned = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
    let big = ChunkLimits::BYTES.default;
    assert_eq!(streamed(all(), 2, big).await, (owned(&["ab", "cd", "e"]), (6, false, 5)));
    assert_eq!(streamed(all(), 5, big).await, (owned(&["abcde"]), (6, false, 5)));
    // A key takes 1 + 10 + 64 bytes here, without its value 1 + 64.
    assert_eq!(streamed(all(), 9, 3 * 75).await, (owned(&["abc", "de"]), (6, false, 5)));
    assert_eq!(streamed(all(), 9, 2 * 75 - 1).await.0.len(), 5);
    assert_eq!(streamed(all().keys_only(), 9, 2 * 65).await.0, owned(&["ab", "cd", "e"]));
    assert_eq!(streamed(all(), 9, 1).await, (owned(&["a", "b", "c", "d", "e"]), (6, false, 5)));
    assert_eq!(streamed(all().limit(3), 2, big).await, (owned(&["ab", "c"]), (6, true, 5)));
    assert_eq!(streamed(all().limit(4), 2, big).await, (owned(&["ab", "cd"]), (6, true, 5)));
    assert_eq!(streamed(all().limit(5), 2, big).await.1, (6, false, 5));
    assert_eq!(streamed(all().at(3), 1, big).await, (owned(&["a", "b"]), (6, false, 2)));
    assert_eq!(streamed(all().at(4).limit(1), 1, big).await, (owned(&["a"]), (6, true, 3)));
    assert_eq!(streamed(all().count_only(), 1, big).await, (owned(&[""]), (6, false, 5)));
    let of = |range: KeyRange| RangeRequest::new(range);
    assert_eq!(streamed(of(KeyRange::key("b")), 1, 1).await, (owned(&["b"]), (6, false, 1)));
    assert_eq!(streamed(of(KeyRange::key("x")), 1, 1).await, (owned(&[""]), (6, false, 0)));
    assert_eq!(streamed(of(KeyRange::range("b", "d")), 1, 1).await.0, owned(&["b", "c"]));
}

#[tokio::test]
async fn a_stream_stays_at_its_revision_whatever_is_written_and_compacted() {
    let (store, driver) = open_memory().await;
    for key in ["a", "b", "c"] {
        put(&store, key, "old").await;
    }
    let one = chunk_limits(1, ChunkLimits::BYTES.default);
    let mut newest = store.range_stream(KeyRange::all(), one).unwrap();
    let mut past = store.range_stream(RangeRequest::new(KeyRange::all()).at(3), one).unwrap();
    assert_eq!(keys(&newest.next().await.unwrap().kvs), "a");
    assert_eq!(keys(&past.next().await.unwrap().kvs), "a");
    store.delete_range(KeyRange::from("b")).await.unwrap();
    put(&store, "bb", "new").await;
    store.compact(6).await.unwrap();
    drop(store);
    driver.await.unwrap().unwrap();
    let rest: Vec<_> = newest.by_ref().collect().await;
    assert_eq!(shape(&rest), (vec!["b".into(), "c".into()], (4, false, 3)));
    assert_eq!(shape(&past.collect::<Vec<_>>().await), (vec!["b".into()], (4, false, 2)));
    assert_eq!((newest.next().await, newest.next_chunk()), (None, None));
}

#[tokio::test]
async fn a_stream_refuses_what_it_cannot_give_in_pieces() {
    let (store, _) = open_memory().await;
    let kind = |request: RangeRequest, limits| {
        store.range_stream(request, limits).map(drop).map_err(|error| error.kind())
    };
    let all = || RangeRequest::new(KeyRange::all());
    let limits = ChunkLimits::default();
    let upwards = all().sort(SortTarget::Key, SortOrder::Ascending);
    assert_eq!(kind(upwards, limits), Ok(()));
    let downwards = all().sort(SortTarget::Key, SortOrder::Descending);
    assert_eq!(kind(downwards, limits), Err(ErrorKind::Invalid));
    assert_eq!(
        kind(all().sort(SortTarget::Value, SortOrder::None), limits),
        Err(ErrorKind::Invalid)
    );
    let mut filtered = all();
    filtered.max_mod_revision = 3;
    assert_eq!(kind(filtered, limits), Err(ErrorKind::Invalid));
    assert_eq!(kind(all(), chunk_limits(0, 1)), Err(ErrorKind::Invalid));
    assert_eq!(kind(KeyRange::key("").into(), limits), Err(ErrorKind::Invalid));
    let future = Err(ErrorKind::FutureRevision { current_revision: 1 });
    assert_eq!(kind(all().at(2), limits), future);
}

#[tokio::test]
async fn a_stream_of_an_empty_range_is_one_chunk() {
    let (store, _) = open_memory().await;
    put(&store, "a", "1").await;
    for range in [KeyRange::range("b", "a"), KeyRange::prefix("x")] {
        let chunks = collect(&store, range, ChunkLimits::default()).await;
        assert_eq!(shape(&chunks), (vec![String::new()], (2, false, 0)));
    }
}

fn sort() -> impl Strategy<Value = Sort> {
    let target = prop_oneof![
        Just(SortTarget::Key),
        Just(SortTarget::Version),
        Just(SortTarget::CreateRevision),
        Just(SortTarget::ModRevision),
        Just(SortTarget::Value),
    ];
    let order =
        prop_oneof![Just(SortOrder::None), Just(SortOrder::Ascending), Just(SortOrder::Descending)];
    (target, order).prop_map(|(target, order)| Sort { target, order })
}

fn compare(target: SortTarget, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key().cmp(b.key()),
        SortTarget::Version => a.version().cmp(&b.version()),
        SortTarget::CreateRevision => a.create_revision().cmp(&b.create_revision()),
        SortTarget::ModRevision => a.mod_revision().cmp(&b.mod_revision()),
        SortTarget::Value => a.value().cmp(b.value()),
    }
}

/// Fetches, filters, sorts and cuts as etcd does: with everything in hand.
fn plainly(mut kvs: Vec<KeyValue>, request: &RangeRequest) -> (Vec<KeyValue>, bool) {
    let RangeRequest { limit, sort, min_mod_revision: min, max_create_revision: max, .. } =
        request.clone();
    let limit = if limit == 0 { usize::MAX } else { limit };
    if sort.order == SortOrder::None && min == 0 && max == 0 {
        kvs.truncate(limit.saturating_add(1));
    }
    kvs.retain(|kv| kv.mod_revision() >= min && (max == 0 || kv.create_revision() <= max));
    kvs.sort_by(|a, b| match sort.order {
        SortOrder::Descending => compare(sort.target, b, a),
        _ => compare(sort.target, a, b),
    });
    let more = kvs.len() > limit;
    kvs.truncate(limit);
    (kvs, more)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_order_limit_and_filter_gives_what_sorting_it_all_gives(
        writes in prop::collection::vec((0..150u32, 0..5u32), 0..400),
        sort in sort(),
        limit in prop_oneof![Just(0usize), 1..20usize, 60..140usize],
        min_mod in prop_oneof![Just(0u64), 1..300u64],
        max_create in prop_oneof![Just(0u64), 1..300u64],
        back in 0..3u64,
        keys_only in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (store, _driver) = open_memory().await;
            for (key, value) in writes {
                let request = PutRequest::new(format!("{key:03}"), value.to_string());
                store.put(request).await.unwrap();
            }
            let revision = store.revision().saturating_sub(back).max(1);
            let mut request = RangeRequest::new(KeyRange::from("01")).at(revision).limit(limit);
            request.sort = sort;
            (request.min_mod_revision, request.max_create_revision) = (min_mod, max_create);
            let everything =
                store.range(RangeRequest::new(KeyRange::from("01")).at(revision)).unwrap();
            let (expected, more) = plainly(everything.kvs.clone(), &request);
            request.keys_only = keys_only;
            let answer = store.range(request).unwrap();
            assert_eq!((answer.more, answer.count), (more, everything.count));
            assert_eq!(keys(&answer.kvs), keys(&expected));
            assert!(keys_only || answer.kvs == expected);
            assert!(!keys_only || answer.kvs.iter().all(|kv| kv.value().is_empty()));
        });
    }
}
