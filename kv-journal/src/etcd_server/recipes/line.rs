//! A line of keys, and the wait in it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use tonic::Status;

use crate::core::{
    Compare, CompareResult, KeyRange, LeaseGrantRequest, Op, OpResponse, PutRequest, RangeRequest,
    SortOrder, SortTarget, Txn, TxnResponse,
};
use crate::etcd_server::api::Api;
use crate::etcd_server::auth::Caller;
use crate::etcd_server::ending::unless_stopped;
use crate::etcd_server::status::STOPPED;
use crate::kv_store::{Consistency, Watching};
use crate::store::{WatchMessage, WatchRequest};

/// What a lease lives that the server grants for a place, in seconds: etcd's default of a session.
const TTL_SECS: i64 = 60;

/// Somebody at the server, on whose behalf the line is used.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) api: Arc<Api>,
    pub(super) caller: Caller,
}

/// A place in a line.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The keys of everybody in the line.
    pub(super) line: KeyRange,
    pub(super) key: Bytes,
    /// The revision that created the key.
    pub(super) since: u64,
    pub(super) lease: i64,
    /// When it was taken, or found.
    pub(super) revision: u64,
    /// What is at the place, if it was there before.
    pub(super) found: Option<Bytes>,
}

/// The keys of a line.
pub(super) fn line_of(name: &[u8]) -> KeyRange {
    KeyRange::prefix([name, b"/"].concat())
}

impl Visitor {
    pub(super) fn of<T>(api: &Arc<Api>, request: &tonic::Request<T>) -> Result<Self, Status> {
        Ok(Self { api: Arc::clone(api), caller: api.caller(request)? })
    }

    /// Takes a place at the end of the line, or finds the one that the lease has there.
    pub(super) async fn enter(
        &self,
        name: &[u8],
        lease: i64,
        value: Bytes,
    ) -> Result<Place, Status> {
        let lease = if lease == 0 { self.grant().await? } else { lease };
        let line = line_of(name);
        let key = Bytes::from([line.start(), format!("{lease:x}").as_bytes()].concat());
        let put = PutRequest::new(key.clone(), value).lease(lease);
        let absent = Compare::create_revision(key.clone(), CompareResult::Equal, 0);
        let txn = Txn::new().when(absent).then(Op::Put(put)).or_else(Op::get(key.clone()));
        let answer = self.api.txn(&self.caller, txn).await?;
        let revision = answer.revision;
        let there = first_found(&answer);
        let (since, found) = there.map_or((revision, None), |(since, value)| (since, Some(value)));
        Ok(Place { line, key, since, lease, revision, found })
    }

    async fn grant(&self) -> Result<i64, Status> {
        self.api.check_space()?;
        self.api.auth.check_known(&self.caller)?;
        let granted = self.api.store.lease_grant(LeaseGrantRequest::new(TTL_SECS)).await;
        granted.map(|granted| granted.id).map_err(|error| self.api.refused(&error))
    }

    /// Waits until nobody is before the place, and returns the newest revision then. If the call
    /// ends before, the place is given up.
    pub(super) async fn wait(&self, place: &Place) -> Result<u64, Status> {
        let leaving = Leaving { visitor: self, place: Some(place) };
        let revision = unless_stopped(self.wait_in(place), self.api.stop.clone()).await?;
        leaving.stay();
        Ok(revision)
    }

    async fn wait_in(&self, place: &Place) -> Result<u64, Status> {
        loop {
            let mut before = RangeRequest::new(place.line.clone())
                .limit(1)
                .sort(SortTarget::CreateRevision, SortOrder::Descending);
            before.max_create_revision = place.since - 1;
            let found = self.read(before).await?;
            // A lease may have ended while its place was waited for.
            let revision = self.still_there(place).await?;
            let Some(next) = found.kvs.first() else { return Ok(revision) };
            self.until_gone(&[next.key_bytes(), place.key.clone()], found.revision).await?;
        }
    }

    async fn still_there(&self, place: &Place) -> Result<u64, Status> {
        let own = self.read(RangeRequest::new(KeyRange::key(place.key.clone()))).await?;
        match own.kvs.first() {
            Some(kv) if kv.create_revision() == place.since => Ok(own.revision),
            _ => Err(Status::unknown("mutex: session is expired")),
        }
    }

    async fn read(&self, request: RangeRequest) -> Result<crate::core::RangeResponse, Status> {
        self.api.range(&self.caller, request, Consistency::Linearizable).await
    }

    /// Waits until one of the keys, which were there at `revision`, is deleted, or that can no
    /// longer be told.
    async fn until_gone(&self, keys: &[Bytes], revision: u64) -> Result<(), Status> {
        let ranges = keys.iter().map(|key| KeyRange::key(key.clone()));
        let deletes = ranges.map(|range| WatchRequest::new(range).no_put());
        let mut watching = self.watch(deletes, revision + 1).await?;
        loop {
            match self.next(&mut watching).await? {
                WatchMessage::Events { .. } | WatchMessage::Canceled { .. } => return Ok(()),
                WatchMessage::Created { .. } | WatchMessage::Progress { .. } => {}
            }
        }
    }

    /// Watches from a revision on.
    pub(super) async fn watch(
        &self,
        requests: impl IntoIterator<Item = WatchRequest>,
        revision: u64,
    ) -> Result<Watching, Status> {
        let api = &self.api;
        let watching = api.store.watch_stream().await.map_err(|error| api.refused(&error))?;
        for request in requests {
            api.auth.check_read(&self.caller, &request.range)?;
            let created = watching.desk.create(request.from_revision(revision));
            created.map_err(|error| api.refused(&error))?;
        }
        Ok(watching)
    }

    /// The next message; a store that has ended has none.
    pub(super) async fn next(&self, watching: &mut Watching) -> Result<WatchMessage, Status> {
        match watching.messages.next().await {
            Some(message) => message.map_err(|error| self.api.refused(&error)),
            None => Err(STOPPED.into()),
        }
    }

    /// Gives a place up, if it is still the one that was taken. Returns the newest revision.
    pub(super) async fn leave(&self, key: Bytes, since: u64) -> Result<u64, Status> {
        let answer = self.api.txn(&self.caller, giving_up(key, since)).await?;
        Ok(answer.revision)
    }
}

fn giving_up(key: Bytes, since: u64) -> Txn {
    let same = Compare::create_revision(key.clone(), CompareResult::Equal, since);
    Txn::new().when(same).then(Op::delete(KeyRange::key(key)))
}

/// The revision that created what was found, and its value.
fn first_found(answer: &TxnResponse) -> Option<(u64, Bytes)> {
    let OpResponse::Range(found) = answer.responses.first()? else { return None };
    found.kvs.first().map(|kv| (kv.create_revision(), kv.value_bytes()))
}

/// Gives a place up when it is dropped, unless it has been reached.
struct Leaving<'a> {
    visitor: &'a Visitor,
    place: Option<&'a Place>,
}

impl Leaving<'_> {
    fn stay(mut self) {
        self.place = None;
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let (api, txn) = (Arc::clone(&self.visitor.api), giving_up(place.key.clone(), place.since));
        let spawn = Arc::clone(&api.spawn);
        // If it fails, the place goes with its lease.
        spawn.spawn(Box::pin(async move { drop(api.store.txn(txn).await) }));
    }
}
