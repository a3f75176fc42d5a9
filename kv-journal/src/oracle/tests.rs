//! A correct record passes, and each kind of corruption is named.

use super::*;

fn put(key: &str, value: &str) -> Mutation {
    Mutation::Put { key: key.to_owned().into(), value: value.to_owned().into(), lease: 0 }
}

/// Revision 2 puts `a`, 3 puts `c` and `b`, 4 puts `a` again, 5 deletes `a` and `b`.
fn oracle() -> Oracle {
    let mut oracle = Oracle::new();
    let delete = Mutation::Delete { range: KeyRange::range("a", "c"), deleted: 2 };
    let history = [
        (2, vec![put("a", "1")]),
        (3, vec![put("c", "1"), put("b", "1")]),
        (4, vec![put("a", "2")]),
        (5, vec![delete]),
    ];
    for (revision, mutations) in history {
        oracle.push(&Record::Transaction { revision, mutations }).unwrap();
    }
    oracle
}

fn notice(revision: u64) -> WatchBatch {
    WatchBatch { revision, events: [].into(), more: false }
}

fn batch(revision: u64) -> WatchBatch {
    WatchBatch { revision, events: oracle().events(revision).into(), more: false }
}

fn told(batches: Vec<WatchBatch>) -> Told {
    let request = WatchRequest::new(KeyRange::all()).from_revision(2);
    Told { batches, complete_to: 5, ..Told::new(request) }
}

fn broken(told: &Told) -> Option<Guarantee> {
    oracle().check(told).err().map(|violation| violation.guarantee)
}

/// A correct record in which one batch's events were changed.
fn corrupted(revision: u64, change: impl Fn(&mut Vec<Event>)) -> Option<Guarantee> {
    let mut batches: Vec<_> = (2..=5).map(batch).collect();
    let changed = batches.iter_mut().find(|batch| batch.revision == revision).unwrap();
    let mut events = changed.events.to_vec();
    change(&mut events);
    changed.events = events.into();
    broken(&told(batches))
}

#[test]
fn a_correct_record_passes() {
    assert_eq!(broken(&told((2..=5).map(batch).collect())), None);
    let batches = vec![batch(2), notice(2), batch(3), batch(4), batch(5), notice(5), notice(5)];
    assert_eq!(broken(&told(batches)), None);
    let mut later = told(vec![batch(4), batch(5)]);
    later.request.start_revision = 4;
    assert_eq!(broken(&later), None);
    assert_eq!(later.next_revision(), 6);
}

#[test]
fn each_broken_order_is_named() {
    let all = [batch(2), batch(3), batch(4), batch(5)];
    let pick = |order: &[usize]| broken(&told(order.iter().map(|at| all[*at].clone()).collect()));
    assert_eq!(pick(&[0, 2, 1, 3]), Some(Guarantee::Ordered));
    assert_eq!(pick(&[0, 1, 2, 2, 3]), Some(Guarantee::Unique));
    assert_eq!(pick(&[0, 1, 2, 3, 0]), Some(Guarantee::Unique));
    assert_eq!(pick(&[0, 2, 3]), Some(Guarantee::Reliable));
    assert_eq!(pick(&[0, 1, 2]), Some(Guarantee::Reliable));
    assert_eq!(corrupted(3, |events| events.swap(0, 1)), Some(Guarantee::Ordered));
    assert_eq!(corrupted(3, |events| events.truncate(1)), Some(Guarantee::Atomic));
    let moved = |events: &mut Vec<Event>| events.extend_from_slice(oracle().events(4));
    assert_eq!(corrupted(3, moved), Some(Guarantee::Atomic));
    let half = |at: usize| WatchBatch {
        revision: 3,
        events: [batch(3).events[at].clone()].into(),
        more: false,
    };
    let split = vec![batch(2), half(0), half(1), batch(4), batch(5)];
    assert_eq!(broken(&told(split)), Some(Guarantee::Atomic));
    let mut early = told((2..=5).map(batch).collect());
    early.request.start_revision = 3;
    assert_eq!(broken(&early), Some(Guarantee::Resumable));
}

#[test]
fn each_broken_content_is_named() {
    let edit = |events: &mut Vec<Event>, value: &[u8], change: fn(&mut Meta)| {
        let kv = &mut events[0].kv;
        let mut meta = kv.meta();
        change(&mut meta);
        *kv = KeyValue::new(kv.key(), value, meta);
    };
    let value = oracle().events(4)[0].kv.value_bytes();
    assert_eq!(corrupted(4, |e| edit(e, &value, |_| {})), None);
    assert_eq!(corrupted(4, |e| edit(e, &value, |kv| kv.version = 1)), Some(Guarantee::Exact));
    assert_eq!(corrupted(4, |e| edit(e, b"3", |_| {})), Some(Guarantee::Exact));
    let recreated = |e: &mut Vec<Event>| edit(e, &value, |kv| kv.create_revision = 4);
    assert_eq!(corrupted(4, recreated), Some(Guarantee::Exact));
    assert_eq!(corrupted(4, |e| e[0].kind = EventKind::Delete), Some(Guarantee::Exact));
    assert_eq!(corrupted(4, |e| e[0].prev_kv = None), Some(Guarantee::Previous));
    assert_eq!(
        corrupted(3, |e| e[0].prev_kv = Some(KeyValue::default())),
        Some(Guarantee::Previous)
    );
    let more = |events: &mut Vec<Event>| {
        let kv = KeyValue::new(b"z", b"", Meta { mod_revision: 4, ..Meta::default() });
        events.push(Event { kind: EventKind::Put, kv, prev_kv: None });
    };
    assert_eq!(corrupted(4, more), Some(Guarantee::Exact));
    let mut invented = told((2..=5).map(batch).collect());
    let event = deletion(6, KeyValue::default());
    invented.batches.push(WatchBatch { revision: 6, events: [event].into(), more: false });
    assert_eq!(broken(&invented), Some(Guarantee::Exact));
}

#[test]
fn each_broken_notice_is_named() {
    let named = |batches| broken(&told(batches));
    let early = vec![batch(2), notice(3), batch(3), batch(4), batch(5)];
    assert_eq!(named(early), Some(Guarantee::Bookmarkable));
    let back = vec![batch(2), batch(3), notice(2), batch(4), batch(5)];
    assert_eq!(named(back), Some(Guarantee::Bookmarkable));
    let twice_back = vec![batch(2), batch(3), batch(4), batch(5), notice(5), notice(4)];
    assert_eq!(named(twice_back), Some(Guarantee::Bookmarkable));
    let beyond = vec![batch(2), batch(3), batch(4), batch(5), notice(6)];
    assert_eq!(named(beyond), Some(Guarantee::Bookmarkable));
    assert_eq!(named(vec![notice(2)]), Some(Guarantee::Reliable)); // 2 had come before it
    let mut future = told(vec![notice(5)]);
    future.request.start_revision = 9;
    assert_eq!(broken(&future), Some(Guarantee::Bookmarkable));
}

#[test]
fn each_broken_filter_is_named() {
    let mut all = told((2..=5).map(batch).collect());
    all.request.range = KeyRange::key("a");
    assert_eq!(broken(&all), Some(Guarantee::Filtered));
    all.request = WatchRequest::new(KeyRange::all()).from_revision(2).no_delete();
    assert_eq!(broken(&all), Some(Guarantee::Filtered));
    all.batches.pop();
    assert_eq!(broken(&all), None);
    all.request.no_put = true;
    assert_eq!(broken(&all), Some(Guarantee::Filtered));
}

#[test]
fn what_was_compacted_may_have_no_previous_and_nothing_else() {
    let mut compacted = oracle();
    compacted.push(&Record::Compaction { revision: 4 }).unwrap();
    let without = |revision| {
        let mut batch = batch(revision);
        let events = batch.events.iter().cloned();
        batch.events = events.map(|event| Event { prev_kv: None, ..event }).collect();
        batch
    };
    let mut from_four = told(vec![without(4), batch(5)]);
    from_four.request.start_revision = 4;
    assert_eq!(compacted.check(&from_four), Ok(()));
    from_four.batches[1] = without(5);
    let violation = compacted.check(&from_four).unwrap_err();
    assert_eq!(violation.guarantee, Guarantee::Previous);
    // Ending with `Compacted` is right below the compaction only.
    let mut ended = Told { complete_to: 0, compacted: Some(4), ..told(vec![batch(2)]) };
    assert_eq!(compacted.check(&ended), Ok(()));
    ended.batches.push(batch(3));
    assert_eq!(compacted.check(&ended).unwrap_err().guarantee, Guarantee::Reliable);
}

#[test]
fn a_record_that_does_not_follow_is_refused() {
    let gap = Record::Transaction { revision: 7, mutations: vec![put("a", "3")] };
    assert_eq!(oracle().push(&gap).unwrap_err().kind(), ErrorKind::Corrupt);
    let delete = Mutation::Delete { range: KeyRange::all(), deleted: 7 };
    let wrong = Record::Transaction { revision: 6, mutations: vec![delete] };
    assert_eq!(oracle().push(&wrong).unwrap_err().kind(), ErrorKind::Corrupt);
    let ahead = Record::Compaction { revision: 6 };
    assert_eq!(oracle().push(&ahead).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn the_end_of_a_lease_deletes_its_keys_in_one_revision() {
    let mut oracle = oracle(); // `c` is left
    let put =
        |key: &str, lease| Mutation::Put { key: key.to_owned().into(), value: "1".into(), lease };
    let revoke = |revision, id, deleted| Record::LeaseRevoke { revision, id, deleted };
    oracle.push(&Record::LeaseGrant { revision: 5, id: 7, ttl_secs: 60 }).unwrap();
    let mutations = vec![put("e", 7), put("d", 7), put("f", 0)];
    oracle.push(&Record::Transaction { revision: 6, mutations }).unwrap();
    let again = Record::LeaseGrant { revision: 6, id: 7, ttl_secs: 60 };
    for wrong in [again, revoke(7, 7, 1), revoke(6, 7, 2), revoke(7, 8, 0)] {
        assert_eq!(oracle.push(&wrong).unwrap_err().kind(), ErrorKind::Corrupt, "{wrong:?}");
    }
    oracle.push(&revoke(7, 7, 2)).unwrap();
    let keys: Vec<_> = oracle.events(7).iter().map(|event| event.kv.key()).collect();
    assert_eq!((oracle.revision(), keys), (7, vec![&b"d"[..], b"e"]));
    assert_eq!(oracle.get_at(b"d", 7), None);
    oracle.push(&Record::LeaseGrant { revision: 7, id: 7, ttl_secs: 60 }).unwrap();
    oracle.push(&revoke(7, 7, 0)).unwrap(); // nothing was attached
    assert_eq!(oracle.revision(), 7);
}

#[test]
fn a_history_may_start_with_the_keys_of_a_revision() {
    let whole = oracle();
    let kvs: Vec<_> = whole.range_at(&KeyRange::all(), 3).cloned().collect();
    assert_eq!(kvs.len(), 3);
    let mut later = Oracle::starting_with(3, kvs);
    for revision in 4..=5 {
        let mutations = match revision {
            4 => vec![put("a", "2")],
            _ => vec![Mutation::Delete { range: KeyRange::range("a", "c"), deleted: 2 }],
        };
        later.push(&Record::Transaction { revision, mutations }).unwrap();
        assert_eq!(later.events(revision), whole.events(revision));
    }
    assert_eq!(later.get_at(b"a", 4).unwrap().value(), b"2");
    assert_eq!(later.get_at(b"a", 5), None);
}

#[test]
fn fragments_are_whole_revisions_in_parts() {
    let part = |at: usize, more| WatchBatch {
        revision: 3,
        events: [batch(3).events[at].clone()].into(),
        more,
    };
    let rest = || [batch(4), batch(5)];
    let with = |parts: &[WatchBatch]| told([&[batch(2)], parts, &rest()].concat());
    assert_eq!(broken(&with(&[part(0, true), part(1, false)])), None);
    assert_eq!(broken(&with(&[part(0, true)])), Some(Guarantee::Atomic));
    assert_eq!(broken(&with(&[part(0, true), notice(3), part(1, false)])), Some(Guarantee::Atomic));
    let swapped = with(&[part(1, true), part(0, false)]);
    assert_eq!(broken(&swapped), Some(Guarantee::Ordered));
    assert_eq!(broken(&with(&[part(0, true), part(0, false)])), Some(Guarantee::Unique));
    // One that broke off claims nothing, and is where a watch goes on.
    let mut cut = told(vec![batch(2), part(0, true)]);
    assert_eq!((broken(&cut), cut.next_revision()), (Some(Guarantee::Reliable), 3));
    cut.complete_to = 2;
    assert_eq!(broken(&cut), None);
}
