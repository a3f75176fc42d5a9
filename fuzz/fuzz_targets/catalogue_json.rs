#![no_main]
//! A catalogue of any JSON, or of any bytes: an error or types that a plan accepts, and no panic.

use binpack::{Config, Input, JsonCatalogue, NodePool, Pod, Resources, plan, validate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let Ok(catalogue) = JsonCatalogue::read(json) else { return };
    let input = Input {
        pods: vec![Pod::new("p", Resources::new(100, 1 << 20))],
        pools: vec![NodePool::new("any")],
        instance_types: catalogue.types(),
        ..Input::default()
    };
    let plan = plan(&input, &Config::default()).expect("what is read is well formed");
    validate(&input, &plan).expect("the plan keeps every rule");
});
