//! Services in a cache as the cluster records of a resolver.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use dns_cache::records::{Protocol, Records, RecordsEvent, Service, ServiceKind};
use dns_cache::{Error, ErrorKind, Result};
use futures_util::stream::{BoxStream, StreamExt};
use watch_cache::{Cache, Object, Start, WatchEvent, WatchRequest};

use crate::objects::{NAMESPACE, SERVICES, ServiceObject, decode};

/// The services of a [`Cache`], told of as they change.
#[derive(Debug, Clone)]
pub struct CacheRecords(pub Cache);

#[async_trait]
impl Records for CacheRecords {
    async fn watch(&self) -> Result<BoxStream<'static, Result<RecordsEvent>>> {
        let request = WatchRequest::new(SERVICES).from(Start::Initial).bookmarks();
        let watcher = self.0.watch(request).map_err(error)?;
        Ok(watcher.map(|event| event.map_err(error).and_then(|event| record(&event))).boxed())
    }
}

fn record(event: &WatchEvent) -> Result<RecordsEvent> {
    let revision = event.revision();
    match event {
        WatchEvent::Added { object, .. }
        | WatchEvent::Modified { object, .. }
        | WatchEvent::Coalesced { object: Some(object), .. } => {
            Ok(RecordsEvent::Upsert { revision, service: Arc::new(service(object)?) })
        }
        WatchEvent::Deleted { previous, .. } => {
            let Service { namespace, name, .. } = service(previous)?;
            Ok(RecordsEvent::Delete { revision, namespace, name })
        }
        WatchEvent::Coalesced { key, object: None, .. } => {
            let (namespace, name) = name(key)?;
            Ok(RecordsEvent::Delete { revision, namespace, name })
        }
        WatchEvent::Bookmark { .. } | WatchEvent::Resumed { .. } => {
            Ok(RecordsEvent::Synced { revision })
        }
    }
}

fn service(object: &Object) -> Result<Service> {
    let decoded: ServiceObject = decode(object.value()).map_err(|cause| {
        let key = String::from_utf8_lossy(object.key());
        Error::new(ErrorKind::Unavailable, format!("{key} can't be read")).with_source(cause)
    })?;
    let kind = ServiceKind::ClusterIp(vec![IpAddr::V4(decoded.cluster_ip)]);
    let service = Service::new(NAMESPACE, decoded.metadata.name, kind);
    Ok(service.with_port("http", Protocol::Tcp, decoded.port))
}

/// The namespace and the name in a key.
fn name(key: &[u8]) -> Result<(String, String)> {
    let name = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(SERVICES));
    let (namespace, name) = name.and_then(|name| name.split_once('/')).ok_or_else(|| {
        let key = String::from_utf8_lossy(key);
        Error::new(ErrorKind::Unavailable, format!("{key} is no key of a service"))
    })?;
    Ok((namespace.to_owned(), name.to_owned()))
}

fn error(error: watch_cache::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the cache failed").with_source(error)
}
