//! The first twelve bytes of every message.

use super::types::Rcode;
use super::u16_at;

/// The header of RFC 1035 section 4.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// Chosen by who asks, repeated by who answers.
    pub id: u16,
    /// The bits and codes of the second word.
    pub flags: Flags,
    /// Number of entries in the question section.
    pub questions: u16,
    /// Number of records in the answer section.
    pub answers: u16,
    /// Number of records in the authority section.
    pub authorities: u16,
    /// Number of records in the additional section.
    pub additionals: u16,
}

impl Header {
    /// The header's size in bytes.
    pub const BYTES: usize = 12;

    /// Reads the header, or `None` when `bytes` is shorter than one.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            id: u16_at(bytes, 0)?,
            flags: Flags(u16_at(bytes, 2)?),
            questions: u16_at(bytes, 4)?,
            answers: u16_at(bytes, 6)?,
            authorities: u16_at(bytes, 8)?,
            additionals: u16_at(bytes, 10)?,
        })
    }

    /// The header as it goes on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let words = [
            self.id,
            self.flags.0,
            self.questions,
            self.answers,
            self.authorities,
            self.additionals,
        ];
        let mut bytes = [0; Self::BYTES];
        for (pair, word) in bytes.chunks_exact_mut(2).zip(words) {
            pair.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

/// The second word of the header: bits and codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

macro_rules! bits {
    ($($mask:literal, $get:ident, $with:ident, $doc:literal;)*) => {
        $(
            #[doc = $doc]
            #[must_use]
            pub const fn $get(self) -> bool {
                self.0 & $mask != 0
            }

            #[doc = concat!("The same flags with this bit as given: ", $doc)]
            #[must_use]
            pub const fn $with(self, on: bool) -> Self {
                if on { Self(self.0 | $mask) } else { Self(self.0 & !$mask) }
            }
        )*
    };
}

impl Flags {
    bits! {
        0x8000, response, with_response, "QR: the message is a response.";
        0x0400, authoritative, with_authoritative, "AA: the answer is authoritative.";
        0x0200, truncated, with_truncated, "TC: the answer did not fit.";
        0x0100, recursion_desired, with_recursion_desired, "RD: please recurse.";
        0x0080, recursion_available, with_recursion_available, "RA: the server recurses.";
        0x0020, authentic, with_authentic, "AD: the data was validated (RFC 4035).";
        0x0010, checking_disabled, with_checking_disabled, "CD: do not validate (RFC 4035).";
    }

    /// The kind of query; 0 is the ordinary one.
    #[must_use]
    pub const fn opcode(self) -> u8 {
        (self.0 >> 11) as u8 & 0x0F
    }

    /// The response code without its extended bits.
    #[must_use]
    pub const fn rcode(self) -> Rcode {
        Rcode((self.0 & 0x000F) as u8)
    }

    /// The same flags with this response code.
    #[must_use]
    pub const fn with_rcode(self, rcode: Rcode) -> Self {
        Self(self.0 & !0x000F | (rcode.0 & 0x0F) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_wire() {
        let flags = Flags::default().with_response(true).with_rcode(Rcode::NXDOMAIN);
        let header =
            Header { id: 7, flags, questions: 1, answers: 2, authorities: 3, additionals: 4 };
        assert_eq!(Header::read(&header.to_bytes()), Some(header));
        assert_eq!(Header::read(&[0; 11]), None);
    }

    #[test]
    fn bits_do_not_touch_each_other() {
        let all = Flags(0xFFFF).with_truncated(false);
        assert!(!all.truncated() && all.authoritative() && all.recursion_desired());
        assert_eq!(all.opcode(), 15);
        assert_eq!(all.with_rcode(Rcode::NOERROR).0, 0xFDF0);
    }
}
