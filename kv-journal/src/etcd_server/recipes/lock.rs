//! Locks.

use std::sync::Arc;

use bytes::Bytes;
use tonic::codegen::async_trait;
use tonic::{Request, Response};

use super::line::Visitor;
use super::uncoded;
use crate::core::{DeleteRequest, KeyRange};
use crate::etcd_api::v3lockpb::lock_server::Lock;
use crate::etcd_api::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use crate::etcd_server::api::{Answer, Api};
use crate::etcd_server::status::EMPTY_KEY;

#[derive(Debug, Clone)]
pub(in crate::etcd_server) struct LockService(pub(in crate::etcd_server) Arc<Api>);

impl LockService {
    async fn take(&self, request: Request<LockRequest>) -> Answer<LockResponse> {
        let visitor = Visitor::of(&self.0, &request)?;
        let LockRequest { name, lease } = request.into_inner();
        let place = visitor.enter(&name, lease, Bytes::new()).await?;
        let revision = visitor.wait(&place).await?;
        Ok(Response::new(LockResponse { header: self.0.header(revision), key: place.key }))
    }

    async fn give_back(&self, request: Request<UnlockRequest>) -> Answer<UnlockResponse> {
        let caller = self.0.caller(&request)?;
        let key = request.into_inner().key;
        if key.is_empty() {
            return Err(EMPTY_KEY.into());
        }
        let delete = DeleteRequest::new(KeyRange::key(key));
        let answer = self.0.delete_range(&caller, delete).await?;
        Ok(Response::new(UnlockResponse { header: self.0.header(answer.revision) }))
    }
}

#[async_trait]
impl Lock for LockService {
    async fn lock(&self, request: Request<LockRequest>) -> Answer<LockResponse> {
        self.take(request).await.map_err(|status| uncoded(&status))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Answer<UnlockResponse> {
        self.give_back(request).await.map_err(|status| uncoded(&status))
    }
}
