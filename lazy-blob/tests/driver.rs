//! The driver: single flight, bounds, cancelled readers, and its end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and spawns what a caller would"
)]

mod support;

use std::future::Future as _;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use lazy_blob::{Blob, Config, Error, ErrorKind, Fault, MemorySource, Result, Source};
use support::layer::{Layer, config, layer, open};
use tokio::sync::Notify;

/// Counts and holds back reads until it is told to go on.
#[derive(Debug)]
struct Gate {
    inner: MemorySource,
    open: Notify,
    reads: AtomicU64,
    running: Mutex<(u64, u64)>,
    /// Whether every byte is wrong.
    flips: bool,
    /// Whether every read fails.
    fails: bool,
}

impl Gate {
    fn new(layer: &Layer) -> Arc<Self> {
        Arc::new(Self::build(layer))
    }

    fn build(layer: &Layer) -> Self {
        let (open, reads) = (Notify::new(), AtomicU64::new(0));
        let (inner, running) = (layer.source(), Mutex::new((0, 0)));
        Self { inner, open, reads, running, flips: false, fails: false }
    }

    fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Source for Gate {
    async fn size(&self) -> Result<u64> {
        self.inner.size().await
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        {
            let mut running = self.running.lock().unwrap();
            running.0 += 1;
            running.1 = running.1.max(running.0);
        }
        self.open.notified().await;
        self.running.lock().unwrap().0 -= 1;
        if self.fails {
            return Err(Error::new(ErrorKind::Unavailable, "as the test wants it"));
        }
        let bytes = self.inner.read(range).await?;
        Ok(if self.flips { bytes.iter().map(|byte| !byte).collect() } else { bytes })
    }
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn readers_of_one_span_share_one_fetch() {
    let layer = layer(3, 20);
    let gate = Gate::new(&layer);
    let blob = open(Arc::clone(&gate), &layer, Config::default()).await;
    let readers: Vec<_> = (0..20_u64)
        .map(|at| {
            let blob = blob.clone();
            tokio::spawn(async move { blob.read_at(at..at + 10).await })
        })
        .collect();
    settle().await;
    assert_eq!(gate.reads(), 1);
    gate.open.notify_one();
    for (at, reader) in readers.into_iter().enumerate() {
        assert_eq!(reader.await.unwrap().unwrap(), layer.archive[at..at + 10]);
    }
    assert_eq!((gate.reads(), blob.stats().spans_decoded), (1, 1));
}

#[tokio::test]
async fn fetches_are_bounded() {
    let layer = layer(4, 30);
    let gate = Gate::new(&layer);
    let config = config(|config| (config.fetches, config.fetch_bytes) = (2, 1));
    let blob = open(Arc::clone(&gate), &layer, config).await;
    let size = layer.archive.len() as u64;
    let read = tokio::spawn({
        let blob = blob.clone();
        async move { blob.read_at(0..size).await }
    });
    while !read.is_finished() {
        settle().await;
        gate.open.notify_one();
    }
    assert!(read.await.unwrap().unwrap() == layer.archive);
    assert_eq!(gate.running.lock().unwrap().1, 2);
    assert_eq!(gate.reads(), layer.index.span_count() as u64);
}

#[tokio::test]
async fn a_dropped_read_is_not_fetched_and_harms_no_other() {
    let layer = layer(5, 30);
    let gate = Gate::new(&layer);
    let config = config(|config| (config.fetches, config.fetch_bytes) = (1, 1));
    let blob = open(Arc::clone(&gate), &layer, config).await;
    let spans = layer.index.span_count();
    let at = |number: usize| layer.index.span(number).unwrap().uncompressed.start;
    let read = |number: usize| {
        let (blob, start) = (blob.clone(), at(number));
        tokio::spawn(async move { blob.read_at(start..start + 1).await })
    };
    let (first, given_up, last) = (read(0), read(2), read(spans - 1));
    settle().await;
    given_up.abort();
    settle().await;
    for _ in 0..spans {
        gate.open.notify_one();
        settle().await;
    }
    assert_eq!(first.await.unwrap().unwrap(), layer.archive[..1]);
    assert_eq!(last.await.unwrap().unwrap(), layer.archive[at(spans - 1) as usize..][..1]);
    assert_eq!(gate.reads(), 2, "the read that was given up was still in the queue");
    assert!(blob.read_at(at(2)..at(2)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_changed_source_ends_the_driver() {
    let layer = layer(10, 20);
    let source = Arc::new(layer.faulty(|_| Fault::Error(ErrorKind::Changed)));
    let opened = Blob::open(source, layer.index.clone(), Config::default()).await;
    let (blob, driver) = opened.unwrap();
    let driver = tokio::spawn(driver);
    assert_eq!(blob.read_at(0..9).await.unwrap_err().kind(), ErrorKind::Changed);
    assert_eq!(driver.await.unwrap().unwrap_err().kind(), ErrorKind::Changed);
    let closed = blob.read_at(0..9).await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
    let cause = std::error::Error::source(&closed).unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Changed);
}

#[tokio::test]
async fn no_call_hangs_without_its_driver() {
    let layer = layer(11, 20);
    let gate = Gate::new(&layer);
    let opened = Blob::open(gate.clone(), layer.index.clone(), Config::default()).await;
    let (blob, driver) = opened.unwrap();
    let driver = tokio::spawn(driver);
    gate.open.notify_one();
    assert!(blob.read_at(0..9).await.is_ok());
    let last = layer.archive.len() as u64;
    let waiting: Vec<_> = (0..40)
        .map(|_| {
            let blob = blob.clone();
            tokio::spawn(async move { blob.read_at(last - 9..last).await })
        })
        .collect();
    settle().await;
    driver.abort();
    for read in waiting {
        assert_eq!(read.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    }
    let cached = blob.read_at(0..9).await.unwrap_err();
    assert_eq!(cached.kind(), ErrorKind::Closed, "cached or not, a closed blob says so");
}

#[tokio::test]
async fn the_driver_ends_with_the_last_handle() {
    let layer = layer(12, 20);
    let opened = Blob::open(Arc::new(layer.source()), layer.index.clone(), Config::default()).await;
    let (blob, driver) = opened.unwrap();
    let driver = tokio::spawn(driver);
    let clone = blob.clone();
    drop(blob);
    assert!(clone.read_at(0..9).await.is_ok());
    drop(clone);
    driver.await.unwrap().unwrap();
}

/// A read that was given up is still in the queue when the last handle goes.
#[tokio::test]
async fn the_driver_ends_well_with_unwanted_reads_in_its_queue() {
    let layer = layer(14, 30);
    let gate = Arc::new(Gate { fails: true, ..Gate::build(&layer) });
    let config = config(|config| (config.fetches, config.fetch_bytes) = (1, 1));
    let opened = Blob::open(gate.clone(), layer.index.clone(), config).await;
    let (blob, driver) = opened.unwrap();
    let driver = tokio::spawn(driver);
    let last = layer.archive.len() as u64;
    let reads = [0..1, last - 1..last].map(|range| {
        let blob = blob.clone();
        tokio::spawn(async move { blob.read_at(range).await })
    });
    drop(blob);
    settle().await;
    assert_eq!(gate.reads(), 1);
    reads.iter().for_each(tokio::task::JoinHandle::abort);
    settle().await;
    gate.open.notify_one();
    driver.await.expect("no panic").unwrap();
}

#[tokio::test]
async fn retries_are_bounded_like_other_fetches() {
    let layer = layer(15, 30);
    let gate = Arc::new(Gate { flips: true, ..Gate::build(&layer) });
    let config = config(|config| config.fetches = 2);
    let blob = open(Arc::clone(&gate), &layer, config).await;
    let size = layer.archive.len() as u64;
    let read = tokio::spawn(async move { blob.read_at(0..size).await });
    while !read.is_finished() {
        settle().await;
        gate.open.notify_one();
    }
    assert_eq!(read.await.unwrap().unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(gate.reads() > layer.index.span_count() as u64, "each span is asked for again");
    assert_eq!(gate.running.lock().unwrap().1, 2);
}

/// Gives buffers of its own at once, and counts how many of their bytes are alive.
#[derive(Debug)]
struct Counted {
    blob: Bytes,
    alive: Arc<Mutex<(usize, usize)>>,
}

struct Buffer(Vec<u8>, Arc<Mutex<(usize, usize)>>);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.1.lock().unwrap().0 -= self.0.len();
    }
}

#[async_trait]
impl Source for Counted {
    async fn size(&self) -> Result<u64> {
        Ok(self.blob.len() as u64)
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.blob[range.start as usize..range.end as usize].to_vec();
        let mut alive = self.alive.lock().unwrap();
        alive.0 += bytes.len();
        alive.1 = alive.1.max(alive.0);
        Ok(Bytes::from_owner(Buffer(bytes, Arc::clone(&self.alive))))
    }
}

/// A source that is faster than decoding waits: what is fetched ahead is bounded.
#[tokio::test]
async fn fetched_bytes_are_bounded() {
    let layer = layer(16, 60);
    let alive = Arc::new(Mutex::new((0, 0)));
    let source = Counted { blob: layer.blob.clone(), alive: Arc::clone(&alive) };
    let config = config(|config| (config.fetches, config.fetch_bytes) = (2, 1));
    let blob = open(source, &layer, config).await;
    let spans: Vec<_> =
        (0..layer.index.span_count()).map(|it| layer.index.span(it).unwrap()).collect();
    let largest = spans.iter().map(|it| it.compressed.end - it.compressed.start).max().unwrap();
    let reads =
        spans.iter().map(|span| blob.read_at(span.uncompressed.start..span.uncompressed.end));
    for (read, span) in futures_util::future::join_all(reads).await.into_iter().zip(&spans) {
        assert!(
            read.unwrap()
                == layer.archive[span.uncompressed.start as usize..]
                    [..(span.uncompressed.end - span.uncompressed.start) as usize]
        );
    }
    let most = alive.lock().unwrap().1;
    assert!(spans.len() > 10 && most <= 4 * largest as usize, "{most} of {largest} each");
}

/// The cache's bound is about memory: a span of a plain tar does not hold the fetch it came in.
#[tokio::test]
async fn a_cached_span_holds_no_fetch() {
    let files = support::files(&mut support::Random::new(17), 30, 30_000);
    let archive = Bytes::from(support::tar(&files));
    let index = Arc::new(support::index(&archive, &support::small_spans()));
    let alive = Arc::new(Mutex::new((0, 0)));
    let source = Arc::new(Counted { blob: archive.clone(), alive: Arc::clone(&alive) });
    let (blob, driver) = Blob::open(source, index, Config::default()).await.unwrap();
    tokio::spawn(driver);
    assert!(blob.read_at(0..archive.len() as u64).await.unwrap() == archive);
    assert_eq!(blob.stats().cached_bytes, archive.len() as u64);
    assert_eq!(alive.lock().unwrap().0, 0);
}

/// Readers who come and give up, one after the other without end, do not keep the driver from
/// decoding for one who waits.
#[tokio::test]
async fn a_stream_of_requests_starves_no_reader() {
    let layer = layer(18, 30);
    let config = config(|config| config.fetch_bytes = 1);
    let opened = Blob::open(Arc::new(layer.source()), layer.index.clone(), config).await;
    let (blob, mut driver) = opened.unwrap();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut waiting = Box::pin(blob.read_at(0..1));
    let last = layer.archive.len() as u64;
    for _ in 0..100 {
        if let std::task::Poll::Ready(read) = waiting.as_mut().poll(&mut context) {
            assert_eq!(read.unwrap(), layer.archive[..1]);
            return;
        }
        // There is a request whenever the driver looks.
        drop(Box::pin(blob.read_at(last - 1..last)).as_mut().poll(&mut context));
        assert!(std::pin::Pin::new(&mut driver).poll(&mut context).is_pending());
    }
    panic!("it waits for a lull");
}
