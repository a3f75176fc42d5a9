//! Frames of HTTP/2 (RFC 9113, section 4 and 6).

/// A frame's head: three bytes of length, type, flags, stream.
pub(super) const HEAD: usize = 9;
/// The longest payload that a peer may send by default, and may always be sent.
pub(super) const MAX_PAYLOAD: usize = 16_384;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const PRIORITY: u8 = 0x20;

pub(super) const HEADER_TABLE_SIZE: u16 = 1;
pub(super) const ENABLE_PUSH: u16 = 2;
pub(super) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;

/// A frame that has arrived whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame of `bytes`, or `None` while a part of it is missing.
    pub(super) fn first(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [a, b, c, kind, flags, stream @ ..] = *head;
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        Some(Self { kind, flags, stream, payload: rest.get(..len)? })
    }

    pub(super) fn len(&self) -> usize {
        HEAD + self.payload.len()
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload without padding and priority; `None` if it is shorter than they are.
    pub(super) fn content(&self) -> Option<&'a [u8]> {
        let mut content = self.payload;
        if self.has(PADDED) {
            let (padding, rest) = content.split_first()?;
            content = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
        }
        if self.kind == HEADERS && self.has(PRIORITY) {
            content = content.get(5..)?;
        }
        Some(content)
    }

    /// The first number of 32 bits of the payload.
    pub(super) fn number(&self) -> Option<u32> {
        self.payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// A settings frame's identifiers and values.
    pub(super) fn settings(&self) -> impl Iterator<Item = (u16, u32)> + 'a {
        self.payload
            .as_chunks::<6>()
            .0
            .iter()
            .map(|&[a, b, rest @ ..]| (u16::from_be_bytes([a, b]), u32::from_be_bytes(rest)))
    }
}

/// Appends a frame's head.
pub(super) fn head(out: &mut Vec<u8>, len: usize, kind: u8, flags: u8, stream: u32) {
    let [.., high, middle, low] = len.to_be_bytes();
    out.extend_from_slice(&[high, middle, low, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// Appends a frame that gives a stream, or with 0 the connection, `more` bytes to send.
pub(super) fn window_update(out: &mut Vec<u8>, stream: u32, more: u32) {
    head(out, 4, WINDOW_UPDATE, 0, stream);
    out.extend_from_slice(&more.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_once_it_is_whole() {
        let mut bytes = Vec::new();
        window_update(&mut bytes, 7, 300);
        for len in 0..bytes.len() {
            assert!(Frame::first(&bytes[..len]).is_none());
        }
        let frame = Frame::first(&bytes).unwrap();
        assert_eq!((frame.kind, frame.stream, frame.number()), (WINDOW_UPDATE, 7, Some(300)));
        assert_eq!(frame.len(), bytes.len());
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let frame = |flags, payload| Frame { kind: HEADERS, flags, stream: 1, payload };
        assert_eq!(frame(PADDED, b"\x02ab\0\0").content(), Some(&b"ab"[..]));
        assert_eq!(frame(PADDED | PRIORITY, b"\x01\0\0\0\0\0ab\0").content(), Some(&b"ab"[..]));
        assert_eq!(frame(PADDED, b"\x03ab").content(), None);
    }
}
