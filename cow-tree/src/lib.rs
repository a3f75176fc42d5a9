//! Crate.
#![forbid(unsafe_code)]
