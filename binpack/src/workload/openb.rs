//! The CSV form of Alibaba's GPU cluster trace of 2023 ("openb").

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;

use super::pods::{Form, GpuSpec, TraceOptions, each_row};
use crate::error::Result;
use crate::model::{GPU_MILLI, MAX_GPUS, MAX_QUANTITY, Node, Pod, Requirement, Resources, key};
use crate::table::{Headed, Row, Table};

const MIB: u64 = 1 << 20;

/// What Kubernetes allows on a node unless told otherwise; the trace doesn't say.
const PODS_PER_NODE: u64 = 110;

/// The columns of pods that are always read.
const COLUMNS: [&str; 5] = ["name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"];

pub(super) fn form<R: Read>() -> Form<R> {
    Form { name: "Alibaba openb 2023", mark: "gpu_milli", pods: read }
}

/// Reads pods from a CSV file with the columns `name`, `cpu_milli`, `memory_mib`, `num_gpu` and
/// `gpu_milli` (others are ignored, `gpu_spec` among them; [`read_pods`](super::read_pods)
/// can read it).
///
/// `num_gpu` 1 with `gpu_milli` below 1000 shares one GPU; `gpu_milli` 1000 asks for `num_gpu`
/// whole ones.
///
/// ```
/// let csv = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n\
///            trainer,12000,16384,1,1000\n\
///            notebook,6000,12288,1,460\n";
/// let pods = binpack::workload::openb(csv.as_bytes())?;
/// assert_eq!((pods.len(), pods[1].requests.gpu_milli), (2, 460));
/// # Ok::<(), binpack::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) that names the line and the column.
pub fn openb(input: impl Read) -> Result<Vec<Pod>> {
    read(Headed::read(input)?, &TraceOptions::default())
}

fn read<R: Read>(file: Headed<R>, options: &TraceOptions) -> Result<Vec<Pod>> {
    let mut columns = COLUMNS.to_vec();
    if options.gpu_spec != GpuSpec::Ignore {
        columns.push("gpu_spec");
    }
    let mut names = HashSet::new();
    each_row(file.table(&columns)?, |row| {
        let name = row.unique("name", &mut names)?;
        let requests = cpu_and_memory(row)?.with_pods(1).with_gpu_milli(gpu_milli(row)?);
        let pod = Pod::new(name, requests);
        Ok(match &options.gpu_spec {
            GpuSpec::Ignore => pod,
            GpuSpec::Map(models) => match accepted(row, models)? {
                Some(requirement) => pod.require(requirement),
                None => pod,
            },
        })
    })
}

/// The GPUs that a pod accepts; `None` is any.
fn accepted(row: &Row<'_>, models: &BTreeMap<String, Vec<String>>) -> Result<Option<Requirement>> {
    let spec = row.text("gpu_spec")?;
    if spec.is_empty() {
        return Ok(None);
    }
    let mut values = BTreeSet::new();
    for model in spec.split('|') {
        match models.get(model) {
            Some(names) if !names.is_empty() => values.extend(names.iter().map(String::as_str)),
            _ => {
                let problem = format!("has {model:?}, which the map gives no value: add one");
                return Err(row.wrong("gpu_spec", problem));
            }
        }
    }
    Ok(Some(Requirement::is_in(key::INSTANCE_GPU_NAME, values)))
}

/// Reads nodes from a CSV file with the columns `sn`, `cpu_milli`, `memory_mib`, `gpu` and
/// `model`. The GPU's model becomes the label
/// [`key::INSTANCE_GPU_NAME`](crate::key::INSTANCE_GPU_NAME), in lower case; every node takes 110
/// pods, Kubernetes' default, and is amd64 Linux.
///
/// # Errors
///
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) that names the line and the column.
pub fn openb_nodes(input: impl Read) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    let mut names = HashSet::new();
    Table::open(input, &["sn", "cpu_milli", "memory_mib", "gpu", "model"])?.for_each(|row| {
        let name = row.unique("sn", &mut names)?;
        let gpus = row.number("gpu", MAX_GPUS)?;
        let allocatable =
            cpu_and_memory(row)?.with_pods(PODS_PER_NODE).with_gpu_milli(gpus * GPU_MILLI);
        let mut node = Node::new(name, allocatable)
            .with_label(key::OS, "linux")
            .with_label(key::ARCH, "amd64");
        let model = row.text("model")?;
        if !model.is_empty() {
            node = node.with_label(key::INSTANCE_GPU_NAME, model.to_ascii_lowercase());
        }
        nodes.push(node);
        Ok(())
    })?;
    Ok(nodes)
}

fn cpu_and_memory(row: &Row<'_>) -> Result<Resources> {
    let cpu_milli = row.number("cpu_milli", MAX_QUANTITY)?;
    Ok(Resources::new(cpu_milli, row.number("memory_mib", MAX_QUANTITY / MIB)? * MIB))
}

fn gpu_milli(row: &Row<'_>) -> Result<u64> {
    let (gpus, milli) = (row.number("num_gpu", MAX_GPUS)?, row.number("gpu_milli", GPU_MILLI)?);
    match (gpus, milli) {
        (0, 0) | (1, 1..) => Ok(milli),
        (_, GPU_MILLI) if gpus > 0 => Ok(gpus * GPU_MILLI),
        (0, _) => Err(row.wrong("gpu_milli", "is above 0 with num_gpu 0: make them agree")),
        (_, 0) => Err(row.wrong("gpu_milli", "is 0 with GPUs: write 1000 for whole ones")),
        _ => Err(row.wrong("gpu_milli", "shares more than one GPU: only one can be shared")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Input;
    use crate::workload::read_pods;

    const HEADER: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n";

    fn read(rows: &str) -> Result<Vec<Pod>> {
        openb(format!("{HEADER}{rows}").as_bytes())
    }

    #[test]
    fn gpus_are_shared_or_whole() {
        let pods = read("a,1000,1,0,0,\nb,1000,1,1,460,\nc,1000,1,1,1000,\nd,1000,1,8,1000,V100\n")
            .unwrap();
        let gpus: Vec<u64> = pods.iter().map(|pod| pod.requests.gpu_milli).collect();
        assert_eq!(gpus, [0, 460, 1_000, 8_000]);
        assert_eq!(pods[0].requests.memory_bytes, MIB);
    }

    #[test]
    fn errors_name_line_and_column() {
        let said = |rows: &str| read(rows).unwrap_err().to_string();
        assert!(
            said("a,1,1,2,500,\n").starts_with("line 2, column gpu_milli: shares more than one")
        );
        assert!(said("a,1,1,0,500,\n").starts_with("line 2, column gpu_milli: is above 0"));
        assert!(said("a,1,1,1,0,\n").starts_with("line 2, column gpu_milli: is 0 with GPUs"));
        assert!(
            said("a,1,1,1,1001,\n").starts_with("line 2, column gpu_milli: is 1001, above 1000")
        );
        assert!(said("a,-5,1,0,0,\n").starts_with("line 2, column cpu_milli: is \"-5\""));
        assert!(
            said("a,1,1,0,0,\na,1,1,0,0,\n").starts_with("line 3, column name: a is given twice")
        );
        assert!(said(",1,1,0,0,\n").starts_with("line 2, column name: is empty"));
    }

    #[test]
    fn the_models_that_a_pod_accepts_become_a_condition_on_demand() {
        let csv = format!("{HEADER}a,1,1,1,1000,V100M16|V100M32\nb,1,1,1,1000,\nc,1,1,1,1000,T4\n");
        let to = |model: &str, names: &[&str]| {
            (model.to_owned(), names.iter().map(|name| (*name).to_owned()).collect())
        };
        let models = [to("V100M16", &["v100"]), to("V100M32", &["v100", "v100-32"])];
        let read = |models: BTreeMap<String, Vec<String>>| {
            let gpu_spec = GpuSpec::Map(models);
            read_pods(csv.as_bytes(), &TraceOptions { gpu_spec, ..TraceOptions::default() })
        };
        let t4 = [to("T4", &["t4"])];
        let pods = read(models.clone().into_iter().chain(t4).collect()).unwrap().pods;
        let v100 = Requirement::is_in(key::INSTANCE_GPU_NAME, ["v100", "v100-32"]);
        assert_eq!(pods[0].requirements, [v100]);
        assert_eq!(pods[1].requirements, []);
        assert_eq!(pods[2].requirements, [Requirement::is_in(key::INSTANCE_GPU_NAME, ["t4"])]);
        let missing = [models.to_vec(), [models.to_vec(), vec![to("T4", &[])]].concat()];
        for models in missing {
            let said = read(models.into_iter().collect()).unwrap_err().to_string();
            assert!(said.starts_with("line 4, column gpu_spec: has \"T4\""), "{said}");
        }
        let ignored = read_pods(csv.as_bytes(), &TraceOptions::default()).unwrap().pods;
        assert!(ignored.iter().all(|pod| pod.requirements.is_empty()));
    }

    #[test]
    fn nodes_carry_their_gpus() {
        let csv = "sn,cpu_milli,memory_mib,gpu,model\nn1,96000,393216,8,G2\nn2,32000,65536,0,\n";
        let nodes = openb_nodes(csv.as_bytes()).unwrap();
        assert_eq!((nodes[0].allocatable.gpu_milli, nodes[1].allocatable.gpu_milli), (8_000, 0));
        assert_eq!(&*nodes[0].labels[key::INSTANCE_GPU_NAME], "g2");
        assert!(!nodes[1].labels.contains_key(key::INSTANCE_GPU_NAME));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_what_is_read_is_well_formed(
            rows in "([a-c]{0,2},[-0-9]{0,4},[0-9]{0,2},[0-8]?,[0-9]{0,4},\n){0,4}",
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Ok(pods) = read(&rows) {
                Input { pods, ..Input::default() }.check().expect("what is read passes the input's check");
            }
            let bytes = [HEADER.as_bytes(), noise.as_slice()].concat();
            let _ = openb(bytes.as_slice());
            let _ = openb_nodes(bytes.as_slice());
            let _ = openb(noise.as_slice());
        }
    }
}
