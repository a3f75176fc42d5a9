//! The directory itself, synchronous.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::checkpoint::{CheckpointInfo, no_such};
use crate::error::{Error, ErrorKind, Result};

const LOCK: &str = "LOCK";
const SUFFIX: &str = ".ckpt";
const UNFINISHED: &str = ".tmp";

pub(super) struct Directory {
    path: PathBuf,
    sync_bytes: u64,
    writers: BTreeMap<u64, Unfinished>,
    next_writer: u64,
    /// The file that was read last: a checkpoint is read from front to back.
    reading: Option<(u64, File)>,
    /// The lock lasts for as long as this is open; the kernel frees it when the process dies.
    _lock: File,
}

/// A checkpoint that is not committed.
struct Unfinished {
    id: u64,
    path: PathBuf,
    file: File,
    unsynced: u64,
    /// After a failed write or sync nothing of it can be trusted.
    failed: bool,
}

impl Directory {
    /// Makes the directory if it is not there, locks it, and removes what was left unfinished.
    pub(super) fn open(path: PathBuf, sync_bytes: u64) -> Result<Self> {
        let lock = lock(&path)?;
        let directory = Self {
            path,
            sync_bytes,
            writers: BTreeMap::new(),
            next_writer: 0,
            reading: None,
            _lock: lock,
        };
        directory.remove_unfinished().map_err(|cause| directory.error("cannot be read", cause))?;
        Ok(directory)
    }

    fn remove_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_str().is_some_and(is_unfinished) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn begin(&mut self, id: u64) -> Result<u64> {
        let writer = self.next_writer;
        let path = self.path.join(format!("{id:020}-{writer}{UNFINISHED}"));
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|cause| self.error("cannot begin one", cause))?;
        self.next_writer += 1;
        let unfinished = Unfinished { id, path, file, unsynced: 0, failed: false };
        self.writers.insert(writer, unfinished);
        Ok(writer)
    }

    pub(super) fn write(&mut self, writer: u64, part: &[u8]) -> Result<()> {
        let sync_bytes = self.sync_bytes;
        let unfinished = self.writers.get_mut(&writer).ok_or_else(no_writer)?;
        let written = unfinished.write(part, sync_bytes);
        written.map_err(|cause| self.error("cannot be written", cause))
    }

    pub(super) fn commit(&mut self, writer: u64) -> Result<()> {
        let mut unfinished = self.writers.remove(&writer).ok_or_else(no_writer)?;
        let named = self.file_of(unfinished.id);
        let placed = unfinished.sync().and_then(|()| fs::rename(&unfinished.path, named));
        if let Err(cause) = placed {
            // What cannot be removed now is removed at the next open.
            let _left = fs::remove_file(&unfinished.path);
            return Err(self.error("cannot be committed", cause));
        }
        self.reading = None;
        self.sync().map_err(|cause| self.unknown("may not keep the last one", cause))
    }

    pub(super) fn abandon(&mut self, writer: u64) {
        if let Some(unfinished) = self.writers.remove(&writer) {
            let _left = fs::remove_file(&unfinished.path);
        }
    }

    pub(super) fn list(&self) -> Result<Vec<CheckpointInfo>> {
        let mut found = self.scan().map_err(|cause| self.error("cannot be listed", cause))?;
        found.sort_unstable_by_key(|info| std::cmp::Reverse(info.id));
        Ok(found)
    }

    fn scan(&self) -> io::Result<Vec<CheckpointInfo>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if let Some(id) = entry.file_name().to_str().and_then(id_of) {
                found.push(CheckpointInfo { id, bytes: entry.metadata()?.len() });
            }
        }
        Ok(found)
    }

    pub(super) fn read(&mut self, id: u64, offset: u64, len: usize) -> Result<Bytes> {
        let file = match self.reading.take() {
            Some((reading, file)) if reading == id => file,
            _ => match File::open(self.file_of(id)) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_such(id)),
                Err(cause) => return Err(self.error("cannot be read", cause)),
            },
        };
        let bytes = read_at(&file, offset, len);
        self.reading = Some((id, file));
        bytes.map_err(|cause| self.error("cannot be read", cause))
    }

    pub(super) fn remove(&mut self, id: u64) -> Result<()> {
        self.reading = None;
        match fs::remove_file(self.file_of(id)) {
            Ok(()) => self.sync().map_err(|cause| self.unknown("may keep one removed", cause)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(cause) => Err(self.error("cannot be removed", cause)),
        }
    }

    fn file_of(&self, id: u64) -> PathBuf {
        self.path.join(format!("{id:020}{SUFFIX}"))
    }

    /// Makes renames and removals durable.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn error(&self, what: &str, cause: io::Error) -> Error {
        failed(&self.path, what, cause)
    }

    fn unknown(&self, what: &str, cause: io::Error) -> Error {
        let name = self.path.display();
        let message = format!("checkpoints {name} {what}: list what there is");
        Error::new(ErrorKind::Unknown, message).with_source(cause)
    }
}

impl Unfinished {
    fn write(&mut self, part: &[u8], sync_bytes: u64) -> io::Result<()> {
        let failed = std::mem::replace(&mut self.failed, true);
        if failed {
            return Err(io::Error::other("an earlier write failed"));
        }
        self.file.write_all(part)?;
        self.unsynced += part.len() as u64;
        if self.unsynced >= sync_bytes {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        self.failed = false;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.failed { Err(io::Error::other("a write failed")) } else { self.file.sync_data() }
    }
}

/// Reads what is there, whatever was asked for.
fn read_at(mut file: &File, offset: u64, len: usize) -> io::Result<Bytes> {
    let left = file.metadata()?.len().saturating_sub(offset);
    let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
    if len == 0 {
        return Ok(Bytes::new());
    }
    let mut bytes = Vec::with_capacity(len);
    file.seek(SeekFrom::Start(offset))?;
    file.take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

fn lock(path: &Path) -> Result<File> {
    fs::create_dir_all(path).map_err(|cause| failed(path, "cannot be made", cause))?;
    let mut options = OpenOptions::new();
    let lock = options.create(true).truncate(false).write(true).open(path.join(LOCK));
    let lock = lock.map_err(|cause| failed(path, "cannot be locked", cause))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => Err(Error::new(
            ErrorKind::Unavailable,
            format!("checkpoints {} are open elsewhere: close them there first", path.display()),
        )),
        Err(errno) => Err(failed(path, "cannot be locked", errno.into())),
    }
}

fn failed(path: &Path, what: &str, cause: io::Error) -> Error {
    let name = path.display();
    let (kind, message) = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            (
                ErrorKind::Exhausted,
                format!("checkpoints {name}: {what}: the disk is full: make room"),
            )
        }
        _ => (ErrorKind::Unavailable, format!("checkpoints {name}: {what}")),
    };
    Error::new(kind, message).with_source(cause)
}

fn no_writer() -> Error {
    Error::new(ErrorKind::Closed, "the checkpoint's writer has ended: begin again")
}

fn id_of(name: &str) -> Option<u64> {
    let id = name.strip_suffix(SUFFIX)?.parse().ok()?;
    (format!("{id:020}{SUFFIX}") == name).then_some(id)
}

fn is_unfinished(name: &str) -> bool {
    let place = name.strip_suffix(UNFINISHED).and_then(|name| name.split_once('-'));
    place.is_some_and(|(id, writer)| id.parse::<u64>().is_ok() && writer.parse::<u64>().is_ok())
}
