#![no_main]
//! A trace of any bytes: an error or pods and nodes that a plan accepts, and no panic.

use binpack::{Config, Input, plan, validate, workload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|rows: &[u8]| {
    let _ = workload::openb(rows);
    let pods = [b"name,cpu_milli,memory_mib,num_gpu,gpu_milli\n".as_slice(), rows].concat();
    let nodes = [b"sn,cpu_milli,memory_mib,gpu,model\n".as_slice(), rows].concat();
    let input = Input {
        pods: workload::openb(pods.as_slice()).unwrap_or_default(),
        nodes: workload::openb_nodes(nodes.as_slice()).unwrap_or_default(),
        ..Input::default()
    };
    let plan = plan(&input, &Config::default()).expect("what is read is well formed");
    validate(&input, &plan).expect("the plan keeps every rule");
});
