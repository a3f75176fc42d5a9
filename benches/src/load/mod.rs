//! A load generator for servers of the etcd v3 API.
//!
//! It shares the machine with the server that it measures, so it is made to be cheap: a connection
//! is one task that plays all of its clients, and begins the next call of each as it reads the
//! answer to the last one.

mod args;
mod course;
mod drive;
mod keys;
mod lease;
mod list;
mod report;
mod slots;
mod tally;
mod txn;
mod watch;
mod workload;

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::etcd::Outcome;
use crate::http2::Connection;
use crate::process;
use args::Shape;
pub use args::{Job, Load};
pub use course::Course;
use keys::{Keys, Values};
pub use report::{Report, Writes};
use slots::Slots;
use tally::Tally;
use watch::Watchers;
use workload::{Puts, ReadsAndPuts, STAMP, Single, StampedPuts, Workload};

/// The runtime of a load: this thread alone, or so many.
///
/// # Errors
/// If the system refuses it.
pub fn runtime(threads: usize) -> std::io::Result<Runtime> {
    if threads > 1 {
        Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    } else {
        Builder::new_current_thread().enable_all().build()
    }
}

/// A load that has begun.
#[derive(Debug)]
pub struct Running {
    load: Load,
    course: Arc<Course>,
    connections: JoinSet<Tally>,
    watchers: JoinSet<(Tally, u64)>,
    puts: tokio::sync::watch::Sender<Option<u64>>,
    cpu_before: f64,
}

impl Load {
    /// Connects and begins.
    ///
    /// # Errors
    /// If a server cannot be reached or the load makes no sense.
    pub async fn begin(&self) -> Outcome<Running> {
        let shape = &self.shape;
        let keys = Keys::new(shape)?;
        let watchers = self.watchers().await?;
        let connections = if watchers.is_empty() { shape.connections } else { 1 };
        let connections = connect(shape, connections.min(shape.clients)).await?;
        if connections.is_empty() {
            return Err("no clients, or no connections".into());
        }
        let cpu_before = process::cpu_secs(std::process::id())?;
        let course = Arc::new(Course::new(shape));
        let (puts, _) = tokio::sync::watch::channel(None);
        let mut running = Running {
            load: self.clone(),
            course: Arc::clone(&course),
            connections: JoinSet::new(),
            watchers: JoinSet::new(),
            puts,
            cpu_before,
        };
        for watchers in watchers {
            let puts = running.puts.subscribe();
            running.watchers.spawn(watchers.receive(Arc::clone(&course), puts));
        }
        let values = Values::new(shape);
        running.drive(connections, &Single { course, keys, values });
        Ok(running)
    }

    async fn watchers(&self) -> Outcome<Vec<Watchers>> {
        let Job::Watch(watch) = self.job else { return Ok(Vec::new()) };
        let shape = &self.shape;
        if shape.value_size < STAMP {
            return Err(format!("--value-size must be {STAMP} at least").into());
        }
        let of = shape.connections.min(watch.streams).min(watch.watchers);
        let mut all = Vec::with_capacity(of);
        for (place, connection) in connect(shape, of).await?.into_iter().enumerate() {
            let (watchers, streams) =
                (share(watch.watchers, place, of), share(watch.streams, place, of));
            let prefix = shape.prefix.as_bytes();
            all.push(Watchers::create(connection, prefix, watchers, streams).await?);
        }
        if all.is_empty() { Err("nobody watches".into()) } else { Ok(all) }
    }

    fn workload(
        &self,
        single: Single,
        place: usize,
        of: usize,
        clients: usize,
    ) -> Box<dyn Workload> {
        match self.job {
            Job::Put => Box::new(Puts(single)),
            Job::Watch(_) => Box::new(StampedPuts(single)),
            Job::Range(reads) => Box::new(ReadsAndPuts::reads(single, reads, clients)),
            Job::Mixed(mixed) => Box::new(ReadsAndPuts::new(single, mixed, clients)),
            Job::List(list) => Box::new(list::Lists::new(list, &self.shape.prefix, clients)),
            Job::Txn => Box::new(txn::Txns::new(single, place, of, clients)),
            Job::Lease(lease) => Box::new(lease::Leases::new(lease.ttl, clients)),
        }
    }
}

impl Running {
    fn drive(&mut self, connections: Vec<Connection>, single: &Single) {
        let of = connections.len();
        let paces = self.load.shape.rate.map(|_| drive::pace(&self.course, of)).unwrap_or_default();
        for (place, connection) in connections.into_iter().enumerate() {
            let clients = share(self.load.shape.clients, place, of);
            let workload = self.load.workload(single.clone(), place, of, clients);
            let course = Arc::clone(&self.course);
            let slots = Slots::new(Arc::clone(&course), workload, clients, (place, of));
            let pace = paces.get(place).cloned();
            self.connections.spawn(drive::drive(connection, slots, course, pace));
        }
    }

    /// How far it is, and what stops it.
    #[must_use]
    pub fn course(&self) -> Arc<Course> {
        Arc::clone(&self.course)
    }

    /// Waits until all is done.
    ///
    /// # Errors
    /// If a part of it has panicked, or the system does not tell this process's processor time.
    pub async fn finish(mut self) -> Outcome<Report> {
        let mut calls = Tally::new();
        while let Some(of_connection) = self.connections.join_next().await {
            calls.add(of_connection?);
        }
        if self.watchers.is_empty() {
            return Ok(Report::new(&self.load, &self.course, calls, self.cpu_secs()?));
        }
        self.puts.send_replace(Some(self.course.done()));
        let (mut events, mut undelivered) = (Tally::new(), 0);
        while let Some(of_connection) = self.watchers.join_next().await {
            let (of_connection, missing) = of_connection?;
            events.add(of_connection);
            undelivered += missing;
        }
        events.add_errors(&mut calls);
        let report = Report::new(&self.load, &self.course, events, self.cpu_secs()?);
        Ok(report.with_writes(&self.course, &calls, undelivered))
    }

    fn cpu_secs(&self) -> Outcome<f64> {
        Ok(process::cpu_secs(std::process::id())? - self.cpu_before)
    }
}

async fn connect(shape: &Shape, connections: usize) -> Outcome<Vec<Connection>> {
    let mut all = Vec::with_capacity(connections);
    for endpoint in shape.endpoints.iter().cycle().take(connections) {
        let endpoint = endpoint.strip_prefix("http://").unwrap_or(endpoint);
        let connection = Connection::connect(endpoint).await;
        all.push(connection.map_err(|error| format!("{endpoint}: {error}"))?);
    }
    Ok(all)
}

/// What the `place`th of so many gets of `all`.
fn share(all: usize, place: usize, of: usize) -> usize {
    all / of + usize::from(place < all % of)
}
