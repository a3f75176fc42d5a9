//! What a feed keeps, for whom, and for how long.

use std::sync::Arc;

use super::feed::{Feed, RECENT, RECENT_BYTES, Take};
use super::inbox::Inbox;

fn drain(feed: &Feed<u64>, seat: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    loop {
        match feed.take(seat).unwrap() {
            Take::Post { revision, last, .. } => {
                seen.push(revision);
                if last {
                    return seen;
                }
            }
            Take::Behind { from, to } => {
                seen.extend(from..=to);
                feed.resume(seat, to + 1);
            }
            Take::Parked { .. } => return seen,
        }
    }
}

fn tell(feed: &Feed<u64>, revision: u64) {
    assert!(feed.post(revision, 1, revision));
    announce(feed, revision, 0, usize::MAX, None);
}

fn announce(feed: &Feed<u64>, revision: u64, from: usize, budget: usize, next: Option<usize>) {
    let mut budget = budget;
    assert_eq!(feed.announce(revision, from, &mut budget, &mut Vec::new()), next);
}

#[test]
fn what_all_have_read_is_forgotten() {
    let feed = Feed::new(1);
    let inbox = Arc::new(Inbox::new());
    let (a, _) = feed.join(Arc::clone(&inbox), 0, 1);
    let (b, _) = feed.join(Arc::clone(&inbox), 1, 1);
    tell(&feed, 5);
    assert_eq!(drain(&feed, a), [5]);
    assert_eq!(feed.kept(), 1);
    assert_eq!(drain(&feed, b), [5]);
    assert_eq!(feed.kept(), 0);
    tell(&feed, 6);
    drain(&feed, a);
    assert_eq!(feed.kept(), 1);
    assert!(!feed.leave(b)); // nobody is left who has not read it
    assert_eq!(feed.kept(), 0);
    assert!(feed.leave(a));
}

#[test]
fn a_slow_member_reads_the_log_and_then_what_is_kept() {
    let feed = Feed::new(1);
    let inbox = Arc::new(Inbox::new());
    let (slow, _) = feed.join(Arc::clone(&inbox), 0, 1);
    let last = RECENT as u64 + 10;
    (4..=last).for_each(|revision| tell(&feed, revision));
    assert_eq!(feed.kept(), RECENT);
    // It was told of revision 4 first, so that is where it looks in the log.
    assert_eq!(feed.take(slow), Some(Take::Behind { from: 4, to: 10 }));
    assert_eq!(drain(&feed, slow), (4..=last).collect::<Vec<_>>());
    let large = last + 1;
    assert!(feed.post(large, RECENT_BYTES + 1, large));
    assert_eq!(feed.kept(), 0);
    announce(&feed, large, 0, usize::MAX, None);
    assert_eq!(feed.take(slow), Some(Take::Behind { from: large, to: large }));
}

#[test]
fn who_joins_late_or_for_later_gets_what_was_asked_for() {
    let feed = Feed::new(10);
    let inbox = Arc::new(Inbox::new());
    let (early, parked) = feed.join(Arc::clone(&inbox), 0, 4);
    assert!(!parked);
    assert_eq!(drain(&feed, early), (4..10).collect::<Vec<_>>());
    let (future, parked) = feed.join(Arc::clone(&inbox), 1, 13);
    assert!(parked);
    assert!(!feed.post(9, 1, 9)); // the group is younger
    for revision in 10..15 {
        tell(&feed, revision);
    }
    let (late, parked) = feed.join(Arc::clone(&inbox), 2, 12);
    assert!(!parked);
    assert_eq!(drain(&feed, future), [13, 14]);
    assert_eq!(drain(&feed, late), [12, 13, 14]);
    assert_eq!(drain(&feed, early), [10, 11, 12, 13, 14]);
    assert_eq!(feed.kept(), 0);
}

#[test]
fn a_member_that_reads_before_it_is_told_misses_nothing() {
    let feed = Feed::new(1);
    let inbox = Arc::new(Inbox::new());
    let seats: Vec<_> = (0..3).map(|at| feed.join(Arc::clone(&inbox), at, 1).0).collect();
    assert!(feed.post(2, 1, 2));
    announce(&feed, 2, 0, 1, Some(1));
    assert_eq!(drain(&feed, seats[0]), [2]);
    assert_eq!(drain(&feed, seats[2]), [2]); // before its turn
    assert_eq!(feed.kept(), 1); // the second has not read it
    announce(&feed, 2, 1, 9, None);
    assert_eq!(drain(&feed, seats[1]), [2]);
    assert_eq!(drain(&feed, seats[2]), []);
    assert_eq!(feed.kept(), 0);
}

#[test]
fn lost_revisions_are_looked_for_by_those_who_may_want_them() {
    let feed = Feed::<u64>::new(1);
    let inbox = Arc::new(Inbox::new());
    let (parked, _) = feed.join(Arc::clone(&inbox), 0, 1);
    let (soon, _) = feed.join(Arc::clone(&inbox), 1, 25);
    let (future, _) = feed.join(Arc::clone(&inbox), 2, 40);
    feed.skip(20, 30, &mut Vec::new());
    assert_eq!(feed.take(parked), Some(Take::Behind { from: 20, to: 29 }));
    assert_eq!(feed.take(soon), Some(Take::Behind { from: 25, to: 29 }));
    assert_eq!(feed.take(future), Some(Take::Parked { next: 40 }));
}
