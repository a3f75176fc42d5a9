//! A disk in memory that fails and crashes as told.
#![allow(clippy::cast_possible_truncation, reason = "simulated files are small")]

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile};

/// What a crash keeps or loses as a unit. Small, so that small records tear.
const SECTOR: usize = 16;

/// Clones share the disk.
#[derive(Clone, Default)]
pub(super) struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: Vec<SimFile>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    faults: Faults,
}

#[derive(Default)]
struct SimFile {
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

impl SimFile {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.content, || true);
        self.unsynced.push(change);
    }
}

impl Change {
    /// All of it, or as much as `keep` says of each sector.
    fn apply(&self, content: &mut Vec<u8>, mut keep: impl FnMut() -> bool) {
        match self {
            Self::Write(at, bytes) => {
                let mut from = 0;
                while from < bytes.len() {
                    let to = bytes.len().min(from + SECTOR - (at + from) % SECTOR);
                    if keep() {
                        write(content, at + from, &bytes[from..to]);
                    }
                    from = to;
                }
            }
            Self::Len(len) if keep() => content.resize(*len, 0),
            Self::Len(_) => {}
        }
    }
}

#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each fault is on or off")]
pub(super) struct Faults {
    /// All files together; beyond it writes are short, then fail.
    pub(super) capacity: Option<usize>,
    /// So many bytes per write at most.
    pub(super) short_writes: Option<usize>,
    /// Files can only grow by being written to.
    pub(super) no_preallocation: bool,
    pub(super) fail_file_sync: bool,
    pub(super) fail_set_len: bool,
    pub(super) fail_directory_sync: bool,
}

impl State {
    fn used(&self) -> usize {
        self.names.values().map(|id| self.files[*id].content.len()).sum()
    }
}

impl SimDisk {
    pub(super) fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// Loses what was not synced, except what `keep` says of each sector and change.
    pub(super) fn crash(&self, mut keep: impl FnMut() -> bool) {
        let mut state = self.state.lock();
        state.faults = Faults::default();
        if keep() {
            state.durable_names = state.names.clone();
        } else {
            state.names = state.durable_names.clone();
        }
        for file in &mut state.files {
            let mut content = std::mem::take(&mut file.durable);
            for change in file.unsynced.drain(..) {
                change.apply(&mut content, &mut keep);
            }
            file.durable.clone_from(&content);
            file.content = content;
        }
    }

    /// Changes the content of a file behind everybody's back.
    pub(super) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        let id = state.names[name];
        let file = &mut state.files[id];
        change(&mut file.content);
        file.durable.clone_from(&file.content);
    }

    /// The bytes that all files take.
    pub(super) fn used(&self) -> usize {
        self.state.lock().used()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.state.lock().names.keys().cloned().collect()
    }

    fn file(&self, id: usize) -> Box<dyn DiskFile> {
        Box::new(SimHandle { disk: self.clone(), id })
    }
}

fn write(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

fn broken(what: &str) -> io::Error {
    io::Error::other(format!("simulated: {what}"))
}

impl Disk for SimDisk {
    fn name(&self) -> String {
        "(simulated)".into()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let id = self.state.lock().names.get(name).copied();
        id.map(|id| self.file(id)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        let id = state.files.len();
        state.files.push(SimFile::default());
        state.names.insert(name.into(), id);
        drop(state);
        Ok(self.file(id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let id = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.into(), id);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.state.lock().names.remove(name);
        removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.faults.fail_directory_sync {
            return Err(broken("directory sync"));
        }
        state.durable_names = state.names.clone();
        Ok(())
    }
}

struct SimHandle {
    disk: SimDisk,
    id: usize,
}

impl DiskFile for SimHandle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state.lock().files[self.id].content.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state.lock();
        let content = &state.files[self.id].content;
        let from = content.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, from: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state.lock();
        let used = state.used();
        let grows =
            |len: usize| (offset as usize + len).saturating_sub(state.files[self.id].content.len());
        let mut count = from.len().min(state.faults.short_writes.unwrap_or(usize::MAX));
        if let Some(capacity) = state.faults.capacity {
            while count > 0 && used + grows(count) > capacity {
                count -= 1;
            }
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let change = Change::Write(offset as usize, from[..count].to_vec());
        state.files[self.id].change(change);
        Ok(count)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        if state.faults.fail_set_len {
            return Err(broken("set length"));
        }
        state.files[self.id].change(Change::Len(len as usize));
        Ok(())
    }

    fn preallocate(&self, len: u64) -> io::Result<bool> {
        let mut state = self.disk.state.lock();
        if state.faults.no_preallocation {
            return Ok(false);
        }
        let (used, has) = (state.used(), state.files[self.id].content.len());
        let room = state.faults.capacity.map_or(usize::MAX, |all| all.saturating_sub(used));
        let gets = (len as usize).max(has).min(has.saturating_add(room));
        // What there is room for stays allocated, as it may on a real disk.
        state.files[self.id].change(Change::Len(gets));
        if gets < len as usize { Err(io::ErrorKind::StorageFull.into()) } else { Ok(true) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let fails = state.faults.fail_file_sync;
        let file = &mut state.files[self.id];
        let mut odd = false;
        for change in file.unsynced.drain(..) {
            // A failed sync writes some. The rest is taken for written from then on, as in Linux.
            change.apply(&mut file.durable, || {
                odd = !odd;
                odd || !fails
            });
        }
        if fails { Err(broken("sync")) } else { Ok(()) }
    }
}
