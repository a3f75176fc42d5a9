//! Sentences by which servers and clients of etcd know what went wrong.
//!
//! Clients compare them: they are those of `rpctypes` in etcd's API.

use tonic::{Code, Status};

/// A sentence that clients know, and its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known(pub(crate) Code, pub(crate) &'static str);

impl Known {
    pub(crate) fn message(self) -> &'static str {
        self.1
    }
}

impl From<Known> for Status {
    fn from(known: Known) -> Self {
        Self::new(known.0, known.1)
    }
}

macro_rules! known {
    ($($name:ident = $code:ident, $message:literal;)*) => {
        $(pub(crate) const $name: $crate::etcd_api::known::Known = $crate::etcd_api::known::Known(
            tonic::Code::$code,
            concat!("etcdserver: ", $message),
        );)*
    };
}
#[cfg(feature = "etcd-server")]
pub(crate) use known;

// What both sides know. A server has more to say.
known! {
    KEY_NOT_FOUND = InvalidArgument, "key not found";
    COMPACTED = OutOfRange, "mvcc: required revision has been compacted";
    FUTURE_REVISION = OutOfRange, "mvcc: required revision is a future revision";
    NO_SPACE = ResourceExhausted, "mvcc: database space exceeded";
    LEASE_NOT_FOUND = NotFound, "requested lease not found";
    LEASE_EXISTS = FailedPrecondition, "lease already exists";
    TOO_MANY_REQUESTS = ResourceExhausted, "too many requests";
    NO_LEADER = Unavailable, "no leader";
    CORRUPT = DataLoss, "corrupt cluster";
    USER_EMPTY = InvalidArgument, "user name is empty";
    AUTH_NOT_ENABLED = FailedPrecondition, "authentication is not enabled";
    INVALID_AUTH_TOKEN = Unauthenticated, "invalid auth token";
    AUTH_OLD_REVISION = InvalidArgument, "revision of auth store is old";
}
