//! The nodes: each watches its own pods, reads the first files of their image, resolves the names
//! they need, and reports them running.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use lazy_blob::{Blob, HttpSource, Index};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use trestle_examples::client::Client;
use trestle_examples::latency::Latency;
use trestle_examples::objects::{NODES, PODS, Phase, PodObject, decode, encode};
use watch_cache::{Cache, ErrorKind, Object, Start, WatchEvent, WatchRequest, Watcher};

use crate::image::{StartupFile, sha256};
use crate::names;
use crate::progress::Progress;
use trestle_examples::fail::{Context, Fail, Result};

/// Pods that start at the same moment on this one machine. It bounds open connections and sockets
/// to far below the 1,024 files that a process may usually have.
pub(crate) const STARTING: usize = 32;
/// Decoded bytes of the image that each node keeps: enough for the files of a start.
const NODE_CACHE_BYTES: u64 = 1 << 20;

/// What every node needs.
pub(crate) struct Fleet {
    pub(crate) client: Arc<Client>,
    pub(crate) cache: Cache,
    pub(crate) dns: std::net::SocketAddr,
    pub(crate) source: HttpSource,
    pub(crate) index: Arc<Index>,
    pub(crate) startup: Vec<StartupFile>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) seen: Seen,
    pub(crate) starting: Semaphore,
    pub(crate) agents: Mutex<JoinSet<()>>,
}

/// What the nodes have measured and found.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) start: Latency,
    pub(crate) image: Latency,
    pub(crate) dns: Latency,
    /// The node that started each pod.
    pub(crate) started: Mutex<HashMap<String, String>>,
    pub(crate) wrong: Mutex<Vec<String>>,
    pub(crate) blobs: Mutex<Vec<Blob>>,
    lookups: AtomicUsize,
}

impl Fleet {
    /// Starts an agent for each node that registers or is launched, until the cache closes.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut nodes = Follower::new(&self, WatchRequest::new(NODES));
        let mut known = HashSet::new();
        while let Some(event) = nodes.next().await {
            if let WatchEvent::Added { object, .. } = event
                && known.insert(object.key_bytes())
            {
                self.progress.count(&self.progress.nodes);
                let agent = Arc::clone(&self).agent(object.key_bytes().slice(NODES.len()..));
                self.agents.lock().spawn(agent);
            }
        }
    }

    /// Ends the agents, and with them what they hold.
    pub(crate) async fn stop(&self) {
        let mut agents = std::mem::take(&mut *self.agents.lock());
        agents.shutdown().await;
    }

    /// One node: follows the pods that are bound to it.
    async fn agent(self: Arc<Self>, name: Bytes) {
        let request = WatchRequest::new(PODS).index("spec.nodeName", name.clone());
        let mut pods = Follower::new(&self, request);
        let name = String::from_utf8_lossy(&name).into_owned();
        let mut node = Node { fleet: Arc::clone(&self), name, blob: None };
        while let Some(event) = pods.next().await {
            // An update that follows is the node's own; a pod seen again was started before.
            let WatchEvent::Added { object, .. } = event else { continue };
            let Ok(_permit) = self.starting.acquire().await else { return };
            if let Err(error) = node.start(&object).await {
                let pod = String::from_utf8_lossy(object.key());
                self.progress.failed(format!("{pod} on {}: {error}", node.name));
            }
        }
    }
}

/// A watch from the present state on. One that fell behind begins anew, since all who follow here
/// act on what is and not on what changed.
pub(crate) struct Follower {
    cache: Cache,
    request: WatchRequest,
    watcher: Option<Watcher>,
    progress: Arc<Progress>,
}

impl Follower {
    pub(crate) fn new(fleet: &Fleet, request: WatchRequest) -> Self {
        let (cache, progress) = (fleet.cache.clone(), Arc::clone(&fleet.progress));
        Self { cache, request: request.from(Start::Initial), watcher: None, progress }
    }

    /// The next event; none when the cache has closed.
    pub(crate) async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            let watcher = match &mut self.watcher {
                Some(watcher) => watcher,
                None => match self.cache.watch(self.request.clone()) {
                    Ok(watcher) => self.watcher.insert(watcher),
                    Err(error) => return self.ended(&error),
                },
            };
            match watcher.next().await {
                Some(Ok(event)) => return Some(event),
                Some(Err(error)) if matches!(error.kind(), ErrorKind::Expired { .. }) => {}
                Some(Err(error)) => return self.ended(&error),
                None => {}
            }
            self.watcher = None;
        }
    }

    fn ended(&self, error: &watch_cache::Error) -> Option<WatchEvent> {
        if error.kind() != ErrorKind::Closed {
            self.progress.failed(format!("watch: {}", Fail::chain(error)));
        }
        None
    }
}

/// One node and its view of the image.
struct Node {
    fleet: Arc<Fleet>,
    name: String,
    blob: Option<Blob>,
}

impl Node {
    async fn start(&mut self, seen: &Object) -> Result<()> {
        let begun = Instant::now();
        let (fleet, key) = (Arc::clone(&self.fleet), seen.key_bytes());
        let current = fleet.client.get(&key).await.context(|| "get".to_owned())?;
        let current = current.ok_or_else(|| Fail::new("it is gone"))?;
        let mut pod: PodObject = decode(current.value()).context(|| "decode".to_owned())?;
        if pod.status.phase == Phase::Running {
            return self.count(&pod);
        }
        self.read_image().await?;
        self.resolve().await?;
        pod.status.phase = Phase::Running;
        let value = encode(&pod).context(|| "encode".to_owned())?;
        let written = fleet.client.update(&key, current.mod_revision(), value).await;
        if written.context(|| "status".to_owned())?.is_none() {
            return Err(Fail::new("somebody else changed it while it started"));
        }
        fleet.seen.start.since(begun);
        self.count(&pod)
    }

    fn count(&self, pod: &PodObject) -> Result<()> {
        let fleet = &self.fleet;
        let name = pod.metadata.name.clone();
        let before = fleet.seen.started.lock().insert(name, self.name.clone());
        match before {
            Some(node) if node != self.name => Err(Fail::new(format!("it was started on {node}"))),
            Some(_) => Ok(()),
            None => {
                fleet.progress.count(&fleet.progress.running);
                Ok(())
            }
        }
    }

    /// Reads the files of the start and compares each with the digest of the original.
    async fn read_image(&mut self) -> Result<()> {
        let begun = Instant::now();
        let fleet = Arc::clone(&self.fleet);
        let blob = self.open_blob().await?;
        for file in &fleet.startup {
            let bytes = blob.read(&file.path, 0..file.bytes).await;
            let bytes = bytes.context(|| format!("image file {}", file.path))?;
            if sha256(&bytes) != file.sha256 {
                let wrong =
                    format!("{} read on {} differs from the original", file.path, self.name);
                fleet.seen.wrong.lock().push(wrong);
            }
        }
        fleet.seen.image.since(begun);
        Ok(())
    }

    async fn open_blob(&mut self) -> Result<Blob> {
        if let Some(blob) = &self.blob {
            return Ok(blob.clone());
        }
        let mut config = lazy_blob::Config::default();
        config.cache_bytes = NODE_CACHE_BYTES;
        let source = Arc::new(self.fleet.source.clone());
        let opened = Blob::open(source, Arc::clone(&self.fleet.index), config).await;
        let (blob, driver) = opened.context(|| "image".to_owned())?;
        tokio::spawn(driver);
        self.fleet.seen.blobs.lock().push(blob.clone());
        Ok(self.blob.insert(blob).clone())
    }

    async fn resolve(&self) -> Result<()> {
        let fleet = &self.fleet;
        let i = fleet.seen.lookups.fetch_add(1, Ordering::Relaxed);
        for (name, expected) in names::lookups(i) {
            let begun = Instant::now();
            let id = u16::try_from(i % 65_536).unwrap_or(0);
            let addresses = names::lookup(fleet.dns, &name, id).await?;
            fleet.seen.dns.since(begun);
            if addresses != [expected] {
                let wrong = format!("{name} resolved to {addresses:?}, not to {expected}");
                fleet.seen.wrong.lock().push(wrong);
            }
        }
        Ok(())
    }
}
