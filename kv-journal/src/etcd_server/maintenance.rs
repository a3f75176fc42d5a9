//! Alarms, status, hashes and snapshots.

use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use futures_util::StreamExt;
use tonic::codegen::async_trait;
use tonic::{Request, Response, Status};

use super::api::{Answer, Api};
use super::in_line::move_out;
use super::snapshot::Framed;
use super::status::{
    BAD_LEADER_TRANSFEREE, INVALID_DOWNGRADE_VERSION, NO_INFLIGHT_DOWNGRADE,
    WRONG_DOWNGRADE_VERSION,
};
use crate::core::KvHash;
use crate::etcd_api::etcdserverpb::alarm_request::AlarmAction;
use crate::etcd_api::etcdserverpb::downgrade_request::DowngradeAction;
use crate::etcd_api::etcdserverpb::maintenance_server::Maintenance;
use crate::etcd_api::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse,
    DowngradeInfo, DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest,
    HashResponse, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest, SnapshotResponse,
    StatusRequest, StatusResponse,
};
use crate::etcd_api::signed;
use crate::kv_store::KvStatus;

#[derive(Debug, Clone)]
pub(super) struct MaintenanceService(pub(super) Arc<Api>);

impl MaintenanceService {
    fn alarms(&self, status: &KvStatus) -> Vec<AlarmMember> {
        let api = &*self.0;
        let mut raised = api.raised();
        if status.quota_alarm && !raised.contains(&AlarmType::Nospace) {
            raised.push(AlarmType::Nospace);
        }
        raised.sort_unstable();
        let member_id = api.config.member_id;
        raised.into_iter().map(|alarm| AlarmMember { member_id, alarm: alarm.into() }).collect()
    }

    async fn hashed(&self, revision: u64) -> Result<KvHash, Status> {
        move_out().await;
        self.0.store.hash_kv(revision).await.map_err(|error| self.0.refused(&error))
    }

    /// The alarms that went off by what was asked.
    async fn deactivate(&self, alarm: AlarmType) -> Result<Vec<AlarmMember>, Status> {
        let api = &*self.0;
        let mut lowered = api.lower(alarm);
        if alarm == AlarmType::Nospace {
            lowered |= api.store.disarm().await.map_err(|error| api.refused(&error))?;
        }
        let member_id = api.config.member_id;
        let gone = lowered.then_some(AlarmMember { member_id, alarm: alarm.into() });
        Ok(gone.into_iter().collect())
    }
}

#[async_trait]
impl Maintenance for MaintenanceService {
    async fn alarm(&self, request: Request<AlarmRequest>) -> Answer<AlarmResponse> {
        let api = &*self.0;
        match request.get_ref().action() {
            AlarmAction::Get => api.check_known(&request)?,
            AlarmAction::Activate | AlarmAction::Deactivate => api.check_admin(&request)?,
        }
        let request = request.into_inner();
        let (alarm, action) = (request.alarm(), request.action());
        let of_this_member = [0, api.config.member_id].contains(&request.member_id);
        let alarms = match action {
            AlarmAction::Get => {
                let mut alarms = self.alarms(&api.status().await?);
                if alarm != AlarmType::None {
                    alarms.retain(|raised| raised.alarm == i32::from(alarm));
                }
                alarms
            }
            AlarmAction::Activate if of_this_member && alarm != AlarmType::None => {
                api.raise(alarm);
                vec![AlarmMember { member_id: api.config.member_id, alarm: alarm.into() }]
            }
            AlarmAction::Deactivate if of_this_member => self.deactivate(alarm).await?,
            AlarmAction::Activate | AlarmAction::Deactivate => Vec::new(),
        };
        Ok(Response::new(AlarmResponse { header: api.header_now().await?, alarms }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        let api = &*self.0;
        api.check_known(&request)?;
        let status = api.status().await?;
        let size = signed(status.bytes);
        let errors = self.alarms(&status).iter().map(said).collect();
        Ok(Response::new(StatusResponse {
            header: api.header(status.revision),
            version: api.config.version.clone(),
            // Nothing is stored but what is in use: there is no fragmentation to tell.
            db_size: size,
            db_size_in_use: size,
            leader: api.config.member_id,
            raft_index: status.index,
            raft_term: status.term,
            raft_applied_index: status.index,
            errors,
            is_learner: false,
            storage_version: storage_version(&api.config.version),
            db_size_quota: signed(status.quota_bytes),
            downgrade_info: Some(DowngradeInfo::default()),
        }))
    }

    /// There is nothing to defragment: memory that is freed is free.
    async fn defragment(&self, request: Request<DefragmentRequest>) -> Answer<DefragmentResponse> {
        self.0.check_admin(&request)?;
        Ok(Response::new(DefragmentResponse { header: None }))
    }

    /// etcd's is of all its storage, members and users included: two servers cannot be compared
    /// by it. This one is of the keys.
    async fn hash(&self, request: Request<HashRequest>) -> Answer<HashResponse> {
        self.0.check_admin(&request)?;
        let taken = self.hashed(0).await?;
        let header = self.0.header(taken.revision);
        Ok(Response::new(HashResponse { header, hash: taken.hash }))
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Answer<HashKvResponse> {
        self.0.check_admin(&request)?;
        // As in etcd, what is not above 0 is the newest revision.
        let revision = u64::try_from(request.into_inner().revision).unwrap_or(0);
        let taken = self.hashed(revision).await?;
        Ok(Response::new(HashKvResponse {
            header: self.0.header(taken.revision),
            hash: taken.hash,
            compact_revision: match taken.compact_revision {
                0 => -1,
                compacted => compacted.cast_signed(),
            },
            hash_revision: taken.hash_revision.cast_signed(),
        }))
    }

    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Answer<Self::SnapshotStream> {
        let api = Arc::clone(&self.0);
        api.check_admin(&request)?;
        move_out().await;
        let export = api.store.snapshot().await.map_err(|error| api.refused(&error))?;
        let version = storage_version(&api.config.version);
        let blobs = Framed::new(export).map(move |blob| match blob {
            Ok(blob) => Ok(SnapshotResponse {
                header: None,
                // How much is left is not known before it is encoded.
                remaining_bytes: 0,
                blob,
                version: version.clone(),
            }),
            Err(error) => Err(api.refused(&error)),
        });
        Ok(Response::new(Box::pin(blobs)))
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Answer<MoveLeaderResponse> {
        self.0.check_admin(&request)?;
        Err(BAD_LEADER_TRANSFEREE.into())
    }

    async fn downgrade(&self, request: Request<DowngradeRequest>) -> Answer<DowngradeResponse> {
        self.0.check_admin(&request)?;
        let request = request.into_inner();
        if request.action() == DowngradeAction::Cancel {
            return Err(NO_INFLIGHT_DOWNGRADE.into());
        }
        let numbers = request.version.split('.').filter(|part| part.parse::<u32>().is_ok()).count();
        let known = if (2..=3).contains(&numbers) {
            INVALID_DOWNGRADE_VERSION
        } else {
            WRONG_DOWNGRADE_VERSION
        };
        Err(known.into())
    }
}

/// An alarm as etcd's status says it.
fn said(alarm: &AlarmMember) -> String {
    format!("memberID:{} alarm:{} ", alarm.member_id, alarm.alarm().as_str_name())
}

/// Major and minor alone: `3.7.0` for `3.7.4`.
fn storage_version(version: &str) -> String {
    let mut parts = version.split('.');
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => format!("{major}.{minor}.0"),
        _ => version.to_owned(),
    }
}
