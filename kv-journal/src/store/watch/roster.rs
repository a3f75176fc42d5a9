//! The watchers of one stream, and which of them has the word.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use slab::Slab;
use tokio::time::Instant;

use super::feed::Take;
use super::fragments::Fragments;
use super::group::{Group, without};
use super::hub::Joined;
use super::progress::Progress;
use super::request::{WatchBatch, WatchRequest};
use super::stream::{Desk, WatchMessage};
use crate::core::{Event, State};
use crate::error::{Error, ErrorKind, Result};

/// Revisions looked at before other tasks get their turn.
const SCAN_STEP: usize = 1024;

/// Messages between two looks at the inbox while there are watchers to look at: whoever comes new
/// waits for a turn.
const LOOK_EVERY: u32 = 64;

pub(super) struct Roster {
    watches: Slab<Watch>,
    /// The place of each watcher; `None` once it is canceled and until that is told, so that a
    /// number is not given to another before.
    places: HashMap<i64, Option<u32>>,
    next_id: i64,
    /// Created and canceled, at most one of each for a number.
    outbox: VecDeque<WatchMessage>,
    /// Watchers to look at. Those that have more go to the end, so that they take turns.
    ready: VecDeque<u32>,
    /// A revision of which a part was told.
    rest: Option<Fragments>,
    progress: Progress,
    phase: Phase,
    /// Counts what was told.
    turn: u32,
}

struct Watch {
    group: Arc<Group>,
    /// The group's number in the hub's index.
    group_id: usize,
    seat: usize,
    id: i64,
    fragment: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nobody tells what is published any more; watchers look for the rest in the log.
    Closing,
    Ended,
}

/// What a stream does next.
pub(super) enum Next {
    Message(WatchMessage),
    /// The last thing that is told.
    Failed(Error),
    Ended,
    /// There is more to look at, but others have their turn first.
    Later,
    /// The reader is woken when something comes, and is to come at this time, if given.
    Idle {
        due: Option<Instant>,
    },
}

impl Roster {
    pub(super) fn new() -> Self {
        Self {
            watches: Slab::new(),
            places: HashMap::new(),
            next_id: 0,
            outbox: VecDeque::new(),
            ready: VecDeque::new(),
            rest: None,
            progress: Progress::default(),
            phase: Phase::Open,
            turn: 0,
        }
    }

    pub(super) fn create(
        &mut self,
        desk: &Desk,
        request: &WatchRequest,
        now: Instant,
    ) -> Result<i64> {
        self.check_room(desk)?;
        let watch_id = self.choose_id(request.watch_id)?;
        let state = desk.shared.state();
        let revision = state.revision();
        let start = if request.start_revision == 0 { revision + 1 } else { request.start_revision };
        let created = WatchMessage::Created { watch_id, revision };
        if start < state.compact_revision() {
            self.places.insert(watch_id, None);
            let reason = Some(state.compacted(start));
            self.outbox.extend([created, WatchMessage::Canceled { watch_id, revision, reason }]);
            return Ok(watch_id);
        }
        drop(state);
        let place = self.add(desk, request, watch_id, start)?;
        self.outbox.push_back(created);
        let chance = desk.shared.hub.chance((desk.number, watch_id));
        let period = request.progress_period(&desk.limits, chance);
        self.progress.add(place, start, request.progress_on_advance, period, now);
        if start > desk.shared.hub.told() + 1 {
            self.progress.add_future(place, start);
        }
        Ok(watch_id)
    }

    fn check_room(&self, desk: &Desk) -> Result<()> {
        if self.phase == Phase::Ended {
            return Err(Error::new(
                ErrorKind::Closed,
                "the watch stream has ended: open another one",
            ));
        }
        desk.shared.check_open()?;
        let limit = desk.limits.watchers;
        if self.places.len() >= limit {
            return Err(Error::new(
                ErrorKind::Exhausted,
                format!("the stream has {limit} watchers: cancel some or open another stream"),
            ));
        }
        Ok(())
    }

    /// Numbers that the stream chooses count from 0, as in etcd.
    fn choose_id(&mut self, wanted: i64) -> Result<i64> {
        if wanted == 0 {
            while self.places.contains_key(&self.next_id) {
                self.next_id += 1;
            }
            self.next_id += 1;
            return Ok(self.next_id - 1);
        }
        if self.places.contains_key(&wanted) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("the stream has a watcher {wanted}: choose another number or 0"),
            ));
        }
        Ok(wanted)
    }

    fn add(
        &mut self,
        desk: &Desk,
        request: &WatchRequest,
        watch_id: i64,
        start: u64,
    ) -> Result<u32> {
        let entry = self.watches.vacant_entry();
        let place = u32::try_from(entry.key())
            .map_err(|_| Error::new(ErrorKind::Exhausted, "too many watchers in one stream"))?;
        let joined = desk.shared.hub.join(request.predicate(), &desk.inbox, place, start);
        let Joined { group, id: group_id, seat, parked } =
            joined.map_err(|_| desk.shared.closed_error())?;
        entry.insert(Watch { group, group_id, seat, id: watch_id, fragment: request.fragment });
        self.places.insert(watch_id, Some(place));
        if !parked {
            self.ready.push_back(place);
        }
        Ok(place)
    }

    pub(super) fn cancel_by_id(&mut self, desk: &Desk, watch_id: i64) -> bool {
        let place = self.places.get(&watch_id).copied().flatten();
        place.is_some_and(|place| self.cancel(desk, place, None))
    }

    fn cancel(&mut self, desk: &Desk, place: u32, reason: Option<Error>) -> bool {
        let Some(watch) = self.watches.try_remove(place as usize) else { return false };
        desk.shared.hub.leave(watch.group_id, &watch.group, watch.seat);
        self.progress.remove(place);
        self.rest.take_if(|rest| rest.place == place);
        self.places.insert(watch.id, None);
        let revision = desk.shared.with_state(State::revision);
        self.outbox.push_back(WatchMessage::Canceled { watch_id: watch.id, revision, reason });
        true
    }

    pub(super) fn ask_progress(&mut self, desk: &Desk) {
        self.progress.ask(desk.shared.with_state(State::revision));
    }

    /// Removes everything; the stream is dropped.
    pub(super) fn end(&mut self, desk: &Desk) {
        for watch in self.watches.drain() {
            desk.shared.hub.leave(watch.group_id, &watch.group, watch.seat);
        }
        *self = Self { phase: Phase::Ended, ..Self::new() };
    }

    /// What to tell. Without anything `waker` is woken when there is.
    pub(super) fn next(&mut self, desk: &Desk, waker: &Waker) -> Next {
        if self.phase == Phase::Ended {
            return Next::Ended;
        }
        self.turn = self.turn.wrapping_add(1);
        if self.turn.is_multiple_of(LOOK_EVERY) {
            self.look(desk, waker);
        }
        if let Some(message) = self.next_waiting(desk, desk.shared.hub.told()) {
            return Next::Message(message);
        }
        let mut budget = SCAN_STEP;
        loop {
            // Before the inbox: everything up to here that is not in it was told already.
            let reached = desk.shared.hub.told();
            let looked = self.ready.is_empty();
            if looked {
                self.look(desk, waker);
            }
            while let Some(place) = self.ready.pop_front() {
                if let Some(message) = self.serve(desk, place, reached, &mut budget) {
                    return Next::Message(message);
                }
                if budget == 0 {
                    return Next::Later;
                }
            }
            if looked {
                return self.next_when_caught_up(desk, reached);
            }
        }
    }

    fn look(&mut self, desk: &Desk, waker: &Waker) {
        let closed = desk.inbox.take(waker, &mut self.ready);
        if closed && self.phase == Phase::Open {
            self.phase = Phase::Closing;
            let places = self.watches.iter().filter_map(|(place, _)| u32::try_from(place).ok());
            self.ready.extend(places);
        }
    }

    /// What is there already: the rest of a revision, created, canceled, a notice that is due.
    fn next_waiting(&mut self, desk: &Desk, reached: u64) -> Option<WatchMessage> {
        let fragment = self.next_fragment(desk);
        fragment.or_else(|| self.next_in_outbox()).or_else(|| self.next_due(reached))
    }

    fn next_in_outbox(&mut self) -> Option<WatchMessage> {
        let message = self.outbox.pop_front();
        if let Some(WatchMessage::Canceled { watch_id, .. }) = &message {
            self.places.remove(watch_id);
        }
        message
    }

    fn next_due(&mut self, revision: u64) -> Option<WatchMessage> {
        if !self.progress.is_due() {
            return None;
        }
        while let Some(place) = self.progress.next_due(revision) {
            // A parked watcher has read everything that was put into the inbox.
            let watch = self.watches.get(place as usize);
            if let Some(watch) = watch.filter(|watch| watch.group.feed.is_parked(watch.seat)) {
                return Some(progress(Some(watch.id), revision));
            }
        }
        None
    }

    /// Looks at one watcher.
    fn serve(
        &mut self,
        desk: &Desk,
        place: u32,
        reached: u64,
        budget: &mut usize,
    ) -> Option<WatchMessage> {
        let watch = self.watches.get(place as usize)?;
        *budget = budget.saturating_sub(1);
        match watch.group.feed.take(watch.seat)? {
            Take::Post { revision, payload, last } => {
                if !last {
                    self.ready.push_back(place);
                }
                self.deliver(desk, place, (revision, payload), desk.shared.hub.compacted())
            }
            Take::Behind { from, to } => self.search(desk, place, (from, to), budget),
            Take::Parked { next } if self.phase == Phase::Closing => {
                let newest = desk.shared.with_state(State::revision);
                self.search(desk, place, (next.max(reached + 1), newest), budget)
            }
            Take::Parked { .. } => None,
        }
    }

    /// Searches the log of the state for the next revision, for a watcher that is behind.
    fn search(
        &mut self,
        desk: &Desk,
        place: u32,
        (from, to): (u64, u64),
        budget: &mut usize,
    ) -> Option<WatchMessage> {
        if from > to {
            return None;
        }
        let watch = self.watches.get(place as usize)?;
        let state = desk.shared.state();
        if from < state.compact_revision() {
            self.cancel(desk, place, Some(state.compacted(from)));
            return self.next_in_outbox();
        }
        let (mut next, mut found) = (to + 1, None);
        for logged in state.log(from).take_while(|logged| logged.revision <= to) {
            let revision = logged.revision;
            if *budget == 0 {
                next = revision;
                break;
            }
            *budget -= 1;
            found = watch.group.predicate.wanted(&logged).map(|events| (revision, events));
            if found.is_some() {
                next = revision + 1;
                break;
            }
        }
        watch.group.feed.resume(watch.seat, next);
        self.ready.push_back(place);
        self.deliver(desk, place, found?, state.compact_revision())
    }

    fn deliver(
        &mut self,
        desk: &Desk,
        place: u32,
        (revision, events): (u64, Arc<[Event]>),
        compact_revision: u64,
    ) -> Option<WatchMessage> {
        if revision < compact_revision {
            let compacted = desk.shared.with_state(|state| state.compacted(revision));
            self.cancel(desk, place, Some(compacted));
            return self.next_in_outbox();
        }
        // At the compact revision what was before is gone.
        let events = if revision == compact_revision { without(events) } else { events };
        self.progress.told(place, revision);
        let watch = self.watches.get(place as usize)?;
        let fragments = Fragments::new(place, revision, events);
        if watch.fragment && fragments.is_split(desk.limits.fragment_bytes) {
            self.rest = Some(fragments);
            return self.next_fragment(desk);
        }
        let batch = WatchBatch { revision, events: fragments.into_events(), more: false };
        Some(WatchMessage::Events { watch_id: watch.id, batch })
    }

    fn next_fragment(&mut self, desk: &Desk) -> Option<WatchMessage> {
        let mut rest = self.rest.take()?;
        let watch_id = self.watches.get(rest.place as usize)?.id;
        let batch = rest.next(desk.limits.fragment_bytes);
        if batch.more {
            self.rest = Some(rest);
        }
        Some(WatchMessage::Events { watch_id, batch })
    }

    /// Every watcher has seen everything up to `reached`.
    fn next_when_caught_up(&mut self, desk: &Desk, reached: u64) -> Next {
        if self.phase == Phase::Closing {
            self.end(desk);
            return Next::Failed(desk.shared.closed_error());
        }
        let published = desk.shared.with_state(State::revision);
        if self.progress.answer(reached, published) {
            return Next::Message(progress(None, reached));
        }
        while let Some(place) = self.progress.next_notice(reached) {
            if let Some(watch) = self.watches.get(place as usize) {
                return Next::Message(progress(Some(watch.id), reached));
            }
        }
        let waits = self.progress.waits_for_advance();
        if waits && desk.shared.hub.tell_advance(desk.number, reached) {
            return Next::Later;
        }
        Next::Idle { due: self.progress.due() }
    }
}

fn progress(watch_id: Option<i64>, revision: u64) -> WatchMessage {
    WatchMessage::Progress { watch_id, revision }
}
