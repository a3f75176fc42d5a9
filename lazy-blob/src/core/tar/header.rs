//! One header block.

use super::BLOCK;
use super::number::{signed, unsigned};
use crate::error::{Error, ErrorKind, Result};

/// The fields of a header block, not yet interpreted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) path: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) type_flag: u8,
    pub(super) link_target: Vec<u8>,
    pub(super) user: Vec<u8>,
    pub(super) group: Vec<u8>,
    pub(super) device: (u32, u32),
    /// Old GNU sparse files only: more sparse maps follow this block.
    pub(super) extended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// POSIX.1-1988 and older: no names of owners, no devices.
    V7,
    /// POSIX ustar, with a prefix for the path.
    Ustar,
    /// GNU, with other fields where ustar has its prefix.
    Gnu,
}

impl Header {
    /// Reads a block that is not all zeros.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) for a wrong checksum or a field that is no number.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self> {
        if !checksum_matches(block) {
            return Err(corrupt("header checksum mismatch"));
        }
        Self::fields(block, format(block)).ok_or_else(|| corrupt("header field is no number"))
    }

    fn fields(block: &[u8; BLOCK], format: Format) -> Option<Self> {
        let named = format != Format::V7;
        let field = |at: usize, length: usize| block.get(at..at + length).unwrap_or_default();
        let named_text = |at, length| {
            if named { text(field(at, length)) } else { Vec::new() }
        };
        Some(Self {
            path: path(block, format),
            mode: u32::try_from(unsigned(field(100, 8))? & 0o7777).ok()?,
            uid: unsigned(field(108, 8))?,
            gid: unsigned(field(116, 8))?,
            size: unsigned(field(124, 12))?,
            mtime: signed(field(136, 12))?,
            type_flag: field(156, 1).first().copied()?,
            link_target: text(field(157, 100)),
            user: named_text(265, 32),
            group: named_text(297, 32),
            device: if named { device(field(329, 8), field(337, 8)) } else { (0, 0) },
            extended: format == Format::Gnu && field(482, 1) != [0],
        })
    }
}

pub(super) fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("tar: {what}: the archive is damaged or no tar"))
}

fn format(block: &[u8; BLOCK]) -> Format {
    match block.get(257..265) {
        Some(b"ustar  \0") => Format::Gnu,
        Some([b'u', b's', b't', b'a', b'r', ..]) => Format::Ustar,
        _ => Format::V7,
    }
}

fn path(block: &[u8; BLOCK], format: Format) -> Vec<u8> {
    let name = text(block.get(..100).unwrap_or_default());
    let prefix = match format {
        Format::Ustar => text(block.get(345..500).unwrap_or_default()),
        _ => Vec::new(),
    };
    if prefix.is_empty() { name } else { [prefix, name].join(&b'/') }
}

fn text(field: &[u8]) -> Vec<u8> {
    field.split(|&byte| byte == 0).next().unwrap_or_default().to_vec()
}

/// Writers leave junk in the device fields of what is no device, so nothing there is an error.
fn device(major: &[u8], minor: &[u8]) -> (u32, u32) {
    let part = |field| unsigned(field).and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
    (part(major), part(minor))
}

/// The sum of all bytes with the checksum's own field as spaces; some old writers summed signed
/// bytes.
fn checksum_matches(block: &[u8; BLOCK]) -> bool {
    let Some(stored) = block.get(148..156).and_then(signed) else {
        return false;
    };
    let counted = |(at, &byte): (usize, &u8)| if (148..156).contains(&at) { b' ' } else { byte };
    let bytes = || block.iter().enumerate().map(counted);
    let sum: i64 = bytes().map(i64::from).sum();
    stored == sum || stored == bytes().map(|byte| i64::from(byte.cast_signed())).sum::<i64>()
}
