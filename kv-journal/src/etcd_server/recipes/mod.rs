//! Locks and elections: the recipes of etcd's `concurrency` package, run by the server.
//!
//! Both are a line in which everybody stands with a key of their own, `<name>/<lease>`, by the
//! revision that created it. The first has the lock, or leads. Who waits watches the key before: a
//! key that goes wakes one.

mod election;
mod line;
mod lock;
mod observer;

use tonic::Status;

pub(super) use election::ElectionService;
pub(super) use lock::LockService;

/// As etcd tells it here: the sentence, without its code.
fn uncoded(status: &Status) -> Status {
    Status::unknown(status.message())
}
