//! Benches of `dns-cache`: a hit, a cluster answer, and the listener against a plain echo.

use std::hint::black_box;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use benches::dns_cache::{address, names, queries, services};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dns_cache::records::MemoryRecords;
use dns_cache::server::{Server, ServerConfig};
use dns_cache::upstream::MemoryUpstream;
use dns_cache::wire::{Message, Query, RecordType};
use dns_cache::{Config, Resolver, Transport};
use tokio::runtime::Runtime;

type Failure = Box<dyn std::error::Error>;

const NAMES: u32 = 10_000;
const SERVICES: u32 = 10_000;
/// Queries on their way at a time, few enough to fit any receive buffer.
const WINDOW: usize = 64;
const TTL_SECS: u32 = 3600;

/// A resolver whose cache holds all names and whose zone holds all services.
async fn warm(queries: &[Bytes]) -> dns_cache::Result<Resolver> {
    let (upstream, records) = (MemoryUpstream::new(), MemoryRecords::new());
    for (i, name) in (0..).zip(names(NAMES)) {
        upstream.add_address(&name, TTL_SECS, address(i));
    }
    let mut revision = 0;
    for service in services(SERVICES) {
        revision = records.upsert(service);
    }
    let (resolver, driver) =
        Resolver::open(Arc::new(upstream), Some(Arc::new(records)), Config::default())?;
    tokio::spawn(driver);
    resolver.wait_for(revision).await?;
    for query in queries {
        resolver.resolve(query, Transport::Udp).await?;
    }
    Ok(resolver)
}

/// Runs a runtime of one thread for as long as the program lives.
fn on_a_thread<T: Send + 'static>(
    start: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            _ = sender.send(start.await.map_err(|error| error.to_string()));
            std::future::pending::<()>().await;
        });
    });
    Ok(receiver.recv()??)
}

async fn start_echo() -> Result<SocketAddr, Failure> {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    tokio::spawn(async move {
        let mut datagram = [0; 4096];
        loop {
            if socket.readable().await.is_err() {
                return;
            }
            while let Ok((len, peer)) = socket.try_recv_from(&mut datagram) {
                _ = socket.try_send_to(&datagram[..len], peer);
            }
        }
    });
    Ok(address)
}

async fn start_server(queries: Vec<Bytes>) -> Result<(Server, SocketAddr), Failure> {
    let resolver = warm(&queries).await?;
    let (server, driver) = Server::bind(resolver, ServerConfig::default()).await?;
    tokio::spawn(driver);
    let address = server.local_addr();
    Ok((server, address))
}

/// The time that `rounds` windows of queries take, each answered in full before the next.
fn round_trips(
    server: SocketAddr,
    queries: &mut impl Iterator<Item = Bytes>,
    rounds: u64,
) -> std::io::Result<Duration> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut datagram = [0; 4096];
    let begin = Instant::now();
    for _ in 0..rounds {
        for query in queries.take(WINDOW) {
            socket.send(&query)?;
        }
        for _ in 0..WINDOW {
            black_box(socket.recv(&mut datagram)?);
        }
    }
    Ok(begin.elapsed())
}

fn hits(c: &mut Criterion, resolver: &Resolver, queries: &[Bytes]) {
    let (mut out, now) = (Vec::with_capacity(4096), resolver.now());
    let mut answer = |query: &[u8]| resolver.answer_now(query, now, Transport::Udp, &mut out);
    let mut group = c.benchmark_group("answer");
    let mut turn = queries.iter().cycle();
    group.bench_function("hit-10k-names", |b| {
        b.iter(|| turn.next().map(|query| answer(query)));
    });
    let cluster = |text: &str, rtype| Some(Query::new(text.parse().ok()?, rtype).encode(1));
    for (name, query) in [
        ("cluster-a", cluster("web-7.team-42.svc.cluster.local", RecordType::A)),
        ("cluster-nxdomain", cluster("www.example.com.svc.cluster.local", RecordType::A)),
        ("cluster-srv", cluster("_http._tcp.web-7.team-42.svc.cluster.local", RecordType::SRV)),
    ] {
        let query = query.unwrap_or_default();
        group.bench_function(name, |b| b.iter(|| answer(black_box(&query))));
    }
    group.finish();
    c.bench_function("parse-answer", |b| {
        b.iter(|| Message::parse(black_box(&out)).map(|message| message.records().count()));
    });
}

fn loopback(c: &mut Criterion, queries: &[Bytes]) -> Result<(), Failure> {
    let (_server, server) = on_a_thread(start_server(queries.to_vec()))?;
    let echo = on_a_thread(start_echo())?;
    let mut group = c.benchmark_group("loopback-udp-64-in-flight");
    group.throughput(Throughput::Elements(WINDOW as u64));
    for (name, address) in [("dns-cache", server), ("echo", echo)] {
        let mut turn = queries.iter().cloned().cycle();
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                round_trips(address, &mut turn, rounds).unwrap_or(Duration::MAX)
            });
        });
    }
    group.finish();
    Ok(())
}

fn all(c: &mut Criterion) {
    let run = |c: &mut Criterion| -> Result<(), Failure> {
        let queries = queries(&names(NAMES))?;
        let resolver = Runtime::new()?.block_on(warm(&queries))?;
        hits(c, &resolver, &queries);
        loopback(c, &queries)
    };
    if let Err(error) = run(c) {
        eprintln!("the bench could not run: {error}");
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(3));
    targets = all
}
criterion_main!(benches);
