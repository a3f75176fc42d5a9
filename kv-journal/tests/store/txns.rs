//! Transactions, and what is refused.

use std::sync::Arc;

use kv_journal::{
    Compare, CompareResult, CompareTarget, Config, ErrorKind, KeyRange, LeaseGrantRequest,
    MemoryJournal, Op, OpResponse, PutRequest, RangeRequest, Store, Txn,
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
    assert_eq!(own.kvs[0].value(), b"1"); // reads see the transaction's own writes
    let second = store.txn(txn).await.unwrap();
    assert!(!second.succeeded);
    assert_eq!(second.revision, 2); // a branch that only reads makes no revision
    assert_eq!(second.responses.len(), 1);
    let both = store.range(KeyRange::all()).unwrap();
    assert!(both.kvs.iter().all(|kv| kv.mod_revision() == 2));
}

#[tokio::test]
async fn compares_follow_etcd_for_absent_keys_and_ranges() {
    let (store, _) = open_memory().await;
    store.lease_grant(LeaseGrantRequest::new(60).id(3)).await.unwrap();
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
    assert_eq!(store.txn(txn).await.unwrap_err().kind(), ErrorKind::KeyNotFound);
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
    store.lease_grant(LeaseGrantRequest::new(60).id(7)).await.unwrap();
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

fn nested(ops: impl IntoIterator<Item = Op>) -> Op {
    Op::Txn(ops.into_iter().fold(Txn::new(), Txn::then))
}

#[tokio::test]
async fn a_nested_transaction_compares_the_state_before_it_all() {
    let (store, _) = open_memory().await;
    put(&store, "a", "old").await; // 2
    let inner = Txn::new()
        .when(Compare::value("a", CompareResult::Equal, "old"))
        .then(Op::get("a"))
        .then(Op::Txn(Txn::new().when(Compare::version("b", CompareResult::Equal, 0))))
        .or_else(Op::get("b"));
    let txn = Txn::new().then(Op::put("a", "new")).then(Op::put("b", "new")).then(Op::Txn(inner));
    let answer = store.txn(txn).await.unwrap();
    let OpResponse::Txn(inner) = &answer.responses[2] else { panic!("{answer:?}") };
    assert!(inner.succeeded);
    // Its reads see what was written before it.
    let OpResponse::Range(own) = &inner.responses[0] else { panic!("{inner:?}") };
    assert_eq!((own.kvs[0].value(), own.revision), (&b"new"[..], 3));
    let OpResponse::Txn(innermost) = &inner.responses[1] else { panic!("{inner:?}") };
    assert!(innermost.succeeded && innermost.responses.is_empty());
    assert_eq!((answer.revision, inner.revision, store.revision()), (3, 3, 3));
}

#[tokio::test]
async fn a_key_changed_twice_is_refused_across_nesting() {
    let (store, _) = open_memory().await;
    let put = |key: &'static str| Op::put(key, "v");
    let delete = |start: &'static str, end: &'static str| Op::delete(KeyRange::range(start, end));
    let either = |then: Op, or_else: Op| Op::Txn(Txn::new().then(then).or_else(or_else));
    let refused = [
        vec![put("a"), nested([put("a")])],
        vec![nested([put("a")]), put("a")],
        vec![nested([put("a")]), nested([put("a")])],
        vec![either(put("a"), put("b")), put("b")],
        vec![either(put("a"), put("b")), either(put("c"), nested([put("b")]))],
        vec![nested([delete("a", "c")]), put("b")],
        vec![delete("a", "c"), nested([nested([put("b")])])],
        vec![nested([delete("a", "c")]), nested([put("b")])],
        vec![nested([put("b")]), nested([delete("a", "c")])],
        vec![nested([put("b")]), Op::delete(KeyRange::from("a"))],
        vec![nested([nested([put("b"), put("b")])])],
    ];
    for ops in refused {
        let failed = store.txn(ops.iter().cloned().fold(Txn::new(), Txn::then)).await;
        let error = failed.expect_err(&format!("{ops:?}"));
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("twice"), "{error}");
        assert!(store.txn(ops.into_iter().fold(Txn::new(), Txn::or_else)).await.is_err());
    }
    let allowed = [
        vec![either(put("a"), put("a")), either(delete("b", "c"), put("b"))],
        vec![nested([delete("a", "c")]), delete("b", "d"), nested([nested([delete("a", "b")])])],
        vec![nested([delete("b", "c")]), put("a"), put("c"), nested([delete("c", "b")])],
    ];
    for ops in allowed {
        store.txn(ops.into_iter().fold(Txn::new(), Txn::then)).await.unwrap();
    }
}

#[tokio::test]
async fn the_budget_of_operations_shrinks_with_depth() {
    let mut config = Config::default();
    config.txn_ops = 4;
    let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), config).await.unwrap();
    tokio::spawn(driver);
    let reads = |count: usize| (0..count).fold(Txn::new(), |txn, _| txn.then(Op::get("a")));
    let passes = async |txn: Txn| store.txn(txn).await.map_err(|error| error.kind());
    let two_around = |inner: Txn| Txn::new().or_else(Op::get("a")).or_else(Op::Txn(inner));
    assert!(passes(two_around(reads(2))).await.is_ok());
    assert_eq!(passes(two_around(reads(3))).await, Err(ErrorKind::Invalid));
    assert!(passes(two_around(two_around(reads(0)))).await.is_ok());
    assert_eq!(passes(two_around(two_around(reads(1)))).await, Err(ErrorKind::Invalid));
    let compare = || Compare::version("a", CompareResult::Equal, 0);
    let compares = (0..3).fold(Txn::new(), |txn, _| txn.when(compare()));
    assert!(passes(compares.clone().then(Op::Txn(reads(1)))).await.is_ok());
    assert_eq!(passes(compares.then(Op::Txn(reads(2)))).await, Err(ErrorKind::Invalid));
}

#[tokio::test]
async fn a_transaction_that_nests_too_deep_is_refused_at_any_depth() {
    let mut config = Config::default();
    config.txn_depth = 3;
    config.txn_ops = Config::TXN_OPS.max;
    let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), config).await.unwrap();
    tokio::spawn(driver);
    let deep = |depth| {
        (0..depth)
            .fold(Txn::new().then(Op::put("a", "1")), |inner, _| Txn::new().then(Op::Txn(inner)))
    };
    assert_eq!(store.txn(deep(3)).await.unwrap().revision, 2);
    for depth in [4, 200_000] {
        let error = store.txn(deep(depth)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("deeper than 3"), "{error}");
    }
}

#[tokio::test]
async fn what_a_nested_transaction_holds_counts_as_the_request() {
    let mut config = Config::default();
    config.request_bytes = Config::REQUEST_BYTES.min;
    let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), config).await.unwrap();
    tokio::spawn(driver);
    let large = |key: &'static str| Op::put(key, "v".repeat(500));
    let txn = Txn::new().then(large("a")).or_else(nested([nested([large("b")])]));
    assert!(store.txn(txn.clone()).await.is_ok());
    let error = store.txn(txn.then(nested([Op::get("twelve bytes")]))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("1026"), "{error}");
}

#[tokio::test]
async fn a_failing_operation_at_any_depth_undoes_it_all() {
    let (store, _) = open_memory().await;
    let mut keep = PutRequest::new("absent", "");
    keep.ignore_lease = true;
    let future = Op::Range(RangeRequest::new(KeyRange::all()).at(9));
    for failing in [Op::Put(keep), future] {
        let txn = Txn::new().then(Op::put("a", "1")).then(nested([nested([failing.clone()])]));
        assert!(store.txn(txn).await.is_err());
        assert_eq!(store.get(b"a").unwrap(), None);
        // In the branch that does not run it fails nothing.
        let skipped = Txn::new().then(Op::Txn(Txn::new().or_else(failing)));
        assert!(store.txn(skipped).await.is_ok());
    }
}
