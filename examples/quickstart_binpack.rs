//! Quickstart of `binpack`.

fn main() {}
