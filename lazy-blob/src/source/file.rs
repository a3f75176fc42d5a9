//! A blob in a local file.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Source, check_range};
use crate::error::{Error, ErrorKind, Result};

/// A [`Source`] over a local file, with positional reads; clones share the open file.
///
/// A read runs in the task that polls it and blocks it while the kernel copies from the page
/// cache or the disk: at most the size of one fetch, some hundred microseconds on a warm cache.
/// A thread that handed the bytes over would add a switch to each read and bound their
/// concurrency to one. A file on a slow network mount is better read by an adapter of its own.
///
/// The version of the file is its length and modification time when it was opened; both are
/// compared after each read.
#[derive(Debug, Clone)]
pub struct FileSource {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    path: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
}

impl FileSource {
    /// Opens the file at `path` for reading.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) where there is none, [`Invalid`](ErrorKind::Invalid)
    /// where it is no regular file or may not be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        // Before it is opened too, since to open a pipe is to wait for its writer.
        std::fs::metadata(&path)
            .map_err(|error| failed(&path, error))
            .and_then(|metadata| check_regular(&path, &metadata))?;
        let file = File::open(&path).map_err(|error| failed(&path, error))?;
        let metadata = file.metadata().map_err(|error| failed(&path, error))?;
        check_regular(&path, &metadata)?;
        let (size, modified) = version(&metadata);
        Ok(Self { inner: Arc::new(Inner { file, path, size, modified }) })
    }
}

#[async_trait]
impl Source for FileSource {
    async fn size(&self) -> Result<u64> {
        Ok(self.inner.size)
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.inner.read(range)
    }
}

impl Inner {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let length = check_range(&range, self.size)?;
        let length = usize::try_from(length).map_err(|_| {
            Error::new(ErrorKind::Invalid, "range beyond the address space: ask for less")
        })?;
        let mut buffer = vec![0; length];
        let read = read_exact_at(&self.file, &mut buffer, range.start);
        // After the read, so that bytes of a rewritten file are not given out.
        self.check_version()?;
        read.map_err(|error| failed(&self.path, error))?;
        Ok(buffer.into())
    }

    fn check_version(&self) -> Result<()> {
        let metadata = self.file.metadata().map_err(|error| failed(&self.path, error))?;
        if version(&metadata) == (self.size, self.modified) {
            return Ok(());
        }
        let path = self.path.display();
        Err(Error::new(
            ErrorKind::Changed,
            format!("{path} was written since it was opened: index it again"),
        ))
    }
}

fn check_regular(path: &Path, metadata: &Metadata) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let message = format!("{} is no regular file: name the blob's file", path.display());
    Err(Error::new(ErrorKind::Invalid, message))
}

fn version(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

fn failed(path: &Path, error: io::Error) -> Error {
    let (kind, advice) = match error.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "name an existing file"),
        io::ErrorKind::PermissionDenied => (ErrorKind::Invalid, "allow this process to read it"),
        _ => (ErrorKind::Unavailable, "see the cause and try again"),
    };
    Error::new(kind, format!("{}: cannot be read: {advice}", path.display())).with_source(error)
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[read..];
        offset += read as u64;
    }
    Ok(())
}
