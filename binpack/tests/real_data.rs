//! Real traces and a real catalogue, from the folder that `TRESTLE_DATA` names.

use std::fs::File;
use std::path::PathBuf;

use binpack::{
    BuiltinCatalogue, CapacityType, Config, CsvCatalogue, GPU_MILLI, Input, InstanceType, Node,
    NodePool, Plan, Pod, ReasonKind, key, plan, validate, workload,
};

/// A file of the data folder, or `None` with a loud line.
fn data(test: &str, name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("TRESTLE_DATA") else {
        eprintln!("SKIPPED: {test} wants {name}: set TRESTLE_DATA to the folder of the data files");
        return None;
    };
    Some(PathBuf::from(folder).join(name))
}

fn pods(path: PathBuf) -> Vec<Pod> {
    workload::openb(File::open(path).expect("the trace is in the data folder"))
        .expect("the trace is well formed")
}

fn nodes(path: PathBuf) -> Vec<Node> {
    workload::openb_nodes(File::open(path).expect("the nodes are there"))
        .expect("the nodes are well formed")
}

fn planned(input: &Input) -> Plan {
    let plan = plan(input, &Config::default()).expect("real data is valid");
    validate(input, &plan).expect("the plan keeps every rule");
    assert_eq!(plan.bindings.len() + plan.unplaced.len(), input.pods.len());
    plan
}

/// The types that a pool for ordinary containers may launch.
fn launchable(types: &[InstanceType]) -> impl Iterator<Item = (&InstanceType, u64)> {
    types.iter().filter(|it| &*it.labels[key::ARCH] == "amd64").filter_map(|it| {
        let sold = it.offerings.iter().find(|o| o.capacity_type == CapacityType::OnDemand)?;
        Some((it, sold.price_micros))
    })
}

/// Each pod alone on the cheapest machine that holds it; `None` if none does.
fn alone(pod: &Pod, types: &[InstanceType]) -> Option<u64> {
    let fitting = launchable(types).filter(|(it, _)| pod.requests.fits_within(&it.allocatable));
    fitting.map(|(_, price)| price).min()
}

/// A lower bound on the cost of these pods: for any mix of resources, each pod costs at least its
/// part of the mix on the machine that sells it cheapest.
#[expect(clippy::cast_precision_loss, reason = "a bound with a tolerance far above the rounding")]
fn lower_bound(pods: &[&Pod], types: &[InstanceType]) -> f64 {
    let share = |need: u64, has: u64| if need == 0 { 0.0 } else { need as f64 / has.max(1) as f64 };
    let of = |cpu: f64, memory: f64, gpu: f64| -> f64 {
        let each = |pod: &&Pod| {
            let part = |it: &InstanceType| {
                cpu * share(pod.requests.cpu_milli, it.allocatable.cpu_milli)
                    + memory * share(pod.requests.memory_bytes, it.allocatable.memory_bytes)
                    + gpu * share(pod.requests.gpu_milli, it.allocatable.gpu_milli)
            };
            let fitting =
                launchable(types).filter(|(it, _)| pod.requests.fits_within(&it.allocatable));
            fitting.map(|(it, price)| part(it) * price as f64).fold(f64::INFINITY, f64::min)
        };
        pods.iter().map(each).sum()
    };
    let tenths = (0..=10).flat_map(|cpu| (0..=10 - cpu).map(move |memory| (cpu, memory)));
    let bounds = tenths.map(|(cpu, memory)| {
        let (cpu, memory) = (f64::from(cpu) / 10.0, f64::from(memory) / 10.0);
        of(cpu, memory, 1.0 - cpu - memory)
    });
    bounds.fold(0.0, f64::max)
}

#[test]
fn the_trace_is_placed_on_new_machines_between_the_bounds() {
    let test = "the_trace_is_placed_on_new_machines_between_the_bounds";
    let Some(trace) = data(test, "openb_pod_list_default.csv") else { return };
    let Some(catalogue) = data(test, "aws_instance_types.csv") else { return };
    let catalogue = CsvCatalogue::open(catalogue).expect("the catalogue is well formed");
    assert_eq!((catalogue.types().len(), catalogue.skipped()), (1_345, 18));
    let input = Input {
        pods: pods(trace),
        pools: vec![NodePool::linux_amd64_on_demand("default")],
        instance_types: catalogue.types(),
        ..Input::default()
    };
    assert_eq!(input.pods.len(), 8_152);
    let plan = planned(&input);

    let placeable: Vec<&Pod> =
        input.pods.iter().filter(|pod| alone(pod, &input.instance_types).is_some()).collect();
    assert_eq!(plan.bindings.len(), placeable.len(), "every pod that some machine holds is placed");
    let naive: u64 = placeable.iter().filter_map(|pod| alone(pod, &input.instance_types)).sum();
    let cost = plan.cost_per_hour_micros;
    let cpu_pods: Vec<&Pod> =
        placeable.iter().copied().filter(|pod| pod.requests.gpu_milli == 0).collect();
    let gpu_pods: Vec<&Pod> =
        placeable.iter().copied().filter(|pod| pod.requests.gpu_milli > 0).collect();
    let bound = lower_bound(&gpu_pods, &input.instance_types)
        .max(lower_bound(&cpu_pods, &input.instance_types));
    println!(
        "{} pods on {} machines: {:.2} $/h; each pod alone {:.2}; lower bound {:.2}",
        plan.bindings.len(),
        plan.launches.len(),
        plan.cost_per_hour(),
        naive as f64 / 1e6,
        bound / 1e6,
    );
    assert!(cost < naive, "{cost} is below {naive}, each pod alone");
    assert!(cost as f64 >= bound, "{cost} is not below {bound}, which no plan can be");
}
