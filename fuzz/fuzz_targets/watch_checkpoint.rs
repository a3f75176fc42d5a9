//! The bytes of a cache's checkpoint: no panic, no unbounded allocation.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| watch_cache::fuzz_checkpoint(bytes));
