//! What was before a version of an object.
//!
//! Every version that the log retains refers to the one before it, so that any retained revision is
//! read from the newest versions by going back, and neither states nor indexes have to be kept for
//! it. A second link jumps further back: with both, going back over `n` versions costs `O(log n)`
//! (Myers, "An applicative random-access stack", 1983).
//!
//! When a revision leaves the log its versions are [cut](Past::cut) from what was before. Readers
//! of older states may go along the same links meanwhile: they are told that it is [`Lost`].

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

#[derive(Default)]
enum Links {
    /// Nothing at any retained revision.
    #[default]
    Nothing,
    To {
        before: Object,
        jump: Object,
    },
    Cut,
}

impl Past {
    /// The past of a version that comes after `before`.
    pub(crate) fn after(before: Option<&Object>) -> Self {
        let to = |before: &Object| Links::To { before: before.clone(), jump: jump(before) };
        Self {
            depth: before.map_or(0, |before| before.past().depth.wrapping_add(1)),
            links: Mutex::new(before.map_or(Links::Nothing, to)),
        }
    }

    fn jumped(&self) -> Option<Object> {
        match &*self.links.lock() {
            Links::To { jump, .. } => Some(jump.clone()),
            Links::Nothing | Links::Cut => None,
        }
    }

    /// The version before, where there was one.
    pub(crate) fn before(&self) -> Result<Object, Lost> {
        match &*self.links.lock() {
            Links::To { before, .. } => Ok(before.clone()),
            Links::Nothing | Links::Cut => Err(Lost),
        }
    }

    /// One step back towards `revision`, not beyond the first version at or before it.
    pub(crate) fn towards(&self, revision: u64) -> Result<Option<Object>, Lost> {
        match &*self.links.lock() {
            Links::To { jump, .. } if jump.revision() > revision => Ok(Some(jump.clone())),
            Links::To { before, .. } => Ok(Some(before.clone())),
            Links::Nothing => Ok(None),
            Links::Cut => Err(Lost),
        }
    }

    /// Lets go of everything before.
    pub(crate) fn cut(&self) {
        let mut links = self.links.lock();
        if matches!(*links, Links::To { .. }) {
            let before = mem::replace(&mut *links, Links::Cut);
            // What it held is freed after the lock is let go of.
            drop(links);
            drop(before);
        }
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
        let mut links = mem::take(self.links.get_mut());
        let mut aside = Vec::new();
        loop {
            let next = match links {
                Links::To { before, jump } => {
                    if !before.is_same(&jump) {
                        aside.push(jump);
                    }
                    Some(before)
                }
                Links::Nothing | Links::Cut => aside.pop(),
            };
            let Some(next) = next else { return };
            // If others let go of it at this moment, it is the last of them who goes on.
            links = if next.is_last() {
                mem::take(&mut *next.past().links.lock())
            } else {
                Links::Nothing
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
    fn what_was_cut_is_lost_and_the_rest_is_there() {
        let all = versions(1000);
        let newest = all.last().unwrap();
        all[..500].iter().for_each(|version| version.past().cut());
        for number in 1..=1000u64 {
            let found = newest.at(2 * number);
            // The 500th is cut from those before it, and is itself the first that is left.
            let expected = (number >= 500).then_some(2 * number);
            match expected {
                Some(revision) => assert_eq!(found.unwrap().unwrap().revision(), revision),
                // A longer link may still lead to one.
                None => assert!(found.is_err() || found.unwrap().unwrap().revision() == 2 * number),
            }
        }
        assert_eq!(all[499].replaced().unwrap_err(), Lost);
        assert_eq!(all[500].replaced().unwrap().unwrap().revision(), 1000);
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
    fn a_cut_frees_all_but_a_few() {
        let mut all = versions(10_000);
        all[..9_000].iter().for_each(|version| version.past().cut());
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
