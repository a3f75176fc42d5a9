//! Compaction by the clock, as etcd's `--auto-compaction-mode` has it.

use std::collections::VecDeque;
use std::time::Duration;

/// How much history is kept by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AutoCompaction {
    /// All of it, until somebody compacts.
    #[default]
    Off,
    /// What is younger than this. It is compacted as often, but at least once an hour.
    Periodic(Duration),
    /// So many of the newest revisions, looked after every five minutes.
    Revision(u64),
}

const HOUR: Duration = Duration::from_secs(3600);
/// Between two looks at the number of revisions.
const REVISION_INTERVAL: Duration = Duration::from_secs(300);
/// How many times a revision is noted between two compactions; one that failed is repeated as soon.
const NOTES: u32 = 10;

/// Decides when to compact what. Time is told by its caller.
#[derive(Debug)]
pub(super) struct Compactor {
    policy: AutoCompaction,
    /// The revisions of the last so many notes, the oldest in front.
    noted: VecDeque<u64>,
    /// When the last compaction succeeded; the start, before that.
    last: Duration,
    last_revision: u64,
    /// How long after `last` the next one is due: the whole period at first.
    wait: Duration,
}

impl Compactor {
    /// One that begins at time zero and `revision`.
    pub(super) fn new(policy: AutoCompaction, revision: u64) -> Self {
        let wait = match policy {
            AutoCompaction::Periodic(period) => period,
            _ => Duration::ZERO,
        };
        let noted = VecDeque::from([revision]);
        Self { policy, noted, last: Duration::ZERO, last_revision: 0, wait }
    }

    /// How long to sleep before each [`look`](Self::look); `None` if there is nothing to do, ever.
    pub(super) fn interval(&self) -> Option<Duration> {
        match self.policy {
            AutoCompaction::Off => None,
            AutoCompaction::Periodic(period) => Some(period.min(HOUR) / NOTES),
            AutoCompaction::Revision(_) => Some(REVISION_INTERVAL),
        }
    }

    /// The revision to compact at `now`, when the newest is `revision`.
    pub(super) fn look(&mut self, now: Duration, revision: u64) -> Option<u64> {
        let due = match self.policy {
            AutoCompaction::Off => None,
            AutoCompaction::Revision(kept) => revision.checked_sub(kept),
            AutoCompaction::Periodic(period) => {
                let oldest = self.noted.front().copied();
                self.note(period, revision);
                oldest.filter(|_| now.saturating_sub(self.last) >= self.wait)
            }
        };
        due.filter(|due| *due > 0 && *due != self.last_revision)
    }

    fn note(&mut self, period: Duration, revision: u64) {
        self.noted.push_back(revision);
        let interval = (period.min(HOUR) / NOTES).as_nanos().max(1);
        let kept = usize::try_from(period.as_nanos() / interval).unwrap_or(usize::MAX);
        while self.noted.len() > kept.saturating_add(1) {
            self.noted.pop_front();
        }
    }

    /// What was due at `now` is compacted.
    pub(super) fn done(&mut self, now: Duration, revision: u64) {
        self.last = now;
        self.last_revision = revision;
        if let AutoCompaction::Periodic(period) = self.policy {
            self.wait = period.min(HOUR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is compacted when each look finds one more revision, and each compaction succeeds.
    fn run(policy: AutoCompaction, looks: u32) -> Vec<(Duration, u64)> {
        let mut compactor = Compactor::new(policy, 100);
        let mut compacted = Vec::new();
        for look in 1..=looks {
            let now = compactor.interval().unwrap() * look;
            if let Some(revision) = compactor.look(now, 100 + u64::from(look)) {
                compactor.done(now, revision);
                compacted.push((now, revision));
            }
        }
        compacted
    }

    #[test]
    fn a_period_keeps_what_is_younger() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        // Ten looks in a period: after ten the first note is due, and again every ten, of the
        // eleven that are kept the oldest.
        let ten = AutoCompaction::Periodic(minutes(10));
        assert_eq!(run(ten, 25), [(minutes(10), 100), (minutes(20), 109)]);
        // Longer than an hour: the first after the whole period, then one an hour.
        let two_hours = AutoCompaction::Periodic(minutes(120));
        assert_eq!(run(two_hours, 35), [(minutes(120), 100), (minutes(180), 109)]);
    }

    #[test]
    fn a_number_of_revisions_is_kept() {
        let compacted = run(AutoCompaction::Revision(102), 4);
        assert_eq!(compacted, [(Duration::from_secs(900), 1), (Duration::from_secs(1200), 2)]);
        assert!(run(AutoCompaction::Revision(1000), 10).is_empty());
    }

    #[test]
    fn what_failed_is_due_again_and_what_did_not_move_is_not() {
        let mut compactor = Compactor::new(AutoCompaction::Revision(10), 100);
        assert_eq!(compactor.look(Duration::from_secs(300), 100), Some(90));
        assert_eq!(compactor.look(Duration::from_secs(600), 100), Some(90));
        compactor.done(Duration::from_secs(600), 90);
        assert_eq!(compactor.look(Duration::from_secs(900), 100), None);
        assert_eq!(Compactor::new(AutoCompaction::Off, 1).interval(), None);
    }
}
