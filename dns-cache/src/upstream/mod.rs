//! The port that misses go through.

mod fault;
mod memory;
mod udp;

pub use fault::{FaultUpstream, Faults};
pub use memory::MemoryUpstream;
pub use udp::{UdpStats, UdpUpstream, UdpUpstreamConfig};

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};

/// Who answers what the cache does not know.
///
/// # Contract
///
/// 1. The answer is a complete DNS message with QR set and the id of the query.
/// 2. The answer repeats the query's question (ASCII case aside).
/// 3. Exchanges are independent: any number may be under way, and each gets its own answer.
/// 4. A query that is not a complete message with one question is refused with `Invalid`.
/// 5. An exchange ends in bounded time: with an answer, or with `TimedOut` or `Unavailable`.
/// 6. Dropping an exchange leaves the upstream usable.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// Sends a complete query and returns the complete answer.
    ///
    /// # Errors
    ///
    /// `Invalid` for a query that is none, `TimedOut` when nobody answered in time,
    /// `Unavailable` when nobody can be reached, `Exhausted` when too many are under way.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the exchange and nothing else.
    async fn exchange(&self, query: Bytes) -> Result<Bytes>;
}

#[async_trait]
impl<U: Upstream + ?Sized> Upstream for Arc<U> {
    async fn exchange(&self, query: Bytes) -> Result<Bytes> {
        (**self).exchange(query).await
    }
}

const HEADER_BYTES: usize = 12;

/// The question section of a message that has exactly one question, uncompressed.
fn question(message: &[u8]) -> Option<&[u8]> {
    let (header, mut rest) = message.split_at_checked(HEADER_BYTES)?;
    let one = header.get(4..6)? == [0, 1];
    let (sections, mut name_bytes) = (rest, 0);
    loop {
        let (&len, behind) = rest.split_first()?;
        name_bytes += usize::from(len) + 1;
        rest = behind.get(usize::from(len)..)?;
        match len {
            0 => break,
            1..=63 if name_bytes < 255 => {}
            _ => return None,
        }
    }
    sections.get(..name_bytes + 4).filter(|_| one)
}

/// The question of a query, or the refusal of contract item 4.
fn checked_question(query: &[u8]) -> Result<&[u8]> {
    let response = query.get(2).is_none_or(|flags| flags & 0x80 != 0);
    question(query).filter(|_| !response).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "the query is not a message with one question: build it anew",
        )
    })
}

/// Whether `answer` is a response to `query`: QR, id and question.
fn answers(query: &[u8], answer: &[u8]) -> bool {
    let response = answer.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let same_question = match (question(query), question(answer)) {
        (Some(asked), Some(answered)) => asked.eq_ignore_ascii_case(answered),
        _ => false,
    };
    response && query.get(..2) == answer.get(..2) && same_question
}
