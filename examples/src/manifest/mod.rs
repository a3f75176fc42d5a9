//! Kubernetes objects as JSON: how they are stored, sent, read in part, and patched.

mod codec;
mod merge;
mod stored;

pub use codec::{JsonCodec, find};
pub use merge::{is_plain, merge};
pub use stored::{decode, encode, key, send};
