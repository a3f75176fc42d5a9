//! The full stack in one process.

fn main() {}
