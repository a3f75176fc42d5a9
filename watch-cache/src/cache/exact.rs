//! States at exact revisions, made when they are asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;

use crate::core::root::Root;
use crate::core::view::View;
use crate::error::Result;

/// How many lists in pages, each at a revision of its own, find their state again.
const PLACES: usize = 8;

/// The states that were made last. Reading and trimming wait for nobody.
#[derive(Debug, Default)]
pub(super) struct Rebuilt {
    places: [ArcSwapOption<Made>; PLACES],
    next: AtomicUsize,
}

#[derive(Debug)]
struct Made {
    epoch: u64,
    root: Arc<Root>,
}

impl Rebuilt {
    /// The state at `revision`. One that is not kept costs `O(log n)` for each change between it
    /// and the next one kept, and is remembered for the next page.
    pub(super) fn root_at(&self, view: &View, revision: u64) -> Result<Arc<Root>> {
        let state = view.state_at(revision)?;
        let nearest = view.nearest(state);
        if nearest.revision == state {
            return Ok(Arc::clone(nearest));
        }
        let made = |made: &Made| made.epoch == view.epoch && made.root.revision == state;
        let found = self.places.iter().find_map(|place| place.load_full().filter(|one| made(one)));
        if let Some(found) = found {
            return Ok(Arc::clone(&found.root));
        }
        let root = Arc::new(view.rebuild(state));
        let place = self.next.fetch_add(1, Ordering::Relaxed) % PLACES;
        if let Some(place) = self.places.get(place) {
            place.store(Some(Arc::new(Made { epoch: view.epoch, root: Arc::clone(&root) })));
        }
        Ok(root)
    }

    /// Forgets the states that can't be listed any more, so that nothing pins them.
    pub(super) fn trim(&self, view: &View) {
        let left = |made: &Made| {
            made.epoch != view.epoch || made.root.revision < view.made_by(view.oldest)
        };
        for place in &self.places {
            if place.load().as_deref().is_some_and(left) {
                place.store(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::core::state::{Retention, State};
    use crate::object::{Change, Object, Revision};

    fn put(revision: u64) -> Revision {
        let (key, value) = (Bytes::from("a"), Bytes::new());
        let object = Object { key, value, create_revision: 2, mod_revision: revision };
        Revision { revision, changes: vec![Change::Put(Arc::new(object))] }
    }

    #[test]
    fn a_state_is_made_once_and_forgotten_when_it_cannot_be_listed() {
        let retention = Retention {
            log_revisions: 10,
            log_bytes: 1 << 20,
            snapshot_revisions: 4,
            snapshot_bytes: 1 << 20,
            snapshot_changes: 100,
        };
        let mut state = State::<()>::new(&[Bytes::new()], Arc::new([]), retention);
        state.relist(1, vec![], true);
        (2..=6).for_each(|revision| state.apply(put(revision)));
        let (view, rebuilt) = (state.seal(), Rebuilt::default());
        let made = rebuilt.root_at(&view, 4).unwrap();
        assert_eq!(made.get(b"a").unwrap().object.mod_revision, 4);
        assert!(Arc::ptr_eq(&made, &rebuilt.root_at(&view, 4).unwrap()));
        let left = Arc::downgrade(&made);
        drop(made);
        rebuilt.trim(&view);
        assert!(left.upgrade().is_some());
        (7..=8).for_each(|revision| state.apply(put(revision)));
        let view = state.seal();
        assert_eq!(view.oldest, 5);
        rebuilt.trim(&view);
        assert!(left.upgrade().is_none());
    }
}
