//! A client's query, read without allocation.

use super::edns::Edns;
use super::header::{Flags, Header};
use super::message::{Message, Question};
use super::name::Name;
use super::types::{Class, Rcode, RecordType};
use super::{MAX_MESSAGE_BYTES, Writer, u16_at};

/// The least payload that a client without EDNS takes (RFC 1035 section 4.2.1).
const CLASSIC_PAYLOAD_BYTES: u16 = 512;

/// A query that can be answered.
#[derive(Debug)]
pub(crate) struct Request<'q> {
    bytes: &'q [u8],
    /// The name in lower case.
    pub(crate) name: Name,
    pub(crate) rtype: RecordType,
    pub(crate) class: Class,
    pub(crate) flags: Flags,
    pub(crate) edns: Option<Edns>,
    question_end: usize,
}

/// Why a query is not answered in the ordinary way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A response, or too short to answer: silence.
    Drop,
    /// Answer with nothing but a header of this code.
    HeaderOnly(Rcode),
}

const FORMERR: Refusal = Refusal::HeaderOnly(Rcode::FORMERR);

impl<'q> Request<'q> {
    pub(crate) fn parse(bytes: &'q [u8]) -> Result<Self, Refusal> {
        let header = Header::read(bytes).ok_or(Refusal::Drop)?;
        if header.flags.response() {
            return Err(Refusal::Drop);
        }
        if header.flags.opcode() != 0 {
            return Err(Refusal::HeaderOnly(Rcode::NOTIMP));
        }
        // RFC 9619: exactly one question. Nothing but a transfer puts records before OPT.
        if header.questions != 1 || header.answers != 0 {
            return Err(FORMERR);
        }
        // The question must be written in full: a pointer could only lead into the header, and
        // would mean another name in a response with other flags.
        let rest = bytes.get(Header::BYTES..).unwrap_or_default();
        let Some(name) = Name::plain_lowercase(rest) else { return Err(FORMERR) };
        let type_at = Header::BYTES + name.as_wire().len();
        let question_end = type_at + Question::FIXED_BYTES;
        let (Some(rtype), Some(class)) = (u16_at(bytes, type_at), u16_at(bytes, type_at + 2))
        else {
            return Err(FORMERR);
        };
        let (rtype, class, flags) = (RecordType(rtype), Class(class), header.flags);
        let edns = read_edns(bytes, header, question_end)?;
        Ok(Self { bytes, name, rtype, class, flags, edns, question_end })
    }

    /// The question section in the client's own letters (0x20).
    pub(crate) fn question(&self) -> &'q [u8] {
        self.bytes.get(Header::BYTES..self.question_end).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> [u8; 2] {
        self.bytes.first_chunk().copied().unwrap_or_default()
    }

    pub(crate) fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Whether the client asks to be told that data was validated (RFC 6840 section 5.8).
    pub(crate) fn wants_authentic(&self) -> bool {
        self.flags.authentic() || self.dnssec_ok()
    }

    /// The flags of every response to this query, apart from code, AD and TC.
    pub(crate) fn response_flags(&self) -> Flags {
        Flags::default()
            .with_response(true)
            .with_recursion_available(true)
            .with_recursion_desired(self.flags.recursion_desired())
            .with_checking_disabled(self.flags.checking_disabled())
    }

    /// The greatest response over UDP, given the most that the server sends.
    pub(crate) fn udp_limit(&self, most: u16) -> usize {
        let payload = self.edns.map_or(CLASSIC_PAYLOAD_BYTES, |edns| edns.payload_bytes);
        usize::from(payload.min(most).max(CLASSIC_PAYLOAD_BYTES))
    }

    /// Our own OPT for the response, if the client sent one; the upper bits of the code in it.
    pub(crate) fn response_edns(&self, payload_bytes: u16, extended_rcode: u8) -> Option<Edns> {
        let dnssec_ok = self.dnssec_ok();
        self.edns.map(|_| Edns { payload_bytes, version: 0, extended_rcode, dnssec_ok })
    }

    /// Writes a response without records.
    pub(crate) fn write_empty(&self, rcode: Rcode, edns: Option<Edns>, out: &mut Vec<u8>) {
        Writer::response(out, self, edns, MAX_MESSAGE_BYTES).finish(rcode);
    }
}

/// What the client says about itself in the records behind the question.
fn read_edns(bytes: &[u8], header: Header, question_end: usize) -> Result<Option<Edns>, Refusal> {
    let rest = bytes.get(question_end..).unwrap_or_default();
    match (header.authorities, header.additionals) {
        (0, 0) if rest.is_empty() => return Ok(None),
        (0, 1) => {
            if let Some(edns) = Edns::read_alone(rest) {
                return Ok(Some(edns));
            }
        }
        _ => {}
    }
    let message = Message::behind_question(bytes, header, question_end).map_err(|_| FORMERR)?;
    Ok(message.edns().copied())
}

/// Writes the header of a response to a query that could not be read. The caller has checked
/// that `query` is not a response.
pub(crate) fn write_header_only(query: &[u8], rcode: Rcode, out: &mut Vec<u8>) {
    out.clear();
    let Some(header) = Header::read(query) else { return };
    let opcode_and_rd = Flags(header.flags.0 & 0x7900);
    let flags = opcode_and_rd.with_response(true).with_recursion_available(true).with_rcode(rcode);
    out.extend_from_slice(&Header { id: header.id, flags, ..Header::default() }.to_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::wire::Query;

    fn query() -> Vec<u8> {
        Query::new("WwW.Example".parse().unwrap(), RecordType::A).encode(9).to_vec()
    }

    #[test]
    fn a_query_is_read_in_lower_case_and_kept_in_the_clients() {
        let bytes = query();
        let request = Request::parse(&bytes).unwrap();
        assert_eq!(request.name.as_wire(), b"\x03www\x07example\x00");
        assert_eq!(request.question(), b"\x03WwW\x07Example\x00\x00\x01\x00\x01");
        assert_eq!(request.udp_limit(1232), 1232);
        assert_eq!(request.udp_limit(600), 600);
    }

    #[test]
    fn what_cannot_be_answered_is_sorted() {
        let with = |at: usize, value: u8| {
            let mut bytes = query();
            bytes[at] = value;
            Request::parse(&bytes).map(|_| ()).unwrap_err()
        };
        assert_eq!(with(2, 0x80), Refusal::Drop, "a response");
        assert_eq!(with(2, 0x28), Refusal::HeaderOnly(Rcode::NOTIMP), "an update");
        assert_eq!(with(5, 2), Refusal::HeaderOnly(Rcode::FORMERR), "two questions");
        assert_eq!(with(5, 0), Refusal::HeaderOnly(Rcode::FORMERR), "no question");
        assert_eq!(with(7, 1), Refusal::HeaderOnly(Rcode::FORMERR), "an answer");
        let into_header = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xC0, 3, 0, 1, 0, 1];
        assert!(Message::parse(&into_header).is_ok());
        assert_eq!(
            Request::parse(&into_header).map(|_| ()).unwrap_err(),
            Refusal::HeaderOnly(Rcode::FORMERR),
            "a name that is made of the header"
        );
        assert_eq!(Request::parse(&[0; 11]).map(|_| ()).unwrap_err(), Refusal::Drop);
    }

    #[test]
    fn a_header_keeps_id_opcode_and_rd() {
        let mut out = Vec::new();
        write_header_only(&[1, 2, 0x29, 0, 0, 1, 0, 0, 0, 0, 0, 0], Rcode::NOTIMP, &mut out);
        assert_eq!(out, [1, 2, 0xA9, 0x84, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_name_of_255_bytes_is_read_and_a_longer_one_refused() {
        for (last, fits) in [(61, true), (62, false)] {
            let mut bytes = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0].to_vec();
            for len in [63, 63, 63, last] {
                bytes.push(len);
                bytes.extend(vec![b'X'; len.into()]);
            }
            bytes.extend([0, 0, 1, 0, 1]);
            assert_eq!(Request::parse(&bytes).is_ok(), fits);
            assert_eq!(Message::parse(&bytes).is_ok(), fits);
        }
    }

    proptest! {
        /// The short way through a query comes to what the reader of whole messages says.
        #[test]
        fn queries_are_read_as_messages_are(
            options in prop::collection::vec(any::<u8>(), 0..20),
            changes in prop::collection::vec((4usize..60, any::<u8>()), 0..3),
            cut in 0usize..4,
        ) {
            let mut bytes = query();
            let at = bytes.len() - 2;
            bytes.splice(at.., [0, u8::try_from(options.len()).unwrap()]);
            bytes.extend(options);
            for (at, value) in changes {
                bytes.get_mut(at).into_iter().for_each(|byte| *byte = value);
            }
            bytes.truncate(bytes.len() - cut.min(bytes.len() - 12));
            let message = Message::parse(&bytes).ok().filter(|message| {
                message.has_plain_question() && message.header().answers == 0
            });
            let request = Request::parse(&bytes).ok();
            prop_assert_eq!(request.is_some(), message.is_some());
            if let (Some(request), Some(message)) = (request, message) {
                let asked = message.question().unwrap();
                prop_assert_eq!(&request.name, &asked.name);
                prop_assert_eq!((request.rtype, request.class), (asked.rtype, asked.class));
                prop_assert_eq!(request.edns.as_ref(), message.edns());
            }
        }
    }
}
