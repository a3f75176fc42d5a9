//! A Kubernetes API as the cluster, against a server in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod contract;
mod failures;
mod faults;
mod launches;
mod objects;
mod random;
mod reading;
mod server;
