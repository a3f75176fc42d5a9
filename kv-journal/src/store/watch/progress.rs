//! Which notices of progress a stream owes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// What the watchers of one stream, and its reader, have asked for. Watchers that ask for nothing
/// take no place here.
#[derive(Default)]
pub(super) struct Progress {
    /// The reader asked when this was published.
    asked: Option<u64>,
    /// Starts that were not reached when last looked at, with the watchers' places.
    future: BTreeSet<(u64, u32)>,
    starts: BTreeMap<u32, u64>,
    /// Watchers that want a notice whenever they have come further.
    advancing: BTreeMap<u32, Advancing>,
    /// Those of them to look at, and up to where all were looked at.
    notices: VecDeque<u32>,
    noticed: u64,
    /// Watchers that want a notice now and then.
    periods: BTreeMap<u32, Period>,
    due: BTreeSet<(Instant, u32)>,
    overdue: VecDeque<u32>,
}

struct Advancing {
    /// The consumer knows that the watcher has seen everything up to here.
    told: u64,
}

struct Period {
    every: Duration,
    due: Instant,
    start: u64,
}

impl Progress {
    pub(super) fn add(
        &mut self,
        place: u32,
        start: u64,
        on_advance: bool,
        period: Option<Duration>,
        now: Instant,
    ) {
        if on_advance {
            self.advancing.insert(place, Advancing { told: start - 1 });
            self.notices.push_back(place);
        }
        if let Some(every) = period {
            let due = now + every;
            self.periods.insert(place, Period { every, due, start });
            self.due.insert((due, place));
        }
    }

    pub(super) fn add_future(&mut self, place: u32, start: u64) {
        self.future.insert((start, place));
        self.starts.insert(place, start);
    }

    pub(super) fn remove(&mut self, place: u32) {
        if let Some(start) = self.starts.remove(&place) {
            self.future.remove(&(start, place));
        }
        self.advancing.remove(&place);
        if let Some(period) = self.periods.remove(&place) {
            self.due.remove(&(period.due, place));
        }
    }

    /// The watcher was told of this revision.
    pub(super) fn told(&mut self, place: u32, revision: u64) {
        if let Some(advancing) = self.advancing.get_mut(&place) {
            advancing.told = revision;
        }
    }

    pub(super) fn ask(&mut self, published: u64) {
        self.asked = Some(published);
    }

    /// Whether to answer the reader, now that all watchers have seen everything up to `reached`.
    /// While some start lies beyond what is published there is no answer.
    pub(super) fn answer(&mut self, reached: u64, published: u64) -> bool {
        let Some(asked) = self.asked else { return false };
        while let Some((start, place)) = self.future.first().copied()
            && start <= reached + 1
        {
            self.future.pop_first();
            self.starts.remove(&place);
        }
        let last = self.future.last().map(|(start, _)| *start);
        if last.is_some_and(|start| start > published + 1) {
            self.asked = None;
            return false;
        }
        let answers = last.is_none() && reached >= asked;
        if answers {
            self.asked = None;
        }
        answers
    }

    /// The next watcher that has come further than it was told.
    pub(super) fn next_notice(&mut self, reached: u64) -> Option<u32> {
        if reached > self.noticed {
            self.noticed = reached;
            self.notices.clear();
            self.notices.extend(self.advancing.keys());
        }
        while let Some(place) = self.notices.pop_front() {
            let advancing = self.advancing.get_mut(&place).filter(|it| it.told < reached);
            if let Some(advancing) = advancing {
                advancing.told = reached;
                return Some(place);
            }
        }
        None
    }

    /// Whether something is owed once the store has come further.
    pub(super) fn waits_for_advance(&self) -> bool {
        self.asked.is_some() || !self.advancing.is_empty()
    }

    /// When the next notice is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Whether a notice is due.
    pub(super) fn is_due(&mut self) -> bool {
        if let Some(due) = self.due()
            && due <= Instant::now()
        {
            self.note_due(Instant::now());
        }
        !self.overdue.is_empty()
    }

    fn note_due(&mut self, now: Instant) {
        while let Some((_, place)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.pop_first();
            if let Some(period) = self.periods.get_mut(&place) {
                period.due = now + period.every;
                self.due.insert((period.due, place));
                self.overdue.push_back(place);
            }
        }
    }

    /// The next watcher with a notice due whose start is reached.
    pub(super) fn next_due(&mut self, reached: u64) -> Option<u32> {
        while let Some(place) = self.overdue.pop_front() {
            if self.periods.get(&place).is_some_and(|period| period.start <= reached + 1) {
                return Some(place);
            }
        }
        None
    }
}
