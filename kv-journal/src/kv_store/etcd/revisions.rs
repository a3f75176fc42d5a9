//! The revisions that a refusal does not tell.

use futures_util::{StreamExt, stream};
use tonic::{Request, Response, Status};

use super::calls::Calls;
use super::failure::Effect;
use crate::core::{KeyRange, RangeRequest};
use crate::error::{Error, ErrorKind};
use crate::etcd_api::etcdserverpb::kv_client::KvClient;
use crate::etcd_api::etcdserverpb::watch_client::WatchClient;
use crate::etcd_api::etcdserverpb::watch_request::RequestUnion;
use crate::etcd_api::etcdserverpb::{WatchCreateRequest, WatchProgressRequest, WatchRequest};
use crate::etcd_api::{Channel, key_and_end, range_message, revision_of, unsigned};
use crate::kv_store::Consistency;

impl Calls {
    /// The same error with the revision that it is about. `range` is one that the caller may read;
    /// what was compacted is surely not readable below `at_least`.
    pub(super) async fn explained(&self, error: Error, range: &KeyRange, at_least: u64) -> Error {
        let kind = match error.kind() {
            ErrorKind::Compacted { .. } => {
                let found = self.compact_revision(range).await.unwrap_or(0);
                ErrorKind::Compacted { compact_revision: found.max(at_least) }
            }
            ErrorKind::FutureRevision { .. } => {
                let current_revision = self.current_revision(range).await;
                ErrorKind::FutureRevision { current_revision }
            }
            _ => return error,
        };
        error.of_kind(kind)
    }

    /// A watcher that wants everything is told what there no longer is.
    async fn compact_revision(&self, range: &KeyRange) -> Option<u64> {
        let (key, range_end) = key_and_end(range);
        let create = WatchCreateRequest { key, range_end, start_revision: 1, ..Default::default() };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let told = self.attempt(Effect::Reads, create, first_refusal).await;
        told.ok().map(unsigned)
    }

    async fn current_revision(&self, range: &KeyRange) -> u64 {
        let count = range_message(
            &RangeRequest::new(range.clone()).count_only(),
            Consistency::Linearizable,
        );
        let call = |channel, request| async { KvClient::new(channel).range(request).await };
        let counted = self.call(Effect::Reads, count, call).await;
        self.saw(counted.map_or(0, |counted| revision_of(counted.header.as_ref())))
    }
}

/// The compact revision with which a watcher is refused.
async fn first_refusal(
    channel: Channel,
    request: Request<WatchRequest>,
) -> Result<Response<i64>, Status> {
    // If nothing was compacted, this is what is answered.
    let progress = Some(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    let progress = WatchRequest { request_union: progress };
    // The stream of requests stays open: a server may end a watch whose client has gone.
    let request = request.map(|create| stream::iter([create, progress]).chain(stream::pending()));
    let mut told = WatchClient::new(channel).watch(request).await?.into_inner();
    while let Some(message) = told.message().await? {
        if message.canceled {
            return Ok(Response::new(message.compact_revision));
        }
        if !message.created {
            break;
        }
    }
    Err(Status::not_found("nothing was compacted"))
}
