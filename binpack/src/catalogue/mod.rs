//! The port through which instance types and prices come in.

mod builtin;
mod csv;
#[cfg(feature = "json")]
mod json;
mod memory;
mod reserved;

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::InstanceType;

pub use builtin::BuiltinCatalogue;
pub use csv::CsvCatalogue;
#[cfg(feature = "json")]
pub use json::JsonCatalogue;
pub use memory::MemoryCatalogue;

/// What a cloud sells, and at what price.
///
/// # Contract
///
/// 1. Names are unique and not empty.
/// 2. Every type has an offering, no two of its offerings have both zone and capacity type in
///    common, and no price is above [`MAX_PRICE_MICROS`](crate::MAX_PRICE_MICROS).
/// 3. A type's allocatable is at most its capacity, and its GPUs are whole.
/// 4. While nothing changes outside, every call returns the same types in the same order.
/// 5. A call that is dropped half-way leaves nothing behind: the next one succeeds.
/// 6. A label that repeats a field agrees with it: the instance type's name, if it is there.
#[async_trait]
pub trait Catalogue: Send + Sync + 'static {
    /// All types that may be launched now. Called once per plan: an adapter that asks over a
    /// network keeps what it got for a while.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) where a later call may succeed.
    async fn instance_types(&self) -> Result<Arc<[InstanceType]>>;
}

#[async_trait]
impl<C: Catalogue + ?Sized> Catalogue for Arc<C> {
    async fn instance_types(&self) -> Result<Arc<[InstanceType]>> {
        (**self).instance_types().await
    }
}
