//! Quickstart of `dns-cache`: a listener that answers a cluster's names and caches the rest.

use std::sync::Arc;

use dns_cache::records::{MemoryRecords, Service, ServiceKind};
use dns_cache::server::{Server, ServerConfig};
use dns_cache::upstream::MemoryUpstream;
use dns_cache::wire::{Message, Query, RecordType};
use dns_cache::{Config, Resolver};
use tokio::net::UdpSocket;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let records = MemoryRecords::new();
    let web = ServiceKind::ClusterIp(vec!["10.96.0.7".parse()?]);
    let revision = records.upsert(Service::new("prod", "web", web));
    let internet = MemoryUpstream::new();
    internet.add_address("www.example.com", 300, "192.0.2.1".parse()?);

    let (resolver, driver) =
        Resolver::open(Arc::new(internet), Some(Arc::new(records)), Config::default())?;
    tokio::spawn(driver);
    let (server, driver) = Server::bind(resolver.clone(), ServerConfig::default()).await?;
    tokio::spawn(driver);
    resolver.wait_for(revision).await?;

    let client = UdpSocket::bind("127.0.0.1:0").await?;
    client.connect(server.local_addr()).await?;
    for name in ["web.prod.svc.cluster.local", "www.example.com", "www.example.com"] {
        client.send(&Query::new(name.parse()?, RecordType::A).encode(7)).await?;
        let mut buffer = [0; 1232];
        let len = client.recv(&mut buffer).await?;
        let addresses: Vec<_> = Message::parse(&buffer[..len])?.addresses().collect();
        println!("{name} is at {addresses:?}");
    }
    println!("{:?}", resolver.stats());
    Ok(())
}
