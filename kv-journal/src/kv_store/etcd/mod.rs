//! A remote etcd as a [`KvStore`].

mod calls;
mod config;
mod failure;
mod login;
mod pages;
mod revisions;
mod watch;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tonic::{Request, Status};

use self::calls::Calls;
use self::failure::{Effect, Failure};
use super::{Consistency, KvStatus, KvStore, RangeChunks, SnapshotBytes, Watching};
use crate::config::{ChunkLimits, Config};
use crate::core::{
    DeleteRequest, DeleteResponse, KeyRange, KvHash, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveResponse, LeaseListResponse, LeaseTimeToLiveResponse, Op, PropertyChange,
    PutRequest, PutResponse, RangeRequest, RangeResponse, Txn, TxnResponse,
};
use crate::error::{Error, ErrorKind, Result};
use crate::etcd_api::etcdserverpb as pb;
use crate::etcd_api::etcdserverpb::alarm_request::AlarmAction;
use crate::etcd_api::etcdserverpb::kv_client::KvClient;
use crate::etcd_api::etcdserverpb::lease_client::LeaseClient;
use crate::etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::etcd_api::{
    Channel, Spawn, delete_answer, delete_message, put_answer, put_message, range_answer,
    range_message, revision_of, signed, txn_answer, txn_message, unsigned,
};

pub use config::EtcdStoreConfig;

/// How deep a transaction may nest here. Every level is a frame on the stack.
const TXN_DEPTH: usize = Config::TXN_DEPTH.max;

/// A client of an etcd cluster, or of whatever serves etcd's API, as a [`KvStore`].
///
/// What is written against the port goes on unchanged when one machine no longer suffices. It needs
/// etcd 3.4 or newer. Clones share connection and token.
///
/// - A read goes to the next endpoint when one fails, as often as the configuration says. A write is
///   tried again only if it surely was not done; else it fails with
///   [`Unknown`](ErrorKind::Unknown), and whoever wants to know reads.
/// - Watchers survive the loss of a connection: each goes on after the last revision that it was
///   told, and sees nothing twice. One that starts at 0 sees what comes after the revision in its
///   [`Created`](crate::WatchMessage::Created).
/// - A token that has run out is renewed.
/// - [`range_stream`](KvStore::range_stream) reads pages at one revision where the server has no
///   `RangeStream`. A stream of a server that breaks off fails with `Unavailable`.
/// - [`status`](KvStore::status) leaves 0 what etcd does not tell: the compact revision, how many
///   keys, leases and watchers there are, and what waits or has failed.
/// - Progress notices for each advance are asked for from time to time. etcd before 3.4.25 and 3.5.8
///   may give such a notice before the events that it covers.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
/// use kv_journal::{Consistency, EtcdStore, EtcdStoreConfig, KeyRange, KvStore, PutRequest};
///
/// let config = EtcdStoreConfig::new(["http://127.0.0.1:2379"]);
/// let store = EtcdStore::new(config, |task| drop(tokio::spawn(task)))?;
/// store.put(PutRequest::new("greeting", "hello")).await?;
/// let found = store.range(KeyRange::prefix("greet").into(), Consistency::Linearizable).await?;
/// assert_eq!(found.kvs[0].value(), b"hello");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct EtcdStore {
    calls: Calls,
}

impl EtcdStore {
    /// A client whose connections are run by `spawn`. Nothing is connected before the first call.
    ///
    /// # Errors
    /// `Invalid` if a setting is out of its range, there is no endpoint or one is not a URL, or
    /// something about TLS is wrong or missing.
    pub fn new(config: EtcdStoreConfig, spawn: impl Spawn) -> Result<Self> {
        config.check()?;
        let channel = Channel::new(config.channel.clone(), spawn)?;
        Ok(Self { calls: Calls::new(channel, config) })
    }

    fn maintenance(
        &self,
    ) -> impl Fn(Channel) -> MaintenanceClient<Channel> + Copy + Send + Sync + use<> {
        let most = self.calls.config().answer_bytes;
        move |channel| MaintenanceClient::new(channel).max_decoding_message_size(most)
    }

    async fn alarm(&self, request: pb::AlarmRequest) -> Result<pb::AlarmResponse> {
        let client = self.maintenance();
        let call = move |channel, request| async move { client(channel).alarm(request).await };
        self.calls.call(Effect::Writes, request, call).await
    }
}

impl Calls {
    fn kv(&self) -> impl Fn(Channel) -> KvClient<Channel> + Copy + Send + Sync + use<> {
        let most = self.config().answer_bytes;
        move |channel| KvClient::new(channel).max_decoding_message_size(most)
    }

    async fn range(
        &self,
        request: RangeRequest,
        consistency: Consistency,
    ) -> Result<RangeResponse> {
        let message = range_message(&request, consistency);
        let client = self.kv();
        let call = move |channel, request| async move { client(channel).range(request).await };
        match self.call(Effect::Reads, message, call).await {
            Ok(answer) => {
                let answer = range_answer(answer, 0);
                self.saw(answer.revision);
                Ok(answer)
            }
            Err(error) => {
                Err(self.explained(error, &request.range, request.revision.saturating_add(1)).await)
            }
        }
    }

    /// The revision in an answer's header.
    fn told(&self, header: Option<&pb::ResponseHeader>) -> u64 {
        self.saw(revision_of(header))
    }
}

/// The first range in a transaction that is read at a revision, and that revision.
fn past_read(txn: &Txn) -> Option<(&KeyRange, u64)> {
    txn.success.iter().chain(&txn.failure).find_map(|op| match op {
        Op::Range(range) if range.revision != 0 => Some((&range.range, range.revision)),
        Op::Txn(nested) => past_read(nested),
        _ => None,
    })
}

#[async_trait]
impl KvStore for EtcdStore {
    async fn range(
        &self,
        request: RangeRequest,
        consistency: Consistency,
    ) -> Result<RangeResponse> {
        self.calls.range(request, consistency).await
    }

    async fn range_stream(
        &self,
        request: RangeRequest,
        consistency: Consistency,
        limits: ChunkLimits,
    ) -> Result<RangeChunks> {
        self.calls.range_stream(request, consistency, limits).await
    }

    async fn put(&self, request: PutRequest) -> Result<PutResponse> {
        let client = self.calls.kv();
        let call = move |channel, request| async move { client(channel).put(request).await };
        let answer = self.calls.call(Effect::Writes, put_message(&request), call).await?;
        let answer = put_answer(answer, 0);
        self.calls.saw(answer.revision);
        Ok(answer)
    }

    async fn delete_range(&self, request: DeleteRequest) -> Result<DeleteResponse> {
        let client = self.calls.kv();
        let call =
            move |channel, request| async move { client(channel).delete_range(request).await };
        let answer = self.calls.call(Effect::Writes, delete_message(&request), call).await?;
        let answer = delete_answer(answer, 0);
        self.calls.saw(answer.revision);
        Ok(answer)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        let client = self.calls.kv();
        let message = txn_message(&txn, TXN_DEPTH)?;
        let effect = if txn.changes_nothing() { Effect::Reads } else { Effect::Writes };
        let call = move |channel, request| async move { client(channel).txn(request).await };
        match self.calls.call(effect, message, call).await {
            Ok(answer) => {
                let answer = txn_answer(answer, 0, TXN_DEPTH)?;
                self.calls.saw(answer.revision);
                Ok(answer)
            }
            Err(error) => match past_read(&txn) {
                Some((range, revision)) => {
                    Err(self.calls.explained(error, range, revision.saturating_add(1)).await)
                }
                None => Err(error),
            },
        }
    }

    async fn compact(&self, revision: u64) -> Result<u64> {
        let client = self.calls.kv();
        let request = pb::CompactionRequest { revision: signed(revision), physical: false };
        let call = move |channel, request| async move { client(channel).compact(request).await };
        match self.calls.call(Effect::Writes, request, call).await {
            Ok(answer) => Ok(self.calls.told(answer.header.as_ref())),
            Err(error) => Err(self.calls.explained(error, &KeyRange::all(), revision).await),
        }
    }

    async fn lease_grant(&self, request: LeaseGrantRequest) -> Result<LeaseGrantResponse> {
        let request = pb::LeaseGrantRequest { ttl: request.ttl_secs, id: request.id };
        let call =
            |channel, request| async { LeaseClient::new(channel).lease_grant(request).await };
        let answer = self.calls.call(Effect::Writes, request, call).await?;
        if !answer.error.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, answer.error));
        }
        let revision = self.calls.told(answer.header.as_ref());
        Ok(LeaseGrantResponse { revision, id: answer.id, ttl_secs: unsigned(answer.ttl) })
    }

    async fn lease_revoke(&self, id: i64) -> Result<u64> {
        let request = pb::LeaseRevokeRequest { id };
        let call =
            |channel, request| async { LeaseClient::new(channel).lease_revoke(request).await };
        let answer = self.calls.call(Effect::Writes, request, call).await?;
        Ok(self.calls.told(answer.header.as_ref()))
    }

    async fn lease_keep_alive(&self, id: i64) -> Result<LeaseKeepAliveResponse> {
        let request = pb::LeaseKeepAliveRequest { id };
        let call = |channel, request: Request<pb::LeaseKeepAliveRequest>| async {
            let request = request.map(|renew| stream::iter([renew]));
            let answers = LeaseClient::new(channel).lease_keep_alive(request).await?;
            let answer = answers.into_inner().message().await?;
            let gone = || Status::unavailable("the server has ended the stream of renewals");
            answer.map(tonic::Response::new).ok_or_else(gone)
        };
        // To renew once more than was asked does no harm.
        let answer = self.calls.call(Effect::Reads, request, call).await?;
        let revision = self.calls.told(answer.header.as_ref());
        Ok(LeaseKeepAliveResponse { revision, id: answer.id, ttl_secs: unsigned(answer.ttl) })
    }

    async fn lease_time_to_live(&self, id: i64, keys: bool) -> Result<LeaseTimeToLiveResponse> {
        let request = pb::LeaseTimeToLiveRequest { id, keys };
        let call = |channel, request| async {
            LeaseClient::new(channel).lease_time_to_live(request).await
        };
        let mut answer = self.calls.call(Effect::Reads, request, call).await?;
        // etcd tells them in any order.
        answer.keys.sort_unstable();
        Ok(LeaseTimeToLiveResponse {
            revision: self.calls.told(answer.header.as_ref()),
            id: answer.id,
            ttl_secs: answer.ttl,
            granted_ttl_secs: unsigned(answer.granted_ttl),
            keys: answer.keys,
        })
    }

    async fn leases(&self) -> Result<LeaseListResponse> {
        let request = pb::LeaseLeasesRequest {};
        let call =
            |channel, request| async { LeaseClient::new(channel).lease_leases(request).await };
        let answer = self.calls.call(Effect::Reads, request, call).await?;
        let ids = answer.leases.iter().map(|lease| lease.id).collect();
        Ok(LeaseListResponse { revision: self.calls.told(answer.header.as_ref()), ids })
    }

    async fn watch_stream(&self) -> Result<Watching> {
        Ok(watch::watching(self.calls.clone()))
    }

    async fn status(&self) -> Result<KvStatus> {
        let client = self.maintenance();
        let call = move |channel, request| async move { client(channel).status(request).await };
        let answer = self.calls.call(Effect::Reads, pb::StatusRequest {}, call).await?;
        Ok(KvStatus {
            revision: self.calls.told(answer.header.as_ref()),
            bytes: unsigned(answer.db_size_in_use),
            quota_bytes: unsigned(answer.db_size_quota),
            quota_alarm: answer.errors.iter().any(|error| error.contains("NOSPACE")),
            term: answer.raft_term,
            index: answer.raft_index,
            ..KvStatus::default()
        })
    }

    async fn hash_kv(&self, revision: u64) -> Result<KvHash> {
        let client = self.maintenance();
        let request = pb::HashKvRequest { revision: signed(revision) };
        let call = move |channel, request| async move { client(channel).hash_kv(request).await };
        match self.calls.call(Effect::Reads, request, call).await {
            Ok(answer) => {
                let newest = self.calls.told(answer.header.as_ref());
                // Before 3.6 it is not told: it is what was asked for.
                let asked = if revision == 0 { newest } else { revision };
                let told = unsigned(answer.hash_revision);
                Ok(KvHash {
                    hash: answer.hash,
                    hash_revision: if told == 0 { asked } else { told },
                    compact_revision: unsigned(answer.compact_revision),
                    revision: newest,
                })
            }
            Err(error) => Err(self.calls.explained(error, &KeyRange::all(), revision).await),
        }
    }

    async fn properties(&self, _prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
        Ok(Vec::new())
    }

    async fn set_properties(&self, _changes: Vec<PropertyChange>) -> Result<()> {
        let message = "a remote store keeps no properties: give its server a cluster_id and a member_id, or \
                       serve the store where it is";
        Err(Error::new(ErrorKind::Invalid, message))
    }

    async fn disarm(&self) -> Result<bool> {
        let mut raised = false;
        let request = |action: AlarmAction, member_id| pb::AlarmRequest {
            action: action.into(),
            member_id,
            alarm: pb::AlarmType::Nospace.into(),
        };
        for alarm in self.alarm(request(AlarmAction::Get, 0)).await?.alarms {
            if alarm.alarm() == pb::AlarmType::Nospace {
                self.alarm(request(AlarmAction::Deactivate, alarm.member_id)).await?;
                raised = true;
            }
        }
        Ok(raised)
    }

    /// As `etcdctl snapshot save` writes it.
    async fn snapshot(&self) -> Result<SnapshotBytes> {
        let client = self.maintenance();
        let call = move |channel, request| async move { client(channel).snapshot(request).await };
        let parts = self.calls.call(Effect::Reads, pb::SnapshotRequest {}, call).await?;
        Ok(Box::pin(parts.map(|part| match part {
            Ok(part) => Ok(part.blob),
            Err(status) => Err(Failure::of(status, Effect::Reads).error),
        })))
    }
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("config", self.calls.config()).finish_non_exhaustive()
    }
}
