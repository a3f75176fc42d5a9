//! The run: opens the parts, joins them, drives them, checks them and closes them.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use binpack::Provisioner;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use kv_journal::{FileConfig, FileJournal, KeyRange, Store};
use lazy_blob::{HttpClient, HttpConfig, HttpSource, Index, IndexConfig};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use trestle_examples::client::Client;
use trestle_examples::cluster_view::ClusterView;
use trestle_examples::glue::{StoreCluster, StoreSource};
use trestle_examples::latency::Latency;
use trestle_examples::objects::{
    self, PodObject, encode, node_key, node_name, pod_key, service_key,
};
use watch_cache::{Cache, ListRequest};

use crate::args::Args;
use crate::check::{Checks, REGISTRY};
use crate::fleet::{Fleet, STARTING, Seen};
use crate::image::Image;
use crate::inputs::Inputs;
use crate::names::{self, Names};
use crate::progress::Progress;
use crate::registry::{Layer, Registry};
use crate::report::Report;
use crate::scheduler::{Scheduler, settled};
use crate::summary::{Measured, summarize};
use crate::tasks::Tasks;
use crate::timed::TimedJournal;
use trestle_examples::fail::{Context, Fail, Result};

/// A page of a paged list, as Kubernetes' clients ask for.
const PAGE: usize = 500;
/// How often the API reader lists all pods.
const LIST_EVERY: Duration = Duration::from_millis(100);

/// The parts that have been opened and serve.
struct Stack {
    store: Store,
    client: Arc<Client>,
    cache: Cache,
    provisioner: Provisioner,
    names: Names,
    tasks: Tasks,
    background: JoinSet<()>,
    appends: Arc<Latency>,
    lists: Arc<[Latency; 2]>,
}

/// A stack with an image and nodes.
struct Run {
    stack: Stack,
    layer: Arc<Layer>,
    fleet: Arc<Fleet>,
    scheduler: Arc<Scheduler>,
    driven: Duration,
}

/// Runs the stack to its end.
pub(crate) async fn run(args: &Args) -> Result<Report> {
    let inputs = Inputs::read(args)?;
    let scratch = tempfile::tempdir().context(|| "temporary folder".to_owned())?;
    let journal = journal_folder(args, &scratch)?;
    let stack = Stack::open(args, &inputs, &journal).await?;
    let registry = Registry::bind(args.registry_listen).await?;

    let progress = Arc::new(Progress::new());
    let pods = inputs.pods.len();
    let shown = Arc::clone(&progress);
    let mut show = JoinSet::new();
    show.spawn(async move { shown.show(pods).await });
    progress.phase("image");
    let (image, index) = take_image(args, &scratch).await?;
    let mut run = Run::new(stack, registry, &image, index, &progress)?;
    let unplaced = run.drive(args, &inputs).await?;
    progress.phase("checking");
    let (checks, measured) = run.finish(&journal, pods, unplaced).await?;
    show.shutdown().await;
    crate::progress::clear_line();
    Ok(summarize(checks, &measured, &image, progress.started.elapsed()))
}

/// The image and its index, made on a thread of their own, so that Ctrl-C is heard meanwhile.
async fn take_image(args: &Args, scratch: &TempDir) -> Result<(Image, Index)> {
    let (given, folder) = (args.image.clone(), scratch.path().to_owned());
    let made = tokio::task::spawn_blocking(move || {
        let image = match given {
            Some(path) => Image::open(&path)?,
            None => Image::build(&folder)?,
        };
        let index = index(&image)?;
        Ok((image, index))
    });
    made.await.context(|| "image".to_owned())?
}

fn journal_folder(args: &Args, scratch: &TempDir) -> Result<PathBuf> {
    let folder = args.data_dir.clone().unwrap_or_else(|| scratch.path().join("journal"));
    std::fs::create_dir_all(&folder).context(|| format!("--data-dir {}", folder.display()))?;
    Ok(folder)
}

fn audit_log(args: &Args) -> Result<Option<File>> {
    let open = |path: &PathBuf| {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.context(|| format!("--audit-log {}", path.display()))
    };
    args.audit_log.as_ref().map(open).transpose()
}

impl Stack {
    async fn open(args: &Args, inputs: &Inputs, journal: &Path) -> Result<Self> {
        let mut tasks = Tasks::default();
        let appends = Arc::new(Latency::default());
        let store = open_store(journal, Arc::clone(&appends), &mut tasks).await?;
        let client = Arc::new(Client::new(store.clone(), audit_log(args)?));
        let cache = open_cache(&store, &mut tasks).await?;
        let names = Names::open(&cache, args.dns_listen, &mut tasks).await?;
        let provisioner = open_provisioner(inputs, &client, &cache, &mut tasks)?;
        let (background, lists) = (JoinSet::new(), Arc::default());
        Ok(Self { store, client, cache, provisioner, names, tasks, background, appends, lists })
    }
}

async fn open_store(folder: &Path, appends: Arc<Latency>, tasks: &mut Tasks) -> Result<Store> {
    let name = || format!("journal {}", folder.display());
    let inner = FileJournal::open(folder, FileConfig::default()).await.context(name)?;
    let journal = Arc::new(TimedJournal { inner, appends });
    let (store, driver) =
        Store::open(journal, kv_journal::Config::default()).await.context(name)?;
    tasks.spawn("store", driver);
    Ok(store)
}

async fn open_cache(store: &Store, tasks: &mut Tasks) -> Result<Cache> {
    let name = || "cache".to_owned();
    let by_node = watch_cache::Index::new("spec.nodeName", |object| {
        let pod = object.key.starts_with(objects::PODS.as_bytes());
        let node = pod.then(|| node_name(&object.value))?;
        node.map(|node| Cow::Owned(node.into()))
    });
    let mut config = watch_cache::Config::default();
    config.prefixes = vec![Bytes::from_static(REGISTRY.as_bytes())];
    let source = Arc::new(StoreSource(store.clone()));
    let (cache, driver) = Cache::open(source, vec![by_node], config).context(name)?;
    tasks.spawn("cache", driver);
    cache.ready().await.context(name)?;
    Ok(cache)
}

impl Run {
    fn new(
        mut stack: Stack,
        registry: Registry,
        image: &Image,
        index: Index,
        progress: &Arc<Progress>,
    ) -> Result<Self> {
        let layer = Arc::new(Layer::open(&image.layer)?);
        let url = registry.url()?;
        let source = HttpClient::new(HttpConfig::default())
            .and_then(|client| HttpSource::new(client, &url))
            .context(|| "image".to_owned())?;
        stack.background.spawn(registry.serve(Arc::clone(&layer)));
        let fleet = Arc::new(Fleet {
            client: Arc::clone(&stack.client),
            cache: stack.cache.clone(),
            dns: stack.names.address,
            source,
            index: Arc::new(index),
            startup: image.startup.clone(),
            progress: Arc::clone(progress),
            seen: Seen::default(),
            starting: Semaphore::new(STARTING),
            agents: Mutex::default(),
        });
        let (scheduler, driven) = (Arc::default(), Duration::ZERO);
        Ok(Self { stack, layer, fleet, scheduler, driven })
    }

    /// Writes the workload and lets the parts work until every pod runs. Returns the pods that no
    /// plan has a place for.
    async fn drive(&mut self, args: &Args, inputs: &Inputs) -> Result<Vec<String>> {
        let begun = Instant::now();
        let progress = Arc::clone(&self.fleet.progress);
        let writers = args.writers as usize;
        progress.phase("registering");
        let services = (0..names::SERVICES).map(names::service);
        let services = services.map(|object| (service_key(&object.metadata.name), encode(&object)));
        self.create(services, writers, || {}).await?;
        let nodes = inputs.nodes(args.nodes).await?.into_iter();
        let nodes = nodes.map(|object| (node_key(&object.metadata.name), encode(&object)));
        self.create(nodes, writers, || {}).await?;
        self.dns_is_up_to_date().await?;

        progress.phase("scheduling");
        self.spawn_controllers();
        let pods = inputs.pods.iter().map(PodObject::pending);
        let pods = pods.map(|object| (pod_key(&object.metadata.name), encode(&object)));
        self.create(pods, writers, || progress.count(&progress.written)).await?;

        let count = inputs.pods.len();
        let unplaced = settled(&self.fleet, &self.stack.provisioner, count).await;
        let unplaced = unplaced.context(|| "planning".to_owned())?;
        progress.phase("starting");
        let placed = count - unplaced.len();
        progress.until(|at| at.running.load(Ordering::Acquire) >= placed).await;
        self.driven = begun.elapsed();
        Ok(unplaced)
    }

    /// The nodes, the scheduler, and somebody who reads the API all the while.
    fn spawn_controllers(&mut self) {
        let (stack, fleet) = (&mut self.stack, &self.fleet);
        stack.background.spawn(Arc::clone(fleet).run());
        let scheduler = Arc::clone(&self.scheduler);
        stack.background.spawn(scheduler.run(Arc::clone(fleet), stack.provisioner.clone()));
        stack.background.spawn(read_api(stack.cache.clone(), Arc::clone(&stack.lists)));
    }

    /// Creates objects, `writers` at a time; those that are there from an earlier run stay.
    async fn create(
        &self,
        objects: impl Iterator<Item = (Bytes, serde_json::Result<Bytes>)> + Send,
        writers: usize,
        each: impl Fn() + Sync,
    ) -> Result<()> {
        let each = &each;
        let creates = objects.map(|(key, value)| async move {
            let what = || format!("writing {}", String::from_utf8_lossy(&key));
            let value = value.context(what)?;
            self.stack.client.create(&key, value).await.context(what)?;
            each();
            Ok::<_, Fail>(())
        });
        stream::iter(creates).buffer_unordered(writers).try_collect().await
    }

    async fn dns_is_up_to_date(&self) -> Result<()> {
        let what = || "dns".to_owned();
        let stack = &self.stack;
        let revision = stack.store.read_barrier().await.context(what)?;
        stack.cache.wait_for(revision).await.context(what)?;
        let service = stack.cache.get(&service_key("svc-0"));
        let service = service.map_or(0, |object| object.mod_revision());
        stack.names.resolver.wait_for(service).await.context(what)
    }

    /// Checks what must hold, closes everything, and checks what must hold after that.
    async fn finish(
        self,
        journal: &Path,
        pods: usize,
        unplaced: Vec<String>,
    ) -> Result<(Checks, Measured)> {
        let stack = &self.stack;
        let mut checks = Checks::default();
        checks.broken.extend(self.fleet.progress.failures());
        checks.broken.extend(unplaced);
        let what = || "checking".to_owned();
        let revision = stack.store.read_barrier().await.context(what)?;
        stack.cache.wait_for(revision).await.context(what)?;
        checks.bound_once(&stack.store, pods).await?;
        let view = ClusterView::of(&stack.cache.snapshot());
        checks.fits(&view, &stack.cache)?;
        checks.cache_equals_store(&stack.cache, &stack.store).await?;
        checks.nodes_saw(&self.fleet, &view);
        let before = stack.store.range(KeyRange::all()).context(what)?;
        let measured = self.measured(&view);
        checks.broken.extend(self.close().await);
        checks.recovers(journal, &before).await?;
        Ok((checks, measured))
    }

    /// Ends the tasks of the run, which hold handles; once the last is gone, the drivers end by
    /// themselves. Returns those that failed.
    async fn close(self) -> Vec<String> {
        let Self { stack, fleet, .. } = self;
        let Stack { tasks, mut background, .. } = stack;
        background.shutdown().await;
        fleet.stop().await;
        drop((stack.provisioner, stack.names, fleet, stack.cache, stack.client, stack.store));
        tasks.ended().await
    }

    fn measured(&self, view: &ClusterView) -> Measured {
        let (stack, seen) = (&self.stack, &self.fleet.seen);
        let [lists, pages] = &*stack.lists;
        Measured {
            driven: self.driven,
            puts: stack.client.puts.quantiles(),
            gets: stack.client.gets.quantiles(),
            appends: stack.appends.quantiles(),
            lists: lists.quantiles(),
            pages: pages.quantiles(),
            binding: self.scheduler.binding.quantiles(),
            scheduling: self.scheduler.span(),
            start: seen.start.quantiles(),
            image: seen.image.quantiles(),
            dns: seen.dns.quantiles(),
            resolver: stack.names.resolver.stats(),
            provisioner: stack.provisioner.stats(),
            image_sent: self.layer.sent_bytes(),
            blobs: seen.blobs.lock().iter().map(lazy_blob::Blob::stats).collect(),
            nodes: view.nodes.len(),
            pods: view.bound.len() + view.pending.len(),
            cost_micros: view.cost_micros,
        }
    }
}

/// Plans on a thread of its own, so that a plan of thousands of pods delays nobody's read.
fn open_provisioner(
    inputs: &Inputs,
    client: &Arc<Client>,
    cache: &Cache,
    tasks: &mut Tasks,
) -> Result<Provisioner> {
    let what = || "provisioner".to_owned();
    let pools = vec![inputs.pool.clone()];
    let cluster = Arc::new(StoreCluster::new(Arc::clone(client), cache.clone(), pools));
    let mut config = binpack::Config::default();
    config.batch_idle = Duration::from_millis(50);
    config.batch_max = Duration::from_secs(1);
    let (provisioner, driver) =
        Provisioner::open(Arc::clone(&inputs.catalogue), cluster, config).context(what)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().context(what)?;
    let (ended, end) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("provisioner".to_owned());
    let planning = move || {
        // Nobody listens any more when the run was interrupted.
        let _ = ended.send(runtime.block_on(driver));
    };
    thread.spawn(planning).context(what)?;
    tasks.spawn("provisioner", async move { end.await.unwrap_or(Ok(())) });
    Ok(provisioner)
}

/// What a registry does once when an image is pushed.
fn index(image: &Image) -> Result<Index> {
    let name = || format!("indexing {}", image.layer.display());
    let file = File::open(&image.layer).context(name)?;
    Index::build(std::io::BufReader::new(file), IndexConfig::default()).context(name)
}

/// Lists all pods consistently, and one page of them, over and over.
async fn read_api(cache: Cache, latencies: Arc<[Latency; 2]>) {
    let [lists, pages] = &*latencies;
    loop {
        for (latency, limit) in [(lists, None), (pages, Some(PAGE))] {
            let mut request = ListRequest::new(objects::PODS);
            request.limit = limit;
            let start = Instant::now();
            if cache.list(request).await.is_ok() {
                latency.since(start);
            }
        }
        tokio::time::sleep(LIST_EVERY).await;
    }
}
