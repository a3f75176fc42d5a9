//! Any byte of any file in a remote `.tar.gz`, verified, without downloading the whole.
//!
//! A container image layer is a `.tar.gz` of which a starting container reads a few per cent. This
//! crate builds an [`Index`] of such a blob, unmodified, in one pass: a table of contents, and
//! *spans* that can each be fetched, verified by digest and inflated alone. A [`Blob`] then serves
//! any range of any file through a [`Source`] of ranged reads: memory, a file, HTTP, or your own.
//!
//! ```
//! use std::sync::Arc;
//! use lazy_blob::{Blob, Config, Index, IndexConfig, MemorySource};
//!
//! # fn layer() -> std::io::Result<Vec<u8>> {
//! #     let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
//! #     let mut tar = tar::Builder::new(gzip);
//! #     let mut header = tar::Header::new_gnu();
//! #     header.set_size(6);
//! #     tar.append_data(&mut header, "etc/motd", "hello\n".as_bytes())?;
//! #     tar.into_inner()?.finish()
//! # }
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let layer: Vec<u8> = layer()?; // a .tar.gz
//! let index = Index::build(layer.as_slice(), IndexConfig::default())?;
//!
//! let source = Arc::new(MemorySource::new(layer));
//! let (blob, driver) = Blob::open(source, Arc::new(index), Config::default()).await?;
//! tokio::spawn(driver);
//!
//! assert_eq!(blob.read("/etc/motd", 0..4).await?, "hell");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Trust
//!
//! The index decides what the blob's bytes must be: each span carries the SHA-256 of its
//! compressed bytes, and nothing of a span is served before they match. The source need not be
//! trusted; the index must be, like the image manifest that it belongs to.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `http` | `HttpSource`: ranged reads over HTTP/1.1 and TLS |
//! | `conformance` | the contract of [`Source`] as tests for adapters of your own |
#![deny(unsafe_code)]

mod blob;
mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod core;
mod error;
mod source;

pub use crate::core::{
    Compression, Digest, Entry, EntryKind, Index, IndexBuilder, SpanInfo, Xattr,
};
pub use blob::{Blob, Driver, Stats};
pub use config::{Config, IndexConfig, Limit};
pub use error::{Error, ErrorKind, Result};
pub use source::{Fault, FaultSource, FaultStats, FileSource, MemorySource, ReadCall, Source};
#[cfg(feature = "http")]
pub use source::{HttpClient, HttpConfig, HttpSource};
