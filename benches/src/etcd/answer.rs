//! Answers, taken apart as they arrive: a list of 30 MB is never held as a whole.

/// An answer that is not gRPC or not protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a malformed answer")
    }
}

impl std::error::Error for Malformed {}

/// What a message is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// A field that is a number.
    Number(u64, u64),
    /// A field that is bytes or a message of its own.
    Bytes(u64, &'a [u8]),
    /// The message is complete.
    End,
}

/// `header` of every answer.
pub const HEADER: u64 = 1;
/// `ResponseHeader.revision`.
pub const REVISION: u64 = 3;
/// `RangeResponse.kvs`.
pub const KVS: u64 = 2;
/// `RangeResponse.more`.
pub const MORE: u64 = 3;
/// `RangeResponse.count`.
pub const COUNT: u64 = 4;

/// gRPC's prefix of a message: whether it is compressed, its length.
const PREFIX: usize = 5;
/// No message of etcd's is as long.
const LONGEST: usize = 1 << 31;

/// Takes apart a body of messages, given in pieces that are cut anywhere.
#[derive(Debug, Default)]
pub struct Scanner {
    /// The beginning of a field whose end has not arrived.
    stash: Vec<u8>,
    /// What is to come of the message, if one has begun.
    left: Option<usize>,
}

impl Scanner {
    /// Forgets what was begun.
    pub fn clear(&mut self) {
        self.stash.clear();
        self.left = None;
    }

    /// Takes a piece, and gives each field that is complete with it.
    ///
    /// # Errors
    /// If the body is malformed.
    pub fn feed(
        &mut self,
        mut piece: &[u8],
        mut each: impl FnMut(Part<'_>),
    ) -> Result<(), Malformed> {
        while !self.stash.is_empty() {
            let missing = self.element_len(&self.stash)? - self.stash.len();
            let (head, rest) = piece.split_at(missing.min(piece.len()));
            self.stash.extend_from_slice(head);
            piece = rest;
            if self.element_len(&self.stash)? == self.stash.len() {
                let mut stash = std::mem::take(&mut self.stash);
                self.element(&stash, &mut each)?;
                stash.clear();
                self.stash = stash;
            } else if piece.is_empty() {
                return Ok(());
            }
        }
        while !piece.is_empty() {
            let len = self.element_len(piece)?;
            let Some((element, rest)) = piece.split_at_checked(len) else {
                self.stash.extend_from_slice(piece);
                return Ok(());
            };
            self.element(element, &mut each)?;
            piece = rest;
        }
        Ok(())
    }

    /// How long the prefix or field is that `bytes` begin with; while not even that can be told,
    /// one more than there are.
    fn element_len(&self, bytes: &[u8]) -> Result<usize, Malformed> {
        if self.left.is_none() {
            return Ok(PREFIX);
        }
        let mut rest = bytes;
        let (Some(key), Some(value)) = (varint(&mut rest), varint(&mut rest)) else {
            return if bytes.len() < 20 { Ok(bytes.len() + 1) } else { Err(Malformed) };
        };
        let head = bytes.len() - rest.len();
        match (key & 7, usize::try_from(value)) {
            (0, _) => Ok(head),
            (2, Ok(len)) if len < LONGEST => Ok(head + len),
            _ => Err(Malformed),
        }
    }

    fn element(
        &mut self,
        element: &[u8],
        each: &mut impl FnMut(Part<'_>),
    ) -> Result<(), Malformed> {
        let left = if let Some(left) = self.left {
            each(field(&mut &element[..]).ok_or(Malformed)?);
            left.checked_sub(element.len()).ok_or(Malformed)?
        } else {
            let (0, [a, b, c, d]) = (element[0], [element[1], element[2], element[3], element[4]])
            else {
                return Err(Malformed);
            };
            u32::from_be_bytes([a, b, c, d]) as usize
        };
        self.left = Some(left).filter(|left| *left > 0);
        if left == 0 {
            each(Part::End);
        }
        Ok(())
    }
}

/// The fields of a message that is at hand as a whole, up to where it is malformed.
pub fn fields(mut message: &[u8]) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || field(&mut message))
}

/// The first field `number` that is bytes; none if there is none.
#[must_use]
pub fn bytes_of(message: &[u8], number: u64) -> &[u8] {
    fields(message)
        .find_map(|part| match part {
            Part::Bytes(field, bytes) if field == number => Some(bytes),
            _ => None,
        })
        .unwrap_or_default()
}

/// The first field `number` that is a number; an absent one is 0, as protobuf has it.
#[must_use]
pub fn number_of(message: &[u8], number: u64) -> u64 {
    fields(message)
        .find_map(|part| match part {
            Part::Number(field, value) if field == number => Some(value),
            _ => None,
        })
        .unwrap_or_default()
}

/// Takes one field off.
fn field<'a>(rest: &mut &'a [u8]) -> Option<Part<'a>> {
    let key = varint(rest)?;
    let value = varint(rest)?;
    match key & 7 {
        0 => Some(Part::Number(key >> 3, value)),
        2 => {
            let (bytes, after) = rest.split_at_checked(usize::try_from(value).ok()?)?;
            *rest = after;
            Some(Part::Bytes(key >> 3, bytes))
        }
        _ => None,
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two messages: `{ 1: "ab", 4: 300 }` and an empty one.
    const BODY: &[u8] = b"\0\0\0\0\x07\x0a\x02ab\x20\xac\x02\0\0\0\0\0";

    fn parts(scanner: &mut Scanner, pieces: &[&[u8]]) -> Result<Vec<String>, Malformed> {
        let mut parts = Vec::new();
        for piece in pieces {
            scanner.feed(piece, |part| parts.push(format!("{part:?}")))?;
        }
        Ok(parts)
    }

    #[test]
    fn a_body_gives_the_same_fields_wherever_it_is_cut() {
        let whole = parts(&mut Scanner::default(), &[BODY]).unwrap();
        let expected = [Part::Bytes(1, b"ab"), Part::Number(4, 300), Part::End, Part::End];
        assert_eq!(whole, expected.map(|part| format!("{part:?}")));
        for cut in 0..BODY.len() {
            let (head, rest) = BODY.split_at(cut);
            assert_eq!(parts(&mut Scanner::default(), &[head, rest]).unwrap(), whole, "{cut}");
        }
        let bytes: Vec<_> = BODY.chunks(1).collect();
        assert_eq!(parts(&mut Scanner::default(), &bytes).unwrap(), whole);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for body in [&b"\x01\0\0\0\x01a"[..], b"\0\0\0\0\x02\x0a\x05abcde", b"\0\0\0\0\x02\x0d\0"] {
            assert_eq!(parts(&mut Scanner::default(), &[body]), Err(Malformed), "{body:?}");
        }
    }

    #[test]
    fn fields_are_found_behind_others() {
        assert_eq!(number_of(&BODY[PREFIX..], 4), 300);
        assert_eq!(number_of(&BODY[PREFIX..], 5), 0);
        assert_eq!(bytes_of(&BODY[PREFIX..], 1), b"ab");
        assert_eq!(bytes_of(b"\x0a\x7f", 1), b"");
    }
}
