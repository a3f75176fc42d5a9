//! Settings as plain data, each with its default, its range and the reason.

use std::fmt::Display;

use crate::error::{Error, ErrorKind, Result};

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

/// Settings of a [`Resolver`](crate::Resolver).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// What the cache may hold, in bytes: messages, their TTL offsets, and a fixed sum for each
    /// entry's place in the tables.
    pub cache_bytes: usize,
    /// Parts of the cache that are locked by themselves. Each holds its share of the bytes.
    pub cache_shards: usize,
    /// The least time an answer is kept, in seconds, unless its TTL is 0.
    pub ttl_min_secs: u32,
    /// The longest time an answer is kept, in seconds.
    pub ttl_max_secs: u32,
    /// The longest time a negative answer is kept, in seconds.
    pub negative_ttl_max_secs: u32,
    /// How long a failure is kept, in seconds.
    pub failure_ttl_secs: u32,
    /// How many different questions may be on their way to the upstream.
    pub max_in_flight: usize,
    /// How many callers may wait for the same question.
    pub max_waiters: usize,
    /// The greatest UDP payload, in bytes, that is sent to a client or asked for upstream.
    pub udp_payload_bytes: u16,
    /// The zone of the cluster's records.
    pub cluster_domain: String,
    /// The TTL of the cluster's records, in seconds.
    pub cluster_ttl_secs: u32,
    /// Whether `a-b-c-d.namespace.pod.<zone>` exists.
    pub pods: PodNames,
    /// How long to wait before a broken records stream is opened again, in milliseconds.
    pub records_retry_ms: u64,
    /// The key of the tables' hash, for tests. Without one the standard library's randomness
    /// keys it, so that nobody outside can choose names that collide.
    pub hash_seed: Option<u128>,
}

/// Whether names made of a pod's address are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PodNames {
    /// They do not exist.
    #[default]
    Disabled,
    /// The address in the name is echoed, whether or not such a pod exists.
    Insecure,
}

impl Config {
    /// 32 MiB hold about 200,000 small answers; `NodeLocal DNSCache` is given 30 MiB in all.
    pub const CACHE_BYTES: Limit<usize> = Limit { default: 32 << 20, min: 4096, max: 1 << 40 };
    /// A few for each core keep threads apart.
    pub const CACHE_SHARDS: Limit<usize> = Limit { default: 16, min: 1, max: 1024 };
    /// RFC 8767 section 4 and RFC 2181 section 8 ask to honour the TTL as it is.
    pub const TTL_MIN_SECS: Limit<u32> = Limit { default: 0, min: 0, max: 300 };
    /// `CoreDNS` keeps an hour; RFC 8767 section 4 advises a cap of days at most.
    pub const TTL_MAX_SECS: Limit<u32> = Limit { default: 3600, min: 1, max: 604_800 };
    /// RFC 2308 section 5 advises one to three hours at most; `CoreDNS` keeps half an hour.
    pub const NEGATIVE_TTL_MAX_SECS: Limit<u32> = Limit { default: 1800, min: 1, max: 10_800 };
    /// RFC 9520 section 3.2: at least a second, at most five minutes.
    pub const FAILURE_TTL_SECS: Limit<u32> = Limit { default: 1, min: 1, max: 300 };
    /// As `max_concurrent` of `CoreDNS`'s forward is usually set: an answer takes milliseconds.
    pub const MAX_IN_FLIGHT: Limit<usize> = Limit { default: 4096, min: 1, max: 1 << 20 };
    /// A stampede for one name ends in one answer, and may not fill the memory before.
    pub const MAX_WAITERS: Limit<usize> = Limit { default: 4096, min: 1, max: 1 << 20 };
    /// RFC 9715: 1232 bytes pass every path in one piece.
    pub const UDP_PAYLOAD_BYTES: Limit<u16> = Limit { default: 1232, min: 512, max: 4096 };
    /// `CoreDNS`'s kubernetes plugin has 5 s, at most an hour.
    pub const CLUSTER_TTL_SECS: Limit<u32> = Limit { default: 5, min: 0, max: 3600 };
    /// A source that is gone for good costs a call each second.
    pub const RECORDS_RETRY_MS: Limit<u64> = Limit { default: 1000, min: 1, max: 60_000 };

    pub(crate) fn check(&self) -> Result<()> {
        Self::CACHE_BYTES.check("cache_bytes", self.cache_bytes)?;
        Self::CACHE_SHARDS.check("cache_shards", self.cache_shards)?;
        Self::TTL_MIN_SECS.check("ttl_min_secs", self.ttl_min_secs)?;
        Self::TTL_MAX_SECS.check("ttl_max_secs", self.ttl_max_secs)?;
        Self::NEGATIVE_TTL_MAX_SECS.check("negative_ttl_max_secs", self.negative_ttl_max_secs)?;
        Self::FAILURE_TTL_SECS.check("failure_ttl_secs", self.failure_ttl_secs)?;
        Self::MAX_IN_FLIGHT.check("max_in_flight", self.max_in_flight)?;
        Self::MAX_WAITERS.check("max_waiters", self.max_waiters)?;
        Self::UDP_PAYLOAD_BYTES.check("udp_payload_bytes", self.udp_payload_bytes)?;
        Self::CLUSTER_TTL_SECS.check("cluster_ttl_secs", self.cluster_ttl_secs)?;
        Self::RECORDS_RETRY_MS.check("records_retry_ms", self.records_retry_ms)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cache_bytes: Self::CACHE_BYTES.default,
            cache_shards: Self::CACHE_SHARDS.default,
            ttl_min_secs: Self::TTL_MIN_SECS.default,
            ttl_max_secs: Self::TTL_MAX_SECS.default,
            negative_ttl_max_secs: Self::NEGATIVE_TTL_MAX_SECS.default,
            failure_ttl_secs: Self::FAILURE_TTL_SECS.default,
            max_in_flight: Self::MAX_IN_FLIGHT.default,
            max_waiters: Self::MAX_WAITERS.default,
            udp_payload_bytes: Self::UDP_PAYLOAD_BYTES.default,
            cluster_domain: "cluster.local".to_owned(),
            cluster_ttl_secs: Self::CLUSTER_TTL_SECS.default,
            pods: PodNames::default(),
            records_retry_ms: Self::RECORDS_RETRY_MS.default,
            hash_seed: None,
        }
    }
}
