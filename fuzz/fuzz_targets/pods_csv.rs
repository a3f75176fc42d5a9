#![no_main]
//! A trace of any bytes, with the header of each form: an error or pods and nodes that a plan
//! accepts, and no panic.

use binpack::workload::{self, TraceOptions};
use binpack::{Config, Input, plan, validate};
use libfuzzer_sys::fuzz_target;

const HEADERS: [&[u8]; 3] = [
    b"name,cpu_milli,memory_mib,num_gpu,gpu_milli\n",
    b"instance,role,app,cpu,gpu,rdma_pct,memory_gib,disk_gib,max_instance_per_node\n",
    b"name,cpu_m,memory_mib,initial_pods,scaled_in_pods,hostname_anti_affinity,\
zone_spread_max_skew,hostname_spread_max_skew\n",
];

/// A row of a deployment may make many pods; so many are planned.
const PLANNED: usize = 1_000;

fuzz_target!(|rows: &[u8]| {
    let options = TraceOptions::default();
    let _ = workload::read_pods(rows, &options);
    let nodes = [b"sn,cpu_milli,memory_mib,gpu,model\n".as_slice(), rows].concat();
    let nodes = workload::openb_nodes(nodes.as_slice()).unwrap_or_default();
    for header in HEADERS {
        let pods = [header, rows].concat();
        let mut pods = workload::read_pods(pods.as_slice(), &options).unwrap_or_default().pods;
        pods.truncate(PLANNED);
        let input = Input { pods, nodes: nodes.clone(), ..Input::default() };
        let plan = plan(&input, &Config::default()).expect("what is read is well formed");
        validate(&input, &plan).expect("the plan keeps every rule");
    }
});
