//! What every service of the server works with.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use prost::Message;
use prost::encoding::encoded_len_varint;
use tonic::{Request, Status};

use super::auth::{Access, Auth, Caller, ClientName};
use super::config::ServerConfig;
use super::metrics::Metrics;
use super::serve::Stop;
use super::status::{self, CORRUPT, NO_SPACE, REQUEST_TOO_LARGE};
use crate::error::Error;
use crate::etcd_api::etcdserverpb::{AlarmType, ResponseHeader};
use crate::etcd_api::{Spawn, header};
use crate::kv_store::{KvStatus, KvStore};

pub(super) type Answer<T> = Result<tonic::Response<T>, Status>;

/// The store and what is said of it.
pub(super) struct Api {
    pub(super) store: Arc<dyn KvStore>,
    pub(super) config: ServerConfig,
    pub(super) metrics: Metrics,
    pub(super) auth: Auth,
    pub(super) spawn: Arc<dyn Spawn>,
    /// Whether the server is shut down.
    pub(super) stop: Stop,
    /// The header of every answer, but for the revision.
    identity: ResponseHeader,
    raised: RwLock<Vec<AlarmType>>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Api {
    pub(super) fn new(
        store: Arc<dyn KvStore>,
        auth: Auth,
        (spawn, stop): (Arc<dyn Spawn>, Stop),
        config: ServerConfig,
        status: &KvStatus,
    ) -> Self {
        let identity = ResponseHeader {
            cluster_id: config.cluster_id,
            member_id: config.member_id,
            revision: 0,
            raft_term: status.term,
        };
        let metrics = Metrics::new(&config);
        Self { store, auth, spawn, stop, config, metrics, identity, raised: RwLock::default() }
    }

    /// The ids, without a revision.
    pub(super) fn identity(&self) -> ResponseHeader {
        self.identity
    }

    #[expect(clippy::unnecessary_wraps, reason = "so the messages have it")]
    pub(super) fn header(&self, revision: u64) -> Option<ResponseHeader> {
        Some(header(self.identity, revision))
    }

    /// The header of an answer that is about no revision in particular.
    pub(super) async fn header_now(&self) -> Result<Option<ResponseHeader>, Status> {
        Ok(self.header(self.status().await?.revision))
    }

    pub(super) async fn status(&self) -> Result<KvStatus, Status> {
        self.store.status().await.map_err(|error| self.refused(&error))
    }

    /// Who asks.
    pub(super) fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        Ok(self.auth.caller(request.metadata(), request.extensions().get::<ClientName>())?)
    }

    /// Refuses who is nobody, where anything is enforced.
    pub(super) fn check_known<T>(&self, request: &Request<T>) -> Result<(), Status> {
        Ok(self.auth.check_known(&self.caller(request)?)?)
    }

    /// Refuses who may not do everything, where anything is enforced.
    pub(super) fn check_admin<T>(&self, request: &Request<T>) -> Result<(), Status> {
        Ok(self.auth.check_admin(&self.caller(request)?)?)
    }

    /// Refuses a request that touches leases if somebody may not write, or read, all their keys.
    pub(super) async fn check_leases(
        &self,
        caller: &Caller,
        leases: &[i64],
        access: Access,
    ) -> Result<(), Status> {
        if leases.is_empty() || !self.auth.is_restricted(caller)? {
            return Ok(());
        }
        for lease in leases {
            let known = self.store.lease_time_to_live(*lease, true).await;
            let keys = known.map_err(|error| self.refused(&error))?.keys;
            self.auth.check_keys(caller, &keys, access)?;
        }
        Ok(())
    }

    /// What a client is told of `error`.
    #[expect(clippy::unused_self, reason = "every service says it the same way")]
    pub(super) fn refused(&self, error: &Error) -> Status {
        status::of_store(error)
    }

    /// Refuses what is larger than a write may be, and every write while the store is said to be
    /// corrupt.
    pub(super) fn check_write(&self, request: &impl Message) -> Result<(), Status> {
        if self.is_raised(AlarmType::Corrupt) {
            return Err(CORRUPT.into());
        }
        let len = request.encoded_len();
        if len + encoded_len_varint(len as u64) + ENVELOPE_BYTES > self.config.max_request_bytes {
            return Err(REQUEST_TOO_LARGE.into());
        }
        Ok(())
    }

    /// Refuses what adds something while somebody has raised the alarm by hand. The store itself
    /// looks after its quota.
    pub(super) fn check_space(&self) -> Result<(), Status> {
        if self.is_raised(AlarmType::Nospace) { Err(NO_SPACE.into()) } else { Ok(()) }
    }

    /// Refuses reads while the store is said to be corrupt.
    pub(super) fn check_read(&self) -> Result<(), Status> {
        if self.is_raised(AlarmType::Corrupt) { Err(CORRUPT.into()) } else { Ok(()) }
    }

    fn is_raised(&self, alarm: AlarmType) -> bool {
        self.raised.read().contains(&alarm)
    }

    /// The alarms that somebody raised.
    pub(super) fn raised(&self) -> Vec<AlarmType> {
        self.raised.read().clone()
    }

    pub(super) fn raise(&self, alarm: AlarmType) {
        let mut raised = self.raised.write();
        if !raised.contains(&alarm) {
            raised.push(alarm);
        }
    }

    /// Whether it was raised.
    pub(super) fn lower(&self, alarm: AlarmType) -> bool {
        let mut raised = self.raised.write();
        let before = raised.len();
        raised.retain(|other| *other != alarm);
        raised.len() < before
    }
}

/// etcd measures a write with the envelope in which its log holds it: a tag, and a header with the
/// request's number of ten bytes.
const ENVELOPE_BYTES: usize = 15;
