//! A checkpoint becomes a state: frames are read in order and decoded side by side.

use std::num::NonZero;
use std::thread;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::recovery::Start;
use crate::checkpoint::CheckpointStore;
use crate::config::Config;
use crate::core::checkpoint::{
    Assembly, Checked, FrameOrder, HEAD_LEN, Head, Header, Part, Restored, decode,
};
use crate::error::{Error, ErrorKind, Result};

/// Frames that wait for each decoding thread, so that it never waits for a read.
const AHEAD: usize = 2;

/// Reads, decodes and builds a whole checkpoint.
///
/// # Errors
/// `Corrupt` if anything of it is damaged, and what its store fails with.
pub(super) async fn load(
    checkpoints: &dyn CheckpointStore,
    id: u64,
    config: &Config,
) -> Result<Start> {
    let mut order = FrameOrder::default();
    let loader = Loader::start(config)?;
    let mut head = Head::parse(&checkpoints.read(id, 0, HEAD_LEN).await?)?;
    let mut offset = HEAD_LEN as u64;
    while !order.has_ended() {
        // One read has a frame's payload and the head of the next one.
        let len = head.payload_len() + HEAD_LEN;
        let mut payload = checkpoints.read(id, offset, len).await?;
        offset += len as u64;
        let next = payload.split_off(payload.len().min(head.payload_len()));
        let frame = order.take(head, payload)?;
        if frame.is_header() && frame.header().next_seq != id {
            return Err(Error::new(ErrorKind::Corrupt, "the checkpoint has another's number"));
        }
        if !loader.push(frame).await {
            break;
        }
        if order.has_ended() {
            expect_end(&next)?;
        } else {
            head = Head::parse(&next)?;
        }
    }
    Start::from_restored(loader.finish().await?, config)
}

fn expect_end(rest: &[u8]) -> Result<()> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, "the checkpoint has bytes after its end"))
}

/// The threads that decode frames and build the state of them. Dropping it ends them.
pub(super) struct Loader {
    frames: mpsc::Sender<Checked>,
    restored: oneshot::Receiver<Result<Restored>>,
}

impl Loader {
    pub(super) fn start(config: &Config) -> Result<Self> {
        let threads = match config.recovery_threads {
            0 => thread::available_parallelism().map_or(1, NonZero::get),
            threads => threads,
        };
        let (frames, queue) = mpsc::channel(threads * AHEAD);
        let (reply, restored) = oneshot::channel();
        let name = config.thread_name.clone();
        let builder = thread::Builder::new().name(name.clone());
        let run = move || {
            // Whoever dropped the loader does not want the state.
            let _gone = reply.send(decode_all(queue, threads, &name));
        };
        builder.spawn(run).map_err(no_thread)?;
        Ok(Self { frames, restored })
    }

    /// Gives a frame to the threads; false if they have ended, and [`finish`](Self::finish) says
    /// why.
    pub(super) async fn push(&self, frame: Checked) -> bool {
        self.frames.send(frame).await.is_ok()
    }

    /// What is in the checkpoint, once all is decoded.
    pub(super) async fn finish(self) -> Result<Restored> {
        drop(self.frames);
        self.restored.await.unwrap_or_else(|_| Err(broken()))
    }
}

fn no_thread(cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "a thread of the recovery cannot be started")
        .with_source(cause)
}

fn broken() -> Error {
    Error::new(ErrorKind::Corrupt, "the checkpoint broke its decoder: use the one before it")
}

/// What the decoding threads share.
struct Decoding {
    queue: Mutex<mpsc::Receiver<Checked>>,
    decoded: Mutex<Decoded>,
}

#[derive(Default)]
struct Decoded {
    header: Option<Header>,
    parts: Vec<(u32, Part)>,
    failed: Option<Error>,
}

fn decode_all(queue: mpsc::Receiver<Checked>, threads: usize, name: &str) -> Result<Restored> {
    let decoding = Decoding { queue: Mutex::new(queue), decoded: Mutex::default() };
    thread::scope(|scope| {
        for _ in 1..threads {
            let builder = thread::Builder::new().name(name.to_owned());
            builder.spawn_scoped(scope, || decoding.run()).map_err(no_thread)?;
        }
        decoding.run();
        Ok(())
    })?;
    let Decoded { header, parts, failed } = decoding.decoded.into_inner();
    if let Some(error) = failed {
        return Err(error);
    }
    let mut assembly = Assembly::new(header.ok_or_else(broken)?);
    for (index, part) in parts {
        assembly.add(index, part);
    }
    assembly.finish(threads)
}

impl Decoding {
    fn run(&self) {
        while let Some(frame) = self.next() {
            let part = decode(&frame);
            let mut decoded = self.decoded.lock();
            decoded.header = Some(frame.header());
            match part {
                Ok(part) => decoded.parts.push((frame.index(), part)),
                Err(error) => decoded.failed = Some(error),
            }
        }
    }

    /// The next frame, unless all are decoded or one was damaged.
    fn next(&self) -> Option<Checked> {
        let mut queue = self.queue.lock();
        if self.decoded.lock().failed.is_some() {
            return None;
        }
        queue.blocking_recv()
    }
}
