//! The header fields of answers (RFC 7541), as far as gRPC needs them: the two statuses and the
//! message. Of the others only the size is kept, which says when an indexed field is forgotten.

use std::collections::VecDeque;

use super::Broken;
use super::huffman::Huffman;

/// The size of the table of indexed fields that a peer may use by default.
const TABLE_SIZE: usize = 4096;
/// What an indexed field counts for beside its bytes.
const ENTRY: usize = 32;

/// A field of interest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    HttpStatus(u16),
    GrpcStatus(u8),
    GrpcMessage(String),
    Other,
}

/// What a field's name says of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    HttpStatus,
    GrpcStatus,
    GrpcMessage,
    Other,
}

#[derive(Debug)]
struct Entry {
    name: Name,
    name_len: usize,
    size: usize,
    field: Field,
}

/// The peer's side of the compression: what it has indexed so far.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The newest first.
    table: VecDeque<Entry>,
    size: usize,
    limit: usize,
    huffman: Huffman,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { table: VecDeque::new(), size: 0, limit: TABLE_SIZE, huffman: Huffman::new() }
    }

    /// Decodes the fields of one block.
    pub(super) fn decode(
        &mut self,
        mut block: &[u8],
        mut each: impl FnMut(&Field),
    ) -> Result<(), Broken> {
        while let Some(&first) = block.first() {
            match first {
                0x80.. => {
                    let index = number(&mut block, 7)?;
                    self.indexed(index, &mut each)?;
                }
                0x40.. => {
                    let entry = self.literal(&mut block, 6)?;
                    each(&entry.field);
                    self.insert(entry);
                }
                0x20.. => {
                    self.limit = number(&mut block, 5)?.min(TABLE_SIZE);
                    self.evict();
                }
                _ => each(&self.literal(&mut block, 4)?.field),
            }
        }
        Ok(())
    }

    fn indexed(&self, index: usize, each: &mut impl FnMut(&Field)) -> Result<(), Broken> {
        if let Some(place) = index.checked_sub(STATIC_NAMES.len() + 1) {
            each(&self.table.get(place).ok_or(Broken("no such header field"))?.field);
        } else if let Some(status) = STATUSES.get(index.wrapping_sub(FIRST_STATUS)) {
            each(&Field::HttpStatus(*status));
        }
        Ok(())
    }

    fn literal(&self, block: &mut &[u8], bits: u32) -> Result<Entry, Broken> {
        let index = number(block, bits)?;
        let (name, name_len) = if index == 0 {
            let text = self.string(block)?;
            (name(&text), text.len())
        } else if let Some(place) = index.checked_sub(STATIC_NAMES.len() + 1) {
            let entry = self.table.get(place).ok_or(Broken("no such header name"))?;
            (entry.name, entry.name_len)
        } else {
            let text = STATIC_NAMES[index - 1].as_bytes();
            (name(text), text.len())
        };
        let value = self.string(block)?;
        let size = ENTRY + name_len + value.len();
        Ok(Entry { name, name_len, size, field: field(name, &value)? })
    }

    fn string(&self, block: &mut &[u8]) -> Result<Vec<u8>, Broken> {
        let coded = block.first().is_some_and(|byte| byte & 0x80 != 0);
        let len = number(block, 7)?;
        let (text, rest) = block.split_at_checked(len).ok_or(Broken("a cut header field"))?;
        *block = rest;
        if coded { self.huffman.decode(text) } else { Ok(text.to_vec()) }
    }

    fn insert(&mut self, entry: Entry) {
        self.size += entry.size;
        self.table.push_front(entry);
        self.evict();
    }

    fn evict(&mut self) {
        while self.size > self.limit {
            self.size -= self.table.pop_back().map_or(self.size, |entry| entry.size);
        }
    }
}

fn name(text: &[u8]) -> Name {
    match text {
        b":status" => Name::HttpStatus,
        b"grpc-status" => Name::GrpcStatus,
        b"grpc-message" => Name::GrpcMessage,
        _ => Name::Other,
    }
}

fn field(name: Name, value: &[u8]) -> Result<Field, Broken> {
    let text = String::from_utf8_lossy(value);
    Ok(match name {
        Name::HttpStatus => Field::HttpStatus(text.parse().map_err(|_| Broken("a status"))?),
        Name::GrpcStatus => Field::GrpcStatus(text.parse().map_err(|_| Broken("a status"))?),
        Name::GrpcMessage => Field::GrpcMessage(text.into_owned()),
        Name::Other => Field::Other,
    })
}

/// A number that begins with the low `bits` of a byte.
fn number(block: &mut &[u8], bits: u32) -> Result<usize, Broken> {
    let cut = Broken("a cut header field");
    let mask = (1_usize << bits) - 1;
    let (first, mut rest) = block.split_first().ok_or(cut)?;
    let mut number = usize::from(*first) & mask;
    if number == mask {
        for shift in (0..).step_by(7) {
            if shift > 28 {
                return Err(Broken("a number of a header field"));
            }
            let (byte, after) = rest.split_first().ok_or(cut)?;
            rest = after;
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Ok(number)
}

/// Where the statuses are in the static table, and what they are.
const FIRST_STATUS: usize = 8;
const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];

/// The names of the static table (appendix A), from index 1 on.
#[rustfmt::skip]
const STATIC_NAMES: [&str; 61] = [
    ":authority", ":method", ":method", ":path", ":path", ":scheme", ":scheme", ":status",
    ":status", ":status", ":status", ":status", ":status", ":status", "accept-charset",
    "accept-encoding", "accept-language", "accept-ranges", "accept", "access-control-allow-origin",
    "age", "allow", "authorization", "cache-control", "content-disposition", "content-encoding",
    "content-language", "content-length", "content-location", "content-range", "content-type",
    "cookie", "date", "etag", "expect", "expires", "from", "host", "if-match", "if-modified-since",
    "if-none-match", "if-range", "if-unmodified-since", "last-modified", "link", "location",
    "max-forwards", "proxy-authenticate", "proxy-authorization", "range", "referer", "refresh",
    "retry-after", "server", "set-cookie", "strict-transport-security", "transfer-encoding",
    "user-agent", "vary", "via", "www-authenticate",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(decoder: &mut Decoder, block: &[u8]) -> Vec<Field> {
        let mut fields = Vec::new();
        decoder.decode(block, |field| fields.push(field.clone())).unwrap();
        fields
    }

    #[test]
    fn a_status_is_read_and_then_known_by_its_index() {
        let mut decoder = Decoder::new();
        let answer = b"\x88\x5f\x10application/grpc";
        assert_eq!(fields(&mut decoder, answer), [Field::HttpStatus(200), Field::Other]);
        let trailers = b"\x40\x0bgrpc-status\x010\x40\x0cgrpc-message\0";
        let expected = [Field::GrpcStatus(0), Field::GrpcMessage(String::new())];
        assert_eq!(fields(&mut decoder, trailers), expected);
        assert_eq!(fields(&mut decoder, b"\xbf\xbe"), expected);
        // A new value of a known name, not indexed.
        assert_eq!(fields(&mut decoder, b"\x0f\x30\x0214"), [Field::GrpcStatus(14)]);
    }

    #[test]
    fn a_table_without_room_forgets_and_what_is_cut_is_refused() {
        let mut decoder = Decoder::new();
        let _known = fields(&mut decoder, b"\x40\x0bgrpc-status\x010");
        assert!(decoder.decode(b"\x20\xbe", |_| ()).is_err());
        assert!(decoder.decode(b"\x40\x0bgrpc", |_| ()).is_err());
        assert!(decoder.decode(b"\xff\xff\xff\xff\xff\xff\xff", |_| ()).is_err());
    }
}
