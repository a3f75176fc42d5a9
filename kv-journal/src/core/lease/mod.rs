//! Leases: keys that go away unless somebody keeps them alive.
//!
//! Which leases exist and what is attached to them is state, journaled and replayed
//! ([`LeaseSet`]). When they run out is not: deadlines live in a table ([`Deadlines`]), which a
//! [`Wheel`] watches, and begin anew with every writer.

mod deadlines;
mod request;
mod set;
mod wheel;

pub use request::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseListResponse,
    LeaseTimeToLiveResponse,
};

pub(crate) use deadlines::{Deadlines, Fired};
#[cfg(feature = "etcd-server")]
pub(crate) use request::MAX_TTL_SECS;
pub(crate) use request::lease_id;
pub(crate) use set::LeaseSet;
pub(crate) use wheel::Wheel;

use super::mvcc::State;
use super::record::Record;
use crate::error::{Error, ErrorKind, Result};

/// Keeps the number of leases within what the wheel can name; memory ends long before.
const MAX_LEASES: usize = 1 << 30;

/// The record that grants a lease.
///
/// # Errors
/// `Invalid` if the id is 0, `LeaseExists`, `Exhausted` if there are 2^30 already.
pub(crate) fn grant(state: &State, id: i64, ttl_secs: u64) -> Result<Record> {
    if id == 0 {
        return Err(Error::new(ErrorKind::Invalid, "a lease has an id other than 0"));
    }
    if state.leases().contains(id) {
        return Err(Error::new(
            ErrorKind::LeaseExists,
            format!("lease {id} already exists: choose another id"),
        ));
    }
    if state.leases().len() >= MAX_LEASES {
        return Err(Error::new(ErrorKind::Exhausted, "there are 2^30 leases: revoke some"));
    }
    Ok(Record::LeaseGrant { revision: state.revision(), id, ttl_secs })
}

/// The record that revokes a lease and deletes its keys, which makes a revision if there are any.
///
/// # Errors
/// `LeaseNotFound`.
pub(crate) fn revoke(state: &State, id: i64) -> Result<Record> {
    check_exists(state, id)?;
    let deleted = state.leases().attached(id);
    let revision = state.revision() + u64::from(deleted > 0);
    Ok(Record::LeaseRevoke { revision, id, deleted })
}

/// # Errors
/// `LeaseNotFound`.
pub(crate) fn check_exists(state: &State, id: i64) -> Result<()> {
    if state.leases().contains(id) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::LeaseNotFound,
        format!("requested lease not found: {id} was never granted, or is revoked or expired"),
    ))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::core::Mutation;

    fn put(revision: u64, key: &'static str, lease: i64) -> Record {
        let (key, value) = (Bytes::from(key), Bytes::new());
        Record::Transaction { revision, mutations: vec![Mutation::Put { key, value, lease }] }
    }

    /// Lease 7 with the keys a and b.
    fn state() -> State {
        let mut state = State::new();
        let granted = grant(&state, 7, 10).unwrap();
        for record in [granted, put(2, "b", 7), put(3, "a", 7)] {
            state.apply(&record).unwrap();
        }
        state
    }

    #[test]
    fn a_revoke_takes_the_lease_and_what_is_attached_and_nothing_else() {
        let mut state = state();
        state.apply(&put(4, "other", 0)).unwrap();
        let before = state.writable();
        let revoked = revoke(&state, 7).unwrap();
        assert_eq!(revoked, Record::LeaseRevoke { revision: 5, id: 7, deleted: 2 });
        state.apply(&revoked).unwrap();
        assert_eq!((state.revision(), state.keys(), state.leases().len()), (5, 1, 0));
        assert_eq!(state.leases().attached(7), 0);
        // A clone is a snapshot with its leases: what a failed batch goes back to.
        assert_eq!((before.keys(), before.leases().attached(7)), (3, 2));
    }

    #[test]
    fn records_that_do_not_follow_are_refused() {
        let hostile = [
            put(4, "a", 8),
            Record::LeaseGrant { revision: 3, id: 7, ttl_secs: 10 },
            Record::LeaseGrant { revision: 3, id: 0, ttl_secs: 10 },
            Record::LeaseGrant { revision: 4, id: 8, ttl_secs: 10 },
            Record::LeaseRevoke { revision: 3, id: 8, deleted: 0 },
            Record::LeaseRevoke { revision: 4, id: 7, deleted: 1 },
            Record::LeaseRevoke { revision: 3, id: 7, deleted: 2 },
            Record::LeaseRevoke { revision: 5, id: 7, deleted: 2 },
        ];
        for record in hostile {
            let mut state = state();
            let refused = state.apply(&record).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "{record:?}");
            assert_eq!((state.revision(), state.keys(), state.leases().len()), (3, 2, 1));
        }
    }
}
