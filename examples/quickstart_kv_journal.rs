//! Quickstart of `kv-journal`.

fn main() {}
