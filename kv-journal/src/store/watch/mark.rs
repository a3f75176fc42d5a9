//! How far the store has published, for the one who tells the watchers.

use std::task::Waker;

use super::sync::Mutex;

/// The newest published revision, and whoever waits for the next one.
///
/// The publisher holds the lock for some nanoseconds: it stores a number and takes a waker.
pub(super) struct Mark {
    state: Mutex<State>,
}

struct State {
    revision: u64,
    closed: bool,
    waiting: Option<Waker>,
}

/// What there is beyond a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond {
    /// The store has come to this revision.
    Revision(u64),
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

impl Mark {
    pub(super) fn new(revision: u64) -> Self {
        Self { state: Mutex::new(State { revision, closed: false, waiting: None }) }
    }

    /// The state of `revision` can be read from now on.
    pub(super) fn raise(&self, revision: u64) {
        let mut state = self.state.lock();
        state.revision = revision;
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// What there is beyond `seen`. If nothing, then `waiting` is woken once there is: looking and
    /// waiting are one step, so nothing comes between.
    pub(super) fn beyond(&self, seen: u64, waiting: Option<&Waker>) -> Beyond {
        let mut state = self.state.lock();
        if state.revision > seen {
            return Beyond::Revision(state.revision);
        }
        if state.closed {
            return Beyond::Closed;
        }
        if let Some(waiting) = waiting {
            state.waiting = Some(waiting.clone());
        }
        Beyond::Nothing
    }
}
