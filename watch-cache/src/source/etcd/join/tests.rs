use proptest::prelude::*;

use super::super::messages::ResponseHeader;
use super::*;
use crate::error::ErrorKind;

fn header(revision: i64) -> ResponseHeader {
    ResponseHeader { cluster_id: 1, revision }
}

fn event(kind: i32, key: &str, revision: i64) -> Event {
    let kv = KeyValue {
        key: Bytes::from(key.to_owned()),
        create_revision: if kind == PUT { revision } else { 0 },
        mod_revision: revision,
        value: Bytes::new(),
    };
    Event { kind, kv: Some(kv) }
}

fn put(key: &str, revision: i64) -> Event {
    event(PUT, key, revision)
}

fn response(events: Vec<Event>, fragment: bool) -> WatchResponse {
    WatchResponse { header: Some(header(99)), events, fragment, ..WatchResponse::default() }
}

fn progress(watch_id: i64, revision: i64) -> WatchResponse {
    WatchResponse { header: Some(header(revision)), watch_id, ..WatchResponse::default() }
}

fn join() -> Join {
    Join::new("/a/".into(), false, 0, 5)
}

/// Revisions as their number and how much they hold, progress as its number and 0.
fn brief(out: &VecDeque<SourceEvent>) -> Vec<(u64, usize)> {
    let one = |event: &SourceEvent| match event {
        SourceEvent::Revision(revision) => (revision.revision, revision.changes.len()),
        SourceEvent::Progress(revision) => (*revision, 0),
    };
    out.iter().map(one).collect()
}

fn take(join: &mut Join, responses: Vec<WatchResponse>) -> (Vec<(u64, usize)>, Option<ErrorKind>) {
    let mut out = VecDeque::new();
    for response in responses {
        if let Err(failure) = join.take(response, &mut out) {
            return (brief(&out), Some(failure.error.kind()));
        }
    }
    (brief(&out), None)
}

#[test]
fn a_response_of_several_revisions_is_an_event_for_each() {
    let events = vec![put("/a/1", 6), event(DELETE, "/a/2", 6), put("/a/1", 9)];
    let told = take(&mut join(), vec![response(events, false)]);
    assert_eq!(told, (vec![(6, 2), (9, 1)], None), "the header's 99 is nobody's progress");
}

#[test]
fn fragments_are_joined_and_progress_between_them_says_nothing() {
    let fragments = vec![
        response(vec![put("/a/1", 6), put("/a/1", 7)], true),
        progress(EVERY_WATCH, 8),
        response(vec![put("/a/2", 7)], true),
        response(vec![put("/a/3", 7), put("/a/1", 8)], false),
        progress(EVERY_WATCH, 8),
        progress(0, 9),
    ];
    let told = take(&mut join(), fragments);
    assert_eq!(told, (vec![(6, 1), (7, 3), (8, 1), (9, 0)], None));
}

#[test]
fn progress_that_is_back_or_zero_says_nothing_and_an_event_after_its_progress_is_told() {
    let responses = vec![
        progress(EVERY_WATCH, 4),
        progress(EVERY_WATCH, 0),
        progress(0, -3),
        progress(EVERY_WATCH, 8),
        response(vec![put("/a/1", 7)], false),
    ];
    // Whoever believed the progress is to know.
    assert_eq!(take(&mut join(), responses), (vec![(8, 0), (7, 1)], None));
}

#[test]
fn a_revision_that_comes_again_or_late_or_in_two_parts_expires_the_watch() {
    let expired = |oldest_revision| Some(ErrorKind::Expired { oldest_revision });
    for second in [put("/a/1", 6), put("/a/2", 7)] {
        let first = vec![put("/a/1", 6), put("/a/1", 7)];
        let told = take(&mut join(), vec![response(first, false), response(vec![second], false)]);
        assert_eq!(told, (vec![(6, 1), (7, 1)], expired(7)));
    }
    let told = take(&mut join(), vec![response(vec![put("/a/1", 5)], false)]);
    assert_eq!(told, (vec![], expired(5)));
    let told = take(&mut join(), vec![response(vec![put("/a/1", 8), put("/a/2", 7)], false)]);
    assert_eq!(told, (vec![], expired(5)));
}

#[test]
fn a_watch_of_all_keys_is_told_how_far_it_is_and_misses_no_revision() {
    let all = || Join::new("/a/".into(), true, 0, 5);
    let told = take(
        &mut all(),
        vec![
            response(vec![put("/b/1", 6)], false),
            response(vec![put("/a/1", 7), put("/b/1", 7), put("/b/1", 8)], false),
            response(vec![put("/b/1", 9), put("/a/1", 10)], false),
        ],
    );
    assert_eq!(told, (vec![(6, 0), (7, 1), (8, 0), (10, 1)], None));
    let gap = vec![response(vec![put("/b/1", 6), put("/a/1", 8), put("/a/1", 9)], false)];
    assert_eq!(take(&mut all(), gap), (vec![], Some(ErrorKind::Expired { oldest_revision: 8 })));
    let mut empty = Join::new(Bytes::new(), true, 0, 0);
    let told = take(&mut empty, vec![response(vec![put("/a/1", 2)], false)]);
    assert_eq!(told, (vec![(2, 1)], None), "an empty store is at 1");
}

#[test]
fn what_is_malformed_is_refused() {
    let newer = KeyValue { create_revision: 7, ..put("/a/1", 6).kv.unwrap_or_default() };
    let cases = [
        response(vec![Event::default()], false),
        response(vec![put("/b/1", 6)], false),
        response(vec![event(2, "/a/1", 6)], false),
        response(vec![Event { kind: PUT, kv: Some(newer) }], false),
        WatchResponse { watch_id: 3, ..response(vec![put("/a/1", 6)], false) },
    ];
    for case in cases {
        assert_eq!(take(&mut join(), vec![case]), (vec![], Some(ErrorKind::Corrupt)));
    }
    let compacted =
        WatchResponse { canceled: true, compact_revision: 8, ..WatchResponse::default() };
    let expired = Some(ErrorKind::Expired { oldest_revision: 8 });
    assert_eq!(take(&mut join(), vec![compacted]), (vec![], expired));
}

fn any_event() -> impl Strategy<Value = Event> {
    let key = prop_oneof!["/a/[x-z]", "/b/[x-z]", ""];
    let event = (0..4, key, -2..20_i64, -2..20_i64).prop_map(|(kind, key, created, revision)| {
        let (key, value) = (key.into(), Bytes::new());
        Event {
            kind,
            kv: Some(KeyValue { key, create_revision: created, mod_revision: revision, value }),
        }
    });
    prop_oneof![9 => event, 1 => Just(Event::default())]
}

fn any_response() -> impl Strategy<Value = WatchResponse> {
    let flags = (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let numbers = (-1..2_i64, -1..20_i64, prop::option::of(-1..20_i64));
    (flags, numbers, prop::collection::vec(any_event(), 0..6)).prop_map(
        |((fragment, created, canceled), (watch_id, compact_revision, revision), events)| {
            WatchResponse {
                header: revision.map(header),
                watch_id,
                created,
                canceled,
                compact_revision,
                cancel_reason: String::new(),
                fragment,
                events,
            }
        },
    )
}

/// A history: for each revision its keys, and whether it is under the prefix.
fn any_history() -> impl Strategy<Value = Vec<Vec<(bool, bool)>>> {
    prop::collection::vec(prop::collection::vec(any::<(bool, bool)>(), 1..6), 0..30)
}

/// The history as events, and what of it is under the prefix.
fn events_of(history: &[Vec<(bool, bool)>]) -> (Vec<Event>, Vec<(u64, usize)>) {
    let (mut events, mut under) = (Vec::new(), Vec::new());
    for (changes, revision) in history.iter().zip(6_i64..) {
        let of = |(at, (put, ours)): (usize, &(bool, bool))| {
            let prefix = if *ours { "/a/" } else { "/b/" };
            event(if *put { PUT } else { DELETE }, &format!("{prefix}{at}"), revision)
        };
        events.extend(changes.iter().enumerate().map(of));
        let ours = changes.iter().filter(|(_, ours)| *ours).count();
        under.extend((ours > 0).then_some((unsigned(revision), ours)));
    }
    (events, under)
}

proptest! {
    #[test]
    fn no_sequence_of_responses_panics_and_what_is_told_is_whole_and_ascends(
        responses in prop::collection::vec(any_response(), 0..20),
        all_keys in any::<bool>(),
    ) {
        let mut join = Join::new("/a/".into(), all_keys, 0, 5);
        let mut out = VecDeque::new();
        for response in responses {
            if join.take(response, &mut out).is_err() {
                break;
            }
        }
        let (mut told, mut reached) = (5, 5);
        for event in out {
            match event {
                SourceEvent::Revision(revision) => {
                    prop_assert!(revision.revision > told && !revision.changes.is_empty());
                    told = revision.revision;
                    reached = reached.max(told);
                }
                SourceEvent::Progress(revision) => {
                    prop_assert!(revision > reached);
                    reached = revision;
                }
            }
        }
    }

    #[test]
    fn however_a_history_is_cut_it_is_told_whole(
        history in any_history(),
        cuts in prop::collection::vec(1..8_usize, 1..20),
        all_keys in any::<bool>(),
    ) {
        let (mut events, under) = events_of(&history);
        if !all_keys {
            events.retain(|event| event.kv.as_ref().is_some_and(|kv| kv.key.starts_with(b"/a/")));
        }
        let mut join = Join::new("/a/".into(), all_keys, 0, 5);
        let mut out = VecDeque::new();
        let mut cuts = cuts.iter().cycle();
        while !events.is_empty() {
            let rest = events.split_off(events.len().min(*cuts.next().unwrap_or(&1)));
            let part = std::mem::replace(&mut events, rest);
            let revision = |event: Option<&Event>| event.and_then(|event| Some(event.kv.as_ref()?.mod_revision));
            // Only fragments cut a revision.
            let fragment = revision(part.last()) == revision(events.first());
            prop_assert!(join.take(response(part, fragment), &mut out).is_ok());
        }
        let told = brief(&out);
        let whole: Vec<_> = told.iter().copied().filter(|(_, changes)| *changes > 0).collect();
        prop_assert_eq!(whole, under);
        if all_keys {
            let reached = told.last().map_or(5, |(revision, _)| *revision);
            prop_assert_eq!(reached, 5 + history.len() as u64);
        }
    }
}
