//! The etcd v3 API on the wire: messages, servers and clients, as the definitions in `proto/` give
//! them (feature `etcd-api`).
//!
//! The stubs are generated without protoc and committed; a test generates them again and compares.
//! Where an answer carries keys, the stubs write them from the store's own memory: see [`stored`].

#[cfg(feature = "etcd-store")]
mod answers;
#[cfg(feature = "etcd-store")]
mod asking;
#[cfg(feature = "etcd-store")]
mod channel;
mod codec;
mod fields;
#[cfg(any(feature = "etcd-server", feature = "etcd-store"))]
pub(crate) mod known;
#[cfg(any(feature = "etcd-server", feature = "etcd-store"))]
mod numbers;
#[cfg(feature = "etcd-server")]
mod requests;
#[cfg(feature = "etcd-server")]
mod responses;
mod spawn;
pub mod stored;

#[cfg(feature = "etcd-store")]
pub use channel::{Channel, ChannelConfig};
pub use codec::{Codec, Encoder};
pub use spawn::Spawn;

#[cfg(feature = "etcd-store")]
pub(crate) use answers::{delete_answer, put_answer, range_answer, revision_of, txn_answer};
#[cfg(feature = "etcd-store")]
pub(crate) use asking::{delete_message, key_and_end, put_message, range_message, txn_message};

#[cfg(any(feature = "etcd-server", feature = "etcd-store"))]
pub(crate) use numbers::signed;
#[cfg(feature = "etcd-store")]
pub(crate) use numbers::unsigned;
#[cfg(feature = "etcd-server")]
pub(crate) use requests::{
    RequestError, delete_request, key_range, put_request, range_request, txn_request,
};
#[cfg(feature = "etcd-server")]
pub(crate) use responses::{delete_response, header, put_response, range_response, txn_response};

/// Permissions, roles and users.
#[allow(clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated")]
#[allow(missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
pub mod authpb {
    include!("stubs/authpb.rs");
}

/// Keys, watches, leases, members, maintenance and authentication.
#[allow(clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated")]
#[allow(missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
pub mod etcdserverpb {
    include!("stubs/etcdserverpb.rs");
}

/// Elections.
#[allow(clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated")]
#[allow(missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
pub mod v3electionpb {
    include!("stubs/v3electionpb.rs");
}

/// Locks.
#[allow(clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated")]
#[allow(missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
pub mod v3lockpb {
    include!("stubs/v3lockpb.rs");
}

/// All definitions as a `FileDescriptorSet`, for whoever works with messages by their names.
pub const DESCRIPTORS: &[u8] = include_bytes!("stubs/descriptors.bin");
