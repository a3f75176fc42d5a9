//! Gzip members (RFC 1952): header and trailer.

use zlib_rs::crc32::crc32;

use crate::error::{Error, ErrorKind, Result};

/// The first two bytes of a member.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// CRC-32 and length after the deflate data.
pub(super) const TRAILER_BYTES: usize = 8;

const METHOD_DEFLATE: u8 = 8;
const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0xe0;
/// The extra field holds at most 64 KiB; names and comments have no limit of their own.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Reads one member's header, fed in pieces of any size. It holds no more than a few bytes.
#[derive(Debug, Clone)]
pub(super) struct HeaderParser {
    state: State,
    flags: u8,
    crc: u32,
    seen: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fixed { at: u8 },
    ExtraLength { low: Option<u8> },
    Extra { left: u16 },
    Name,
    Comment,
    HeaderCrc { low: Option<u8> },
    Done,
}

impl HeaderParser {
    pub(super) fn new() -> Self {
        Self { state: State::Fixed { at: 0 }, flags: 0, crc: 0, seen: 0 }
    }

    /// Takes the header's next bytes; gives how many, and whether the header is whole.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool)> {
        let mut taken = 0;
        for &byte in bytes {
            if self.state == State::Done {
                break;
            }
            let covered = !matches!(self.state, State::HeaderCrc { .. });
            if self.state == (State::Fixed { at: 3 }) {
                self.flags = byte;
            }
            self.state = self.step(byte)?;
            if covered {
                self.crc = crc32(self.crc, &[byte]);
            }
            taken += 1;
            self.seen += 1;
            if self.seen > MAX_HEADER_BYTES {
                return Err(corrupt("its header has no end"));
            }
            self.skip_absent();
        }
        Ok((taken, self.state == State::Done))
    }

    fn step(&self, byte: u8) -> Result<State> {
        Ok(match self.state {
            State::Fixed { at } => fixed(at, byte)?,
            State::ExtraLength { low: None } => State::ExtraLength { low: Some(byte) },
            State::ExtraLength { low: Some(low) } => {
                State::Extra { left: u16::from_le_bytes([low, byte]) }
            }
            State::Extra { left } => State::Extra { left: left.saturating_sub(1) },
            State::Name if byte == 0 => State::Comment,
            State::Comment if byte == 0 => State::HeaderCrc { low: None },
            State::HeaderCrc { low: None } => State::HeaderCrc { low: Some(byte) },
            State::HeaderCrc { low: Some(low) } => {
                let [first, second, ..] = self.crc.to_le_bytes();
                if [first, second] != [low, byte] {
                    return Err(corrupt("header checksum mismatch"));
                }
                State::Done
            }
            state @ (State::Name | State::Comment | State::Done) => state,
        })
    }

    /// Passes over the parts that the flags say are absent.
    fn skip_absent(&mut self) {
        loop {
            let next = match self.state {
                State::ExtraLength { low: None } if self.flags & FLAG_EXTRA == 0 => State::Name,
                State::Extra { left: 0 } => State::Name,
                State::Name if self.flags & FLAG_NAME == 0 => State::Comment,
                State::Comment if self.flags & FLAG_COMMENT == 0 => State::HeaderCrc { low: None },
                State::HeaderCrc { low: None } if self.flags & FLAG_HEADER_CRC == 0 => State::Done,
                _ => return,
            };
            self.state = next;
        }
    }
}

/// The ten bytes that every header has.
fn fixed(at: u8, byte: u8) -> Result<State> {
    let [first, second] = MAGIC;
    match at {
        0 if byte != first => return Err(corrupt("no gzip magic")),
        1 if byte != second => return Err(corrupt("no gzip magic")),
        2 if byte != METHOD_DEFLATE => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("gzip: method {byte}: only deflate (8) is defined"),
            ));
        }
        3 if byte & FLAGS_RESERVED != 0 => return Err(corrupt("reserved header flag is set")),
        _ => {}
    }
    Ok(if at == 9 { State::ExtraLength { low: None } } else { State::Fixed { at: at + 1 } })
}

pub(super) fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("gzip: {what}: the blob is damaged or no gzip"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

    fn with_flags(flags: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = PLAIN.to_vec();
        header[3] = flags;
        header.extend_from_slice(rest);
        header
    }

    fn length(bytes: &[u8], piece: usize) -> Result<Option<usize>> {
        let mut parser = HeaderParser::new();
        let mut total = 0;
        for piece in bytes.chunks(piece) {
            let (taken, done) = parser.take(piece)?;
            total += taken;
            if done {
                return Ok(Some(total));
            }
        }
        Ok(None)
    }

    #[test]
    fn every_flag_in_every_piece_size() {
        let mut all = with_flags(0x1f, b"\x03\0abcname\0comment\0");
        let [low, high, ..] = crc32(0, &all).to_le_bytes();
        all.extend_from_slice(&[low, high]);
        let cases = [
            PLAIN.to_vec(),
            with_flags(FLAG_EXTRA, b"\0\0"),
            with_flags(FLAG_EXTRA, b"\x02\0xy"),
            with_flags(FLAG_NAME, b"layer.tar\0"),
            with_flags(FLAG_COMMENT, b"\0"),
            with_flags(FLAG_NAME | FLAG_COMMENT | 1, b"a\0b\0"),
            all,
        ];
        for header in cases {
            let data = [header.as_slice(), b"deflate data"].concat();
            for piece in 1..=data.len() {
                assert_eq!(length(&data, piece).unwrap(), Some(header.len()), "{header:?} {piece}");
            }
            assert_eq!(length(&header[..header.len() - 1], 3).unwrap(), None);
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let wrong_crc = with_flags(FLAG_HEADER_CRC, &[0, 0]);
        let corrupt = [with_flags(0x20, b""), b"PK\x03\x04".to_vec(), vec![0x1f, 0x8c], wrong_crc];
        for bytes in corrupt {
            assert_eq!(length(&bytes, 1).unwrap_err().kind(), ErrorKind::Corrupt, "{bytes:?}");
        }
        assert_eq!(length(&[0x1f, 0x8b, 7], 1).unwrap_err().kind(), ErrorKind::Unsupported);
        let endless = with_flags(FLAG_NAME, &vec![b'x'; 2 << 20]);
        assert_eq!(length(&endless, 4096).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
