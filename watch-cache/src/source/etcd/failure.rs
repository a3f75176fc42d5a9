//! What a failed call says, and what may help: the one place where etcd's words become kinds.

use std::error::Error as StdError;

use tonic::{Code, Status};

use crate::error::{Error, ErrorKind};

/// etcd's sentences, by which its own clients tell failures apart (`rpctypes`).
mod said {
    pub(super) const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
    pub(super) const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";
    pub(super) const NO_LEADER: &str = "etcdserver: no leader";
    pub(super) const PERMISSION_DENIED: &str = "etcdserver: permission denied";
    pub(super) const AUTH_NOT_ENABLED: &str = "etcdserver: authentication is not enabled";
    /// Of a token that has run out, or of none.
    pub(super) const LOG_IN: [&str; 3] = [
        "etcdserver: invalid auth token",
        "etcdserver: revision of auth store is old",
        "etcdserver: user name is empty",
    ];
}

/// What may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: that is the answer.
    Tell,
    /// Another endpoint, or the same one later.
    Elsewhere,
    /// Another token.
    LogIn,
    /// To ask for less.
    Smaller,
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) next: Next,
}

impl Failure {
    /// What the caller is to be told.
    pub(super) fn tell(error: Error) -> Self {
        Self { error, next: Next::Tell }
    }

    /// No answer came in time.
    pub(super) fn silence() -> Self {
        let error = Error::new(ErrorKind::Unavailable, "etcd did not answer in time: retry later");
        Self { error, next: Next::Elsewhere }
    }

    /// The server ended a watch that it was asked for.
    pub(super) fn canceled(reason: &str, compact_revision: u64) -> Self {
        if compact_revision > 0 {
            return Self::tell(expired("the watch's next revision", compact_revision));
        }
        // The reason may have gRPC's words before etcd's.
        let has = |sentence: &&str| reason.contains(sentence);
        let status = match reason {
            _ if has(&said::NO_LEADER) => Status::unavailable(said::NO_LEADER),
            _ if has(&said::PERMISSION_DENIED) => {
                Status::permission_denied(said::PERMISSION_DENIED)
            }
            _ => match said::LOG_IN.iter().find(|sentence| has(sentence)) {
                Some(sentence) => Status::unauthenticated(*sentence),
                None if reason.is_empty() => Status::unavailable("etcd canceled the watch"),
                None => Status::unavailable(reason),
            },
        };
        let denied = status.code() == Code::PermissionDenied;
        let failure = Self::from(status);
        // etcd 3.4 says that of a token that has run out, too.
        if denied { Self { next: Next::LogIn, ..failure } } else { failure }
    }
}

impl From<Error> for Failure {
    /// There is no connection, and every endpoint was tried.
    fn from(error: Error) -> Self {
        Self::tell(error)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let (kind, next, advice) = judge(&status);
        let message = format!("etcd: {}: {advice}", sentence(&status));
        Self { error: Error::new(kind, message).with_source(status), next }
    }
}

pub(super) fn expired(what: &str, oldest_revision: u64) -> Error {
    let message = format!("{what} was compacted: list again at {oldest_revision} or later");
    Error::new(ErrorKind::Expired { oldest_revision }, message)
}

pub(super) fn too_large(revision: u64, current_revision: u64) -> Error {
    let message =
        format!("revision {revision} is not reached yet: retry, or read at {current_revision}");
    Error::new(ErrorKind::TooLarge { current_revision }, message)
}

pub(super) fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("etcd's answer is malformed: {what}: ask again"))
}

pub(super) fn is_auth_not_enabled(status: &Status) -> bool {
    status.message() == said::AUTH_NOT_ENABLED
}

fn judge(status: &Status) -> (ErrorKind, Next, &'static str) {
    let elsewhere = (ErrorKind::Unavailable, Next::Elsewhere, "retry later");
    match status.message() {
        // Neither says a revision: that has to be found out.
        said::COMPACTED => {
            return (ErrorKind::Expired { oldest_revision: 0 }, Next::Tell, "list again");
        }
        said::FUTURE => return (ErrorKind::TooLarge { current_revision: 0 }, Next::Tell, "retry"),
        said if said::LOG_IN.contains(&said) => {
            return (ErrorKind::Invalid, Next::LogIn, "give a login that it takes");
        }
        // The member, and not this call, has to say no.
        said if said.starts_with("grpc: received message larger") => return elsewhere,
        _ => {}
    }
    match status.code() {
        Code::DataLoss => (ErrorKind::Corrupt, Next::Tell, "restore the cluster"),
        Code::Internal if status.message().contains("decode") => {
            (ErrorKind::Corrupt, Next::Tell, "ask again")
        }
        Code::OutOfRange => (ErrorKind::Exhausted, Next::Smaller, "raise answer_bytes"),
        Code::ResourceExhausted => (ErrorKind::Exhausted, Next::Tell, "retry later"),
        Code::PermissionDenied => {
            (ErrorKind::Invalid, Next::Tell, "let the user read what is to be cached")
        }
        Code::Unimplemented => (ErrorKind::Invalid, Next::Tell, "name an etcd of 3.4 or newer"),
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Unauthenticated => (ErrorKind::Invalid, Next::Tell, "correct the configuration"),
        _ => elsewhere,
    }
}

/// What the server or the way to it says, with its causes.
fn sentence(status: &Status) -> String {
    let mut sentence = status.message().trim_start_matches("etcdserver: ").to_owned();
    let mut source = status.source();
    while let Some(cause) = source {
        let cause_said = cause.to_string();
        if !sentence.contains(&cause_said) {
            sentence = format!("{sentence}: {cause_said}");
        }
        source = cause.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcds_words_become_kinds() {
        let invalid = ErrorKind::Invalid;
        let unavailable = (ErrorKind::Unavailable, Next::Elsewhere);
        let cases = [
            (
                Status::out_of_range(said::COMPACTED),
                (ErrorKind::Expired { oldest_revision: 0 }, Next::Tell),
            ),
            (
                Status::out_of_range(said::FUTURE),
                (ErrorKind::TooLarge { current_revision: 0 }, Next::Tell),
            ),
            (Status::unauthenticated("etcdserver: invalid auth token"), (invalid, Next::LogIn)),
            (
                Status::invalid_argument(
                    "etcdserver: authentication failed, invalid user ID or password",
                ),
                (invalid, Next::Tell),
            ),
            (Status::permission_denied(said::PERMISSION_DENIED), (invalid, Next::Tell)),
            (Status::unimplemented("unknown service"), (invalid, Next::Tell)),
            (
                Status::resource_exhausted("etcdserver: too many requests"),
                (ErrorKind::Exhausted, Next::Tell),
            ),
            (
                Status::out_of_range("Error, decoded message length too large: found 9 bytes"),
                (ErrorKind::Exhausted, Next::Smaller),
            ),
            (Status::data_loss("etcdserver: corrupt cluster"), (ErrorKind::Corrupt, Next::Tell)),
            (
                Status::internal("failed to decode Protobuf message: buffer underflow"),
                (ErrorKind::Corrupt, Next::Tell),
            ),
            (Status::unavailable("etcdserver: request timed out"), unavailable),
            (Status::unavailable(said::NO_LEADER), unavailable),
            (Status::unknown("h2 protocol error"), unavailable),
            (Status::internal("stream reset"), unavailable),
        ];
        for (status, expected) in cases {
            let failure = Failure::from(status.clone());
            assert_eq!((failure.error.kind(), failure.next), expected, "{status:?}");
        }
    }

    #[test]
    fn reasons_of_a_canceled_watch_become_kinds() {
        let kind = |reason: &str, compacted| {
            let failure = Failure::canceled(reason, compacted);
            (failure.error.kind(), failure.next)
        };
        let expired = ErrorKind::Expired { oldest_revision: 7 };
        assert_eq!(kind("etcdserver: mvcc: compacted", 7), (expired, Next::Tell));
        let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
        assert_eq!(kind(denied, 0), (ErrorKind::Invalid, Next::LogIn));
        let token = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
        assert_eq!(kind(token, 0), (ErrorKind::Invalid, Next::LogIn));
        for lost in ["etcdserver: no leader", "the server is going away", ""] {
            assert_eq!(kind(lost, 0), (ErrorKind::Unavailable, Next::Elsewhere));
        }
    }
}
