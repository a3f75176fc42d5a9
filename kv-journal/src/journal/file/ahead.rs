//! A file for the next segment, made while the one before it fills.
//!
//! Zeros are written all over it. On most file systems a block that was allocated and never
//! written costs a change of metadata when it is first written, so that a sync waits for the file
//! system's journal as well. A block that holds zeros costs its own write and nothing else.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::disk::{Disk, DiskFile, write_all_at};
use super::log::Log;
use super::rollover::SPARE;

/// Written and synced at once: the batches that are synced beside it wait for little.
const STEP: usize = 1 << 20;

type Prepared = io::Result<Option<Box<dyn DiskFile>>>;

/// Prepares at most one file at a time, on a thread that lasts as long as that takes.
#[derive(Default)]
pub(super) struct Ahead {
    thread: Option<JoinHandle<Prepared>>,
    stop: Arc<AtomicBool>,
    /// The segment during which a file was asked for last: one that cannot be had, for lack of room
    /// or at all, is not asked for again and again.
    asked_in: u64,
}

impl Ahead {
    /// Gives `log` the file if it is ready.
    pub(super) fn hand_over(&mut self, log: &mut Log) {
        if let Some(thread) = self.thread.take_if(|thread| thread.is_finished()) {
            // Without one the next segment is made when it is needed.
            log.spare = thread.join().ok().and_then(Result::ok).flatten();
        }
    }

    /// Begins to prepare a file if `log` wants one.
    pub(super) fn look_after(&mut self, log: &Log) {
        let active = log.segments.last().map_or(0, |active| active.base_seq);
        if self.thread.is_some() || self.asked_in == active || !log.wants_spare() {
            return;
        }
        self.asked_in = active;
        let (disk, stop) = (Arc::clone(&log.disk), Arc::clone(&self.stop));
        let room = log.config.segment_bytes;
        let name = format!("{}-ahead", log.config.thread_name);
        let builder = std::thread::Builder::new().name(name);
        self.thread = builder.spawn(move || prepare(&*disk, room, &stop)).ok();
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The directory is not free before it ends.
            let _unused = thread.join();
        }
    }
}

/// A file of `room` zeros, durably; `None` where the file system cannot allocate.
pub(super) fn prepare(disk: &dyn Disk, room: u64, stop: &AtomicBool) -> Prepared {
    let file = disk.create(SPARE)?;
    let filled = file.preallocate(room).and_then(|can| {
        if can {
            fill(&*file, room, stop)?;
        }
        Ok(can)
    });
    if !matches!(filled, Ok(true)) {
        // What is left is removed when the journal is opened next.
        let _kept = disk.remove(SPARE);
    }
    filled.map(|can| can.then_some(file))
}

fn fill(file: &dyn DiskFile, room: u64, stop: &AtomicBool) -> io::Result<()> {
    let zeros = vec![0; STEP];
    for at in (0..room).step_by(STEP) {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = usize::try_from(room - at).unwrap_or(STEP).min(STEP);
        write_all_at(file, zeros.get(..len).unwrap_or(&zeros), at)?;
        file.sync()?;
    }
    Ok(())
}
