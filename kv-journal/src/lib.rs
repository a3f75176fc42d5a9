//! An embeddable key-value store with etcd v3 semantics over a pluggable, ordered, durable journal.
//!
//! The state lives in memory, with every revision until it is compacted. Durability and order come
//! from a [`Journal`]: a directory of files ([`FileJournal`]), memory ([`MemoryJournal`]), or
//! whatever implements the port. A [`Store`] is opened on a journal and gives a cloneable handle
//! and a [`Driver`] for the caller to spawn.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> kv_journal::Result<()> {
//! use std::sync::Arc;
//! use kv_journal::{Compare, CompareResult, Config, KeyRange, MemoryJournal, Op, Store, Txn};
//!
//! let (store, driver) = Store::open(Arc::new(MemoryJournal::new()), Config::default()).await?;
//! tokio::spawn(driver);
//!
//! // Create a key unless it exists.
//! let create = Txn::new()
//!     .when(Compare::mod_revision("leader", CompareResult::Equal, 0))
//!     .then(Op::put("leader", "me"));
//! assert!(store.txn(create.clone()).await?.succeeded);
//! assert!(!store.txn(create).await?.succeeded);
//!
//! let leaders = store.range(KeyRange::prefix("lead"))?;
//! assert_eq!(leaders.kvs[0].mod_revision(), 2);
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod checkpoint;
mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod core;
mod error;
#[cfg(feature = "etcd-api")]
pub mod etcd_api;
#[cfg(feature = "etcd-server")]
pub mod etcd_server;
mod journal;
mod kv_store;
#[cfg(feature = "conformance")]
pub mod linearizability;
#[cfg(feature = "conformance")]
pub mod oracle;
mod store;
#[cfg(feature = "ledger")]
pub mod verify;

#[doc(hidden)]
pub use crate::core::fuzz_checkpoint;
pub use crate::core::{
    Compare, CompareResult, CompareTarget, DeleteRequest, DeleteResponse, Durations, Event,
    EventKind, KeyRange, KeyValue, KvHash, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveResponse, LeaseListResponse, LeaseTimeToLiveResponse, Meta, Mutation, Op,
    OpResponse, PropertyChange, PutRequest, PutResponse, RangeChunk, RangeRequest, RangeResponse,
    RangeSummary, Record, Sort, SortOrder, SortTarget, Txn, TxnResponse,
};
pub use checkpoint::{
    CheckpointFault, CheckpointInfo, CheckpointStore, CheckpointWriter, FaultCheckpoints,
    FileCheckpoints, FileCheckpointsConfig, MemoryCheckpoints,
};
pub use config::{ChunkLimits, Config, DurabilityClass, Limit, PrefixClass, QuotaAlarm, WhenFull};
pub use error::{Error, ErrorKind, Result};
pub use journal::{
    CrashJournal, Entry, Fault, FaultJournal, FaultRates, FileConfig, FileJournal, Journal,
    MemoryJournal, OpenReport, ReadLimits, Tail, Throttle, ThrottleJournal, TornTail,
};
#[doc(hidden)]
pub use journal::{fuzz_frames, fuzz_segment};
pub use kv_store::{
    Consistency, KvStatus, KvStore, RangeChunks, SnapshotBytes, WatchDesk, WatchMessages, Watching,
};
#[cfg(feature = "etcd-store")]
pub use kv_store::{EtcdStore, EtcdStoreConfig};
pub use store::{
    Ack, Checkpoint, Components, DamagedCheckpoint, Driver, Export, Fork, RangeStream, Recovery,
    Snapshot, Stats, Store, WatchBatch, WatchDriver, WatchHandle, WatchMessage, WatchRequest,
    WatchStream, Watcher,
};
