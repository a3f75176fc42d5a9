//! Record data by its type: one table of layouts serves checking, reading and copying.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::name::{Name, walk};
use super::types::RecordType;
use super::{malformed, u16_at, u32_at};
use crate::error::Result;

/// A piece of record data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// So many bytes.
    Bytes(usize),
    /// A length byte and so many bytes.
    Text,
    /// A domain name, which may arrive compressed.
    Name,
    /// Whatever is left.
    Rest,
}

/// The parts of a type's data. The types that may hold compressed names are those of RFC 1035
/// and of RFC 3597 section 4; all others are opaque.
pub(super) fn layout(rtype: RecordType) -> &'static [Part] {
    use Part::{Bytes, Name, Rest, Text};
    match rtype.0 {
        1 => &[Bytes(4)],
        2..=5 | 7..=9 | 12 | 39 => &[Name],
        6 => &[Name, Name, Bytes(20)],
        13 => &[Text, Text],
        14 | 17 => &[Name, Name],
        15 | 18 | 21 | 36 => &[Bytes(2), Name],
        16 => &[Text, Rest],
        24 => &[Bytes(18), Name, Rest],
        26 => &[Bytes(2), Name, Name],
        28 => &[Bytes(16)],
        30 => &[Name, Rest],
        33 => &[Bytes(6), Name],
        35 => &[Bytes(4), Text, Text, Text, Name],
        _ => &[Rest],
    }
}

/// Visits the parts of the data at `at..end` as (part, from, to).
pub(super) fn for_each_part(
    message: &[u8],
    at: usize,
    end: usize,
    rtype: RecordType,
    mut visit: impl FnMut(Part, usize, usize),
) -> Result<()> {
    let mut from = at;
    for &part in layout(rtype) {
        let to = match part {
            Part::Bytes(count) => from + count,
            Part::Text => from + 1 + usize::from(message.get(from).copied().unwrap_or(u8::MAX)),
            Part::Name => walk(message, from, |_| ())?,
            Part::Rest => end,
        };
        if to > end {
            return Err(malformed(format!("{rtype} data at byte {at}: longer than its record")));
        }
        visit(part, from, to);
        from = to;
    }
    if from == end {
        return Ok(());
    }
    Err(malformed(format!("{rtype} data at byte {at}: shorter than its record")))
}

pub(super) fn check(message: &[u8], at: usize, end: usize, rtype: RecordType) -> Result<()> {
    for_each_part(message, at, end, rtype, |_, _, _| ())?;
    if rtype == RecordType::TXT {
        check_texts(message.get(at..end).unwrap_or_default())
    } else {
        Ok(())
    }
}

fn check_texts(mut rest: &[u8]) -> Result<()> {
    while let Some((&len, behind)) = rest.split_first() {
        rest = behind
            .get(usize::from(len)..)
            .ok_or_else(|| malformed("a TXT string is longer than its record"))?;
    }
    Ok(())
}

/// A record's data, for the types that this crate reads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordData<'m> {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The name that the owner is an alias of.
    Cname(Name),
    /// The name that the owner points to.
    Ptr(Name),
    /// A service's location (RFC 2782).
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Share among equals.
        weight: u16,
        /// The port.
        port: u16,
        /// The host.
        target: Name,
    },
    /// The first string of a TXT record.
    Txt(&'m [u8]),
    /// The start of a zone.
    Soa {
        /// The primary server.
        mname: Name,
        /// The version of the zone.
        serial: u32,
        /// The time for which a negative answer holds, in seconds (RFC 2308).
        minimum: u32,
    },
    /// Any other type, as it stands in the message.
    Other(&'m [u8]),
}

/// Reads the data at `at..end`, or `None` if it does not follow its type.
pub(super) fn read(
    message: &[u8],
    at: usize,
    end: usize,
    rtype: RecordType,
) -> Option<RecordData<'_>> {
    let data = message.get(at..end)?;
    let name = |at| Name::read(message, at).ok().map(|(name, _)| name);
    Some(match rtype {
        RecordType::A => RecordData::A(Ipv4Addr::from(*data.first_chunk::<4>()?)),
        RecordType::AAAA => RecordData::Aaaa(Ipv6Addr::from(*data.first_chunk::<16>()?)),
        RecordType::CNAME => RecordData::Cname(name(at)?),
        RecordType::PTR => RecordData::Ptr(name(at)?),
        RecordType::TXT => RecordData::Txt(data.get(1..=usize::from(*data.first()?))?),
        RecordType::SRV => RecordData::Srv {
            priority: u16_at(data, 0)?,
            weight: u16_at(data, 2)?,
            port: u16_at(data, 4)?,
            target: name(at + 6)?,
        },
        RecordType::SOA => RecordData::Soa {
            mname: name(at)?,
            serial: u32_at(data, data.len().checked_sub(20)?)?,
            minimum: u32_at(data, data.len().checked_sub(4)?)?,
        },
        _ => RecordData::Other(data),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(rtype: RecordType, data: &[u8]) -> bool {
        check(data, 0, data.len(), rtype).is_ok()
    }

    #[test]
    fn layouts_are_exact() {
        assert!(checks(RecordType::A, &[1, 2, 3, 4]));
        assert!(!checks(RecordType::A, &[1, 2, 3, 4, 5]));
        assert!(checks(RecordType::MX, &[0, 10, 1, b'a', 0]));
        assert!(!checks(RecordType::MX, &[0, 10]));
        assert!(checks(RecordType::TXT, &[1, b'a', 0]));
        assert!(!checks(RecordType::TXT, &[1, b'a', 2, b'b']));
        assert!(!checks(RecordType::TXT, &[]));
        assert!(checks(RecordType(65_280), &[]), "an unknown type is opaque");
    }

    #[test]
    fn data_is_read_by_type() {
        let srv = [0, 1, 0, 2, 0, 80, 1, b'h', 0];
        let Some(RecordData::Srv { port, target, .. }) = read(&srv, 0, 9, RecordType::SRV) else {
            panic!("an SRV record");
        };
        assert_eq!((port, target.to_string().as_str()), (80, "h."));
        assert_eq!(read(b"\x02hi", 0, 3, RecordType::TXT), Some(RecordData::Txt(b"hi")));
    }
}
