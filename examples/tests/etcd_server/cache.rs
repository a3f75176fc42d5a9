//! A watch cache over the server, whose progress is told when it is asked for.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use watch_cache::conformance::{Subject, Writer};
use watch_cache::{
    At, Cache, Config, EtcdConfig, EtcdSource, Freshness, ListRequest, MemorySource, WatchRequest,
    Write,
};

use super::server::{Server, etcdctl_is_there};

/// How long the cache gets to hear of a write.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server, and what it has on disk.
struct Written {
    server: Server,
    _data: TempDir,
}

impl Written {
    fn start() -> Self {
        let data = TempDir::new().unwrap();
        Self { server: Server::start(data.path(), &[]), _data: data }
    }

    async fn source(&self) -> EtcdSource<Channel> {
        let endpoint = Endpoint::from_shared(self.server.url.clone()).unwrap();
        EtcdSource::open(endpoint.connect_lazy(), EtcdConfig::default()).await.unwrap()
    }

    /// Applies all writes at one revision.
    fn write(&self, writes: &[Write]) -> u64 {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let lines = writes.iter().map(|write| match write {
            Write::Put(key, value) => format!("put {} \"{}\"\n", text(key), text(value)),
            Write::Delete(key) => format!("del {}\n", text(key)),
        });
        let mut etcdctl = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", self.server.url.trim_start_matches("http://")])
            .args(["-w", "json", "txn"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // No conditions; then what is done, and what is done otherwise.
        let input = format!("\n{}\n\n", lines.collect::<String>());
        etcdctl.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = etcdctl.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["header"]["revision"].as_u64().unwrap()
    }
}

#[async_trait]
impl Writer for Written {
    async fn txn(&self, writes: Vec<Write>) -> u64 {
        self.write(&writes)
    }

    async fn compact(&self, revision: u64) {
        self.server.ok(&["compact", &revision.to_string()]);
    }
}

async fn subject() -> (Subject, ()) {
    if !etcdctl_is_there() {
        let store = Arc::new(MemorySource::new());
        return (Subject { source: store.clone(), writer: store }, ());
    }
    let written = Written::start();
    let source = written.source().await;
    (Subject { source: Arc::new(source), writer: Arc::new(written) }, ())
}

watch_cache::source_conformance!(source, async { subject().await });

#[tokio::test]
async fn several_prefixes_are_at_one_revision_by_progress_on_request() {
    if !etcdctl_is_there() {
        return;
    }
    let written = Written::start();
    let source = written.source().await;
    assert!(matches!(watch_cache::Source::freshness(&source), Freshness::OnRequest(_)));
    let mut config = Config::default();
    config.prefixes = vec!["/a/".into(), "/b/".into()];
    config.wait_timeout = PATIENCE;
    let (cache, driver) = Cache::open(Arc::new(source), vec![], config).unwrap();
    tokio::spawn(driver);
    cache.ready().await.unwrap();
    let mut watcher = cache.watch(WatchRequest::new("/a/")).unwrap();
    let put = |key: &'static str, value: &str| Write::Put(key.into(), value.to_owned().into());
    for round in 0..10 {
        let value = round.to_string();
        let at = written.write(&[put("/a/x", &value), put("/b/x", &value)]);
        // Of no prefix: only progress tells of it.
        written.write(&[put("/c", &value)]);
        let consistent = cache.list(ListRequest::new("/b/")).await.unwrap();
        assert!(consistent.revision > at);
        assert_eq!(consistent.objects[0].value(), value.as_bytes());
        let exact = cache.list(ListRequest::new("/a/").at(At::Exactly(at))).await.unwrap();
        assert_eq!(exact.objects[0].value(), value.as_bytes());
        let event = timeout(PATIENCE, watcher.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(event.revision(), at);
    }
    let stats = cache.stats();
    assert_eq!((stats.lists, stats.early_progress, stats.source_errors), (1, 0, 0), "{stats:?}");
    assert!(stats.progress_requests > 0 && stats.revision_lag() == 0, "{stats:?}");
}
