//! The store beside an etcd: the same requests, the same answers.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test panics where the answers differ")]

#[path = "../harness/mod.rs"]
mod harness;
mod json;
#[path = "../harness/requests.rs"]
mod requests;
mod server;

use kv_journal::{
    Compare, CompareResult, DeleteRequest, Error, ErrorKind, KeyRange, Op, PutRequest,
    RangeRequest, Sort, SortOrder, SortTarget, Store, Txn,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use requests::{delete, key, put, range, txn, value};
use serde_json::{Value, json};
use server::{Etcd, Refused};

const STEPS: usize = 1000;

#[derive(Debug, Clone)]
enum Step {
    Put(PutRequest),
    Delete(DeleteRequest),
    Txn(Txn),
    /// At so many revisions before the next one.
    Range(RangeRequest, u64),
    Compact {
        back: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let written = (key(), value()).prop_map(|(key, value)| PutRequest::new(key, value));
    prop_oneof![
        4 => written.prop_map(Step::Put),
        2 => put().prop_map(Step::Put),
        1 => delete().prop_map(Step::Delete),
        8 => txn().prop_map(Step::Txn),
        6 => (ranged(), 0..25u64).prop_map(|(range, back)| Step::Range(range, back)),
        1 => (0..12u64).prop_map(|back| Step::Compact { back }),
    ]
}

fn ranged() -> impl Strategy<Value = RangeRequest> {
    let target = prop_oneof![
        Just(SortTarget::Key),
        Just(SortTarget::Version),
        Just(SortTarget::CreateRevision),
        Just(SortTarget::ModRevision),
        Just(SortTarget::Value),
    ];
    let order =
        prop_oneof![Just(SortOrder::None), Just(SortOrder::Ascending), Just(SortOrder::Descending)];
    let bound = || prop_oneof![3 => Just(0u64), 1 => 1..600u64];
    let bounds = (bound(), bound(), bound(), bound());
    (range(), 0..5usize, target, order, bounds, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(range, limit, target, order, bounds, keys_only, count_only)| {
            let mut request = RangeRequest::new(range).limit(limit);
            request.sort = Sort { target, order };
            (request.keys_only, request.count_only) = (keys_only, count_only);
            (request.min_mod_revision, request.max_mod_revision) = (bounds.0, bounds.1);
            (request.min_create_revision, request.max_create_revision) = (bounds.2, bounds.3);
            request
        },
    )
}

/// How often something happened, to know that it did.
#[derive(Debug, Default)]
struct Seen {
    succeeded: usize,
    refused_alike: usize,
    stricter: usize,
    out_of_range: usize,
}

struct Pair {
    store: Store,
    etcd: Etcd,
    seen: Seen,
}

impl Pair {
    async fn step(&mut self, step: &Step) {
        match step {
            Step::Put(request) => {
                let ours = self.store.put(request.clone()).await;
                let theirs = self.etcd.call("kv/put", &json::put(request));
                self.compare(ours.map(|answer| json::put_answer(&answer)), theirs);
            }
            Step::Delete(request) => {
                let ours = self.store.delete_range(request.clone()).await;
                let theirs = self.etcd.call("kv/deleterange", &json::delete(request));
                self.compare(ours.map(|answer| json::delete_answer(&answer)), theirs);
            }
            Step::Txn(request) => self.txn(request).await,
            Step::Range(request, back) => {
                let revision = (self.store.revision() + 1).saturating_sub(*back);
                self.range(&request.clone().at(revision));
            }
            Step::Compact { back } => {
                let revision = (self.store.revision() + 1).saturating_sub(*back).max(1);
                let ours = self.store.compact(revision).await;
                let request = json!({ "revision": revision, "physical": true });
                let theirs = self.etcd.call("kv/compaction", &request);
                let header = |at: u64| json!({ "header": { "revision": at.to_string() } });
                self.compare(ours.map(header), theirs);
            }
        }
    }

    async fn txn(&mut self, request: &Txn) {
        let ours = self.store.txn(request.clone()).await;
        if ours.as_ref().is_err_and(|error| error.to_string().contains("twice")) {
            return self.changes_twice(request);
        }
        let theirs = self.etcd.call("kv/txn", &json::txn(request));
        self.compare(ours.map(|answer| json::txn_answer(&answer)), theirs);
    }

    /// What changes a key twice is refused by etcd too, but for the two cases that it overlooks.
    /// A comparison that cannot hold keeps it from running there.
    fn changes_twice(&mut self, request: &Txn) {
        let never = Compare::version("never", CompareResult::Greater, 0);
        let guarded = Txn::new().when(never).then(Op::Txn(request.clone()));
        match self.etcd.call("kv/txn", &json::txn(&guarded)) {
            Ok(_) => {
                assert!(overlooked(&request.success) || overlooked(&request.failure));
                self.seen.stricter += 1;
            }
            Err(refused) => {
                assert!(refused.message.contains("duplicate key"), "{refused:?}");
                self.seen.refused_alike += 1;
            }
        }
    }

    fn range(&mut self, request: &RangeRequest) {
        let ours = self.store.range(request.clone()).map(|answer| json::range_answer(&answer));
        let theirs = self.etcd.call("kv/range", &json::range(request)).map(json::plain);
        match (ours, theirs) {
            (Ok(mut ours), Ok(mut theirs)) => {
                // In which order equal ones come, and which of them a limit cuts, etcd leaves open.
                if request.sort.target != SortTarget::Key {
                    untie(&mut ours, request);
                    untie(&mut theirs, request);
                }
                self.compare(Ok(ours), Ok(theirs));
            }
            (ours, theirs) => self.compare(ours, theirs),
        }
    }

    fn compare(&mut self, ours: Result<Value, Error>, theirs: Result<Value, Refused>) {
        match (ours, theirs.map(json::plain)) {
            (Ok(ours), Ok(theirs)) => {
                assert_eq!(ours, theirs, "the store's on the left");
                self.seen.succeeded += 1;
            }
            (Err(ours), Err(theirs)) => {
                assert_eq!(code(&ours), theirs.code, "{ours}, {theirs:?}");
                match ours.kind() {
                    ErrorKind::Compacted { .. } => assert!(theirs.message.contains("compacted")),
                    ErrorKind::FutureRevision { .. } => assert!(theirs.message.contains("future")),
                    _ => return,
                }
                self.seen.out_of_range += 1;
            }
            (ours, theirs) => panic!("{ours:?}, {theirs:?}"),
        }
    }
}

fn code(error: &Error) -> u64 {
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::KeyNotFound => 3,
        ErrorKind::Compacted { .. } | ErrorKind::FutureRevision { .. } => 11,
        other => panic!("{other:?}"),
    }
}

/// A delete without an end, or a nested delete after a nested put.
fn overlooked(branch: &[Op]) -> bool {
    let nested = branch.iter().filter(|op| matches!(op, Op::Txn(_))).count();
    nested > 1
        || branch.iter().any(|op| match op {
            Op::Delete(delete) => {
                delete.range.as_key().is_none() && delete.range.end_key().is_none()
            }
            Op::Txn(txn) => overlooked(&txn.success) || overlooked(&txn.failure),
            _ => false,
        })
}

/// Leaves of each key what it is sorted by; if all of them are there, of all in key order.
fn untie(answer: &mut Value, request: &RangeRequest) {
    let Some(kvs) = answer.get_mut("kvs").and_then(Value::as_array_mut) else { return };
    let field = match request.sort.target {
        SortTarget::Key => "key",
        SortTarget::Version => "version",
        SortTarget::CreateRevision => "create_revision",
        SortTarget::ModRevision => "mod_revision",
        SortTarget::Value => "value",
    };
    let order: Vec<Value> = kvs.iter().map(|kv| kv[field].clone()).collect();
    if request.limit == 0 {
        kvs.sort_by_key(|kv| kv["key"].as_str().unwrap().to_owned());
    } else {
        kvs.clear();
    }
    // Values that were left out cannot be compared.
    if !(request.keys_only && request.sort.target == SortTarget::Value) {
        kvs.extend(order);
    }
}

#[test]
fn the_store_answers_as_etcd_does() {
    let Some(etcd) = Etcd::start() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (store, _driver) = harness::open_memory().await;
        let mut pair = Pair { store, etcd, seen: Seen::default() };
        let mut runner = TestRunner::deterministic();
        for number in 0..STEPS {
            let step = step().new_tree(&mut runner).unwrap().current();
            eprintln!("{number}: {step:?}");
            pair.step(&step).await;
        }
        for revision in pair.store.compact_revision().max(1)..=pair.store.revision() {
            pair.range(&RangeRequest::new(KeyRange::all()).at(revision));
        }
        let seen = pair.seen;
        eprintln!("{seen:?}");
        assert!(seen.succeeded > STEPS / 2 && seen.out_of_range > STEPS / 100, "{seen:?}");
        assert!(seen.refused_alike > 10 && seen.stricter > 10, "{seen:?}");
    });
}
