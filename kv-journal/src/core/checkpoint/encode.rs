//! A state becomes frames, a small step at a time.

use std::mem;
use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::frame::{HEAD_LEN, Sealer};
use super::header::{Footer, Header};
use super::{
    FOOTER, HEADER, LEASES, LEDGER, ORDER, PROPERTIES, VERSIONS, leases, order, properties,
    versions,
};
use crate::core::mvcc::State;
use crate::core::value::KeyValue;

/// Room in a frame beyond its configured size, for the last version in it: most are shorter.
const SLACK: usize = 4 << 10;

/// The length of the count at the start of a frame of versions.
const COUNT_LEN: usize = 4;

/// What one step came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// The next frame is complete.
    Frame(Bytes),
    /// Nothing yet: go on.
    More,
    /// The last frame was complete.
    End,
}

/// The frames of one state, in order. It holds one frame and the state, which costs a pointer.
pub(crate) struct Encoder {
    state: Arc<State>,
    frame_bytes: usize,
    sealer: Sealer,
    phase: Phase,
    buffer: Vec<u8>,
    /// What of the ledger's bytes is still to come.
    ledger: Bytes,
    totals: Footer,
}

enum Phase {
    Header,
    Versions(VersionCursor),
    Order(OrderCursor),
    /// After the lease with this id.
    Leases(Option<i64>),
    /// After the property with this name.
    Properties(Option<Bytes>),
    Ledger,
    Footer,
    End,
}

/// After a version.
#[derive(Default)]
struct VersionCursor {
    /// The key whose versions come next, or came last.
    key: Option<Bytes>,
    is_live: bool,
    /// The versions of that key that come next, the first of them last.
    rest: Vec<KeyValue>,
    /// Where those versions are still gathered from, newest first.
    gathered: Option<Box<dyn Iterator<Item = KeyValue> + Send>>,
    /// What was written last in this frame, and how many versions are in it, of which length.
    written: Option<KeyValue>,
    count: u32,
    content: u64,
}

/// At an event of a revision, whose events are looked at or, once `listing`, written.
#[derive(Clone, Copy)]
struct OrderCursor {
    revision: u64,
    at: usize,
    listing: bool,
}

impl Encoder {
    /// Frames end once they reach `frame_bytes`.
    pub(crate) fn new(state: Arc<State>, frame_bytes: usize) -> Self {
        Self {
            state,
            frame_bytes,
            sealer: Sealer::default(),
            phase: Phase::Header,
            buffer: Vec::new(),
            ledger: Bytes::new(),
            totals: Footer::default(),
        }
    }

    /// Adds the bytes of the ledger over the journal up to the state.
    #[cfg(feature = "ledger")]
    pub(crate) fn set_ledger(&mut self, ledger: Vec<u8>) {
        self.ledger = ledger.into();
    }

    /// Looks at no more than `budget` versions, events, leases or properties, and stops soon after `bytes`.
    pub(crate) fn step(&mut self, budget: usize, bytes: usize) -> Step {
        match mem::replace(&mut self.phase, Phase::End) {
            Phase::Header => self.header(),
            Phase::Versions(cursor) => self.versions(cursor, budget, bytes),
            Phase::Order(cursor) => self.order(cursor, budget),
            Phase::Leases(after) => self.leases(after, budget),
            Phase::Properties(after) => self.properties(after, budget),
            Phase::Ledger => self.ledger(),
            Phase::Footer => self.footer(),
            Phase::End => Step::End,
        }
    }

    fn header(&mut self) -> Step {
        let mut buffer = Sealer::buffer(SLACK);
        let header = Header {
            revision: self.state.revision(),
            compact_revision: self.state.compact_revision(),
            next_seq: self.state.next_seq(),
        };
        header.encode(&mut buffer);
        self.phase = Phase::Versions(VersionCursor::default());
        Step::Frame(self.sealer.seal(HEADER, buffer))
    }

    fn versions(&mut self, mut cursor: VersionCursor, budget: usize, bytes: usize) -> Step {
        self.begin_frame(COUNT_LEN);
        let enough = self.frame_bytes.min(self.buffer.len().saturating_add(bytes));
        let state = Arc::clone(&self.state);
        let from = cursor.key.clone();
        let mut newest = state.newest_after(from.as_deref());
        let mut ended = false;
        for _ in 0..budget {
            if let Some(versions) = &mut cursor.gathered {
                match versions.next() {
                    Some(kv) => cursor.rest.push(kv),
                    None => cursor.gathered = None,
                }
                continue;
            }
            let Some(kv) = cursor.rest.pop() else {
                let Some(newest) = newest.next() else {
                    ended = true;
                    break;
                };
                cursor.key = Some(Bytes::copy_from_slice(newest.key()));
                cursor.is_live = !newest.is_delete();
                cursor.gathered = Some(Box::new(state.readable(newest)));
                continue;
            };
            let is_live = cursor.is_live && cursor.rest.is_empty();
            let written = cursor.written.as_ref().map(KeyValue::key);
            cursor.content += versions::encode(&mut self.buffer, &kv, is_live, written);
            cursor.count += 1;
            cursor.written = Some(kv);
            if self.buffer.len() >= enough || cursor.content >= versions::CONTENT {
                break;
            }
        }
        ended |= cursor.gathered.is_none() && cursor.rest.is_empty() && newest.next().is_none();
        drop(newest);
        self.end_versions_step(cursor, ended)
    }

    fn end_versions_step(&mut self, cursor: VersionCursor, ended: bool) -> Step {
        let full = self.buffer.len() >= self.frame_bytes || cursor.content >= versions::CONTENT;
        if !ended && !full {
            self.phase = Phase::Versions(cursor);
            return Step::More;
        }
        let count = cursor.count;
        self.totals.versions += u64::from(count);
        self.totals.bytes += cursor.content;
        self.phase = if ended {
            let revision = self.state.compact_revision().max(1);
            Phase::Order(OrderCursor { revision, at: 0, listing: false })
        } else {
            // The first version of a frame writes its key, whatever came before the frame.
            Phase::Versions(VersionCursor { written: None, count: 0, content: 0, ..cursor })
        };
        if count == 0 {
            self.buffer.clear();
            return Step::More;
        }
        if let Some(mut place) = self.buffer.get_mut(HEAD_LEN..HEAD_LEN + COUNT_LEN) {
            place.put_u32_le(count);
        }
        self.end_frame(VERSIONS)
    }

    fn order(&mut self, mut cursor: OrderCursor, mut budget: usize) -> Step {
        self.begin_frame(0);
        let state = Arc::clone(&self.state);
        let mut ended = true;
        for logged in state.log(cursor.revision) {
            let revision = logged.revision;
            if revision != cursor.revision {
                cursor = OrderCursor { revision, at: 0, listing: false };
            }
            cursor.listing |= revision == state.compact_revision();
            if !self.revision(&mut cursor, logged.changes, &mut budget) {
                ended = false;
                break;
            }
            cursor = OrderCursor { revision: revision + 1, at: 0, listing: false };
        }
        if !ended && self.buffer.len() < self.frame_bytes {
            self.phase = Phase::Order(cursor);
            return Step::More;
        }
        self.phase = if ended { Phase::Leases(None) } else { Phase::Order(cursor) };
        if self.buffer.len() == HEAD_LEN {
            return Step::More;
        }
        self.end_frame(ORDER)
    }

    /// Goes through the events of one revision, and says whether it came to their end.
    fn revision(
        &mut self,
        cursor: &mut OrderCursor,
        changes: &[KeyValue],
        budget: &mut usize,
    ) -> bool {
        while *budget > 0 && self.buffer.len() < self.frame_bytes {
            *budget -= 1;
            let Some(change) = changes.get(cursor.at) else {
                return true;
            };
            if cursor.listing {
                order::encode(&mut self.buffer, change);
                self.totals.listed += 1;
                cursor.at += 1;
                continue;
            }
            let sorted = changes.get(cursor.at + 1).is_none_or(|next| change.key() < next.key());
            cursor.at += 1;
            if !sorted {
                *cursor = OrderCursor { at: 0, listing: true, ..*cursor };
            }
        }
        false
    }

    fn leases(&mut self, mut after: Option<i64>, budget: usize) -> Step {
        self.begin_frame(0);
        let state = Arc::clone(&self.state);
        let mut ended = true;
        for (count, lease) in state.leases().after(after).enumerate() {
            if count >= budget || self.buffer.len() >= self.frame_bytes {
                ended = false;
                break;
            }
            leases::encode(&mut self.buffer, lease);
            after = Some(lease.0);
        }
        if !ended && self.buffer.len() < self.frame_bytes {
            self.phase = Phase::Leases(after);
            return Step::More;
        }
        self.phase = if ended { Phase::Properties(None) } else { Phase::Leases(after) };
        if self.buffer.len() == HEAD_LEN {
            return Step::More;
        }
        self.end_frame(LEASES)
    }

    fn properties(&mut self, mut after: Option<Bytes>, budget: usize) -> Step {
        self.begin_frame(0);
        let state = Arc::clone(&self.state);
        let mut ended = true;
        let from = after.clone();
        for (count, (name, value)) in state.properties().after(from.as_deref()).enumerate() {
            if count >= budget || self.buffer.len() >= self.frame_bytes {
                ended = false;
                break;
            }
            properties::encode(&mut self.buffer, name, value);
            after = Some(name.clone());
        }
        if !ended && self.buffer.len() < self.frame_bytes {
            self.phase = Phase::Properties(after);
            return Step::More;
        }
        self.phase = if ended { Phase::Ledger } else { Phase::Properties(after) };
        if self.buffer.len() == HEAD_LEN {
            return Step::More;
        }
        self.end_frame(PROPERTIES)
    }

    fn ledger(&mut self) -> Step {
        if self.ledger.is_empty() {
            self.phase = Phase::Footer;
            return Step::More;
        }
        self.phase = Phase::Ledger;
        let part = self.ledger.split_to(self.ledger.len().min(self.frame_bytes));
        let mut buffer = Sealer::buffer(part.len());
        buffer.extend_from_slice(&part);
        Step::Frame(self.sealer.seal(LEDGER, buffer))
    }

    fn footer(&mut self) -> Step {
        self.totals.frames = self.sealer.sealed();
        let mut buffer = Sealer::buffer(SLACK);
        self.totals.encode(&mut buffer);
        Step::Frame(self.sealer.seal(FOOTER, buffer))
    }

    fn begin_frame(&mut self, room: usize) {
        if self.buffer.is_empty() {
            self.buffer = Sealer::buffer(self.frame_bytes + SLACK);
            self.buffer.resize(HEAD_LEN + room, 0);
        }
    }

    fn end_frame(&mut self, kind: u8) -> Step {
        let buffer = mem::take(&mut self.buffer);
        Step::Frame(self.sealer.seal(kind, buffer))
    }
}
