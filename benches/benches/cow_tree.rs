//! Benches of `cow-tree`.

fn main() {}
