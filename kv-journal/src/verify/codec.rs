//! Digests and proofs as bytes. They come from outside, so no length is trusted before the bytes
//! for it are there, and every value has one form only.
//!
//! All numbers are little-endian.
//!
//! ```text
//! digest:       1 u8 | 'D' u8 | tree size u64 | revision u64 | root 32
//! key proof:    1 u8 | 'K' u8 | sequence number u64 | tree size u64 | hashes u8 | 32 each | record
//! consistency:  1 u8 | 'C' u8 | old size u64 | new size u64 | hashes u8 | 32 each
//! ```
//!
//! The first byte is the version of the form.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{ConsistencyProof, Digest, Hash, KeyProof};
use crate::error::{Error, ErrorKind, Result};

const VERSION: u8 = 1;
const HEADER_LEN: usize = 2 + 8 + 8;

impl Digest {
    /// The bytes to keep or to sign.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = header(b'D', self.tree_size, self.revision, 32);
        out.put_slice(&self.root);
        out.freeze()
    }

    /// Reads a digest back.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are not exactly one digest.
    pub fn decode(mut input: &[u8]) -> Result<Self> {
        let (tree_size, revision) = header_of(b'D', &mut input)?;
        let root = hash_of(&mut input)?;
        ended(input)?;
        Ok(Self { tree_size, root, revision })
    }
}

impl KeyProof {
    /// The bytes to hand over.
    ///
    /// # Errors
    /// `Invalid` if the path has more than 255 hashes, which no path has that can be verified.
    pub fn encode(&self) -> Result<Bytes> {
        let len = 1 + self.path.len() * 32 + self.record.len();
        let mut out = header(b'K', self.seq, self.tree_size, len);
        put_path(&self.path, &mut out)?;
        out.put_slice(&self.record);
        Ok(out.freeze())
    }

    /// Reads a proof back. That it can be read says nothing: [`verify_key`](super::verify_key)
    /// does. The record is a slice of `input`.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are no key proof.
    pub fn decode(input: &Bytes) -> Result<Self> {
        let mut rest = &input[..];
        let (seq, tree_size) = header_of(b'K', &mut rest)?;
        let path = path_of(&mut rest)?;
        Ok(Self { seq, tree_size, path, record: input.slice_ref(rest) })
    }
}

impl ConsistencyProof {
    /// The bytes to hand over.
    ///
    /// # Errors
    /// `Invalid` if the path has more than 255 hashes, which no path has that can be verified.
    pub fn encode(&self) -> Result<Bytes> {
        let len = 1 + self.path.len() * 32;
        let mut out = header(b'C', self.old_size, self.new_size, len);
        put_path(&self.path, &mut out)?;
        Ok(out.freeze())
    }

    /// Reads a proof back. That it can be read says nothing:
    /// [`verify_consistency`](super::verify_consistency) does.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are not exactly one consistency proof.
    pub fn decode(mut input: &[u8]) -> Result<Self> {
        let (old_size, new_size) = header_of(b'C', &mut input)?;
        let path = path_of(&mut input)?;
        ended(input)?;
        Ok(Self { old_size, new_size, path })
    }
}

fn header(kind: u8, first: u64, second: u64, more: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(HEADER_LEN + more);
    out.put_u8(VERSION);
    out.put_u8(kind);
    out.put_u64_le(first);
    out.put_u64_le(second);
    out
}

fn header_of(kind: u8, input: &mut &[u8]) -> Result<(u64, u64)> {
    if input.len() < HEADER_LEN || (input.get_u8(), input.get_u8()) != (VERSION, kind) {
        return Err(malformed());
    }
    Ok((input.get_u64_le(), input.get_u64_le()))
}

fn put_path(path: &[Hash], out: &mut BytesMut) -> Result<()> {
    let count = u8::try_from(path.len())
        .map_err(|_| Error::new(ErrorKind::Invalid, "a path has more than 255 hashes: cut it"))?;
    out.put_u8(count);
    for hash in path {
        out.put_slice(hash);
    }
    Ok(())
}

fn path_of(input: &mut &[u8]) -> Result<Vec<Hash>> {
    let count = input.try_get_u8().map_err(|_| malformed())?;
    (0..count).map(|_| hash_of(input)).collect()
}

fn hash_of(input: &mut &[u8]) -> Result<Hash> {
    let (hash, rest) = input.split_first_chunk().ok_or_else(malformed)?;
    *input = rest;
    Ok(*hash)
}

fn ended(input: &[u8]) -> Result<()> {
    if input.is_empty() { Ok(()) } else { Err(malformed()) }
}

fn malformed() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "the bytes are no digest or proof of the kind asked for: ask the store again",
    )
}

/// Reads `bytes` as a digest and as each kind of proof, and verifies what can be read, for the
/// fuzzer: whether what is read has these bytes, and no proof holds for a root that it was not
/// made for.
#[doc(hidden)]
#[must_use]
pub fn fuzz_proofs(bytes: &[u8]) -> bool {
    let digest = Digest { tree_size: 1, root: [7; 32], revision: u64::MAX };
    let input = Bytes::copy_from_slice(bytes);
    let key = KeyProof::decode(&input).is_ok_and(|proof| {
        let digest = Digest { tree_size: proof.tree_size, ..digest };
        proof.encode().ok().as_deref() != Some(bytes)
            || super::verify_key(&proof, &digest, b"k").is_ok()
    });
    let consistency = ConsistencyProof::decode(bytes).is_ok_and(|proof| {
        let old = Digest { tree_size: proof.old_size, root: [8; 32], ..digest };
        let new = Digest { tree_size: proof.new_size, ..digest };
        proof.encode().ok().as_deref() != Some(bytes)
            || super::verify_consistency(&old, &new, &proof).is_ok()
    });
    let kept = Digest::decode(bytes).is_ok_and(|digest| digest.encode() != bytes);
    let _read_or_refused = super::record::change_of(bytes, b"k");
    !key && !consistency && !kept
}
