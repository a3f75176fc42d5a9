//! Responses, written record by record with compressed names and a limit.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::edns::Edns;
use super::header::{Flags, Header};
use super::message::{Record, Section};
use super::name::{Name, next_label, walk};
use super::rdata::{Part, for_each_part};
use super::request::Request;
use super::types::{Class, Rcode, RecordType};

/// Suffixes that later names may point to. A response repeats few of them.
const MAX_SUFFIXES: usize = 32;
/// A pointer has 14 bits.
const POINTER_LIMIT: usize = 0x4000;

/// Writes one response into a buffer. What passes the limit is left out: TC is set if it was part
/// of the answer or the authority, and nothing is said of additional records (RFC 2181 section 9).
#[derive(Debug)]
pub(crate) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    limit: usize,
    flags: Flags,
    counts: [u16; 3],
    truncated: bool,
    edns: Option<Edns>,
    suffixes: [u16; MAX_SUFFIXES],
    suffix_count: usize,
}

/// The data of a record that this crate writes itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rdata<'r> {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    /// CNAME, PTR and NS.
    Name(&'r Name),
    Srv {
        weight: u16,
        port: u16,
        target: &'r Name,
    },
    Soa {
        mname: &'r Name,
        rname: &'r Name,
        numbers: [u32; 5],
    },
    /// Strings of at most 255 bytes each.
    Texts(&'r [&'r str]),
}

impl<'o> Writer<'o> {
    /// Starts the response to `request`: header and question, in the client's own letters.
    pub(crate) fn response(
        out: &'o mut Vec<u8>,
        request: &Request<'_>,
        edns: Option<Edns>,
        limit: usize,
    ) -> Self {
        out.clear();
        out.extend_from_slice(&request.id());
        out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(request.question());
        let limit = limit - edns.map_or(0, |_| Edns::BYTES);
        let mut writer = Self {
            out,
            limit,
            flags: request.response_flags(),
            counts: [0; 3],
            truncated: false,
            edns,
            suffixes: [0; MAX_SUFFIXES],
            suffix_count: 0,
        };
        writer.remember(request.name.as_wire(), Header::BYTES);
        writer
    }

    /// Sets AA: the answer comes from the zone itself.
    pub(crate) fn authoritative(&mut self) {
        self.flags = self.flags.with_authoritative(true);
    }

    /// Takes AD as given.
    pub(crate) fn authentic(&mut self, authentic: bool) {
        self.flags = self.flags.with_authentic(authentic);
    }

    /// Sets TC: the answer was cut before it came here.
    pub(crate) fn cut(&mut self) {
        self.truncated = true;
    }

    /// Adds a record of class IN.
    pub(crate) fn record(
        &mut self,
        section: Section,
        owner: &Name,
        rtype: RecordType,
        ttl: u32,
        rdata: Rdata<'_>,
    ) {
        self.whole(section, |writer| {
            writer.name(owner.as_wire());
            writer.fixed(rtype, Class::IN, ttl);
            writer.sized(|writer| writer.rdata(rdata));
        });
    }

    /// Adds a record of another message, with names expanded where its type may compress them.
    pub(crate) fn copy(&mut self, record: &Record<'_>, ttl: u32) {
        self.whole(record.section, |writer| {
            writer.name(record.name().as_wire());
            writer.fixed(record.rtype, record.class, ttl);
            writer.sized(|writer| writer.copy_rdata(record));
        });
    }

    /// Writes OPT, code and counts, and returns the length of the message.
    pub(crate) fn finish(mut self, rcode: Rcode) -> usize {
        if let Some(edns) = self.edns {
            self.out.extend_from_slice(&edns.to_bytes());
            self.count(Section::Additional);
        }
        let flags = self.flags.with_truncated(self.truncated).with_rcode(rcode);
        let words = [flags.0, 1, self.counts[0], self.counts[1], self.counts[2]];
        for (slot, word) in
            self.out.iter_mut().skip(2).zip(words.map(u16::to_be_bytes).as_flattened())
        {
            *slot = *word;
        }
        self.out.len()
    }

    /// Keeps what `write` adds if it fits, else takes it back.
    fn whole(&mut self, section: Section, write: impl FnOnce(&mut Self)) {
        let (start, suffix_count) = (self.out.len(), self.suffix_count);
        if !self.truncated {
            write(self);
        }
        if !self.truncated && self.out.len() <= self.limit && self.count(section) {
            return;
        }
        self.out.truncate(start);
        self.suffix_count = suffix_count;
        self.truncated |= section != Section::Additional;
    }

    /// Counts a record; false when the count has no room.
    fn count(&mut self, section: Section) -> bool {
        let [answers, authorities, additionals] = &mut self.counts;
        let count = match section {
            Section::Answer => answers,
            Section::Authority => authorities,
            Section::Additional => additionals,
        };
        count.checked_add(1).is_some_and(|next| {
            *count = next;
            true
        })
    }

    fn fixed(&mut self, rtype: RecordType, class: Class, ttl: u32) {
        self.out.extend_from_slice(&rtype.0.to_be_bytes());
        self.out.extend_from_slice(&class.0.to_be_bytes());
        self.out.extend_from_slice(&ttl.to_be_bytes());
    }

    /// Writes data behind its length.
    fn sized(&mut self, write: impl FnOnce(&mut Self)) {
        let at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        write(self);
        // A record over 65,535 bytes is over every limit too, and `whole` takes it back.
        let len = u16::try_from(self.out.len() - at - 2).unwrap_or(u16::MAX).to_be_bytes();
        if let Some(slot) = self.out.get_mut(at..at + 2) {
            slot.copy_from_slice(&len);
        }
    }

    fn rdata(&mut self, rdata: Rdata<'_>) {
        match rdata {
            Rdata::A(address) => self.out.extend_from_slice(&address.octets()),
            Rdata::Aaaa(address) => self.out.extend_from_slice(&address.octets()),
            Rdata::Name(name) => self.name(name.as_wire()),
            // RFC 2782: the target is not compressed, but later names may point into it.
            Rdata::Srv { weight, port, target } => {
                let words = [0, weight, port].map(u16::to_be_bytes);
                self.out.extend_from_slice(words.as_flattened());
                self.remember(target.as_wire(), self.out.len());
                self.out.extend_from_slice(target.as_wire());
            }
            Rdata::Soa { mname, rname, numbers } => {
                self.name(mname.as_wire());
                self.name(rname.as_wire());
                self.out.extend_from_slice(numbers.map(u32::to_be_bytes).as_flattened());
            }
            Rdata::Texts(texts) => texts.iter().for_each(|text| {
                self.out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
                self.out.extend(text.bytes().take(255));
            }),
        }
    }

    fn copy_rdata(&mut self, record: &Record<'_>) {
        let (message, at, end) = (record.message(), record.rdata_at(), record.end());
        let copied = for_each_part(message, at, end, record.rtype, |part, from, to| {
            if part == Part::Name {
                // The walk succeeded a moment ago, so this one does too.
                _ = walk(message, from, |label| self.out.extend_from_slice(label));
                self.out.push(0);
            } else {
                self.out.extend_from_slice(message.get(from..to).unwrap_or_default());
            }
        });
        debug_assert!(copied.is_ok(), "the record belongs to a checked message");
    }

    /// Writes a name, pointing to the longest suffix that was written before.
    fn name(&mut self, wire: &[u8]) {
        let (start, mut rest) = (self.out.len(), wire);
        let pointer = loop {
            let Some((_, behind)) = next_label(rest) else { break None };
            if let Some(at) = self.find(rest) {
                break Some(at);
            }
            rest = behind;
        };
        let before = wire.len() - rest.len();
        self.out.extend_from_slice(wire.get(..before).unwrap_or_default());
        match pointer {
            Some(at) => self.out.extend_from_slice(&(at | 0xC000).to_be_bytes()),
            None => self.out.push(0),
        }
        self.remember_until(wire, start, before);
    }

    fn find(&self, suffix: &[u8]) -> Option<u16> {
        let known = self.suffixes.iter().take(self.suffix_count);
        known.copied().find(|&at| self.reads_as(usize::from(at), suffix))
    }

    /// Whether the name at `at` is `suffix`, ASCII case aside.
    fn reads_as(&self, at: usize, suffix: &[u8]) -> bool {
        let (mut rest, mut same) = (suffix, true);
        let walked = walk(self.out, at, |label| match rest.split_at_checked(label.len()) {
            Some((mine, behind)) if same && mine.eq_ignore_ascii_case(label) => rest = behind,
            _ => same = false,
        });
        walked.is_ok() && same && rest == [0]
    }

    /// Offers every suffix of `wire`, written in full at `start`, to later names.
    fn remember(&mut self, wire: &[u8], start: usize) {
        self.remember_until(wire, start, wire.len());
    }

    fn remember_until(&mut self, wire: &[u8], start: usize, before: usize) {
        let (mut at, mut rest) = (0, wire);
        while at < before && start + at < POINTER_LIMIT {
            let Some((label, behind)) = next_label(rest) else { return };
            let Some(slot) = self.suffixes.get_mut(self.suffix_count) else { return };
            *slot = u16::try_from(start + at).unwrap_or_default();
            self.suffix_count += 1;
            at += label.len() + 1;
            rest = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::core::wire::{Message, Query, RecordData};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn write(limit: usize, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let query = Query::new(name("web.prod.example"), RecordType::A).encode(5);
        let request = Request::parse(&query).unwrap();
        let mut out = Vec::new();
        let mut writer =
            Writer::response(&mut out, &request, request.response_edns(1232, 0), limit);
        fill(&mut writer);
        writer.finish(Rcode::NOERROR);
        out
    }

    fn addresses(writer: &mut Writer<'_>, count: u8) {
        for last in 0..count {
            let address = Rdata::A(Ipv4Addr::new(10, 0, 0, last));
            writer.record(Section::Answer, &name("WEB.prod.example"), RecordType::A, 5, address);
        }
    }

    #[test]
    fn owners_are_compressed() {
        let bytes = write(512, |writer| addresses(writer, 2));
        assert_eq!(bytes.len(), 12 + 18 + 4 + 2 * 16 + Edns::BYTES);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.addresses().count(), 2);
        assert_eq!(message.answers().next().unwrap().name(), name("web.prod.example"));
    }

    #[test]
    fn glue_points_into_an_uncompressed_target() {
        let target = name("h1.web.prod.example");
        let bytes = write(512, |writer| {
            let srv = Rdata::Srv { weight: 1, port: 80, target: &target };
            writer.record(Section::Answer, &name("web.prod.example"), RecordType::SRV, 5, srv);
            let glue = Rdata::A(Ipv4Addr::LOCALHOST);
            writer.record(Section::Additional, &target, RecordType::A, 5, glue);
        });
        let message = Message::parse(&bytes).unwrap();
        let records: Vec<_> = message.records().collect();
        assert_eq!(records[0].rdata().len(), 6 + target.as_wire().len());
        assert!(matches!(records[0].data(), RecordData::Srv { port: 80, .. }));
        assert_eq!((records[1].name(), records[1].rdata_at() - records[1].start()), (target, 12));
    }

    #[test]
    fn what_does_not_fit_sets_tc_and_glue_does_not() {
        let bytes = write(100, |writer| addresses(writer, 50));
        let message = Message::parse(&bytes).unwrap();
        assert!(bytes.len() <= 100 && message.flags().truncated());
        assert_eq!(message.answers().count(), 3);
        let glue = write(75, |writer| {
            addresses(writer, 1);
            for _ in 0..9 {
                let glue = Rdata::Aaaa(Ipv6Addr::LOCALHOST);
                writer.record(
                    Section::Additional,
                    &name("web.prod.example"),
                    RecordType::AAAA,
                    5,
                    glue,
                );
            }
        });
        assert!(glue.len() <= 75 && !Message::parse(&glue).unwrap().flags().truncated());
    }

    proptest! {
        #[test]
        fn whatever_is_written_can_be_read(
            hosts in prop::collection::vec(("[a-c]{1,3}(\\.[a-c]{1,3}){0,4}", any::<u32>(), any::<Ipv4Addr>()), 0..40),
        ) {
            let bytes = write(65_000, |writer| {
                for (host, ttl, address) in &hosts {
                    writer.record(Section::Answer, &name(host), RecordType::A, *ttl, Rdata::A(*address));
                }
            });
            let message = Message::parse(&bytes).unwrap();
            let read: Vec<_> = message.answers().map(|record| (record.name(), record.ttl)).collect();
            let wrote: Vec<_> = hosts.iter().map(|(host, ttl, _)| (name(host), *ttl)).collect();
            prop_assert_eq!(read, wrote);
            let addresses: Vec<_> = message.addresses().collect();
            prop_assert_eq!(addresses, hosts.iter().map(|host| IpAddr::V4(host.2)).collect::<Vec<_>>());
            let mut again = Vec::new();
            let query = Query::new(name("web.prod.example"), RecordType::A).encode(5);
            let request = Request::parse(&query).unwrap();
            let mut writer = Writer::response(&mut again, &request, request.response_edns(1232, 0), 65_000);
            message.answers().for_each(|record| writer.copy(&record, record.ttl));
            writer.finish(Rcode::NOERROR);
            prop_assert_eq!(again, bytes);
        }
    }
}
