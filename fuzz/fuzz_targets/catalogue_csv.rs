#![no_main]
//! A catalogue file of any bytes, with the header of each form: an error or types that a plan
//! accepts, and no panic.

use binpack::{Config, CsvCatalogue, Input, NodePool, Pod, Resources, plan, validate};
use libfuzzer_sys::fuzz_target;

const HEADERS: [&[u8]; 3] = [
    b"name,family,category,generation,size,arch,vcpu,memory_mib,gpu_count,gpu_name,\
gpu_manufacturer,accel_count,accel_name,local_nvme_gib,max_pods,alloc_cpu_m,alloc_memory_mib,\
alloc_ephemeral_gib,od_usd_per_hour,spot_usd_per_hour_est,hypervisor\n",
    b"name,arch,os,cpu,memory,pods,ephemeral_storage,od_price,spot_price\n",
    b"name,vcpu_from_name,od_usd_per_hour,preemptible_usd_per_hour\n",
];

fuzz_target!(|rows: &[u8]| {
    let _ = CsvCatalogue::read(rows);
    for header in HEADERS {
        let Ok(catalogue) = CsvCatalogue::read([header, rows].concat().as_slice()) else {
            continue;
        };
        let input = Input {
            pods: vec![Pod::new("p", Resources::new(100, 1 << 20))],
            pools: vec![NodePool::new("any")],
            instance_types: catalogue.types(),
            ..Input::default()
        };
        let plan = plan(&input, &Config::default()).expect("what is read is well formed");
        validate(&input, &plan).expect("the plan keeps every rule");
    }
});
