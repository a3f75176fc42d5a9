//! All watchers of one stream, on one wire after the other.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::{Duration, Instant, sleep, sleep_until};
use tonic::Status;

use super::desk::{Desk, Wish};
use super::follower::Follower;
use super::wire::Wire;
use crate::error::{Error, ErrorKind, Result};
use crate::etcd_api::known::NO_LEADER;
use crate::etcd_api::stored::WatchResponse;
use crate::etcd_api::{revision_of, unsigned};
use crate::kv_store::etcd::calls::Calls;
use crate::kv_store::etcd::failure::{Effect, Failure, Next};
use crate::store::{WatchMessage, WatchRequest};

/// In an answer the number of no watcher: of the stream, or of one that was not created.
const NO_WATCHER: i64 = -1;
/// Watchers that are asked for at a time. The answers to others do not wait long behind them.
const CREATED_AT_ONCE: usize = 256;

pub(super) struct Session {
    calls: Calls,
    desk: Arc<Desk>,
    followers: HashMap<i64, Follower>,
    wire: Option<Wire>,
    /// Who goes under which number on the wire. No number comes twice.
    numbers: HashMap<i64, i64>,
    next_number: i64,
    /// Those who are still to be asked for.
    to_create: VecDeque<i64>,
    /// Numbers that were asked for and not answered.
    asked: BTreeSet<i64>,
    /// Refusals, which do not say whom they mean.
    refused: Vec<String>,
    out: VecDeque<WatchMessage>,
    /// Whether the owner waits for a notice of progress.
    progress_wanted: bool,
    /// The shortest of the watchers' periods: their owners may be many, and seldom want one.
    period: Option<Duration>,
    next_progress: Option<Instant>,
    /// Wires that failed one after the other.
    failed: u32,
}

impl Session {
    pub(super) fn new(calls: Calls, desk: Arc<Desk>) -> Self {
        Self {
            calls,
            desk,
            followers: HashMap::new(),
            wire: None,
            numbers: HashMap::new(),
            next_number: 1,
            to_create: VecDeque::new(),
            asked: BTreeSet::new(),
            refused: Vec::new(),
            out: VecDeque::new(),
            progress_wanted: false,
            period: None,
            next_progress: None,
            failed: 0,
        }
    }

    /// The next message. It fails only if no wire to this cluster can ever do.
    pub(super) async fn next(&mut self) -> Result<WatchMessage> {
        loop {
            self.take_wishes();
            if let Some(message) = self.out.pop_front() {
                return Ok(message);
            }
            if self.followers.is_empty() && !self.progress_wanted {
                self.desk.changed().await;
                continue;
            }
            if self.wire.is_none() {
                match Wire::open(&self.calls).await {
                    Ok(wire) => self.use_wire(wire),
                    Err(status) => self.recover(None, status).await?,
                }
                continue;
            }
            self.ask_for_watchers();
            self.listen().await?;
        }
    }

    /// Waits for whatever comes first.
    async fn listen(&mut self) -> Result<()> {
        let due = self.progress_due();
        let Some(wire) = &mut self.wire else { return Ok(()) };
        let heard = tokio::select! {
            biased;
            heard = wire.next() => heard,
            () = self.desk.changed() => return Ok(()),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                wire.request_progress();
                self.next_progress = None;
                return Ok(());
            }
        };
        match heard.and_then(|response| self.hear(response)) {
            Ok(()) => {
                self.failed = 0;
                Ok(())
            }
            Err(status) => {
                let wire = self.wire.take();
                self.recover(wire, status).await
            }
        }
    }

    fn progress_due(&mut self) -> Option<Instant> {
        if self.next_progress.is_none() {
            self.next_progress = self.period.map(|period| Instant::now() + period);
        }
        self.next_progress
    }

    fn take_wishes(&mut self) {
        for wish in self.desk.wishes() {
            match wish {
                Wish::Create(watch_id, request) => self.create(watch_id, request),
                Wish::Cancel(watch_id) => self.cancel(watch_id),
                Wish::Progress => {
                    self.progress_wanted = true;
                    if let Some(wire) = &self.wire {
                        wire.request_progress();
                    }
                }
            }
        }
    }

    fn create(&mut self, watch_id: i64, request: WatchRequest) {
        let follower = Follower::new(request, Instant::now());
        if let Some(period) = follower.period(self.calls.config().progress_poll) {
            // It may be due before all others.
            self.period = Some(self.period.map_or(period, |shortest| shortest.min(period)));
            self.next_progress = None;
        }
        self.followers.insert(watch_id, follower);
        self.to_create.push_back(watch_id);
    }

    fn cancel(&mut self, watch_id: i64) {
        let number = self.followers.get(&watch_id).and_then(|follower| follower.number);
        if let (Some(number), Some(wire)) = (number, &self.wire) {
            // Whatever comes of it after this is nobody's.
            self.numbers.remove(&number);
            wire.cancel(number);
        }
        self.end(watch_id, None);
    }

    /// A watcher is no more, if it still was.
    fn end(&mut self, watch_id: i64, reason: Option<Error>) {
        let revision = self.calls.newest();
        let Some(follower) = self.followers.remove(&watch_id) else { return };
        let poll = self.calls.config().progress_poll;
        if follower.period(poll).is_some() {
            let periods = self.followers.values().filter_map(|follower| follower.period(poll));
            self.period = periods.min();
        }
        if !follower.announced {
            self.out.push_back(WatchMessage::Created { watch_id, revision });
        }
        self.out.push_back(WatchMessage::Canceled { watch_id, revision, reason });
        self.desk.release(watch_id);
    }

    fn use_wire(&mut self, wire: Wire) {
        if self.progress_wanted {
            wire.request_progress();
        }
        let mut watchers: Vec<i64> = self.followers.keys().copied().collect();
        watchers.sort_unstable();
        self.to_create = watchers.into();
        self.wire = Some(wire);
    }

    fn ask_for_watchers(&mut self) {
        let Some(wire) = &self.wire else { return };
        while self.asked.len() < CREATED_AT_ONCE {
            let Some(watch_id) = self.to_create.pop_front() else { return };
            let follower = self.followers.get_mut(&watch_id);
            // It may have been canceled, and another have its number.
            let new = follower.filter(|follower| follower.number.is_none());
            let Some(follower) = new else { continue };
            let number = self.next_number;
            self.next_number += 1;
            self.numbers.insert(number, watch_id);
            self.asked.insert(number);
            wire.create(follower.create_message(number));
        }
    }

    /// Takes a message of the server's. An error is one of the wire.
    fn hear(&mut self, response: WatchResponse) -> Result<(), Status> {
        let newest = self.calls.saw(revision_of(response.header.as_ref()));
        if response.watch_id == NO_WATCHER {
            return self.hear_of_all(&response, newest);
        }
        if response.created {
            self.asked.remove(&response.watch_id);
            self.announce(response.watch_id, newest);
        }
        self.settle_refusals();
        // Others were canceled in the meantime.
        let Some(&watch_id) = self.numbers.get(&response.watch_id) else { return Ok(()) };
        if response.canceled {
            self.numbers.remove(&response.watch_id);
            return self.hear_of_end(watch_id, &response);
        }
        let Some(follower) = self.followers.get_mut(&watch_id) else { return Ok(()) };
        if response.events.is_empty() {
            if !response.created {
                follower.progressed(newest);
                let progress =
                    WatchMessage::Progress { watch_id: Some(watch_id), revision: newest };
                self.out.push_back(progress);
            }
            return Ok(());
        }
        let events = response.events.into_stored();
        let batches = follower.take(&events, response.fragment);
        let told = batches.into_iter().map(|batch| WatchMessage::Events { watch_id, batch });
        self.out.extend(told);
        Ok(())
    }

    fn hear_of_all(&mut self, response: &WatchResponse, newest: u64) -> Result<(), Status> {
        match (response.created, response.canceled) {
            (true, _) => {
                self.refused.push(response.cancel_reason.clone());
                self.settle_refusals();
            }
            (false, true) => return Err(Status::unavailable(response.cancel_reason.clone())),
            (false, false) => self.progressed(newest),
        }
        Ok(())
    }

    fn announce(&mut self, number: i64, newest: u64) {
        let watch_id = self.numbers.get(&number);
        let follower = watch_id.and_then(|watch_id| self.followers.get_mut(watch_id));
        let (Some(&watch_id), Some(follower)) = (watch_id, follower) else { return };
        follower.created(newest);
        if !std::mem::replace(&mut follower.announced, true) {
            self.out.push_back(WatchMessage::Created { watch_id, revision: newest });
        }
    }

    /// Once all others are answered, the refusals are meant for those who are not.
    fn settle_refusals(&mut self) {
        if self.refused.is_empty() || self.refused.len() != self.asked.len() {
            return;
        }
        let refused = std::mem::take(&mut self.refused).into_iter();
        for (number, reason) in std::mem::take(&mut self.asked).into_iter().zip(refused) {
            if let Some(watch_id) = self.numbers.remove(&number) {
                self.end(watch_id, Some(Error::new(ErrorKind::Invalid, reason)));
            }
        }
    }

    fn hear_of_end(&mut self, watch_id: i64, response: &WatchResponse) -> Result<(), Status> {
        let reason = match (unsigned(response.compact_revision), &response.cancel_reason) {
            (0, reason) if reason.contains(NO_LEADER.message()) => {
                return Err(NO_LEADER.into());
            }
            (0, reason) => Error::new(ErrorKind::Invalid, reason.clone()),
            (compact_revision, _) => Error::new(
                ErrorKind::Compacted { compact_revision },
                "what the watcher has not seen was compacted: read, and watch from there",
            ),
        };
        self.end(watch_id, Some(reason));
        Ok(())
    }

    /// Everybody was told of everything up to a revision.
    fn progressed(&mut self, revision: u64) {
        let now = Instant::now();
        for (&watch_id, follower) in &mut self.followers {
            follower.progressed(revision);
            if follower.is_due(revision, now) {
                let progress = WatchMessage::Progress { watch_id: Some(watch_id), revision };
                self.out.push_back(progress);
            }
        }
        if std::mem::take(&mut self.progress_wanted) {
            self.out.push_back(WatchMessage::Progress { watch_id: None, revision });
        }
    }

    /// Gets ready for another wire, after a while.
    async fn recover(&mut self, wire: Option<Wire>, status: Status) -> Result<()> {
        self.numbers.clear();
        self.asked.clear();
        self.refused.clear();
        self.followers.values_mut().for_each(Follower::cut_off);
        self.failed = self.failed.saturating_add(1);
        let failure = Failure::of(status, Effect::Reads);
        let can_log_in = self.calls.login().can_log_in();
        match (failure.next, wire) {
            (Next::Tell, _) => return Err(failure.error),
            (Next::LogIn, _) if !can_log_in => return Err(failure.error),
            (Next::LogIn, Some(wire)) => {
                // If that fails the next wire does not open, either.
                let login = self.calls.login();
                let _refused = login.renew(&wire.shown, self.calls.channel()).await;
            }
            (_, Some(wire)) => self.calls.channel().turn_away(wire.turn).await,
            // Logging in has tried every endpoint.
            (_, None) => {}
        }
        sleep(self.calls.config().delay_after(self.failed)).await;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.desk.close();
    }
}
