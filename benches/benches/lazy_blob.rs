//! Benches of `lazy-blob`.

fn main() {}
