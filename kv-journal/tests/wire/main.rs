//! The server as its clients meet it: over the wire, beside a real etcd, with etcd's own tools.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test panics where something differs")]
#![allow(clippy::future_not_send, reason = "a test's futures stay on its thread")]

mod auth;
mod broken_stores;
mod cluster;
mod cuts;
mod differential;
#[path = "../drill/mod.rs"]
mod drill;
#[path = "../etcd/server.rs"]
mod etcd;
mod gateway;
mod kubernetes;
mod messages;
mod metrics;
mod peer;
mod permissions;
mod pings;
mod proxy;
mod recipes;
mod refusals;
mod shutdown;
mod stores;
