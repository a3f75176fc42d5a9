//! The quota and its alarm.

use std::sync::atomic::{AtomicBool, Ordering};

use super::metrics;
use crate::config::{Config, QuotaAlarm};
use crate::error::{Error, ErrorKind, Result};

/// What all retained versions may take, and whether that was reached.
///
/// The alarm is not journaled: it says how this store is configured, not what is stored. A store
/// that opens with less room than it uses raises it at once.
pub(super) struct Quota {
    bytes: u64,
    mode: QuotaAlarm,
    raised: AtomicBool,
}

impl Quota {
    pub(super) fn new(config: &Config, used: u64) -> Self {
        let raised = AtomicBool::new(used >= config.quota_bytes);
        Self { bytes: config.quota_bytes, mode: config.quota_alarm, raised }
    }

    /// Whether a request that can add `cost` bytes may run while `used` are taken; one that adds
    /// none always may. As in etcd the first that does not fit raises the alarm for all.
    pub(super) fn admit(&self, used: u64, cost: u64) -> Result<()> {
        if cost == 0 {
            return Ok(());
        }
        let raised = self.is_raised();
        if raised && self.mode == QuotaAlarm::Latched {
            return Err(self.refused(used));
        }
        let fits = used.saturating_add(cost) < self.bytes;
        if fits == raised {
            self.raised.store(!fits, Ordering::Release);
        }
        if fits { Ok(()) } else { Err(self.refused(used)) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Takes the alarm back and says whether there was one.
    pub(super) fn disarm(&self) -> bool {
        self.raised.swap(false, Ordering::AcqRel)
    }

    fn refused(&self, used: u64) -> Error {
        metrics::quota_refused();
        let then = match self.mode {
            QuotaAlarm::Latched => "delete, compact and disarm the alarm",
            QuotaAlarm::Following => "delete and compact",
        };
        Error::new(
            ErrorKind::Exhausted,
            format!("the store holds {used} bytes of a quota of {}: {then}", self.bytes),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(mode: QuotaAlarm, used: u64) -> Quota {
        let config = Config { quota_bytes: 100, quota_alarm: mode, ..Config::default() };
        Quota::new(&config, used)
    }

    #[test]
    fn a_latched_alarm_stays_until_it_is_disarmed() {
        let quota = quota(QuotaAlarm::Latched, 0);
        assert!(quota.admit(50, 49).is_ok());
        assert!(quota.admit(50, 50).is_err() && quota.is_raised());
        assert!(quota.admit(0, 1).is_err());
        assert!(quota.admit(200, 0).is_ok());
        assert!(quota.disarm() && !quota.disarm());
        assert!(quota.admit(50, 49).is_ok() && !quota.is_raised());
    }

    #[test]
    fn a_following_alarm_goes_when_there_is_room() {
        let quota = quota(QuotaAlarm::Following, 0);
        assert!(quota.admit(50, 50).is_err() && quota.is_raised());
        assert!(quota.admit(50, 49).is_ok() && !quota.is_raised());
    }

    #[test]
    fn a_store_that_opens_full_opens_with_the_alarm() {
        assert!(quota(QuotaAlarm::Latched, 100).is_raised());
        assert!(!quota(QuotaAlarm::Latched, 99).is_raised());
    }
}
