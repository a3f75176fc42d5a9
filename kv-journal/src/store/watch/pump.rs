//! From what is published to those whom it concerns.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::group::Group;
use super::hub::{Hub, Index};
use super::inbox::Wake;
use super::mark::Beyond;
use crate::core::{Event, State};
use crate::store::shared::Shared;

/// Watchers told before others get their turn: some 100 microseconds.
const STEP: usize = 2048;

/// A look-up among a million watchers takes as long as telling some.
const LOOK_UP: usize = 8;

/// Events matched, or groups found, while the index is locked.
const LOCKED: usize = 128;

/// Matches each published revision with the groups of watchers, once, and puts those whom it
/// concerns into the inboxes of their streams. It costs nothing for those whom it does not.
///
/// It runs beside the sequencer and never holds up a publication. When it lags so far that a
/// compaction passes it, the watchers look for themselves.
pub(in crate::store) struct Pump {
    shared: Arc<Shared>,
    work: Option<Work>,
    wakes: Vec<Wake>,
}

/// One published state, of which some revisions are told.
struct Work {
    state: Arc<State>,
    current: Option<Current>,
}

/// The revision that is being told.
struct Current {
    revision: u64,
    events: Arc<[Event]>,
    /// The next event to match.
    next: usize,
    /// Which events lie in the range of which group, by the group's number in the index.
    hits: Vec<(usize, Arc<Group>, usize)>,
    /// The groups to tell, each with the seat to go on with, and what it is told.
    telling: Option<(Arc<Group>, usize)>,
}

impl Pump {
    pub(in crate::store) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, work: None, wakes: Vec::new() }
    }

    /// Works for a while. `Ready` is the end; `Pending` without more to do wakes `waiting`, if
    /// given, at the next publication.
    pub(in crate::store) fn step(&mut self, waiting: Option<&Waker>) -> Step {
        let mut budget = STEP;
        let step = loop {
            if budget == 0 {
                break Step::Unfinished;
            }
            match self.work.take() {
                Some(work) => {
                    self.work = work.go_on(&self.shared.hub, &mut budget, &mut self.wakes);
                }
                None => match self.look(waiting) {
                    Some(step) => break step,
                    None => budget -= 1,
                },
            }
        };
        self.wakes.drain(..).for_each(Wake::wake);
        step
    }

    /// Takes the newest state as work, unless it is known.
    fn look(&mut self, waiting: Option<&Waker>) -> Option<Step> {
        let hub = &self.shared.hub;
        match hub.mark.beyond(hub.told(), waiting) {
            Beyond::Closed => return Some(Step::Ended),
            Beyond::Nothing => return Some(Step::Idle),
            Beyond::Revision(_) => {}
        }
        let state = self.shared.state();
        let mut index = hub.index.lock();
        if index.groups.is_empty() {
            index.posted = state.revision();
            drop(index);
            hub.set_told(state.revision(), &mut self.wakes);
            return None;
        }
        index.pass_compacted(&state, &mut self.wakes);
        drop(index);
        self.work = Some(Work { state, current: None });
        None
    }
}

/// What a [`Pump`] is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Step {
    /// The next step, at once.
    Unfinished,
    /// Wait for a publication.
    Idle,
    /// Nothing any more.
    Ended,
}

impl Index {
    /// Revisions that were compacted before they were matched are lost to the groups.
    fn pass_compacted(&mut self, state: &State, wakes: &mut Vec<Wake>) {
        let first = state.compact_revision();
        if self.posted + 1 >= first {
            return;
        }
        for group in self.groups.iter() {
            group.feed.skip(self.posted + 1, first, wakes);
        }
        self.posted = first - 1;
    }
}

impl Work {
    /// Does some of it, and returns itself unless all is done.
    fn go_on(mut self, hub: &Hub, budget: &mut usize, wakes: &mut Vec<Wake>) -> Option<Self> {
        let Some(current) = &mut self.current else {
            return self.begin_revision(hub, wakes);
        };
        if current.next < current.events.len() {
            current.find(hub, budget);
        } else if !current.tell(budget, wakes) {
            self.current = None;
        }
        Some(self)
    }

    fn begin_revision(mut self, hub: &Hub, wakes: &mut Vec<Wake>) -> Option<Self> {
        let mut index = hub.index.lock();
        let Some(logged) = self.state.log(index.posted + 1).next() else {
            index.posted = self.state.revision();
            drop(index);
            hub.set_told(self.state.revision(), wakes);
            return None;
        };
        // From now on a group that is added is too young for this revision.
        let revision = logged.revision;
        index.posted = revision;
        drop(index);
        let events = logged.events();
        self.current = Some(Current { revision, events, next: 0, hits: Vec::new(), telling: None });
        Some(self)
    }
}

impl Current {
    /// Finds the groups whose ranges some of the events lie in.
    fn find(&mut self, hub: &Hub, budget: &mut usize) {
        let index = hub.index.lock();
        let enough = self.hits.len() + LOCKED;
        for (at, event) in self.events.iter().enumerate().skip(self.next).take(LOCKED) {
            let hits = &mut self.hits;
            index.groups.matching(event.kv.key(), |id, group| {
                hits.push((id, Arc::clone(group), at));
            });
            *budget = budget.saturating_sub(LOOK_UP);
            self.next = at + 1;
            if hits.len() > enough || *budget == 0 {
                break;
            }
        }
        drop(index);
        if self.next == self.events.len() {
            // Taken from the end, group by group.
            self.hits.sort_unstable_by_key(|(id, group, at)| (*id, Arc::as_ptr(group), *at));
        }
    }

    /// Tells one group, or a part of it. False when all are told.
    fn tell(&mut self, budget: &mut usize, wakes: &mut Vec<Wake>) -> bool {
        let Some((group, seat)) = self.telling.take().or_else(|| self.post_next(budget)) else {
            return !self.hits.is_empty();
        };
        let next = group.feed.announce(self.revision, seat, budget, wakes);
        self.telling = next.map(|seat| (group, seat));
        true
    }

    /// Keeps the events of the next group for it.
    fn post_next(&mut self, budget: &mut usize) -> Option<(Arc<Group>, usize)> {
        let (_, group, last) = self.hits.pop()?;
        let mut found = vec![last];
        while let Some((_, _, at)) = self.hits.pop_if(|(_, other, _)| Arc::ptr_eq(other, &group)) {
            found.push(at);
        }
        found.reverse();
        *budget = budget.saturating_sub(found.len());
        group.post(self.revision, &self.events, &found).then_some((group, 0))
    }
}

/// The pump as a future of its own, from [`Driver::split`](super::super::Driver::split).
///
/// It tells watchers what is published. It ends when the store's driver does; dropping it ends
/// every watcher, and none can be created any more.
#[must_use = "no watcher hears of anything until it is spawned"]
pub struct WatchDriver {
    pump: Pump,
}

impl WatchDriver {
    pub(in crate::store) fn new(pump: Pump) -> Self {
        Self { pump }
    }
}

impl Future for WatchDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.pump.step(Some(cx.waker())) {
            Step::Ended => Poll::Ready(()),
            Step::Idle => Poll::Pending,
            Step::Unfinished => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Drop for WatchDriver {
    fn drop(&mut self) {
        self.pump.shared.hub.close();
    }
}

impl std::fmt::Debug for WatchDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchDriver").finish_non_exhaustive()
    }
}
