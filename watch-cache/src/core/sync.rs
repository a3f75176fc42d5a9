//! What threads meet in. A test puts others in its place, which try every order of their steps.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

pub(crate) use parking_lot::Mutex;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64};

/// A value that one replaces while others have it. Nobody waits for anybody.
#[derive(Debug)]
pub(crate) struct Swap<T>(ArcSwap<T>);

/// A value that was there, for a short time.
pub(crate) type Held<T> = Guard<Arc<T>>;

impl<T> Swap<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(ArcSwap::from_pointee(value))
    }

    pub(crate) fn load(&self) -> Held<T> {
        self.0.load()
    }

    pub(crate) fn store(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}
