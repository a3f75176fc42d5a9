//! Puts, deletes and reads.

use kv_journal::{
    DeleteRequest, ErrorKind, KeyRange, LeaseGrantRequest, PutRequest, RangeRequest, SortOrder,
    SortTarget,
};

use crate::harness::{self, kv, open_memory, put};

#[tokio::test]
async fn an_empty_store_is_at_revision_one() {
    let (store, _) = open_memory().await;
    assert_eq!(store.revision(), 1);
    assert_eq!(store.range(KeyRange::all()).unwrap().revision, 1);
    assert_eq!(put(&store, "a", "1").await, 2);
    assert_eq!(store.revision(), 2);
}

#[tokio::test]
async fn a_put_counts_versions_and_a_delete_starts_anew() {
    let (store, _) = open_memory().await;
    put(&store, "a", "1").await;
    put(&store, "a", "2").await;
    let found = store.get(b"a").unwrap().unwrap();
    assert_eq!((found.create_revision(), found.mod_revision(), found.version()), (2, 3, 2));
    let deleted = store.delete_range(DeleteRequest::new(KeyRange::key("a")).prev_kv()).await;
    let deleted = deleted.unwrap();
    assert_eq!((deleted.revision, deleted.deleted), (4, 1));
    assert_eq!(deleted.prev_kvs[0].value(), b"2");
    assert_eq!(store.get(b"a").unwrap(), None);
    put(&store, "a", "3").await;
    let found = store.get(b"a").unwrap().unwrap();
    assert_eq!((found.create_revision(), found.mod_revision(), found.version()), (5, 5, 1));
}

#[tokio::test]
async fn a_delete_that_hits_nothing_makes_no_revision() {
    let (store, _) = open_memory().await;
    let deleted = store.delete_range(KeyRange::prefix("a")).await.unwrap();
    assert_eq!((deleted.revision, deleted.deleted), (1, 0));
    assert_eq!(store.revision(), 1);
}

#[tokio::test]
async fn put_keeps_value_or_lease_when_asked() {
    let (store, _) = open_memory().await;
    let mut keep = PutRequest::new("a", "");
    keep.ignore_value = true;
    assert_eq!(store.put(keep.clone()).await.unwrap_err().kind(), ErrorKind::KeyNotFound);
    for id in [7, 8] {
        store.lease_grant(LeaseGrantRequest::new(60).id(id)).await.unwrap();
    }
    store.put(PutRequest::new("a", "1").lease(7)).await.unwrap();
    keep.lease = 8;
    let answer = store.put(keep.clone().prev_kv()).await.unwrap();
    assert_eq!(answer.prev_kv.unwrap().lease(), 7);
    let found = store.get(b"a").unwrap().unwrap();
    assert_eq!((found.value(), found.lease()), (&b"1"[..], 8));
    let mut keep = PutRequest::new("a", "2");
    keep.ignore_lease = true;
    store.put(keep).await.unwrap();
    let found = store.get(b"a").unwrap().unwrap();
    assert_eq!((found.value(), found.lease()), (&b"2"[..], 8));
}

#[tokio::test]
async fn a_range_reads_every_retained_revision() {
    let (store, _) = open_memory().await;
    put(&store, "a", "1").await; // 2
    put(&store, "b", "1").await; // 3
    put(&store, "a", "2").await; // 4
    store.delete_range(KeyRange::key("b")).await.unwrap(); // 5
    let at = |revision| {
        let found = store.range(RangeRequest::new(KeyRange::all()).at(revision)).unwrap();
        assert_eq!((found.revision, found.count), (5, found.kvs.len() as u64));
        found.kvs.iter().map(harness::pair).collect::<Vec<_>>()
    };
    assert_eq!(at(1), []);
    assert_eq!(at(2), [kv("a", "1")]);
    assert_eq!(at(3), [kv("a", "1"), kv("b", "1")]);
    assert_eq!(at(4), [kv("a", "2"), kv("b", "1")]);
    assert_eq!(at(5), [kv("a", "2")]);
    let future = store.range(RangeRequest::new(KeyRange::all()).at(6)).unwrap_err();
    assert_eq!(future.kind(), ErrorKind::FutureRevision { current_revision: 5 });
}

#[tokio::test]
async fn limits_sorts_and_filters_work_in_etcds_order() {
    let (store, _) = open_memory().await;
    for (key, value) in [("a", "3"), ("b", "1"), ("c", "2"), ("d", "0")] {
        put(&store, key, value).await;
    }
    let keys = |request: RangeRequest| {
        let found = store.range(request).unwrap();
        let keys: String = found.kvs.iter().map(|kv| harness::text(kv.key())).collect();
        (keys, found.more, found.count)
    };
    let all = || RangeRequest::new(KeyRange::all());
    assert_eq!(keys(all().limit(2)), ("ab".into(), true, 4));
    assert_eq!(keys(all().limit(4)), ("abcd".into(), false, 4));
    let sorted = |order| all().limit(2).sort(SortTarget::Value, order);
    assert_eq!(keys(sorted(SortOrder::Ascending)), ("db".into(), true, 4));
    assert_eq!(keys(sorted(SortOrder::Descending)), ("ac".into(), true, 4));
    // Without an order the limit, plus one to see that there is more, comes before the sort.
    assert_eq!(keys(sorted(SortOrder::None)), ("bc".into(), true, 4));
    let mut filtered = all().limit(1);
    filtered.min_mod_revision = 3;
    filtered.max_create_revision = 4;
    assert_eq!(keys(filtered), ("b".into(), true, 4));
    assert_eq!(keys(all().count_only()), (String::new(), false, 4));
    assert_eq!(keys(all().at(3).count_only()), (String::new(), false, 2));
    store.lease_grant(LeaseGrantRequest::new(60).id(9)).await.unwrap();
    store.put(PutRequest::new("e", "5").lease(9)).await.unwrap();
    let found = store.range(RangeRequest::new(KeyRange::key("e")).keys_only()).unwrap();
    assert_eq!((found.kvs[0].value().len(), found.kvs[0].lease()), (0, 0));
}

#[tokio::test]
async fn a_snapshot_never_changes() {
    let (store, _) = open_memory().await;
    put(&store, "a", "1").await;
    let snapshot = store.snapshot();
    put(&store, "a", "2").await;
    store.delete_range(KeyRange::all()).await.unwrap();
    store.compact(4).await.unwrap();
    assert_eq!(snapshot.get(b"a").unwrap().value(), b"1");
    assert_eq!(snapshot.count(&KeyRange::all()), 1);
    assert_eq!(snapshot.iter(&KeyRange::all()).count(), 1);
    assert_eq!(snapshot.range(KeyRange::all()).unwrap().revision, 2);
}
