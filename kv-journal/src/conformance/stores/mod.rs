//! The contract of [`KvStore`] as checks, as those of the journal are.
//!
//! ```
//! # use std::sync::Arc;
//! use kv_journal::{Config, MemoryJournal, Store, conformance};
//!
//! let passed = conformance::run(async {
//!     let journal = Arc::new(MemoryJournal::new());
//!     let (store, driver) = Store::open(journal, Config::default()).await.unwrap();
//!     tokio::select! {
//!         passed = conformance::stores::answers(&store) => passed,
//!         _ = driver => unreachable!("the driver ends with the store"),
//!     }
//! });
//! assert_eq!(passed, Ok(()));
//! ```

mod script;
mod watchers;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::{join_all, try_join_all};

use super::{Checked, Item, Violation};
use crate::config::{ChunkLimits, Config};
use crate::core::{
    Compare, CompareResult, KeyRange, Op, OpResponse, PutRequest, RangeRequest, RangeResponse, Txn,
};
use crate::error::ErrorKind;
use crate::journal::MemoryJournal;
use crate::kv_store::{Consistency, KvStore};
use crate::store::Store;

pub use watchers::watchers;

/// A check under way.
pub type Running<'a> = Pin<Box<dyn Future<Output = Checked> + 'a>>;

/// A check, as a value. It wants a store that nothing was done to.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its function's name.
    pub name: &'static str,
    /// The function.
    pub run: for<'a> fn(&'a dyn KvStore) -> Running<'a>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// All checks.
pub const CHECKS: [Check; 7] = [
    Check { name: "answers", run: |store| Box::pin(answers(store)) },
    Check { name: "chunks", run: |store| Box::pin(chunks(store)) },
    Check { name: "definite_errors", run: |store| Box::pin(definite_errors(store)) },
    Check { name: "fresh_reads", run: |store| Box::pin(fresh_reads(store)) },
    Check { name: "revisions", run: |store| Box::pin(revisions(store)) },
    Check { name: "watchers", run: |store| Box::pin(watchers(store)) },
    Check { name: "dropped_writes", run: |store| Box::pin(dropped_writes(store)) },
];

/// Makes a module of one test for each check.
///
/// The second argument is an expression, evaluated inside a tokio runtime, for a future of an
/// `Option` of a fresh store and of what must live as long as it; `None` skips the check.
#[macro_export]
macro_rules! kv_store_conformance {
    ($module:ident, $fresh:expr) => {
        $crate::kv_store_conformance!(
            @tests $module, $fresh,
            answers chunks definite_errors fresh_reads revisions watchers dropped_writes
        );
    };
    (@tests $module:ident, $fresh:expr, $($check:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "the expression may need what surrounds it")]
            use super::*;
            $(
                #[test]
                fn $check() -> Result<(), $crate::conformance::Violation> {
                    $crate::conformance::run(async {
                        match $fresh.await {
                            Some((store, _kept)) => {
                                $crate::conformance::stores::$check(&store).await
                            }
                            None => Ok(()),
                        }
                    })
                }
            )*
        }
    };
}

/// Item 1: the store answers as an embedded one that is asked the same.
///
/// # Errors
/// The violation found.
pub async fn answers(store: &dyn KvStore) -> Checked {
    let item = Item("1");
    let opened = Store::open(Arc::new(MemoryJournal::new()), Config::default()).await;
    let (reference, driver) = item.ok("opening the reference", opened)?;
    tokio::select! {
        checked = script::compare(item, store, &reference) => checked,
        ended = driver => Err(item.violation(format!("the reference ended: {ended:?}"))),
    }
}

/// Item 1: a range in chunks is the range, whatever is written meanwhile.
///
/// # Errors
/// The violation found.
pub async fn chunks(store: &dyn KvStore) -> Checked {
    let item = Item("1");
    let value = "v".repeat(100);
    for batch in 0..10 {
        let key = |number| format!("chunk/{:04}", batch * 50 + number);
        let puts = (0..50).map(|number| Op::put(key(number), value.clone()));
        item.ok("txn", store.txn(puts.fold(Txn::new(), Txn::then)).await)?;
    }
    let whole = RangeRequest::new(KeyRange::prefix("chunk/"));
    let mut limits = ChunkLimits::default();
    (limits.keys, limits.bytes) = (30, 1000);
    for request in [whole.clone(), whole.clone().limit(77), whole.clone().at(5), whole.count_only()]
    {
        let expected = range(item, store, request.clone()).await?;
        let mut chunks = item.ok(
            "range_stream",
            store.range_stream(request, Consistency::Linearizable, limits).await,
        )?;
        let (mut kvs, mut summary) = (Vec::new(), None);
        while let Some(chunk) = item.ok("a chunk", chunks.try_next().await)? {
            item.eq("a chunk after the last", summary, None)?;
            if kvs.is_empty() {
                let txn = Txn::new().then(Op::delete(KeyRange::key("chunk/0499")));
                let txn = txn.then(Op::put("chunk/0000", "new")).then(Op::put("chunk/x", "new"));
                item.ok("txn", store.txn(txn).await)?;
            }
            kvs.extend(chunk.kvs);
            summary = chunk.summary;
        }
        item.eq("the keys", &kvs, &expected.kvs)?;
        let summary = summary.map(|summary| (summary.revision, summary.more, summary.count));
        item.eq("the summary", summary, Some((expected.revision, expected.more, expected.count)))?;
        let undo = Txn::new().then(Op::put("chunk/0000", value.clone()));
        let undo = undo.then(Op::put("chunk/0499", value.clone()));
        let undo = undo.then(Op::delete(KeyRange::key("chunk/x")));
        item.ok("txn", store.txn(undo).await)?;
    }
    let descending = RangeRequest::new(KeyRange::all())
        .sort(crate::SortTarget::Key, crate::SortOrder::Descending);
    let stream = store.range_stream(descending, Consistency::Linearizable, limits).await;
    item.fails("a stream against the order", stream.map(drop), ErrorKind::Invalid)
}

/// Item 2: what was refused did not happen.
///
/// # Errors
/// The violation found.
pub async fn definite_errors(store: &dyn KvStore) -> Checked {
    let item = Item("2");
    item.ok("put", store.put(PutRequest::new("a", "1")).await)?;
    let before = all(item, store).await?;
    let mut kept = PutRequest::new("b", "");
    kept.ignore_value = true;
    item.fails("a value to keep where none is", store.put(kept).await, ErrorKind::KeyNotFound)?;
    let leased = store.put(PutRequest::new("a", "2").lease(404)).await;
    item.fails("a lease that is none", leased, ErrorKind::LeaseNotFound)?;
    let nobody = store.put(PutRequest::new("", "2")).await;
    item.fails("a key that is none", nobody, ErrorKind::Invalid)?;
    let twice = Txn::new().then(Op::put("a", "2")).then(Op::put("a", "3"));
    item.fails("a key that is put twice", store.txn(twice).await, ErrorKind::Invalid)?;
    let half = Txn::new().then(Op::put("a", "2"));
    let half = half.then(Op::Put(PutRequest::new("b", "2").lease(404)));
    let refused = store.txn(half).await;
    item.fails("a lease that is none in a transaction", refused, ErrorKind::LeaseNotFound)?;
    let current_revision = before.revision;
    let kind = ErrorKind::FutureRevision { current_revision };
    item.fails("a compaction of what is to come", store.compact(99).await, kind)?;
    item.eq("everything after what was refused", all(item, store).await?, before)
}

/// Item 3: a read that begins after an answer sees what the answer tells of.
///
/// # Errors
/// The violation found.
pub async fn fresh_reads(store: &dyn KvStore) -> Checked {
    let item = Item("3");
    let clients = (0..8).map(|client| async move {
        for round in 0..12 {
            let (key, value) = (format!("client/{client}"), Bytes::from(format!("{round}")));
            let put =
                item.ok("put", store.put(PutRequest::new(key.clone(), value.clone())).await)?;
            let read = range(item, store, KeyRange::key(key.clone()).into()).await?;
            let seen = read.kvs.first().map(|kv| (kv.value_bytes(), kv.mod_revision()));
            item.eq("the key after its put", seen, Some((value.clone(), put.revision)))?;
            if read.revision < put.revision {
                return Err(item.violation(format!("{read:?} is from before {put:?}")));
            }
            let same = Compare::value(key.clone(), CompareResult::Equal, value.clone());
            let txn = Txn::new().when(same).then(Op::get(key));
            let txn = item.ok("txn", store.txn(txn).await)?;
            item.eq("a comparison with what was put", txn.succeeded, true)?;
        }
        Ok(())
    });
    try_join_all(clients).await.map(drop)
}

/// Item 4: revisions count the writes.
///
/// # Errors
/// The violation found.
pub async fn revisions(store: &dyn KvStore) -> Checked {
    let item = Item("4");
    let clients = (0..8).map(|client| async move {
        let (mut last, mut written) = (0, Vec::new());
        for round in 0..12 {
            let put = PutRequest::new(format!("client/{}", (client + round) % 8), "");
            let revision = item.ok("put", store.put(put).await)?.revision;
            let read = range(item, store, KeyRange::key("nobody").into()).await?.revision;
            let consistency = Consistency::Serializable;
            let count = RangeRequest::new(KeyRange::all()).count_only();
            item.ok("a serializable read", store.range(count, consistency).await)?;
            if revision <= last || read < revision {
                let seen = format!("{revision} was written after {last}, and {read} read");
                return Err(item.violation(seen));
            }
            last = read;
            written.push(revision);
        }
        Ok(written)
    });
    let mut written: Vec<u64> = try_join_all(clients).await?.concat();
    written.sort_unstable();
    item.eq("the revisions of 96 writes", written, (2..98).collect::<Vec<u64>>())?;
    let nothing = store.delete_range(KeyRange::key("nobody").into()).await;
    item.eq("the revision of a write of nothing", item.ok("delete", nothing)?.revision, 97)
}

/// Item 6: a write whose future was dropped is there whole or not at all.
///
/// # Errors
/// The violation found.
pub async fn dropped_writes(store: &dyn KvStore) -> Checked {
    let item = Item("6");
    for round in 0..40 {
        let value = format!("{round}");
        let puts = ["left", "middle", "right"].map(|key| Op::put(key, value.clone()));
        let txn = puts.into_iter().fold(Txn::new(), Txn::then);
        let mut write = store.txn(txn);
        for _ in 0..round % 4 {
            let done = poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx).is_ready())).await;
            if done {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(write);
        let seen = all(item, store).await?;
        let mut values: Vec<_> = seen.kvs.iter().map(crate::KeyValue::value_bytes).collect();
        let (count, revision) = (values.len(), seen.kvs.first().map(crate::KeyValue::mod_revision));
        values.dedup();
        let whole = seen.kvs.iter().all(|kv| Some(kv.mod_revision()) == revision);
        if !whole || values.len() > 1 || !(count == 0 || count == 3) {
            return Err(item.violation(format!("a part of a transaction: {:?}", seen.kvs)));
        }
    }
    // What was dropped does not stand in the way of what comes.
    let writes = (0..20).map(|number| store.put(PutRequest::new("after", format!("{number}"))));
    for written in join_all(writes).await {
        item.ok("a put after dropped ones", written)?;
    }
    Ok(())
}

async fn range(
    item: Item,
    store: &dyn KvStore,
    request: RangeRequest,
) -> Result<RangeResponse, Violation> {
    item.ok("range", store.range(request, Consistency::Linearizable).await)
}

async fn all(item: Item, store: &dyn KvStore) -> Result<RangeResponse, Violation> {
    range(item, store, RangeRequest::new(KeyRange::all())).await
}

/// Without what etcd does not tell: the revision of a transaction inside another one.
fn without_inner_revisions(mut response: OpResponse) -> OpResponse {
    if let OpResponse::Txn(txn) = &mut response {
        txn.revision = 0;
        txn.responses = std::mem::take(&mut txn.responses)
            .into_iter()
            .map(|response| match without_inner_revisions(response) {
                OpResponse::Range(range) => {
                    OpResponse::Range(RangeResponse { revision: 0, ..range })
                }
                other => other,
            })
            .collect();
    }
    response
}
