//! Batches consistent reads: which waiter may be served by which question.

use std::collections::BTreeMap;
use std::time::Duration;

/// How many questions may be unanswered at once; a source slower than that many intervals lets
/// newcomers wait for the next place.
const IN_FLIGHT: usize = 256;

/// The waiters `W` for the source's current revision.
///
/// A waiter is served only by a question sent after it arrived: an answer to an earlier one may be
/// older than a write that the waiter has seen acknowledged. One question serves all who arrived
/// before it, and an answer serves the waiters of earlier questions too.
#[derive(Debug)]
pub(crate) struct Questions<W> {
    interval: Duration,
    in_flight: usize,
    arrived: Vec<W>,
    sent: BTreeMap<u64, Vec<W>>,
    next: u64,
    not_before: Duration,
}

impl<W> Questions<W> {
    /// At most one question per `interval`; `one_at_a_time` for questions that are dear.
    pub(crate) fn new(interval: Duration, one_at_a_time: bool) -> Self {
        Self {
            interval,
            in_flight: if one_at_a_time { 1 } else { IN_FLIGHT },
            arrived: Vec::new(),
            sent: BTreeMap::new(),
            next: 0,
            not_before: Duration::ZERO,
        }
    }

    pub(crate) fn arrive(&mut self, waiter: W) {
        self.arrived.push(waiter);
    }

    /// When the next question is due: not before it, nor while nobody waits.
    pub(crate) fn due_at(&self) -> Option<Duration> {
        let wanted = !self.arrived.is_empty() && self.sent.len() < self.in_flight;
        wanted.then_some(self.not_before)
    }

    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.due_at().is_some_and(|due| due <= now)
    }

    /// Sends a question at `now`, if one is due.
    pub(crate) fn send(&mut self, now: Duration) -> Option<u64> {
        self.due_at().filter(|due| *due <= now)?;
        self.not_before = now + self.interval;
        self.next += 1;
        self.sent.insert(self.next, std::mem::take(&mut self.arrived));
        Some(self.next)
    }

    /// The waiters that the answer to `question` serves. A question that a later one overtook
    /// stays in flight, with nobody waiting, until it is answered.
    pub(crate) fn answered(&mut self, question: u64) -> Vec<W> {
        let own = self.sent.remove(&question).unwrap_or_default();
        let earlier = self.sent.range_mut(..question);
        let mut served: Vec<W> = earlier.flat_map(|(_, waiters)| waiters.drain(..)).collect();
        served.extend(own);
        served
    }

    /// The waiters that only `question` would have served.
    pub(crate) fn failed(&mut self, question: u64) -> Vec<W> {
        self.sent.remove(&question).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_waiter_is_served_only_by_a_question_sent_after_it_arrived() {
        let mut questions = Questions::new(MS, false);
        questions.arrive("a");
        let first = questions.send(Duration::ZERO).unwrap();
        questions.arrive("b");
        assert_eq!(questions.send(MS / 2), None);
        assert_eq!(questions.answered(first), ["a"]);
        let second = questions.send(MS).unwrap();
        assert_eq!(questions.answered(second), ["b"]);
        assert_eq!(questions.due_at(), None);
    }

    #[test]
    fn a_later_answer_serves_those_who_wait_for_an_earlier_one() {
        let mut questions = Questions::new(MS, false);
        questions.arrive("a");
        let first = questions.send(Duration::ZERO).unwrap();
        questions.arrive("b");
        questions.arrive("c");
        let second = questions.send(MS).unwrap();
        assert_eq!(questions.answered(second), ["a", "b", "c"]);
        assert!(questions.answered(first).is_empty());
    }

    #[test]
    fn a_failure_fails_its_own_waiters_only() {
        let mut questions = Questions::new(MS, false);
        questions.arrive("a");
        let first = questions.send(Duration::ZERO).unwrap();
        questions.arrive("b");
        let second = questions.send(MS).unwrap();
        assert_eq!(questions.failed(second), ["b"]);
        assert_eq!(questions.answered(first), ["a"]);
    }

    #[test]
    fn dear_questions_go_one_at_a_time() {
        let mut questions = Questions::new(MS, true);
        questions.arrive("a");
        let first = questions.send(Duration::ZERO).unwrap();
        questions.arrive("b");
        assert_eq!(questions.send(9 * MS), None);
        questions.answered(first);
        assert!(questions.send(9 * MS).is_some());
    }
}
