//! The message format of RFC 1035 with EDNS (RFC 6891): read, check, write.
//!
//! [`Query`] builds a question, [`Message`] reads any message. Reading never panics, never loops
//! and never allocates more than a name; a message that breaks a rule is an error of kind
//! [`Malformed`](crate::ErrorKind::Malformed).
//!
//! ```
//! use dns_cache::wire::{Message, Query, RecordType};
//!
//! let bytes = Query::new("www.example.com".parse()?, RecordType::A).encode(7);
//! let message = Message::parse(&bytes)?;
//! assert_eq!(message.id(), 7);
//! assert_eq!(message.question().unwrap().name.to_string(), "www.example.com.");
//! # Ok::<(), dns_cache::Error>(())
//! ```

mod edns;
mod header;
mod message;
mod name;
mod query;
mod rdata;
mod request;
mod types;
mod writer;

pub use edns::Edns;
pub use header::{Flags, Header};
pub use message::{Message, Question, Record, Section};
pub use name::{Labels, Name};
pub use query::Query;
pub use rdata::RecordData;
pub use types::{Class, Rcode, RecordType};

pub(crate) use name::next_label;
pub(crate) use request::{Refusal, Request, write_header_only};
pub(crate) use writer::{Rdata, Writer};

use std::borrow::Cow;

use crate::error::{Error, ErrorKind};

/// The greatest message: its length field over TCP has 16 bits (RFC 1035 section 4.2.2).
pub(crate) const MAX_MESSAGE_BYTES: usize = 65_535;

fn malformed(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Malformed, message)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|&chunk| u16::from_be_bytes(chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|&chunk| u32::from_be_bytes(chunk))
}
