//! Watching: very many watchers, of which an event costs only those whom it concerns.
//!
//! ```text
//! publication ─► Mark ─► Pump ─► Hub's index: which groups? ─► Feed: keep, announce ─► Inbox
//!                                                                 ▲                      │
//!                        the state's log ◄─ (far behind) ─ Roster ┴──── which watchers? ◄┘
//! ```
//!
//! A watcher is a cursor over the log of revisions that the state retains. While it keeps up it is
//! parked in the group of those who want the same, and knows without looking that nothing between
//! concerned it. When it does not keep up it reads the log. Nothing is queued for it, so a slow
//! watcher costs nothing and stalls nobody. It loses nothing either, until a compaction passes what
//! it has not seen; then it is told so and ends.
//!
//! `Mark`, `Inbox` and `Feed` are where threads meet; `tests/watch_handshake.rs` tries every order
//! of their steps. Locks are taken in this order: roster, index, feed, inbox; no waker is woken
//! under any of the last three.

mod feed;
#[cfg(test)]
mod feed_tests;
mod fragments;
mod group;
mod hub;
mod inbox;
mod mark;
mod progress;
mod pump;
mod request;
mod roster;
mod stream;
mod sync;
mod watcher;

pub(super) use hub::Hub;
pub use pump::WatchDriver;
pub(super) use pump::{Pump, Step};
pub use request::{WatchBatch, WatchRequest};
pub use stream::{WatchHandle, WatchMessage, WatchStream};
pub use watcher::Watcher;

use crate::config::Config;

/// What [`Config`] says of watching.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    watchers: usize,
    fragment_bytes: usize,
    progress_ms: u64,
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        Self {
            watchers: config.watch_stream_len,
            fragment_bytes: config.watch_fragment_bytes,
            progress_ms: config.watch_progress_ms,
        }
    }
}
