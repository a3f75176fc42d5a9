//! Transactions, and what is refused.

use std::sync::Arc;

use kv_journal::{
    Compare, CompareResult, CompareTarget, Config, ErrorKind, KeyRange, MemoryJournal, Op,
    OpResponse, PutRequest, RangeRequest, Store, Txn,
};

use crate::harness::{open_memory, put};

#[tokio::test]
async fn a_transaction_runs_one_branch_in_one_revision() {
    let (store, _) = open_memory().await;
    let txn = Txn::new()
        .when(Compare::mod_revision("a", CompareResult::Equal, 0))
        .then(Op::put("a", "1"))
        .then(Op::get("a"))
        .then(Op::put("b", "1"))
        .or_else(Op::get("a"));
    let first = store.txn(txn.clone()).await.unwrap();
    assert!(first.succeeded);
    assert_eq!(first.revision, 2);
    let OpResponse::Range(own) = &first.responses[1] else { panic!("{first:?}") };
    assert_eq!(own.kvs[0].value, "1"); // reads see the transaction's own writes
    let second = store.txn(txn).await.unwrap();
    assert!(!second.succeeded);
    assert_eq!(second.revision, 2); // a branch that only reads makes no revision
    assert_eq!(second.responses.len(), 1);
    let both = store.range(KeyRange::all()).unwrap();
    assert!(both.kvs.iter().all(|kv| kv.mod_revision == 2));
}

#[tokio::test]
async fn compares_follow_etcd_for_absent_keys_and_ranges() {
    let (store, _) = open_memory().await;
    store.put(PutRequest::new("a", "5").lease(3)).await.unwrap();
    let holds =
        async |compare: Compare| store.txn(Txn::new().when(compare)).await.unwrap().succeeded;
    let value = |key: &'static str, result, value: &'static str| Compare::value(key, result, value);
    assert!(holds(value("a", CompareResult::Equal, "5")).await);
    assert!(holds(value("a", CompareResult::Greater, "4")).await);
    assert!(holds(value("a", CompareResult::NotEqual, "4")).await);
    assert!(!holds(value("absent", CompareResult::NotEqual, "4")).await);
    assert!(holds(Compare::version("absent", CompareResult::Less, 1)).await);
    assert!(holds(Compare::create_revision("a", CompareResult::Equal, 2)).await);
    let lease =
        |id| Compare::new(KeyRange::key("a"), CompareResult::Equal, CompareTarget::Lease(id));
    assert!(holds(lease(3)).await);
    put(&store, "b", "5").await;
    let all = |target| Compare::new(KeyRange::all(), CompareResult::Equal, target);
    assert!(holds(all(CompareTarget::Value("5".into()))).await);
    assert!(!holds(all(CompareTarget::ModRevision(2))).await);
    let none =
        Compare::new(KeyRange::prefix("x"), CompareResult::Equal, CompareTarget::ModRevision(0));
    assert!(holds(none).await);
}

#[tokio::test]
async fn a_key_changed_twice_is_refused_whatever_the_state() {
    let (store, _) = open_memory().await;
    let twice = [
        Txn::new().then(Op::put("a", "1")).then(Op::put("a", "2")),
        Txn::new().then(Op::put("a", "1")).then(Op::delete(KeyRange::prefix("a"))),
        Txn::new().then(Op::delete(KeyRange::all())).then(Op::put("a", "1")),
        Txn::new().or_else(Op::put("a", "1")).or_else(Op::put("a", "2")),
    ];
    for txn in twice {
        assert_eq!(store.txn(txn).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    let (a, ab) = (KeyRange::key("a"), KeyRange::prefix("a"));
    let overlapping = Txn::new().then(Op::delete(a)).then(Op::delete(ab));
    put(&store, "a", "1").await;
    put(&store, "ab", "1").await;
    let answer = store.txn(overlapping).await.unwrap();
    let deleted: Vec<u64> = answer
        .responses
        .iter()
        .map(|response| match response {
            OpResponse::Delete(delete) => delete.deleted,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((deleted, answer.revision), (vec![1, 1], 4));
}

#[tokio::test]
async fn a_failing_operation_undoes_the_transaction() {
    let (store, _) = open_memory().await;
    let mut keep = PutRequest::new("b", "");
    keep.ignore_value = true;
    let txn = Txn::new().then(Op::put("a", "1")).then(Op::Put(keep));
    assert_eq!(store.txn(txn).await.unwrap_err().kind(), ErrorKind::Invalid);
    let txn = Txn::new()
        .then(Op::put("a", "1"))
        .then(Op::Range(RangeRequest::new(KeyRange::all()).at(9)));
    let error = store.txn(txn).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FutureRevision { current_revision: 1 });
    assert_eq!((store.revision(), store.get(b"a").unwrap()), (1, None));
}

#[tokio::test]
async fn requests_beyond_a_limit_are_refused() {
    let mut config = Config::default();
    config.request_bytes = 2000;
    config.key_bytes = 10;
    config.value_bytes = 1000;
    config.txn_ops = 2;
    let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), config).await.unwrap();
    tokio::spawn(driver);
    let refused = async |request: PutRequest| {
        assert_eq!(store.put(request).await.unwrap_err().kind(), ErrorKind::Invalid);
    };
    refused(PutRequest::new("", "empty key")).await;
    refused(PutRequest::new("k".repeat(11), "")).await;
    refused(PutRequest::new("k", "v".repeat(1001))).await;
    put(&store, "k", &"v".repeat(1000)).await;
    let large = |key: &'static str| Op::put(key, "v".repeat(999));
    let two = Txn::new().then(large("a")).then(large("b"));
    assert!(store.txn(two.clone()).await.is_ok());
    let three = two.clone().then(Op::get("a"));
    assert_eq!(store.txn(three).await.unwrap_err().kind(), ErrorKind::Invalid);
    let heavy = two.or_else(large("c"));
    assert_eq!(store.txn(heavy).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.range(KeyRange::key("")).unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn each_answer_in_a_transaction_has_the_revision_after_its_operation() {
    let (store, _) = open_memory().await;
    put(&store, "a", "1").await; // 2
    let txn = Txn::new()
        .then(Op::get("a"))
        .then(Op::delete(KeyRange::key("none")))
        .then(Op::put("b", "1"))
        .then(Op::get("a"))
        .then(Op::Range(RangeRequest::new(KeyRange::all()).at(2)))
        .then(Op::delete(KeyRange::key("none")));
    let answer = store.txn(txn).await.unwrap();
    let revisions = answer.responses.iter().map(|response| match response {
        OpResponse::Range(range) => range.revision,
        OpResponse::Put(put) => put.revision,
        OpResponse::Delete(delete) => delete.revision,
        other => panic!("{other:?}"),
    });
    // As an etcd 3.4 answered.
    assert_eq!((revisions.collect(), answer.revision), (vec![2, 2, 3, 3, 3, 3], 3));
}

#[tokio::test]
async fn kept_values_count_as_if_they_were_given() {
    let mut config = Config::default();
    config.request_bytes = Config::REQUEST_BYTES.min;
    let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), config).await.unwrap();
    tokio::spawn(driver);
    let keep = |key: &'static str| {
        let mut keep = PutRequest::new(key, "").lease(7);
        keep.ignore_value = true;
        keep
    };
    for key in ["a", "b", "c"] {
        put(&store, key, &"v".repeat(500)).await;
    }
    let two = Txn::new().then(Op::Put(keep("a"))).then(Op::Put(keep("b")));
    let three = two.clone().then(Op::Put(keep("c")));
    let refused = store.txn(three).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("1503 bytes"), "{refused}");
    assert_eq!(store.txn(two).await.unwrap().revision, 5);
}
