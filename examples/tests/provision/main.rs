//! The provisioner's command line as a user runs it: files in, a plan out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

/// Checks that can't fail from outside are asked here with plans that are wrong.
#[path = "../../provision/check.rs"]
#[allow(dead_code, reason = "the program reads more of it than its tests")]
mod check;
mod checks;
mod flags;
mod interrupted;
mod manifests;
mod mistakes;
mod program;
mod traces;
mod xml;
