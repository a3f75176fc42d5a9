//! Settings as plain data, each with its default, its range and the reason.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};

/// The settings of a [`Cache`](crate::Cache).
///
/// ```
/// let mut config = watch_cache::Config::default();
/// config.prefixes = vec!["/registry/".into()];
/// config.log_revisions = 10_000;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// What the cache holds: one or more prefixes, none within another. All of them are always at
    /// one revision. The default is the empty prefix: everything.
    pub prefixes: Vec<Bytes>,
    /// How many revisions the event log keeps. All of them can be listed, and watched from:
    /// [`Config::LOG_REVISIONS`].
    pub log_revisions: usize,
    /// What the log may keep in memory: the versions that were replaced, and its own:
    /// [`Config::LOG_BYTES`].
    pub log_bytes: usize,
    /// What all parts together may take in memory: [`Config::MEMORY_BYTES`]. See
    /// [`Footprint`](crate::Footprint) for what gives way first. When the objects alone take more the
    /// driver ends with `Exhausted`.
    pub memory_bytes: usize,
    /// How many keys' last changes are known beyond the log, so that a watch that was away for longer
    /// is told what changed since instead of `Expired`: [`Config::TRACES`].
    pub traces: usize,
    /// At most so many revisions are published at once: [`Config::BATCH_REVISIONS`].
    pub batch_revisions: usize,
    /// More watchers are refused: [`Config::WATCHERS`].
    pub watchers: usize,
    /// How many pumps serve the sinks: [`Config::PUMPS`].
    pub pumps: usize,
    /// More reads that wait for a revision are refused: [`Config::WAITERS`].
    pub waiters: usize,
    /// How long a read waits for its revision: [`Config::WAIT_TIMEOUT`].
    pub wait_timeout: Duration,
    /// The least time between two questions for the current revision:
    /// [`Config::QUESTION_INTERVAL`].
    pub question_interval: Duration,
    /// How often progress is requested from a source that tells it on request:
    /// [`Config::PROGRESS_INTERVAL`].
    pub progress_interval: Duration,
    /// How often watchers that want bookmarks get one: [`Config::BOOKMARK_INTERVAL`].
    pub bookmark_interval: Duration,
    /// How often the cache's [`Digest`](crate::Digest) is compared with the source's, where that has one;
    /// never if none: [`Config::COMPARE_INTERVAL`].
    pub compare_interval: Option<Duration>,
    /// Whether the cache begins anew where such a comparison finds it different, as
    /// [`begin_anew`](crate::Cache::begin_anew) says. It does by default; if that does not help, it does
    /// again after twice as many comparisons each time. The difference is counted in
    /// [`Stats::inconsistencies`](crate::Stats::inconsistencies) in any case.
    pub heal: bool,
    /// The pause after a first failure of the source: [`Config::BACKOFF`].
    pub backoff: Duration,
    /// The longest pause after many failures: [`Config::BACKOFF_CAP`].
    pub backoff_cap: Duration,
    /// Where the cache saves itself and begins from; nowhere by default.
    pub checkpoint: Option<CheckpointConfig>,
    /// The seed of the pauses' jitter; give each process another.
    pub seed: u64,
}

impl Config {
    /// 13,000 writes a second for 8 s; the Kubernetes API server's cacher keeps at most 102,400.
    pub const LOG_REVISIONS: Limit<usize> = Limit { default: 102_400, min: 1, max: 1 << 24 };
    /// Holds the default number of revisions with objects of 1 KB.
    pub const LOG_BYTES: Limit<usize> = Limit { default: 256 << 20, min: 1 << 10, max: 1 << 40 };
    /// None in effect: set it to what the machine has to spare. A listing is in memory twice while it
    /// is compared with what was there.
    pub const MEMORY_BYTES: Limit<usize> =
        Limit { default: usize::MAX >> 1, min: 1 << 10, max: usize::MAX >> 1 };
    /// About 32 bytes for each: for a million objects, as many as there are. Without any, a watch that
    /// fell behind the log has to begin anew.
    pub const TRACES: Limit<usize> = Limit { default: 1 << 20, min: 0, max: 1 << 30 };
    /// Enough to share a publication, few enough that readers see news within milliseconds.
    pub const BATCH_REVISIONS: Limit<usize> = Limit { default: 512, min: 1, max: 1 << 16 };
    /// Node agents of the largest published clusters (130,000), several watches each.
    pub const WATCHERS: Limit<usize> = Limit { default: 1 << 20, min: 1, max: 1 << 28 };
    /// One is enough for the driver's own thread; several are for as many cores.
    pub const PUMPS: Limit<usize> = Limit { default: 1, min: 1, max: 1 << 10 };
    /// An overloaded cache rejects rather than queues without bound.
    pub const WAITERS: Limit<usize> = Limit { default: 1 << 17, min: 1, max: 1 << 28 };
    /// The Kubernetes API server's cacher waits as long (KEP-2340).
    pub const WAIT_TIMEOUT: Limit<Duration> = Limit {
        default: Duration::from_secs(3),
        min: Duration::from_millis(1),
        max: Duration::from_secs(3600),
    };
    /// At most one question per millisecond, however many wait.
    pub const QUESTION_INTERVAL: Limit<Duration> = Limit {
        default: Duration::from_millis(1),
        min: Duration::from_millis(1),
        max: Duration::from_secs(60),
    };
    /// As often as the Kubernetes API server's cacher asks etcd (KEP-2340).
    pub const PROGRESS_INTERVAL: Limit<Duration> = Limit {
        default: Duration::from_millis(100),
        min: Duration::from_millis(1),
        max: Duration::from_secs(60),
    };
    /// A resumed watch then replays at most some seconds; Kubernetes sends one about each minute.
    pub const BOOKMARK_INTERVAL: Limit<Duration> = Limit {
        default: Duration::from_secs(10),
        min: Duration::from_millis(1),
        max: Duration::from_secs(3600),
    };
    /// As often as the Kubernetes API server compares its cache with etcd, for which it lists.
    pub const COMPARE_INTERVAL: Limit<Duration> = Limit {
        default: Duration::from_secs(300),
        min: Duration::from_millis(100),
        max: Duration::from_secs(86_400),
    };
    /// Short enough that a cut connection is not noticed.
    pub const BACKOFF: Limit<Duration> = Limit {
        default: Duration::from_millis(20),
        min: Duration::from_millis(1),
        max: Duration::from_secs(60),
    };
    /// A source that comes back is found within seconds.
    pub const BACKOFF_CAP: Limit<Duration> = Limit {
        default: Duration::from_secs(5),
        min: Duration::from_millis(1),
        max: Duration::from_secs(3600),
    };

    pub(crate) fn check(&self) -> Result<()> {
        self.check_prefixes()?;
        Self::LOG_REVISIONS.check("log_revisions", self.log_revisions)?;
        Self::LOG_BYTES.check("log_bytes", self.log_bytes)?;
        Self::MEMORY_BYTES.check("memory_bytes", self.memory_bytes)?;
        Self::TRACES.check("traces", self.traces)?;
        Self::BATCH_REVISIONS.check("batch_revisions", self.batch_revisions)?;
        Self::WATCHERS.check("watchers", self.watchers)?;
        Self::PUMPS.check("pumps", self.pumps)?;
        Self::WAITERS.check("waiters", self.waiters)?;
        Self::WAIT_TIMEOUT.check_time("wait_timeout", self.wait_timeout)?;
        Self::QUESTION_INTERVAL.check_time("question_interval", self.question_interval)?;
        Self::PROGRESS_INTERVAL.check_time("progress_interval", self.progress_interval)?;
        Self::BOOKMARK_INTERVAL.check_time("bookmark_interval", self.bookmark_interval)?;
        if let Some(interval) = self.compare_interval {
            Self::COMPARE_INTERVAL.check_time("compare_interval", interval)?;
        }
        Self::BACKOFF.check_time("backoff", self.backoff)?;
        Self::BACKOFF_CAP.check_time("backoff_cap", self.backoff_cap)?;
        self.checkpoint.as_ref().map_or(Ok(()), CheckpointConfig::check)
    }

    fn check_prefixes(&self) -> Result<()> {
        if self.prefixes.is_empty() {
            return Err(invalid("config: prefixes is empty: give at least one".to_owned()));
        }
        let mut sorted: Vec<&Bytes> = self.prefixes.iter().collect();
        sorted.sort();
        for two in sorted.windows(2) {
            if let [outer, inner] = two
                && inner.starts_with(outer)
            {
                return Err(invalid(format!(
                    "config: prefixes: {inner:?} is within {outer:?}: leave one of them out"
                )));
            }
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            prefixes: vec![Bytes::new()],
            log_revisions: Self::LOG_REVISIONS.default,
            log_bytes: Self::LOG_BYTES.default,
            memory_bytes: Self::MEMORY_BYTES.default,
            traces: Self::TRACES.default,
            batch_revisions: Self::BATCH_REVISIONS.default,
            watchers: Self::WATCHERS.default,
            pumps: Self::PUMPS.default,
            waiters: Self::WAITERS.default,
            wait_timeout: Self::WAIT_TIMEOUT.default,
            question_interval: Self::QUESTION_INTERVAL.default,
            progress_interval: Self::PROGRESS_INTERVAL.default,
            bookmark_interval: Self::BOOKMARK_INTERVAL.default,
            compare_interval: Some(Self::COMPARE_INTERVAL.default),
            heal: true,
            backoff: Self::BACKOFF.default,
            backoff_cap: Self::BACKOFF_CAP.default,
            checkpoint: None,
            seed: 0,
        }
    }
}

/// The file that a cache saves itself to and begins from, so that after a restart it goes on from there
/// instead of listing, and watchers resume from the revisions that they had.
///
/// It is written from time to time, when the driver ends because all handles are gone, and when
/// [asked for](crate::Cache::save_checkpoint). It holds the retained revisions with their objects, about
/// as large as they are in memory, under a checksum; the one before is replaced when it is whole. A
/// file `.lock` and, while it is written, one `.new` are beside it.
///
/// A checkpoint is not used, and the cache lists, if it is damaged, of other prefixes, of another
/// [store](crate::Source::store), or newer than what the source has: see
/// [`checkpoint_error`](crate::Cache::checkpoint_error). What the cache knew beyond its log is not in it.
///
/// ```
/// use watch_cache::{CheckpointConfig, Config};
///
/// let mut config = Config::default();
/// config.checkpoint = Some(CheckpointConfig::new("pods.ckpt"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointConfig {
    /// The file, in a directory that is there; each cache has its own.
    pub path: PathBuf,
    /// How often it is written, if there is something new: [`CheckpointConfig::INTERVAL`].
    pub interval: Duration,
    /// The name of the threads that read and write it.
    pub thread_name: String,
}

impl CheckpointConfig {
    /// A million objects of 1 KB are then 20 MB/s, and after a crash the source is asked for what
    /// happened in a minute.
    pub const INTERVAL: Limit<Duration> = Limit {
        default: Duration::from_secs(60),
        min: Duration::from_millis(100),
        max: Duration::from_secs(86_400),
    };

    /// The file at `path`, with the defaults.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let thread_name = "watch-cache-checkpoint".to_owned();
        Self { path: path.into(), interval: Self::INTERVAL.default, thread_name }
    }

    fn check(&self) -> Result<()> {
        if self.path.file_name().is_none() {
            return Err(invalid("config: checkpoint: path names no file: give one".to_owned()));
        }
        Self::INTERVAL.check_time("checkpoint: interval", self.interval)
    }
}

/// A setting's default and the least and the most that `open` accepts.
#[derive(Debug, Clone, Copy)]
pub struct Limit<T> {
    /// The value of [`Config::default`].
    pub default: T,
    /// The least value that is accepted.
    pub min: T,
    /// The greatest value that is accepted.
    pub max: T,
}

impl<T: PartialOrd + Display + Copy> Limit<T> {
    pub(crate) fn check(&self, field: &str, value: T) -> Result<()> {
        if value >= self.min && value <= self.max {
            return Ok(());
        }
        let (min, max) = (self.min, self.max);
        Err(invalid(format!("config: {field} is {value}: set it to {min}..={max}")))
    }
}

impl Limit<Duration> {
    pub(crate) fn check_time(&self, field: &str, value: Duration) -> Result<()> {
        if value >= self.min && value <= self.max {
            return Ok(());
        }
        let (min, max) = (self.min, self.max);
        Err(invalid(format!("config: {field} is {value:?}: set it to {min:?}..={max:?}")))
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_what_is_out_of_range_is_named() {
        Config::default().check().unwrap();
        let low = Config { log_revisions: 0, ..Config::default() };
        assert!(low.check().unwrap_err().to_string().contains("log_revisions is 0"));
        let long = Config { wait_timeout: Duration::from_secs(4000), ..Config::default() };
        assert!(long.check().unwrap_err().to_string().contains("wait_timeout is 4000s"));
    }

    #[test]
    fn nested_prefixes_are_refused() {
        for prefixes in [vec![], vec!["/a", "/a/b"], vec!["/b", "/b"], vec!["", "/x"]] {
            let prefixes = prefixes.into_iter().map(Bytes::from).collect();
            let error = Config { prefixes, ..Config::default() }.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }
}
