//! What the ledger of `kv-journal` costs: puts with it on and off in alternating rounds, so that
//! whatever else the machine does meets both, and digests and proofs.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::kv_journal::{keys, put_all, values};
use bytes::Bytes;
use kv_journal::verify::{verify_consistency, verify_key};
use kv_journal::{Config, FileConfig, FileJournal, Journal, MemoryJournal, Store};
use tempfile::TempDir;
use tokio::runtime::Runtime;

type Outcome<T> = Result<T, Box<dyn Error>>;

const KEYS: usize = 10_000;
const VALUE_LEN: usize = 256;

struct Side {
    store: Store,
    per_put: Vec<Duration>,
    puts: u32,
    cpu: Duration,
    _directory: TempDir,
}

fn open(runtime: &Runtime, ledger: bool, durable: bool) -> Outcome<Side> {
    let directory = tempfile::tempdir()?;
    let mut config = Config::default();
    config.ledger = ledger;
    let store = runtime.block_on(async {
        let journal: Arc<dyn Journal> = if durable {
            Arc::new(FileJournal::open(directory.path(), FileConfig::default()).await?)
        } else {
            Arc::new(MemoryJournal::new())
        };
        let (store, driver) = Store::open(journal, config).await?;
        tokio::spawn(driver);
        Ok::<_, kv_journal::Error>(store)
    })?;
    Ok(Side { store, per_put: Vec::new(), puts: 0, cpu: Duration::ZERO, _directory: directory })
}

/// The processor time of all threads, from Linux's clock of 100 ticks a second.
fn cpu_time() -> Outcome<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("an unknown form of /proc/self/stat")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
    Ok(Duration::from_millis(10 * ticks.sum::<Result<u64, _>>()?))
}

impl Side {
    fn round(&mut self, runtime: &Runtime, keys: &[Bytes], in_flight: usize) -> Outcome<()> {
        let values = values(100, VALUE_LEN);
        let (begun, cpu) = (Instant::now(), cpu_time()?);
        runtime.block_on(put_all(&self.store, keys, &values, in_flight))?;
        self.cpu += cpu_time()?.saturating_sub(cpu);
        self.puts += u32::try_from(keys.len())?;
        self.per_put.push(begun.elapsed() / u32::try_from(keys.len())?);
        runtime.block_on(self.store.compact(self.store.revision()))?;
        Ok(())
    }

    /// A quarter of the rounds were faster: the machine has other work too.
    fn lower_quartile(&mut self) -> Duration {
        self.per_put.sort();
        self.per_put.get(self.per_put.len() / 4).copied().unwrap_or_default()
    }

    fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / f64::from(self.puts)
    }
}

fn compare(
    runtime: &Runtime,
    name: &str,
    durable: bool,
    in_flight: usize,
    rounds: usize,
) -> Outcome<()> {
    let keys = keys(if in_flight == 1 { KEYS / 10 } else { KEYS });
    let (mut off, mut on) = (open(runtime, false, durable)?, open(runtime, true, durable)?);
    for round in 0..rounds {
        let mut sides = [&mut off, &mut on];
        // Whoever comes first meets what the round before left.
        sides.rotate_left(round % 2);
        sides.into_iter().try_for_each(|side| side.round(runtime, &keys, in_flight))?;
    }
    let rate = |side: &mut Side| 1.0 / side.lower_quartile().as_secs_f64();
    println!(
        "{name}, {in_flight} in flight: off {:.0}/s, on {:.0}/s; processor time a put: off {:.2} µs, on {:.2} µs",
        rate(&mut off),
        rate(&mut on),
        off.cpu_micros(),
        on.cpu_micros(),
    );
    Ok(())
}

fn time<T>(name: &str, times: u32, mut run: impl FnMut(u32) -> Outcome<T>) -> Outcome<()> {
    let begun = Instant::now();
    for number in 0..times {
        std::hint::black_box(run(number)?);
    }
    println!("{name}: {:.1} µs", begun.elapsed().as_secs_f64() * 1e6 / f64::from(times));
    Ok(())
}

fn proofs(runtime: &Runtime, records: usize) -> Outcome<()> {
    let Side { store, .. } = open(runtime, true, false)?;
    let keys = keys(records);
    runtime.block_on(put_all(&store, &keys, &values(100, VALUE_LEN), 1024))?;
    let new = store.digest()?;
    runtime.block_on(put_all(&store, &keys, &values(100, VALUE_LEN), 1024))?;
    let newest = store.digest()?;
    let times = u32::try_from(records.min(10_000))?;
    println!("{} records:", newest.tree_size);
    time("  digest", times, |_| Ok(store.digest()?))?;
    time("  prove consistency", times, |_| Ok(store.prove_consistency(&new, &newest)?))?;
    let proof = store.prove_consistency(&new, &newest)?;
    time("  verify consistency", times, |_| Ok(verify_consistency(&new, &newest, &proof)?))?;
    let mut turn = keys.iter().cycle();
    let mut next = || turn.next().cloned().unwrap_or_default();
    time("  prove key", times, |_| Ok(runtime.block_on(store.prove_key(&next(), 0, &newest))?))?;
    let key = next();
    let proof = runtime.block_on(store.prove_key(&key, 0, &newest))?;
    time("  verify key", times, |_| Ok(verify_key(&proof, &newest, &key)?))?;
    println!("  a proof: {} bytes beside the record", proof.encode()?.len() - proof.record.len());
    Ok(())
}

fn main() -> Outcome<()> {
    let once = std::env::args().any(|argument| argument == "--test");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let rounds = if once { 1 } else { 21 };
    for (name, durable) in [("memory", false), ("file", true)] {
        compare(&runtime, name, durable, 1, rounds)?;
        compare(&runtime, name, durable, 1024, rounds)?;
    }
    proofs(&runtime, if once { 1_000 } else { 200_000 })
}
