//! The frames that hold the properties.
//!
//! ```text
//! for each, in the order of the names:  name length u32 | name | value length u32 | value
//! ```
#![deny(clippy::indexing_slicing)]

use bytes::Bytes;

use super::damaged;
use super::header::{bytes_of, put_bytes};
use crate::core::property::{Properties, PropertyChange};
use crate::error::Result;

pub(super) fn encode(out: &mut Vec<u8>, name: &Bytes, value: &Bytes) {
    put_bytes(out, name);
    put_bytes(out, value);
}

/// # Errors
/// `Corrupt` if these are no properties.
pub(super) fn decode(mut input: &[u8]) -> Result<Vec<PropertyChange>> {
    let mut properties = Vec::new();
    while !input.is_empty() {
        properties.push(PropertyChange::set(bytes_of(&mut input)?, bytes_of(&mut input)?));
    }
    Ok(properties)
}

/// # Errors
/// `Corrupt` if they are out of order.
pub(super) fn build(properties: &[PropertyChange]) -> Result<Properties> {
    if !properties.is_sorted_by(|a, b| a.name < b.name) {
        return Err(damaged("properties out of order"));
    }
    let mut built = Properties::default();
    for property in properties {
        built.apply(property);
    }
    Ok(built)
}
