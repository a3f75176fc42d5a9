//! What a pod claims of a node beside amounts: ports and volumes.

use std::sync::Arc;

use super::Requirement;

/// A transport protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of the node that a pod takes for itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// The address; empty is every address.
    pub ip: Arc<str>,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl HostPort {
    /// A TCP port on every address.
    #[must_use]
    pub fn tcp(port: u16) -> Self {
        Self { ip: "".into(), port, protocol: Protocol::Tcp }
    }

    /// Whether two pods with these can't share a node.
    ///
    /// ```
    /// use binpack::HostPort;
    ///
    /// let local = HostPort { ip: "127.0.0.1".into(), ..HostPort::tcp(80) };
    /// let other = HostPort { ip: "10.0.0.1".into(), ..HostPort::tcp(80) };
    /// assert!(HostPort::tcp(80).conflicts(&local) && !local.conflicts(&other));
    /// ```
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        let every = |port: &Self| matches!(&*port.ip, "" | "0.0.0.0" | "::");
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || every(self) || every(other))
    }
}

/// A volume that a pod mounts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Volume {
    /// The storage driver, such as `ebs.csi.aws.com`, whose limit per node it counts in.
    pub driver: Arc<str>,
    /// What tells it from others of the driver: pods of a node that mount the same one count once.
    pub handle: Arc<str>,
    /// Where it can be reached: one of these sets of conditions on the node's labels must hold.
    /// Empty is everywhere.
    pub topologies: Vec<Vec<Requirement>>,
}

impl Volume {
    /// A volume that can be reached from everywhere.
    pub fn new(driver: impl Into<Arc<str>>, handle: impl Into<Arc<str>>) -> Self {
        Self { driver: driver.into(), handle: handle.into(), topologies: Vec::new() }
    }

    /// With one more set of conditions under which it can be reached.
    #[must_use]
    pub fn reached_where(mut self, requirements: Vec<Requirement>) -> Self {
        self.topologies.push(requirements);
        self
    }
}
