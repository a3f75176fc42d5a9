//! What all connections of a load share: its clock, how much is left to do, and what was done.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::args::Shape;

/// The course of a load.
#[derive(Debug)]
pub struct Course {
    origin: Instant,
    measured_from: Instant,
    end: Option<Instant>,
    rate: Option<f64>,
    /// Calls that may still be begun in the measured time.
    left: AtomicU64,
    stopped: AtomicBool,
    sequence: AtomicU64,
    done: AtomicU64,
}

impl Course {
    pub(super) fn new(shape: &Shape) -> Self {
        let origin = Instant::now();
        let measured_from = origin + shape.warmup;
        Self {
            origin,
            measured_from,
            end: shape.measured().map(|duration| measured_from + duration),
            rate: shape.rate,
            left: AtomicU64::new(shape.total.unwrap_or(u64::MAX)),
            stopped: AtomicBool::new(false),
            sequence: AtomicU64::new(0),
            done: AtomicU64::new(0),
        }
    }

    /// No further call is begun; those under way are awaited.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// When the load began.
    pub(super) fn origin(&self) -> Instant {
        self.origin
    }

    /// When the measured time began or will begin.
    #[must_use]
    pub fn measured_from(&self) -> Instant {
        self.measured_from
    }

    /// When it ends, if that is a matter of time.
    #[must_use]
    pub fn end(&self) -> Option<Instant> {
        self.end
    }

    /// Calls done so far, also in the warm-up.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn add_done(&self, calls: u64) {
        self.done.fetch_add(calls, Ordering::Relaxed);
    }

    /// The number of the next call of all.
    pub(super) fn next(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// When the `n`th call is due, if calls are due at all.
    pub(super) fn due(&self, n: u64) -> Option<Instant> {
        #[expect(clippy::cast_precision_loss, reason = "calls stay far below 2^52")]
        self.rate.map(|rate| self.origin + Duration::from_secs_f64(n as f64 / rate))
    }

    /// Whether no call begins any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.stopped.load(Ordering::Relaxed)
            || self.end.is_some_and(|end| now >= end)
            || self.left.load(Ordering::Relaxed) == 0
    }

    /// Whether another call may begin, or was due, at `start`; it is taken off what is left.
    pub(super) fn take(&self, start: Instant) -> bool {
        let in_time =
            !self.stopped.load(Ordering::Relaxed) && self.end.is_none_or(|end| start < end);
        let counted = self.end.is_none() && start >= self.measured_from;
        let order = Ordering::Relaxed;
        in_time
            && (!counted
                || self.left.fetch_update(order, order, |left| left.checked_sub(1)).is_ok())
    }

    /// Whether a call counts. With calls in turn those do that are answered in the measured time;
    /// with calls that are due, and of a given number, those that began in it, however late their
    /// answers are.
    pub(super) fn counts(&self, start: Instant, answered: Instant) -> bool {
        match self.end {
            Some(end) if self.rate.is_none() => answered >= self.measured_from && answered < end,
            _ => start >= self.measured_from,
        }
    }

    /// Seconds in which what counts was done, given when the last of it was.
    pub(super) fn seconds(&self, last: Option<Instant>) -> f64 {
        let now = Instant::now();
        let until = match (self.end, self.rate) {
            // After an early stop the time is up to now.
            (Some(end), None) => end.min(now),
            _ => last.unwrap_or(now),
        };
        until.saturating_duration_since(self.measured_from).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;

    fn course(line: &str) -> Course {
        Course::new(&Load::of_line(line).unwrap().shape)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_number_of_calls_is_begun_after_the_warm_up() {
        let course = course("put --total 2 --warmup 1s");
        let taken = |after| course.take(course.origin + after);
        assert_eq!([SECOND / 2, SECOND, SECOND, SECOND].map(taken), [true, true, true, false]);
        assert!(course.is_over(course.origin));
        assert!(course.counts(course.measured_from, course.origin + 9 * SECOND));
    }

    #[test]
    fn late_answers_count_only_for_calls_that_were_due() {
        let start = |course: &Course| course.origin + SECOND / 2;
        let turns = course("put --duration 1s");
        assert!(turns.counts(start(&turns), start(&turns)));
        assert!(!turns.counts(start(&turns), turns.origin + 2 * SECOND));
        let due = course("put --duration 1s --rate 10");
        assert!(due.counts(start(&due), due.origin + 2 * SECOND));
        assert_eq!(due.due(5), Some(start(&due)));
        assert!(!due.take(due.origin + SECOND));
    }
}
