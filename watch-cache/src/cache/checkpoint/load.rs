//! Reads the checkpoint, with as many threads as there are cores.

use std::fs::File;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{failed, on_thread};
use crate::cache::run::too_large;
use crate::cache::shared::Shared;
use crate::core::checkpoint::{
    FRAME_HEAD, Frame, Head, Kind, Logged, MAGIC, Part, Saved, changes, corrupt, end, head,
    is_before, objects, revisions,
};
use crate::core::index::Index;
use crate::core::object::Object;
use crate::error::{Error, ErrorKind, Result};

/// More threads are waited for by the memory.
const THREADS: usize = 8;

/// Begins to read the checkpoint, where the config has one: none if there is no file.
pub(in crate::cache) fn load(
    shared: &Arc<Shared>,
) -> Option<oneshot::Receiver<Result<Option<Saved>>>> {
    let config = shared.config.checkpoint.as_ref()?;
    let (shared, path) = (Arc::clone(shared), config.path.clone());
    Some(on_thread(config, move || {
        let file = match File::open(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.and_then(|file| Ok((file.metadata()?.len(), file))),
        };
        let (len, file) = file.map_err(|cause| failed(&path, "read", cause))?;
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let room = shared.config.memory_bytes;
        let saved = read(file, len, &shared.planner.indexes, room, threads)?;
        if saved.head.prefixes != shared.config.prefixes {
            let message = format!(
                "checkpoint {}: it is of the prefixes {:?}: it is not used, and written anew",
                path.display(),
                saved.head.prefixes
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(Some(saved))
    }))
}

/// Reads a whole checkpoint of `len` bytes, whose objects take at most `room` bytes.
pub(super) fn read(
    input: impl Read + Send,
    len: u64,
    indexes: &[Index],
    room: usize,
    threads: usize,
) -> Result<Saved> {
    let mut frames = Frames { input, left: len, number: 0, kind: Kind::Head, done: false };
    let mut magic = [0; MAGIC.len()];
    frames.read(&mut magic)?;
    if magic != *MAGIC {
        return Err(corrupt("it is none, or of another version"));
    }
    let first = frames.next(BytesMut::new())?.map(|(_, frame)| frame);
    let first = first.filter(|first| first.kind == Kind::Head);
    let head = head(&first.ok_or_else(|| corrupt("it has no head"))?.checked()?)?;
    let (frames, room) = (Mutex::new(frames), AtomicUsize::new(room));
    let work = || work(&frames, &head, indexes, &room);
    let done = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mine = work();
        let others = others
            .into_iter()
            .map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        [mine].into_iter().chain(others).collect::<Result<Vec<Worked>>>()
    })?;
    let ends = done.iter().find_map(|worked| worked.end);
    let mut parts: Vec<(u64, Part)> = done.into_iter().flat_map(|worked| worked.parts).collect();
    parts.sort_unstable_by_key(|(number, _)| *number);
    let (objects, changes) = join(parts.into_iter().map(|(_, part)| part))?;
    if ends != Some((objects.len() as u64, changes.len() as u64)) {
        return Err(corrupt("it is cut"));
    }
    Ok(Saved { objects, log: revisions(changes), head })
}

/// All frames as one, which are in order each.
fn join(parts: impl Iterator<Item = Part>) -> Result<(Vec<Object>, Vec<Logged>)> {
    let (mut objects, mut changes) = (Vec::<Object>::new(), Vec::<Logged>::new());
    for part in parts {
        let ordered = match part {
            Part::Objects(more) => {
                let both = objects.last().zip(more.first());
                let ordered = both.is_none_or(|(last, first)| last.key() < first.key());
                objects.extend(more);
                ordered
            }
            Part::Changes(more) => {
                let both = changes.last().zip(more.first());
                let ordered = both.is_none_or(|(last, first)| is_before(last, first));
                changes.extend(more);
                ordered
            }
        };
        if !ordered {
            return Err(corrupt("frames are out of order"));
        }
    }
    Ok((objects, changes))
}

/// The frames of a file, one after the other.
struct Frames<R> {
    input: R,
    /// Bytes of the file.
    left: u64,
    number: u64,
    /// That of the last frame.
    kind: Kind,
    /// Whether the last one was read, or something is wrong.
    done: bool,
}

impl<R: Read> Frames<R> {
    /// The next frame, in the memory of one that is done with, and its number.
    fn next(&mut self, mut buffer: BytesMut) -> Result<Option<(u64, Frame)>> {
        if self.done {
            return Ok(None);
        }
        // Until it is known to be right.
        self.done = true;
        let mut start = [0; FRAME_HEAD];
        self.read(&mut start)?;
        let (frame, len) = Frame::new(&start)?;
        if frame.kind < self.kind || (frame.kind == Kind::Head && self.number > 0) {
            return Err(corrupt("frames are out of order"));
        }
        if len as u64 > self.left {
            return Err(corrupt("it is cut"));
        }
        buffer.resize(len, 0);
        self.read(&mut buffer)?;
        self.kind = frame.kind;
        self.number += 1;
        self.done = frame.kind == Kind::End;
        if self.done && self.left > 0 {
            return Err(corrupt("something is behind its end"));
        }
        Ok(Some((self.number, Frame { payload: buffer, ..frame })))
    }

    fn read(&mut self, into: &mut [u8]) -> Result<()> {
        let left = self.left.checked_sub(into.len() as u64);
        self.left = left.ok_or_else(|| corrupt("it is cut"))?;
        self.input.read_exact(into).map_err(|cause| {
            Error::new(ErrorKind::Unavailable, "the checkpoint cannot be read").with_source(cause)
        })
    }
}

/// What one thread has read.
#[derive(Default)]
struct Worked {
    parts: Vec<(u64, Part)>,
    end: Option<(u64, u64)>,
}

fn work<R: Read>(
    frames: &Mutex<Frames<R>>,
    head: &Head,
    indexes: &[Index],
    room: &AtomicUsize,
) -> Result<Worked> {
    let stop = |error| {
        frames.lock().done = true;
        error
    };
    let mut worked = Worked::default();
    let mut buffer = BytesMut::new();
    loop {
        let Some((number, frame)) = frames.lock().next(buffer)? else { return Ok(worked) };
        let kind = frame.kind;
        let payload = frame.checked().map_err(stop)?;
        match kind {
            Kind::Head => {}
            Kind::Objects => {
                let objects = objects(head, indexes, payload.clone()).map_err(stop)?;
                let bytes = objects.iter().map(Object::bytes).sum();
                let taken = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| {
                    room.checked_sub(bytes)
                });
                taken.map_err(|_| stop(too_large()))?;
                worked.parts.push((number, Part::Objects(objects)));
            }
            Kind::Changes => {
                let changes = changes(head, payload.clone()).map_err(stop)?;
                worked.parts.push((number, Part::Changes(changes)));
            }
            Kind::End => worked.end = Some(end(&payload).map_err(stop)?),
        }
        // Changes keep the bytes of their frame.
        buffer = payload.try_into_mut().unwrap_or_default();
    }
}

/// Reads what may be a checkpoint, for a fuzzer.
#[doc(hidden)]
pub fn fuzz_checkpoint(bytes: &[u8]) {
    let _ = read(bytes, bytes.len() as u64, &[], 1 << 24, 1);
}
