//! Loads of single calls: puts, reads, and both mixed.

use std::sync::Arc;
use std::time::Instant;

use super::args::{Mixed, Reads};
use super::course::Course;
use super::keys::{Keys, Values, scatter};
use super::tally::Found;
use crate::etcd::answer::{KVS, Part};
use crate::etcd::message::{self, Range};
use crate::http2::Method;

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// As a call of its own.
    Call(Method),
    /// As the first of a stream, which stays open.
    Open(Method),
    /// On the client's stream.
    Send,
}

/// What the clients of one connection call, each of them one thing at a time.
pub(super) trait Workload: Send {
    /// Appends the next message of a client.
    fn next(&mut self, client: usize, message: &mut Vec<u8>) -> Step;

    /// Takes a part of the answer. True if that was the answer, which matters only on a stream:
    /// a call ends by itself.
    fn part(&mut self, _client: usize, _part: Part<'_>) -> bool {
        false
    }

    /// Whether a call that has ended well was the last of its operation.
    fn is_last(&mut self, _client: usize) -> bool {
        true
    }

    /// A call or stream of a client has failed, and so its operation.
    fn failed(&mut self, _client: usize) {}

    /// What answers have said so far.
    fn found(&self) -> Found {
        Found::default()
    }
}

/// What the loads of single keys have in common.
#[derive(Debug, Clone)]
pub(super) struct Single {
    pub(super) course: Arc<Course>,
    pub(super) keys: Keys,
    pub(super) values: Values,
}

impl Single {
    fn put(&mut self, message: &mut Vec<u8>, n: u64) -> Step {
        let key = self.keys.key(self.keys.number(n));
        message::put(message, key, self.values.value(n));
        Step::Call(Method::Put)
    }
}

/// Puts of single keys.
pub(super) struct Puts(pub(super) Single);

impl Workload for Puts {
    fn next(&mut self, _: usize, message: &mut Vec<u8>) -> Step {
        let n = self.0.course.next();
        self.0.put(message, n)
    }
}

/// Puts whose values begin with when they were made.
pub(super) struct StampedPuts(pub(super) Single);

/// The bytes of a stamp: nanoseconds since the load began.
pub(super) const STAMP: usize = 8;

impl Workload for StampedPuts {
    fn next(&mut self, _: usize, message: &mut Vec<u8>) -> Step {
        let n = self.0.course.next();
        let step = self.0.put(message, n);
        // The value is the end of the message.
        let at = message.len() - self.0.values.value(n).len();
        message[at..at + STAMP].copy_from_slice(&stamp(&self.0.course, Instant::now()));
        step
    }
}

pub(super) fn stamp(course: &Course, now: Instant) -> [u8; STAMP] {
    let nanos = now.saturating_duration_since(course.origin()).as_nanos();
    u64::try_from(nanos).unwrap_or(u64::MAX).to_le_bytes()
}

/// Reads and puts of single keys.
pub(super) struct ReadsAndPuts {
    single: Single,
    reads_percent: u64,
    serializable: bool,
    /// Whether each client's read has found its key; that of a put is not missed.
    hits: Vec<bool>,
    found: Found,
}

impl ReadsAndPuts {
    pub(super) fn new(single: Single, mixed: Mixed, clients: usize) -> Self {
        Self {
            single,
            reads_percent: mixed.reads_percent.into(),
            serializable: mixed.reads.serializable(),
            hits: vec![false; clients],
            found: Found::default(),
        }
    }

    /// Nothing but reads.
    pub(super) fn reads(single: Single, reads: Reads, clients: usize) -> Self {
        Self::new(single, Mixed { reads_percent: 100, reads }, clients)
    }
}

impl Workload for ReadsAndPuts {
    fn next(&mut self, client: usize, message: &mut Vec<u8>) -> Step {
        let n = self.single.course.next();
        // The key of a call says nothing of whether it reads.
        let reads = scatter(n ^ u64::MAX) % 100 < self.reads_percent;
        self.hits[client] = !reads;
        if !reads {
            return self.single.put(message, n);
        }
        let keys = &mut self.single.keys;
        let key = keys.key(keys.number(n));
        Range { key, serializable: self.serializable, ..Range::default() }.encode(message);
        Step::Call(Method::Range)
    }

    fn part(&mut self, client: usize, part: Part<'_>) -> bool {
        if let Part::Bytes(KVS, _) = part
            && !self.hits[client]
        {
            self.hits[client] = true;
            self.found.keys += 1;
        }
        false
    }

    fn is_last(&mut self, client: usize) -> bool {
        self.found.misses += u64::from(!self.hits[client]);
        true
    }

    fn found(&self) -> Found {
        self.found
    }
}
