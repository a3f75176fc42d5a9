//! Makes whole revisions of a watch's responses. Free of IO.
//!
//! etcd sends responses of one or more whole revisions, ascending (`eventBatch.add` cuts a long history
//! only between two revisions), and a response in fragments if it is large: those may cut a revision.
//! The header of a response with events is not believed: of a history that was cut it is ahead of what
//! follows.

use std::collections::VecDeque;

use bytes::Bytes;

use super::failure::{Failure, corrupt, expired};
use super::list::object;
use super::messages::{
    DELETE, EVERY_WATCH, Event, KeyValue, PUT, WatchResponse, revision_of, unsigned,
};
use crate::error::Result;
use crate::object::{Change, Revision};
use crate::source::SourceEvent;

/// What a watch has told.
#[derive(Debug)]
pub(super) struct Join {
    prefix: Bytes,
    /// The watch is of all keys: what is not under the prefix only tells how far it is.
    all_keys: bool,
    watch_id: i64,
    /// The last whole revision of the watch; at first the one that it begins after.
    told: u64,
    /// The revision or progress that was told last.
    reached: u64,
    /// A revision of which more may follow.
    held: Option<Revision>,
}

impl Join {
    /// For a watch of `prefix` after a revision, as the server numbered it.
    pub(super) fn new(prefix: Bytes, all_keys: bool, watch_id: i64, after: u64) -> Self {
        Self { prefix, all_keys, watch_id, told: after, reached: after, held: None }
    }

    /// Takes the next response, and puts what is complete into `out`, also if it fails.
    pub(super) fn take(
        &mut self,
        response: WatchResponse,
        out: &mut VecDeque<SourceEvent>,
    ) -> Result<(), Failure> {
        let ours = [self.watch_id, EVERY_WATCH].contains(&response.watch_id);
        if response.canceled && ours {
            let compacted = unsigned(response.compact_revision);
            return Err(Failure::canceled(&response.cancel_reason, compacted));
        }
        if !ours {
            return Err(Failure::tell(corrupt("it is of another watch")));
        }
        if response.events.is_empty() {
            // Between two fragments it would be early.
            if !response.created && self.held.is_none() {
                self.progress(revision_of(response.header.as_ref()), out);
            }
            return Ok(());
        }
        for event in response.events {
            self.event(event, out).map_err(Failure::tell)?;
        }
        if !response.fragment {
            self.complete(out).map_err(Failure::tell)?;
            // What was for others only says how far the watch is.
            self.progress(self.told, out);
        }
        Ok(())
    }

    /// What is repeated or old is left out: it says nothing.
    fn progress(&mut self, revision: u64, out: &mut VecDeque<SourceEvent>) {
        if revision > self.reached {
            self.reached = revision;
            out.push_back(SourceEvent::Progress(revision));
        }
    }

    fn event(&mut self, event: Event, out: &mut VecDeque<SourceEvent>) -> Result<()> {
        let kv = event.kv.ok_or_else(|| corrupt("an event has no key"))?;
        let revision = unsigned(kv.mod_revision);
        if self.held.as_ref().is_some_and(|held| held.revision < revision) {
            self.complete(out)?;
        }
        let last = self.held.as_ref().map_or(self.told + 1, |held| held.revision);
        if revision < last {
            // What else is not as it was told?
            return Err(expired("what a watch goes back to", self.told.max(1)));
        }
        let held = self.held.get_or_insert(Revision { revision, changes: Vec::new() });
        if kv.key.starts_with(&self.prefix) {
            held.changes.push(change(event.kind, kv)?);
        } else if !self.all_keys {
            return Err(corrupt("a key is outside of what is watched"));
        }
        Ok(())
    }

    /// Nothing more of the revision that is held follows.
    fn complete(&mut self, out: &mut VecDeque<SourceEvent>) -> Result<()> {
        let Some(held) = self.held.take() else { return Ok(()) };
        // An empty store is at 1, and each further revision changes a key.
        if self.all_keys && held.revision != self.told.max(1) + 1 {
            return Err(expired("a revision that a watch of all keys left out", held.revision));
        }
        self.told = held.revision;
        if !held.changes.is_empty() {
            self.reached = self.reached.max(held.revision);
            out.push_back(SourceEvent::Revision(held));
        }
        Ok(())
    }
}

fn change(kind: i32, kv: KeyValue) -> Result<Change> {
    match kind {
        PUT if kv.create_revision < 1 || kv.create_revision > kv.mod_revision => {
            Err(corrupt("an object was created after it was written"))
        }
        PUT => Ok(Change::Put(object(kv))),
        DELETE => Ok(Change::Delete(kv.key)),
        _ => Err(corrupt("an event is neither a put nor a deletion")),
    }
}

#[cfg(test)]
mod tests;
