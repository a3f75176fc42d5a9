//! Where a stream hears which of its watchers there is something for.

use std::collections::VecDeque;
use std::task::Waker;

use super::sync::Mutex;

/// The one thing that the teller of events and the reader of a stream share.
///
/// It holds the places of watchers, never events. A watcher is put in once and not again until the
/// reader has looked at it ([`Feed`](super::feed::Feed)), so it is as long as the stream has
/// watchers at most.
pub(super) struct Inbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ready: Vec<u32>,
    closed: bool,
    reader: Option<Waker>,
}

/// Whom to wake, once no lock is held.
#[must_use = "the reader sleeps until it is woken"]
pub(super) struct Wake(pub(super) Option<Waker>);

impl Wake {
    pub(super) fn wake(self) {
        if let Some(waker) = self.0 {
            waker.wake();
        }
    }
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State::default()) }
    }

    /// There is something for the watcher in this place.
    pub(super) fn put(&self, place: u32) -> Wake {
        let mut state = self.state.lock();
        state.ready.push(place);
        Wake(state.reader.take())
    }

    /// Nobody will put anything in any more.
    pub(super) fn close(&self) -> Wake {
        let mut state = self.state.lock();
        state.closed = true;
        Wake(state.reader.take())
    }

    /// The reader is to look again for another reason.
    pub(super) fn nudge(&self) -> Wake {
        Wake(self.state.lock().reader.take())
    }

    /// Takes what has come and says whether that was all. `reader` is woken at
    /// whatever comes after that: taking and waiting are one step, so nothing comes between.
    pub(super) fn take(&self, reader: &Waker, into: &mut VecDeque<u32>) -> bool {
        let mut state = self.state.lock();
        into.extend(state.ready.drain(..));
        if state.ready.capacity() > KEPT {
            state.ready = Vec::new();
        }
        if !state.reader.as_ref().is_some_and(|waiting| waiting.will_wake(reader)) {
            state.reader = Some(reader.clone());
        }
        state.closed
    }
}

/// Places for which memory is kept between events.
const KEPT: usize = 64;
