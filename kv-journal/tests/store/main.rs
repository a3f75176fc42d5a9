//! What a store promises, one scenario each.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests spawn and unwrap")]

mod barrier;
mod compaction;
#[path = "../harness/mod.rs"]
mod harness;
mod keys;
mod leases;
mod lifecycle;
mod ranges;
mod txns;
mod watch_streams;
mod watches;
