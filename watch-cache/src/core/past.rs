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

use std::mem;

use parking_lot::Mutex;

use super::object::Object;

/// What was asked for has left the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

pub(crate) struct Past {
    /// The place in the chain of the key's versions; begins again after 2^32.
    depth: u32,
    links: Mutex<Links>,
}

struct Links {
    to: To,
    /// From this revision on, up to that of the version that has the links, what was there is lost.
    lost_from: u64,
}

#[derive(Clone, Default)]
enum To {
    /// Nothing at any revision that can be read.
    #[default]
    Nothing,
    Versions {
        before: Object,
        jump: Object,
    },
}

/// Nothing is lost.
const NONE_LOST: u64 = u64::MAX;

impl Past {
    /// The past of a version that comes after `before`.
    pub(crate) fn after(before: Option<&Object>) -> Self {
        let to = |before: &Object| To::Versions { before: before.clone(), jump: jump(before) };
        let to = before.map_or(To::Nothing, to);
        Self {
            depth: before.map_or(0, |before| before.past().depth.wrapping_add(1)),
            links: Mutex::new(Links { to, lost_from: NONE_LOST }),
        }
    }

    fn jumped(&self) -> Option<Object> {
        match &self.links.lock().to {
            To::Versions { jump, .. } => Some(jump.clone()),
            To::Nothing => None,
        }
    }

    /// The version before, where there was one.
    pub(crate) fn before(&self) -> Result<Object, Lost> {
        let links = self.links.lock();
        match &links.to {
            To::Versions { before, .. } if links.lost_from == NONE_LOST => Ok(before.clone()),
            _ => Err(Lost),
        }
    }

    /// One step back towards `revision`, not beyond the first version at or before it.
    pub(crate) fn towards(&self, revision: u64) -> Result<Option<Object>, Lost> {
        let links = self.links.lock();
        if revision >= links.lost_from {
            return Err(Lost);
        }
        Ok(match &links.to {
            To::Versions { jump, .. } if jump.revision() > revision => Some(jump.clone()),
            To::Versions { before, .. } => Some(before.clone()),
            To::Nothing => None,
        })
    }

    /// The revision of the version that is linked before this one.
    pub(crate) fn begins(&self) -> Option<u64> {
        match &self.links.lock().to {
            To::Versions { before, .. } => Some(before.revision()),
            To::Nothing => None,
        }
    }

    /// Lets go of the version before, and goes on with what is behind that.
    pub(crate) fn skip(&self) {
        let mut links = self.links.lock();
        let To::Versions { before, .. } = &links.to else { return };
        let (behind, lost_from) = before.past().behind();
        links.lost_from = lost_from.min(before.revision());
        let skipped = mem::replace(&mut links.to, behind);
        // What it held is freed after the lock is let go of.
        drop(links);
        drop(skipped);
    }

    /// What a version after this one has to go on with, and what it has to do without.
    fn behind(&self) -> (To, u64) {
        let links = self.links.lock();
        let to = match &links.to {
            To::Versions { before, .. } => {
                To::Versions { before: before.clone(), jump: before.clone() }
            }
            To::Nothing => To::Nothing,
        };
        (to, links.lost_from)
    }
}

/// Where the version after this one jumps to.
fn jump(before: &Object) -> Object {
    let depth = before.past().depth;
    let jump = before.past().jumped().and_then(|first| {
        let second = first.past().jumped()?;
        let (near, far) = (first.past().depth, second.past().depth);
        let same = depth.wrapping_sub(near) == near.wrapping_sub(far);
        same.then_some(second)
    });
    jump.unwrap_or_else(|| before.clone())
}

impl Drop for Past {
    /// Frees what was before in a loop: one call for each version would overflow the stack.
    fn drop(&mut self) {
        let mut to = mem::take(&mut self.links.get_mut().to);
        let mut aside = Vec::new();
        loop {
            let next = match to {
                To::Versions { before, jump } => {
                    if !before.is_same(&jump) {
                        aside.push(jump);
                    }
                    Some(before)
                }
                To::Nothing => aside.pop(),
            };
            let Some(next) = next else { return };
            // If others let go of it at this moment, it is the last of them who goes on.
            to = if next.is_last() {
                mem::take(&mut next.past().links.lock().to)
            } else {
                To::Nothing
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::object::Builder;
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

    /// How many versions can be reached by all links.
    fn reachable(newest: &Object) -> usize {
        let mut seen = std::collections::HashSet::new();
        let mut next = vec![newest.clone()];
        while let Some(version) = next.pop() {
            if seen.insert(version.revision()) {
                next.extend(version.past().before().ok());
                next.extend(version.past().jumped());
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
