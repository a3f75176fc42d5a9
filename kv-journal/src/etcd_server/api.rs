//! What every service of the server works with.

use std::sync::Arc;

use parking_lot::RwLock;
use prost::Message;
use prost::encoding::encoded_len_varint;
use tonic::Status;

use super::config::ServerConfig;
use super::metrics::Metrics;
use super::status::{self, CORRUPT, NO_SPACE, REQUEST_TOO_LARGE};
use crate::error::Error;
use crate::etcd_api::etcdserverpb::{AlarmType, ResponseHeader};
use crate::etcd_api::header;
use crate::kv_store::{KvStatus, KvStore};

pub(super) type Answer<T> = Result<tonic::Response<T>, Status>;

/// The store and what is said of it.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) store: Arc<dyn KvStore>,
    pub(super) config: ServerConfig,
    pub(super) metrics: Metrics,
    /// The header of every answer, but for the revision.
    identity: ResponseHeader,
    raised: RwLock<Vec<AlarmType>>,
}

impl Api {
    pub(super) fn new(store: Arc<dyn KvStore>, config: ServerConfig, status: &KvStatus) -> Self {
        let identity = ResponseHeader {
            cluster_id: config.cluster_id,
            member_id: config.member_id,
            revision: 0,
            raft_term: status.term,
        };
        let metrics = Metrics::default();
        Self { store, config, metrics, identity, raised: RwLock::default() }
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
