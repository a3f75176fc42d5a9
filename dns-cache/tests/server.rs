//! The listener over real sockets on loopback.
#![allow(clippy::disallowed_methods, reason = "a test spawns what it tests")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dns_cache::records::{MemoryRecords, Service, ServiceKind};
use dns_cache::server::{Server, ServerConfig};
use dns_cache::upstream::{MemoryUpstream, Upstream};
use dns_cache::wire::{Message, Query, Rcode, RecordType};
use dns_cache::{Config, ErrorKind, Resolver, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// An upstream that answers `held.*` only when it gets a permit.
struct Held {
    inner: MemoryUpstream,
    permits: Semaphore,
}

#[async_trait]
impl Upstream for Held {
    async fn exchange(&self, query: Bytes) -> Result<Bytes> {
        if query[12..].starts_with(b"\x04held") {
            self.permits.acquire().await.unwrap().forget();
        }
        self.inner.exchange(query).await
    }
}

struct World {
    server: Server,
    resolver: Resolver,
    upstream: Arc<Held>,
    driver: JoinHandle<Result<()>>,
}

async fn world(config: ServerConfig) -> World {
    let inner = MemoryUpstream::new();
    inner.add_address("www.example.com", 60, "192.0.2.1".parse().unwrap());
    for last in 0..200 {
        inner.add_address("many.example.com", 60, [192, 0, 2, last].into());
    }
    let records = MemoryRecords::new();
    let web = ServiceKind::ClusterIp(vec!["10.96.0.7".parse().unwrap()]);
    let revision = records.upsert(Service::new("prod", "web", web));
    let upstream = Arc::new(Held { inner, permits: Semaphore::new(0) });
    let (resolver, driver) =
        Resolver::open(upstream.clone(), Some(Arc::new(records)), Config::default()).unwrap();
    tokio::spawn(driver);
    resolver.wait_for(revision).await.unwrap();
    let (server, driver) = Server::bind(resolver.clone(), config).await.unwrap();
    World { server, resolver, upstream, driver: tokio::spawn(driver) }
}

fn config() -> ServerConfig {
    ServerConfig::default()
}

fn query(name: &str, id: u16) -> Bytes {
    Query::new(name.parse().unwrap(), RecordType::A).encode(id)
}

impl World {
    async fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(self.server.local_addr()).await.unwrap();
        socket
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.server.local_addr()).await.unwrap()
    }
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut datagram = vec![0; 4096];
    let len = socket.recv(&mut datagram).await.unwrap();
    datagram.truncate(len);
    datagram
}

async fn ask(socket: &UdpSocket, name: &str, id: u16) -> (u16, Rcode, usize) {
    socket.send(&query(name, id)).await.unwrap();
    summary(&receive(socket).await)
}

fn summary(answer: &[u8]) -> (u16, Rcode, usize) {
    let message = Message::parse(answer).unwrap();
    (message.id(), message.rcode(), message.addresses().count())
}

async fn write_tcp(stream: &mut TcpStream, query: &[u8]) {
    stream.write_u16(u16::try_from(query.len()).unwrap()).await.unwrap();
    stream.write_all(query).await.unwrap();
}

async fn read_tcp(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn udp_answers_misses_hits_and_cluster_names() {
    let world = world(config()).await;
    let socket = world.udp().await;
    assert_eq!(ask(&socket, "www.example.com", 1).await, (1, Rcode::NOERROR, 1));
    assert_eq!(ask(&socket, "WWW.example.com", 2).await, (2, Rcode::NOERROR, 1));
    assert_eq!(ask(&socket, "web.prod.svc.cluster.local", 3).await, (3, Rcode::NOERROR, 1));
    assert_eq!(ask(&socket, "nope.prod.svc.cluster.local", 4).await, (4, Rcode::NXDOMAIN, 0));
    assert_eq!(world.upstream.inner.queries(), 1);
    assert_eq!(world.server.stats().udp_queries, 4);
}

#[tokio::test]
async fn a_miss_does_not_hold_up_hits_on_its_socket() {
    let world = world(config()).await;
    let socket = world.udp().await;
    ask(&socket, "www.example.com", 1).await;
    socket.send(&query("held.example.com", 2)).await.unwrap();
    assert_eq!(ask(&socket, "www.example.com", 3).await.0, 3);
    world.upstream.permits.add_permits(1);
    assert_eq!(summary(&receive(&socket).await), (2, Rcode::NXDOMAIN, 0));
}

#[tokio::test]
async fn misses_over_the_limit_get_servfail() {
    let mut config = config();
    config.max_waiting = 1;
    let world = world(config).await;
    let socket = world.udp().await;
    socket.send(&query("held.example.com", 1)).await.unwrap();
    let refused = query("held.example.org", 2);
    socket.send(&refused).await.unwrap();
    let answer = receive(&socket).await;
    assert_eq!(summary(&answer), (2, Rcode::SERVFAIL, 0));
    let questions = [&answer, &refused[..]].map(|bytes| Message::parse(bytes).unwrap().question());
    assert_eq!(questions[0], questions[1], "a stub resolver ignores what repeats no question");
    world.upstream.permits.add_permits(1);
    assert_eq!(summary(&receive(&socket).await).0, 1);
    assert_eq!(world.server.stats().overloads, 1);
}

#[tokio::test]
async fn what_is_no_query_gets_no_answer() {
    let world = world(config()).await;
    let socket = world.udp().await;
    let mut response = query("www.example.com", 1).to_vec();
    response[2] |= 0x80;
    for noise in [&response[..], b"", b"short"] {
        socket.send(noise).await.unwrap();
    }
    assert_eq!(ask(&socket, "www.example.com", 9).await.0, 9, "the first answer is to the query");
}

#[tokio::test]
async fn tcp_answers_what_udp_truncates() {
    let world = world(config()).await;
    let socket = world.udp().await;
    socket.send(&query("many.example.com", 1)).await.unwrap();
    let cut = receive(&socket).await;
    assert!(cut.len() <= 1232 && Message::parse(&cut).unwrap().flags().truncated());
    let mut stream = world.tcp().await;
    write_tcp(&mut stream, &query("many.example.com", 2)).await;
    assert_eq!(summary(&read_tcp(&mut stream).await.unwrap()), (2, Rcode::NOERROR, 200));
}

#[tokio::test]
async fn tcp_queries_are_pipelined_and_answered_out_of_order() {
    let world = world(config()).await;
    let mut stream = world.tcp().await;
    write_tcp(&mut stream, &query("held.example.com", 1)).await;
    write_tcp(&mut stream, &query("www.example.com", 2)).await;
    assert_eq!(summary(&read_tcp(&mut stream).await.unwrap()).0, 2);
    world.upstream.permits.add_permits(1);
    assert_eq!(summary(&read_tcp(&mut stream).await.unwrap()).0, 1);
    // A client that has sent its last query still gets its answer.
    write_tcp(&mut stream, &query("web.prod.svc.cluster.local", 3)).await;
    stream.shutdown().await.unwrap();
    assert_eq!(summary(&read_tcp(&mut stream).await.unwrap()).0, 3);
    assert!(read_tcp(&mut stream).await.is_err(), "and then the end");
}

#[tokio::test]
async fn idle_and_slow_tcp_clients_are_closed() {
    let mut config = config();
    config.tcp_idle_ms = 30;
    config.tcp_message_ms = 30;
    let world = world(config).await;
    let mut idle = world.tcp().await;
    assert!(read_tcp(&mut idle).await.is_err());
    let mut slow = world.tcp().await;
    slow.write_all(&[0]).await.unwrap();
    assert!(read_tcp(&mut slow).await.is_err());
    let mut short = world.tcp().await;
    short.write_all(&[0, 3, 1, 2, 3]).await.unwrap();
    assert!(read_tcp(&mut short).await.is_err(), "a length below a header's");
}

/// Slow loris: each byte in time, the message never.
#[tokio::test]
async fn a_message_that_drips_in_is_not_waited_for() {
    let mut config = config();
    config.tcp_message_ms = 50;
    let world = world(config).await;
    let mut slow = world.tcp().await;
    slow.write_all(&[0xFF, 0xFF]).await.unwrap();
    for _ in 0..60_000 {
        let closed = tokio::time::timeout(Duration::from_millis(5), slow.read_u8()).await;
        if closed.is_ok() || slow.write_all(&[1]).await.is_err() {
            return;
        }
    }
    panic!("the connection stayed open for the whole message");
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let mut config = config();
    config.tcp_connections = 1;
    let world = world(config).await;
    let mut first = world.tcp().await;
    write_tcp(&mut first, &query("www.example.com", 1)).await;
    read_tcp(&mut first).await.unwrap();
    let mut second = world.tcp().await;
    write_tcp(&mut second, &query("www.example.com", 2)).await;
    let early = tokio::time::timeout(Duration::from_millis(50), second.read_u8()).await;
    assert!(early.is_err() && world.server.stats().tcp_connections == 1);
    drop(first);
    assert_eq!(summary(&read_tcp(&mut second).await.unwrap()).0, 2);
}

#[tokio::test]
async fn a_busy_port_is_named_in_the_error() {
    let world = world(config()).await;
    let address = world.server.local_addr();
    let error = Server::bind(world.resolver.clone(), ServerConfig::new(address)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().starts_with(&format!("{address} is in use")), "{error}");
    let foreign = ServerConfig::new("192.0.2.1:5300".parse().unwrap());
    let error = Server::bind(world.resolver.clone(), foreign).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// Whether a server can listen there. Another test may have been given the port meanwhile, but it
/// does not keep it for long.
async fn becomes_free(resolver: Resolver, address: SocketAddr) -> bool {
    for _ in 0..100 {
        if Server::bind(resolver.clone(), ServerConfig::new(address)).await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test]
async fn dropping_the_handles_drains_and_frees_the_port() {
    let world = world(config()).await;
    let (socket, mut stream) = (world.udp().await, world.tcp().await);
    socket.send(&query("held.example.com", 1)).await.unwrap();
    write_tcp(&mut stream, &query("held.example.org", 2)).await;
    while world.resolver.stats().upstream_queries < 2 {
        tokio::task::yield_now().await;
    }
    let address = world.server.local_addr();
    drop(world.server);
    world.upstream.permits.add_permits(2);
    assert_eq!(summary(&receive(&socket).await).0, 1, "what was taken is answered");
    assert_eq!(summary(&read_tcp(&mut stream).await.unwrap()).0, 2);
    world.driver.await.unwrap().unwrap();
    assert!(becomes_free(world.resolver, address).await);
}

#[tokio::test]
async fn dropping_the_driver_closes_the_sockets() {
    let world = world(config()).await;
    let mut stream = world.tcp().await;
    write_tcp(&mut stream, &query("www.example.com", 1)).await;
    read_tcp(&mut stream).await.unwrap();
    world.driver.abort();
    assert!(world.driver.await.unwrap_err().is_cancelled());
    assert!(read_tcp(&mut stream).await.is_err());
    assert!(becomes_free(world.resolver, world.server.local_addr()).await);
}

#[tokio::test]
async fn several_sockets_share_a_port_and_a_split_driver_serves_them() {
    let mut config = config();
    config.udp_sockets = 3;
    let (resolver, driver) =
        Resolver::open(Arc::new(MemoryUpstream::new()), None, Config::default()).unwrap();
    tokio::spawn(driver);
    let (server, driver) = Server::bind(resolver, config).await.unwrap();
    let parts: Vec<_> = driver.split(2).into_iter().map(tokio::spawn).collect();
    for id in 0..30 {
        // A new client each time, since the system chooses the socket by the client's port.
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server.local_addr()).await.unwrap();
        assert_eq!(ask(&socket, "a.example", id).await, (id, Rcode::NXDOMAIN, 0));
    }
    assert_eq!(server.stats().udp_queries, 30);
    drop(server);
    for part in parts {
        part.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_resolver_without_a_driver_is_servfail() {
    let (resolver, driver) =
        Resolver::open(Arc::new(MemoryUpstream::new()), None, Config::default()).unwrap();
    drop(driver);
    let (server, driver) = Server::bind(resolver, config()).await.unwrap();
    tokio::spawn(driver);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.local_addr()).await.unwrap();
    assert_eq!(ask(&socket, "a.example", 5).await, (5, Rcode::SERVFAIL, 0));
    socket.send(&query("a.example", 6)).await.unwrap();
    assert!(Message::parse(&receive(&socket).await).unwrap().question().is_some());
}

/// What dig prints for the arguments, or `None` where it is not installed.
async fn dig(world: &World, arguments: &[&str]) -> Option<String> {
    let address = world.server.local_addr();
    let mut command = Command::new("dig");
    command.args([&format!("@{}", address.ip()), "-p", &address.port().to_string()]);
    command.args(["+tries=1", "+time=5"]).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    match output {
        Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
        Err(error) if std::env::var_os("TRESTLE_REQUIRE_SERVERS").is_some() => {
            panic!("dig is required and cannot be started: {error}")
        }
        Err(error) => {
            eprintln!("SKIPPED: dig cannot be started: {error}");
            None
        }
    }
}

#[tokio::test]
async fn dig_agrees() {
    let world = world(config()).await;
    for (arguments, expected) in [
        (&["+short", "www.example.com"][..], "192.0.2.1\n"),
        (&["+short", "+tcp", "www.example.com"], "192.0.2.1\n"),
        (&["+short", "web.prod.svc.cluster.local"], "10.96.0.7\n"),
        (&["+short", "-x", "10.96.0.7"], "web.prod.svc.cluster.local.\n"),
        (&["+short", "TXT", "dns-version.cluster.local"], "\"1.1.0\"\n"),
    ] {
        let Some(printed) = dig(&world, arguments).await else { return };
        assert_eq!(printed, expected, "{arguments:?}");
    }
    let Some(many) = dig(&world, &["+short", "many.example.com"]).await else { return };
    assert_eq!(many.lines().count(), 200, "dig goes to TCP when the answer is truncated");
    let whole = dig(&world, &["nope.prod.svc.cluster.local"]).await.unwrap();
    assert!(
        whole.contains("status: NXDOMAIN") && whole.contains("SOA\tns.dns.cluster.local."),
        "{whole}"
    );
    assert!(whole.contains("flags: qr aa rd ra;") && !whole.contains("Message parser"), "{whole}");
    let edns = dig(&world, &["+edns=5", "+noednsneg", "www.example.com"]).await.unwrap();
    assert!(edns.contains("status: BADVERS"), "{edns}");
    let any = dig(&world, &["+notcp", "ANY", "www.example.com"]).await.unwrap();
    assert!(any.contains("HINFO\t\"RFC8482\" \"\""), "{any}");
}
