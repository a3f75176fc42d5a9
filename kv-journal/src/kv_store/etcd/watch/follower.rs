//! One watcher: what it was told, and from where it goes on.

use tokio::time::{Duration, Instant};

use crate::core::Event;
use crate::etcd_api::etcdserverpb::WatchCreateRequest;
use crate::etcd_api::etcdserverpb::watch_create_request::FilterType;
use crate::etcd_api::{key_and_end, signed};
use crate::store::{WatchBatch, WatchRequest};

pub(super) struct Follower {
    pub(super) request: WatchRequest,
    /// Its number on the wire, once it is asked for there.
    pub(super) number: Option<i64>,
    /// Whether it exists there.
    exists: bool,
    /// Whether its owner knows that it exists.
    pub(super) announced: bool,
    /// The first revision of which it was not told all; 0 before it is known where it starts.
    next: u64,
    /// Up to where the server said that there is nothing more to tell. etcd before 3.4.25 and 3.5.8
    /// may say so too early, so what comes nevertheless is told: only another wire begins after it.
    covered: u64,
    /// Events of `next` that it was told in parts.
    told_of_next: usize,
    /// Events of one revision, of which more may follow.
    held: Vec<Event>,
    /// Events of `next` that are not to be told again.
    to_skip: usize,
    /// When it was told of progress last.
    told_at: Instant,
    /// The last revision that a batch or a notice named.
    named: u64,
}

impl Follower {
    pub(super) fn new(request: WatchRequest, now: Instant) -> Self {
        let start = request.start_revision;
        Self {
            next: start,
            request,
            number: None,
            exists: false,
            announced: false,
            covered: 0,
            told_of_next: 0,
            held: Vec::new(),
            to_skip: 0,
            told_at: now,
            named: start.saturating_sub(1),
        }
    }

    /// How it is created on a wire, under a number there.
    pub(super) fn create_message(&mut self, watch_id: i64) -> WatchCreateRequest {
        self.number = Some(watch_id);
        let (key, range_end) = key_and_end(&self.request.range);
        let filters = [
            (self.request.no_put, FilterType::Noput),
            (self.request.no_delete, FilterType::Nodelete),
        ];
        let filters = filters.into_iter().filter(|(on, _)| *on).map(|(_, filter)| filter.into());
        WatchCreateRequest {
            key,
            range_end,
            start_revision: signed(self.next),
            progress_notify: self.request.progress_notify,
            filters: filters.collect(),
            prev_kv: self.request.prev_kv,
            watch_id,
            // A message has an end, however large a revision is.
            fragment: true,
        }
    }

    /// It exists on the wire since this was the newest revision.
    pub(super) fn created(&mut self, newest: u64) {
        self.exists = true;
        if self.next == 0 {
            (self.next, self.named) = (newest + 1, newest);
        }
    }

    /// The wire is gone, and whatever was not told with it.
    pub(super) fn cut_off(&mut self) {
        (self.number, self.exists) = (None, false);
        self.held.clear();
        self.to_skip = self.told_of_next;
        // Of a revision that was told in part the rest is still to come.
        if self.told_of_next == 0 && self.next > 0 {
            self.next = self.next.max(self.covered + 1);
        }
    }

    /// Takes a message's events and returns what there is to tell.
    pub(super) fn take(&mut self, events: &[Event], more: bool) -> Vec<WatchBatch> {
        let mut batches = Vec::new();
        if self.request.fragment && self.goes_on_with(events) {
            batches.extend(self.batch(true));
        }
        for event in events {
            let revision = event.kv.mod_revision();
            if self.held.first().is_some_and(|held| held.kv.mod_revision() != revision) {
                batches.extend(self.batch(false));
            }
            if self.is_new(revision) {
                self.held.push(event.clone());
            }
        }
        if !more {
            batches.extend(self.batch(false));
        }
        batches
    }

    /// Whether what is held is followed by more of the same revision.
    fn goes_on_with(&self, events: &[Event]) -> bool {
        let revision_of = |event: Option<&Event>| event.map(|event| event.kv.mod_revision());
        !self.held.is_empty() && revision_of(self.held.first()) == revision_of(events.first())
    }

    fn is_new(&mut self, revision: u64) -> bool {
        if revision > self.next {
            self.to_skip = 0;
        }
        if revision < self.next || self.to_skip > 0 {
            self.to_skip = self.to_skip.saturating_sub(1);
            return false;
        }
        true
    }

    fn batch(&mut self, more: bool) -> Option<WatchBatch> {
        let revision = self.held.first()?.kv.mod_revision();
        let events = std::mem::take(&mut self.held);
        if more {
            let before = if self.next == revision { self.told_of_next } else { 0 };
            (self.next, self.told_of_next) = (revision, before + events.len());
        } else {
            (self.next, self.told_of_next) = (revision + 1, 0);
        }
        self.named = self.named.max(revision);
        Some(WatchBatch { revision, events: events.into(), more })
    }

    /// It was told of everything up to a revision.
    pub(super) fn progressed(&mut self, revision: u64) {
        if self.exists && self.held.is_empty() {
            self.covered = self.covered.max(revision);
        }
    }

    /// How often it is to be seen how far it is; `poll` is for who wants each advance.
    pub(super) fn period(&self, poll: Duration) -> Option<Duration> {
        let advance = self.request.progress_on_advance.then_some(poll);
        match (self.request.progress_interval, advance) {
            (Some(interval), Some(advance)) => Some(interval.min(advance)),
            (interval, advance) => interval.or(advance),
        }
    }

    /// Whether a notice that the stream is at this revision is one for it, too.
    pub(super) fn is_due(&mut self, revision: u64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.told_at);
        let by_time = self.request.progress_interval.is_some_and(|interval| passed >= interval);
        let by_advance = self.request.progress_on_advance && revision > self.named;
        // Before its start there is nothing that it could be told of.
        let due = (by_time || by_advance) && revision + 1 >= self.next && self.exists;
        if due {
            self.told_at = now;
            self.named = self.named.max(revision);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{EventKind, KeyRange, KeyValue, Meta};

    fn event(key: &str, revision: u64) -> Event {
        let meta = Meta { mod_revision: revision, ..Meta::default() };
        Event { kind: EventKind::Put, kv: KeyValue::new(key.as_bytes(), b"", meta), prev_kv: None }
    }

    fn follower(request: WatchRequest) -> Follower {
        let mut follower = Follower::new(request.from_revision(2), Instant::now());
        follower.created(9);
        follower
    }

    fn told(batches: &[WatchBatch]) -> Vec<(u64, Vec<String>, bool)> {
        let keys = |batch: &WatchBatch| {
            let events = batch.events.iter();
            events.map(|event| String::from_utf8(event.kv.key().to_vec()).unwrap()).collect()
        };
        batches.iter().map(|batch| (batch.revision, keys(batch), batch.more)).collect()
    }

    fn one(revision: u64, keys: &[&str], more: bool) -> (u64, Vec<String>, bool) {
        (revision, keys.iter().map(|&key| key.to_owned()).collect(), more)
    }

    #[tokio::test]
    async fn a_message_of_several_revisions_is_a_batch_for_each() {
        let mut follower = follower(WatchRequest::new(KeyRange::all()));
        let batches = follower.take(&[event("a", 2), event("b", 2), event("c", 4)], false);
        assert_eq!(told(&batches), [one(2, &["a", "b"], false), one(4, &["c"], false)]);
        assert_eq!(follower.create_message(7).start_revision, 5);
    }

    #[tokio::test]
    async fn fragments_are_joined_for_who_did_not_ask_for_them() {
        let mut follower = follower(WatchRequest::new(KeyRange::all()));
        assert!(follower.take(&[event("a", 2)], true).is_empty());
        let batches = follower.take(&[event("b", 2), event("c", 3)], true);
        assert_eq!(told(&batches), [one(2, &["a", "b"], false)]);
        // What was not told whole is told again, whole.
        follower.cut_off();
        assert_eq!(follower.create_message(7).start_revision, 3);
        follower.created(9);
        let batches = follower.take(&[event("c", 3), event("d", 3)], false);
        assert_eq!(told(&batches), [one(3, &["c", "d"], false)]);
    }

    #[tokio::test]
    async fn fragments_that_were_told_are_not_told_again() {
        let mut follower = follower(WatchRequest::new(KeyRange::all()).fragment());
        assert!(follower.take(&[event("a", 2), event("b", 2)], true).is_empty());
        assert_eq!(told(&follower.take(&[event("c", 2)], true)), [one(2, &["a", "b"], true)]);
        follower.progressed(8);
        follower.cut_off();
        assert_eq!(follower.create_message(7).start_revision, 2);
        follower.created(9);
        assert!(follower.take(&[event("a", 2)], true).is_empty());
        assert!(follower.take(&[event("b", 2), event("c", 2)], true).is_empty());
        let batches = follower.take(&[event("d", 2), event("e", 5)], false);
        let expected = [one(2, &["c"], true), one(2, &["d"], false), one(5, &["e"], false)];
        assert_eq!(told(&batches), expected);
    }

    #[tokio::test]
    async fn what_comes_after_a_notice_that_was_too_early_is_told() {
        let mut follower = follower(WatchRequest::new(KeyRange::all()));
        follower.progressed(8);
        assert_eq!(told(&follower.take(&[event("a", 7)], false)), [one(7, &["a"], false)]);
        follower.cut_off();
        assert_eq!(follower.create_message(7).start_revision, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_is_told_to_who_asked_when_it_is_due() {
        let every = Duration::from_secs(1);
        let request = WatchRequest::new(KeyRange::all()).progress_interval(every);
        let mut by_time = follower(request);
        let mut by_advance = follower(WatchRequest::new(KeyRange::all()).progress_on_advance());
        let mut nobody = follower(WatchRequest::new(KeyRange::all()));
        assert!(by_advance.is_due(9, Instant::now()) && !by_advance.is_due(9, Instant::now()));
        let mut of_now = Follower::new(by_advance.request.clone().from_revision(0), Instant::now());
        of_now.created(9);
        assert!(!of_now.is_due(9, Instant::now()), "it begins after that revision");
        assert!(by_advance.is_due(10, Instant::now()) && !by_advance.is_due(10, Instant::now()));
        assert!(!by_time.is_due(10, Instant::now()));
        tokio::time::advance(every).await;
        assert!(by_time.is_due(10, Instant::now()) && !by_time.is_due(10, Instant::now()));
        assert!(!nobody.is_due(10, Instant::now()));
    }
}
