//! The rival: an etcd of this machine, started by the bench on free loopback ports and stopped by
//! its process, and a client that costs the load generator as little as gRPC can.

pub mod answer;
mod client;
pub mod message;
mod server;

pub use client::Client;
pub use server::Etcd;

/// What starting or asking an etcd ends with.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
