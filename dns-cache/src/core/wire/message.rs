//! A whole message, checked once and then read without errors.

use std::net::IpAddr;

use super::edns::Edns;
use super::header::{Flags, Header};
use super::name::{Name, walk};
use super::rdata::{self, RecordData};
use super::types::{Class, Rcode, RecordType};
use super::{malformed, u16_at, u32_at};
use crate::error::Result;

/// A message whose every name, length and known record data has been checked.
#[derive(Debug, Clone)]
pub struct Message<'m> {
    bytes: &'m [u8],
    header: Header,
    records_at: usize,
    edns: Option<Edns>,
}

/// The entry of the question section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name that is asked for, in the case of the message.
    pub name: Name,
    /// The type that is asked for.
    pub rtype: RecordType,
    /// The class that is asked for.
    pub class: Class,
}

/// One of the three sections that hold records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Records that answer the question.
    Answer,
    /// Records that point to an authority, or the SOA of a negative answer.
    Authority,
    /// Records that may help, and OPT.
    Additional,
}

/// A record inside a message.
#[derive(Debug, Clone)]
pub struct Record<'m> {
    message: &'m [u8],
    start: usize,
    name_end: usize,
    end: usize,
    /// The section that holds it.
    pub section: Section,
    /// Its type.
    pub rtype: RecordType,
    /// Its class; for OPT the sender's payload size.
    pub class: Class,
    /// Its time to live in seconds; for OPT codes and flags.
    pub ttl: u32,
}

impl<'m> Message<'m> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// `Malformed` if it ends early, has bytes left over, more than one question (RFC 9619), more
    /// than one OPT, or a name or known record data that breaks its format.
    pub fn parse(bytes: &'m [u8]) -> Result<Self> {
        let header = Header::read(bytes).ok_or_else(|| malformed("shorter than a header"))?;
        let records_at = match header.questions {
            0 => Header::BYTES,
            1 => Question::check(bytes)?,
            _ => return Err(malformed("more than one question")),
        };
        Self::behind_question(bytes, header, records_at)
    }

    /// Reads a message whose header and question have been read, up to `records_at`.
    pub(super) fn behind_question(
        bytes: &'m [u8],
        header: Header,
        records_at: usize,
    ) -> Result<Self> {
        let mut message = Self { bytes, header, records_at, edns: None };
        message.edns = message.check_records()?;
        Ok(message)
    }

    fn check_records(&self) -> Result<Option<Edns>> {
        let (mut edns, mut at) = (None, self.records_at);
        for section in Sections::new(&self.header) {
            let record = Record::read(self.bytes, at, section)?;
            at = record.end;
            if record.rtype != RecordType::OPT {
                rdata::check(self.bytes, record.rdata_at(), record.end, record.rtype)?;
            } else if section != Section::Additional || edns.is_some() {
                return Err(malformed("one OPT record at most, and in the additional section"));
            } else {
                edns = Some(Edns::read(&record)?);
            }
        }
        if at == self.bytes.len() {
            Ok(edns)
        } else {
            Err(malformed("bytes behind the last record"))
        }
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.header.id
    }

    /// The bits of the header.
    #[must_use]
    pub fn flags(&self) -> Flags {
        self.header.flags
    }

    /// The response code without its extended bits.
    #[must_use]
    pub fn rcode(&self) -> Rcode {
        self.header.flags.rcode()
    }

    /// The question, if there is one.
    #[must_use]
    pub fn question(&self) -> Option<Question> {
        let asked = self.header.questions == 1;
        asked.then(|| Question::read(self.bytes)).flatten()
    }

    /// What the sender says about itself, if it speaks EDNS.
    #[must_use]
    pub fn edns(&self) -> Option<&Edns> {
        self.edns.as_ref()
    }

    /// The records of all sections, in order, OPT among them.
    pub fn records(&self) -> impl Iterator<Item = Record<'m>> + use<'m> {
        let (bytes, mut at) = (self.bytes, self.records_at);
        Sections::new(&self.header).map_while(move |section| {
            let record = Record::read(bytes, at, section).ok()?;
            at = record.end;
            Some(record)
        })
    }

    /// The records of the answer section.
    pub fn answers(&self) -> impl Iterator<Item = Record<'m>> + use<'m> {
        self.records().filter(|record| record.section == Section::Answer)
    }

    /// The addresses in the answer section, in order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<'m> {
        self.answers().filter_map(|record| match record.data() {
            RecordData::A(address) => Some(IpAddr::V4(address)),
            RecordData::Aaaa(address) => Some(IpAddr::V6(address)),
            _ => None,
        })
    }

    /// Whether the question's name is written in full. A pointer there could only lead into the
    /// header, and would mean another name in a copy with other flags.
    pub(crate) fn has_plain_question(&self) -> bool {
        let mut labels = 0;
        let walked = walk(self.bytes, Header::BYTES, |label| labels += label.len());
        let plain_end = Header::BYTES + labels + 1 + Question::FIXED_BYTES;
        self.header.questions == 1 && walked.is_ok() && plain_end == self.records_at
    }
}

impl Question {
    /// Type and class.
    pub(super) const FIXED_BYTES: usize = 4;

    /// Walks over the question and returns where it ends.
    fn check(bytes: &[u8]) -> Result<usize> {
        let end = walk(bytes, Header::BYTES, |_| ())? + Self::FIXED_BYTES;
        if bytes.len() < end {
            return Err(malformed("the question ends early"));
        }
        Ok(end)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (name, at) = Name::read(bytes, Header::BYTES).ok()?;
        Some(Self {
            name,
            rtype: RecordType(u16_at(bytes, at)?),
            class: Class(u16_at(bytes, at + 2)?),
        })
    }
}

impl<'m> Record<'m> {
    fn read(message: &'m [u8], start: usize, section: Section) -> Result<Self> {
        let name_end = walk(message, start, |_| ())?;
        Self::behind_name(message, start, name_end, section)
            .ok_or_else(|| malformed(format!("record at byte {start}: ends early")))
    }

    fn behind_name(
        message: &'m [u8],
        start: usize,
        name_end: usize,
        section: Section,
    ) -> Option<Self> {
        let rtype = RecordType(u16_at(message, name_end)?);
        let class = Class(u16_at(message, name_end + 2)?);
        let ttl = u32_at(message, name_end + 4)?;
        let end = name_end + 10 + usize::from(u16_at(message, name_end + 8)?);
        message.get(..end)?;
        Some(Self { message, start, name_end, end, section, rtype, class, ttl })
    }

    /// The owner's name.
    #[must_use]
    pub fn name(&self) -> Name {
        Name::read(self.message, self.start).map_or_else(|_| Name::root(), |(name, _)| name)
    }

    /// The data as it stands in the message; names in it may be compressed.
    #[must_use]
    pub fn rdata(&self) -> &'m [u8] {
        self.message.get(self.rdata_at()..self.end).unwrap_or_default()
    }

    /// The data, read as its type asks.
    #[must_use]
    pub fn data(&self) -> RecordData<'m> {
        rdata::read(self.message, self.rdata_at(), self.end, self.rtype)
            .unwrap_or(RecordData::Other(self.rdata()))
    }

    pub(crate) fn message(&self) -> &'m [u8] {
        self.message
    }

    pub(crate) fn start(&self) -> usize {
        self.start
    }

    pub(crate) fn end(&self) -> usize {
        self.end
    }

    pub(crate) fn ttl_at(&self) -> usize {
        self.name_end + 4
    }

    pub(crate) fn rdata_at(&self) -> usize {
        self.name_end + 10
    }

    pub(super) fn owner_bytes(&self) -> usize {
        self.name_end - self.start
    }
}

/// The section of each record that a header announces.
struct Sections {
    left: [(Section, u16); 3],
}

impl Sections {
    fn new(header: &Header) -> Self {
        let left = [
            (Section::Answer, header.answers),
            (Section::Authority, header.authorities),
            (Section::Additional, header.additionals),
        ];
        Self { left }
    }
}

impl Iterator for Sections {
    type Item = Section;

    fn next(&mut self) -> Option<Section> {
        let (section, left) = self.left.iter_mut().find(|(_, left)| *left > 0)?;
        *left -= 1;
        Some(*section)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::wire::Query;

    fn answer() -> Vec<u8> {
        let mut bytes = Query::new("a.example".parse().unwrap(), RecordType::A).encode(1).to_vec();
        bytes.splice(6..8, [0, 1]);
        let opt = bytes.split_off(bytes.len() - Edns::BYTES);
        bytes.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        bytes.extend(opt);
        bytes
    }

    #[test]
    fn an_answer_is_read() {
        let bytes = answer();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(
            message.addresses().collect::<Vec<_>>(),
            ["192.0.2.1".parse::<IpAddr>().unwrap()]
        );
        let record = message.answers().next().unwrap();
        assert_eq!((record.name().to_string().as_str(), record.ttl), ("a.example.", 60));
        assert_eq!(message.edns().unwrap().payload_bytes, 1232);
        assert_eq!(message.records().count(), 2);
    }

    #[test]
    fn every_cut_and_every_extension_is_refused() {
        let mut bytes = answer();
        for len in 0..bytes.len() {
            assert!(Message::parse(&bytes[..len]).is_err(), "cut at {len}");
        }
        bytes.push(0);
        assert!(Message::parse(&bytes).is_err());
    }

    #[test]
    fn two_questions_and_two_opts_are_refused() {
        let mut two = answer();
        two[5] = 2;
        assert!(Message::parse(&two).is_err());
        let mut opts = answer();
        opts[11] = 2;
        opts.extend_from_within(opts.len() - Edns::BYTES..);
        assert!(Message::parse(&opts).is_err());
    }

    #[test]
    fn known_data_is_checked() {
        let mut short = answer();
        let at = short.len() - Edns::BYTES - 5;
        short[at] = 3;
        short.remove(at + 1);
        assert!(Message::parse(&short).is_err(), "an A record of three bytes");
    }

    /// Each record's owner points to the one before, so that reading all of them would take a
    /// time that grows with the square of their number.
    #[test]
    fn a_compression_bomb_is_refused_early() {
        let bomb = |records: u16| {
            let header = Header { questions: 1, answers: records, ..Header::default() };
            let mut bytes = [header.to_bytes().as_slice(), &[0, 0, 1, 0, 1]].concat();
            let mut owner = 12u16;
            for _ in 0..records {
                let here = u16::try_from(bytes.len()).unwrap();
                bytes.extend((0xC000 | owner).to_be_bytes());
                bytes.extend([0xFF, 0, 0, 1, 0, 0, 0, 60, 0, 0]);
                owner = here;
            }
            bytes
        };
        assert!(Message::parse(&bomb(127)).is_ok());
        assert!(Message::parse(&bomb(128)).is_err());
        assert!(Message::parse(&bomb(1300)).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(message) = Message::parse(&bytes) {
                for record in message.records() {
                    _ = (record.name(), record.data());
                }
            }
        }

        #[test]
        fn mutated_answers_never_panic(at in 0usize..60, value in any::<u8>(), cut in 0usize..70) {
            let mut bytes = answer();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(cut.max(12));
            if let Ok(message) = Message::parse(&bytes) {
                for record in message.records() {
                    _ = (record.name(), record.data());
                }
            }
        }
    }
}
