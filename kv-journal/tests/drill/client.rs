//! One client: random requests on a few keys, one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kv_journal::linearizability::{Answer, Outcome, Request};
use kv_journal::{
    Compare, CompareResult, Consistency, ErrorKind, KeyRange, Op, OpResponse, PutRequest,
    RangeRequest, RangeResponse, Result, Txn,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::side::Side;
use super::{Drill, KEYS, Shown};

pub(super) struct Client {
    drill: Arc<Drill>,
    store: Side,
    id: usize,
    random: StdRng,
    /// What it saw last of each key; what it swaps against.
    known: BTreeMap<Bytes, Option<Bytes>>,
    written: usize,
}

impl Client {
    pub(super) fn new(drill: Arc<Drill>, store: Side) -> Self {
        let (id, seed) = (drill.next_client(), drill.below(u64::MAX));
        let random = StdRng::seed_from_u64(seed);
        Self { drill, store, id, random, known: BTreeMap::new(), written: 0 }
    }

    pub(super) async fn run(mut self, operations: usize) {
        for _ in 0..operations {
            if self.drill.plan.compactions && self.random.random_ratio(1, 25) {
                self.compact().await;
            }
            let request = self.request();
            let serializable = is_read(&request) && self.random.random_ratio(1, 3);
            let recorder = &self.drill.recorder;
            let called = if serializable {
                recorder.call_serializable(self.id, request.clone())
            } else {
                recorder.call(self.id, request.clone())
            };
            let done = self.perform(&request, serializable).await;
            let outcome = match done {
                Ok((ref answer, revision)) => {
                    Outcome::Answered { answer: answer.clone(), revision }
                }
                Err(kind) if is_read(&request) || is_definite(kind) => Outcome::Refused,
                Err(_) => Outcome::Unknown,
            };
            self.learn(&request, &outcome);
            self.drill.recorder.end(called, outcome);
            // Whatever it asked now would be one more unknown outcome.
            if done == Err(ErrorKind::Closed) {
                return;
            }
        }
    }

    fn request(&mut self) -> Request {
        let key: Bytes = self.pick();
        match self.random.random_range(0..if self.drill.plan.joined { 14 } else { 9 }) {
            0 | 1 => Request::Get(key),
            2..=4 => Request::Put { key, value: self.value() },
            5..=7 => {
                let expected = self.known.get(&key).cloned().flatten();
                Request::Swap { key, expected, value: self.value() }
            }
            8 => Request::Delete(KeyRange::key(key)),
            9 | 10 => {
                let keys = vec!["pair/1".into(), "pair/2".into()];
                Request::PutAll { keys, value: self.value() }
            }
            11 => Request::Delete(self.range()),
            12 => Request::Count(self.range()),
            _ => Request::Range(self.range()),
        }
    }

    fn pick(&mut self) -> Bytes {
        KEYS.choose(&mut self.random).unwrap().as_bytes().into()
    }

    fn range(&mut self) -> KeyRange {
        match self.random.random_range(0..4) {
            0 => KeyRange::all(),
            1 => KeyRange::prefix("pair/"),
            2 => KeyRange::range("a", "c"),
            _ => KeyRange::from("pair/2"),
        }
    }

    /// No value is written twice, so that each tells who wrote it.
    fn value(&mut self) -> Bytes {
        self.written += 1;
        format!("{}.{}", self.id, self.written).into()
    }

    async fn perform(
        &mut self,
        request: &Request,
        serializable: bool,
    ) -> Result<(Answer, u64), ErrorKind> {
        let asks_first = if is_read(request) {
            !serializable && self.random.random_ratio(4, 5)
        } else {
            self.drill.plan.takeovers
        };
        // Without a takeover a transaction sees the newest state, whether it asked or not.
        let consistency =
            if serializable { Consistency::Serializable } else { Consistency::Linearizable };
        let by_txn = !serializable && (!asks_first || self.random.random());
        let done = async {
            if asks_first || (is_read(request) && self.drill.plan.takeovers && !serializable) {
                self.store.read_barrier().await?;
            }
            self.ask(request, by_txn, consistency).await
        };
        done.await.map_err(|error| error.kind())
    }

    async fn ask(
        &self,
        request: &Request,
        by_txn: bool,
        consistency: Consistency,
    ) -> Result<(Answer, u64)> {
        let store = &self.store;
        match request {
            Request::Get(key) => {
                let read = self
                    .read(RangeRequest::new(KeyRange::key(key.clone())), by_txn, consistency)
                    .await?;
                let value = read.kvs.first().map(kv_journal::KeyValue::value_bytes);
                Ok((Answer::Value(value), read.revision))
            }
            Request::Range(range) => {
                let read = self.read(RangeRequest::new(range.clone()), by_txn, consistency).await?;
                let pairs = read.kvs.iter().map(|kv| (kv.key_bytes(), kv.value_bytes()));
                Ok((Answer::Pairs(pairs.collect()), read.revision))
            }
            Request::Count(range) => {
                let read = self
                    .read(RangeRequest::new(range.clone()).count_only(), by_txn, consistency)
                    .await?;
                Ok((Answer::Count(read.count), read.revision))
            }
            Request::Put { key, value } => {
                let put = store.put(PutRequest::new(key.clone(), value.clone())).await?;
                Ok((Answer::Done, put.revision))
            }
            Request::PutAll { keys, value } => {
                let puts = keys.iter().map(|key| Op::put(key.clone(), value.clone()));
                let txn = puts.fold(Txn::new(), Txn::then);
                Ok((Answer::Done, store.txn(txn).await?.revision))
            }
            Request::Swap { key, expected, value } => {
                let compare = match expected {
                    Some(expected) => {
                        Compare::value(key.clone(), CompareResult::Equal, expected.clone())
                    }
                    None => Compare::mod_revision(key.clone(), CompareResult::Equal, 0),
                };
                let txn = Txn::new().when(compare).then(Op::put(key.clone(), value.clone()));
                let done = store.txn(txn).await?;
                Ok((Answer::Swapped(done.succeeded), done.revision))
            }
            Request::Delete(range) => {
                let done = store.delete_range(range.clone().into()).await?;
                Ok((Answer::Deleted(done.deleted), done.revision))
            }
            other => panic!("no client asks {other:?}"),
        }
    }

    async fn read(
        &self,
        request: RangeRequest,
        by_txn: bool,
        consistency: Consistency,
    ) -> Result<RangeResponse> {
        let (range, counts) = (request.range.clone(), request.count_only);
        let read = if by_txn {
            let done = self.store.txn(Txn::new().then(Op::Range(request))).await?;
            match done.responses.into_iter().next() {
                Some(OpResponse::Range(read)) => read,
                other => panic!("a read was answered with {other:?}"),
            }
        } else {
            self.store.range(request, consistency).await?
        };
        if !counts {
            self.show(range, read.revision, &read);
        }
        Ok(read)
    }

    fn show(&self, range: KeyRange, revision: u64, read: &RangeResponse) {
        let kvs = read.kvs.clone();
        self.drill.shown.lock().push(Shown { range, revision, kvs });
    }

    /// Compacts to some revision, and looks back at one that is still there.
    async fn compact(&mut self) {
        let revision = self.store.revision().await;
        let to = revision.saturating_sub(self.random.random_range(0..12));
        if self.store.compact(to).await.is_ok() {
            let mut compacted = self.drill.compacted.lock();
            *compacted = to.max(*compacted);
        }
        let back = revision.saturating_sub(self.random.random_range(0..12)).max(1);
        let past = RangeRequest::new(KeyRange::all()).at(back);
        if let Ok(read) = self.store.range(past, Consistency::Serializable).await {
            self.show(KeyRange::all(), back, &read);
        }
    }

    fn learn(&mut self, request: &Request, outcome: &Outcome) {
        let Outcome::Answered { answer, .. } = outcome else { return };
        match (request, answer) {
            (Request::Get(key), Answer::Value(value)) => {
                self.known.insert(key.clone(), value.clone());
            }
            (Request::Put { key, value }, _)
            | (Request::Swap { key, value, .. }, Answer::Swapped(true)) => {
                self.known.insert(key.clone(), Some(value.clone()));
            }
            (Request::Range(_), Answer::Pairs(pairs)) => {
                let pairs = pairs.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
                self.known.extend(pairs);
            }
            _ => {}
        }
    }
}

fn is_read(request: &Request) -> bool {
    matches!(request, Request::Get(_) | Request::Range(_) | Request::Count(_))
}

/// Whether a write that failed so has surely not happened and never will.
fn is_definite(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::Unknown | ErrorKind::Closed)
}
