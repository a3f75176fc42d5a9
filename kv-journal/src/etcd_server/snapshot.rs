//! The file that a client saves: an export in a frame that etcd's clients take for a snapshot.
//!
//! ```text
//! export │ zeros │ length of the export, 8 bytes, big-endian │ SHA-256 of everything before
//! ```
//!
//! The zeros make what the digest is of a multiple of 512 bytes: `etcdctl snapshot save` tells by
//! that length whether a digest is there.

use std::io::{Read, Seek, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use ring::digest::{Context as Digest, SHA256, SHA256_OUTPUT_LEN};

use crate::error::{Error, ErrorKind, Result};
use crate::kv_store::SnapshotBytes;

const BLOCK: u64 = 512;
const LENGTH_BYTES: u64 = 8;
const DIGEST_BYTES: u64 = SHA256_OUTPUT_LEN as u64;
const CHUNK_BYTES: u64 = 1 << 20;

/// An export on its way into its frame.
pub(super) struct Framed {
    /// `None` once the digest is out.
    export: Option<SnapshotBytes>,
    len: u64,
    digest: Digest,
}

impl Framed {
    pub(super) fn new(export: SnapshotBytes) -> Self {
        Self { export: Some(export), len: 0, digest: Digest::new(&SHA256) }
    }

    fn trailer(&mut self) -> Bytes {
        let zeros = padding(self.len);
        let mut trailer = vec![0; usize::try_from(zeros).unwrap_or(0)];
        trailer.extend(self.len.to_be_bytes());
        self.digest.update(&trailer);
        trailer.extend(self.digest.clone().finish().as_ref());
        trailer.into()
    }
}

fn padding(len: u64) -> u64 {
    (BLOCK - (len + LENGTH_BYTES) % BLOCK) % BLOCK
}

impl Stream for Framed {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(export) = &mut this.export else { return Poll::Ready(None) };
        match export.as_mut().poll_next(cx) {
            Poll::Ready(Some(Ok(bytes))) => {
                this.len += bytes.len() as u64;
                this.digest.update(&bytes);
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(None) => {
                this.export = None;
                Poll::Ready(Some(Ok(this.trailer())))
            }
            other => other,
        }
    }
}

/// The export inside a file that a client of an [`EtcdServer`](super::EtcdServer) has saved, for
/// [`Store::import`](crate::Store::import). It reads the file as it is polled.
///
/// # Errors
/// `Corrupt` if the file is no such snapshot, was cut or changed. Nothing of it is given then.
pub fn open_snapshot<R: Read + Seek + Unpin>(mut file: R) -> Result<SnapshotFile<R>> {
    let len = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
    let framed = len.checked_sub(DIGEST_BYTES).filter(|len| len % BLOCK == 0 && *len > 0);
    let framed = framed.ok_or_else(|| damaged("its length is not that of a snapshot"))?;
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut digest = Digest::new(&SHA256);
    let mut left = framed;
    let mut chunk = Vec::new();
    while left > 0 {
        chunk.clear();
        let want = left.min(CHUNK_BYTES);
        let got = file.by_ref().take(want).read_to_end(&mut chunk).map_err(unreadable)?;
        if got as u64 != want {
            return Err(damaged("it became shorter while it was read"));
        }
        digest.update(&chunk);
        left -= want;
    }
    let mut expected = [0; SHA256_OUTPUT_LEN];
    file.read_exact(&mut expected).map_err(unreadable)?;
    if digest.finish().as_ref() != expected {
        return Err(damaged("its SHA-256 differs from its content"));
    }
    let mut export_len = [0; 8];
    let at = SeekFrom::Start(framed - LENGTH_BYTES);
    file.seek(at).and_then(|_| file.read_exact(&mut export_len)).map_err(unreadable)?;
    let export_len = u64::from_be_bytes(export_len);
    if export_len.checked_add(padding(export_len) + LENGTH_BYTES) != Some(framed) {
        return Err(damaged("it is not one of this server's: restore it with etcd's own tools"));
    }
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    Ok(SnapshotFile { file, left: export_len })
}

/// The export inside a saved snapshot. See [`open_snapshot`].
#[derive(Debug)]
pub struct SnapshotFile<R> {
    file: R,
    left: u64,
}

impl<R: Read + Unpin> Stream for SnapshotFile<R> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let want = self.left.min(CHUNK_BYTES);
        if want == 0 {
            return Poll::Ready(None);
        }
        let mut chunk = Vec::new();
        let read = self.file.by_ref().take(want).read_to_end(&mut chunk);
        Poll::Ready(Some(match read {
            Ok(0) => {
                self.left = 0;
                Err(damaged("it became shorter while it was read"))
            }
            Ok(got) => {
                self.left -= got as u64;
                Ok(chunk.into())
            }
            Err(error) => {
                self.left = 0;
                Err(unreadable(error))
            }
        }))
    }
}

fn damaged(why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the snapshot cannot be restored: {why}"))
}

fn unreadable(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the snapshot cannot be read").with_source(error)
}
