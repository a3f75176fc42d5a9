//! The algorithms, free of IO: time, seeds and bytes are arguments.
//!
//! Everything here reads bytes from outside, so indexing is denied, tests apart.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub(crate) mod cache;
pub(crate) mod hash;
pub mod wire;
pub(crate) mod zone;
