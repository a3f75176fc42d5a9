//! DNS as the stack has it: a resolver with the cluster's services, a small internet above it, and
//! the lookups that pods make.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dns_cache::server::{Server, ServerConfig};
use dns_cache::upstream::{MemoryUpstream, UdpUpstream, UdpUpstreamConfig};
use dns_cache::wire::{Message, Name, Query, RecordType};
use dns_cache::{Config, Resolver};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use trestle_examples::glue::CacheRecords;
use trestle_examples::objects::{Metadata, NAMESPACE, ServiceObject};
use watch_cache::Cache;

use crate::tasks::Tasks;
use trestle_examples::fail::{Context, Fail, Result};

/// Services in the cluster.
pub(crate) const SERVICES: usize = 200;
/// Names outside it.
const OUTSIDE: usize = 100;
/// How often a lookup is sent before it fails, as `resolv.conf`'s `attempts` and some.
const ATTEMPTS: usize = 5;
/// How long each waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// The cluster's DNS and what is above it.
pub(crate) struct Names {
    pub(crate) resolver: Resolver,
    pub(crate) address: SocketAddr,
    _servers: [Server; 2],
}

impl Names {
    /// Starts both servers: the cluster's at `listen`, the internet's at any free port.
    pub(crate) async fn open(cache: &Cache, listen: SocketAddr, tasks: &mut Tasks) -> Result<Self> {
        let internet = MemoryUpstream::new();
        for i in 0..OUTSIDE {
            internet.add_address(&outside(i), 300, outside_address(i));
        }
        let name = || "dns".to_owned();
        let (upstream, driver) =
            Resolver::open(Arc::new(internet), None, Config::default()).context(name)?;
        tasks.spawn("internet's resolver", driver);
        let (above, driver) =
            Server::bind(upstream, ServerConfig::default()).await.context(name)?;
        tasks.spawn("internet's server", driver);

        let upstream =
            UdpUpstream::new(UdpUpstreamConfig::new(vec![above.local_addr()])).context(name)?;
        let records = Arc::new(CacheRecords(cache.clone()));
        let (resolver, driver) =
            Resolver::open(Arc::new(upstream), Some(records), Config::default()).context(name)?;
        tasks.spawn("resolver", driver);
        let config = ServerConfig::new(listen);
        let (server, driver) = Server::bind(resolver.clone(), config)
            .await
            .context(|| format!("dns can't listen on {listen}"))?;
        tasks.spawn("dns server", driver);
        Ok(Self { resolver, address: server.local_addr(), _servers: [above, server] })
    }
}

/// The `i`th service.
pub(crate) fn service(i: usize) -> ServiceObject {
    ServiceObject {
        metadata: Metadata::new(format!("svc-{i}")),
        cluster_ip: service_address(i),
        port: 80,
    }
}

fn service_address(i: usize) -> Ipv4Addr {
    let [.., high, low] = (i + 1).to_be_bytes();
    Ipv4Addr::new(10, 96, high, low)
}

fn outside(i: usize) -> String {
    format!("app-{i}.example.com")
}

/// From TEST-NET-2 (RFC 5737).
fn outside_address(i: usize) -> IpAddr {
    let [.., low] = (i + 1).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, low))
}

/// The names that the `i`th pod looks up, and what it must be told.
pub(crate) fn lookups(i: usize) -> [(String, IpAddr); 2] {
    let (service, out) = (i % SERVICES, i % OUTSIDE);
    let name = format!("svc-{service}.{NAMESPACE}.svc.cluster.local");
    [(name, IpAddr::V4(service_address(service))), (outside(out), outside_address(out))]
}

/// Asks `server` over UDP for the addresses of `name`, as a stub resolver does.
pub(crate) async fn lookup(server: SocketAddr, name: &str, id: u16) -> Result<Vec<IpAddr>> {
    let what = || format!("dns lookup of {name}");
    let owner: Name = name.parse().context(what)?;
    let query = Query::new(owner, RecordType::A).encode(id);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.context(what)?;
    socket.connect(server).await.context(what)?;
    let mut buffer = vec![0; 4_096];
    for _ in 0..ATTEMPTS {
        socket.send(&query).await.context(what)?;
        let Ok(received) = timeout(PATIENCE, socket.recv(&mut buffer)).await else { continue };
        let bytes = buffer.get(..received.context(what)?).unwrap_or_default();
        let answer = Message::parse(bytes).context(what)?;
        if answer.id() == id {
            return Ok(answer.addresses().collect());
        }
    }
    Err(Fail::new(format!("{}: no answer to {ATTEMPTS} queries", what())))
}
