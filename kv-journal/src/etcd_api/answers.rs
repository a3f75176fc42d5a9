//! Messages as the store's answers: what `responses.rs` has written.

use prost::Message;

use super::etcdserverpb as pb;
use super::etcdserverpb::ResponseHeader;
use super::etcdserverpb::response_op::Response;
use super::numbers::unsigned;
use super::stored::KeyValue;
use crate::core::{self, DeleteResponse, OpResponse, PutResponse, RangeResponse, TxnResponse};
use crate::error::{Error, ErrorKind, Result};

/// A server that says what it cannot say.
fn nothing_said(of: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the server's answer has no {of}: is it an etcd?"))
}

/// 0 if it says none.
pub(crate) fn revision_of(header: Option<&ResponseHeader>) -> u64 {
    header.map_or(0, |header| unsigned(header.revision))
}

/// Inside a transaction not every answer says its revision: that is then the transaction's.
fn revision_within(header: Option<&ResponseHeader>, outer: u64) -> u64 {
    match revision_of(header) {
        0 => outer,
        own => own,
    }
}

pub(crate) fn range_answer(from: pb::RangeResponse, outer: u64) -> RangeResponse {
    RangeResponse {
        revision: revision_within(from.header.as_ref(), outer),
        kvs: key_values(from.kvs),
        more: from.more,
        count: unsigned(from.count),
    }
}

pub(crate) fn put_answer(from: pb::PutResponse, outer: u64) -> PutResponse {
    PutResponse {
        revision: revision_within(from.header.as_ref(), outer),
        prev_kv: from.prev_kv.map(Into::into),
    }
}

pub(crate) fn delete_answer(from: pb::DeleteRangeResponse, outer: u64) -> DeleteResponse {
    DeleteResponse {
        revision: revision_within(from.header.as_ref(), outer),
        deleted: unsigned(from.deleted),
        prev_kvs: key_values(from.prev_kvs),
    }
}

/// `depth` is how deep what was asked may have been nested.
pub(crate) fn txn_answer(from: pb::TxnResponse, outer: u64, depth: usize) -> Result<TxnResponse> {
    let revision = revision_within(from.header.as_ref(), outer);
    let answers = from.responses.into_iter().map(|answer| op_answer(answer, revision, depth));
    Ok(TxnResponse {
        revision,
        succeeded: from.succeeded,
        responses: answers.collect::<Result<_>>()?,
    })
}

fn op_answer(from: pb::ResponseOp, outer: u64, depth: usize) -> Result<OpResponse> {
    Ok(match from.response.ok_or_else(|| nothing_said("operation"))? {
        Response::ResponseRange(range) => OpResponse::Range(range_answer(range, outer)),
        Response::ResponsePut(put) => OpResponse::Put(put_answer(put, outer)),
        Response::ResponseDeleteRange(delete) => OpResponse::Delete(delete_answer(delete, outer)),
        Response::ResponseTxn(nested) => {
            let depth = depth.checked_sub(1).ok_or_else(|| nothing_said("end"))?;
            let nested = pb::TxnResponse::decode(nested).map_err(|error| {
                let message = "the server's answer to a nested transaction is not a message";
                Error::new(ErrorKind::Corrupt, message).with_source(error)
            })?;
            OpResponse::Txn(txn_answer(nested, outer, depth)?)
        }
    })
}

fn key_values(kvs: Vec<KeyValue>) -> Vec<core::KeyValue> {
    kvs.into_iter().map(Into::into).collect()
}
