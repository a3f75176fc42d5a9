//! Benches of `watch-cache`.

fn main() {}
