//! Requests and answers as etcd's JSON gateway writes them.

use kv_journal::{
    Compare, CompareResult, CompareTarget, DeleteRequest, DeleteResponse, KeyRange, KeyValue, Op,
    OpResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, SortOrder, SortTarget, Txn,
    TxnResponse,
};
use serde_json::{Map, Value, json};

pub(crate) fn range(request: &RangeRequest) -> Value {
    let mut fields = keys(&request.range);
    fields.extend(object(json!({
        "revision": request.revision,
        "limit": request.limit,
        "sort_order": sort_order(request.sort.order),
        "sort_target": sort_target(request.sort.target),
        "keys_only": request.keys_only,
        "count_only": request.count_only,
        "min_mod_revision": request.min_mod_revision,
        "max_mod_revision": request.max_mod_revision,
        "min_create_revision": request.min_create_revision,
        "max_create_revision": request.max_create_revision,
    })));
    Value::Object(fields)
}

pub(crate) fn put(request: &PutRequest) -> Value {
    json!({
        "key": base64(&request.key),
        "value": base64(&request.value),
        "ignore_value": request.ignore_value,
        "ignore_lease": request.ignore_lease,
        "prev_kv": request.prev_kv,
    })
}

pub(crate) fn delete(request: &DeleteRequest) -> Value {
    let mut fields = keys(&request.range);
    fields.insert("prev_kv".into(), request.prev_kv.into());
    Value::Object(fields)
}

pub(crate) fn txn(request: &Txn) -> Value {
    json!({
        "compare": request.compares.iter().map(compare).collect::<Vec<_>>(),
        "success": request.success.iter().map(op).collect::<Vec<_>>(),
        "failure": request.failure.iter().map(op).collect::<Vec<_>>(),
    })
}

fn op(op: &Op) -> Value {
    match op {
        Op::Range(request) => json!({ "request_range": range(request) }),
        Op::Put(request) => json!({ "request_put": put(request) }),
        Op::Delete(request) => json!({ "request_delete_range": delete(request) }),
        Op::Txn(request) => json!({ "request_txn": txn(request) }),
        other => panic!("{other:?}"),
    }
}

fn compare(compare: &Compare) -> Value {
    let mut fields = keys(&compare.range);
    let (target, field, value) = match &compare.target {
        CompareTarget::Version(version) => ("VERSION", "version", json!(version)),
        CompareTarget::CreateRevision(at) => ("CREATE", "create_revision", json!(at)),
        CompareTarget::ModRevision(at) => ("MOD", "mod_revision", json!(at)),
        CompareTarget::Value(value) => ("VALUE", "value", base64(value)),
        CompareTarget::Lease(lease) => ("LEASE", "lease", json!(lease)),
    };
    let result = match compare.result {
        CompareResult::Equal => "EQUAL",
        CompareResult::Greater => "GREATER",
        CompareResult::Less => "LESS",
        CompareResult::NotEqual => "NOT_EQUAL",
    };
    fields.extend(object(json!({ "target": target, "result": result, (field): value })));
    Value::Object(fields)
}

/// A range without an end, and the empty key as a start, are both a zero byte there.
fn keys(range: &KeyRange) -> Map<String, Value> {
    if let Some(key) = range.as_key() {
        return object(json!({ "key": base64(key) }));
    }
    let start = if range.start().is_empty() { &b"\0"[..] } else { range.start() };
    let end = range.end_key().map_or(&b"\0"[..], |end| end);
    object(json!({ "key": base64(start), "range_end": base64(end) }))
}

fn sort_order(order: SortOrder) -> &'static str {
    match order {
        SortOrder::None => "NONE",
        SortOrder::Ascending => "ASCEND",
        SortOrder::Descending => "DESCEND",
    }
}

fn sort_target(target: SortTarget) -> &'static str {
    match target {
        SortTarget::Key => "KEY",
        SortTarget::Version => "VERSION",
        SortTarget::CreateRevision => "CREATE",
        SortTarget::ModRevision => "MOD",
        SortTarget::Value => "VALUE",
    }
}

pub(crate) fn range_answer(answer: &RangeResponse) -> Value {
    message(json!({
        "header": header(answer.revision),
        "kvs": answer.kvs.iter().map(key_value).collect::<Vec<_>>(),
        "more": answer.more,
        "count": number(answer.count),
    }))
}

pub(crate) fn put_answer(answer: &PutResponse) -> Value {
    message(json!({
        "header": header(answer.revision),
        "prev_kv": answer.prev_kv.as_ref().map(key_value),
    }))
}

pub(crate) fn delete_answer(answer: &DeleteResponse) -> Value {
    message(json!({
        "header": header(answer.revision),
        "deleted": number(answer.deleted),
        "prev_kvs": answer.prev_kvs.iter().map(key_value).collect::<Vec<_>>(),
    }))
}

pub(crate) fn txn_answer(answer: &TxnResponse) -> Value {
    message(json!({
        "header": header(answer.revision),
        "succeeded": answer.succeeded,
        "responses": answer.responses.iter().map(op_answer).collect::<Vec<_>>(),
    }))
}

fn op_answer(answer: &OpResponse) -> Value {
    match answer {
        OpResponse::Range(answer) => json!({ "response_range": range_answer(answer) }),
        OpResponse::Put(answer) => json!({ "response_put": put_answer(answer) }),
        OpResponse::Delete(answer) => json!({ "response_delete_range": delete_answer(answer) }),
        OpResponse::Txn(answer) => {
            let mut nested = object(txn_answer(answer));
            nested.remove("header"); // etcd leaves it empty
            json!({ "response_txn": nested })
        }
        other => panic!("{other:?}"),
    }
}

fn key_value(kv: &KeyValue) -> Value {
    message(json!({
        "key": base64(kv.key()),
        "value": base64(kv.value()),
        "create_revision": number(kv.create_revision()),
        "mod_revision": number(kv.mod_revision()),
        "version": number(kv.version()),
        "lease": number(kv.lease().cast_unsigned()),
    }))
}

fn header(revision: u64) -> Value {
    json!({ "revision": number(revision) })
}

/// 64 bits are text in protobuf's JSON.
fn number(number: u64) -> Value {
    number.to_string().into()
}

/// The same answer without what only etcd has: the numbers of its cluster in every header.
pub(crate) fn plain(answer: Value) -> Value {
    match answer {
        Value::Object(fields) => {
            let mut plain = Map::new();
            for (name, mut value) in fields {
                if name == "header" {
                    value.as_object_mut().unwrap().retain(|field, _| field == "revision");
                }
                plain.insert(name, self::plain(value));
            }
            plain.retain(|name, header| name != "header" || *header != json!({}));
            Value::Object(plain)
        }
        Value::Array(values) => values.into_iter().map(plain).collect(),
        other => other,
    }
}

/// Fields that have their default are not there.
fn message(fields: Value) -> Value {
    let mut fields = object(fields);
    let defaults = [json!(""), json!("0"), json!([]), json!(false), Value::Null];
    fields.retain(|_, value| !defaults.contains(value));
    Value::Object(fields)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => panic!("{other}"),
    }
}

fn base64(bytes: &[u8]) -> Value {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { digit.into() } else { '=' });
        }
    }
    text.into()
}
