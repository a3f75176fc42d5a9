//! Saturated durable puts: the embedded store on a file journal, and etcd over gRPC on the same
//! disk, in turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use benches::etcd::{Client, Etcd};
use benches::kv_journal::{
    Durability, Outcome, Running, components, keys, runtime, shuffled, values,
};
use benches::settings::Settings;
use bytes::Bytes;
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use kv_journal::{Config, PutRequest, Store};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{disk, process, report};

const NAME: &str = "durable-puts";
const KEYS: usize = 100_000;
const VALUE_LEN: usize = 256;
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(3);
/// Connections, and clients on all of them: one each, as most users have it, and what served etcd
/// best here.
const ETCD_LOADS: [(usize, usize); 4] = [(8, 128), (128, 128), (16, 512), (16, 1024)];

/// How the embedded store is loaded.
#[derive(Args, Debug)]
pub(crate) struct Load {
    /// Puts under way at a time
    #[arg(long, default_value_t = 8192)]
    in_flight: usize,
    /// Tasks that share them where one task has many under way
    #[arg(long, default_value_t = 4)]
    streams: usize,
    /// Leave etcd out
    #[arg(long)]
    alone: bool,
}

pub(crate) fn run(settings: &Settings, load: &Load) -> Outcome<()> {
    runtime()?.block_on(compare(settings, load))
}

async fn compare(settings: &Settings, load: &Load) -> Outcome<()> {
    let folder = settings.temp_dir()?;
    eprintln!("fdatasync of 4 KiB: {:.0} us", disk::sync_micros(folder.path())?);
    let puts = Arc::new(Puts::new(settings));
    let etcd = if load.alone { None } else { Etcd::start(folder.path(), &[]).await? };
    let rival = match &etcd {
        Some(etcd) => Some(best_load(etcd, &puts).await?),
        None => None,
    };
    let (mut tasks, mut streams, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let config = Config::default();
        tasks.push(embedded(&folder, config.clone(), &puts, load.in_flight, 1).await?);
        if let Some(rival) = &rival {
            theirs.push(rival.rate(&puts).await?);
        }
        let each = load.in_flight.div_ceil(load.streams);
        streams.push(embedded(&folder, config, &puts, load.streams, each).await?);
    }
    let tasks = report("durable-puts-tasks", &tasks);
    let streams = report("durable-puts-streams", &streams);
    let ours = tasks.max(streams);
    if rival.is_some() {
        let theirs = report("durable-puts-etcd", &theirs);
        report::line("durable-puts-ratio", ours / theirs, "x");
    }
    report::line(NAME, ours, "puts/s");
    Ok(())
}

/// The same puts with a ledger over the journal and without, in turns.
pub(crate) fn ledger(settings: &Settings, load: &Load) -> Outcome<()> {
    runtime()?.block_on(compare_ledger(settings, load))
}

async fn compare_ledger(settings: &Settings, load: &Load) -> Outcome<()> {
    let folder = settings.temp_dir()?;
    let puts = Arc::new(Puts::new(settings));
    let each = load.in_flight.div_ceil(load.streams);
    let (mut off, mut on) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        for (ledger, rates) in [(false, &mut off), (true, &mut on)] {
            let mut config = Config::default();
            config.ledger = ledger;
            rates.push(embedded(&folder, config, &puts, load.streams, each).await?);
        }
    }
    let (off, on) = (report("ledger-off", &off), report("ledger-on", &on));
    report::line("ledger", on / off, "x");
    Ok(())
}

/// Prints the medians of one side and returns its rate.
fn report(name: &str, rounds: &[Rate]) -> f64 {
    let rates: Vec<_> = rounds.iter().map(|rate| rate.per_sec).collect();
    let cpu: Vec<_> = rounds.iter().map(|rate| rate.cpu_micros).collect();
    report::rounds(name, &rates);
    report::line(&format!("{name}-cpu"), report::median(&cpu), "us/put");
    let rate = report::median(&rates);
    report::line(name, rate, "puts/s");
    rate
}

/// What is put, by everyone.
struct Puts {
    keys: Vec<Bytes>,
    values: Vec<Bytes>,
    warm_up: Duration,
    measured: Duration,
}

impl Puts {
    fn new(settings: &Settings) -> Self {
        Self {
            keys: shuffled(keys(settings.count(KEYS))),
            values: values(1000, VALUE_LEN),
            warm_up: settings.duration(WARM_UP),
            measured: settings.duration(MEASURED),
        }
    }

    /// The puts of one client of many: all keys in turn, from its own place on.
    fn of(&self, client: usize) -> impl Iterator<Item = (Bytes, Bytes)> {
        let entry = |i: usize| {
            let (key, value) = (i % self.keys.len(), i % self.values.len());
            (self.keys[key].clone(), self.values[value].clone())
        };
        (client * 7919..).map(entry)
    }
}

/// A new store in a folder of its own, which stays to the end: removing it would load the disk.
async fn embedded(
    folder: &TempDir,
    config: Config,
    puts: &Arc<Puts>,
    tasks: usize,
    each: usize,
) -> Outcome<Rate> {
    let directory = tempfile::Builder::new().disable_cleanup(true).tempdir_in(folder)?;
    let components = components(directory.path(), Durability::Journal).await?;
    let running = Running::open_with(components, config).await?;
    running.fill(&puts.keys, &puts.values).await?;
    let clients = (0..tasks).map(|client| {
        let (store, puts) = (running.store.clone(), Arc::clone(puts));
        move |phase| client_of_store(store, puts, client, each, phase)
    });
    let rate = rate(puts, clients, &[std::process::id()]).await?;
    let stats = running.store.stats();
    eprintln!(
        "{tasks} x {each}: {:.0} records a batch",
        stats.records as f64 / stats.batches as f64
    );
    running.close().await?;
    Ok(rate)
}

async fn client_of_store(
    store: Store,
    puts: Arc<Puts>,
    client: usize,
    each: usize,
    phase: Arc<Phase>,
) -> Outcome<u64> {
    let mut counted = 0;
    if each == 1 {
        for (key, value) in puts.of(client) {
            store.put(PutRequest::new(key, value)).await?;
            if !phase.counts(&mut counted) {
                break;
            }
        }
    } else {
        let mut answers = stream::iter(puts.of(client))
            .map(|(key, value)| store.put(PutRequest::new(key, value)))
            .buffer_unordered(each);
        while answers.try_next().await?.is_some() && phase.counts(&mut counted) {}
    }
    Ok(counted)
}

/// etcd under one shape of load.
struct Rival {
    processes: [u32; 2],
    connections: Vec<Client>,
    clients: usize,
}

impl Rival {
    async fn connect(etcd: &Etcd, connections: usize, clients: usize) -> Outcome<Self> {
        let connect = |_| Client::connect(etcd.address());
        let connections = stream::iter(0..connections).then(connect).try_collect().await?;
        Ok(Self { processes: [std::process::id(), etcd.pid()], connections, clients })
    }

    async fn rate(&self, puts: &Arc<Puts>) -> Outcome<Rate> {
        let connections = self.connections.iter().cycle().cloned();
        let clients = connections.take(self.clients).enumerate().map(|(client, connection)| {
            let puts = Arc::clone(puts);
            move |phase| client_of_etcd(connection, puts, client, phase)
        });
        rate(puts, clients, &self.processes).await
    }
}

async fn client_of_etcd(
    mut connection: Client,
    puts: Arc<Puts>,
    client: usize,
    phase: Arc<Phase>,
) -> Outcome<u64> {
    let mut counted = 0;
    for (key, value) in puts.of(client) {
        connection.put(&key, &value).await?;
        if !phase.counts(&mut counted) {
            break;
        }
    }
    Ok(counted)
}

/// The load under which etcd is fastest here.
async fn best_load(etcd: &Etcd, puts: &Arc<Puts>) -> Outcome<Rival> {
    let mut best: Option<(f64, Rival)> = None;
    for (connections, clients) in ETCD_LOADS {
        let rival = Rival::connect(etcd, connections, clients).await?;
        let rate = rival.rate(puts).await?.per_sec;
        eprintln!("etcd, {clients} clients on {connections} connections: {rate:.0}/s");
        if best.as_ref().is_none_or(|(most, _)| rate > *most) {
            best = Some((rate, rival));
        }
    }
    best.map(|(_, rival)| rival).ok_or_else(|| "no load to choose from".into())
}

/// Where a round stands: warming up, measured, over.
struct Phase(AtomicU8);

const MEASURING: u8 = 1;
const OVER: u8 = 2;

impl Phase {
    /// Counts one answer if it falls into the measured time; false once that is over.
    fn counts(&self, counted: &mut u64) -> bool {
        let phase = self.0.load(Ordering::Relaxed);
        *counted += u64::from(phase == MEASURING);
        phase != OVER
    }
}

/// What all clients of a round got done.
struct Rate {
    per_sec: f64,
    /// Processor time for each put, of all processes that take part.
    cpu_micros: f64,
}

/// Runs all clients; `processes` do the work.
async fn rate<C, F>(
    puts: &Puts,
    clients: impl Iterator<Item = C>,
    processes: &[u32],
) -> Outcome<Rate>
where
    C: FnOnce(Arc<Phase>) -> F,
    F: Future<Output = Outcome<u64>> + Send + 'static,
{
    let phase = Arc::new(Phase(AtomicU8::new(0)));
    let mut running: JoinSet<_> = clients.map(|client| client(Arc::clone(&phase))).collect();
    let cpu = || processes.iter().map(|pid| process::cpu_secs(*pid)).sum::<Outcome<f64>>();
    tokio::time::sleep(puts.warm_up).await;
    phase.0.store(MEASURING, Ordering::Relaxed);
    let (start, cpu_start) = (Instant::now(), cpu()?);
    tokio::time::sleep(puts.measured).await;
    phase.0.store(OVER, Ordering::Relaxed);
    let (elapsed, cpu_secs) = (start.elapsed(), cpu()? - cpu_start);
    let mut counted = 0;
    while let Some(ended) = running.join_next().await {
        counted += ended??;
    }
    let counted = counted as f64;
    Ok(Rate { per_sec: counted / elapsed.as_secs_f64(), cpu_micros: cpu_secs * 1e6 / counted })
}
