//! What was before a version of an object.
//!
//! Every version that the log retains refers to the one before it, so that any retained revision is
//! read from the newest versions by going back, and neither states nor indexes have to be kept for
//! it. A second link jumps further back: with both, going back over `n` versions costs `O(log n)`
//! (Myers, "An applicative random-access stack", 1983).
//!
//! When a revision leaves the log its versions go on [behind](Past::skip) what was just before them,
//! which nobody reads any more, unless somebody holds a snapshot from then. Readers of older states
//! may go along the same links meanwhile: they are told that what they look for is [`Lost`].

use std::sync::atomic::{AtomicU64, Ordering};

use super::object::{Link, Object};

/// What was asked for has left the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

/// The one writer changes it while others read: nobody waits for anybody.
pub(crate) struct Past {
    before: Link,
    /// Further back than the version before, or that.
    jump: Link,
    /// From this revision on, up to that of the version whose past this is, what was there is lost.
    /// It is set before the links are, and looked at after them.
    lost_from: AtomicU64,
    /// The place in the chain of the key's versions; begins again after 2^32.
    depth: u32,
}

/// Nothing is lost.
const NONE_LOST: u64 = u64::MAX;

impl Past {
    /// The past of a version that comes after `before`.
    pub(crate) fn after(before: Option<&Object>) -> Self {
        Self {
            before: Link::new(before.cloned()),
            jump: Link::new(before.map(jump)),
            lost_from: AtomicU64::new(NONE_LOST),
            depth: before.map_or(0, |before| before.past().depth.wrapping_add(1)),
        }
    }

    /// The version before, where there was one.
    pub(crate) fn before(&self) -> Result<Object, Lost> {
        let before = self.before.get();
        if self.lost_from() == NONE_LOST { before.ok_or(Lost) } else { Err(Lost) }
    }

    /// One step back towards `revision`, not beyond the first version at or before it.
    pub(crate) fn towards(&self, revision: u64) -> Result<Option<Object>, Lost> {
        let jump = self.jump.get().filter(|jump| jump.revision() > revision);
        let step = jump.or_else(|| self.before.get());
        if revision >= self.lost_from() { Err(Lost) } else { Ok(step) }
    }

    /// The revision of the version that is linked before this one.
    pub(crate) fn begins(&self) -> Option<u64> {
        self.before.get().map(|before| before.revision())
    }

    /// Lets go of the version before, and goes on with what is behind that.
    pub(crate) fn skip(&self) {
        let Some(before) = self.before.get() else { return };
        let lost_from = before.past().lost_from().min(before.revision());
        self.lost_from.store(lost_from, Ordering::SeqCst);
        let behind = before.past().before.get();
        self.before.set(behind.clone());
        self.jump.set(behind);
    }

    fn lost_from(&self) -> u64 {
        self.lost_from.load(Ordering::SeqCst)
    }
}

/// Where the version after this one jumps to.
fn jump(before: &Object) -> Object {
    let depth = before.past().depth;
    let jump = before.past().jump.get().and_then(|first| {
        let second = first.past().jump.get()?;
        let (near, far) = (first.past().depth, second.past().depth);
        let same = depth.wrapping_sub(near) == near.wrapping_sub(far);
        same.then_some(second)
    });
    jump.unwrap_or_else(|| before.clone())
}

impl Drop for Past {
    /// Frees what was before in a loop: one call for each version would overflow the stack.
    fn drop(&mut self) {
        let (mut before, mut jump) = (self.before.take(), self.jump.take());
        let mut aside = Vec::new();
        loop {
            // Most jump to the one before.
            let same = jump.as_ref().zip(before.as_ref()).is_some_and(|(a, b)| a.is_same(b));
            aside.extend(jump.take().filter(|_| !same));
            let Some(next) = before.take().or_else(|| aside.pop()) else { return };
            // If others let go of it at this moment, it is the last of them who goes on.
            if next.is_last() {
                (before, jump) = (next.past().before.take(), next.past().jump.take());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::object::{Builder, Newest};
    use super::*;
    use crate::object::SourceObject;

    fn put(revision: u64, before: Option<&Object>) -> Object {
        let (key, value) = ("k".into(), "".into());
        let object = SourceObject { key, value, create_revision: 2, mod_revision: revision };
        Builder::default().put(&object, &[], revision, before)
    }

    /// Versions at the even revisions from 2 on, all of them, the oldest first.
    fn versions(count: u64) -> Vec<Object> {
        let mut all: Vec<Object> = Vec::new();
        for number in 1..=count {
            let next = put(2 * number, all.last());
            all.push(next);
        }
        all
    }

    fn steps(newest: &Object, revision: u64) -> usize {
        let (mut at, mut steps) = (newest.clone(), 0);
        while at.revision() > revision {
            at = at.past().towards(revision).unwrap().unwrap();
            steps += 1;
        }
        steps
    }

    #[test]
    fn every_revision_is_found_in_few_steps() {
        let all = versions(100_000);
        let newest = all.last().unwrap();
        for revision in [2, 3, 512, 65_535, 65_536, 131_073, 199_998, 199_999, 200_000, 300_000] {
            let found = newest.at(revision).unwrap().unwrap();
            assert_eq!(found.revision(), revision.min(200_000) & !1);
            assert!(steps(newest, revision) < 60, "{revision}: {}", steps(newest, revision));
        }
        assert!(newest.at(1).unwrap().is_none());
    }

    #[test]
    fn what_was_skipped_is_lost_and_the_rest_is_there() {
        let all = versions(1000);
        let newest = all.last().unwrap();
        // The 100th and the 300th are kept, as if somebody held snapshots from then.
        for (at, version) in all.iter().enumerate().take(500) {
            if at != 100 && at != 300 {
                version.past().skip();
            }
        }
        for number in 1..=1000u64 {
            let found = newest.at(2 * number).map(|found| found.map(|found| found.revision()));
            let kept = number >= 500 || number == 100 || number == 300;
            let expected = if kept { Ok(Some(2 * number)) } else { Err(Lost) };
            // A longer link may still lead to one that was skipped.
            assert!(found == expected || found == Ok(Some(2 * number)), "{number}: {found:?}");
        }
        assert_eq!(all[499].replaced().unwrap_err(), Lost);
        assert_eq!(all[500].replaced().unwrap().unwrap().revision(), 1000);
        assert!(newest.at(1).unwrap().is_none());
    }

    #[test]
    fn a_reader_beside_the_writer_finds_what_was_there_or_that_it_is_lost() {
        const LAST: u64 = 400_000;
        const KEPT: usize = 4;
        let newest = Newest::new(put(2, None));
        std::thread::scope(|scope| {
            for back in 1..=3 {
                let newest = &newest;
                scope.spawn(move || {
                    let mut found = 0;
                    loop {
                        let now = newest.get().revision();
                        for revision in now.saturating_sub(4 * back)..=now {
                            if let Ok(at) = newest.get().at(revision) {
                                let at = at.map(|at| at.revision());
                                assert_eq!(at, Some(revision & !1).filter(|at| *at > 0));
                                found += 1;
                            }
                        }
                        if now == 2 * LAST {
                            break;
                        }
                    }
                    assert!(found > 0);
                });
            }
            let mut log = std::collections::VecDeque::new();
            for number in 2..=LAST {
                let next = put(2 * number, Some(&newest.get()));
                newest.set(next.clone());
                log.push_back(next);
                if log.len() > KEPT {
                    log.pop_front().unwrap().past().skip();
                }
            }
        });
    }

    /// How many versions can be reached by all links.
    fn reachable(newest: &Object) -> usize {
        let mut seen = std::collections::HashSet::new();
        let mut next = vec![newest.clone()];
        while let Some(version) = next.pop() {
            if seen.insert(version.revision()) {
                next.extend(version.past().before().ok());
                next.extend(version.past().jump.get());
            }
        }
        seen.len()
    }

    #[test]
    fn what_is_skipped_is_freed_but_for_a_few() {
        let mut all = versions(10_000);
        all[..9_000].iter().for_each(|version| version.past().skip());
        let newest = all.pop().unwrap();
        drop(all);
        let reachable = reachable(&newest);
        assert!((1_001..1_020).contains(&reachable), "{reachable}");
    }

    #[test]
    fn a_long_chain_is_freed_without_recursion() {
        let mut all = versions(1_000_000);
        let newest = all.pop();
        drop(all);
        drop(newest);
    }

    #[test]
    fn a_delete_is_nothing_to_read_and_replaces_what_was_there() {
        let first = put(2, None);
        let deleted = first.delete(3);
        let again = put(5, Some(&deleted));
        assert!(deleted.replaced().unwrap().unwrap().is_same(&first));
        assert!(again.replaced().unwrap().is_none());
        let at = |revision| again.at(revision).unwrap().map(|version| version.revision());
        assert_eq!([1, 2, 3, 4, 5, 6].map(at), [None, Some(2), None, None, Some(5), Some(5)]);
    }
}
