//! A caching DNS resolver for a node: answers in wire form without allocation, cluster records
//! from a stream of services, and a listener for UDP and TCP.
//!
//! A [`Resolver`] stands over two ports: an [`Upstream`](upstream::Upstream) that answers what it
//! does not know, and [`Records`](records::Records), which tell of the cluster's services. Nothing
//! is spawned here: [`Resolver::open`] returns a handle and a [`Driver`], and the caller spawns it.
//!
//! ```
//! use std::sync::Arc;
//!
//! use dns_cache::records::{MemoryRecords, Service, ServiceKind};
//! use dns_cache::upstream::MemoryUpstream;
//! use dns_cache::wire::{Message, Query, RecordType};
//! use dns_cache::{Config, Resolver, Transport};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> dns_cache::Result<()> {
//! let records = MemoryRecords::new();
//! let address = "10.96.0.7".parse().unwrap();
//! let revision = records.upsert(Service::new("prod", "web", ServiceKind::ClusterIp(vec![address])));
//!
//! let upstream = Arc::new(MemoryUpstream::new());
//! let (resolver, driver) = Resolver::open(upstream, Some(Arc::new(records)), Config::default())?;
//! tokio::spawn(driver);
//! resolver.wait_for(revision).await?;
//!
//! let query = Query::new("web.prod.svc.cluster.local".parse()?, RecordType::A).encode(1);
//! let answer = resolver.resolve(&query, Transport::Udp).await?;
//! assert_eq!(Message::parse(&answer)?.addresses().collect::<Vec<_>>(), [address]);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod core;
mod error;
pub mod records;
mod resolver;
#[cfg(feature = "server")]
pub mod server;
mod service;
pub mod upstream;

pub use config::{Config, Limit, PodNames};
pub use error::{Error, ErrorKind, Result};
pub use resolver::{Driver, Outcome, Resolver, Stats, Transport};

pub use crate::core::wire;
