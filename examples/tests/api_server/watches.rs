//! Watches, event by event.

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::Pod;
use kube_client::Api;
use kube_client::api::{DeleteParams, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::server::{Server, create, get, name, send, version};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// Kind, name and version of the next event.
async fn next(
    events: &mut (impl Stream<Item = kube_client::Result<WatchEvent<Pod>>> + Unpin),
) -> (&'static str, String, u64) {
    match events.try_next().await.unwrap().expect("an event") {
        WatchEvent::Added(pod) => ("added", name(&pod), version(&pod)),
        WatchEvent::Modified(pod) => ("modified", name(&pod), version(&pod)),
        WatchEvent::Deleted(pod) => ("deleted", name(&pod), version(&pod)),
        WatchEvent::Bookmark(mark) => {
            let end = mark.metadata.annotations.contains_key("k8s.io/initial-events-end");
            let kind = if end { "end" } else { "bookmark" };
            (kind, String::new(), mark.metadata.resource_version.parse().unwrap())
        }
        WatchEvent::Error(status) => ("error", status.reason.clone(), status.code.into()),
    }
}

async fn relabel(pods: &Api<Pod>, name: &str, app: &str) -> u64 {
    let patch = Patch::Merge(json!({"metadata": {"labels": {"app": app}}}));
    version(&pods.patch(name, &PatchParams::default(), &patch).await.unwrap())
}

#[tokio::test]
async fn what_leaves_the_selector_is_deleted_as_it_was() {
    let server = Server::start(&[]);
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    let start = create(&pods, &["other"], "api", "n1").await;
    let params = WatchParams::default().labels("app=web").disable_bookmarks();
    let mut events = pods.watch(&params, &start.to_string()).await.unwrap().boxed();
    let created = create(&pods, &["a"], "web", "n1").await;
    assert_eq!(next(&mut events).await, ("added", "a".into(), created));
    let left = relabel(&pods, "a", "api").await;
    let event = events.try_next().await.unwrap().unwrap();
    let WatchEvent::Deleted(was) = event else { panic!("{event:?}") };
    assert_eq!((version(&was), &*was.metadata.labels.unwrap()["app"]), (left, "web"));
    let entered = relabel(&pods, "other", "web").await;
    assert_eq!(next(&mut events).await, ("added", "other".into(), entered));
    pods.delete("other", &DeleteParams::default()).await.unwrap();
    let (kind, name, at) = next(&mut events).await;
    assert_eq!((kind, &*name), ("deleted", "other"));
    assert!(at > entered, "a delete has the version that did it");
    // From where it was, once more.
    let mut events = pods.watch(&params, &created.to_string()).await.unwrap().boxed();
    assert_eq!(next(&mut events).await, ("deleted", "a".into(), left));
    assert_eq!(next(&mut events).await, ("added", "other".into(), entered));
    assert_eq!(next(&mut events).await, ("deleted", "other".into(), at));
}

#[tokio::test]
async fn bookmarks_and_the_end_of_the_initial_events_are_told() {
    let server = Server::start(&["--bookmark-interval-ms", "20"]);
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    let last = create(&pods, &["a", "b"], "web", "n1").await;
    // A consistent read, so that whatever the cache shows from now on has both.
    pods.get("b").await.unwrap();
    let params = WatchParams::streaming_lists();
    let mut events = pods.watch(&params, "0").await.unwrap().boxed();
    assert_eq!(next(&mut events).await.1, "a");
    assert_eq!(next(&mut events).await, ("added", "b".into(), last));
    assert_eq!(next(&mut events).await, ("end", String::new(), last));
    // What concerns others moves the bookmark.
    let elsewhere: Api<Pod> = Api::namespaced(server.client(), "other");
    let moved = create(&elsewhere, &["a"], "web", "n1").await;
    loop {
        let (kind, _, at) = next(&mut events).await;
        assert_eq!(kind, "bookmark");
        if at >= moved {
            break;
        }
    }
    let quiet = WatchParams::default().disable_bookmarks();
    let mut events = pods.watch(&quiet, "0").await.unwrap().boxed();
    assert_eq!(next(&mut events).await.1, "a");
    assert_eq!(next(&mut events).await.1, "b");
    let late = create(&pods, &["c"], "web", "n1").await;
    assert_eq!(next(&mut events).await, ("added", "c".into(), late), "and no end was told");
}

/// As many watches as a client likes are on one connection of HTTP/2, beside what else it asks.
#[tokio::test]
async fn many_watches_share_a_connection() {
    let server = Server::start(&[]);
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    create(&pods, &["a"], "web", "n1").await;
    pods.get("a").await.unwrap();
    let address = server.url().strip_prefix("http://").unwrap();
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let mut ask = |path: String| {
        let request = Request::get(format!("{}{path}", server.url()));
        sender.send_request(request.body(Empty::<Bytes>::new()).unwrap())
    };
    let mut watches = Vec::new();
    for watch in 0..100 {
        let labels = ["", "&labelSelector=app%3Dweb"][watch % 2];
        let answer = ask(format!("{PODS}?watch=1&resourceVersion=0{labels}")).await.unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
        watches.push(answer.into_body().into_data_stream());
    }
    for watch in &mut watches {
        let line = watch.next().await.unwrap().unwrap();
        assert!(line.starts_with(b"{\"type\":\"ADDED\""), "{line:?}");
    }
    create(&pods, &["b"], "web", "n1").await;
    for watch in &mut watches {
        let line: Value = serde_json::from_slice(&watch.next().await.unwrap().unwrap()).unwrap();
        assert_eq!(line["object"]["metadata"]["name"], "b");
    }
    let list = ask(PODS.to_owned()).await.unwrap().into_body().collect().await.unwrap();
    let list: Value = serde_json::from_slice(&list.to_bytes()).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    connection.abort();
}

#[tokio::test]
async fn a_watch_from_a_version_that_left_is_expired() {
    let server = Server::start(&["--log-revisions", "5"]);
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    let early = create(&pods, &["a"], "web", "n1").await;
    create(&pods, &["b", "c", "d", "e", "f", "g", "h", "i"], "web", "n1").await;
    // The log is cut when the last of them is published.
    pods.get("i").await.unwrap();
    let mut events = pods.watch(&WatchParams::default(), &early.to_string()).await.unwrap().boxed();
    assert_eq!(next(&mut events).await, ("error", "Expired".into(), 410));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_watch_ends_in_time_and_its_options_are_checked() {
    let server = Server::start(&["--watchers", "1", "--wait-timeout-ms", "100"]);
    let client = server.client();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let last = create(&pods, &["a"], "web", "n1").await;
    let ends = format!("{PODS}?watch=1&resourceVersion={last}&timeoutSeconds=0");
    let (answer, body) = send(&server, "GET", &ends, "application/json", "").await;
    assert_eq!((answer.status().as_u16(), body), (200, Value::Null));
    for (query, code, reason) in [
        ("sendInitialEvents=true", 422, "Invalid"),
        ("resourceVersionMatch=NotOlderThan", 422, "Invalid"),
        ("sendInitialEvents=true&resourceVersionMatch=Exact", 422, "Invalid"),
        ("resourceVersion=x", 400, "BadRequest"),
        ("resourceVersion=999999", 504, "Timeout"),
        ("timeoutSeconds=-1", 400, "BadRequest"),
        ("fieldSelector=spec.x%3Dy", 400, "BadRequest"),
    ] {
        let (found, json) = get(&server, &format!("{PODS}?watch=true&{query}")).await;
        assert_eq!((found, &json["reason"]), (code, &reason.into()), "{query}");
    }
    let mut one = pods.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    assert_eq!(next(&mut one).await, ("added", "a".into(), last));
    let (answer, json) = send(&server, "GET", &format!("{PODS}?watch=1"), "", "").await;
    assert_eq!((answer.status().as_u16(), &json["reason"]), (429, &"TooManyRequests".into()));
    assert_eq!(answer.headers()["retry-after"], "1");
}
