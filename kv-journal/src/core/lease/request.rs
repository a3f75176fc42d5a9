//! Lease requests and their answers, in etcd's terms.

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};

/// etcd's `MaxLeaseTTL`, in seconds: about 285 years.
pub(crate) const MAX_TTL_SECS: i64 = 9_000_000_000;

/// A wish for a lease.
///
/// ```
/// use kv_journal::LeaseGrantRequest;
///
/// let fifteen_seconds = LeaseGrantRequest::new(15);
/// assert_eq!(fifteen_seconds.id, 0); // the store picks one
/// assert_eq!(fifteen_seconds.id(7).id, 7);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseGrantRequest {
    /// The id that it is to have; 0 lets the store pick one.
    pub id: i64,
    /// How long it lives without a renewal, in seconds. As in etcd anything below
    /// [`Config::lease_min_ttl_secs`](crate::Config::lease_min_ttl_secs), zero and less included,
    /// is raised to that; the most is 9,000,000,000.
    pub ttl_secs: i64,
}

impl LeaseGrantRequest {
    /// A lease of `ttl_secs` whose id the store picks.
    #[must_use]
    pub fn new(ttl_secs: i64) -> Self {
        Self { id: 0, ttl_secs }
    }

    /// The same lease with this id; 0 lets the store pick one.
    #[must_use]
    pub fn id(mut self, id: i64) -> Self {
        self.id = id;
        self
    }

    /// The time to grant.
    pub(crate) fn granted_secs(&self, min_ttl_secs: u64) -> Result<u64> {
        if self.ttl_secs > MAX_TTL_SECS {
            let ttl = self.ttl_secs;
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("too large lease TTL: {ttl} s, the most is {MAX_TTL_SECS} s"),
            ));
        }
        Ok(u64::try_from(self.ttl_secs).unwrap_or(0).max(min_ttl_secs))
    }
}

/// The answer to a [`LeaseGrantRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseGrantResponse {
    /// The newest revision; a grant does not change it.
    pub revision: u64,
    /// The lease's id.
    pub id: i64,
    /// The time that it was granted, in seconds.
    pub ttl_secs: u64,
}

/// The answer to the renewal of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseKeepAliveResponse {
    /// The newest revision, taken before the renewal.
    pub revision: u64,
    /// The lease's id.
    pub id: i64,
    /// How long it lives from now, in seconds; 0 if there is no such lease or its time ran out.
    pub ttl_secs: u64,
}

/// What is known of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseTimeToLiveResponse {
    /// The newest revision.
    pub revision: u64,
    /// The lease's id.
    pub id: i64,
    /// How long it still lives, in whole seconds, rounded down; -1 if there is no such lease.
    pub ttl_secs: i64,
    /// The time that it was granted, in seconds; 0 if there is no such lease.
    pub granted_ttl_secs: u64,
    /// The keys attached to it, in their order, if asked for.
    pub keys: Vec<Bytes>,
}

/// The leases that exist.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseListResponse {
    /// The newest revision.
    pub revision: u64,
    /// Their ids; the one that runs out first comes first.
    pub ids: Vec<i64>,
}

/// A positive id that no lease of this journal has had, unless a caller chose it: the epoch tells
/// writers apart, `number` the leases of one writer.
pub(crate) fn lease_id(epoch: u64, number: u64) -> i64 {
    let id = (epoch << 32) | (number & u64::from(u32::MAX));
    (id << 1 >> 1).cast_signed().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_raised_to_the_least_and_refused_beyond_the_most() {
        // As an etcd 3.4 answered.
        for (asked, granted) in [(i64::MIN, 2), (-5, 2), (0, 2), (1, 2), (2, 2), (60, 60)] {
            assert_eq!(LeaseGrantRequest::new(asked).granted_secs(2).unwrap(), granted);
        }
        let most = LeaseGrantRequest::new(9_000_000_000).granted_secs(2).unwrap();
        assert_eq!(most, 9_000_000_000);
        let refused = LeaseGrantRequest::new(9_000_000_001).granted_secs(2).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.to_string().contains("too large"), "{refused}");
    }

    #[test]
    fn ids_of_two_writers_differ_and_are_positive() {
        assert_eq!(lease_id(1, 1), 1 << 32 | 1);
        assert_ne!(lease_id(1, 2), lease_id(2, 1));
        for epoch in [0, 1, u64::MAX] {
            for number in [0, 1, u64::MAX] {
                assert!(lease_id(epoch, number) > 0);
            }
        }
    }
}
