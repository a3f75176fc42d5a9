//! Messages of the etcd API of any bytes: what can be read is written, and read, as the same again.
#![no_main]

use std::fmt::Debug;

use kv_journal::etcd_api::etcdserverpb::{
    DeleteRangeResponse, PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
    WatchRequest,
};
use kv_journal::etcd_api::stored::{Event, KeyValue, WatchResponse};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fn again<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Option<M> {
    let first = M::decode(bytes).ok()?;
    let written = first.encode_to_vec();
    assert_eq!(written.len(), first.encoded_len());
    assert_eq!(M::decode(&*written).unwrap(), first);
    Some(first)
}

fuzz_target!(|bytes: &[u8]| {
    let _unreadable = (
        again::<RangeRequest>(bytes),
        again::<RangeResponse>(bytes),
        again::<PutResponse>(bytes),
        again::<DeleteRangeResponse>(bytes),
        again::<TxnRequest>(bytes),
        again::<TxnResponse>(bytes),
        again::<WatchRequest>(bytes),
        again::<WatchResponse>(bytes),
        again::<Event>(bytes),
    );
    if let Some(received) = again::<KeyValue>(bytes) {
        // As the store would have it.
        let stored = KeyValue::from(kv_journal::KeyValue::from(received.clone()));
        assert_eq!(stored, received);
        assert_eq!(KeyValue::decode(&*stored.encode_to_vec()).unwrap(), received);
    }
});
