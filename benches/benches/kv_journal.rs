//! Benches of `kv-journal`.

fn main() {}
