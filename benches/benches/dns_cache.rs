//! Benches of `dns-cache`.

fn main() {}
