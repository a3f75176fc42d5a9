//! Messages from outside: reading must not panic, and what is read must be consistent.
#![no_main]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dns_cache::upstream::MemoryUpstream;
use dns_cache::wire::{Message, Name};
use dns_cache::{Config, Driver, Outcome, Resolver, Transport};
use libfuzzer_sys::fuzz_target;

fn resolver() -> &'static Resolver {
    static RESOLVER: OnceLock<(Resolver, std::sync::Mutex<Driver>)> = OnceLock::new();
    let open = || {
        let upstream = Arc::new(MemoryUpstream::new());
        let (resolver, driver) = Resolver::open(upstream, None, Config::default()).unwrap();
        (resolver, std::sync::Mutex::new(driver))
    };
    &RESOLVER.get_or_init(open).0
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::parse(bytes) {
        let header = message.header();
        let announced =
            header.answers as usize + header.authorities as usize + header.additionals as usize;
        assert_eq!(message.records().count(), announced);
        for record in message.records() {
            let name = record.name();
            assert_eq!(name.to_string().parse::<Name>().unwrap(), name);
            _ = record.data();
        }
    }
    let mut out = Vec::new();
    if let Outcome::Answered(len) =
        resolver().answer_now(bytes, Duration::ZERO, Transport::Udp, &mut out)
    {
        assert_eq!(len, out.len());
        assert!(Message::parse(&out).is_ok());
    }
});
