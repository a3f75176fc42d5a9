//! The frames that say in which order events happened within a revision.
//!
//! ```text
//! for each event, in its order:  revision u64 | deleted u8 (0 or 1) | key length u32 | key
//! ```
//!
//! A revision is listed whole or not at all. The compact revision is listed always, since its
//! deletes have no version; any other only if its events are not in the order of their keys.
#![deny(clippy::indexing_slicing)]

use bytes::{BufMut, Bytes};

use super::damaged;
use super::header::{bytes_of, put_bytes, u8_of, u64_of};
use crate::core::value::KeyValue;
use crate::error::Result;

/// One event, by name.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(super) revision: u64,
    pub(super) deleted: bool,
    pub(super) key: Bytes,
}

pub(super) fn encode(out: &mut Vec<u8>, change: &KeyValue) {
    out.put_u64_le(change.mod_revision());
    out.put_u8(u8::from(change.is_delete()));
    put_bytes(out, change.key());
}

/// # Errors
/// `Corrupt` if these are no events.
pub(super) fn decode(mut input: &[u8]) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    while !input.is_empty() {
        let revision = u64_of(&mut input)?;
        let deleted = match u8_of(&mut input)? {
            0 => false,
            1 => true,
            _ => return Err(damaged("an unknown event")),
        };
        listed.push(Listed { revision, deleted, key: bytes_of(&mut input)? });
    }
    Ok(listed)
}
