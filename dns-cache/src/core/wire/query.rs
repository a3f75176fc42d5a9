//! A question, as a client sends it.

use bytes::{Bytes, BytesMut};

use super::edns::Edns;
use super::header::{Flags, Header};
use super::name::Name;
use super::types::{Class, RecordType};

/// The payload size that avoids fragments on any path (RFC 9715).
pub(super) const SAFE_PAYLOAD_BYTES: u16 = 1232;

/// A query for one name and type of class IN: recursion desired, with EDNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    name: Name,
    rtype: RecordType,
    flags: Flags,
    payload_bytes: Option<u16>,
    dnssec_ok: bool,
}

impl Query {
    /// A query for `name` and `rtype`.
    #[must_use]
    pub fn new(name: Name, rtype: RecordType) -> Self {
        let flags = Flags::default().with_recursion_desired(true);
        Self { name, rtype, flags, payload_bytes: Some(SAFE_PAYLOAD_BYTES), dnssec_ok: false }
    }

    /// The same query with these bits of the header instead (RD, AD, CD).
    #[must_use]
    pub fn with_flags(mut self, flags: Flags) -> Self {
        self.flags = flags;
        self
    }

    /// The same query with this UDP payload size in bytes, or without EDNS.
    #[must_use]
    pub fn with_payload_bytes(mut self, payload_bytes: Option<u16>) -> Self {
        self.payload_bytes = payload_bytes;
        self
    }

    /// The same query with DO as given; it needs EDNS to have a place.
    #[must_use]
    pub fn with_dnssec_ok(mut self, dnssec_ok: bool) -> Self {
        self.dnssec_ok = dnssec_ok;
        self
    }

    /// The message that asks it, under `id`.
    #[must_use]
    pub fn encode(&self, id: u16) -> Bytes {
        let additionals = u16::from(self.payload_bytes.is_some());
        let header =
            Header { id, flags: self.flags, questions: 1, additionals, ..Header::default() };
        let mut bytes = BytesMut::with_capacity(Header::BYTES + 255 + 4 + Edns::BYTES);
        bytes.extend_from_slice(&header.to_bytes());
        bytes.extend_from_slice(self.name.as_wire());
        bytes.extend_from_slice(&self.rtype.0.to_be_bytes());
        bytes.extend_from_slice(&Class::IN.0.to_be_bytes());
        if let Some(payload_bytes) = self.payload_bytes {
            let dnssec_ok = self.dnssec_ok;
            let edns = Edns { payload_bytes, version: 0, extended_rcode: 0, dnssec_ok };
            bytes.extend_from_slice(&edns.to_bytes());
        }
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::wire::Message;

    proptest! {
        #[test]
        fn queries_round_trip(id in any::<u16>(), rtype in any::<u16>(), payload in any::<Option<u16>>(), dnssec_ok in any::<bool>(), label in "[a-z]{1,63}") {
            let name: Name = format!("{label}.example").parse().unwrap();
            let query = Query::new(name.clone(), RecordType(rtype))
                .with_payload_bytes(payload)
                .with_dnssec_ok(dnssec_ok);
            let bytes = query.encode(id);
            let message = Message::parse(&bytes).unwrap();
            prop_assert_eq!(message.id(), id);
            let question = message.question().unwrap();
            prop_assert_eq!((&question.name, question.rtype.0), (&name, rtype));
            let edns = message.edns().map(|edns| (edns.payload_bytes, edns.dnssec_ok));
            prop_assert_eq!(edns, payload.map(|payload| (payload, dnssec_ok)));
        }
    }
}
