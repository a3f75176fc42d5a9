//! Leases that are granted once and then kept alive, each on a stream of its own.

use super::tally::Found;
use super::workload::{Step, Workload};
use crate::etcd::answer::Part;
use crate::etcd::message;
use crate::http2::Method;

/// The `ID` of a `LeaseGrantResponse` and of a `LeaseKeepAliveResponse`, and the latter's `TTL`.
const ID: u64 = 2;
const TTL: u64 = 3;

/// The leases of one connection's clients.
pub(super) struct Leases {
    ttl: u64,
    clients: Vec<Holder>,
    found: Found,
}

#[derive(Debug, Clone, Copy, Default)]
struct Holder {
    id: Option<u64>,
    has_stream: bool,
    alive: bool,
}

impl Leases {
    pub(super) fn new(ttl: u64, clients: usize) -> Self {
        Self { ttl, clients: vec![Holder::default(); clients], found: Found::default() }
    }
}

impl Workload for Leases {
    fn next(&mut self, client: usize, message: &mut Vec<u8>) -> Step {
        let holder = &mut self.clients[client];
        let Some(id) = holder.id else {
            message::lease_grant(message, self.ttl);
            return Step::Call(Method::LeaseGrant);
        };
        message::lease_keep_alive(message, id);
        if std::mem::replace(&mut holder.has_stream, true) {
            Step::Send
        } else {
            Step::Open(Method::LeaseKeepAlive)
        }
    }

    fn part(&mut self, client: usize, part: Part<'_>) -> bool {
        let holder = &mut self.clients[client];
        match part {
            Part::Number(ID, id) if !holder.has_stream => holder.id = Some(id),
            Part::Number(TTL, ttl) => holder.alive = ttl > 0,
            Part::End if holder.has_stream => {
                // The TTL of a lease that is gone is 0, which is not sent.
                self.found.misses += u64::from(!std::mem::take(&mut holder.alive));
                return true;
            }
            _ => {}
        }
        false
    }

    fn failed(&mut self, client: usize) {
        self.clients[client] = Holder::default();
    }

    fn found(&self) -> Found {
        self.found
    }
}
