//! Leases.

use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use futures_util::StreamExt;
use tonic::codegen::async_trait;
use tonic::{Request, Response, Status, Streaming};

use super::api::{Answer, Api};
use super::auth::Access;
use super::ending::until_stopped;
use super::status::LEASE_TTL_TOO_LARGE;
use crate::core::{LeaseGrantRequest as Grant, MAX_TTL_SECS};
use crate::etcd_api::etcdserverpb::lease_server::Lease;
use crate::etcd_api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use crate::etcd_api::signed;

#[derive(Debug, Clone)]
pub(super) struct LeaseService(pub(super) Arc<Api>);

#[async_trait]
impl Lease for LeaseService {
    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Answer<LeaseGrantResponse> {
        let api = &*self.0;
        let caller = api.caller(&request)?;
        let request = request.into_inner();
        api.check_write(&request)?;
        api.check_space()?;
        api.auth.check_known(&caller)?;
        if request.ttl > MAX_TTL_SECS {
            return Err(LEASE_TTL_TOO_LARGE.into());
        }
        let answer = api.store.lease_grant(Grant::new(request.ttl).id(request.id)).await;
        let answer = answer.map_err(|error| api.refused(&error))?;
        Ok(Response::new(LeaseGrantResponse {
            header: api.header(answer.revision),
            id: answer.id,
            ttl: signed(answer.ttl_secs),
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Answer<LeaseRevokeResponse> {
        let api = &*self.0;
        let caller = api.caller(&request)?;
        api.auth.check_known(&caller)?;
        let id = request.into_inner().id;
        let _steady = api.auth.steady().await;
        api.check_leases(&caller, &[id], Access::Write).await?;
        let newest = api.store.lease_revoke(id).await.map_err(|error| api.refused(&error))?;
        Ok(Response::new(LeaseRevokeResponse { header: api.header(newest) }))
    }

    type LeaseKeepAliveStream =
        Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Answer<Self::LeaseKeepAliveStream> {
        let (api, stop) = (Arc::clone(&self.0), self.0.stop.clone());
        let (metadata, extensions, requests) = request.into_parts();
        let shown = Arc::new(Request::from_parts(metadata, extensions, ()));
        let answers = requests.then(move |request| {
            let (api, shown) = (Arc::clone(&api), Arc::clone(&shown));
            async move { keep_alive(&api, &shown, request?.id).await }
        });
        Ok(Response::new(until_stopped(answers, stop)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Answer<LeaseTimeToLiveResponse> {
        let api = &*self.0;
        let caller = api.caller(&request)?;
        api.auth.check_known(&caller)?;
        let request = request.into_inner();
        if request.keys {
            api.check_leases(&caller, &[request.id], Access::Read).await?;
        }
        let answer = api.store.lease_time_to_live(request.id, request.keys).await;
        let answer = answer.map_err(|error| api.refused(&error))?;
        Ok(Response::new(LeaseTimeToLiveResponse {
            header: api.header(answer.revision),
            id: answer.id,
            ttl: answer.ttl_secs,
            granted_ttl: signed(answer.granted_ttl_secs),
            keys: answer.keys,
        }))
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Answer<LeaseLeasesResponse> {
        let api = &*self.0;
        let caller = api.caller(&request)?;
        api.auth.check_known(&caller)?;
        let answer = api.store.leases().await.map_err(|error| api.refused(&error))?;
        api.check_leases(&caller, &answer.ids, Access::Read).await?;
        Ok(Response::new(LeaseLeasesResponse {
            header: api.header(answer.revision),
            leases: answer.ids.into_iter().map(|id| LeaseStatus { id }).collect(),
        }))
    }
}

/// A stream lasts: who it belongs to is looked up each time.
async fn keep_alive(
    api: &Api,
    shown: &Request<()>,
    id: i64,
) -> Result<LeaseKeepAliveResponse, Status> {
    let caller = api.caller(shown)?;
    api.auth.check_known(&caller)?;
    api.check_leases(&caller, &[id], Access::Write).await?;
    let answer = api.store.lease_keep_alive(id).await.map_err(|error| api.refused(&error))?;
    let header = api.header(answer.revision);
    Ok(LeaseKeepAliveResponse { header, id, ttl: signed(answer.ttl_secs) })
}
