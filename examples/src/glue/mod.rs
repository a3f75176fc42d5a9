//! What joins two crates: newtypes that implement one crate's port with another crate's handle.

mod cache_records;
mod store_cluster;
mod store_source;

pub use cache_records::CacheRecords;
pub use store_cluster::StoreCluster;
pub use store_source::StoreSource;
