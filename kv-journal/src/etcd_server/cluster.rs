//! The members of the cluster: this one.

use std::sync::Arc;

use tonic::codegen::async_trait;
use tonic::{Request, Response, Status};

use super::api::{Answer, Api};
use super::status::MEMBER_NOT_FOUND;
use crate::etcd_api::etcdserverpb::cluster_server::Cluster;
use crate::etcd_api::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse,
};

#[derive(Debug, Clone)]
pub(super) struct ClusterService(pub(super) Arc<Api>);

impl ClusterService {
    /// What is told of a change of members that this cluster of one does not make.
    fn one_member<R, T>(&self, request: &Request<R>, id: u64) -> Answer<T> {
        self.0.check_admin(request)?;
        if id == self.0.config.member_id { Err(one_member()) } else { Err(MEMBER_NOT_FOUND.into()) }
    }
}

fn one_member() -> Status {
    Status::unimplemented(
        "the cluster has one member, whose journal keeps the copies: its members do not change",
    )
}

#[async_trait]
impl Cluster for ClusterService {
    async fn member_list(&self, request: Request<MemberListRequest>) -> Answer<MemberListResponse> {
        let api = &*self.0;
        api.check_known(&request)?;
        let member = Member {
            id: api.config.member_id,
            name: api.config.name.clone(),
            peer_ur_ls: api.config.peer_urls.clone(),
            client_ur_ls: api.config.client_urls.clone(),
            is_learner: false,
        };
        // Of the members etcd's header says no revision.
        Ok(Response::new(MemberListResponse {
            header: Some(api.identity()),
            members: vec![member],
        }))
    }

    async fn member_add(&self, request: Request<MemberAddRequest>) -> Answer<MemberAddResponse> {
        self.one_member(&request, self.0.config.member_id)
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Answer<MemberRemoveResponse> {
        self.one_member(&request, request.get_ref().id)
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Answer<MemberUpdateResponse> {
        self.one_member(&request, request.get_ref().id)
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Answer<MemberPromoteResponse> {
        self.one_member(&request, request.get_ref().id)
    }
}
