//! Where the teller of events and their readers meet, in every order of their steps.
//!
//! The three modules are compiled again, with locks whose every interleaving loom tries.
#![allow(dead_code, unreachable_pub, reason = "the modules are used in part, and from outside")]
#![allow(clippy::unwrap_used, reason = "tests unwrap")]

#[path = "../src/store/watch/feed.rs"]
mod feed;
#[path = "../src/store/watch/inbox.rs"]
mod inbox;
#[path = "../src/store/watch/mark.rs"]
mod mark;

mod sync {
    use loom::sync::MutexGuard;

    pub(super) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(super) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(super) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use loom::future::block_on;
use loom::thread;

use feed::{Feed, Take};
use inbox::{Inbox, Wake};
use mark::{Beyond, Mark};

/// Everything that a watcher in place 0 sees until its inbox is closed. Each revision of the log is
/// one that it wants.
fn read(inbox: &Inbox, feed: &Feed<u64>, seat: usize) -> Vec<u64> {
    let (mut seen, mut ready) = (Vec::new(), VecDeque::new());
    block_on(poll_fn(|cx| {
        let closed = inbox.take(cx.waker(), &mut ready);
        while ready.pop_front().is_some() {
            look(feed, seat, &mut seen);
        }
        if closed { Poll::Ready(()) } else { Poll::Pending }
    }));
    seen
}

fn look(feed: &Feed<u64>, seat: usize, seen: &mut Vec<u64>) {
    loop {
        match feed.take(seat).unwrap() {
            Take::Post { revision, payload, last } => {
                assert_eq!(revision, payload);
                seen.push(revision);
                if last {
                    return;
                }
            }
            Take::Behind { from, to } => {
                seen.extend(from..=to);
                feed.resume(seat, to + 1);
            }
            Take::Parked { .. } => return,
        }
    }
}

fn tell(feed: &Feed<u64>, revision: u64, bytes: usize) {
    assert!(feed.post(revision, bytes, revision));
    let mut seat = Some(0);
    while let Some(from) = seat {
        // One member at a time, so that others come between.
        let mut wakes = Vec::new();
        seat = feed.announce(revision, from, &mut 1, &mut wakes);
        wakes.into_iter().for_each(Wake::wake);
    }
}

#[test]
fn the_teller_hears_of_every_publication_and_of_the_end() {
    loom::model(|| {
        let mark = Arc::new(Mark::new(1));
        let publisher = Arc::clone(&mark);
        let publishing = thread::spawn(move || {
            publisher.raise(2);
            publisher.raise(3);
            publisher.close();
        });
        let mut seen = 1;
        block_on(poll_fn(|cx| {
            loop {
                match mark.beyond(seen, Some(cx.waker())) {
                    Beyond::Revision(revision) => {
                        assert!(revision > seen);
                        seen = revision;
                    }
                    Beyond::Nothing => return Poll::Pending,
                    Beyond::Closed => return Poll::Ready(()),
                }
            }
        }));
        assert_eq!(seen, 3);
        publishing.join().unwrap();
    });
}

#[test]
fn a_parked_watcher_is_woken_and_sees_each_revision_once() {
    loom::model(|| {
        let (feed, inbox) = (Arc::new(Feed::new(2)), Arc::new(Inbox::new()));
        let (seat, parked) = feed.join(Arc::clone(&inbox), 0, 2);
        assert!(parked);
        let (posts, end) = (Arc::clone(&feed), Arc::clone(&inbox));
        let telling = thread::spawn(move || {
            tell(&posts, 2, 1);
            tell(&posts, 3, 1);
            end.close().wake();
        });
        assert_eq!(read(&inbox, &feed, seat), [2, 3]);
        telling.join().unwrap();
        assert_eq!(feed.kept(), 0); // it has read everything
    });
}

#[test]
fn what_is_not_kept_is_found_in_the_log() {
    loom::model(|| {
        let (feed, inbox) = (Arc::new(Feed::new(2)), Arc::new(Inbox::new()));
        let (seat, _) = feed.join(Arc::clone(&inbox), 0, 2);
        let (posts, end) = (Arc::clone(&feed), Arc::clone(&inbox));
        let telling = thread::spawn(move || {
            tell(&posts, 2, feed::RECENT_BYTES);
            tell(&posts, 3, feed::RECENT_BYTES);
            end.close().wake();
        });
        assert_eq!(read(&inbox, &feed, seat), [2, 3]);
        telling.join().unwrap();
    });
}

#[test]
fn a_watcher_that_joins_meanwhile_misses_and_repeats_nothing() {
    // Every order with at most two switches where a thread could go on; all are millions.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let (feed, first) = (Arc::new(Feed::new(2)), Arc::new(Inbox::new()));
        let mark = Arc::new(Mark::new(1));
        let (other, _) = feed.join(Arc::clone(&first), 0, 2);
        let inbox = Arc::new(Inbox::new());
        let (posts, published, end) = (Arc::clone(&feed), Arc::clone(&mark), Arc::clone(&inbox));
        let telling = thread::spawn(move || {
            for revision in [2, 3] {
                published.raise(revision);
                tell(&posts, revision, 1);
            }
            end.close().wake();
        });
        let Beyond::Revision(newest) = mark.beyond(0, None) else { panic!("it began at 1") };
        let (seat, parked) = feed.join(Arc::clone(&inbox), 0, newest + 1);
        let mut seen = Vec::new();
        if !parked {
            look(&feed, seat, &mut seen);
        }
        seen.extend(read(&inbox, &feed, seat));
        assert_eq!(seen, (newest + 1..=3).collect::<Vec<_>>());
        telling.join().unwrap();
        assert!(!feed.leave(seat));
        let mut seen = Vec::new();
        look(&feed, other, &mut seen);
        assert_eq!(seen, [2, 3]);
    });
}
