//! kube-rs's client, watcher and reflector against the example `api-server`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod kube_api;
mod lists;
mod objects;
mod provision;
mod reflect;
mod server;
mod source;
mod watches;
