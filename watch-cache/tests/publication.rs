//! Where the one writer of a cache and its readers meet, in every order of their steps.
//!
//! The four modules are compiled again, with locks and atomics whose every interleaving loom tries.
#![allow(dead_code, unreachable_pub, reason = "the modules are used in part, and from outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests unwrap")]

#[path = "../src/core/bell.rs"]
mod bell;
#[path = "../src/core/mark.rs"]
mod mark;
#[path = "../src/core/pins.rs"]
mod pins;
#[path = "../src/core/publication.rs"]
mod publication;

mod sync {
    use std::sync::Arc;

    use loom::sync::MutexGuard;

    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64};

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    #[derive(Debug)]
    pub(crate) struct Swap<T>(loom::sync::RwLock<Arc<T>>);

    pub(crate) type Held<T> = Arc<T>;

    impl<T> Swap<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(Arc::new(value)))
        }

        pub(crate) fn load(&self) -> Held<T> {
            Arc::clone(&self.0.read().unwrap())
        }

        pub(crate) fn store(&self, value: T) {
            *self.0.write().unwrap() = Arc::new(value);
        }
    }
}

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use loom::future::{AtomicWaker, block_on};
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::mpsc::{Receiver, Sender, channel};
use loom::thread;

use bell::Bell;
use mark::Mark;
use pins::Pins;
use publication::Publication;

const LAST: u64 = 3;

/// Every order with at most four switches where a thread could go on; all are too many.
fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(check);
}

/// The posts of one group: each revision that concerns it, and the one before.
type Posts = Vec<(u64, u64)>;

#[derive(Default)]
struct View {
    epoch: u64,
    revision: u64,
    posts: Posts,
}

struct Group {
    publication: Publication<View>,
    mark: Mark,
    bell: Bell,
    waker: AtomicWaker,
}

impl Group {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            publication: Publication::new(View::default()),
            mark: Mark::new(0, 0, true),
            bell: Bell::new(),
            waker: AtomicWaker::new(),
        })
    }

    /// What a driver does for three revisions one after the other, of which the second does not concern
    /// the group.
    fn publish(&self, mut wake: impl FnMut(&Self)) {
        let (mut posts, mut head) = (Posts::new(), 0);
        for revision in 1..=LAST {
            let concerned = revision != 2;
            if concerned {
                posts.push((revision, head));
                head = revision;
            }
            let view = View { epoch: 0, revision, posts: posts.clone() };
            self.publication.publish(view, revision, false, || self.mark.set_head(head));
            if concerned {
                wake(self);
            }
        }
    }

    /// What a watcher of an epoch does: reads what concerns it above `position`, and says how far it is
    /// then; nothing if all began anew.
    fn read(&self, epoch: u64, position: u64, seen: &mut Vec<u64>) -> Option<u64> {
        let reading = self.publication.read(Some(&self.mark), |view| view.revision);
        if reading.view.epoch != epoch {
            return None;
        }
        let Some(head) = reading.head else {
            let above = |(revision, _): &&(u64, u64)| *revision > position;
            seen.extend(reading.view.posts.iter().filter(above).map(|(revision, _)| revision));
            return Some(position.max(reading.view.revision));
        };
        let (mut at, mut found) = (head, Vec::new());
        while at > position {
            let post = reading.view.posts.iter().find(|(revision, _)| *revision == at);
            found.push(at);
            at = post.expect("what a head leads to is published").1;
        }
        seen.extend(found.into_iter().rev());
        Some(position.max(reading.settled).max(head))
    }
}

fn look(group: &Group, told: &Receiver<()>) -> Vec<u64> {
    let (mut position, mut seen) = (0, Vec::new());
    while position < LAST {
        // Would wait for ever if a wake were lost.
        told.recv().unwrap();
        group.bell.answer();
        position = group.read(0, position, &mut seen).unwrap();
    }
    seen
}

#[test]
fn a_pump_is_told_of_every_publication_and_misses_and_repeats_nothing() {
    model(|| {
        let group = Group::new();
        let (sender, told): (Sender<()>, _) = channel();
        let publisher = Arc::clone(&group);
        let publishing = thread::spawn(move || {
            publisher.publish(|group| {
                if group.bell.ring() {
                    sender.send(()).unwrap();
                }
            });
        });
        assert_eq!(look(&group, &told), [1, LAST]);
        publishing.join().unwrap();
    });
}

#[test]
fn a_task_is_woken_for_every_publication_and_misses_and_repeats_nothing() {
    model(|| {
        let group = Group::new();
        let publisher = Arc::clone(&group);
        let publishing = thread::spawn(move || {
            publisher.publish(|group| group.waker.wake());
        });
        let (mut position, mut seen) = (0, Vec::new());
        block_on(poll_fn(|cx| {
            group.waker.register_by_ref(cx.waker());
            position = group.read(0, position, &mut seen).unwrap();
            if position < LAST { Poll::Pending } else { Poll::Ready(()) }
        }));
        assert_eq!(seen, [1, LAST]);
        publishing.join().unwrap();
    });
}

#[test]
fn where_all_begins_anew_nobody_takes_what_was_before_for_what_is() {
    model(|| {
        let group = Group::new();
        // What concerns the group was published up to 5, and is read up to 3.
        let posts = vec![(2, 0), (5, 2)];
        let view = View { epoch: 0, revision: 5, posts };
        group.publication.publish(view, 5, false, || group.mark.set_head(5));
        let publisher = Arc::clone(&group);
        let publishing = thread::spawn(move || {
            let view = View { epoch: 1, revision: 3, posts: vec![] };
            publisher.publication.publish(view, 3, true, || publisher.mark.set_head(0));
            let view = View { epoch: 1, revision: 4, posts: vec![(4, 0)] };
            publisher.publication.publish(view, 4, false, || publisher.mark.set_head(4));
        });
        let mut seen = Vec::new();
        match group.read(0, 3, &mut seen) {
            Some(reached) => assert!(reached < 5 || seen == [5], "{reached} without {seen:?}"),
            None => assert_eq!(seen, []),
        }
        // Who begins in the new state.
        let view = group.publication.view();
        if view.epoch == 1 {
            let (mut position, mut seen) = (view.revision, Vec::new());
            let begun = position;
            for _ in 0..2 {
                position = group.read(1, position, &mut seen).unwrap();
                assert!(position < 4 || begun == 4 || seen == [4], "{position} without {seen:?}");
                assert!(position <= 4, "{position} is of before");
            }
        }
        publishing.join().unwrap();
    });
}

#[test]
fn what_is_pinned_is_not_forgotten_while_somebody_can_read_it() {
    model(|| {
        let publication = Arc::new(Publication::new(1_u64));
        let (pins, forgotten) = (Arc::new(Pins::default()), Arc::new(AtomicU64::new(0)));
        let (shown, set, gone) =
            (Arc::clone(&publication), Arc::clone(&pins), Arc::clone(&forgotten));
        // Each revision is forgotten once the next is published, unless somebody has pinned it.
        let writing = thread::spawn(move || {
            for revision in 2..=3_u64 {
                shown.publish(revision, revision, false, || ());
                let Some(pinned) = set.raise(revision) else { continue };
                for below in (1..revision).filter(|below| pinned.binary_search(below).is_err()) {
                    gone.fetch_or(1 << below, Ordering::SeqCst);
                }
            }
        });
        let (revision, pin) = loop {
            let revision = *publication.view();
            match pins.pin(revision) {
                Some(pin) => break (revision, pin),
                // It has a successor, which is published.
                None => assert!(*publication.view() > revision),
            }
        };
        for _ in 0..2 {
            assert_eq!(forgotten.load(Ordering::SeqCst) & (1 << revision), 0, "{revision}");
            thread::yield_now();
        }
        drop(pin);
        writing.join().unwrap();
    });
}

#[test]
fn a_revision_is_pinned_until_the_last_lets_go_and_never_too_late() {
    model(|| {
        let pins = Arc::new(Pins::default());
        let (first, second) = (pins.pin(5).unwrap(), pins.pin(5).unwrap());
        let third = pins.pin(3).unwrap();
        assert_eq!(pins.raise(5), Some(vec![3, 5]));
        assert!(pins.pin(4).is_none());
        drop(first);
        drop(third);
        assert_eq!(pins.raise(9), Some(vec![5]));
        drop(second);
        assert_eq!(pins.raise(9), Some(vec![]));
        assert!(pins.pin(9).is_some());
        assert!(pins.pin(7).is_none());
        pins.restart(6);
        assert!(pins.pin(7).is_some());
    });
}
