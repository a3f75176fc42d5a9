//! Where pods and nodes come from when no cluster is at hand: a trace, or a built-in mix.

mod mix;
mod openb;

pub use mix::mix;
pub use openb::{openb, openb_nodes};
