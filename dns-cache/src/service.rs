//! The plain data of cluster records: what the zone is built from and the records port carries.

use std::net::IpAddr;

/// A Kubernetes-like service with its endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The namespace, a DNS label.
    pub namespace: String,
    /// The name, a DNS label.
    pub name: String,
    /// How its name is answered.
    pub kind: ServiceKind,
    /// Its ports. Only named ones have SRV records.
    pub ports: Vec<Port>,
    /// Where it runs.
    pub endpoints: Vec<Endpoint>,
}

/// How a service's name is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceKind {
    /// With virtual addresses of one or both families.
    ClusterIp(Vec<IpAddr>),
    /// With the addresses of the ready endpoints.
    Headless,
    /// With a CNAME to this name.
    ExternalName(String),
}

/// A port of a service or of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name, a DNS label; empty where it has none.
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number.
    pub port: u16,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `_tcp`.
    Tcp,
    /// `_udp`.
    Udp,
    /// `_sctp`.
    Sctp,
}

/// A place where a service runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub ip: IpAddr,
    /// Its host name, a DNS label; without one it is named by its address.
    pub hostname: Option<String>,
    /// Whether it may be given to clients.
    pub ready: bool,
    /// Its ports, where they differ from the service's.
    pub ports: Option<Vec<Port>>,
}

impl Service {
    /// A service without ports and endpoints.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, kind: ServiceKind) -> Self {
        let (namespace, name) = (namespace.into(), name.into());
        Self { namespace, name, kind, ports: Vec::new(), endpoints: Vec::new() }
    }

    /// The same service with one more port.
    #[must_use]
    pub fn with_port(mut self, name: impl Into<String>, protocol: Protocol, port: u16) -> Self {
        self.ports.push(Port { name: name.into(), protocol, port });
        self
    }

    /// The same service with one more endpoint.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }
}

impl Endpoint {
    /// A ready endpoint that is named by its address and has the service's ports.
    #[must_use]
    pub fn new(ip: IpAddr) -> Self {
        Self { ip, hostname: None, ready: true, ports: None }
    }

    /// The same endpoint with a host name.
    #[must_use]
    pub fn with_hostname(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = Some(hostname.into());
        self
    }

    /// The same endpoint, ready or not.
    #[must_use]
    pub fn with_ready(mut self, ready: bool) -> Self {
        self.ready = ready;
        self
    }
}
