//! One segment as a disk, for the fuzzer.
#![deny(clippy::indexing_slicing)]

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::FileConfig;
use super::disk::{Disk, DiskFile};
use super::log::Log;
use super::segment;
use crate::journal::ReadLimits;

/// Opens a journal whose only segment is `bytes` and reads it: the numbers of its first record and
/// of the one after its last, or `None` if it does not open.
#[doc(hidden)]
#[must_use]
pub fn fuzz_segment(bytes: &[u8]) -> Option<(u64, u64)> {
    // The base is where the header has it, so that the name of the file is right.
    let base = bytes.get(12..).and_then(|mut rest| rest.try_get_u64_le().ok()).unwrap_or(1);
    let name = segment::name_of(base);
    segment::base_of(&name)?;
    let disk = Arc::new(OneSegment { name, bytes: Bytes::copy_from_slice(bytes) });
    let (mut log, _) = Log::open(disk, FileConfig::default()).ok()?;
    let tail = log.tail().ok()?;
    let mut next = tail.first_seq;
    while next < tail.next_seq {
        next = log.read(next, ReadLimits::default()).ok()?.last()?.seq + 1;
    }
    Some((tail.first_seq, next))
}

struct OneSegment {
    name: String,
    bytes: Bytes,
}

impl Disk for OneSegment {
    fn name(&self) -> String {
        "(one segment)".to_owned()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(vec![self.name.clone()])
    }

    fn open(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.bytes.clone()))
    }

    fn create(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Nothing is kept of what is written: the cut of a torn tail is not seen again.
impl DiskFile for Bytes {
    fn len(&self) -> io::Result<u64> {
        Ok(Self::len(self) as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let count = from.len().min(into.len());
        for (to, byte) in into.iter_mut().zip(from) {
            *to = *byte;
        }
        Ok(count)
    }

    fn write_at(&self, from: &[u8], _: u64) -> io::Result<usize> {
        Ok(from.len())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn preallocate(&self, _: u64) -> io::Result<bool> {
        Ok(false)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
