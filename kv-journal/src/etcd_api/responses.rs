//! The store's answers as messages.

use prost::Message;

use super::etcdserverpb::{
    DeleteRangeResponse, PutResponse, RangeResponse, ResponseHeader, ResponseOp, TxnResponse,
    response_op::Response,
};
use super::numbers::signed;
use super::stored::KeyValue;
use crate::core::{self, OpResponse};

/// The header of a server at `revision`, from one that has its ids.
pub(crate) fn header(of: ResponseHeader, revision: u64) -> ResponseHeader {
    ResponseHeader { revision: signed(revision), ..of }
}

pub(crate) fn range_response(of: ResponseHeader, answer: core::RangeResponse) -> RangeResponse {
    RangeResponse {
        header: Some(header(of, answer.revision)),
        kvs: key_values(answer.kvs),
        more: answer.more,
        count: signed(answer.count),
    }
}

pub(crate) fn put_response(of: ResponseHeader, answer: core::PutResponse) -> PutResponse {
    PutResponse {
        header: Some(header(of, answer.revision)),
        prev_kv: answer.prev_kv.map(KeyValue::Stored),
    }
}

pub(crate) fn delete_response(
    of: ResponseHeader,
    answer: core::DeleteResponse,
) -> DeleteRangeResponse {
    DeleteRangeResponse {
        header: Some(header(of, answer.revision)),
        deleted: signed(answer.deleted),
        prev_kvs: key_values(answer.prev_kvs),
    }
}

pub(crate) fn txn_response(of: ResponseHeader, answer: core::TxnResponse) -> TxnResponse {
    let responses = answer.responses.into_iter().map(response_op).collect();
    TxnResponse {
        header: Some(header(of, answer.revision)),
        succeeded: answer.succeeded,
        responses,
    }
}

/// Inside a transaction a header says the revision alone, and of a nested transaction not even that.
fn response_op(answer: OpResponse) -> ResponseOp {
    let plain = ResponseHeader::default();
    let response = match answer {
        OpResponse::Range(range) => Response::ResponseRange(range_response(plain, range)),
        OpResponse::Put(put) => Response::ResponsePut(put_response(plain, put)),
        OpResponse::Delete(delete) => Response::ResponseDeleteRange(delete_response(plain, delete)),
        OpResponse::Txn(txn) => {
            let nested = TxnResponse {
                header: Some(plain),
                succeeded: txn.succeeded,
                responses: txn.responses.into_iter().map(response_op).collect(),
            };
            Response::ResponseTxn(nested.encode_to_vec().into())
        }
    };
    ResponseOp { response: Some(response) }
}

fn key_values(kvs: Vec<core::KeyValue>) -> Vec<KeyValue> {
    kvs.into_iter().map(KeyValue::Stored).collect()
}
