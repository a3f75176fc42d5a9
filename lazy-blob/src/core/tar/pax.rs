//! PAX extended headers: records of `length key=value\n`.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Result};

/// What extended headers say about the entry after them; `None` leaves the header's own field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_target: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) user: Option<Vec<u8>>,
    pub(super) group: Option<Vec<u8>>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Bytes of all records that set one of `xattrs`, replaced ones too.
    pub(super) xattr_bytes: u64,
    pub(super) sparse: bool,
}

impl Overrides {
    /// Takes the records of one extended header; a later record wins over an earlier one.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) where the records are malformed.
    pub(super) fn apply(&mut self, mut records: &[u8]) -> Result<()> {
        while !records.is_empty() {
            let (key, value, rest) = split_record(records).ok_or_else(malformed)?;
            self.set(key, value)?;
            records = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link_target = text(value)?,
            b"uname" => self.user = text(value)?,
            b"gname" => self.group = text(value)?,
            b"size" => self.size = number(value)?,
            b"uid" => self.uid = number(value)?,
            b"gid" => self.gid = number(value)?,
            b"mtime" => self.mtime = time(value)?,
            _ => self.set_extension(key, value),
        }
        Ok(())
    }

    fn set_extension(&mut self, key: &[u8], value: &[u8]) {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.xattr_bytes += (key.len() + value.len()) as u64;
            self.xattrs.insert(name.to_vec(), value.to_vec());
        }
        self.sparse |= key.starts_with(b"GNU.sparse.");
    }
}

fn malformed() -> Error {
    Error::new(ErrorKind::Corrupt, "tar: malformed PAX record: the archive is damaged")
}

/// The first record's key and value, and what follows it.
fn split_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(20).position(|&byte| byte == b' ')?;
    let length = decimal(records.get(..space)?)?;
    let (record, rest) = records.split_at_checked(usize::try_from(length).ok()?)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (body.get(..equals)?, body.get(equals + 1..)?);
    (!key.is_empty()).then_some((key, value, rest))
}

/// An empty value deletes what an earlier or global header said. A NUL can't be in a path.
fn text(value: &[u8]) -> Result<Option<Vec<u8>>> {
    if value.contains(&0) {
        return Err(malformed());
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn number(value: &[u8]) -> Result<Option<u64>> {
    if value.is_empty() {
        return Ok(None);
    }
    decimal(value).map(Some).ok_or_else(malformed)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

fn time(value: &[u8]) -> Result<Option<(i64, u32)>> {
    if value.is_empty() {
        return Ok(None);
    }
    seconds(value).map(Some).ok_or_else(malformed)
}

/// Seconds with an optional sign and fraction, as whole seconds rounded down and nanoseconds.
fn seconds(value: &[u8]) -> Option<(i64, u32)> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let point = value.iter().position(|&byte| byte == b'.').unwrap_or(value.len());
    let (whole, fraction) = value.split_at_checked(point)?;
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    let nanos = nanoseconds(fraction.get(1..).unwrap_or_default())?;
    Some(match (negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

fn nanoseconds(fraction: &[u8]) -> Option<u32> {
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    Some(digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(records: &[u8]) -> Result<Overrides> {
        let mut overrides = Overrides::default();
        overrides.apply(records).map(|()| overrides)
    }

    #[test]
    fn records_are_read() {
        let read = overrides(b"11 path=ab\n20 mtime=-1.25 1234\n");
        assert!(read.is_err(), "a fraction has digits only");
        let read =
            overrides(b"11 path=ab\n15 mtime=-1.25\n10 size=7\n27 SCHILY.xattr.user.a=\0=\n\n");
        let read = read.unwrap();
        assert_eq!(read.path.as_deref(), Some(b"ab".as_slice()));
        assert_eq!(read.mtime, Some((-2, 750_000_000)));
        assert_eq!(read.size, Some(7));
        assert_eq!(read.xattrs, [(b"user.a".to_vec(), b"\0=\n".to_vec())].into());
    }

    #[test]
    fn an_empty_value_deletes() {
        let read = overrides(b"11 path=ab\n8 path=\n").unwrap();
        assert_eq!(read.path, None);
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"path=ab\n"[..],
            b"12 path=ab\n",
            b"10 path=ab\n",
            b"6 path\n",
            b"5 =ab\n",
            b"99999999999999999999999 path=ab\n",
            b"0 path=ab\n",
            b"12 path=a\0b\n",
            b"10 size=x\n",
            b"3 \n",
        ] {
            let error = overrides(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{bad:?}");
        }
    }
}
