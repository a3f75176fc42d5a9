//! Benches of `binpack`.

fn main() {}
