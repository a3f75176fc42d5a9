//! When each lease runs out. Not part of the state: deadlines are never journaled, and a store that
//! opens gives every lease its full time again.

use std::collections::HashMap;

use super::wheel::Ticket;

/// Below this capacity the table never shrinks.
const KEPT_CAPACITY: usize = 1024;

/// The leases that are durable, each with its deadline. Times are milliseconds of one monotonic
/// clock.
///
/// A renewal changes the deadline here and nothing else: the wheel finds out when the former one
/// comes.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    leases: HashMap<i64, Lease>,
}

#[derive(Debug)]
struct Lease {
    ttl_secs: u64,
    deadline_ms: u64,
    /// Its entry in the wheel, unless it is waiting to be revoked.
    ticket: Option<Ticket>,
    /// Decided once, for good: an expired lease is not renewed.
    expired: bool,
}

/// What a lease's entry in the wheel comes to when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fired {
    /// There is no such lease.
    Gone,
    /// It was renewed: look again at this time.
    Renewed(u64),
    /// Its time has run out; from now on it cannot be renewed.
    Expired,
}

impl Deadlines {
    /// Begins a lease that runs for its full time from now, and returns its deadline.
    pub(crate) fn begin(&mut self, id: i64, ttl_secs: u64, now_ms: u64) -> u64 {
        let deadline_ms = deadline(now_ms, ttl_secs);
        let lease = Lease { ttl_secs, deadline_ms, ticket: None, expired: false };
        self.leases.insert(id, lease);
        deadline_ms
    }

    /// Ends a lease, and returns its entry in the wheel.
    pub(crate) fn end(&mut self, id: i64) -> Option<Ticket> {
        let ended = self.leases.remove(&id);
        let (len, capacity) = (self.leases.len(), self.leases.capacity());
        if capacity > KEPT_CAPACITY && len < capacity / 8 {
            self.leases.shrink_to(2 * len);
        }
        ended?.ticket
    }

    /// Gives a lease its full time again and returns it, in seconds; `None` if there is no such
    /// lease or its time has run out, whether or not the wheel has noticed.
    pub(crate) fn renew(&mut self, id: i64, now_ms: u64) -> Option<u64> {
        let lease = self.leases.get_mut(&id)?;
        if lease.expired || lease.deadline_ms <= now_ms {
            return None;
        }
        // The callers' clocks were read before they got here, perhaps in another order.
        lease.deadline_ms = lease.deadline_ms.max(deadline(now_ms, lease.ttl_secs));
        Some(lease.ttl_secs)
    }

    /// The entry of a lease in the wheel is due.
    pub(crate) fn fire(&mut self, id: i64, now_ms: u64) -> Fired {
        let Some(lease) = self.leases.get_mut(&id) else {
            return Fired::Gone;
        };
        lease.ticket = None;
        if !lease.expired && lease.deadline_ms > now_ms {
            return Fired::Renewed(lease.deadline_ms);
        }
        lease.expired = true;
        Fired::Expired
    }

    /// Notes the entry that a lease has got in the wheel.
    pub(crate) fn set_ticket(&mut self, id: i64, ticket: Ticket) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.ticket = Some(ticket);
        }
    }

    /// Whether a lease has expired and waits to be revoked.
    pub(crate) fn awaits_revoke(&self, id: i64) -> bool {
        self.leases.get(&id).is_some_and(|lease| lease.expired && lease.ticket.is_none())
    }

    /// How long a lease still runs; `None` if there is no such lease.
    pub(crate) fn remaining_ms(&self, id: i64, now_ms: u64) -> Option<u64> {
        self.leases.get(&id).map(|lease| lease.deadline_ms.saturating_sub(now_ms))
    }

    /// Every lease with its deadline, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, u64)> {
        self.leases.iter().map(|(id, lease)| (*id, lease.deadline_ms))
    }
}

fn deadline(now_ms: u64, ttl_secs: u64) -> u64 {
    now_ms.saturating_add(ttl_secs.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_gives_the_full_time_from_now() {
        let mut table = Deadlines::default();
        assert_eq!(table.begin(7, 10, 500), 10_500);
        assert_eq!(table.renew(7, 9_000), Some(10));
        assert_eq!(table.remaining_ms(7, 9_500), Some(9_500));
        assert_eq!(table.fire(7, 10_500), Fired::Renewed(19_000));
        assert_eq!(table.renew(8, 0), None);
        // One whose clock was read before the last one's takes nothing back.
        assert_eq!(table.renew(7, 8_000), Some(10));
        assert_eq!(table.remaining_ms(7, 9_500), Some(9_500));
    }

    #[test]
    fn what_has_run_out_is_not_renewed_even_if_the_wheel_is_late() {
        let mut table = Deadlines::default();
        table.begin(7, 10, 0);
        assert_eq!(table.renew(7, 9_999), Some(10));
        assert_eq!(table.renew(7, 19_999), None);
        assert_eq!(table.remaining_ms(7, 30_000), Some(0));
    }

    #[test]
    fn expiry_is_decided_for_good() {
        let mut table = Deadlines::default();
        table.begin(7, 10, 0);
        assert!(!table.awaits_revoke(7));
        assert_eq!(table.fire(7, 10_000), Fired::Expired);
        assert!(table.awaits_revoke(7));
        // A caller whose clock was read before comes too late.
        assert_eq!(table.renew(7, 9_999), None);
        assert_eq!(table.fire(7, 10_000), Fired::Expired);
        assert_eq!(table.end(7), None);
        assert_eq!(table.fire(7, 10_000), Fired::Gone);
        // The same id begins anew.
        table.begin(7, 10, 20_000);
        assert!(!table.awaits_revoke(7));
        assert_eq!(table.renew(7, 20_000), Some(10));
    }

    #[test]
    fn a_table_that_was_large_shrinks() {
        let mut table = Deadlines::default();
        (0..10_000).for_each(|id| _ = table.begin(id, 10, 0));
        (1..10_000).for_each(|id| _ = table.end(id));
        assert!(table.leases.capacity() <= KEPT_CAPACITY, "{}", table.leases.capacity());
        assert_eq!(table.renew(0, 0), Some(10));
    }

    #[test]
    fn the_longest_ttl_does_not_overflow() {
        let mut table = Deadlines::default();
        assert_eq!(table.begin(7, u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn an_entry_takes_32_bytes() {
        assert_eq!(size_of::<(i64, Lease)>(), 32);
    }
}
