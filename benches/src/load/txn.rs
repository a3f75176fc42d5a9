//! Transactions as an API server makes them: create a key that does not exist, or update it if it
//! is as it was last seen, and read it otherwise.

use super::keys::Keys;
use super::tally::Found;
use super::workload::{Single, Step, Workload};
use crate::etcd::answer::{self, HEADER, KVS, Part};
use crate::etcd::message;
use crate::http2::Method;

/// `TxnResponse.succeeded` and `.responses`.
const SUCCEEDED: u64 = 2;
const RESPONSES: u64 = 3;
/// `ResponseOp.response_range`.
const RESPONSE_RANGE: u64 = 1;
/// `KeyValue.mod_revision`.
const MOD_REVISION: u64 = 3;

/// Transactions on the keys of one connection.
pub(super) struct Txns {
    single: Single,
    /// This connection's place among all: it has each key whose number leaves that remainder, so
    /// that nobody else changes it.
    place: u64,
    of: u64,
    next: u64,
    /// When each key was last changed, as far as is known; 0 if it is not there.
    revisions: Vec<u64>,
    clients: Vec<Update>,
    found: Found,
}

/// What a client has under way.
#[derive(Debug, Clone, Copy, Default)]
struct Update {
    key: usize,
    header: u64,
    current: u64,
    succeeded: bool,
}

impl Txns {
    pub(super) fn new(single: Single, place: usize, of: usize, clients: usize) -> Self {
        let (place, of) = (place as u64, of as u64);
        let keys = single.keys.count().div_ceil(of).max(1);
        let revisions = vec![0; usize::try_from(keys).unwrap_or(usize::MAX)];
        let clients = vec![Update::default(); clients];
        Self { single, place, of, next: 0, revisions, clients, found: Found::default() }
    }

    /// The next key of this connection.
    fn next_key(&mut self) -> (usize, u64) {
        let n = self.next;
        self.next += 1;
        let keys: &Keys = &self.single.keys;
        let own = keys.number(n) % self.revisions.len() as u64;
        let number = (own * self.of + self.place) % keys.count();
        (usize::try_from(own).unwrap_or_default(), number)
    }
}

impl Workload for Txns {
    fn next(&mut self, client: usize, message: &mut Vec<u8>) -> Step {
        let (key, number) = self.next_key();
        self.clients[client] = Update { key, ..Update::default() };
        let n = self.single.course.next();
        let (name, value) = (self.single.keys.key(number), self.single.values.value(n));
        message::put_if(message, name, value, self.revisions[key]);
        Step::Call(Method::Txn)
    }

    fn part(&mut self, client: usize, part: Part<'_>) -> bool {
        let update = &mut self.clients[client];
        match part {
            Part::Bytes(HEADER, header) => {
                update.header = answer::number_of(header, answer::REVISION);
            }
            Part::Number(SUCCEEDED, succeeded) => update.succeeded = succeeded != 0,
            Part::Bytes(RESPONSES, response) => {
                let kv = answer::bytes_of(answer::bytes_of(response, RESPONSE_RANGE), KVS);
                update.current = answer::number_of(kv, MOD_REVISION);
            }
            _ => {}
        }
        false
    }

    fn is_last(&mut self, client: usize) -> bool {
        let update = self.clients[client];
        self.revisions[update.key] = if update.succeeded { update.header } else { update.current };
        self.found.conflicts += u64::from(!update.succeeded);
        true
    }

    fn found(&self) -> Found {
        self.found
    }
}
