//! What went wrong, in the words and codes by which etcd's clients know it.
//!
//! Clients compare the sentences: they are those of `rpctypes` in etcd's API.

use std::error::Error as _;

use tonic::Status;

use crate::error::{Error, ErrorKind};
use crate::etcd_api::RequestError;
pub(super) use crate::etcd_api::known::*;

known! {
    EMPTY_KEY = InvalidArgument, "key is not provided";
    VALUE_PROVIDED = InvalidArgument, "value is provided";
    LEASE_PROVIDED = InvalidArgument, "lease is provided";
    TOO_MANY_OPS = InvalidArgument, "too many operations in txn request";
    DUPLICATE_KEY = InvalidArgument, "duplicate key given in txn request";
    INVALID_SORT_OPTION = InvalidArgument, "invalid sort option";
    LEASE_TTL_TOO_LARGE = OutOfRange, "too large lease TTL";
    REQUEST_TOO_LARGE = InvalidArgument, "request is too large";
    MEMBER_NOT_FOUND = NotFound, "member not found";
    STOPPED = Unavailable, "server stopped";
    TIMEOUT = Unavailable, "request timed out";
    ROOT_USER_NOT_EXIST = FailedPrecondition, "root user does not exist";
    ROOT_ROLE_NOT_EXIST = FailedPrecondition, "root user does not have root role";
    USER_ALREADY_EXIST = FailedPrecondition, "user name already exists";
    USER_NOT_FOUND = FailedPrecondition, "user name not found";
    ROLE_ALREADY_EXIST = FailedPrecondition, "role name already exists";
    ROLE_NOT_FOUND = FailedPrecondition, "role name not found";
    ROLE_EMPTY = InvalidArgument, "role name is empty";
    AUTH_FAILED = InvalidArgument, "authentication failed, invalid user ID or password";
    PERMISSION_NOT_GIVEN = InvalidArgument, "permission not given";
    PERMISSION_DENIED = PermissionDenied, "permission denied";
    ROLE_NOT_GRANTED = FailedPrecondition, "role is not granted to the user";
    PERMISSION_NOT_GRANTED = FailedPrecondition, "permission is not granted to the role";
    INVALID_AUTH_MGMT = InvalidArgument, "invalid auth management";
    BAD_LEADER_TRANSFEREE = FailedPrecondition, "bad leader transferee";
    WRONG_DOWNGRADE_VERSION = InvalidArgument, "wrong downgrade target version format";
    INVALID_DOWNGRADE_VERSION = InvalidArgument, "invalid downgrade target version";
    NO_INFLIGHT_DOWNGRADE = FailedPrecondition, "no inflight downgrade job";
}

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::EmptyKey => EMPTY_KEY.into(),
            RequestError::EmptyOp => KEY_NOT_FOUND.into(),
            RequestError::SortOption => INVALID_SORT_OPTION.into(),
            RequestError::ValueProvided => VALUE_PROVIDED.into(),
            RequestError::LeaseProvided => LEASE_PROVIDED.into(),
            RequestError::TooManyOps => TOO_MANY_OPS.into(),
            // What a server of gRPC says of a message that it cannot decode.
            RequestError::Malformed(error) => Self::internal(error.to_string()),
        }
    }
}

/// What a client is told of a failure of the store. One that came from another etcd is passed on.
pub(super) fn of_store(error: &Error) -> Status {
    if let Some(remote) = error.source().and_then(|source| source.downcast_ref::<Status>()) {
        return remote.clone();
    }
    let known = match error.kind() {
        ErrorKind::Compacted { .. } => COMPACTED,
        ErrorKind::FutureRevision { .. } => FUTURE_REVISION,
        ErrorKind::KeyNotFound => KEY_NOT_FOUND,
        ErrorKind::LeaseNotFound => LEASE_NOT_FOUND,
        ErrorKind::LeaseExists => LEASE_EXISTS,
        ErrorKind::Exhausted => NO_SPACE,
        ErrorKind::Unavailable => TOO_MANY_REQUESTS,
        // It may have happened: that is what a client concludes from a time-out.
        ErrorKind::Unknown => TIMEOUT,
        ErrorKind::Fenced | ErrorKind::Conflict => NO_LEADER,
        ErrorKind::Closed => STOPPED,
        ErrorKind::Corrupt | ErrorKind::Trimmed { .. } => CORRUPT,
        ErrorKind::Invalid => return Status::invalid_argument(format!("etcdserver: {error}")),
    };
    known.into()
}
