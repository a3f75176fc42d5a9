//! A catalogue that the caller wrote.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;

use super::Catalogue;
use crate::error::Result;
use crate::model::InstanceType;

/// A catalogue in memory, which [`set`](Self::set) replaces as a whole.
///
/// ```
/// use binpack::{CapacityType, InstanceType, MemoryCatalogue, Offering, Resources};
///
/// let small = InstanceType::new("small", Resources::new(2_000, 4 << 30).with_pods(29))
///     .with_offering(Offering::new("zone-a", CapacityType::OnDemand, 85_000));
/// let catalogue = MemoryCatalogue::new([small]);
/// ```
#[derive(Debug)]
pub struct MemoryCatalogue {
    types: RwLock<Arc<[InstanceType]>>,
}

impl MemoryCatalogue {
    /// A catalogue of these types.
    pub fn new(types: impl IntoIterator<Item = InstanceType>) -> Self {
        Self { types: RwLock::new(types.into_iter().collect()) }
    }

    /// Replaces all types.
    pub fn set(&self, types: impl IntoIterator<Item = InstanceType>) {
        *self.types.write() = types.into_iter().collect();
    }
}

#[async_trait]
impl Catalogue for MemoryCatalogue {
    async fn instance_types(&self) -> Result<Arc<[InstanceType]>> {
        Ok(self.types.read().clone())
    }
}
