//! The HTTP source against a real server on loopback.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and spawns what a caller would"
)]

#[path = "support/mod.rs"]
mod support;

#[path = "support/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use lazy_blob::{Blob, Config, ErrorKind, HttpClient, HttpConfig, HttpSource, Source};
use server::{Manner, Server};
use support::{Random, files, gzip, index, small_spans, tar};

fn client(change: impl FnOnce(&mut HttpConfig)) -> HttpClient {
    let mut config = HttpConfig::default();
    change(&mut config);
    HttpClient::new(config).unwrap()
}

async fn served(length: usize) -> (Server, Bytes) {
    let bytes = Bytes::from(Random::new(1).content(length));
    (Server::start(bytes.clone()).await, bytes)
}

fn source(server: &Server) -> HttpSource {
    HttpSource::new(client(|_| ()), &server.url()).unwrap()
}

#[tokio::test]
async fn a_thousand_blobs_of_one_layer() {
    let files = files(&mut Random::new(2), 20, 30_000);
    let layer = Bytes::from(gzip(&tar(&files), 6));
    let index = Arc::new(index(&layer, &small_spans()));
    let server = Server::start(layer).await;
    let source = source(&server);
    let (path, content) = files.iter().find(|(_, content)| content.len() > 100).unwrap();
    let mut blobs = Vec::new();
    for _ in 0..1_000 {
        let source = Arc::new(source.clone());
        let opened = Blob::open(source, index.clone(), Config::default()).await;
        let (blob, driver) = opened.unwrap();
        tokio::spawn(driver);
        blobs.push(blob);
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 1, "clones share what they know");
    for blob in &blobs {
        assert_eq!(blob.read(path, 10..90).await.unwrap(), content[10..90]);
    }
    assert!(server.requests.load(Ordering::SeqCst) <= 2_001);
}

#[tokio::test]
async fn a_replaced_blob_is_changed() {
    for etag in [Some("\"v1\""), None] {
        let (server, bytes) = served(10_000).await;
        let source = source(&server);
        assert_eq!(source.read(5..10).await.unwrap(), bytes[5..10]);
        server.replace(Bytes::from(vec![0; 20_000]), etag);
        assert_eq!(source.read(5..10).await.unwrap_err().kind(), ErrorKind::Changed);
    }
    let (server, _) = served(10_000).await;
    let source = source(&server);
    assert_eq!(source.size().await.unwrap(), 10_000);
    server.replace(Bytes::from(vec![0; 10_000]), Some("\"same size\""));
    assert_eq!(source.read(5..10).await.unwrap_err().kind(), ErrorKind::Changed);
    server.replace(Bytes::from(vec![0; 5]), None);
    assert_eq!(source.read(9_000..9_010).await.unwrap_err().kind(), ErrorKind::Changed);
}

#[tokio::test]
async fn statuses_say_what_to_do() {
    use ErrorKind::{Changed, Invalid, NotFound, Unavailable, Unsupported};
    for (status, first, later) in [
        (404, NotFound, NotFound),
        (410, NotFound, NotFound),
        (401, Invalid, Invalid),
        (403, Invalid, Invalid),
        (416, Changed, Changed),
        (429, Unavailable, Unavailable),
        (500, Unavailable, Unavailable),
        (503, Unavailable, Unavailable),
        (302, Unsupported, Unsupported),
        (204, Unsupported, Unsupported),
    ] {
        let (server, bytes) = served(1_000).await;
        let source = source(&server);
        server.set(Manner::Status(status));
        assert_eq!(source.size().await.unwrap_err().kind(), first, "{status}");
        // A failed first answer pins nothing.
        server.set(Manner::Right);
        assert_eq!(source.read(0..9).await.unwrap(), bytes[..9]);
        server.set(Manner::Status(status));
        let error = source.read(0..9).await.unwrap_err();
        assert_eq!(error.kind(), later, "{status}");
        assert!(error.to_string().contains(&server.url()), "{error}");
        server.set(Manner::Right);
        assert_eq!(source.read(0..9).await.unwrap(), bytes[..9]);
    }
}

#[tokio::test]
async fn a_server_without_ranges_is_read_up_to_a_limit() {
    let (server, bytes) = served(300_000).await;
    server.set(Manner::IgnoresRanges);
    let client = client(|config| config.unranged_bytes = 200_000);
    let source = HttpSource::new(client, &server.url()).unwrap();
    assert_eq!(source.size().await.unwrap(), 300_000);
    assert_eq!(source.read(150_000..200_000).await.unwrap(), bytes[150_000..200_000]);
    let beyond = source.read(150_000..200_001).await.unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::Unsupported);
    server.replace(bytes.slice(1..), Some("\"v0\""));
    assert_eq!(source.read(0..1).await.unwrap_err().kind(), ErrorKind::Changed);
}

#[tokio::test]
async fn wrong_answers_are_refused() {
    for manner in [Manner::OtherRange, Manner::TooLong] {
        let (server, bytes) = served(10_000).await;
        let source = source(&server);
        assert_eq!(source.size().await.unwrap(), 10_000);
        server.set(manner.clone());
        let error = source.read(100..200).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{manner:?}: {error}");
        server.set(Manner::Right);
        assert_eq!(source.read(100..200).await.unwrap(), bytes[100..200]);
    }
}

#[tokio::test]
async fn redirects_are_followed_without_credentials() {
    let (store, bytes) = served(10_000).await;
    let (registry, _) = served(0).await;
    registry.set(Manner::Redirects(store.url()));
    let source = source(&registry).with_authorization("Bearer secret").unwrap();
    assert_eq!(source.read(100..200).await.unwrap(), bytes[100..200]);
    let sent = |server: &Server| server.served.lock().unwrap().credentials.clone();
    assert!(sent(&registry).iter().all(|it| it.as_deref() == Some("Bearer secret")));
    assert!(!sent(&store).is_empty() && sent(&store).iter().all(Option::is_none));
    assert!(!format!("{source:?}").contains("secret"));

    store.set(Manner::Redirects("/blob?again".to_owned()));
    let error = source.read(100..200).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    assert_eq!(registry.requests.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_silent_server_is_unavailable_in_time() {
    let (server, _) = served(100).await;
    let client = client(|config| config.request_timeout = Duration::from_millis(30));
    let source = HttpSource::new(client, &server.url()).unwrap();
    server.set(Manner::Silent);
    assert_eq!(source.size().await.unwrap_err().kind(), ErrorKind::Unavailable);
    server.set(Manner::Right);
    assert_eq!(source.size().await.unwrap(), 100);
    server.set(Manner::Silent);
    assert_eq!(source.read(0..9).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn no_server_is_unavailable() {
    let (server, _) = served(100).await;
    let source = source(&server);
    drop(server);
    tokio::task::yield_now().await;
    let error = source.size().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(std::error::Error::source(&error).is_some(), "the cause is kept");
}

/// Several TLS providers may be compiled into one process, which makes a process default panic;
/// the client names its own. The server speaks no TLS, so the handshake fails, in order.
#[tokio::test]
async fn a_tls_client_is_made_without_a_default_provider() {
    let (server, _) = served(100).await;
    let url = server.url().replace("http://", "https://");
    let source = HttpSource::new(client(|_| ()), &url).unwrap();
    assert_eq!(source.size().await.unwrap_err().kind(), ErrorKind::Unavailable);

    let mut config = HttpConfig::default();
    config.root_certificates = vec![b"no certificate".to_vec()];
    assert_eq!(HttpClient::new(config).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn settings_are_checked() {
    let mut config = HttpConfig::default();
    config.request_timeout = Duration::ZERO;
    let error = HttpClient::new(config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("request_timeout"), "{error}");
}
