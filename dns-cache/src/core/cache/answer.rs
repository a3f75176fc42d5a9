//! A response made fit to keep, and the way back to a client.

use std::time::Duration;

use super::key::Key;
use crate::core::wire::{
    Edns, Flags, Header, MAX_MESSAGE_BYTES, Message, Rcode, Record, RecordData, RecordType,
    Request, Section, Writer,
};
use crate::error::{Error, ErrorKind, Result};

/// The bounds of what is kept, in seconds.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "the unit is in the name")]
pub(crate) struct TtlLimits {
    pub(crate) min_secs: u32,
    pub(crate) max_secs: u32,
    pub(crate) negative_max_secs: u32,
    pub(crate) failure_secs: u32,
}

/// How a response goes back to one client.
#[derive(Debug)]
pub(crate) struct Reply<'r> {
    pub(crate) request: &'r Request<'r>,
    /// Our own OPT, if the client speaks EDNS.
    pub(crate) edns: Option<Edns>,
    /// The greatest response, in bytes.
    pub(crate) limit: usize,
}

/// A response without OPT, its question in lower case, and the places of its TTLs.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(super) stored: Box<[u8]>,
    pub(super) wire_len: u16,
    life_secs: u32,
    failure: bool,
}

/// The parts of an [`Answer`] where a table keeps them: the message, and behind it each TTL's
/// offset as two little-endian bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored<'s> {
    pub(super) bytes: &'s [u8],
    pub(super) wire_len: u16,
}

impl Answer {
    /// Checks `response` against the question that was asked and prepares it.
    ///
    /// # Errors
    ///
    /// `Malformed` if it is not a response to `key`, breaks the format, or carries an extended
    /// code, which says that the upstream did not take the query.
    pub(crate) fn prepare(key: &Key, response: &[u8], limits: TtlLimits) -> Result<Self> {
        let message = Message::parse(response)?;
        if !answers_key(&message, key) {
            return Err(malformed("the upstream answered another question"));
        }
        let mut wire = without_opt(&message, key)?;
        // Written anew, a message may have grown too long and been cut.
        let cut = Header::read(&wire).is_some_and(|header| header.flags.truncated());
        let life_secs = if cut { 0 } else { life_secs(&message, limits) };
        let failure = !matches!(message.rcode(), Rcode::NOERROR | Rcode::NXDOMAIN);
        let offsets = set_ttls(&mut wire, key, limits, life_secs)?;
        Ok(Self::assemble(wire, &offsets, life_secs, failure))
    }

    /// The answer when no upstream could give one (RFC 9520): SERVFAIL, kept for a short time.
    pub(crate) fn failure(key: &Key, limits: TtlLimits) -> Self {
        let flags = Flags::default().with_response(true).with_rcode(Rcode::SERVFAIL);
        let header = Header { flags, questions: 1, ..Header::default() };
        let wire = [header.to_bytes().as_slice(), &question(key)].concat();
        Self::assemble(wire, &[], limits.failure_secs, true)
    }

    fn assemble(mut wire: Vec<u8>, offsets: &[u16], life_secs: u32, failure: bool) -> Self {
        let wire_len = u16::try_from(wire.len()).unwrap_or(u16::MAX);
        wire.extend(offsets.iter().flat_map(|offset| offset.to_le_bytes()));
        Self { stored: wire.into_boxed_slice(), wire_len, life_secs, failure }
    }

    /// How long it may be kept, or `None` if not at all.
    pub(crate) fn life(&self) -> Option<Duration> {
        (self.life_secs > 0).then(|| Duration::from_secs(self.life_secs.into()))
    }

    pub(crate) fn is_failure(&self) -> bool {
        self.failure
    }

    /// The whole answer for one client.
    pub(crate) fn write(&self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        self.as_stored().write(0, reply, out);
    }

    /// Adds its records to a response that has an alias in front, and returns its code.
    pub(crate) fn append_to(&self, writer: &mut Writer<'_>) -> Rcode {
        let wire = self.stored.get(..usize::from(self.wire_len)).unwrap_or_default();
        let Ok(message) = Message::parse(wire) else { return Rcode::SERVFAIL };
        message.records().for_each(|record| writer.copy(&record, record.ttl));
        if message.flags().truncated() {
            writer.cut();
        }
        message.rcode()
    }

    pub(super) fn as_stored(&self) -> Stored<'_> {
        Stored { bytes: &self.stored, wire_len: self.wire_len }
    }
}

impl Stored<'_> {
    /// Writes the response for one client: its id, letters and flags, TTLs less `age_secs`, our
    /// OPT, and nothing but TC where it is over the limit.
    pub(super) fn write(self, age_secs: u32, reply: &Reply<'_>, out: &mut Vec<u8>) {
        let Some((wire, offsets)) = self.bytes.split_at_checked(usize::from(self.wire_len)) else {
            return;
        };
        let request = reply.request;
        let kept = Header::read(wire).map_or(Flags::default(), |header| header.flags);
        let flags = request
            .response_flags()
            .with_rcode(kept.rcode())
            .with_truncated(kept.truncated())
            .with_authentic(kept.authentic() && request.wants_authentic());
        let needed = wire.len() + reply.edns.map_or(0, |_| Edns::BYTES);
        out.clear();
        if needed > reply.limit {
            let question_end = Header::BYTES + request.question().len();
            out.extend_from_slice(wire.get(..question_end).unwrap_or_default());
            put(out, 6, &[0; 6]);
            put(out, 2, &flags.with_truncated(true).0.to_be_bytes());
        } else {
            out.extend_from_slice(wire);
            put(out, 2, &flags.0.to_be_bytes());
            age(out, offsets, age_secs);
        }
        put(out, 0, &request.id());
        put(out, Header::BYTES, request.question());
        if let Some(edns) = reply.edns {
            append_opt(out, edns);
        }
    }

    /// A copy whose TTLs are less by `age_secs`. It is for use now, not to be kept.
    pub(super) fn aged(self, age_secs: u32) -> Answer {
        let mut stored: Box<[u8]> = self.bytes.into();
        if let Some((wire, offsets)) = stored.split_at_mut_checked(usize::from(self.wire_len)) {
            age(wire, offsets, age_secs);
        }
        Answer { stored, wire_len: self.wire_len, life_secs: 0, failure: false }
    }
}

/// Whether `message` is a response to exactly the question of `key`.
fn answers_key(message: &Message<'_>, key: &Key) -> bool {
    let same = message.question().is_some_and(|question| {
        question.name == *key.name() && question.rtype == key.rtype() && question.class.0 == 1
    });
    let extended = message.edns().is_some_and(|edns| edns.extended_rcode != 0);
    let same = same && message.has_plain_question();
    same && message.flags().response() && message.flags().opcode() == 0 && !extended
}

/// How long `message`, which is not truncated, may be kept, in seconds; 0 is not at all.
fn life_secs(message: &Message<'_>, limits: TtlLimits) -> u32 {
    let positive = has_answer(message);
    match message.rcode() {
        Rcode::NOERROR if positive => limits.keep(least_ttl(message), limits.max_secs),
        Rcode::NOERROR | Rcode::NXDOMAIN => negative_life_secs(message, limits),
        // RFC 9520 section 2: REFUSED and FORMERR are failures to resolve as much as SERVFAIL.
        _ => limits.failure_secs,
    }
}

fn has_answer(message: &Message<'_>) -> bool {
    let asked = message.question().map(|question| question.rtype);
    message.answers().any(|record| Some(record.rtype) == asked)
}

/// RFC 2308 section 5: the least of the SOA's TTL and its MINIMUM; without SOA not at all.
fn negative_life_secs(message: &Message<'_>, limits: TtlLimits) -> u32 {
    let minimum = message.records().find_map(|record| match record.data() {
        RecordData::Soa { minimum, .. } if record.section == Section::Authority => Some(minimum),
        _ => None,
    });
    let most = limits.negative_max_secs.min(limits.max_secs);
    minimum.map_or(0, |minimum| limits.keep(minimum.min(least_ttl(message)), most))
}

impl TtlLimits {
    /// A TTL within the bounds; 0 stays 0, since it forbids to keep (RFC 1035 section 3.2.1).
    fn keep(self, ttl: u32, most: u32) -> u32 {
        if ttl == 0 { 0 } else { ttl.max(self.min_secs).min(most) }
    }
}

fn least_ttl(message: &Message<'_>) -> u32 {
    let records = message.records().filter(|record| record.rtype != RecordType::OPT);
    records.map(|record| plain_ttl(&record)).min().unwrap_or(0)
}

/// RFC 2181 section 8: a TTL with the highest bit set is 0.
fn plain_ttl(record: &Record<'_>) -> u32 {
    if record.ttl > i32::MAX.cast_unsigned() { 0 } else { record.ttl }
}

/// The message without its OPT record (RFC 6891 section 6.1.1: it belongs to its hop).
fn without_opt(message: &Message<'_>, key: &Key) -> Result<Vec<u8>> {
    let records: Vec<_> = message.records().collect();
    let opt = records.iter().position(|record| record.rtype == RecordType::OPT);
    let Some(first) = records.first().filter(|_| opt.is_some_and(|at| at + 1 < records.len()))
    else {
        return Ok(cut_last_opt(message, &records, opt));
    };
    // Compressed names behind OPT would move, so the message is written anew.
    let query = key.query(0);
    let request = Request::parse(&query).map_err(|_| malformed("the key is no question"))?;
    let mut wire = Vec::with_capacity(first.message().len());
    let mut writer = Writer::response(&mut wire, &request, None, MAX_MESSAGE_BYTES);
    writer.authentic(message.flags().authentic());
    let kept = records.iter().filter(|record| record.rtype != RecordType::OPT);
    kept.for_each(|record| writer.copy(record, record.ttl));
    if message.flags().truncated() {
        writer.cut();
    }
    writer.finish(message.rcode());
    Ok(wire)
}

fn cut_last_opt(message: &Message<'_>, records: &[Record<'_>], opt: Option<usize>) -> Vec<u8> {
    let Some(last) = records.last() else { return bare(message) };
    let end = if opt.is_some() { last.start() } else { last.end() };
    let mut wire = last.message().get(..end).unwrap_or_default().to_vec();
    let left = message.header().additionals - u16::from(opt.is_some());
    put(&mut wire, 10, &left.to_be_bytes());
    wire
}

/// A message that has no records at all.
fn bare(message: &Message<'_>) -> Vec<u8> {
    let mut wire = message.header().to_bytes().to_vec();
    if let Some(asked) = message.question() {
        wire.extend_from_slice(asked.name.as_wire());
        wire.extend_from_slice(&asked.rtype.0.to_be_bytes());
        wire.extend_from_slice(&asked.class.0.to_be_bytes());
    }
    wire
}

/// Puts the question into lower case and every TTL within its bounds; returns the TTLs' offsets.
fn set_ttls(wire: &mut [u8], key: &Key, limits: TtlLimits, life_secs: u32) -> Result<Vec<u16>> {
    put(wire, Header::BYTES, &question(key));
    let message = Message::parse(wire)?;
    let negative = !has_answer(&message);
    let ttls: Vec<_> = message
        .records()
        .map(|record| {
            let soa = negative && record.rtype == RecordType::SOA;
            let ttl = limits.keep(plain_ttl(&record), limits.max_secs);
            (record.ttl_at(), if soa { ttl.min(life_secs) } else { ttl })
        })
        .collect();
    ttls.into_iter()
        .map(|(at, ttl)| {
            put(wire, at, &ttl.to_be_bytes());
            u16::try_from(at).map_err(|_| malformed("the response is too long"))
        })
        .collect()
}

fn question(key: &Key) -> Vec<u8> {
    let [high, low] = key.rtype().0.to_be_bytes();
    [key.name().as_wire(), &[high, low, 0, 1]].concat()
}

fn age(wire: &mut [u8], offsets: &[u8], age_secs: u32) {
    if age_secs == 0 {
        return;
    }
    for offset in offsets.as_chunks::<2>().0 {
        let at = usize::from(u16::from_le_bytes(*offset));
        if let Some(slot) = wire.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<4>) {
            *slot = u32::from_be_bytes(*slot).saturating_sub(age_secs).to_be_bytes();
        }
    }
}

/// Appends our OPT and counts it.
fn append_opt(out: &mut Vec<u8>, edns: Edns) {
    out.extend_from_slice(&edns.to_bytes());
    if let Some(count) = out.get_mut(10..).and_then(<[u8]>::first_chunk_mut::<2>) {
        *count = u16::from_be_bytes(*count).saturating_add(1).to_be_bytes();
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(slot) = bytes.get_mut(at..at + value.len()) {
        slot.copy_from_slice(value);
    }
}

fn malformed(message: &'static str) -> Error {
    Error::new(ErrorKind::Malformed, message)
}
