//! What a failed call says of the store, and what to do about it.

use std::error::Error as StdError;

use tonic::{Code, Status};

use crate::error::{Error, ErrorKind};
use crate::etcd_api::known::{
    AUTH_OLD_REVISION, COMPACTED, CORRUPT, FUTURE_REVISION, INVALID_AUTH_TOKEN, KEY_NOT_FOUND,
    Known, LEASE_EXISTS, LEASE_NOT_FOUND, NO_SPACE, TOO_MANY_REQUESTS, USER_EMPTY,
};

/// What a call does to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Reads,
    Writes,
}

/// What may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: that is the answer, or nobody knows what a write has done.
    Tell,
    /// Another endpoint, or the same one later.
    Elsewhere,
    /// Another token.
    LogIn,
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) next: Next,
}

impl Failure {
    pub(super) fn of(status: Status, effect: Effect) -> Self {
        let (kind, next) = judge(&status, effect);
        let message = match kind {
            ErrorKind::Unknown => format!("the write may have happened: {}", said(&status)),
            _ => said(&status),
        };
        Self { error: Error::new(kind, message).with_source(status), next }
    }

    /// No answer came in time.
    pub(super) fn silence(effect: Effect) -> Self {
        Self::of(Status::deadline_exceeded("the server did not answer in time"), effect)
    }
}

/// What the server or the way to it says, with its causes.
fn said(status: &Status) -> String {
    let mut said = status.message().to_owned();
    let mut source = status.source();
    while let Some(cause) = source {
        if !said.contains(&cause.to_string()) {
            said = format!("{said}: {cause}");
        }
        source = cause.source();
    }
    said
}

/// As etcd's own client: a write is tried again only if it surely was not done.
fn judge(status: &Status, effect: Effect) -> (ErrorKind, Next) {
    if let Some(told) = by_sentence(status.message()) {
        return told;
    }
    if never_sent(status) {
        return (ErrorKind::Unavailable, Next::Elsewhere);
    }
    match (status.code(), effect) {
        (Code::DataLoss, _) => (ErrorKind::Corrupt, Next::Tell),
        (Code::ResourceExhausted, _) => (ErrorKind::Exhausted, Next::Tell),
        (
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented,
            _,
        ) => (ErrorKind::Invalid, Next::Tell),
        (_, Effect::Reads) => (ErrorKind::Unavailable, Next::Elsewhere),
        (_, Effect::Writes) => (ErrorKind::Unknown, Next::Tell),
    }
}

fn by_sentence(sentence: &str) -> Option<(ErrorKind, Next)> {
    let tell = |kind| Some((kind, Next::Tell));
    let is = |known: Known| sentence == known.message();
    match () {
        // Neither says a revision: that has to be found out.
        () if is(COMPACTED) => tell(ErrorKind::Compacted { compact_revision: 0 }),
        () if is(FUTURE_REVISION) => tell(ErrorKind::FutureRevision { current_revision: 0 }),
        () if is(KEY_NOT_FOUND) => tell(ErrorKind::KeyNotFound),
        () if is(LEASE_NOT_FOUND) => tell(ErrorKind::LeaseNotFound),
        () if is(LEASE_EXISTS) => tell(ErrorKind::LeaseExists),
        () if is(NO_SPACE) => tell(ErrorKind::Exhausted),
        () if is(CORRUPT) => tell(ErrorKind::Corrupt),
        () if is(TOO_MANY_REQUESTS) => Some((ErrorKind::Unavailable, Next::Elsewhere)),
        () if is(INVALID_AUTH_TOKEN) || is(AUTH_OLD_REVISION) || is(USER_EMPTY) => {
            Some((ErrorKind::Invalid, Next::LogIn))
        }
        () => None,
    }
}

/// Whether the way to the server says that there was none.
fn never_sent(status: &Status) -> bool {
    let way = status.source().and_then(|source| source.downcast_ref::<Error>());
    way.is_some_and(|error| error.kind() == ErrorKind::Unavailable)
}

/// Whether the server does not know the call.
pub(super) fn is_unimplemented(error: &Error) -> bool {
    let status = error.source().and_then(|source| source.downcast_ref::<Status>());
    status.is_some_and(|status| status.code() == Code::Unimplemented)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_may_have_happened_is_unknown_and_not_tried_again() {
        let cases = [
            (Status::unavailable("etcdserver: request timed out"), ErrorKind::Unknown),
            (Status::unavailable("etcdserver: leader changed"), ErrorKind::Unknown),
            (Status::unknown("the call failed"), ErrorKind::Unknown),
            (Status::deadline_exceeded("late"), ErrorKind::Unknown),
            (
                Status::resource_exhausted("etcdserver: mvcc: database space exceeded"),
                ErrorKind::Exhausted,
            ),
            (Status::invalid_argument("etcdserver: request is too large"), ErrorKind::Invalid),
            (Status::unknown("etcdserver: requested lease not found"), ErrorKind::LeaseNotFound),
        ];
        for (status, kind) in cases {
            let failure = Failure::of(status.clone(), Effect::Writes);
            assert_eq!((failure.error.kind(), failure.next), (kind, Next::Tell), "{status:?}");
        }
    }

    #[test]
    fn what_did_nothing_is_tried_again() {
        let unreachable = Error::new(ErrorKind::Unavailable, "nobody listens");
        let not_sent = Status::from_error(Box::new(unreachable));
        for effect in [Effect::Reads, Effect::Writes] {
            for status in [not_sent.message(), "etcdserver: too many requests"] {
                let status = match status {
                    "etcdserver: too many requests" => Status::resource_exhausted(status),
                    _ => Status::from_error(Box::new(Error::new(ErrorKind::Unavailable, "no"))),
                };
                let failure = Failure::of(status, effect);
                assert_eq!(failure.error.kind(), ErrorKind::Unavailable);
                assert_eq!(failure.next, Next::Elsewhere);
            }
            let expired = Status::unauthenticated("etcdserver: invalid auth token");
            assert_eq!(Failure::of(expired, effect).next, Next::LogIn);
        }
        let timed_out = Status::unavailable("etcdserver: request timed out");
        assert_eq!(Failure::of(timed_out, Effect::Reads).next, Next::Elsewhere);
    }
}
