//! Leases.

use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use futures_util::StreamExt;
use tonic::codegen::async_trait;
use tonic::{Request, Response, Status, Streaming};

use super::api::{Answer, Api};
use super::status::LEASE_TTL_TOO_LARGE;
use crate::core::{LeaseGrantRequest as Grant, MAX_TTL_SECS};
use crate::etcd_api::etcdserverpb::lease_server::Lease;
use crate::etcd_api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};

#[derive(Debug, Clone)]
pub(super) struct LeaseService(pub(super) Arc<Api>);

#[async_trait]
impl Lease for LeaseService {
    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Answer<LeaseGrantResponse> {
        let api = &*self.0;
        let request = request.into_inner();
        api.check_write(&request)?;
        api.check_space()?;
        if request.ttl > MAX_TTL_SECS {
            return Err(LEASE_TTL_TOO_LARGE.into());
        }
        let answer = api.store.lease_grant(Grant::new(request.ttl).id(request.id)).await;
        let answer = answer.map_err(|error| api.refused(&error))?;
        Ok(Response::new(LeaseGrantResponse {
            header: api.header(answer.revision),
            id: answer.id,
            ttl: secs(answer.ttl_secs),
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Answer<LeaseRevokeResponse> {
        let api = &*self.0;
        let id = request.into_inner().id;
        let newest = api.store.lease_revoke(id).await.map_err(|error| api.refused(&error))?;
        Ok(Response::new(LeaseRevokeResponse { header: api.header(newest) }))
    }

    type LeaseKeepAliveStream =
        Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Answer<Self::LeaseKeepAliveStream> {
        let api = Arc::clone(&self.0);
        let answers = request.into_inner().then(move |request| {
            let api = Arc::clone(&api);
            async move { keep_alive(&api, request?.id).await }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Answer<LeaseTimeToLiveResponse> {
        let api = &*self.0;
        let request = request.into_inner();
        let answer = api.store.lease_time_to_live(request.id, request.keys).await;
        let answer = answer.map_err(|error| api.refused(&error))?;
        Ok(Response::new(LeaseTimeToLiveResponse {
            header: api.header(answer.revision),
            id: answer.id,
            ttl: answer.ttl_secs,
            granted_ttl: secs(answer.granted_ttl_secs),
            keys: answer.keys,
        }))
    }

    async fn lease_leases(
        &self,
        _request: Request<LeaseLeasesRequest>,
    ) -> Answer<LeaseLeasesResponse> {
        let api = &*self.0;
        let answer = api.store.leases().await.map_err(|error| api.refused(&error))?;
        Ok(Response::new(LeaseLeasesResponse {
            header: api.header(answer.revision),
            leases: answer.ids.into_iter().map(|id| LeaseStatus { id }).collect(),
        }))
    }
}

async fn keep_alive(api: &Api, id: i64) -> Result<LeaseKeepAliveResponse, Status> {
    let answer = api.store.lease_keep_alive(id).await.map_err(|error| api.refused(&error))?;
    let header = api.header(answer.revision);
    Ok(LeaseKeepAliveResponse { header, id, ttl: secs(answer.ttl_secs) })
}

fn secs(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
