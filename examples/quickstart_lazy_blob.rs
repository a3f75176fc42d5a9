//! Quickstart of `lazy-blob`.

fn main() {}
