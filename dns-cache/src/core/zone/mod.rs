//! The cluster's zone: names made from services, after the Kubernetes DNS specification 1.1.0.
//!
//! A [`Zone`] is a value: cloning it is cheap and gives a snapshot that later changes leave alone.

mod address;
mod entry;
mod lookup;
mod shared_map;

pub(crate) use lookup::Verdict;

use std::net::IpAddr;
use std::sync::Arc;

use self::entry::Entry;
use self::shared_map::SharedMap;
use crate::core::hash::KeyedHash;
use crate::core::wire::Name;
use crate::error::{Error, ErrorKind, Result};
use crate::service::Service;

/// What does not change while the zone lives.
#[derive(Debug)]
pub(crate) struct ZoneSettings {
    domain: Name,
    mname: Name,
    rname: Name,
    ttl_secs: u32,
    pod_names: bool,
    hash: KeyedHash,
}

impl ZoneSettings {
    pub(crate) fn new(domain: &str, ttl_secs: u32, pod_names: bool, seed: u128) -> Result<Self> {
        let wrong = |error| {
            let why = format!("config: cluster_domain is {domain:?}: name a zone in DNS form");
            Error::new(ErrorKind::Invalid, why).with_source(error)
        };
        let domain_name = domain.parse::<Name>().map_err(wrong)?.to_lowercase();
        if domain_name == Name::root() {
            let why = "config: cluster_domain is the root, which holds every name: name a zone";
            return Err(Error::new(ErrorKind::Invalid, why));
        }
        let mname = Name::join([b"ns".as_slice(), b"dns"], &domain_name).map_err(wrong)?;
        let rname = Name::join([b"hostmaster".as_slice()], &domain_name).map_err(wrong)?;
        let domain = domain_name;
        Ok(Self { domain, mname, rname, ttl_secs, pod_names, hash: KeyedHash::new(seed) })
    }

    /// Whether `name`, in lower case, could have cluster records.
    pub(crate) fn covers(&self, name: &Name) -> bool {
        name.strip_suffix(&self.domain).is_some() || address::of_reverse(name).is_some()
    }
}

/// All records of the cluster as of one revision.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    settings: Arc<ZoneSettings>,
    revision: u64,
    /// By service and namespace as they stand in a name: two labels.
    services: SharedMap<Box<[u8]>, Arc<Entry>>,
    /// By one label.
    namespaces: SharedMap<Box<[u8]>, Namespace>,
    /// The services that have a cluster address or a ready endpoint there.
    addresses: SharedMap<IpAddr, Vec<Arc<[u8]>>>,
}

/// Why a namespace exists.
#[derive(Debug, Clone, Copy, Default)]
struct Namespace {
    declared: bool,
    services: u32,
}

impl Zone {
    /// A zone without services at revision 0.
    pub(crate) fn new(settings: Arc<ZoneSettings>) -> Self {
        let hash = settings.hash;
        let (services, namespaces) = (SharedMap::new(hash), SharedMap::new(hash));
        Self { settings, revision: 0, services, namespaces, addresses: SharedMap::new(hash) }
    }

    /// The same zone without services.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(Arc::clone(&self.settings))
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    /// Adds or replaces a service. One whose name or namespace is no label has no records.
    pub(crate) fn upsert(&mut self, service: &Arc<Service>) {
        let Some(entry) = Entry::new(Arc::clone(service)) else { return };
        let entry = Arc::new(entry);
        let key: Box<[u8]> = entry.key().as_ref().into();
        match self.services.insert(key, Arc::clone(&entry)) {
            Some(before) => self.leave_addresses(&before, Some(&entry)),
            None => {
                self.change_namespace(entry.namespace_label(), |namespace| namespace.services += 1);
            }
        }
        self.join_addresses(&entry);
    }

    /// Removes a service.
    pub(crate) fn delete(&mut self, namespace: &str, name: &str) {
        let Some(key) = entry::key(name, namespace) else { return };
        let Some(before) = self.services.remove(key.as_slice()) else { return };
        self.change_namespace(before.namespace_label(), |namespace| namespace.services -= 1);
        self.leave_addresses(&before, None);
    }

    pub(crate) fn declare_namespace(&mut self, name: &str, declared: bool) {
        let Some(label) = entry::label(name) else { return };
        self.change_namespace(&label, |namespace| namespace.declared = declared);
    }

    fn change_namespace(&mut self, label: &[u8], change: impl FnOnce(&mut Namespace)) {
        let mut namespace = self.namespaces.get(label).copied().unwrap_or_default();
        change(&mut namespace);
        if namespace.declared || namespace.services > 0 {
            self.namespaces.insert(label.into(), namespace);
        } else {
            self.namespaces.remove(label);
        }
    }

    fn join_addresses(&mut self, entry: &Entry) {
        for address in entry.addresses() {
            let held = self.addresses.get(&address);
            if held.is_some_and(|keys| keys.contains(entry.key())) {
                continue;
            }
            let mut keys = held.cloned().unwrap_or_default();
            keys.push(Arc::clone(entry.key()));
            self.addresses.insert(address, keys);
        }
    }

    /// Takes the service from the addresses that it had and `after` does not have.
    fn leave_addresses(&mut self, before: &Entry, after: Option<&Entry>) {
        let kept: std::collections::HashSet<_> =
            after.into_iter().flat_map(Entry::addresses).collect();
        for address in before.addresses().filter(|address| !kept.contains(address)) {
            let mut keys = self.addresses.get(&address).cloned().unwrap_or_default();
            keys.retain(|key| key != before.key());
            if keys.is_empty() {
                self.addresses.remove(&address);
            } else {
                self.addresses.insert(address, keys);
            }
        }
    }
}

#[cfg(test)]
mod tests;
