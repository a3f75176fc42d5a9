//! The frames that say which leases there are.
//!
//! ```text
//! for each lease, in the order of the ids:  id i64 | granted time in seconds u64
//! ```
//!
//! What is attached to them follows from the live keys. When they run out is nobody's state: a
//! store that opens gives each its full time.
#![deny(clippy::indexing_slicing)]

use bytes::{BufMut, Bytes};

use super::damaged;
use super::header::u64_of;
use crate::core::lease::LeaseSet;
use crate::error::Result;

/// An id, and the granted time in seconds.
pub(super) type Granted = (i64, u64);

pub(super) fn encode(out: &mut Vec<u8>, (id, ttl_secs): Granted) {
    out.put_i64_le(id);
    out.put_u64_le(ttl_secs);
}

/// # Errors
/// `Corrupt` if these are no leases.
pub(super) fn decode(mut input: &[u8]) -> Result<Vec<Granted>> {
    let mut leases = Vec::with_capacity(input.len() / 16);
    while !input.is_empty() {
        leases.push((u64_of(&mut input)?.cast_signed(), u64_of(&mut input)?));
    }
    Ok(leases)
}

/// The leases with the keys that are `attached` to them.
///
/// # Errors
/// `Corrupt` if they are out of order, or a key names one that is not there.
pub(super) fn build(leases: Vec<Granted>, attached: Vec<(i64, Bytes)>) -> Result<LeaseSet> {
    if leases.iter().any(|(id, _)| *id == 0) || !leases.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Err(damaged("leases out of order"));
    }
    LeaseSet::from_parts(leases, attached).ok_or_else(|| damaged("a key without its lease"))
}
