//! The bytes of a checkpoint, and of the content of its frames: no panic, no unbounded allocation.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| kv_journal::fuzz_checkpoint(bytes));
