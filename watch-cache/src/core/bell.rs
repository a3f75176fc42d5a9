//! Tells a reader that there is something to read, once until it looks.

use std::sync::atomic::Ordering;

use super::sync::AtomicBool;

/// Whether a reader was told. For many writers and one reader.
#[derive(Debug)]
pub(crate) struct Bell {
    rung: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Self { rung: AtomicBool::new(false) }
    }

    /// There is something to read. Whether the reader is yet to be told.
    pub(crate) fn ring(&self) -> bool {
        !self.rung.swap(true, Ordering::AcqRel)
    }

    /// To call before reading: what is published later rings again.
    pub(crate) fn answer(&self) {
        // A swap, as the other side's: whichever is second sees what came before the first.
        self.rung.swap(false, Ordering::AcqRel);
    }
}
