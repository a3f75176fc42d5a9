//! From the flags to the question: every file is read here, and nothing is planned yet.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use binpack::workload::{Claim, Devices, GpuSpec, Replicas, TraceOptions, open_pods, openb_nodes};
use binpack::{
    BuiltinCatalogue, CsvCatalogue, Input, InstanceType, JsonCatalogue, Manifests, Node, Pod,
    open_node_groups,
};
use trestle_examples::fail::{Context, Fail, Result};

use crate::args::{Args, BUILTIN, Only, Replicas as Scale};
use crate::default_pool;
use crate::text::{counted, listed};

/// What is planned, and what the reader should know of how it was read.
pub(crate) struct Inputs {
    pub(crate) input: Input,
    pub(crate) notes: Vec<String>,
}

impl Inputs {
    /// Reads all files that the arguments name.
    pub(crate) fn read(args: &Args) -> Result<Self> {
        let mut files = Files::read(args)?;
        let types = catalogue(&args.catalog, &mut files.notes)?;
        let Files { mut notes, mut pods, mut nodes, mut manifests, .. } = files;
        if !manifests.disregarded.is_empty() {
            notes.push(format!("read past: {}", manifests.disregarded.join(", ")));
        }
        let unused = default_pool::flags(args);
        for path in &args.groups {
            let read = open_node_groups(path).context(|| "--groups".to_owned())?;
            manifests.node_groups.extend(read);
        }
        if manifests.pools.is_empty() && manifests.node_groups.is_empty() {
            manifests.pools.push(default_pool::of(args, &types)?);
        } else if !unused.is_empty() {
            let what = if manifests.pools.is_empty() {
                "not used, for node groups are given: name a type that has it"
            } else {
                "not used, for node pools are given: put it in their requirements"
            };
            notes.push(format!("{}: {what}", unused.join(", ")));
        }
        pods.append(&mut manifests.pods);
        nodes.append(&mut manifests.nodes);
        (manifests.pods, manifests.nodes) = (pods, nodes);
        let input = manifests.into_input(types);
        if input.pods.is_empty() {
            let problem = "has no pod that waits for a node: name a file with pods";
            return Err(Fail::new(format!("--pods {} {problem}", listed(&args.pods))));
        }
        Ok(Self { input, notes })
    }
}

/// What the files of pods, nodes and pools hold.
#[derive(Default)]
struct Files {
    pods: Vec<Pod>,
    nodes: Vec<Node>,
    /// Read together, so that objects of different files may refer to each other.
    paths: Vec<PathBuf>,
    manifests: Manifests,
    notes: Vec<String>,
}

impl Files {
    fn read(args: &Args) -> Result<Self> {
        let (mut files, options) = (Self::default(), trace_options(args)?);
        for path in &args.pods {
            match form("--pods", path)? {
                Form::Csv => files.add_trace(path, &options)?,
                Form::Manifests => files.add_manifests(path),
            }
        }
        for path in &args.nodes {
            match form("--nodes", path)? {
                Form::Csv => files.add_nodes(path)?,
                Form::Manifests => files.add_manifests(path),
            }
        }
        for path in &args.pools {
            match form("--pools", path)? {
                Form::Csv => {
                    let problem = "is no manifest: write NodePools in YAML or JSON";
                    return Err(Fail::new(format!("--pools {} {problem}", path.display())));
                }
                Form::Manifests => files.add_manifests(path),
            }
        }
        files.read_manifests(args)?;
        Ok(files)
    }

    fn add_trace(&mut self, path: &Path, options: &TraceOptions) -> Result<()> {
        let mut read = open_pods(path, options).context(|| "--pods".to_owned())?;
        self.pods.append(&mut read.pods);
        if read.skipped > 0 {
            let pods = counted(read.skipped as u64, "pod");
            self.notes.push(format!("{}: {pods} left out by --only", path.display()));
        }
        Ok(())
    }

    fn add_nodes(&mut self, path: &Path) -> Result<()> {
        let said = || format!("--nodes {}", path.display());
        let file = File::open(path).context(|| format!("{} can't be opened", said()))?;
        self.nodes.append(&mut openb_nodes(BufReader::new(file)).context(said)?);
        Ok(())
    }

    /// A file that several flags name is read once.
    fn add_manifests(&mut self, path: &Path) {
        let same = |other: &PathBuf| match (fs::canonicalize(other), fs::canonicalize(path)) {
            (Ok(other), Ok(path)) => other == path,
            _ => false,
        };
        if !self.paths.iter().any(same) {
            self.paths.push(path.to_owned());
        }
    }

    fn read_manifests(&mut self, args: &Args) -> Result<()> {
        let read = Manifests::open_all(&self.paths);
        self.manifests = read.map_err(|error| Fail::new(Fail::chain(&error)))?;
        if !args.nodes.is_empty() && self.nodes.is_empty() && self.manifests.nodes.is_empty() {
            let problem =
                "has no Node that is ready: leave the flag out, or name a file with nodes";
            return Err(Fail::new(format!("--nodes {} {problem}", listed(&args.nodes))));
        }
        if !args.pools.is_empty() && self.manifests.pools.is_empty() {
            let problem = "has no NodePool: leave the flag out, or name a file with node pools";
            return Err(Fail::new(format!("--pools {} {problem}", listed(&args.pools))));
        }
        Ok(())
    }
}

/// What a path holds, as far as its name tells.
enum Form {
    Csv,
    Manifests,
}

fn form(flag: &str, path: &Path) -> Result<Form> {
    let is_folder = fs::metadata(path)
        .context(|| {
            format!("{flag} {} is not there or not open to you, correct the path", path.display())
        })?
        .is_dir();
    match ending(path).as_str() {
        _ if is_folder => Ok(Form::Manifests),
        "csv" => Ok(Form::Csv),
        "yaml" | "yml" | "json" => Ok(Form::Manifests),
        _ => {
            let problem = "does not end in .csv, .yaml, .yml or .json and is no folder: rename it \
                           after what it holds";
            Err(Fail::new(format!("{flag} {} {problem}", path.display())))
        }
    }
}

fn ending(path: &Path) -> String {
    path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

fn catalogue(path: &Path, notes: &mut Vec<String>) -> Result<Arc<[InstanceType]>> {
    let said = || "--catalog".to_owned();
    if path == Path::new(BUILTIN) {
        return Ok(BuiltinCatalogue::new().types());
    }
    if ending(path) == "json" {
        return Ok(JsonCatalogue::open(path).context(said)?.types());
    }
    let read = CsvCatalogue::open(path).context(said)?;
    if read.skipped() > 0 {
        let types = counted(read.skipped() as u64, "instance type");
        let why = "left out, without a price or a known size";
        notes.push(format!("{}: {types} {why}", path.display()));
    }
    Ok(read.types())
}

fn trace_options(args: &Args) -> Result<TraceOptions> {
    let claim = |ignore| if ignore { Claim::Ignore } else { Claim::Request };
    let mut options = TraceOptions::default();
    options.devices = match args.only {
        None => Devices::Any,
        Some(Only::Gpu) => Devices::Gpu,
        Some(Only::Cpu) => Devices::NoGpu,
    };
    options.replicas = match args.replicas {
        Scale::Initial => Replicas::Initial,
        Scale::ScaledIn => Replicas::ScaledIn,
    };
    options.disk = claim(args.ignore_disk);
    options.rdma = claim(args.ignore_rdma);
    if !args.gpu_spec.is_empty() {
        options.gpu_spec = GpuSpec::Map(gpu_models(&args.gpu_spec)?);
    }
    Ok(options)
}

/// The labels of each model, from `MODEL=LABEL[,LABEL]`.
fn gpu_models(specs: &[String]) -> Result<BTreeMap<String, Vec<String>>> {
    let wrong = |spec: &str, problem: &str| Err(Fail::new(format!("--gpu-spec {spec}: {problem}")));
    let mut models = BTreeMap::new();
    for spec in specs {
        let Some((model, labels)) = spec.split_once('=') else {
            return wrong(spec, "has no =: write MODEL=LABEL, such as T4=t4");
        };
        let labels: Vec<String> = labels.split(',').map(str::to_owned).collect();
        if model.is_empty() || labels.iter().any(String::is_empty) {
            return wrong(spec, "has an empty name: write MODEL=LABEL[,LABEL], such as T4=t4");
        }
        match models.entry(model.to_owned()) {
            Entry::Vacant(entry) => entry.insert(labels),
            Entry::Occupied(_) => {
                return wrong(spec, "names its model twice: put all labels in one");
            }
        };
    }
    Ok(models)
}
