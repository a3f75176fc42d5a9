//! Which questions share an answer.

use std::hash::{Hash, Hasher};

use bytes::Bytes;

use crate::core::wire::{Flags, Name, Query, RecordType, Request};

const DNSSEC_OK: u8 = 1;
const CHECKING_DISABLED: u8 = 2;
const RECURSION_DESIRED: u8 = 4;

/// The canonical form of a question of class IN: name in lower case, type, DO, CD and RD. Id,
/// letters, payload size and options (cookies, padding, subnet) are the client's own and stay out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    name: Name,
    rtype: RecordType,
    bits: u8,
}

/// A [`Key`] whose name is borrowed, which is all that a lookup needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyRef<'k> {
    pub(super) name: &'k [u8],
    pub(super) rtype: RecordType,
    pub(super) bits: u8,
}

impl Key {
    pub(crate) fn of(request: &Request<'_>) -> Self {
        Self::for_name(request.name.clone(), request)
    }

    /// The key of the same question about another name, in lower case.
    pub(crate) fn for_name(name: Name, request: &Request<'_>) -> Self {
        Self { name, rtype: request.rtype, bits: bits(request) }
    }

    pub(crate) fn as_ref(&self) -> KeyRef<'_> {
        KeyRef { name: self.name.as_wire(), rtype: self.rtype, bits: self.bits }
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    pub(crate) fn rtype(&self) -> RecordType {
        self.rtype
    }

    /// The query that a miss sends upstream. AD asks for the validation's result whoever wants
    /// it (RFC 6840 section 5.7), since the answer is shared.
    pub(crate) fn query(&self, payload_bytes: u16) -> Bytes {
        let flags = Flags::default()
            .with_recursion_desired(self.bits & RECURSION_DESIRED != 0)
            .with_checking_disabled(self.bits & CHECKING_DISABLED != 0)
            .with_authentic(true);
        Query::new(self.name.clone(), self.rtype)
            .with_flags(flags)
            .with_payload_bytes(Some(payload_bytes))
            .with_dnssec_ok(self.bits & DNSSEC_OK != 0)
            .encode(0)
    }
}

impl<'k> KeyRef<'k> {
    pub(crate) fn of(request: &'k Request<'_>) -> Self {
        Self { name: request.name.as_wire(), rtype: request.rtype, bits: bits(request) }
    }
}

fn bits(request: &Request<'_>) -> u8 {
    let bit = |on: bool, bit: u8| if on { bit } else { 0 };
    bit(request.dnssec_ok(), DNSSEC_OK)
        | bit(request.flags.checking_disabled(), CHECKING_DISABLED)
        | bit(request.flags.recursion_desired(), RECURSION_DESIRED)
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The name is in lower case already; its wire form ends itself. The whole word before it
        // keeps the hasher's words and the name's in step.
        state.write_u64(u64::from(self.rtype.0) << 8 | u64::from(self.bits));
        state.write(self.name);
    }
}
