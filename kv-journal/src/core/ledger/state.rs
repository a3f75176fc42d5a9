//! A ledger as bytes, to be stored beside a checkpoint of the state.
//!
//! All numbers are little-endian.
//!
//! ```text
//! version u8 = 1 | size u64 | first u64 | revision before leaf `first` u64
//! frontier: for each level l = 1, 2, … the last (first >> 6·l) mod 64 roots before `first`
//! then for each 64 leaves from `first` on, and the rest of them:
//!   which of the records made a revision u64, from the lowest bit | the leaf hashes
//! ```
//!
//! Nodes above the leaves are made again when it is read. Checksums are the checkpoint's business.
#![deny(clippy::indexing_slicing)]

use bytes::{Buf, BufMut};

use super::hash::Hash;
use super::tree::{BLOCK, Ledger, shifted};
use crate::error::{Error, ErrorKind, Result};

const VERSION: u8 = 1;

/// No journal gets so long, and below it no arithmetic on sizes can overflow.
const MAX_SIZE: u64 = 1 << 56;

impl Ledger {
    /// Its bytes: some 32 for each leaf that is not forgotten.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let leaves = usize::try_from(self.size() - self.first()).unwrap_or_default();
        let mut out = Vec::with_capacity(1024 + leaves * 33);
        out.put_u8(VERSION);
        out.put_u64_le(self.size());
        out.put_u64_le(self.first());
        out.put_u64_le(self.revision_at(self.first()).unwrap_or_default());
        for (level, roots) in frontier(self.first()) {
            let above = self.block(level, shifted(self.first(), level + 1));
            let roots = above.iter().flat_map(|above| above.hashes.iter().take(roots));
            roots.for_each(|root| out.put_slice(root));
        }
        for index in self.first() / BLOCK..self.size().div_ceil(BLOCK) {
            if let Some(leaves) = self.block(0, index) {
                out.put_u64_le(leaves.revisions);
                for leaf in &leaves.hashes {
                    out.put_slice(leaf);
                }
            }
        }
        out
    }

    /// Reads it back, to keep at least the newest `keep` hashes from now on.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are no ledger of this format. No length is trusted before the bytes
    /// for it are there.
    pub(crate) fn decode(mut input: &[u8], keep: u64) -> Result<Self> {
        let version = input.try_get_u8().map_err(|_| malformed("too few bytes"))?;
        if version != VERSION {
            return Err(malformed("an unknown version"));
        }
        let (size, first, revision) =
            (u64_of(&mut input)?, u64_of(&mut input)?, u64_of(&mut input)?);
        if first > size || size > MAX_SIZE || !first.is_multiple_of(BLOCK) || revision > MAX_SIZE {
            return Err(malformed("impossible numbers"));
        }
        let mut ledger = Self::at(first, revision, keep);
        for (level, roots) in frontier(first) {
            for _ in 0..roots {
                ledger.push_above(level as usize, hash_of(&mut input)?, None);
            }
        }
        while ledger.size() < size {
            let revisions = u64_of(&mut input)?;
            let leaves = BLOCK.min(size - ledger.size());
            if leaves < BLOCK && revisions >> leaves != 0 {
                return Err(malformed("revisions of records that are not there"));
            }
            for leaf in 0..leaves {
                let made = revisions >> leaf & 1;
                ledger.append(hash_of(&mut input)?, ledger.revision() + made);
            }
        }
        if input.has_remaining() { Err(malformed("bytes after its end")) } else { Ok(ledger) }
    }
}

/// How many roots of each level stand for the leaves before `first`.
fn frontier(first: u64) -> impl Iterator<Item = (u32, usize)> {
    (1..)
        .map(move |level| (level, shifted(first, level)))
        .take_while(|(_, blocks)| *blocks > 0)
        .filter_map(|(level, blocks)| Some((level, usize::try_from(blocks % BLOCK).ok()?)))
}

fn u64_of(input: &mut &[u8]) -> Result<u64> {
    input.try_get_u64_le().map_err(|_| malformed("too few bytes"))
}

fn hash_of(input: &mut &[u8]) -> Result<Hash> {
    let (hash, rest) = input.split_first_chunk().ok_or_else(|| malformed("too few bytes"))?;
    *input = rest;
    Ok(*hash)
}

fn malformed(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("a stored ledger has {what}: open with the journal from its first record"),
    )
}
