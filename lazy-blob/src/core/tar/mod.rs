//! Tar archives: POSIX.1-1988 (v7), ustar, PAX and GNU headers, read as a stream.
//!
//! Sources: IEEE Std 1003.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; the
//! GNU tar manual, "Basic Tar Format". Where they leave a choice, it is that of Go's
//! `archive/tar`, which reads and writes most image layers.

mod header;
mod number;
mod pax;
mod toc;

pub(super) use toc::TocParser;

/// Headers and contents are padded to blocks of this size.
const BLOCK: usize = 512;
