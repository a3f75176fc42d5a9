//! What the journal needs of a file system: the seam where tests inject faults and crashes.

use std::io;

/// A directory that is held exclusively.
pub(super) trait Disk: Send + Sync {
    /// How to call it in messages.
    fn name(&self) -> String;
    /// The names of its files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// An existing file.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// A new, empty file in place of whatever had the name.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, in place of whatever had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync(&self) -> io::Result<()>;
}

/// An open file.
pub(super) trait DiskFile: Send {
    fn len(&self) -> io::Result<u64>;
    /// Reads at most `into.len()` bytes; 0 at the end.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at most all of `from`; may write less.
    fn write_at(&self, from: &[u8], offset: u64) -> io::Result<usize>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Allocates the file up to `len`, which becomes its length; what is new reads as zeros.
    /// `false` if the file system cannot, and then nothing has changed.
    fn preallocate(&self, len: u64) -> io::Result<bool>;
    /// Makes the content durable, and the length with it.
    fn sync(&self) -> io::Result<()>;
}

/// Writes all of `from`.
pub(super) fn write_all_at(file: &dyn DiskFile, from: &[u8], offset: u64) -> io::Result<()> {
    let mut written = 0;
    while let Some(rest) = from.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write_at(rest, offset + written as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until `into` is full or the file ends, and returns how much was read.
pub(super) fn read_full_at(file: &dyn DiskFile, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
