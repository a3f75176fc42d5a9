//! What the examples share: objects, a client, and the glue that joins two crates each.
#![forbid(unsafe_code)]

pub mod client;
pub mod cluster_view;
pub mod fail;
pub mod glue;
pub mod latency;
pub mod manifest;
pub mod objects;
