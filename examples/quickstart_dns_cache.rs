//! Quickstart of `dns-cache`.

fn main() {}
