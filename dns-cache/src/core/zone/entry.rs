//! One service, prepared for lookups.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use super::address::to_dashed;
use crate::core::wire::Name;
use crate::service::{Endpoint, Port, Service, ServiceKind};

#[derive(Debug)]
pub(super) struct Entry {
    service: Arc<Service>,
    key: Arc<[u8]>,
    /// The endpoints in the order of their host labels.
    by_host: Box<[u32]>,
    /// The target of an `ExternalName`.
    target: Option<Box<Name>>,
}

impl Entry {
    /// The entry, or `None` if the service's name or namespace is no label.
    pub(super) fn new(service: Arc<Service>) -> Option<Self> {
        let key = key(&service.name, &service.namespace)?.into();
        let target = match &service.kind {
            ServiceKind::ExternalName(target) => target.parse::<Name>().ok().map(Box::new),
            _ => None,
        };
        let mut by_host: Vec<_> = (0u32..).zip(&service.endpoints).collect();
        by_host.sort_by_cached_key(|(_, endpoint)| host(endpoint).into_owned());
        let by_host = by_host.into_iter().map(|(at, _)| at).collect();
        Some(Self { service, key, by_host, target })
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    pub(super) fn key(&self) -> &Arc<[u8]> {
        &self.key
    }

    pub(super) fn target(&self) -> Option<&Name> {
        self.target.as_deref()
    }

    /// The second label of the key, without its length.
    pub(super) fn namespace_label(&self) -> &[u8] {
        let name = usize::from(self.key.first().copied().unwrap_or_default());
        self.key.get(name + 2..).unwrap_or_default()
    }

    /// The service's labels within `svc.<zone>`.
    pub(super) fn labels(&self) -> [&[u8]; 2] {
        let name = usize::from(self.key.first().copied().unwrap_or_default());
        [self.key.get(1..=name).unwrap_or_default(), self.namespace_label()]
    }

    /// Cluster addresses and ready endpoints.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.cluster_addresses().iter().copied().chain(self.ready().map(|endpoint| endpoint.ip))
    }

    pub(super) fn cluster_addresses(&self) -> &[IpAddr] {
        match &self.service.kind {
            ServiceKind::ClusterIp(addresses) => addresses,
            _ => &[],
        }
    }

    /// The ready endpoints in the order of their host labels.
    pub(super) fn ready(&self) -> impl Iterator<Item = &Endpoint> {
        self.by_host.iter().filter_map(|at| self.endpoint(*at)).filter(|endpoint| endpoint.ready)
    }

    /// The ready endpoints with this host label.
    pub(super) fn ready_at<'e>(&'e self, label: &'e [u8]) -> impl Iterator<Item = &'e Endpoint> {
        let before =
            |at: &u32| self.endpoint(*at).is_some_and(|endpoint| host(endpoint).as_bytes() < label);
        let first = self.by_host.partition_point(before);
        let behind = self.by_host.get(first..).unwrap_or_default();
        let endpoints = behind.iter().filter_map(|at| self.endpoint(*at));
        endpoints
            .take_while(move |endpoint| host(endpoint).as_bytes() == label)
            .filter(|endpoint| endpoint.ready)
    }

    /// The ports of an endpoint: its own, or else the service's.
    pub(super) fn ports_of<'e>(&'e self, endpoint: &'e Endpoint) -> &'e [Port] {
        endpoint.ports.as_deref().unwrap_or(&self.service.ports)
    }

    fn endpoint(&self, at: u32) -> Option<&Endpoint> {
        self.service.endpoints.get(at as usize)
    }
}

/// An endpoint's label: its host name in lower case, else its address with dashes.
pub(super) fn host(endpoint: &Endpoint) -> Cow<'_, str> {
    match &endpoint.hostname {
        Some(name) if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Cow::Owned(name.to_ascii_lowercase())
        }
        Some(name) if !name.is_empty() => Cow::Borrowed(name),
        _ => Cow::Owned(to_dashed(endpoint.ip)),
    }
}

/// A service's two labels in wire form and lower case.
pub(super) fn key(name: &str, namespace: &str) -> Option<Vec<u8>> {
    let (name, namespace) = (label(name)?, label(namespace)?);
    let mut key = Vec::with_capacity(name.len() + namespace.len() + 2);
    for label in [name, namespace] {
        key.push(u8::try_from(label.len()).ok()?);
        key.extend(label);
    }
    Some(key)
}

/// A label in lower case, if the text is one.
pub(super) fn label(text: &str) -> Option<Vec<u8>> {
    (1..=63).contains(&text.len()).then(|| text.to_ascii_lowercase().into_bytes())
}
