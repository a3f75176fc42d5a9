//! The source over a real etcd, and a cache over both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::future_not_send,
    reason = "a test fails by panicking, and runs on one thread"
)]

mod access;
mod cached;
mod contract;
mod proxy;
mod server;
