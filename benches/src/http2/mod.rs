//! An HTTP/2 client for gRPC that costs the load generator as little as it can: it shares its cores
//! with the server that it measures, and each microsecond of its own makes servers look alike.
//!
//! A request is a block of header fields that is ready made and its message, copied into one buffer
//! that is written once for many requests; what is read is parsed in place and handed out as slices.
//! There is no task, channel or allocation for each request.

mod connection;
mod frame;
mod hpack;
mod huffman;
mod requests;
mod session;
pub mod status;

pub use connection::Connection;
pub use requests::Method;
pub use session::{Failure, Session, Sink};

/// Why a connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken(pub &'static str);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HTTP/2: {}", self.0)
    }
}

impl std::error::Error for Broken {}
