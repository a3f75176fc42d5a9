//! Consolidation: what goes, what stays, and why.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panic"
)]

mod constraints;
mod corruption;
mod forced;
mod generated;
mod groups;
mod rights;
mod savings;
mod world;
