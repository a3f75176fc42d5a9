//! The versions of one key as a chain, from the newest to the oldest that is retained.
//!
//! Every version refers to the one before it, or to the delete before it. What a key was at a past
//! revision is found by going back from its newest version, so that a write costs no more than one
//! link and the past needs no index. A version whose [depth](KeyValue::depth) is a multiple of
//! [`STRIDE`] also refers to one that is a power of it further back, so that going back over `n`
//! versions costs `O(log² n)` steps, up to the longest link: a skip list that grows at one end. Chains
//! that are loaded from a checkpoint have longer links within each frame.
//!
//! The sweep [cuts](Past::cut) a chain behind the oldest version that any revision sees. It does so
//! while readers go along the same chain: the links of each version are behind a lock of their own,
//! and [`Pins`](super::pins::Pins) tell what any reader may still need. A longer link that goes
//! beyond the cut holds the one version that it leads to, and nothing behind that, until the version
//! that it belongs to is compacted, too.

use parking_lot::Mutex;

use super::value::KeyValue;

/// A version in this many has a longer link.
const STRIDE: u32 = 16;

/// No link goes further back than this.
const LONGEST: u32 = STRIDE * STRIDE * STRIDE * STRIDE;

/// What was before a version of a key.
#[derive(Default)]
pub(crate) struct Past {
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    prev: Option<KeyValue>,
    /// One further back, never in the place of `prev`.
    jump: Option<KeyValue>,
}

impl Past {
    /// The past of a version at `depth` that follows `prev`.
    pub(super) fn after(prev: Option<KeyValue>, depth: u32) -> Self {
        let jump = prev.as_ref().and_then(|prev| jump(prev, depth));
        Self { links: Mutex::new(Links { prev, jump }) }
    }

    /// The version before, unless there was none or it was unlinked.
    pub(super) fn prev(&self) -> Option<KeyValue> {
        self.links.lock().prev.clone()
    }

    /// Lets go of everything before.
    pub(super) fn cut(&self) {
        let cut = std::mem::take(&mut *self.links.lock());
        // What it held is freed after the lock is let go of.
        drop(cut);
    }

    /// Links a version to the one before it that was made apart from it.
    pub(super) fn link(&self, prev: KeyValue) {
        self.links.lock().prev = Some(prev);
    }
}

/// What the version at `depth`, which follows `prev`, refers to beside it.
fn jump(prev: &KeyValue, depth: u32) -> Option<KeyValue> {
    if depth == 0 || !depth.is_multiple_of(STRIDE) {
        return None;
    }
    let mut back = STRIDE;
    while back < LONGEST && depth.is_multiple_of(back * STRIDE) {
        back *= STRIDE;
    }
    let target = depth.saturating_sub(back);
    let mut at = prev.clone();
    while at.depth() > target {
        at = step(&at, |jump| jump.depth() >= target)?;
    }
    Some(at)
}

/// One step back, a long one if there is one that `may` be taken.
fn step(at: &KeyValue, may: impl Fn(&KeyValue) -> bool) -> Option<KeyValue> {
    let links = at.past().links.lock();
    links.jump.as_ref().filter(|jump| may(jump)).or(links.prev.as_ref()).cloned()
}

/// The version or delete at `revision`, or the last one before, of the key whose newest is given.
pub(super) fn at_revision(newest: &KeyValue, revision: u64) -> Option<KeyValue> {
    let mut at = newest.clone();
    while at.mod_revision() > revision {
        at = step(&at, |jump| jump.mod_revision() > revision)?;
    }
    Some(at)
}

/// The newest version and those before it, in this order.
pub(super) fn chain(newest: KeyValue) -> impl Iterator<Item = KeyValue> {
    std::iter::successors(Some(newest), |at| at.past().prev())
}

impl Drop for Past {
    /// Frees a chain in a loop: one call for each version would overflow the stack.
    fn drop(&mut self) {
        let mut links = std::mem::take(self.links.get_mut());
        let mut aside = Vec::new();
        loop {
            aside.extend(links.jump);
            let Some(kv) = links.prev.or_else(|| aside.pop()) else {
                return;
            };
            // If others let go of it at this moment, it is the last of them who goes on.
            links = if kv.is_last() {
                std::mem::take(&mut *kv.past().links.lock())
            } else {
                Links::default()
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::value::Meta;

    fn extended(prev: Option<KeyValue>, mod_revision: u64) -> KeyValue {
        let version = prev.as_ref().map_or(1, |prev| prev.version() + 1);
        let meta = Meta { mod_revision, version, ..Meta::default() };
        KeyValue::following(prev, b"k", b"v", meta, 0)
    }

    /// Versions at the even revisions up to `2 * versions`.
    fn chain_of(versions: u64) -> KeyValue {
        (2..=versions).fold(extended(None, 2), |newest, v| extended(Some(newest), 2 * v))
    }

    fn steps_to(newest: &KeyValue, revision: u64) -> usize {
        let mut steps = 0;
        let mut at = newest.clone();
        while at.mod_revision() > revision {
            at = step(&at, |jump| jump.mod_revision() > revision).unwrap();
            steps += 1;
        }
        steps
    }

    #[test]
    fn every_revision_is_found_in_few_steps() {
        let newest = chain_of(100_000);
        for revision in [2, 3, 31, 512, 513, 99_999, 131_072, 199_998, 199_999, 200_000] {
            let found = at_revision(&newest, revision).unwrap();
            assert_eq!(found.mod_revision(), revision / 2 * 2);
            assert!(steps_to(&newest, revision) < 256, "{}", steps_to(&newest, revision));
        }
        assert!(at_revision(&newest, 1).is_none());
    }

    #[test]
    fn a_cut_frees_what_was_before_and_nothing_else() {
        let newest = chain_of(1000);
        let versions: Vec<_> = chain(newest.clone()).collect();
        at_revision(&newest, 1000).unwrap().past().cut();
        let left: Vec<_> = chain(newest.clone()).map(|kv| kv.mod_revision()).collect();
        assert_eq!((left.len(), left.last()), (501, Some(&1000)));
        assert!(at_revision(&newest, 999).is_none());
        versions.iter().skip(500).for_each(|kv| kv.past().cut());
        // Longer links are still there of those that are not cut.
        let held = versions.iter().skip(501).filter(|kv| !kv.is_last()).count();
        assert!(held <= 500 / 16, "{held}");
    }

    #[test]
    fn a_long_chain_is_dropped_without_a_deep_stack() {
        let newest = chain_of(1 << 20);
        let middle = at_revision(&newest, 1 << 20).unwrap();
        drop(newest);
        assert_eq!(at_revision(&middle, 2).unwrap().version(), 1);
    }
}
