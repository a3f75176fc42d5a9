//! Continue tokens: a list's revision and the key to go on after, opaque to clients.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::predicate::Predicate;
use crate::error::{Error, ErrorKind, Result};

/// The first byte, so that a later format can be told apart.
const VERSION: u8 = 2;
/// Version, revision, what remains, fingerprint of the request, checksum.
const FIXED: usize = 1 + 8 + 8 + 8 + 8;
/// What remains is not known.
const UNKNOWN: u64 = u64::MAX;
/// No source takes a longer key; a longer token is refused before it is decoded.
const KEY_MAX: usize = 64 << 20;

/// Where the next page of a list starts. It is text that a client hands back unchanged, and
/// remembers the revision of the first page, so that all pages show one state.
///
/// ```
/// use watch_cache::ContinueToken;
///
/// assert!("0100".parse::<ContinueToken>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContinueToken {
    revision: u64,
    /// How many objects come after, if that is known.
    remaining: u64,
    /// Of the prefix and the selector that the list was made with.
    request: u64,
    after: Bytes,
}

impl ContinueToken {
    pub(crate) fn new(
        revision: u64,
        predicate: &Predicate,
        after: Bytes,
        remaining: Option<usize>,
    ) -> Self {
        let remaining = remaining.map_or(UNKNOWN, |remaining| remaining as u64);
        Self { revision, remaining, request: fingerprint(predicate), after }
    }

    /// The revision of every page.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The last key of the page before.
    pub(crate) fn after(&self) -> &Bytes {
        &self.after
    }

    /// How many objects come after it, if that is known.
    pub(crate) fn remaining(&self) -> Option<usize> {
        Some(self.remaining).filter(|remaining| *remaining != UNKNOWN)?.try_into().ok()
    }

    /// Whether this is a token of a list of `predicate`.
    pub(crate) fn check(&self, predicate: &Predicate) -> Result<()> {
        if self.request != fingerprint(predicate) || !self.after.starts_with(&predicate.prefix) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "continue token: it is of another list: give the prefix and selector it came from",
            ));
        }
        Ok(())
    }
}

impl fmt::Display for ContinueToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(FIXED + self.after.len());
        bytes.push(VERSION);
        bytes.extend(self.revision.to_be_bytes());
        bytes.extend(self.remaining.to_be_bytes());
        bytes.extend(self.request.to_be_bytes());
        bytes.extend(&self.after);
        bytes.extend(hash(HASH_START, &bytes).to_be_bytes());
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ContinueToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        decode(text).ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                "continue token: malformed: give it back unchanged, or list again without it",
            )
        })
    }
}

fn decode(text: &str) -> Option<ContinueToken> {
    if text.len() > 2 * (FIXED + KEY_MAX) || !text.len().is_multiple_of(2) {
        return None;
    }
    let digits = text.as_bytes().chunks_exact(2);
    let bytes: Vec<u8> = digits.map(hex_byte).collect::<Option<_>>()?;
    let (body, checksum) = bytes.split_last_chunk::<8>()?;
    if hash(HASH_START, body) != u64::from_be_bytes(*checksum) {
        return None;
    }
    let (version, rest) = body.split_first()?;
    let (revision, rest) = rest.split_first_chunk::<8>()?;
    let (remaining, rest) = rest.split_first_chunk::<8>()?;
    let (request, after) = rest.split_first_chunk::<8>()?;
    (*version == VERSION).then(|| ContinueToken {
        revision: u64::from_be_bytes(*revision),
        remaining: u64::from_be_bytes(*remaining),
        request: u64::from_be_bytes(*request),
        after: Bytes::copy_from_slice(after),
    })
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = *digits else { return None };
    Some(hex_digit(high)? << 4 | hex_digit(low)?)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn fingerprint(predicate: &Predicate) -> u64 {
    let length = |bytes: &Bytes| (bytes.len() as u64).to_be_bytes();
    let state = hash(HASH_START, &length(&predicate.prefix));
    let state = hash(state, &predicate.prefix);
    let state = match &predicate.index {
        Some((index, value)) => {
            let state = hash(state, &(*index as u64).to_be_bytes());
            hash(hash(state, &length(value)), value)
        }
        None => state,
    };
    let conditions = predicate.filter.iter().flat_map(|filter| filter.conditions());
    // A byte before each that no text has.
    conditions.fold(state, |state, condition| {
        hash(hash(state, &[u8::MAX]), condition.to_string().as_bytes())
    })
}

/// FNV-1a, 64 bits: it finds accidents; a token grants nothing that its holder could not ask for.
const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;

fn hash(state: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(state, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn predicate(prefix: &str, index: Option<(usize, &str)>) -> Predicate {
        let index = index.map(|(index, value)| (index, Bytes::from(value.to_owned())));
        Predicate { prefix: Bytes::from(prefix.to_owned()), index, filter: None }
    }

    #[test]
    fn a_token_is_of_one_list() {
        let list = predicate("/a/", Some((0, "n1")));
        let token = ContinueToken::new(7, &list, Bytes::from("/a/x"), None);
        token.check(&list).unwrap();
        assert_eq!((&token.after()[..], token.remaining()), (&b"/a/x"[..], None));
        let others = [("/a", Some((0, "n1"))), ("/a/", None), ("/a/", Some((1, "n1")))];
        for (prefix, index) in others {
            let error = token.check(&predicate(prefix, index)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }

    proptest! {
        #[test]
        fn tokens_round_trip_and_no_altered_one_passes(
            revision: u64, key: Vec<u8>, at: prop::sample::Index, flip in 1_u8..=255,
        ) {
            let list = predicate("", None);
            let token = ContinueToken::new(revision, &list, Bytes::from(key), Some(3));
            let text = token.to_string();
            prop_assert_eq!(&text.parse::<ContinueToken>().unwrap(), &token);
            let mut altered = text.clone().into_bytes();
            let at = at.index(altered.len());
            altered[at] ^= flip;
            let altered = String::from_utf8_lossy(&altered).into_owned();
            prop_assert!(altered.parse::<ContinueToken>().is_err());
            prop_assert!(text[..at].parse::<ContinueToken>().is_err());
        }

        #[test]
        fn hostile_text_is_refused(bytes: Vec<u8>, text: String) {
            let hex = bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            prop_assert!(hex.parse::<ContinueToken>().is_err());
            prop_assert!(text.parse::<ContinueToken>().is_err());
        }
    }
}
