//! Seeded workloads, shared by the benches: the same seed gives the same bytes on every machine.
#![forbid(unsafe_code)]

pub mod binpack;
pub mod cow_tree;
pub mod dns_cache;
pub mod etcd;
pub mod http2;
pub mod kv_journal;
pub mod lazy_blob;
pub mod load;
pub mod process;
pub mod report;
pub mod settings;
pub mod watch_cache;

/// The seed of every workload.
pub const SEED: u64 = 42;
