//! Domain names, held as uncompressed wire form.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use super::malformed;
use crate::error::{Error, ErrorKind, Result};

/// RFC 1035 section 2.3.4.
const MAX_NAME_BYTES: usize = 255;
const MAX_LABEL_BYTES: usize = 63;
/// Each pointer of an honest name follows at least one label, and a name has at most 127. More
/// pointers only serve to make every name of a message expensive.
const MAX_POINTERS: usize = 127;

/// A domain name. Comparison and hash ignore ASCII case (RFC 4343).
#[derive(Clone)]
pub struct Name {
    len: u8,
    wire: [u8; MAX_NAME_BYTES],
}

impl Name {
    /// The root, `.`.
    #[must_use]
    pub const fn root() -> Self {
        Self { len: 1, wire: [0; MAX_NAME_BYTES] }
    }

    /// Reads the name at byte `at` of `message`, following compression pointers, and returns it
    /// with the offset behind it.
    ///
    /// # Errors
    ///
    /// `Malformed` if it ends early, is longer than 255 bytes, or has a pointer that does not
    /// point backwards.
    pub fn read(message: &[u8], at: usize) -> Result<(Self, usize)> {
        let mut name = Self::root();
        let end = walk(message, at, |label| name.extend(label))?;
        Ok((name, end))
    }

    /// The name with `labels` before `suffix`.
    ///
    /// # Errors
    ///
    /// `Invalid` if a label or the whole is too long, or a label is empty.
    pub fn join<'l>(labels: impl IntoIterator<Item = &'l [u8]>, suffix: &Self) -> Result<Self> {
        let mut name = Self::root();
        for label in labels {
            name.push(label)?;
        }
        for label in suffix.labels() {
            name.push(label)?;
        }
        Ok(name)
    }

    /// The uncompressed wire form, with the root's zero at its end.
    #[must_use]
    pub fn as_wire(&self) -> &[u8] {
        self.wire.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The labels from the left, without the root.
    #[must_use]
    pub fn labels(&self) -> Labels<'_> {
        Labels { rest: self.as_wire() }
    }

    /// The name in the canonical form of RFC 4034 section 6.2.
    #[must_use]
    pub fn to_lowercase(&self) -> Self {
        let mut name = self.clone();
        // Lengths are at most 63, below 'A'.
        name.wire.make_ascii_lowercase();
        name
    }

    /// The name at the start of `bytes`, in lower case, if it stands there in full, without
    /// pointers.
    #[inline]
    pub(super) fn plain_lowercase(bytes: &[u8]) -> Option<Self> {
        let mut end = 0;
        loop {
            match *bytes.get(end)? {
                0 => break,
                len @ 1..=63 => end += 1 + usize::from(len),
                _ => return None,
            }
        }
        let mut name = Self { len: u8::try_from(end + 1).ok()?, wire: [0; MAX_NAME_BYTES] };
        let used = name.wire.get_mut(..=end)?;
        used.copy_from_slice(bytes.get(..=end)?);
        used.make_ascii_lowercase();
        Some(name)
    }

    /// The wire form of the labels before `suffix`, if the name ends with it.
    #[must_use]
    pub fn strip_suffix(&self, suffix: &Self) -> Option<&[u8]> {
        let mut rest = self.as_wire();
        while rest.len() > suffix.as_wire().len() {
            rest = next_label(rest)?.1;
        }
        let before = self.as_wire().len() - rest.len();
        rest.eq_ignore_ascii_case(suffix.as_wire()).then(|| self.as_wire().get(..before))?
    }

    fn push(&mut self, label: &[u8]) -> Result<()> {
        let total = usize::from(self.len) + label.len() + 1;
        if label.is_empty() || label.len() > MAX_LABEL_BYTES || total > MAX_NAME_BYTES {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a name has labels of 1 to 63 bytes and at most 255 in all: shorten it",
            ));
        }
        let mut with_length = [0; MAX_LABEL_BYTES + 1];
        if let Some((length, rest)) = with_length.split_first_mut() {
            *length = u8::try_from(label.len()).unwrap_or_default();
            rest.iter_mut().zip(label).for_each(|(to, from)| *to = *from);
        }
        self.extend(with_length.get(..=label.len()).unwrap_or_default());
        Ok(())
    }

    /// Appends a label with its length byte; the caller has checked the sizes.
    fn extend(&mut self, label: &[u8]) {
        let end = usize::from(self.len) - 1;
        if let Some(to) = self.wire.get_mut(end..end + label.len()) {
            to.copy_from_slice(label);
            self.len += u8::try_from(label.len()).unwrap_or_default();
        }
    }
}

/// Visits each label (with its length byte) of the name at `at` and returns the offset behind
/// the name. A pointer must lead before the run of labels that it ends, so the walk terminates.
pub(super) fn walk<'m>(
    message: &'m [u8],
    at: usize,
    mut visit: impl FnMut(&'m [u8]),
) -> Result<usize> {
    let (start, mut at, mut run, mut end) = (at, at, at, None);
    let (mut total, mut pointers) = (1, 0);
    let broken = |why: &str| malformed(format!("name at byte {start}: {why}"));
    loop {
        let len = *message.get(at).ok_or_else(|| broken("ends early"))?;
        match len {
            0 => return Ok(end.unwrap_or(at + 1)),
            1..=63 => {
                let next = at + 1 + usize::from(len);
                let label = message.get(at..next).ok_or_else(|| broken("ends early"))?;
                total += label.len();
                if total > MAX_NAME_BYTES {
                    return Err(broken("longer than 255 bytes"));
                }
                visit(label);
                at = next;
            }
            0xC0.. => {
                let low = *message.get(at + 1).ok_or_else(|| broken("ends early"))?;
                let target = usize::from(u16::from_be_bytes([len & 0x3F, low]));
                pointers += 1;
                if target >= run || pointers > MAX_POINTERS {
                    return Err(broken("a pointer that does not lead backwards, or too many"));
                }
                end = end.or(Some(at + 2));
                (at, run) = (target, target);
            }
            _ => return Err(broken("a label type that is not in use")),
        }
    }
}

/// The first label of `wire` and the rest behind it, or `None` at the root.
pub(crate) fn next_label(wire: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = wire.split_first()?;
    if len == 0 { None } else { rest.split_at_checked(usize::from(len)) }
}

/// The labels of a name, from the left.
#[derive(Debug, Clone)]
pub struct Labels<'n> {
    rest: &'n [u8],
}

impl<'n> Iterator for Labels<'n> {
    type Item = &'n [u8];

    fn next(&mut self) -> Option<&'n [u8]> {
        let (label, rest) = next_label(self.rest)?;
        self.rest = rest;
        Some(label)
    }
}

impl FromStr for Name {
    type Err = Error;

    /// Reads the presentation form: labels between dots, `\.` and `\DDD` as in RFC 1035
    /// section 5.1; a dot at the end changes nothing.
    fn from_str(text: &str) -> Result<Self> {
        let mut name = Self::root();
        let (mut label, mut bytes) = (Vec::new(), text.bytes());
        if text == "." {
            return Ok(name);
        }
        while let Some(byte) = bytes.next() {
            match byte {
                b'.' => {
                    name.push(&label)?;
                    label.clear();
                }
                b'\\' => label.push(unescape(&mut bytes)?),
                other => label.push(other),
            }
        }
        if !label.is_empty() {
            name.push(&label)?;
        }
        Ok(name)
    }
}

fn unescape(bytes: &mut impl Iterator<Item = u8>) -> Result<u8> {
    let bad = || Error::new(ErrorKind::Invalid, "a backslash needs a character or three digits");
    let first = bytes.next().ok_or_else(bad)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or_else(bad)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| bad())
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len <= 1 {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                    0x21..=0x7E => write!(f, "{}", char::from(byte))?,
                    other => write!(f, "\\{other:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_wire().eq_ignore_ascii_case(other.as_wire())
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.to_lowercase().as_wire());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_read_print_and_compare() {
        let name: Name = "WWW.Example.com".parse().unwrap();
        assert_eq!(name.to_string(), "WWW.Example.com.");
        assert_eq!(name, "www.example.com.".parse().unwrap());
        assert_eq!(name.to_lowercase().to_string(), "www.example.com.");
        assert_eq!(Name::root().to_string(), ".");
        assert_eq!(".".parse::<Name>().unwrap(), Name::root());
        assert_eq!(r"a\.b\000.c".parse::<Name>().unwrap().to_string(), r"a\.b\000.c.");
        for bad in ["a..b", ".a", r"a\", r"a\25", r"a\999", &"x".repeat(64)] {
            assert_eq!(bad.parse::<Name>().unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }

    #[test]
    fn a_name_has_at_most_255_bytes() {
        let label = "x".repeat(63);
        let fits = format!("{label}.{label}.{label}.{}", "x".repeat(61));
        assert_eq!(fits.parse::<Name>().unwrap().as_wire().len(), 255);
        assert!(format!("{fits}x").parse::<Name>().is_err());
    }

    #[test]
    fn a_suffix_is_cut_at_labels_only() {
        let zone: Name = "cluster.local".parse().unwrap();
        let strip =
            |text: &str| text.parse::<Name>().unwrap().strip_suffix(&zone).map(<[u8]>::to_vec);
        assert_eq!(strip("a.CLUSTER.local"), Some(b"\x01a".to_vec()));
        assert_eq!(strip("cluster.local"), Some(vec![]));
        assert_eq!(strip("acluster.local"), None);
        assert_eq!(strip("local"), None);
    }

    #[test]
    fn pointers_only_lead_backwards() {
        assert!(Name::read(&[0xC0, 0x00], 0).is_err(), "to itself");
        assert!(Name::read(&[0xC0, 0x02, 0xC0, 0x00], 0).is_err(), "a loop of two");
        assert!(Name::read(&[1, b'a', 0xC0, 0x00], 0).is_err(), "into its own labels");
        assert!(Name::read(&[0x40, 0], 0).is_err(), "an unused label type");
        let (name, end) = Name::read(&[1, b'a', 0, 1, b'b', 0xC0, 0x00], 3).unwrap();
        assert_eq!((name.to_string().as_str(), end), ("b.a.", 7));
    }

    #[test]
    fn a_long_chain_of_pointers_is_refused() {
        let mut message = vec![0, 0];
        for at in 0u16..200 {
            message.extend((0xC000 | (at * 2)).to_be_bytes());
        }
        assert!(Name::read(&message, 2 * 100).is_ok());
        assert!(Name::read(&message, 2 * 180).is_err());
    }

    proptest! {
        #[test]
        fn text_round_trips(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..8)) {
            let name = Name::join(labels.iter().map(Vec::as_slice), &Name::root()).unwrap();
            let again: Name = name.to_string().parse().unwrap();
            prop_assert_eq!(again.as_wire(), name.as_wire());
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..320) {
            if let Ok((name, end)) = Name::read(&bytes, at) {
                prop_assert!(end <= bytes.len() && name.as_wire().len() <= 255);
            }
        }
    }
}
