//! JSON from a client of the etcd server's gateway: refused, or read as what is written of it again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    assert!(kv_journal::etcd_server::fuzz_gateway(text));
});
