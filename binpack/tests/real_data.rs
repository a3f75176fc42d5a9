//! Real traces and a real catalogue, from the folder that `TRESTLE_DATA` names.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panic"
)]

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use binpack::workload::{Claim, Devices, Replicas, TraceOptions, Workload, open_pods};
use binpack::{
    BuiltinCatalogue, CapacityType, Config, CsvCatalogue, Input, InstanceType, LabelSelector,
    NodePool, Offering, Plan, Pod, ReasonKind, Requirement, Resources, Target, TopologySpread, key,
    plan, validate, verify, workload,
};

/// A file of the data folder, or `None` with a loud line.
fn data(test: &str, name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("TRESTLE_DATA") else {
        eprintln!("SKIPPED: {test} wants {name}: set TRESTLE_DATA to the folder of the data files");
        return None;
    };
    Some(PathBuf::from(folder).join(name))
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
    let mut shapes: HashMap<&Resources, f64> = HashMap::new();
    for pod in pods {
        *shapes.entry(&pod.requests).or_default() += 1.0;
    }
    let sold: Vec<_> = launchable(types).collect();
    let share = |need: u64, has: u64| if need == 0 { 0.0 } else { need as f64 / has.max(1) as f64 };
    let of = |cpu: f64, memory: f64, gpu: f64| -> f64 {
        let each = |(need, pods): (&&Resources, &f64)| {
            let part = |it: &InstanceType| {
                cpu * share(need.cpu_milli, it.allocatable.cpu_milli)
                    + memory * share(need.memory_bytes, it.allocatable.memory_bytes)
                    + gpu * share(need.gpu_milli, it.allocatable.gpu_milli)
            };
            let fitting = sold.iter().filter(|(it, _)| need.fits_within(&it.allocatable));
            let cheapest =
                fitting.map(|(it, price)| part(it) * *price as f64).fold(f64::INFINITY, f64::min);
            cheapest * pods
        };
        shapes.iter().map(each).sum()
    };
    let fifths = (0..=5).flat_map(|cpu| (0..=5 - cpu).map(move |memory| (cpu, memory)));
    let bounds = fifths.map(|(cpu, memory)| {
        let (cpu, memory) = (f64::from(cpu) / 5.0, f64::from(memory) / 5.0);
        of(cpu, memory, (1.0 - cpu - memory).max(0.0))
    });
    bounds.fold(0.0, f64::max)
}

fn trace(test: &str) -> Option<Vec<Pod>> {
    let path = data(test, "openb_pod_list_default.csv")?;
    let pods =
        workload::openb(File::open(path).expect("the trace is there")).expect("it is well formed");
    assert_eq!(pods.len(), 8_152);
    Some(pods)
}

fn catalogue(test: &str) -> Option<CsvCatalogue> {
    let catalogue =
        CsvCatalogue::open(data(test, "aws_instance_types.csv")?).expect("it is well formed");
    assert_eq!((catalogue.types().len(), catalogue.skipped()), (1_345, 18));
    Some(catalogue)
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "dollars to print")]
fn the_trace_is_placed_on_new_machines_between_the_bounds() {
    let test = "the_trace_is_placed_on_new_machines_between_the_bounds";
    let (Some(pods), Some(catalogue)) = (trace(test), catalogue(test)) else { return };
    let pools = vec![NodePool::linux_amd64_on_demand("default")];
    let input = Input { pods, pools, instance_types: catalogue.types(), ..Input::default() };
    let plan = planned(&input);

    let mut alone_of: HashMap<&Resources, Option<u64>> = HashMap::new();
    for pod in &input.pods {
        alone_of.entry(&pod.requests).or_insert_with(|| alone(pod, &input.instance_types));
    }
    let placeable: Vec<&Pod> =
        input.pods.iter().filter(|pod| alone_of[&pod.requests].is_some()).collect();
    assert_eq!(plan.bindings.len(), placeable.len(), "every pod that some machine holds is placed");
    let naive: u64 = placeable.iter().filter_map(|pod| alone_of[&pod.requests]).sum();
    let bound = lower_bound(&placeable, &input.instance_types);
    println!(
        "{} pods on {} machines: {:.2} $/h; each pod alone {:.2}; lower bound {:.2}",
        plan.bindings.len(),
        plan.launches.len(),
        plan.cost_per_hour(),
        naive as f64 / 1e6,
        bound / 1e6,
    );
    let cost = plan.cost_per_hour_micros;
    assert!(cost < naive, "{cost} must be below {naive}, each pod alone");
    assert!(cost as f64 >= bound, "{cost} can't be below {bound}, which no plan can be");
}

/// Its shares of GPUs are worth most where they fill devices: the values are too high for machines
/// whose GPUs were divisible.
#[test]
fn the_bound_of_the_trace_holds_on_new_machines() {
    let test = "the_bound_of_the_trace_holds_on_new_machines";
    let (Some(pods), Some(catalogue)) = (trace(test), catalogue(test)) else { return };
    let pools = vec![NodePool::linux_amd64_on_demand("default")];
    let input = Input { pods, pools, instance_types: catalogue.types(), ..Input::default() };
    let mut config = Config::default();
    config.iterations = 30;
    let plan = plan(&input, &config).expect("real data is valid");
    let verified = verify(&input, &plan).expect("it is proven");
    println!("bound {} of {}", verified.lower_bound_micros, plan.cost_per_hour_micros);
    let certificate = plan.certificate.as_ref().expect("a plan has one");
    assert_eq!(verified.lower_bound_micros, certificate.lower_bound_micros);
    assert!(verified.lower_bound_micros > plan.cost_per_hour_micros / 2, "{verified:?}");
}

#[test]
fn the_trace_fills_its_own_cluster_first() {
    let test = "the_trace_fills_its_own_cluster_first";
    let (Some(pods), Some(catalogue)) = (trace(test), catalogue(test)) else { return };
    let Some(path) = data(test, "openb_node_list_all_node.csv") else { return };
    let nodes = workload::openb_nodes(File::open(path).expect("they are there"))
        .expect("they are well formed");
    assert_eq!(nodes.len(), 1_523);
    let alone = Input { pods: pods.clone(), nodes: nodes.clone(), ..Input::default() };
    let on_its_own = planned(&alone);
    assert!(on_its_own.launches.is_empty() && on_its_own.cost_per_hour_micros == 0);
    let full = |unplaced: &binpack::Unplaced| unplaced.reason.kind == ReasonKind::Resources;
    assert!(on_its_own.unplaced.iter().all(full), "only room is missing");

    let pools = vec![NodePool::linux_amd64_on_demand("default")];
    let input = Input { pods, nodes, pools, instance_types: catalogue.types(), ..Input::default() };
    let plan = planned(&input);
    assert!(plan.unplaced.is_empty(), "what its own machines don't hold is launched for");
    let launched = plan.bindings.iter().filter(|b| matches!(b.target, Target::Launch(_))).count();
    assert_eq!(launched, on_its_own.unplaced.len(), "and nothing else is");
}

/// The built-in table against the same facts from another source. Prices may have moved by a
/// tenth since either was written; what a machine has may not, and what the system keeps of it is
/// a formula on both sides, within 1 %.
#[test]
fn the_built_in_table_agrees_with_the_catalogue() {
    let test = "the_built_in_table_agrees_with_the_catalogue";
    let Some(catalogue) = catalogue(test) else { return };
    let types = catalogue.types();
    let by_name: HashMap<&str, &InstanceType> = types.iter().map(|it| (&*it.name, it)).collect();
    let close = |a: u64, b: u64, permille: u64| a.abs_diff(b) * 1_000 <= b * permille;
    let mine = BuiltinCatalogue::new().types();
    assert!(mine.len() > 200);
    for it in mine.iter() {
        let other = by_name.get(&*it.name).unwrap_or_else(|| panic!("{} does not exist", it.name));
        assert_eq!(it.capacity.cpu_milli, other.capacity.cpu_milli, "{}", it.name);
        assert_eq!(it.capacity.memory_bytes, other.capacity.memory_bytes, "{}", it.name);
        assert_eq!(it.capacity.gpu_milli, other.capacity.gpu_milli, "{}", it.name);
        assert_eq!(it.capacity.pods, other.capacity.pods, "{}", it.name);
        assert_eq!(it.allocatable.cpu_milli, other.allocatable.cpu_milli, "{}", it.name);
        assert_eq!(
            it.allocatable.ephemeral_bytes, other.allocatable.ephemeral_bytes,
            "{}",
            it.name
        );
        assert!(
            close(it.allocatable.memory_bytes, other.allocatable.memory_bytes, 10),
            "{}",
            it.name
        );
        let on_demand = |o: &&Offering| o.capacity_type == CapacityType::OnDemand;
        let prices =
            [it, other].map(|it| it.offerings.iter().find(on_demand).expect("sold").price_micros);
        assert!(close(prices[0], prices[1], 100), "{}: {prices:?}", it.name);
        for (key, value) in &it.labels {
            assert_eq!(other.labels.get(key), Some(value), "{} {key}", it.name);
        }
    }
}

fn of<'a>(types: &'a [InstanceType], name: &str) -> &'a InstanceType {
    types.iter().find(|it| &*it.name == name).unwrap_or_else(|| panic!("{name} is missing"))
}

fn price(it: &InstanceType, capacity_type: CapacityType) -> Option<u64> {
    it.offerings.iter().find(|o| o.capacity_type == capacity_type).map(|o| o.price_micros)
}

fn kwok(test: &str) -> Option<CsvCatalogue> {
    let catalogue =
        CsvCatalogue::open(data(test, "kwok_instance_types.csv")?).expect("well formed");
    assert_eq!((catalogue.types().len(), catalogue.skipped()), (144, 0));
    Some(catalogue)
}

#[test]
fn the_kwok_catalogue_is_read_by_its_header() {
    let test = "the_kwok_catalogue_is_read_by_its_header";
    let Some(catalogue) = kwok(test) else { return };
    let types = catalogue.types();
    let largest = of(&types, "m-256x-arm64-windows");
    let capacity = Resources::new(256_000, 2 << 40).with_pods(1_024);
    assert_eq!(largest.capacity, capacity.with_ephemeral_bytes(20 << 30));
    assert_eq!(
        (largest.allocatable.cpu_milli, largest.allocatable.memory_bytes),
        (255_900, (2 << 40) - (10 << 20))
    );
    let has = |key: &str, value: &str| &*largest.labels[key] == value;
    assert!(has(key::OS, "windows") && has(key::ARCH, "arm64"));
    assert!(has("karpenter.kwok.sh/instance-family", "m"));
    assert!(has("karpenter.kwok.sh/instance-memory", "2Ti"));
    assert_eq!(largest.offerings.len(), 8, "in four zones, on demand and as spot");
    assert!(largest.offerings.contains(&Offering::new(
        "test-zone-d",
        CapacityType::Spot,
        6_019_317
    )));
}

#[test]
fn the_gce_catalogue_is_read_by_its_header() {
    let test = "the_gce_catalogue_is_read_by_its_header";
    let Some(path) = data(test, "gce_machine_prices.csv") else { return };
    let catalogue = CsvCatalogue::open(path).expect("it is well formed");
    // Eleven of z4d, whose memory is no fixed multiple, and two shared cores.
    assert_eq!((catalogue.types().len(), catalogue.skipped()), (220, 13));
    let types = catalogue.types();
    let n2 = of(&types, "n2-standard-4");
    assert_eq!((n2.capacity.cpu_milli, n2.capacity.memory_bytes), (4_000, 16 << 30));
    assert_eq!((n2.allocatable.cpu_milli, n2.allocatable.pods), (3_920, 110));
    // 16 GiB less 1 GiB, 0.8 GiB, 0.8 GiB and 100 MiB: in MiB, rounded down.
    assert_eq!(n2.allocatable.memory_bytes >> 20, 13_621);
    assert_eq!(price(n2, CapacityType::OnDemand), Some(194_200));
    assert_eq!(price(n2, CapacityType::Spot), Some(47_000));
    let a2 = of(&types, "a2-ultragpu-8g");
    assert_eq!((a2.allocatable.gpu_milli, a2.capacity.memory_bytes >> 30), (8_000, 1_360));
    assert_eq!(a2.offerings.len(), 6, "in three zones, on demand and as spot");
    assert_eq!(price(of(&types, "c3d-standard-4"), CapacityType::Spot), None);
    assert!(types.iter().all(|it| &*it.labels[key::ARCH] == "amd64"));
    let gpus = types.iter().filter(|it| it.capacity.gpu_milli > 0).count();
    assert_eq!(gpus, 17, "nine with A100 and eight with L4");
}

fn pods(test: &str, name: &str, options: &TraceOptions) -> Option<Workload> {
    Some(open_pods(data(test, name)?, options).expect("it is well formed"))
}

#[test]
fn the_trace_is_read_by_its_header() {
    let test = "the_trace_is_read_by_its_header";
    let Some(all) = trace(test) else { return };
    let mut options = TraceOptions::default();
    let name = "openb_pod_list_default.csv";
    let read = pods(test, name, &options).expect("the folder is there");
    assert_eq!((read.pods, read.skipped), (all, 0));
    options.devices = Devices::Gpu;
    let read = pods(test, name, &options).expect("the folder is there");
    assert_eq!((read.pods.len(), read.skipped), (7_064, 1_088));
}

#[test]
fn the_dlrm_trace_is_read_by_its_header() {
    let test = "the_dlrm_trace_is_read_by_its_header";
    let mut options = TraceOptions::default();
    let name = "alibaba_dlrm_2025.csv";
    let Some(all) = pods(test, name, &options) else { return };
    assert_eq!((all.pods.len(), all.skipped), (23_871, 0));
    let first = &all.pods[0];
    let requests = Resources::new(12_000, 120 << 30)
        .with_pods(1)
        .with_ephemeral_bytes(640 << 30)
        .with_gpu_milli(1_000)
        .with_extended("koordinator.sh/rdma", 25);
    assert_eq!((&*first.name, &first.requests), ("dlrm-0", &requests));
    let alike = LabelSelector::labels([("app", "0"), ("role", "HN")]);
    assert_eq!(first.topology_spread, [TopologySpread::new(key::HOSTNAME, alike, 8)]);
    let spread = all.pods.iter().filter(|pod| !pod.topology_spread.is_empty()).count();
    assert_eq!(spread, 23_871 - 12_248, "all but those of max_instance_per_node -1");

    (options.disk, options.rdma) = (Claim::Ignore, Claim::Ignore);
    options.devices = Devices::NoGpu;
    let cpu = pods(test, name, &options).expect("the folder is there");
    assert_eq!((cpu.pods.len(), cpu.skipped), (16_485, 7_386));
    for pod in &cpu.pods {
        assert_eq!(&*pod.labels["role"], "CN");
        assert!(pod.requests.extended.is_empty() && pod.requests.ephemeral_bytes == 0);
    }
    options.devices = Devices::Gpu;
    let gpu = pods(test, name, &options).expect("the folder is there");
    assert_eq!((gpu.pods.len(), gpu.skipped), (7_386, 16_485));
    assert!(gpu.pods.iter().all(|pod| &*pod.labels["role"] == "HN"));
}

fn wide(test: &str, replicas: Replicas) -> Option<Vec<Pod>> {
    let mut options = TraceOptions::default();
    options.replicas = replicas;
    let read = pods(test, "karpenter_wide_deployments.csv", &options)?;
    assert_eq!(read.skipped, 0);
    Some(read.pods)
}

#[test]
fn the_wide_deployments_are_read_by_their_header() {
    let test = "the_wide_deployments_are_read_by_their_header";
    let Some(initial) = wide(test, Replicas::Initial) else { return };
    let scaled_in = wide(test, Replicas::ScaledIn).expect("the folder is there");
    assert_eq!((initial.len(), scaled_in.len()), (1_000, 700));
    assert!(scaled_in.iter().all(|pod| initial.contains(pod)), "the rest stays as it is");
    assert!(initial.iter().all(|pod| pod.topology_spread[0].topology_key.as_ref() == key::ZONE));
    let alone = initial.iter().filter(|pod| !pod.pod_anti_affinity.is_empty()).count();
    let by_node = initial.iter().filter(|pod| pod.topology_spread.len() == 2).count();
    assert_eq!((alone, by_node), (3 * 35, 3 * 35));
    let last = &initial[999];
    assert_eq!(
        (&*last.name, &*last.labels["app"]),
        ("wide-deployment-30-29", "wide-deployment-30")
    );
    assert_eq!(last.requests, Resources::new(2_800, 24_576 << 20).with_pods(1));
}

/// Spread is not judged here, only what a plan has always kept.
#[test]
fn the_wide_deployments_are_planned_on_two_catalogues() {
    let test = "the_wide_deployments_are_planned_on_two_catalogues";
    let (Some(kwok), Some(aws)) = (kwok(test), catalogue(test)) else { return };
    let Some(mut pods) = wide(test, Replicas::Initial) else { return };
    for pod in &mut pods {
        pod.topology_spread.clear();
        pod.pod_anti_affinity.clear();
    }
    for (types, zone) in [(kwok.types(), "test-zone-"), (aws.types(), "us-east-1")] {
        let mut spot = NodePool::new("spot");
        for (key, value) in [(key::OS, "linux"), (key::ARCH, "amd64"), (key::CAPACITY_TYPE, "spot")]
        {
            spot.requirements.push(Requirement::is_in(key, [value]));
        }
        for pool in [NodePool::linux_amd64_on_demand("on-demand"), spot] {
            let (pods, pools) = (pods.clone(), vec![pool]);
            let input = Input { pods, pools, instance_types: types.clone(), ..Input::default() };
            let plan = planned(&input);
            assert!(plan.unplaced.is_empty() && !plan.launches.is_empty());
            for launch in &plan.launches {
                assert_eq!(launch.capacity_type.as_str(), &*input.pools[0].name);
                assert!(launch.zone.starts_with(zone), "{}", launch.zone);
                assert_eq!(&*of(&types, &launch.instance_type).labels[key::OS], "linux");
            }
        }
    }
}
