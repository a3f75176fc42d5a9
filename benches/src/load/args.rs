//! What a load is told. Both programs take it in the words of `etcd-load`'s command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::SEED;

/// Loads any server of the etcd v3 API, and reports what it did and how long that took.
#[derive(Parser, Debug, Clone)]
#[command(name = "etcd-load")]
pub struct Load {
    /// What is called.
    #[command(subcommand)]
    pub job: Job,
    /// How much of it.
    #[command(flatten)]
    pub shape: Shape,
}

impl Load {
    /// The load that a line of `etcd-load`'s arguments asks for.
    ///
    /// # Errors
    /// If it is none.
    pub fn of_line(line: &str) -> Result<Self, clap::Error> {
        Self::try_parse_from(std::iter::once("etcd-load").chain(line.split_whitespace()))
    }
}

/// The calls.
#[derive(Subcommand, Debug, Clone)]
pub enum Job {
    /// Writes single keys
    Put,
    /// Reads single keys
    Range(Reads),
    /// Reads the whole prefix
    List(List),
    /// Writes as an API server does: if the key is as it was, else it is read
    Txn,
    /// Writes keys of a prefix that many watch; latencies are from the put's start to each receipt
    Watch(Watch),
    /// Reads and writes single keys
    Mixed(Mixed),
    /// Keeps leases alive; each client has one, and a stream
    Lease(Lease),
}

/// How reads are to be answered.
#[derive(Args, Debug, Clone, Copy)]
pub struct Reads {
    /// What a read must have seen
    #[arg(long, value_enum, default_value_t = Consistency::Linearizable)]
    pub consistency: Consistency,
}

/// etcd's two kinds of reads.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// All that was written before it began.
    Linearizable,
    /// What this member knows.
    Serializable,
}

impl Reads {
    pub(super) fn serializable(self) -> bool {
        self.consistency == Consistency::Serializable
    }
}

/// How the prefix is read.
#[derive(Args, Debug, Clone, Copy)]
pub struct List {
    /// Keys of a page; a list is all pages at the revision of the first [default: one page]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub limit: u64,
    /// Call `RangeStream` instead of `Range`
    #[arg(long, conflicts_with = "limit")]
    pub stream: bool,
    /// How it is answered.
    #[command(flatten)]
    pub reads: Reads,
}

/// Who watches.
#[derive(Args, Debug, Clone, Copy)]
pub struct Watch {
    /// Watchers of the prefix
    #[arg(long, default_value_t = 1000)]
    pub watchers: usize,
    /// Streams that they share; they are spread over --connections
    #[arg(long, default_value_t = 10)]
    pub streams: usize,
}

/// What is mixed.
#[derive(Args, Debug, Clone, Copy)]
pub struct Mixed {
    /// Reads in a hundred calls
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub reads_percent: u8,
    /// How they are answered.
    #[command(flatten)]
    pub reads: Reads,
}

/// What is kept alive.
#[derive(Args, Debug, Clone, Copy)]
pub struct Lease {
    /// Seconds that a lease is granted for
    #[arg(long, default_value_t = 60)]
    pub ttl: u64,
}

/// What all loads have in common.
#[derive(Args, Debug, Clone)]
pub struct Shape {
    /// Where the server is, `host:port`; connections take turns if there are several
    #[arg(long = "endpoint", global = true, default_value = "127.0.0.1:2379")]
    pub endpoints: Vec<String>,
    /// Calls under way at a time
    #[arg(long, global = true, default_value_t = 1)]
    pub clients: usize,
    /// Connections that they share
    #[arg(long, global = true, default_value_t = 1)]
    pub connections: usize,
    /// Bytes of a key
    #[arg(long, global = true, default_value_t = 32)]
    pub key_size: usize,
    /// What all keys begin with
    #[arg(long, global = true, default_value = "/registry/load/")]
    pub prefix: String,
    /// Bytes of a value
    #[arg(long, global = true, default_value_t = 256)]
    pub value_size: usize,
    /// How many keys there are
    #[arg(long, global = true, default_value_t = 100_000)]
    pub keys: u64,
    /// Take the keys in turn, not at random
    #[arg(long, global = true)]
    pub sequential: bool,
    /// What randomness begins with
    #[arg(long, global = true, default_value_t = SEED)]
    pub seed: u64,
    /// Calls to make, after the warm-up
    #[arg(long, global = true, conflicts_with = "duration")]
    pub total: Option<u64>,
    /// How long to go on after the warm-up: 10s, 500ms [default: 10s]
    #[arg(long, global = true, value_parser = duration)]
    pub duration: Option<Duration>,
    /// Calls that fall due in a second, whether those before are answered or not; latencies count
    /// from when a call was due [default: the next call follows an answer]
    #[arg(long, global = true, value_parser = rate)]
    pub rate: Option<f64>,
    /// How long to go on before anything counts
    #[arg(long, global = true, value_parser = duration, default_value = "0s")]
    pub warmup: Duration,
    /// Threads of the load generator
    #[arg(long, global = true, default_value_t = 1)]
    pub threads: usize,
    /// Write the report as JSON to a file, or to standard output with `-`
    #[arg(long, global = true)]
    pub json: Option<PathBuf>,
}

impl Shape {
    /// How long the measured time is, if it is not ended by a number of calls.
    #[must_use]
    pub fn measured(&self) -> Option<Duration> {
        let default = self.total.is_none().then_some(Duration::from_secs(10));
        self.duration.or(default)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let number: f64 = number.parse().map_err(|_| "not a time: try 10s or 500ms".to_owned())?;
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("not a rate".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
        assert!(duration("-1s").is_err() && duration("soon").is_err());
    }

    #[test]
    fn a_line_is_a_load() {
        let load = Load::of_line("range --consistency serializable --clients 7 --rate 50").unwrap();
        assert!(matches!(load.job, Job::Range(reads) if reads.serializable()));
        assert_eq!((load.shape.clients, load.shape.rate), (7, Some(50.0)));
        assert_eq!(load.shape.measured(), Some(Duration::from_secs(10)));
        assert_eq!(Load::of_line("put --total 5").unwrap().shape.measured(), None);
        for wrong in ["put --total 5 --duration 1s", "put --rate 0", "list --limit 5 --stream", ""]
        {
            assert!(Load::of_line(wrong).is_err(), "{wrong}");
        }
    }
}
