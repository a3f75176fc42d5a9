//! What services and methods there are.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

use crate::etcd_api::DESCRIPTORS;

// The committed descriptors can be read: a test sees to it.
static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).unwrap_or_default());

pub(super) fn pool() -> &'static DescriptorPool {
    &POOL
}
