//! The bytes of one journal record.
//!
//! All numbers are little-endian. A record is
//!
//! ```text
//! version u8 = 1 | kind u8 | revision u64
//! kind 1, a transaction:  count u32, then for each mutation
//!   tag u8 = 1, put:      lease i64 | key length u32 | value length u32 | key | value
//!   tag u8 = 2, delete:   deleted u64 | end u8 (0 single, 1 before, 2 open)
//!                         | start length u32 | end length u32 | start | end
//! kind 2, a compaction:   nothing more; the revision is the one compacted to
//! kind 3, a lease grant:  id i64 | ttl in seconds u64; the revision is the newest one
//! kind 4, a lease revoke: id i64 | deleted u64; the revision is the newest one after it
//! kind 5, properties:     count u32, then for each in its order
//!   tag u8 = 1 set, 2 removed | name length u32 | value length u32 | name | value
//!                         the revision is the newest one
//! kind 16, an import:     nothing more; the revision is that of the imported state
//! ```
//!
//! A delete is stored as its range and the number of keys that it hit, a revoke as its lease and
//! that number, so that a record is never larger than the request behind it; replaying it on the
//! same state deletes the same keys, and the number proves it. Checksums are the journal's business.
#![deny(clippy::indexing_slicing)]

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::key_range::{End, KeyRange};
use super::property::PropertyChange;
use crate::error::{Error, ErrorKind, Result};

const VERSION: u8 = 1;
const TRANSACTION: u8 = 1;
const COMPACTION: u8 = 2;
const LEASE_GRANT: u8 = 3;
const LEASE_REVOKE: u8 = 4;
const PROPERTIES: u8 = 5;
const IMPORT: u8 = 16;
const PUT: u8 = 1;
const DELETE: u8 = 2;
const HEADER_LEN: usize = 1 + 1 + 8;
const LEASE_LEN: usize = HEADER_LEN + 8 + 8;
const PUT_HEADER_LEN: usize = 1 + 8 + 4 + 4;
const SET: u8 = 1;
const REMOVED: u8 = 2;
const PROPERTY_HEADER_LEN: usize = 1 + 4 + 4;
const DELETE_HEADER_LEN: usize = 1 + 8 + 1 + 4 + 4;

/// What one journal record says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// One revision: everything that one transaction changed, in its order.
    Transaction {
        /// The revision that it made.
        revision: u64,
        /// At least one.
        mutations: Vec<Mutation>,
    },
    /// Revisions below this one may be forgotten.
    Compaction {
        /// The oldest revision that stays readable.
        revision: u64,
    },
    /// A lease begins. That makes no revision.
    LeaseGrant {
        /// The newest revision.
        revision: u64,
        /// The lease's id.
        id: i64,
        /// The time that it is granted, in seconds.
        ttl_secs: u64,
    },
    /// A lease ends, by request or because its time ran out, and its keys are deleted.
    LeaseRevoke {
        /// The revision that it made if it deleted anything, otherwise the newest one.
        revision: u64,
        /// The lease's id.
        id: i64,
        /// How many keys were attached to it.
        deleted: u64,
    },
    /// Properties were set or removed. That makes no revision.
    Properties {
        /// The newest revision.
        revision: u64,
        /// At least one.
        changes: Vec<PropertyChange>,
    },
    /// The state before the next record is not in the journal but in a checkpoint.
    Import {
        /// Its newest revision.
        revision: u64,
    },
}

/// One change of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// A key was written.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// The lease; 0 for none.
        lease: i64,
    },
    /// Every key of a range was deleted.
    Delete {
        /// Which keys.
        range: KeyRange,
        /// How many there were.
        deleted: u64,
    },
}

impl Record {
    /// The record's bytes, in one allocation of their exact size.
    ///
    /// # Errors
    /// `Invalid` if a key, a value or a list is longer than 4 GiB.
    pub fn encode(&self) -> Result<Bytes> {
        let mut out = BytesMut::with_capacity(self.encoded_len());
        out.put_u8(VERSION);
        match self {
            Self::Transaction { revision, mutations } => {
                out.put_u8(TRANSACTION);
                out.put_u64_le(*revision);
                out.put_u32_le(length(mutations.len())?);
                mutations.iter().try_for_each(|mutation| mutation.encode(&mut out))?;
            }
            Self::Compaction { revision } => {
                out.put_u8(COMPACTION);
                out.put_u64_le(*revision);
            }
            Self::LeaseGrant { revision, id, ttl_secs } => {
                put_lease(&mut out, LEASE_GRANT, *revision, *id, *ttl_secs);
            }
            Self::LeaseRevoke { revision, id, deleted } => {
                put_lease(&mut out, LEASE_REVOKE, *revision, *id, *deleted);
            }
            Self::Properties { revision, changes } => {
                out.put_u8(PROPERTIES);
                out.put_u64_le(*revision);
                out.put_u32_le(length(changes.len())?);
                changes.iter().try_for_each(|change| put_property(&mut out, change))?;
            }
            Self::Import { revision } => {
                out.put_u8(IMPORT);
                out.put_u64_le(*revision);
            }
        }
        Ok(out.freeze())
    }

    /// The bytes of its keys and values.
    pub(crate) fn content_len(&self) -> usize {
        match self {
            Self::Transaction { mutations, .. } => {
                mutations.iter().map(Mutation::content_len).sum()
            }
            Self::Properties { changes, .. } => changes.iter().map(PropertyChange::byte_len).sum(),
            Self::Compaction { .. }
            | Self::LeaseGrant { .. }
            | Self::LeaseRevoke { .. }
            | Self::Import { .. } => 0,
        }
    }

    /// Reads a record back. Keys and values are slices of `payload`: nothing is copied.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are no record of this format. No length is trusted before the bytes
    /// for it are there.
    pub fn decode(mut payload: Bytes) -> Result<Self> {
        let version = u8_of(&mut payload)?;
        if version != VERSION {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("record format {version} is unknown: this version reads {VERSION}"),
            ));
        }
        let kind = u8_of(&mut payload)?;
        let revision = u64_of(&mut payload)?;
        let record = match kind {
            TRANSACTION => {
                Self::Transaction { revision, mutations: decode_mutations(&mut payload)? }
            }
            COMPACTION => Self::Compaction { revision },
            LEASE_GRANT => {
                let (id, ttl_secs) = lease_of(&mut payload)?;
                Self::LeaseGrant { revision, id, ttl_secs }
            }
            LEASE_REVOKE => {
                let (id, deleted) = lease_of(&mut payload)?;
                Self::LeaseRevoke { revision, id, deleted }
            }
            PROPERTIES => Self::Properties { revision, changes: decode_properties(&mut payload)? },
            IMPORT => Self::Import { revision },
            _ => return Err(malformed("an unknown kind")),
        };
        if payload.has_remaining() { Err(malformed("bytes after its end")) } else { Ok(record) }
    }

    /// The revision in the header of a record that was encoded: the one that it made, or one that
    /// was there before it.
    #[cfg(feature = "ledger")]
    pub(crate) fn revision_of(payload: &[u8]) -> u64 {
        payload.get(2..).and_then(|mut rest| rest.try_get_u64_le().ok()).unwrap_or_default()
    }

    fn encoded_len(&self) -> usize {
        match self {
            Self::Transaction { mutations, .. } => {
                HEADER_LEN + 4 + mutations.iter().map(Mutation::encoded_len).sum::<usize>()
            }
            Self::Compaction { .. } | Self::Import { .. } => HEADER_LEN,
            Self::LeaseGrant { .. } | Self::LeaseRevoke { .. } => LEASE_LEN,
            Self::Properties { changes, .. } => {
                HEADER_LEN + 4 + changes.len() * PROPERTY_HEADER_LEN + self.content_len()
            }
        }
    }
}

impl Mutation {
    fn encoded_len(&self) -> usize {
        self.content_len()
            + match self {
                Self::Put { .. } => PUT_HEADER_LEN,
                Self::Delete { .. } => DELETE_HEADER_LEN,
            }
    }

    fn content_len(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { range, .. } => range.byte_len(),
        }
    }

    fn encode(&self, out: &mut BytesMut) -> Result<()> {
        match self {
            Self::Put { key, value, lease } => {
                out.put_u8(PUT);
                out.put_i64_le(*lease);
                put_pair(out, key, value)
            }
            Self::Delete { range, deleted } => {
                out.put_u8(DELETE);
                out.put_u64_le(*deleted);
                let (tag, end) = match range.end() {
                    End::Single => (0, &b""[..]),
                    End::Before(end) => (1, &end[..]),
                    End::Open => (2, &b""[..]),
                };
                out.put_u8(tag);
                put_pair(out, range.start(), end)
            }
        }
    }

    fn decode(input: &mut Bytes) -> Result<Self> {
        match u8_of(input)? {
            PUT => {
                let lease = u64_of(input)?.cast_signed();
                let (key, value) = pair_of(input)?;
                Ok(Self::Put { key, value, lease })
            }
            DELETE => {
                let deleted = u64_of(input)?;
                let tag = u8_of(input)?;
                let (start, end) = pair_of(input)?;
                let end = match (tag, end.is_empty()) {
                    (0, true) => End::Single,
                    (1, _) => End::Before(end),
                    (2, true) => End::Open,
                    _ => return Err(malformed("an unknown end of a range")),
                };
                Ok(Self::Delete { range: KeyRange::from_parts(start, end), deleted })
            }
            _ => Err(malformed("an unknown mutation")),
        }
    }
}

fn decode_mutations(input: &mut Bytes) -> Result<Vec<Mutation>> {
    let count = input.try_get_u32_le().map_err(|_| malformed("too few bytes"))? as usize;
    // The least mutation takes a put's header, so a hostile count cannot make a large list.
    if count == 0 || count > input.len() / PUT_HEADER_LEN {
        return Err(malformed("an impossible number of mutations"));
    }
    (0..count).map(|_| Mutation::decode(input)).collect()
}

fn put_property(out: &mut BytesMut, change: &PropertyChange) -> Result<()> {
    out.put_u8(if change.value.is_some() { SET } else { REMOVED });
    put_pair(out, &change.name, change.value.as_deref().unwrap_or_default())
}

fn decode_properties(input: &mut Bytes) -> Result<Vec<PropertyChange>> {
    let count = input.try_get_u32_le().map_err(|_| malformed("too few bytes"))? as usize;
    if count == 0 || count > input.len() / PROPERTY_HEADER_LEN {
        return Err(malformed("an impossible number of properties"));
    }
    (0..count).map(|_| decode_property(input)).collect()
}

fn decode_property(input: &mut Bytes) -> Result<PropertyChange> {
    let tag = u8_of(input)?;
    let (name, value) = pair_of(input)?;
    match (tag, value.is_empty()) {
        (SET, _) => Ok(PropertyChange { name, value: Some(value) }),
        (REMOVED, true) => Ok(PropertyChange { name, value: None }),
        _ => Err(malformed("an unknown change of a property")),
    }
}

fn put_lease(out: &mut BytesMut, kind: u8, revision: u64, id: i64, number: u64) {
    out.put_u8(kind);
    out.put_u64_le(revision);
    out.put_i64_le(id);
    out.put_u64_le(number);
}

fn lease_of(input: &mut Bytes) -> Result<(i64, u64)> {
    Ok((u64_of(input)?.cast_signed(), u64_of(input)?))
}

fn put_pair(out: &mut BytesMut, first: &[u8], second: &[u8]) -> Result<()> {
    out.put_u32_le(length(first.len())?);
    out.put_u32_le(length(second.len())?);
    out.put_slice(first);
    out.put_slice(second);
    Ok(())
}

fn pair_of(input: &mut Bytes) -> Result<(Bytes, Bytes)> {
    let first = input.try_get_u32_le().map_err(|_| malformed("too few bytes"))? as usize;
    let second = input.try_get_u32_le().map_err(|_| malformed("too few bytes"))? as usize;
    if first > input.len() || second > input.len() - first {
        return Err(malformed("a length beyond its end"));
    }
    Ok((input.split_to(first), input.split_to(second)))
}

fn u8_of(input: &mut Bytes) -> Result<u8> {
    input.try_get_u8().map_err(|_| malformed("too few bytes"))
}

fn u64_of(input: &mut Bytes) -> Result<u64> {
    input.try_get_u64_le().map_err(|_| malformed("too few bytes"))
}

fn length(len: usize) -> Result<u32> {
    u32::try_from(len)
        .map_err(|_| Error::new(ErrorKind::Invalid, "a key, value or list exceeds 4 GiB: split it"))
}

fn malformed(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("a journal record has {what}: the journal was written by something else"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range() -> impl Strategy<Value = KeyRange> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..6);
        prop_oneof![
            bytes().prop_map(KeyRange::key),
            (bytes(), bytes()).prop_map(|(start, end)| KeyRange::range(start, end)),
            bytes().prop_map(KeyRange::from),
        ]
    }

    fn mutation() -> impl Strategy<Value = Mutation> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        prop_oneof![
            (bytes(), bytes(), any::<i64>()).prop_map(|(key, value, lease)| Mutation::Put {
                key,
                value,
                lease
            }),
            (range(), any::<u64>())
                .prop_map(|(range, deleted)| Mutation::Delete { range, deleted }),
        ]
    }

    fn property() -> impl Strategy<Value = PropertyChange> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        (bytes(), prop::option::of(bytes()))
            .prop_map(|(name, value)| PropertyChange { name, value })
    }

    fn record() -> impl Strategy<Value = Record> {
        prop_oneof![
            (any::<u64>(), prop::collection::vec(mutation(), 1..5))
                .prop_map(|(revision, mutations)| Record::Transaction { revision, mutations }),
            any::<u64>().prop_map(|revision| Record::Compaction { revision }),
            any::<(u64, i64, u64)>().prop_map(|(revision, id, ttl_secs)| Record::LeaseGrant {
                revision,
                id,
                ttl_secs
            }),
            any::<(u64, i64, u64)>().prop_map(|(revision, id, deleted)| Record::LeaseRevoke {
                revision,
                id,
                deleted
            }),
            (any::<u64>(), prop::collection::vec(property(), 1..5))
                .prop_map(|(revision, changes)| Record::Properties { revision, changes }),
            any::<u64>().prop_map(|revision| Record::Import { revision }),
        ]
    }

    proptest! {
        #[test]
        fn a_record_reads_back(record in record()) {
            let bytes = record.encode().unwrap();
            prop_assert_eq!(bytes.len(), record.encoded_len());
            prop_assert_eq!(&Record::decode(bytes.clone()).unwrap(), &record);
        }

        #[test]
        fn a_cut_record_is_refused(record in record(), cut in any::<prop::sample::Index>()) {
            let bytes = record.encode().unwrap();
            let cut = bytes.slice(..cut.index(bytes.len()));
            prop_assert_eq!(Record::decode(cut).unwrap_err().kind(), ErrorKind::Corrupt);
        }

        #[test]
        fn hostile_bytes_decode_to_themselves_or_fail(
            head in prop_oneof![
                Just(vec![1, 1]),
                Just(vec![1, 2]),
                Just(vec![1, 3]),
                Just(vec![1, 4]),
                Just(vec![1, 5]),
                Just(vec![1, 16]),
                Just(vec![]),
            ],
            tail in prop::collection::vec(prop_oneof![0..4u8, any::<u8>()], 0..80),
        ) {
            let bytes = Bytes::from([head, tail].concat());
            if let Ok(record) = Record::decode(bytes.clone()) {
                prop_assert_eq!(record.encode().unwrap(), bytes);
            }
        }
    }

    #[test]
    fn a_hostile_count_allocates_nothing() {
        let mut bytes = vec![VERSION, TRANSACTION];
        bytes.extend(2u64.to_le_bytes());
        bytes.extend(u32::MAX.to_le_bytes());
        let error = Record::decode(bytes.into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}
