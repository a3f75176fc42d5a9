//! Settings as plain data, each with its default, its range and the reason.

use std::fmt::Display;

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};

/// The settings of a [`Store`](crate::Store).
///
/// ```
/// let mut config = kv_journal::Config::default();
/// config.quota_bytes = 64 << 20;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The most that one request may hold, keys and values together: [`Config::REQUEST_BYTES`].
    pub request_bytes: usize,
    /// The longest key: [`Config::KEY_BYTES`].
    pub key_bytes: usize,
    /// The longest value: [`Config::VALUE_BYTES`].
    pub value_bytes: usize,
    /// The most comparisons, and operations of a branch, in one transaction: [`Config::TXN_OPS`].
    pub txn_ops: usize,
    /// How deep transactions may nest; 0 is not at all: [`Config::TXN_DEPTH`].
    pub txn_depth: usize,
    /// What all retained versions may take; beyond it only deletes and compaction pass:
    /// [`Config::QUOTA_BYTES`].
    pub quota_bytes: u64,
    /// When writes pass again after the quota was reached.
    pub quota_alarm: QuotaAlarm,
    /// How many requests wait for the sequencer before callers do: [`Config::QUEUE_LEN`].
    pub queue_len: usize,
    /// What the requests that wait for the sequencer may hold, keys and values and 256 bytes for
    /// each, before callers do: [`Config::QUEUE_BYTES`].
    pub queue_bytes: usize,
    /// What a caller does when the queue is full; a handle may say otherwise for its calls.
    pub when_full: WhenFull,
    /// Which keys may be acknowledged before they are durable, to those who ask for it with
    /// [`put_by_class`](crate::Store::put_by_class): the longest prefix decides, and keys without
    /// one are durable.
    pub durability: Vec<PrefixClass>,
    /// At most so many transactions share one append: [`Config::BATCH_RECORDS`].
    pub batch_records: usize,
    /// A batch is full when its records reach this: [`Config::BATCH_BYTES`].
    pub batch_bytes: usize,
    /// How often the driver asks what became of an append whose outcome is unknown, and how often
    /// it repeats one that was lost, before it gives up: [`Config::RESOLVE_ATTEMPTS`].
    pub resolve_attempts: u32,
    /// Whether a Merkle tree is kept over the journal's records, so that the store has digests and
    /// proofs ([`verify`](crate::verify)). Off by default, since each record then costs a hash.
    #[cfg(feature = "ledger")]
    pub ledger: bool,
    /// For how many of the newest records the tree keeps hashes: [`Config::LEDGER_RECORDS`].
    #[cfg(feature = "ledger")]
    pub ledger_records: u64,
    /// Whether checkpoints leave the journal whole where there is a ledger, so that every record can
    /// be audited and proven. On by default; a store that turns it off has proofs of what is not
    /// trimmed, and digests of everything.
    #[cfg(feature = "ledger")]
    pub ledger_keeps_journal: bool,
    /// Leases that are granted for less live this long: [`Config::LEASE_MIN_TTL_SECS`].
    pub lease_min_ttl_secs: u64,
    /// At most so many expired leases are revoked in a second:
    /// [`Config::LEASE_REVOKES_PER_SEC`].
    pub lease_revokes_per_sec: u32,
    /// The most watchers in one stream: [`Config::WATCH_STREAM_LEN`].
    pub watch_stream_len: usize,
    /// Revisions larger than this reach watchers that asked for fragments in parts:
    /// [`Config::WATCH_FRAGMENT_BYTES`].
    pub watch_fragment_bytes: usize,
    /// How often watchers that asked for it are told how far they are, in milliseconds:
    /// [`Config::WATCH_PROGRESS_MS`].
    pub watch_progress_ms: u64,
    /// A checkpoint is made once so many bytes of records are behind the last one; 0 for never:
    /// [`Config::CHECKPOINT_BYTES`].
    pub checkpoint_bytes: u64,
    /// A checkpoint is made once so many records are behind the last one; 0 for never:
    /// [`Config::CHECKPOINT_RECORDS`].
    pub checkpoint_records: u64,
    /// How many checkpoints are kept, with the journal from the oldest of them on:
    /// [`Config::CHECKPOINTS_KEPT`].
    pub checkpoints_kept: usize,
    /// The size of a checkpoint's frames, and what an export holds in memory:
    /// [`Config::CHECKPOINT_FRAME_BYTES`].
    pub checkpoint_frame_bytes: usize,
    /// How many threads decode a checkpoint; 0 for as many as the machine runs at once:
    /// [`Config::RECOVERY_THREADS`].
    pub recovery_threads: usize,
    /// The name of the threads that decode, replay and encode whole states. Each ends with what it
    /// does.
    pub thread_name: String,
}

impl Config {
    /// etcd's `--max-request-bytes`. The greatest value stays well below what a file journal
    /// takes as one record.
    pub const REQUEST_BYTES: Limit<usize> = Limit { default: 3 << 19, min: 1 << 10, max: 32 << 20 };
    /// etcd bounds a key by its request alone; so does the default.
    pub const KEY_BYTES: Limit<usize> = Limit { default: 3 << 19, min: 1, max: 32 << 20 };
    /// etcd bounds a value by its request alone; so does the default.
    pub const VALUE_BYTES: Limit<usize> = Limit { default: 3 << 19, min: 0, max: 32 << 20 };
    /// etcd's `--max-txn-ops`.
    pub const TXN_OPS: Limit<usize> = Limit { default: 128, min: 1, max: 1 << 16 };
    /// In etcd every level uses up operations, which is a bound on the depth too: with 128 of them
    /// it is this default. The greatest value keeps the recursion small on any stack.
    pub const TXN_DEPTH: Limit<usize> = Limit { default: 128, min: 0, max: 256 };
    /// The state lives in memory, so the default is etcd's usual upper bound; the least value
    /// still holds one request of default size.
    pub const QUOTA_BYTES: Limit<u64> = Limit { default: 8 << 30, min: 1 << 20, max: 1 << 50 };
    /// Enough to fill a batch while one is syncing; each place holds at most one request.
    pub const QUEUE_LEN: Limit<usize> = Limit { default: 4096, min: 1, max: 1 << 20 };
    /// Some seconds of writes on a disk of some 100 MB/s are in memory at most, beside the batches.
    /// A request that is larger than all of it passes alone.
    pub const QUEUE_BYTES: Limit<usize> = Limit { default: 64 << 20, min: 1 << 10, max: 16 << 30 };
    /// Beyond some thousands a sync is no longer what a batch waits for.
    pub const BATCH_RECORDS: Limit<usize> = Limit { default: 4096, min: 1, max: 1 << 16 };
    /// Keeps the time of one append near that of its sync on a disk of some 100 MB/s.
    pub const BATCH_BYTES: Limit<usize> = Limit { default: 4 << 20, min: 1, max: 64 << 20 };
    /// With pauses that double from 10 ms to at most 1 s, the default gives up after about 3 s.
    pub const RESOLVE_ATTEMPTS: Limit<u32> = Limit { default: 10, min: 1, max: 1000 };
    /// etcd at its defaults: one and a half election timeouts, so that a new leader is there to be
    /// asked. The greatest value is an hour: more would surprise whoever asks for seconds.
    pub const LEASE_MIN_TTL_SECS: Limit<u64> = Limit { default: 2, min: 1, max: 3600 };
    /// etcd's rate. Each revoke is a record and may delete many keys; a million leases that run out
    /// together should not hold writers up.
    pub const LEASE_REVOKES_PER_SEC: Limit<u32> = Limit { default: 1000, min: 10, max: 1_000_000 };
    /// etcd bounds none; a watcher takes some 300 bytes, so the default is about as much as a
    /// client may ask for by mistake.
    pub const WATCH_STREAM_LEN: Limit<usize> = Limit { default: 1 << 20, min: 1, max: 1 << 26 };
    /// etcd splits at `--max-request-bytes`.
    pub const WATCH_FRAGMENT_BYTES: Limit<usize> =
        Limit { default: 3 << 19, min: 1 << 10, max: 64 << 20 };
    /// etcd's `--experimental-watch-progress-notify-interval`: 10 minutes, at least 100 ms.
    pub const WATCH_PROGRESS_MS: Limit<u64> = Limit { default: 600_000, min: 100, max: 86_400_000 };
    /// Some hundred milliseconds of replay. Whatever is set, the journal grows by at least a
    /// quarter of the state first, so that checkpoints write at most five times what it does.
    pub const CHECKPOINT_BYTES: Limit<u64> = Limit { default: 256 << 20, min: 0, max: 1 << 50 };
    /// About a second of replay, with the same floor.
    pub const CHECKPOINT_RECORDS: Limit<u64> = Limit { default: 1_000_000, min: 0, max: 1 << 50 };
    /// A damaged checkpoint falls back to the one before.
    pub const CHECKPOINTS_KEPT: Limit<usize> = Limit { default: 2, min: 1, max: 1 << 10 };
    /// Some thousand frames for a gigabyte, each decoded within a millisecond.
    pub const CHECKPOINT_FRAME_BYTES: Limit<usize> =
        Limit { default: 1 << 20, min: 256, max: 16 << 20 };
    /// Decoding is limited by memory beyond some tens.
    pub const RECOVERY_THREADS: Limit<usize> = Limit { default: 0, min: 0, max: 256 };

    /// Some 34 bytes each, so 140 MB by default. Keys whose last record is older cannot be proven,
    /// nor that a digest from before them is the beginning of a newer one.
    #[cfg(feature = "ledger")]
    pub const LEDGER_RECORDS: Limit<u64> = Limit { default: 1 << 22, min: 1 << 10, max: 1 << 40 };

    /// Whether checkpoints leave the journal whole.
    #[cfg_attr(not(feature = "ledger"), allow(clippy::unused_self, reason = "as the ledger says"))]
    pub(crate) fn keeps_whole_journal(&self) -> bool {
        #[cfg(feature = "ledger")]
        return self.ledger && self.ledger_keeps_journal;
        #[cfg(not(feature = "ledger"))]
        false
    }

    pub(crate) fn check(&self) -> Result<()> {
        #[cfg(feature = "ledger")]
        Self::LEDGER_RECORDS.check("ledger_records", self.ledger_records)?;
        Self::REQUEST_BYTES.check("request_bytes", self.request_bytes)?;
        Self::KEY_BYTES.check("key_bytes", self.key_bytes)?;
        Self::VALUE_BYTES.check("value_bytes", self.value_bytes)?;
        Self::TXN_OPS.check("txn_ops", self.txn_ops)?;
        Self::TXN_DEPTH.check("txn_depth", self.txn_depth)?;
        Self::QUOTA_BYTES.check("quota_bytes", self.quota_bytes)?;
        Self::QUEUE_LEN.check("queue_len", self.queue_len)?;
        Self::QUEUE_BYTES.check("queue_bytes", self.queue_bytes)?;
        Self::BATCH_RECORDS.check("batch_records", self.batch_records)?;
        Self::BATCH_BYTES.check("batch_bytes", self.batch_bytes)?;
        Self::RESOLVE_ATTEMPTS.check("resolve_attempts", self.resolve_attempts)?;
        Self::LEASE_MIN_TTL_SECS.check("lease_min_ttl_secs", self.lease_min_ttl_secs)?;
        Self::LEASE_REVOKES_PER_SEC.check("lease_revokes_per_sec", self.lease_revokes_per_sec)?;
        Self::WATCH_STREAM_LEN.check("watch_stream_len", self.watch_stream_len)?;
        Self::WATCH_FRAGMENT_BYTES.check("watch_fragment_bytes", self.watch_fragment_bytes)?;
        Self::WATCH_PROGRESS_MS.check("watch_progress_ms", self.watch_progress_ms)?;
        Self::CHECKPOINT_BYTES.check("checkpoint_bytes", self.checkpoint_bytes)?;
        Self::CHECKPOINT_RECORDS.check("checkpoint_records", self.checkpoint_records)?;
        Self::CHECKPOINTS_KEPT.check("checkpoints_kept", self.checkpoints_kept)?;
        let frame_bytes = self.checkpoint_frame_bytes;
        Self::CHECKPOINT_FRAME_BYTES.check("checkpoint_frame_bytes", frame_bytes)?;
        Self::RECOVERY_THREADS.check("recovery_threads", self.recovery_threads)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            request_bytes: Self::REQUEST_BYTES.default,
            key_bytes: Self::KEY_BYTES.default,
            value_bytes: Self::VALUE_BYTES.default,
            txn_ops: Self::TXN_OPS.default,
            txn_depth: Self::TXN_DEPTH.default,
            quota_bytes: Self::QUOTA_BYTES.default,
            quota_alarm: QuotaAlarm::default(),
            queue_len: Self::QUEUE_LEN.default,
            queue_bytes: Self::QUEUE_BYTES.default,
            when_full: WhenFull::default(),
            durability: Vec::new(),
            batch_records: Self::BATCH_RECORDS.default,
            batch_bytes: Self::BATCH_BYTES.default,
            resolve_attempts: Self::RESOLVE_ATTEMPTS.default,
            #[cfg(feature = "ledger")]
            ledger: false,
            #[cfg(feature = "ledger")]
            ledger_records: Self::LEDGER_RECORDS.default,
            #[cfg(feature = "ledger")]
            ledger_keeps_journal: true,
            lease_min_ttl_secs: Self::LEASE_MIN_TTL_SECS.default,
            lease_revokes_per_sec: Self::LEASE_REVOKES_PER_SEC.default,
            watch_stream_len: Self::WATCH_STREAM_LEN.default,
            watch_fragment_bytes: Self::WATCH_FRAGMENT_BYTES.default,
            watch_progress_ms: Self::WATCH_PROGRESS_MS.default,
            checkpoint_bytes: Self::CHECKPOINT_BYTES.default,
            checkpoint_records: Self::CHECKPOINT_RECORDS.default,
            checkpoints_kept: Self::CHECKPOINTS_KEPT.default,
            checkpoint_frame_bytes: Self::CHECKPOINT_FRAME_BYTES.default,
            recovery_threads: Self::RECOVERY_THREADS.default,
            thread_name: "kv-journal".to_owned(),
        }
    }
}

/// How long the alarm lasts that is raised by the first write that the quota has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum QuotaAlarm {
    /// Until [`Store::disarm`](crate::Store::disarm), as in etcd, so that an operator sees it.
    #[default]
    Latched,
    /// Until a write fits again.
    Following,
}

/// What a caller does whose request finds the queue full, in number or in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// It waits for its turn.
    #[default]
    Wait,
    /// It fails with [`Unavailable`](crate::ErrorKind::Unavailable) at once.
    Fail,
}

/// When a write may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DurabilityClass {
    /// Once it is durable.
    #[default]
    Durable,
    /// Once it is evaluated; it may be lost until it is durable.
    Relaxed,
}

/// The durability class of every key that begins with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrefixClass {
    /// The prefix; an empty one is every key.
    pub prefix: Bytes,
    /// The class.
    pub class: DurabilityClass,
}

impl PrefixClass {
    /// Keys with `prefix` may be acknowledged before they are durable.
    pub fn relaxed(prefix: impl Into<Bytes>) -> Self {
        Self { prefix: prefix.into(), class: DurabilityClass::Relaxed }
    }

    /// Keys with `prefix` are acknowledged when they are durable, whatever a shorter one says.
    pub fn durable(prefix: impl Into<Bytes>) -> Self {
        Self { prefix: prefix.into(), class: DurabilityClass::Durable }
    }
}

/// How large a chunk of a [`RangeStream`](crate::RangeStream) gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkLimits {
    /// What its keys and values may take, with 64 bytes for each key: [`ChunkLimits::BYTES`]. One
    /// key is in every chunk, however large.
    pub bytes: usize,
    /// At most so many keys: [`ChunkLimits::KEYS`].
    pub keys: usize,
}

impl ChunkLimits {
    /// etcd aims at its greatest request, 1.5 MiB; 1 MiB fits with its frame into the 4 MiB that
    /// gRPC clients take by default, even where a chunk is one large value.
    pub const BYTES: Limit<usize> = Limit { default: 1 << 20, min: 1, max: 64 << 20 };
    /// Keeps the time that one chunk takes within some milliseconds.
    pub const KEYS: Limit<usize> = Limit { default: 10_000, min: 1, max: 1 << 20 };

    pub(crate) fn check(self) -> Result<()> {
        Self::BYTES.check("chunk bytes", self.bytes)?;
        Self::KEYS.check("chunk keys", self.keys)
    }
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self { bytes: Self::BYTES.default, keys: Self::KEYS.default }
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
        Err(Error::new(
            ErrorKind::Invalid,
            format!("config: {field} is {value}: set it to {min}..={max}"),
        ))
    }
}
