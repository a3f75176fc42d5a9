//! Questions to the planner in text, a statement a line: what scenarios are written in, and how
//! inputs that were generated are shown.
#![allow(
    dead_code,
    clippy::expect_used,
    reason = "each test uses a part, and helpers of tests fail by panic"
)]

pub(crate) mod case;
pub(crate) mod expectation;
mod groups;
mod pods;
pub(crate) mod print;
mod syntax;
mod text;
