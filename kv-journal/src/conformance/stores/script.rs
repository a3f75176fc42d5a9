//! The same requests to two stores.

use bytes::Bytes;

use super::super::{Checked, Item};
use super::without_inner_revisions;
use crate::core::{
    Compare, CompareResult, CompareTarget, DeleteRequest, KeyRange, LeaseGrantRequest, Op,
    PutRequest, RangeRequest, SortOrder, SortTarget, Txn,
};
use crate::error::Error;
use crate::kv_store::{Consistency, KvStore};
use crate::store::Store;

/// One request.
enum Ask {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRequest),
    Txn(Txn),
    Compact(u64),
    Grant(i64, i64),
    Revoke(i64),
    KeepAlive(i64),
    TimeToLive(i64),
    Leases,
    Hash(u64),
}

pub(super) async fn compare(item: Item, store: &dyn KvStore, reference: &Store) -> Checked {
    for (number, ask) in script().into_iter().enumerate() {
        let seen = answer(store, &ask).await;
        let expected = answer(reference, &ask).await;
        item.eq(&format!("answer {number}"), seen, expected)?;
    }
    Ok(())
}

/// An answer in words, or the kind of an error.
async fn answer(store: &dyn KvStore, ask: &Ask) -> String {
    match ask {
        Ask::Range(range) => told(store.range(range.clone(), Consistency::Linearizable).await),
        Ask::Put(put) => told(store.put(put.clone()).await),
        Ask::Delete(delete) => told(store.delete_range(delete.clone()).await),
        Ask::Txn(txn) => told(store.txn(txn.clone()).await.map(|mut txn| {
            let responses = std::mem::take(&mut txn.responses).into_iter();
            txn.responses = responses.map(without_inner_revisions).collect();
            txn
        })),
        Ask::Compact(revision) => told(store.compact(*revision).await),
        Ask::Grant(id, ttl_secs) => {
            let mut request = LeaseGrantRequest::new(*ttl_secs);
            request.id = *id;
            told(store.lease_grant(request).await)
        }
        Ask::Revoke(id) => told(store.lease_revoke(*id).await),
        Ask::KeepAlive(id) => told(store.lease_keep_alive(*id).await),
        Ask::TimeToLive(id) => told(store.lease_time_to_live(*id, true).await.map(|mut left| {
            // A second may have passed.
            left.ttl_secs = left.ttl_secs.signum();
            left
        })),
        Ask::Leases => told(store.leases().await.map(|mut leases| {
            leases.ids.sort_unstable();
            leases
        })),
        Ask::Hash(revision) => told(store.hash_kv(*revision).await),
    }
}

fn told<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    format!("{:?}", answer.map_err(|error| error.kind()))
}

fn script() -> Vec<Ask> {
    let mut script = keys();
    script.extend(ranges());
    script.extend(txns());
    script.extend(leases());
    script.extend(compactions());
    script
}

fn keys() -> Vec<Ask> {
    let mut kept = PutRequest::new("a", "");
    kept.ignore_value = true;
    vec![
        Ask::Range(RangeRequest::new(KeyRange::all())),
        Ask::Put(PutRequest::new("a", "1")),
        Ask::Put(PutRequest::new("a", "2").prev_kv()),
        Ask::Put(kept.prev_kv()),
        Ask::Put(PutRequest::new(Bytes::from_static(b"\0"), Bytes::from_static(b"\xff\0"))),
        Ask::Put(PutRequest::new(Bytes::from_static(b"\xff\xff"), "")),
        Ask::Put(PutRequest::new("b/1", "z")),
        Ask::Put(PutRequest::new("b/2", "y").prev_kv()),
        Ask::Put(PutRequest::new("b/3", "x")),
        Ask::Delete(DeleteRequest::new(KeyRange::key("b/2")).prev_kv()),
        Ask::Delete(DeleteRequest::new(KeyRange::key("b/2"))),
        Ask::Put(PutRequest::new("b/2", "new")),
        Ask::Put(PutRequest::new("", "nobody")),
    ]
}

fn ranges() -> Vec<Ask> {
    let mut asks = Vec::new();
    for range in [
        KeyRange::all(),
        KeyRange::key("a"),
        KeyRange::key("nobody"),
        KeyRange::prefix("b/"),
        KeyRange::prefix(Bytes::from_static(b"\xff")),
        KeyRange::range("a", "b/2"),
        KeyRange::range("b", "a"),
        KeyRange::range("", Bytes::from_static(b"\0")),
        KeyRange::range("a", ""),
        KeyRange::from("b/2"),
        KeyRange::from(""),
    ] {
        let request = RangeRequest::new(range);
        asks.push(request.clone());
        asks.push(request.clone().limit(2));
        asks.push(request.clone().keys_only());
        asks.push(request.clone().count_only());
        asks.push(request.clone().at(4));
        asks.push(request.clone().at(99));
        for target in [
            SortTarget::Key,
            SortTarget::Version,
            SortTarget::CreateRevision,
            SortTarget::ModRevision,
            SortTarget::Value,
        ] {
            asks.push(request.clone().limit(3).sort(target, SortOrder::Descending));
            asks.push(request.clone().sort(target, SortOrder::Ascending));
        }
        let mut filtered = request.clone();
        (filtered.min_mod_revision, filtered.max_create_revision) = (4, 9);
        asks.push(filtered);
        let mut filtered = request;
        (filtered.max_mod_revision, filtered.min_create_revision) = (8, u64::MAX);
        asks.push(filtered);
    }
    asks.into_iter().map(Ask::Range).collect()
}

fn txns() -> Vec<Ask> {
    let ops = |txn: Txn| {
        txn.then(Op::get("a"))
            .then(Op::put("t", "1"))
            .then(Op::get("t"))
            .then(Op::Delete(DeleteRequest::new(KeyRange::prefix("b/")).prev_kv()))
            .or_else(Op::Range(RangeRequest::new(KeyRange::all()).limit(2)))
    };
    let mut asks = vec![Ask::Txn(Txn::new()), Ask::Txn(Txn::new().then(Op::get("a")))];
    for compare in [
        Compare::value("a", CompareResult::Equal, "2"),
        Compare::value("nobody", CompareResult::NotEqual, "2"),
        Compare::version("a", CompareResult::Greater, 9),
        Compare::create_revision("nobody", CompareResult::Equal, 0),
        Compare::mod_revision("a", CompareResult::Less, u64::MAX),
        Compare::new(KeyRange::prefix("b/"), CompareResult::NotEqual, CompareTarget::Lease(0)),
        Compare::new(KeyRange::range("b", "a"), CompareResult::Equal, CompareTarget::Version(0)),
        Compare::new(KeyRange::all(), CompareResult::Greater, CompareTarget::ModRevision(1)),
    ] {
        asks.push(Ask::Txn(ops(Txn::new().when(compare.clone()))));
        asks.push(Ask::Put(PutRequest::new("b/1", "again")));
        let inner = Txn::new().when(compare).then(Op::put("n", "1")).or_else(Op::get("a"));
        let deeper = Txn::new().then(Op::Txn(inner)).then(Op::put("m", "2"));
        asks.push(Ask::Txn(Txn::new().then(Op::Txn(deeper)).then(Op::get("m"))));
    }
    let at = |revision| Txn::new().then(Op::Range(RangeRequest::new(KeyRange::all()).at(revision)));
    asks.extend([Ask::Txn(at(3)), Ask::Txn(at(999))]);
    asks.push(Ask::Txn(Txn::new().then(Op::put("x", "1")).then(Op::delete(KeyRange::prefix("x")))));
    asks
}

fn leases() -> Vec<Ask> {
    let mut kept = PutRequest::new("leased", "2");
    kept.ignore_lease = true;
    let of_seven =
        Compare::new(KeyRange::key("leased"), CompareResult::Equal, CompareTarget::Lease(7));
    vec![
        Ask::Leases,
        Ask::Grant(7, 600),
        Ask::Grant(7, 600),
        Ask::Grant(8, 10_000_000_000),
        Ask::Put(PutRequest::new("leased", "1").lease(7)),
        Ask::Put(kept.prev_kv()),
        Ask::Put(PutRequest::new("leased", "1").lease(99)),
        Ask::Txn(Txn::new().when(of_seven).then(Op::Put(PutRequest::new("too", "1").lease(7)))),
        Ask::KeepAlive(7),
        Ask::KeepAlive(99),
        Ask::TimeToLive(7),
        Ask::TimeToLive(99),
        Ask::Leases,
        Ask::Hash(0),
        Ask::Revoke(7),
        Ask::Revoke(7),
        Ask::Range(RangeRequest::new(KeyRange::all())),
        Ask::Leases,
    ]
}

fn compactions() -> Vec<Ask> {
    vec![
        Ask::Compact(9),
        Ask::Compact(9),
        Ask::Compact(3),
        Ask::Compact(9999),
        Ask::Range(RangeRequest::new(KeyRange::all()).at(8)),
        Ask::Range(RangeRequest::new(KeyRange::all()).at(9)),
        Ask::Txn(Txn::new().then(Op::Range(RangeRequest::new(KeyRange::key("a")).at(8)))),
        Ask::Hash(0),
        Ask::Hash(8),
    ]
}
