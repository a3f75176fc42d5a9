//! What a pump does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use tokio::sync::mpsc;

use super::super::cursor::{Cursor, Slot};
use super::super::feed::yield_now;
use super::super::metrics;
use super::super::run::Command;
use super::super::shared::Shared;
use super::super::sink::{Delivery, Member, Offered};
use super::super::stats::add;
use super::group::{Behind, Group, Groups};
use super::{Errand, Joining};
use crate::core::event::WatchEvent;
use crate::error::Error;

/// How many errands are done before those who are behind have their turn.
const ERRANDS: usize = 1024;
/// How many steps those who are behind take before the errands have their turn.
const STEPS: usize = 64;
/// After so many deliveries the other tasks of the thread have their turn.
const DELIVERIES: usize = 4096;

pub(super) struct Work {
    shared: Arc<Shared>,
    commands: mpsc::WeakUnboundedSender<Command>,
    own: mpsc::UnboundedSender<Errand>,
    errands: mpsc::UnboundedReceiver<Errand>,
    groups: Groups,
    /// Those who are behind and not parked.
    ready: VecDeque<u64>,
    /// How many the shared counters have of those who are parked here, and of those who are ready.
    counted: [usize; 2],
}

impl Work {
    pub(super) fn new(
        shared: Arc<Shared>,
        commands: mpsc::WeakUnboundedSender<Command>,
        (own, errands): (mpsc::UnboundedSender<Errand>, mpsc::UnboundedReceiver<Errand>),
    ) -> Self {
        let (groups, ready) = (Groups::default(), VecDeque::new());
        Self { shared, commands, own, errands, groups, ready, counted: [0; 2] }
    }

    pub(super) async fn run(mut self) {
        let mut errands = Vec::new();
        loop {
            if self.ready.is_empty() {
                self.errands.recv_many(&mut errands, ERRANDS).await;
            } else {
                let waiting = std::iter::from_fn(|| self.errands.try_recv().ok());
                errands.extend(waiting.take(ERRANDS));
            }
            for errand in errands.drain(..) {
                if self.run_errand(errand).await {
                    return;
                }
            }
            for _ in 0..STEPS {
                let Some(id) = self.ready.pop_front() else { break };
                if self.step(id).await {
                    self.ready.push_back(id);
                }
            }
            self.count();
            yield_now().await;
        }
    }

    /// Returns whether it was the last.
    async fn run_errand(&mut self, errand: Errand) -> bool {
        match errand {
            Errand::Join(joining) => self.join(*joining),
            Errand::Resume { id } => {
                if self.groups.resume(id) {
                    self.ready.push_back(id);
                }
            }
            Errand::Leave { id } => {
                if let Some((_, group)) = self.groups.remove(id) {
                    self.tidy(group);
                }
            }
            Errand::Look { group } => self.look(group).await,
            Errand::Close => {
                // What was published before the end is still delivered.
                for group in self.groups.keys() {
                    self.look(group).await;
                }
                return true;
            }
        }
        false
    }

    fn join(&mut self, joining: Joining) {
        let Joining { predicate, member, cursor, backlog } = joining;
        let group = self.groups.find(&predicate).unwrap_or_else(|| {
            let id = self.shared.next_watcher.fetch_add(1, Ordering::Relaxed);
            let slot = Slot::of_group(self.own.clone(), self.groups.next_key());
            let register = Command::Register {
                id,
                predicate: Arc::clone(&predicate),
                slot: Arc::clone(&slot),
            };
            self.command(register);
            let (level, behind, bookmarked) = (Vec::new(), 0, 0);
            self.groups.insert(Group { predicate, id, slot, cursor, bookmarked, level, behind })
        });
        self.ready.push_back(member.id);
        let backlog = backlog.map(Box::new);
        self.groups.join(Behind { member, group, cursor, backlog, missed: None, parked: false });
    }

    /// Tells the driver, unless it is ending.
    fn command(&self, command: Command) {
        if let Some(commands) = self.commands.upgrade() {
            // A driver that is gone has closed the cache.
            let _ = commands.send(command);
        }
    }

    /// Reads what is new for those of a group who are level.
    async fn look(&mut self, key: u32) {
        let mut events = Vec::new();
        loop {
            let Some(group) = self.groups.get(key) else { return };
            group.slot.before_reading(None);
            if group.level.is_empty() {
                return;
            }
            let before = group.cursor;
            let mark = group.slot.mark.get();
            let read =
                group.cursor.take(&self.shared, &group.predicate, mark, u64::MAX, &mut events);
            let position = group.cursor.position;
            match read {
                Err(_) => {
                    // Each finds out what it missed, or that it is over.
                    while let Some(id) = self.groups.fall_behind(key, before) {
                        self.ready.push_back(id);
                    }
                    return;
                }
                Ok(behind) => {
                    if !events.is_empty() {
                        let after = self.shared.since_published();
                        self.shared.counters.pump_latency.add(after);
                        metrics::looked(after);
                        let delivery = Delivery::new(std::mem::take(&mut events), position);
                        self.deliver(key, &delivery, before, |_| true).await;
                    }
                    if !behind {
                        return self.bookmark(key).await;
                    }
                }
            }
        }
    }

    async fn bookmark(&mut self, key: u32) {
        let Some(group) = self.groups.get(key) else { return };
        let cursor = group.cursor;
        let due = group.slot.bookmark_due.swap(false, Ordering::AcqRel);
        if !due || cursor.position <= group.bookmarked {
            return;
        }
        group.bookmarked = cursor.position;
        let bookmark = WatchEvent::Bookmark { revision: cursor.position, initial_end: false };
        let delivery = Delivery::new(vec![bookmark], cursor.position);
        self.deliver(key, &delivery, cursor, |member| member.bookmarks).await;
    }

    /// Offers a delivery to those of a group who are level and wanted. Those who refuse are parked
    /// where they were before.
    async fn deliver(
        &mut self,
        key: u32,
        delivery: &Delivery,
        before: Cursor,
        wanted: fn(&Member) -> bool,
    ) {
        let (mut at, mut offered) = (0_u32, 0_usize);
        while let Some(member) =
            self.groups.get(key).and_then(|group| group.level.get_mut(at as usize))
        {
            if !wanted(member) {
                at += 1;
                continue;
            }
            match member.offer(delivery, Some(delivery.revision())) {
                Offered::Taken => at += 1,
                Offered::Full => self.groups.park_level(key, at, before),
                Offered::Over => drop(self.groups.remove_level(key, at)),
            }
            offered += 1;
            if offered.is_multiple_of(DELIVERIES) {
                yield_now().await;
            }
        }
        add(&self.shared.counters.deliveries, offered as u64);
        self.tidy(key);
    }

    /// One step of one who is behind; returns whether there are more to take.
    async fn step(&mut self, id: u64) -> bool {
        let Some((behind, _)) = self.groups.behind(id) else { return false };
        if behind.parked {
            return false;
        }
        // Those who are level go ahead, so that there is a place to catch up to.
        let key = behind.group;
        self.look(key).await;
        let Some((behind, group)) = self.groups.behind(id) else { return false };
        let flow = match (&behind.backlog, behind.missed.take()) {
            (Some(_), _) => Ok(step_backlog(&self.shared, behind, group)),
            (None, Some(from)) => step_again(&self.shared, behind, group, from),
            (None, None) => step_log(&self.shared, behind, group),
        };
        match flow {
            Ok(Step::On) => true,
            Ok(Step::Level) => {
                self.groups.level(id);
                false
            }
            Ok(Step::Full) => {
                self.groups.park(id);
                false
            }
            Ok(Step::Done) => {
                self.groups.remove(id);
                self.tidy(key);
                false
            }
            Err(error) => {
                if let Some((mut member, _)) = self.groups.remove(id) {
                    member.sink.end(error);
                }
                self.tidy(key);
                false
            }
        }
    }

    /// Lets go of a group in which nobody is left.
    fn tidy(&mut self, key: u32) {
        if let Some(group) = self.groups.remove_empty(key) {
            self.command(Command::Unregister { id: group.id });
        }
    }

    /// Adds to the shared counters what has changed since the last time.
    fn count(&mut self) {
        let (parked, behind) = (self.groups.parked(), self.ready.len());
        let shared = &self.shared;
        let counts = [(&shared.parked, parked), (&shared.behind, behind)];
        for ((count, now), before) in counts.into_iter().zip(&mut self.counted) {
            count.fetch_add(now.wrapping_sub(*before), Ordering::Relaxed);
            *before = now;
        }
    }
}

/// What came of a step.
enum Step {
    On,
    Level,
    Full,
    Done,
}

fn step_backlog(shared: &Shared, behind: &mut Behind, group: &Group) -> Step {
    let Some(mut backlog) = behind.backlog.take() else { return Step::On };
    let mut part = backlog.next(&group.predicate);
    if !part.events.is_empty() {
        let delivery = Delivery::new(std::mem::take(&mut part.events), part.revision);
        add(&shared.counters.deliveries, 1);
        let offered = behind.member.offer(&delivery, None);
        if offered != Offered::Taken {
            match backlog.missed() {
                // It may stay full for long, and keeps nothing of the state that it was to be told of.
                Some((from, told)) => {
                    behind.cursor.position = told;
                    behind.missed = Some(from);
                }
                None => behind.backlog = Some(backlog),
            }
            return step(offered);
        }
    }
    if part.last {
        behind.cursor = backlog.end(behind.cursor);
    } else {
        backlog.pass(part);
        behind.backlog = Some(backlog);
    }
    Step::On
}

fn step_again(
    shared: &Shared,
    behind: &mut Behind,
    group: &Group,
    from: u64,
) -> Result<Step, Error> {
    let backlog = behind.cursor.resume_again(shared, &group.predicate, from)?;
    behind.backlog = Some(Box::new(backlog));
    Ok(Step::On)
}

fn step_log(shared: &Shared, behind: &mut Behind, group: &mut Group) -> Result<Step, Error> {
    let until = if group.level.is_empty() { u64::MAX } else { group.cursor.position };
    let mut cursor = behind.cursor;
    let mut events = Vec::new();
    let mark = group.slot.mark.get();
    let more = match cursor.take(shared, &group.predicate, mark, until, &mut events) {
        Ok(more) => more,
        Err(error) => {
            let exact = behind.member.exact;
            let backlog = cursor.resume(shared, &group.predicate, exact, error)?;
            behind.backlog = Some(Box::new(backlog));
            return Ok(Step::On);
        }
    };
    if !events.is_empty() {
        let delivery = Delivery::new(events, cursor.position);
        add(&shared.counters.deliveries, 1);
        let offered = behind.member.offer(&delivery, None);
        if offered != Offered::Taken {
            return Ok(step(offered));
        }
    }
    behind.cursor = cursor;
    if more {
        return Ok(Step::On);
    }
    if group.level.is_empty() {
        group.cursor = cursor;
    }
    // One who began at a revision that is only just published may be ahead for a moment.
    Ok(if group.cursor == cursor { Step::Level } else { Step::On })
}

fn step(offered: Offered) -> Step {
    match offered {
        Offered::Taken => Step::On,
        Offered::Full => Step::Full,
        Offered::Over => Step::Done,
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.errands.close();
        fence(Ordering::SeqCst);
        let closed = self.shared.closed();
        while let Ok(errand) = self.errands.try_recv() {
            if let Errand::Join(mut joining) = errand {
                joining.member.sink.end(closed.clone());
            }
        }
        for mut member in self.groups.drain() {
            member.sink.end(closed.clone());
        }
        self.ready.clear();
        self.count();
    }
}
