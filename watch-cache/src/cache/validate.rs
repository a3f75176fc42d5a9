//! The oracle at run time: watches that are checked while they run.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Cache;
use super::cursor::Cursor;
use super::shared::Shared;
use super::stats::add;
use crate::core::event::WatchEvent;
use crate::core::past::Lost;
use crate::core::predicate::Predicate;
use crate::error::{Error, ErrorKind, Result};
use crate::oracle::{Follower, Violation};

/// So many events, and as many as there are objects in the watch, come between two comparisons of
/// what they have led to with the state.
const COMPARED_AFTER: usize = 64;

/// Follows one watch, and ends it when it breaks a guarantee.
pub(super) struct Validator {
    shared: Arc<Shared>,
    predicate: Arc<Predicate>,
    follower: Follower,
    heard: usize,
}

impl Validator {
    /// Takes what the watch is told, with the revision that it has come to where it follows the log.
    ///
    /// # Errors
    ///
    /// `Corrupt` with the violation.
    pub(super) fn hear(&mut self, events: &[WatchEvent], reached: Option<u64>) -> Result<()> {
        self.heard += events.len();
        let heard = events.iter().try_for_each(|event| self.follower.hear(event));
        let heard = heard.and_then(|()| reached.map_or(Ok(()), |reached| self.compare(reached)));
        heard.map_err(|violation| self.shared.violated(violation))
    }

    /// Compares with the state, if that is what the watch has come to and it is time to.
    fn compare(&mut self, reached: u64) -> Result<(), Violation> {
        if self.heard < COMPARED_AFTER + self.follower.len() {
            return Ok(());
        }
        let view = self.shared.view();
        if view.root.revision > reached {
            return Ok(());
        }
        let now = view.root.select_at(&self.predicate, None, view.root.revision);
        // What was written meanwhile may be lost: the next time then.
        let Ok(objects) = now.collect::<Result<Vec<_>, Lost>>() else { return Ok(()) };
        self.heard = 0;
        self.follower.check_state(objects)
    }
}

impl Shared {
    /// Keeps the first violation, and makes the error that ends its watch.
    fn violated(&self, violation: Violation) -> Error {
        add(&self.counters.violations, 1);
        let message = format!("the watch broke a guarantee, begin it anew: {violation}");
        // Later ones are counted.
        let _ = self.violation.set(violation);
        Error::new(ErrorKind::Corrupt, message)
    }
}

impl Cache {
    /// Whether watches that begin from now on are checked as they run: that what they are told is in
    /// order, once, whole and consistent, and leads to the state. It is off at first.
    ///
    /// A watch that breaks a guarantee ends with `Corrupt`; [`violation`](Self::violation) has the
    /// first. A checked watch keeps the key of each of its objects, and takes a look at all of them
    /// now and then; one that begins with a revision that left the log is not checked.
    pub fn set_oracle(&self, on: bool) {
        self.shared.oracle.store(on, Ordering::Relaxed);
    }

    /// The first guarantee that a checked watch broke, with the events before.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.shared.violation.get()
    }

    /// What checks a watch that begins now; nothing if that is not on.
    pub(super) fn validator(
        &self,
        predicate: &Arc<Predicate>,
        cursor: Cursor,
        is_initial: Option<bool>,
    ) -> Option<Box<Validator>> {
        if !self.shared.oracle.load(Ordering::Relaxed) {
            return None;
        }
        let follower = match is_initial {
            Some(true) => Follower::initial(),
            // What it held when it left is not known.
            Some(false) => return None,
            None => {
                let view = self.shared.view();
                let at = cursor.position;
                view.check(at).ok()?;
                let there = view.root.select_at(predicate, None, at.min(view.root.revision));
                Follower::new(at, there.collect::<Result<Vec<_>, Lost>>().ok()?)
            }
        };
        let (shared, predicate) = (Arc::clone(&self.shared), Arc::clone(predicate));
        Some(Box::new(Validator { shared, predicate, follower, heard: 0 }))
    }
}
