//! The OPT pseudo-record of EDNS (RFC 6891).

use super::message::Record;
use super::{malformed, u16_at};
use crate::error::Result;

/// What one hop says about itself. Options are checked for shape and otherwise ignored, since
/// they belong to their hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// The greatest UDP payload that the sender takes, in bytes.
    pub payload_bytes: u16,
    /// The version; 0 is the only one.
    pub version: u8,
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// DO: DNSSEC records are welcome (RFC 3225).
    pub dnssec_ok: bool,
}

impl Edns {
    /// The size of an OPT record without options, in bytes.
    pub(crate) const BYTES: usize = 11;

    pub(super) fn read(record: &Record<'_>) -> Result<Self> {
        if record.owner_bytes() != 1 {
            return Err(malformed("an OPT record belongs to the root"));
        }
        check_options(record.rdata())?;
        let [extended_rcode, version, flags, _] = record.ttl.to_be_bytes();
        Ok(Self {
            payload_bytes: record.class.0,
            version,
            extended_rcode,
            dnssec_ok: flags & 0x80 != 0,
        })
    }

    /// Reads `rest` if it is one OPT record and nothing else, as at the end of nearly every query.
    pub(super) fn read_alone(rest: &[u8]) -> Option<Self> {
        let [0, 0, 41, high, low, extended_rcode, version, flags, _, len @ ..] = rest else {
            return None;
        };
        let (len, options) = len.split_first_chunk()?;
        if options.len() != usize::from(u16::from_be_bytes(*len)) || check_options(options).is_err()
        {
            return None;
        }
        Some(Self {
            payload_bytes: u16::from_be_bytes([*high, *low]),
            version: *version,
            extended_rcode: *extended_rcode,
            dnssec_ok: flags & 0x80 != 0,
        })
    }

    /// The record as it goes on the wire.
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let [high, low] = self.payload_bytes.to_be_bytes();
        let flags = if self.dnssec_ok { 0x80 } else { 0 };
        [0, 0, 41, high, low, self.extended_rcode, self.version, flags, 0, 0, 0]
    }
}

fn check_options(mut rest: &[u8]) -> Result<()> {
    while !rest.is_empty() {
        let len = u16_at(rest, 2).map(usize::from);
        rest = len
            .and_then(|len| rest.get(4 + len..))
            .ok_or_else(|| malformed("an EDNS option is longer than its record"))?;
    }
    Ok(())
}
