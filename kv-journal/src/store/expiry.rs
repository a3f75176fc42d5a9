//! The driver's side of leases: it notices whose time has run out, and hands them to the sequencer
//! to be revoked, no more than so many a second.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::time::{Sleep, sleep_until};

use super::leases::Leases;
use super::metrics;
use crate::core::{Fired, State, Wheel};

/// Entries of the wheel that are looked at in one go: some 100 microseconds.
const LOOK: usize = 512;

/// Between two looks, so that others have the driver in between. A million leases that are due in
/// one tick are found within two seconds.
const LOOK_SPACING_MS: u64 = 1;

/// After this long a revoke that was not made durable is tried again. etcd waits as long.
const RETRY_MS: u64 = 3000;

/// What a batch does to leases, to be entered in the table once it is durable.
#[derive(Default)]
pub(super) struct LeaseChanges {
    /// The last change of each lease: its time if it was granted, `None` if it was revoked.
    last: BTreeMap<i64, Option<u64>>,
    expired: u64,
}

impl LeaseChanges {
    pub(super) fn granted(&mut self, id: i64, ttl_secs: u64) {
        self.last.insert(id, Some(ttl_secs));
    }

    pub(super) fn revoked(&mut self, id: i64) {
        self.last.insert(id, None);
    }

    pub(super) fn expired(&mut self, id: i64) {
        self.revoked(id);
        self.expired += 1;
    }

    pub(super) fn concern(&self, id: i64) -> bool {
        self.last.contains_key(&id)
    }
}

pub(super) struct Expiry {
    leases: Arc<Leases>,
    wheel: Wheel,
    /// Leases that have expired and are to be revoked, in the order in which that was noticed.
    overdue: VecDeque<i64>,
    pace: Pace,
    last_look_ms: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Expiry {
    /// Gives every lease of `state` its full time, from now.
    pub(super) fn new(leases: Arc<Leases>, state: &State, revokes_per_sec: u32) -> Self {
        let mut expiry = Self {
            leases,
            wheel: Wheel::default(),
            overdue: VecDeque::new(),
            pace: Pace::new(revokes_per_sec),
            last_look_ms: 0,
            timer: None,
        };
        let now_ms = expiry.leases.now_ms();
        for (id, ttl_secs) in state.leases().iter() {
            expiry.begin(id, ttl_secs, now_ms);
        }
        expiry
    }

    /// Ready when there is something to look at or to revoke.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(wake_ms) = self.next_wake_ms() else {
            self.timer = None;
            return Poll::Pending;
        };
        let wake = self.leases.instant(wake_ms);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(wake)));
        if timer.deadline() != wake {
            timer.as_mut().reset(wake);
        }
        ready!(timer.as_mut().poll(cx));
        self.timer = None;
        Poll::Ready(())
    }

    fn next_wake_ms(&self) -> Option<u64> {
        let look = self.wheel.next_wake_ms();
        let look = look.map(|at_ms| at_ms.max(self.last_look_ms + LOOK_SPACING_MS));
        let revoke = (!self.overdue.is_empty()).then(|| self.pace.next_ms());
        look.into_iter().chain(revoke).min()
    }

    /// Looks at what is due in the wheel: a lease that was renewed goes back there, one that was
    /// not has expired.
    pub(super) fn look(&mut self) {
        let now_ms = self.leases.now_ms();
        self.last_look_ms = now_ms;
        let mut budget = LOOK;
        while let Some(id) = self.wheel.pop(now_ms, &mut budget) {
            let mut shard = self.leases.shard(id);
            match shard.fire(id, now_ms) {
                Fired::Renewed(deadline_ms) => {
                    shard.set_ticket(id, self.wheel.insert(id, deadline_ms));
                }
                Fired::Expired => self.overdue.push_back(id),
                Fired::Gone => {}
            }
        }
    }

    /// The next lease that the sequencer is to revoke now, unless `changes` says that a batch which
    /// is not durable yet grants or revokes it.
    ///
    /// Until that revoke is durable the lease is in the table and in the wheel, so that it comes up
    /// again if the batch fails.
    pub(super) fn next_revoke(&mut self, changes: impl Fn(i64) -> bool) -> Option<i64> {
        if self.overdue.is_empty() {
            // A million that expired together take no memory for ever.
            self.overdue.shrink_to(LOOK);
            return None;
        }
        let now_ms = self.leases.now_ms();
        while self.pace.allows(now_ms) {
            let id = self.overdue.pop_front()?;
            let mut shard = self.leases.shard(id);
            // It may have been revoked meanwhile, and granted anew.
            if shard.awaits_revoke(id) {
                shard.set_ticket(id, self.wheel.insert(id, now_ms + RETRY_MS));
                if !changes(id) {
                    self.pace.spend();
                    return Some(id);
                }
            }
        }
        None
    }

    /// A batch is durable: what it granted begins to run, what it revoked is forgotten.
    pub(super) fn published(&mut self, changes: LeaseChanges) {
        if changes.last.is_empty() {
            return;
        }
        let now_ms = self.leases.now_ms();
        for (id, change) in changes.last {
            self.end(id);
            if let Some(ttl_secs) = change {
                self.begin(id, ttl_secs, now_ms);
            }
        }
        self.leases.expired.fetch_add(changes.expired, Ordering::Relaxed);
        metrics::leases_expired(changes.expired);
    }

    fn begin(&mut self, id: i64, ttl_secs: u64, now_ms: u64) {
        let mut shard = self.leases.shard(id);
        let deadline_ms = shard.begin(id, ttl_secs, now_ms);
        shard.set_ticket(id, self.wheel.insert(id, deadline_ms));
    }

    fn end(&mut self, id: i64) {
        if let Some(ticket) = self.leases.shard(id).end(id) {
            self.wheel.cancel(ticket);
        }
    }
}

/// A tenth of a second's revokes in each tenth of a second.
struct Pace {
    per_window: u32,
    window_ms: u64,
    spent: u32,
}

const WINDOW_MS: u64 = 100;

impl Pace {
    fn new(per_sec: u32) -> Self {
        Self { per_window: (per_sec / 10).max(1), window_ms: 0, spent: 0 }
    }

    fn allows(&mut self, now_ms: u64) -> bool {
        if now_ms >= self.window_ms + WINDOW_MS {
            self.window_ms = now_ms;
            self.spent = 0;
        }
        self.spent < self.per_window
    }

    fn spend(&mut self) {
        self.spent += 1;
    }

    /// When the next revoke is allowed.
    fn next_ms(&self) -> u64 {
        if self.spent < self.per_window { self.window_ms } else { self.window_ms + WINDOW_MS }
    }
}
