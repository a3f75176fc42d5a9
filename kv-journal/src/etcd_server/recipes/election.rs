//! Elections.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::TryStreamExt;
use tonic::codegen::async_trait;
use tonic::{Request, Response, Status};

use super::line::{Place, Visitor, line_of};
use super::observer::{Observer, first_in};
use super::uncoded;
use crate::core::{Compare, CompareResult, Op, PutRequest, Txn};
use crate::etcd_api::stored::KeyValue;
use crate::etcd_api::v3electionpb::election_server::Election;
use crate::etcd_api::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use crate::etcd_server::api::{Answer, Api};
use crate::etcd_server::ending::until_stopped;

#[derive(Debug, Clone)]
pub(in crate::etcd_server) struct ElectionService(pub(in crate::etcd_server) Arc<Api>);

fn not_leader() -> Status {
    Status::unknown("election: not leader")
}

fn leader_of(leader: Option<LeaderKey>) -> Result<LeaderKey, Status> {
    leader.ok_or_else(|| Status::unknown("\"leader\" field must be provided"))
}

/// A revision that is none was never one of a key.
fn revision_of(leader: &LeaderKey) -> Result<u64, Status> {
    u64::try_from(leader.rev).ok().filter(|revision| *revision > 0).ok_or_else(not_leader)
}

/// Changes what the leader says, as long as it leads. Returns the newest revision.
async fn proclaim(
    visitor: &Visitor,
    (key, since, lease): (Bytes, u64, i64),
    value: Bytes,
) -> Result<u64, Status> {
    let same = Compare::create_revision(key.clone(), CompareResult::Equal, since);
    let put = PutRequest::new(key, value).lease(lease);
    let answer = visitor.api.txn(&visitor.caller, Txn::new().when(same).then(Op::Put(put))).await?;
    if answer.succeeded { Ok(answer.revision) } else { Err(not_leader()) }
}

/// A candidate who stands in the line already may have something else to say now.
async fn take_back(visitor: &Visitor, place: &Place, value: Bytes) -> Result<(), Status> {
    if place.found.as_ref().is_none_or(|found| *found == value) {
        return Ok(());
    }
    let at = (place.key.clone(), place.since, place.lease);
    proclaim(visitor, at, value).await.map(drop)
}

impl ElectionService {
    async fn stand(&self, request: Request<CampaignRequest>) -> Answer<CampaignResponse> {
        let visitor = Visitor::of(&self.0, &request)?;
        let CampaignRequest { name, lease, value } = request.into_inner();
        let place = visitor.enter(&name, lease, value.clone()).await?;
        take_back(&visitor, &place, value).await?;
        visitor.wait(&place).await?;
        let leader =
            LeaderKey { name, key: place.key, rev: place.since.cast_signed(), lease: place.lease };
        let header = self.0.header(place.revision);
        Ok(Response::new(CampaignResponse { header, leader: Some(leader) }))
    }

    async fn say(&self, request: Request<ProclaimRequest>) -> Answer<ProclaimResponse> {
        let visitor = Visitor::of(&self.0, &request)?;
        let ProclaimRequest { leader, value } = request.into_inner();
        let leader = leader_of(leader)?;
        let at = (leader.key.clone(), revision_of(&leader)?, leader.lease);
        let revision = proclaim(&visitor, at, value).await?;
        Ok(Response::new(ProclaimResponse { header: self.0.header(revision) }))
    }

    async fn who_leads(&self, request: Request<LeaderRequest>) -> Answer<LeaderResponse> {
        let visitor = Visitor::of(&self.0, &request)?;
        let line = line_of(&request.into_inner().name);
        let found = first_in(&visitor, &line).await?;
        let Some(kv) = found.kvs.into_iter().next() else {
            return Err(Status::unknown("election: no leader"));
        };
        let header = self.0.header(found.revision);
        Ok(Response::new(LeaderResponse { header, kv: Some(KeyValue::Stored(kv)) }))
    }

    fn follow(&self, request: Request<LeaderRequest>) -> Result<Observer, Status> {
        let visitor = Visitor::of(&self.0, &request)?;
        Ok(Observer::new(visitor, line_of(&request.into_inner().name)))
    }

    /// Who leads no longer has resigned already.
    async fn step_down(&self, request: Request<ResignRequest>) -> Answer<ResignResponse> {
        let visitor = Visitor::of(&self.0, &request)?;
        let leader = leader_of(request.into_inner().leader)?;
        let since = revision_of(&leader)?;
        let revision = visitor.leave(leader.key, since).await?;
        Ok(Response::new(ResignResponse { header: self.0.header(revision) }))
    }
}

#[async_trait]
impl Election for ElectionService {
    async fn campaign(&self, request: Request<CampaignRequest>) -> Answer<CampaignResponse> {
        self.stand(request).await.map_err(|status| uncoded(&status))
    }

    async fn proclaim(&self, request: Request<ProclaimRequest>) -> Answer<ProclaimResponse> {
        self.say(request).await.map_err(|status| uncoded(&status))
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Answer<LeaderResponse> {
        self.who_leads(request).await.map_err(|status| uncoded(&status))
    }

    type ObserveStream = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

    async fn observe(&self, request: Request<LeaderRequest>) -> Answer<Self::ObserveStream> {
        let observer = self.follow(request).map_err(|status| uncoded(&status))?;
        let leaders = until_stopped(observer.leaders(), self.0.stop.clone());
        Ok(Response::new(Box::pin(leaders.map_err(|status| uncoded(&status)))))
    }

    async fn resign(&self, request: Request<ResignRequest>) -> Answer<ResignResponse> {
        self.step_down(request).await.map_err(|status| uncoded(&status))
    }
}
