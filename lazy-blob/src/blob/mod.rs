//! An open blob: the handle, and the driver that fetches for it.

mod cache;
mod driver;
mod stats;
mod work;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use self::cache::SpanCache;
use self::stats::{Counters, add};
use self::work::{Want, Work};
use crate::config::Config;
use crate::core::{Entry, EntryKind, Index};
use crate::error::{Error, ErrorKind, Result};
use crate::source::Source;

pub use driver::Driver;
pub use stats::Stats;

/// An open blob: reads any range of any file, fetching and verifying only the spans that hold it.
///
/// Clones share the cache and the driver. An idle blob holds a few kilobytes besides its cache and
/// the index, which is shared. See the [crate's example](crate).
#[derive(Clone)]
pub struct Blob {
    shared: Arc<Shared>,
    wants: mpsc::Sender<Want>,
}

struct Shared {
    index: Arc<Index>,
    config: Config,
    cache: Mutex<SpanCache>,
    counters: Counters,
    /// Header offsets of the entries whose headers were compared with the index.
    checked: Mutex<HashSet<u64>>,
    /// What ended the driver.
    failure: OnceLock<Error>,
}

impl Blob {
    /// Opens the blob that `source` gives and `index` describes.
    ///
    /// It asks the source for its size and fetches nothing else. Spawn the [`Driver`], or no read
    /// that misses the cache moves.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) for a setting out of its range,
    /// [`Changed`](ErrorKind::Changed) where the source's size is not the index's, and what
    /// [`Source::size`] gives.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future opens nothing.
    pub async fn open(
        source: Arc<dyn Source>,
        index: Arc<Index>,
        config: Config,
    ) -> Result<(Self, Driver)> {
        config.check()?;
        let (expected, seen) = (index.compressed_bytes(), source.size().await?);
        if expected != seen {
            return Err(Error::new(
                ErrorKind::Changed,
                format!("the blob has {seen} bytes, its index says {expected}: index it again"),
            ));
        }
        let (wants, receiver) = mpsc::channel(config.queue);
        let shared = Arc::new(Shared {
            index,
            cache: Mutex::new(SpanCache::new(config.cache_bytes)),
            config,
            counters: Counters::default(),
            checked: Mutex::new(HashSet::new()),
            failure: OnceLock::new(),
        });
        let work = Work::new(Arc::clone(&shared), source, receiver);
        Ok((Self { shared, wants }, Driver::new(work.run())))
    }

    /// The index that the blob was opened with.
    #[must_use]
    pub fn index(&self) -> &Arc<Index> {
        &self.shared.index
    }

    /// All entries in the order of the archive.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.shared.index.entries()
    }

    /// The entry whose content `path` names, in any spelling of the path, with hard links followed
    /// and symbolic links not.
    #[must_use]
    pub fn entry(&self, path: impl AsRef<[u8]>) -> Option<&Entry> {
        self.shared.index.resolve(path)
    }

    /// Counters since the blob was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let cached = self.shared.cache.lock().bytes();
        self.shared.counters.stats(cached)
    }

    /// The bytes `range` of the file at `path`.
    ///
    /// On the first read of a file whose header lies in a span that is read anyway, the header is
    /// compared with the index.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) where there is no such path,
    /// [`Invalid`](ErrorKind::Invalid) for what has no content or a range beyond its end,
    /// [`Unsupported`](ErrorKind::Unsupported) for a sparse file,
    /// [`Corrupt`](ErrorKind::Corrupt) where the header differs, and as
    /// [`read_at`](Self::read_at).
    ///
    /// # Cancel safety
    ///
    /// As [`read_at`](Self::read_at).
    pub async fn read(&self, path: impl AsRef<[u8]> + Send, range: Range<u64>) -> Result<Bytes> {
        let entry = self.readable(path.as_ref())?;
        if range.start > range.end || range.end > entry.size {
            let (path, size, Range { start, end }) = (entry.path_lossy(), entry.size, range);
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{path}: range {start}..{end} of {size} bytes: ask within the file"),
            ));
        }
        let wanted = entry.offset + range.start..entry.offset + range.end;
        if self.is_header_at_hand(entry, &wanted) {
            self.read_checked(entry, wanted).await
        } else {
            self.read_at(wanted).await
        }
    }

    /// The bytes `range` of the uncompressed archive, headers and padding included.
    ///
    /// A short answer shares no memory with the cache; one of at least half a span may.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) for a range beyond the archive,
    /// [`Exhausted`](ErrorKind::Exhausted) for one beyond [`Config::read_bytes`],
    /// [`Corrupt`](ErrorKind::Corrupt) where the source gives wrong bytes time after time,
    /// [`Changed`](ErrorKind::Changed) where the source gives another blob, which also ends the
    /// driver, [`Closed`](ErrorKind::Closed) where the driver is gone, and what
    /// [`Source::read`] gives.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place; a fetch that no one else waits for is not started,
    /// and one that is under way completes into the cache.
    pub async fn read_at(&self, range: Range<u64>) -> Result<Bytes> {
        self.check_open()?;
        self.shared.check_range(&range)?;
        let spans = self.shared.index.spans_of(range.clone());
        if spans.len() <= 1 {
            if !spans.is_empty()
                && let Some(span) = self.shared.hit(spans.start)
            {
                return Ok(self.shared.slice(spans.start, &span, &range));
            }
            return match self.fetch(spans.clone()).await?.first() {
                Some(span) => Ok(self.shared.slice(spans.start, span, &range)),
                None => Ok(Bytes::new()),
            };
        }
        // Grows with what arrives, never by what the range claims.
        let mut out = BytesMut::new();
        let batches = self.shared.batches(spans);
        let fetches = batches.into_iter().map(|batch| async {
            let spans = self.fetch(batch.clone()).await?;
            Ok::<_, Error>(batch.zip(spans))
        });
        let mut fetches = stream::iter(fetches).buffered(self.shared.config.fetches);
        while let Some(batch) = fetches.try_next().await? {
            for (number, span) in batch {
                out.extend_from_slice(self.shared.part(number, &span, &range));
            }
        }
        Ok(out.freeze())
    }

    fn readable(&self, path: &[u8]) -> Result<&Entry> {
        let shown = || String::from_utf8_lossy(path).into_owned();
        let entry = self.shared.index.resolve(path).ok_or_else(|| {
            let message = format!("{}: not in the archive: see its entries", shown());
            Error::new(ErrorKind::NotFound, message)
        })?;
        match entry.kind {
            EntryKind::Regular | EntryKind::Other(_) => Ok(entry),
            EntryKind::Sparse => Err(Error::new(
                ErrorKind::Unsupported,
                format!("{}: is a sparse file: not read so far", shown()),
            )),
            kind => Err(Error::new(
                ErrorKind::Invalid,
                format!("{}: is {kind:?} and has no content: read a regular file", shown()),
            )),
        }
    }

    /// Whether the header is still to be checked and costs no fetch of its own.
    fn is_header_at_hand(&self, entry: &Entry, wanted: &Range<u64>) -> bool {
        let span = |offset: u64| self.shared.index.spans_of(offset..offset.saturating_add(1));
        !wanted.is_empty()
            && !self.shared.checked.lock().contains(&entry.header_offset)
            && span(entry.header_offset) == span(wanted.start)
            && wanted.end - entry.header_offset <= self.shared.config.read_bytes
    }

    async fn read_checked(&self, entry: &Entry, wanted: Range<u64>) -> Result<Bytes> {
        let before = usize::try_from(wanted.start - entry.header_offset).unwrap_or(usize::MAX);
        let headers = usize::try_from(entry.offset - entry.header_offset).unwrap_or(usize::MAX);
        self.shared.check_range(&wanted)?;
        let bytes = self.read_at(entry.header_offset..wanted.end).await?;
        let matches = bytes.get(..headers).is_some_and(|headers| entry.matches_headers(headers));
        if !matches {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "{}: the index differs from its header: index it again",
                    entry.path_lossy()
                ),
            ));
        }
        self.shared.checked.lock().insert(entry.header_offset);
        Ok(lean_slice(&bytes, before..bytes.len()))
    }

    /// The decoded spans of these numbers, from the cache or through the driver.
    async fn fetch(&self, numbers: Range<usize>) -> Result<Vec<Bytes>> {
        let (mut ready, missing) = self.shared.cached(numbers);
        if missing.is_empty() {
            return Ok(ready.into_iter().flatten().collect());
        }
        let mut replies = Vec::with_capacity(missing.len());
        for want in runs(&missing) {
            let (senders, receivers): (Vec<_>, Vec<_>) =
                want.clone().map(|_| oneshot::channel()).unzip();
            let want = Want { first: want.start, replies: senders };
            self.wants.send(want).await.map_err(|_| self.closed())?;
            replies.extend(receivers);
        }
        let mut replies = replies.into_iter();
        for slot in ready.iter_mut().filter(|slot| slot.is_none()) {
            if let Some(reply) = replies.next() {
                *slot = Some(reply.await.map_err(|_| self.closed())??);
            }
        }
        Ok(ready.into_iter().flatten().collect())
    }

    fn check_open(&self) -> Result<()> {
        if self.wants.is_closed() { Err(self.closed()) } else { Ok(()) }
    }

    fn closed(&self) -> Error {
        let error = Error::new(ErrorKind::Closed, "the blob's driver is gone: open it again");
        match self.shared.failure.get() {
            Some(cause) => error.with_source(cause.clone()),
            None => error,
        }
    }
}

impl Shared {
    fn check_range(&self, range: &Range<u64>) -> Result<()> {
        let (size, limit) = (self.index.uncompressed_bytes(), self.config.read_bytes);
        let &Range { start, end } = range;
        if start > end || end > size {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("range {start}..{end} of {size} bytes: ask within the archive"),
            ));
        }
        if end - start > limit {
            return Err(Error::new(
                ErrorKind::Exhausted,
                format!("a read of {} bytes, read_bytes is {limit}: ask in parts", end - start),
            ));
        }
        Ok(())
    }

    /// The compressed bytes of a run of spans.
    fn fetch_range(&self, run: &Range<usize>) -> Range<u64> {
        let span = |number: usize| self.index.span(number).map(|span| span.compressed);
        let start = span(run.start).map_or(0, |bytes| bytes.start);
        let end = run.end.checked_sub(1).and_then(span).map_or(start, |bytes| bytes.end);
        start..end.max(start)
    }

    fn fetch_length(&self, run: &Range<usize>) -> u64 {
        let range = self.fetch_range(run);
        range.end - range.start
    }

    /// Splits a read into requests that the driver can each fetch at once.
    fn batches(&self, spans: Range<usize>) -> Vec<Range<usize>> {
        let mut batches: Vec<Range<usize>> = Vec::new();
        for number in spans {
            match batches.last_mut() {
                Some(last)
                    if self.fetch_length(&(last.start..number + 1)) <= self.config.fetch_bytes =>
                {
                    last.end = number + 1;
                }
                _ => batches.push(number..number + 1),
            }
        }
        batches
    }

    /// A span that the cache holds; a miss is counted by those who then wait.
    fn hit(&self, number: usize) -> Option<Bytes> {
        let span = self.cache.lock().get(number)?;
        add(&self.counters.cache_hits, 1);
        Some(span)
    }

    /// What the cache holds of these spans, and the numbers of the others.
    fn cached(&self, numbers: Range<usize>) -> (Vec<Option<Bytes>>, Vec<usize>) {
        let mut missing = Vec::new();
        let mut cache = self.cache.lock();
        let found: Vec<_> = numbers
            .map(|number| {
                cache.get(number).or_else(|| {
                    missing.push(number);
                    None
                })
            })
            .collect();
        drop(cache);
        add(&self.counters.cache_hits, (found.len() - missing.len()) as u64);
        add(&self.counters.cache_misses, missing.len() as u64);
        (found, missing)
    }

    /// Where `range` of the archive lies in the decoded span.
    fn within(&self, number: usize, span: &Bytes, range: &Range<u64>) -> Range<usize> {
        let start = self.index.span(number).map_or(0, |span| span.uncompressed.start);
        let at = |offset: u64| {
            usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX).min(span.len())
        };
        at(range.start)..at(range.end)
    }

    fn part<'a>(&self, number: usize, span: &'a Bytes, range: &Range<u64>) -> &'a [u8] {
        span.get(self.within(number, span, range)).unwrap_or_default()
    }

    fn slice(&self, number: usize, span: &Bytes, range: &Range<u64>) -> Bytes {
        lean_slice(span, self.within(number, span, range))
    }
}

/// A slice that holds no more than twice its length in memory: a small one is copied, so that it
/// does not keep a whole span alive beyond the cache's bound.
fn lean_slice(span: &Bytes, range: Range<usize>) -> Bytes {
    if range.len() >= span.len() / 2 {
        span.slice(range)
    } else {
        Bytes::copy_from_slice(span.get(range).unwrap_or_default())
    }
}

/// Groups ascending numbers into runs of adjacent ones.
fn runs(numbers: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some(last) if last.end == number => last.end = number + 1,
            _ => runs.push(number..number + 1),
        }
    }
    runs
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("index", &self.shared.index).finish_non_exhaustive()
    }
}
