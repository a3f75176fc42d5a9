//! The algorithm, free of IO: keys, requests, transactions, the multi-version state, records.

mod at_revision;
pub(crate) mod checkpoint;
mod chunks;
mod classes;
mod durations;
mod entry;
mod hash_kv;
mod interest;
mod key_range;
mod lease;
#[cfg(feature = "ledger")]
mod ledger;
mod log;
mod mvcc;
mod past;
mod pins;
mod property;
mod query;
mod quota;
mod record;
mod request;
mod retained;
mod txn;
mod txn_check;
mod txn_overlap;
mod txn_tree;
mod value;

#[doc(hidden)]
pub use checkpoint::fuzz_checkpoint;
pub use chunks::{RangeChunk, RangeSummary};
pub use durations::Durations;
pub use hash_kv::KvHash;
#[cfg(feature = "etcd-server")]
pub(crate) use key_range::End;
pub use key_range::KeyRange;
pub use lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseListResponse,
    LeaseTimeToLiveResponse,
};
pub use property::PropertyChange;
pub use record::{Mutation, Record};
pub use request::{
    Compare, CompareResult, CompareTarget, DeleteRequest, DeleteResponse, Op, OpResponse,
    PutRequest, PutResponse, RangeRequest, RangeResponse, Sort, SortOrder, SortTarget, Txn,
    TxnResponse,
};
pub use value::{Event, EventKind, KeyValue, Meta};

pub(crate) use chunks::Chunks;
#[cfg(feature = "etcd-store")]
pub(crate) use chunks::{KEY_OVERHEAD, check_streamable};
pub(crate) use classes::Classes;
pub(crate) use durations::DurationRecorder;
pub(crate) use hash_kv::KvHasher;
pub(crate) use interest::{Interest, Ranged, Span};
#[cfg(feature = "etcd-server")]
pub(crate) use lease::MAX_TTL_SECS;
pub(crate) use lease::{Deadlines, Fired, Wheel, grant, lease_id, revoke};
#[cfg(feature = "ledger")]
pub(crate) use ledger::{Ledger, leaf_hash};
pub(crate) use log::Logged;
pub(crate) use mvcc::{LEASE_BYTES, State};
pub(crate) use quota::cost;
pub(crate) use txn::evaluate;
pub(crate) use txn_check::{
    RequestLimits, check_delete, check_put, check_range, check_txn, txn_bytes,
};
#[cfg(feature = "etcd-server")]
pub(crate) use txn_overlap::check_overlap;
