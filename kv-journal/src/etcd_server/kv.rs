//! Keys: reads, writes, transactions, compaction.

use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use futures_util::StreamExt;
use tonic::codegen::async_trait;
use tonic::{Request, Response, Status};

use super::api::{Answer, Api};
use super::in_line::move_out;
use super::status::{COMPACTED, DUPLICATE_KEY};
use crate::config::ChunkLimits;
use crate::core::{self, Op, RangeChunk, SortOrder, SortTarget, Txn, check_overlap};
use crate::etcd_api::etcdserverpb::kv_server::Kv;
use crate::etcd_api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, TxnRequest, TxnResponse,
};
use crate::etcd_api::stored::KeyValue;
use crate::etcd_api::{
    delete_request, delete_response, put_request, put_response, range_request, range_response,
    signed, txn_request, txn_response,
};
use crate::kv_store::Consistency;

#[derive(Debug, Clone)]
pub(super) struct KvService(pub(super) Arc<Api>);

#[async_trait]
impl Kv for KvService {
    async fn range(&self, request: Request<RangeRequest>) -> Answer<RangeResponse> {
        let api = &*self.0;
        let caller = api.caller(&request);
        let request = request.into_inner();
        let consistency = consistency(request.serializable);
        let request = range_request(request)?;
        if may_take_long(&request) {
            move_out().await;
        }
        let answer = api.range(&caller?, request, consistency).await?;
        Ok(Response::new(range_response(api.identity(), answer)))
    }

    type RangeStreamStream =
        Pin<Box<dyn Stream<Item = Result<RangeStreamResponse, Status>> + Send>>;

    async fn range_stream(
        &self,
        request: Request<RangeRequest>,
    ) -> Answer<Self::RangeStreamStream> {
        let api = Arc::clone(&self.0);
        let caller = api.caller(&request);
        let request = request.into_inner();
        let consistency = consistency(request.serializable);
        let request = range_request(request)?;
        if request.sort.order == SortOrder::Descending || request.sort.target != SortTarget::Key {
            return Err(Status::unimplemented("RangeStream does not support custom sort orders"));
        }
        if request.filters() {
            return Err(Status::unimplemented("RangeStream does not support revision filters"));
        }
        move_out().await;
        api.check_read()?;
        api.auth.check_read(&caller?, &request.range)?;
        api.metrics.ranges.add(1);
        let chunks = api.store.range_stream(request, consistency, ChunkLimits::default()).await;
        let chunks = chunks.map_err(|error| api.refused(&error))?;
        let answers = chunks.map(move |chunk| match chunk {
            Ok(chunk) => Ok(range_chunk(&api, chunk)),
            Err(error) => Err(api.refused(&error)),
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn put(&self, request: Request<PutRequest>) -> Answer<PutResponse> {
        let api = &*self.0;
        let caller = api.caller(&request);
        let request = request.into_inner();
        api.check_write(&request)?;
        let request = put_request(request)?;
        let answer = api.put(&caller?, request).await?;
        Ok(Response::new(put_response(api.identity(), answer)))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Answer<DeleteRangeResponse> {
        let api = &*self.0;
        let caller = api.caller(&request);
        let request = request.into_inner();
        api.check_write(&request)?;
        let request = delete_request(request)?;
        let answer = api.delete_range(&caller?, request).await?;
        Ok(Response::new(delete_response(api.identity(), answer)))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Answer<TxnResponse> {
        let api = &*self.0;
        let caller = api.caller(&request);
        let request = request.into_inner();
        let too_large = api.check_write(&request);
        let txn = txn_request(request, api.config.max_txn_ops)?;
        check_overlap(&txn).map_err(|_| DUPLICATE_KEY)?;
        if !only_reads(&txn) {
            too_large?;
        }
        let answer = api.txn(&caller?, txn).await?;
        Ok(Response::new(txn_response(api.identity(), answer)))
    }

    async fn compact(&self, request: Request<CompactionRequest>) -> Answer<CompactionResponse> {
        let api = &*self.0;
        // As in etcd, whoever is known may, and who shows nothing.
        api.caller(&request)?;
        let request = request.into_inner();
        api.check_write(&request)?;
        let revision = u64::try_from(request.revision).map_err(|_| COMPACTED)?;
        let newest = api.store.compact(revision).await.map_err(|error| api.refused(&error))?;
        Ok(Response::new(CompactionResponse { header: api.header(newest) }))
    }
}

/// Whether an answer may have so many keys that others should not wait for it.
fn may_take_long(request: &core::RangeRequest) -> bool {
    /// They take some hundred microseconds.
    const KEYS: usize = 500;
    let bounded = (1..=KEYS).contains(&request.limit);
    request.range.as_key().is_none() && !request.count_only && !bounded
}

fn consistency(serializable: bool) -> Consistency {
    if serializable { Consistency::Serializable } else { Consistency::Linearizable }
}

/// Header, count and whether there is more are told with the last chunk.
fn range_chunk(api: &Api, chunk: RangeChunk) -> RangeStreamResponse {
    let kvs = chunk.kvs.into_iter().map(KeyValue::Stored).collect();
    let mut response = RangeResponse { kvs, ..RangeResponse::default() };
    if let Some(summary) = chunk.summary {
        response.header = api.header(summary.revision);
        response.more = summary.more;
        response.count = signed(summary.count);
    }
    RangeStreamResponse { range_response: Some(response) }
}

/// Whether it can be answered without a write. One that holds another counts as a write, as in etcd.
fn only_reads(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| matches!(op, Op::Range(_)))
}
