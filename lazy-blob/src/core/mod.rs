//! The formats, free of IO: what goes in and out is bytes.

mod builder;
mod codec;
#[allow(unsafe_code, reason = "only libz-rs-sys tells deflate block boundaries")]
mod deflate;
mod digest;
mod entry;
mod gzip;
mod index;
mod path;
mod resume;
mod spans;
mod tar;
mod window;
mod wire;

pub use builder::IndexBuilder;
pub use digest::Digest;
pub use entry::{Entry, EntryKind, Xattr};
pub use index::{Compression, Index, SpanInfo};
