//! `KubernetesSource` through kube-rs's client, against the contract of a source.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube_client::{Api, Config};
use serde_json::{Value, json};
use watch_cache::conformance::{self, Subject, Writer};
use watch_cache::{
    At, Cache, Change, ErrorKind, Events, Freshness, KubernetesConfig, KubernetesSource,
    ListRequest, Listing, Object, Result, Schema, Selector, Source, SourceEvent, SourceObject,
    Start, WatchEvent, WatchRequest, Write,
};

use super::kube_api::KubeApi;
use super::reflect::{Numbers, write};
use super::server::{Server, create, get, send};
use trestle_examples::manifest::{JsonCodec, find};

/// So many revisions can be read.
const RETAINED: u64 = 12;
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn source(server: &Server, path: &str) -> KubernetesSource {
    let mut config = Config::new(server.url().parse().unwrap());
    config.default_retry = false;
    let mut settings = KubernetesConfig::default();
    settings.page_objects = 2;
    KubernetesSource::new(KubeApi(config.try_into().unwrap()), path, settings).unwrap()
}

/// Config maps whose names are the keys in hexadecimal digits, as objects of those keys.
struct Named(KubernetesSource);

fn named(key: &Bytes) -> Option<Bytes> {
    let hex = key.strip_prefix(b"/default/k")?;
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
    hex.chunks(2).map(|two| Some(digit(two[0])? << 4 | digit(two[1])?)).collect()
}

fn name(key: &[u8]) -> String {
    key.iter().fold("k".to_owned(), |name, byte| name + &format!("{byte:02x}"))
}

fn renamed(mut object: SourceObject) -> Option<SourceObject> {
    object.key = named(&object.key)?;
    object.value = find(&object.value, &["data", "value"])?.into_owned().into();
    Some(object)
}

#[async_trait]
impl Source for Named {
    async fn list(&self, prefix: &Bytes, at: Option<u64>) -> Result<Listing> {
        let prefix = prefix.clone();
        let listing = self.0.list(&Bytes::new(), at).await?;
        let objects = listing.objects.map(move |batch| {
            let batch = batch?.into_iter().filter_map(renamed);
            Ok(batch.filter(|object| object.key.starts_with(&prefix)).collect())
        });
        Ok(Listing { revision: listing.revision, objects: objects.boxed() })
    }

    async fn watch(&self, prefix: &Bytes, after: u64) -> Result<Events> {
        let prefix = prefix.clone();
        let events = self.0.watch(&Bytes::new(), after).await?;
        let events = events.filter_map(move |event| {
            let within = match event {
                Ok(SourceEvent::Revision(mut revision)) => {
                    let changes = revision.changes.into_iter().filter_map(|change| match change {
                        Change::Put(object) => renamed(object).map(Change::Put),
                        Change::Delete(key) => named(&key).map(Change::Delete),
                    });
                    revision.changes =
                        changes.filter(|change| change.key().starts_with(&prefix)).collect();
                    let some = !revision.changes.is_empty();
                    some.then_some(Ok(SourceEvent::Revision(revision)))
                }
                other => Some(other),
            };
            std::future::ready(within)
        });
        Ok(events.boxed())
    }

    fn freshness(&self) -> Freshness<'_> {
        self.0.freshness()
    }
}

/// Writes through the API, one object at a time.
struct Posts(Arc<Server>);

impl Posts {
    async fn put(&self, name: &str, value: &str) -> u64 {
        let object = json!({"metadata": {"name": name}, "data": {"value": value}}).to_string();
        let path = format!("{MAPS}/{name}");
        let (answer, mut json) =
            send(&self.0, "PUT", &path, "application/json", object.clone()).await;
        if answer.status() == 404 {
            json = send(&self.0, "POST", MAPS, "application/json", object).await.1;
        }
        let version = json["metadata"]["resourceVersion"].as_str();
        version.unwrap_or_else(|| panic!("{json}")).parse().unwrap()
    }

    async fn newest(&self) -> u64 {
        let (_, list) = get(&self.0, &format!("{MAPS}?limit=1")).await;
        list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    }
}

#[async_trait]
impl Writer for Posts {
    async fn txn(&self, writes: Vec<Write>) -> u64 {
        match &writes[..] {
            [Write::Put(key, value)] => {
                self.put(&name(key), std::str::from_utf8(value).unwrap()).await
            }
            [Write::Delete(key)] => {
                let path = format!("{MAPS}/{}", name(key));
                let (_, status) = send(&self.0, "DELETE", &path, "application/json", "").await;
                assert_eq!(status["status"], Value::from("Success"));
                // Nobody else writes.
                self.newest().await
            }
            other => panic!("Kubernetes writes one object at a time, not {other:?}"),
        }
    }

    /// The server keeps so many revisions; others push out what is older.
    async fn compact(&self, revision: u64) {
        let mut newest = self.newest().await;
        while newest < revision + RETAINED {
            newest = self.put("filler", &newest.to_string()).await;
        }
        assert_eq!(self.newest().await, revision + RETAINED);
    }
}

fn subject() -> Subject {
    let retained = RETAINED.to_string();
    let flags =
        ["--log-revisions", &retained, "--wait-timeout-ms", "100", "--bookmark-interval-ms", "20"];
    let server = Arc::new(Server::start(&flags));
    let source = Arc::new(Named(source(&server, "/api/v1/configmaps")));
    Subject { source, writer: Arc::new(Posts(server)) }
}

/// The items of the contract but 2 and 5, whose checks want what Kubernetes does not have: the
/// revision of an object's creation, and transactions of several objects. What is left of the two
/// is below.
macro_rules! checks {
    ($($check:ident)*) => {
        $(
            #[tokio::test]
            async fn $check() -> Result<(), conformance::Violation> {
                conformance::$check(&subject()).await
            }
        )*
    };
}

checks! {
    list_is_current list_at_a_revision watch_is_complete compacted_watch progress_is_true
    current_revision watch_reaches an_error_is_last
}

#[tokio::test]
async fn listings_and_watches_agree_byte_for_byte() {
    let server = Server::start(&[]);
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    let other: Api<Pod> = Api::namespaced(server.client(), "a-b");
    let first = create(&pods, &["b", "a", "c"], "web", "n1").await;
    create(&other, &["z"], "web", "n1").await;
    let source = source(&server, "/api/v1/pods");
    assert!(matches!(source.freshness(), Freshness::ListOnly));
    let mut events = source.watch(&Bytes::from("/default/"), first - 2).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        if let SourceEvent::Revision(revision) = events.next().await.unwrap().unwrap() {
            assert_eq!(revision.changes.len(), 1);
            told.extend(revision.changes);
        }
    }
    let listing = source.list(&Bytes::from("/default/"), None).await.unwrap();
    let batches: Vec<_> = listing.objects.collect().await;
    let listed: Vec<_> = batches.into_iter().flat_map(Result::unwrap).collect();
    let keys: Vec<_> = listed.iter().map(|object| &object.key[..]).collect();
    assert_eq!(keys, [b"/default/a", b"/default/b", b"/default/c"]);
    assert_eq!(told, [Change::Put(listed[0].clone()), Change::Put(listed[2].clone())]);
}

/// A cache over the API is what the API lists, with its selectors, at the same revisions.
#[tokio::test]
async fn a_cache_of_an_api_is_what_the_api_lists() {
    let server = Server::start(&["--bookmark-interval-ms", "5"]);
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    let mut numbers = Numbers(7);
    write(&pods, &mut numbers, 30).await;
    let source = Arc::new(source(&server, "/api/v1/pods"));
    let schema = Schema::new(JsonCodec).index(watch_cache::Index::label("app"));
    let (cache, driver) = Cache::open(source, schema, watch_cache::Config::default()).unwrap();
    let driver = tokio::spawn(driver);
    cache.ready().await.unwrap();
    let web = || Selector::parse("app=web", "spec.nodeName!=n2").unwrap();
    let request = WatchRequest::new("/default/").select(web()).from(Start::Initial);
    let mut watcher = cache.watch(request).unwrap();
    write(&pods, &mut numbers, 80).await;
    let (_, listed) = get(&server, "/api/v1/pods?labelSelector=app%3Dweb").await;
    let expected: Vec<Value> = listed["items"].as_array().unwrap().clone();
    let request = ListRequest::new("/").select(web());
    let found = cache.list(request).await.unwrap().objects;
    let versions: Vec<u64> = found.iter().map(Object::mod_revision).collect();
    let found: Vec<Value> =
        found.iter().map(|object| serde_json::from_slice(object.value()).unwrap()).collect();
    assert_eq!(found, expected);
    // What a watcher is told leads to the same.
    let mut held = std::collections::BTreeMap::new();
    while !held.values().map(Object::mod_revision).eq(versions.iter().copied()) {
        let event = tokio::time::timeout(Duration::from_secs(20), watcher.next()).await;
        match event.expect("an event").unwrap().unwrap() {
            WatchEvent::Added { object, .. } | WatchEvent::Modified { object, .. } => {
                held.insert(object.key().to_vec(), object);
            }
            WatchEvent::Deleted { previous, .. } => drop(held.remove(previous.key())),
            _ => {}
        }
    }
    let held: Vec<Value> =
        held.values().map(|object| serde_json::from_slice(object.value()).unwrap()).collect();
    assert_eq!(held, expected);
    let gone = cache.list(ListRequest::new("/").at(At::Exactly(1))).await.unwrap_err();
    assert!(matches!(gone.kind(), ErrorKind::Expired { .. }));
    drop((watcher, cache));
    driver.await.unwrap().unwrap();
}
