//! Lists: pages, selectors, and the versions that they show.

use k8s_openapi::api::core::v1::Pod;
use kube_client::Api;
use kube_client::api::{DeleteParams, ListParams};
use serde_json::Value;

use super::server::{Server, create, get, name, reason, send, version};

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn pages_show_one_version_whatever_is_written_between() {
    let server = Server::start(&[]);
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    let names: Vec<String> = (0..25).map(|pod| format!("p{pod:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let last = create(&pods, &names, "web", "n1").await;
    let mut params = ListParams::default().limit(10);
    let mut seen = Vec::new();
    let mut remaining = Vec::new();
    loop {
        let page = pods.list(&params).await.unwrap();
        assert_eq!(page.metadata.resource_version, Some(last.to_string()));
        seen.extend(page.items.iter().map(name));
        remaining.push(page.metadata.remaining_item_count);
        create(&pods, &[&format!("later-{}", seen.len())], "web", "n1").await;
        pods.delete(&seen[0], &DeleteParams::default()).await.ok();
        match page.metadata.continue_ {
            Some(token) => params = ListParams::default().limit(10).continue_token(&token),
            None => break,
        }
    }
    assert_eq!(seen, names);
    assert_eq!(remaining, [Some(15), Some(5), None]);
}

#[tokio::test]
async fn selectors_select_as_in_kubernetes() {
    let server = Server::start(&[]);
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    create(&pods, &["a", "b"], "web", "n1").await;
    create(&pods, &["c", "d"], "api", "n2").await;
    let elsewhere: Api<Pod> = Api::namespaced(server.client(), "other");
    create(&elsewhere, &["a"], "web", "n1").await;
    let all: Api<Pod> = Api::all(server.client());
    for (labels, fields, expected) in [
        ("app=web", "", vec!["default/a", "default/b", "other/a"]),
        (
            "app in (web,api),!tier",
            "",
            vec!["default/a", "default/b", "default/c", "default/d", "other/a"],
        ),
        ("app!=web", "", vec!["default/c", "default/d"]),
        ("tier", "", vec![]),
        ("", "spec.nodeName=n1", vec!["default/a", "default/b", "other/a"]),
        ("app=api", "spec.nodeName=n1", vec![]),
        ("", "metadata.name=a", vec!["default/a", "other/a"]),
        ("", "metadata.namespace=other", vec!["other/a"]),
        ("", "metadata.namespace!=default,spec.nodeName!=n2", vec!["other/a"]),
        ("", "metadata.name=a,metadata.namespace=default", vec!["default/a"]),
    ] {
        let params = ListParams::default().labels(labels).fields(fields);
        let found = all.list(&params).await.unwrap();
        let found: Vec<_> = found
            .items
            .iter()
            .map(|pod| format!("{}/{}", pod.metadata.namespace.as_ref().unwrap(), name(pod)))
            .collect();
        assert_eq!(found, expected, "{labels} {fields}");
    }
    for params in [
        ListParams::default().fields("status.phase=Running"),
        ListParams::default().fields("metadata.name"),
        ListParams::default().labels("app in (web"),
    ] {
        assert_eq!(reason(all.list(&params).await), ("BadRequest".into(), 400));
    }
    let nodes = get(&server, "/api/v1/nodes?fieldSelector=spec.nodeName=a").await;
    let message = nodes.1["message"].as_str().unwrap();
    assert!(message.contains("field label not supported: spec.nodeName"), "{message}");
}

/// Each combination of version and match (KEP-2523), and what it shows.
#[tokio::test]
async fn versions_are_shown_as_the_table_says() {
    let flags = ["--log-revisions", "20", "--wait-timeout-ms", "300"];
    let server = Server::start(&flags);
    let client = server.client();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let early = create(&pods, &["a"], "web", "n1").await;
    for round in 0..30 {
        create(&pods, &[&format!("b{round}")], "web", "n1").await;
    }
    let first = pods.get("b20").await.map(|pod| version(&pod)).unwrap();
    let last = pods.get("b29").await.map(|pod| version(&pod)).unwrap();
    let future = last + 100;
    let token = get(&server, &format!("{PODS}?limit=1")).await.1["metadata"]["continue"].clone();
    let token = token.as_str().unwrap();
    let shown = |query: String, expected: u64| (query, 200, expected.to_string());
    let refused = |query: String, code: u16, reason: &str| (query, code, reason.to_owned());
    for (query, code, expected) in [
        shown(String::new(), last),
        shown("resourceVersion=".into(), last),
        shown("resourceVersion=0".into(), last),
        shown("resourceVersion=0&resourceVersionMatch=NotOlderThan".into(), last),
        shown(format!("resourceVersion={first}"), last),
        shown(format!("resourceVersion={first}&resourceVersionMatch=NotOlderThan"), last),
        shown(format!("resourceVersion={first}&resourceVersionMatch=Exact"), first),
        shown(format!("resourceVersion={first}&limit=3"), first),
        shown(format!("resourceVersion={first}&resourceVersionMatch=NotOlderThan&limit=3"), last),
        shown(format!("resourceVersion={early}"), last),
        shown(format!("continue={token}&limit=2"), last),
        shown(format!("continue={token}&resourceVersion=0"), last),
        refused(format!("resourceVersion={early}&resourceVersionMatch=Exact"), 410, "Expired"),
        refused(format!("resourceVersion={future}"), 504, "Timeout"),
        refused(format!("resourceVersion={future}&resourceVersionMatch=Exact"), 504, "Timeout"),
        refused("resourceVersionMatch=Exact".into(), 422, "Invalid"),
        refused("resourceVersionMatch=NotOlderThan".into(), 422, "Invalid"),
        refused("resourceVersion=0&resourceVersionMatch=Exact".into(), 422, "Invalid"),
        refused("resourceVersion=1&resourceVersionMatch=Other".into(), 422, "Invalid"),
        refused("sendInitialEvents=true".into(), 422, "Invalid"),
        refused(format!("continue={token}&resourceVersion={first}"), 400, "BadRequest"),
        refused(
            format!("continue={token}&resourceVersion=0&resourceVersionMatch=Exact"),
            422,
            "Invalid",
        ),
        refused("resourceVersion=x".into(), 400, "BadRequest"),
        refused("limit=x".into(), 400, "BadRequest"),
        refused("continue=nonsense".into(), 400, "BadRequest"),
    ] {
        let (found, json) = get(&server, &format!("{PODS}?{query}")).await;
        let text = if code == 200 { &json["metadata"]["resourceVersion"] } else { &json["reason"] };
        assert_eq!((found, text), (code, &Value::from(expected)), "{query}: {json}");
    }
    let late = format!("{PODS}?resourceVersion={future}");
    let (answer, json) = send(&server, "GET", &late, "application/json", "").await;
    assert_eq!(json["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(answer.headers()["retry-after"], "1");
    let ahead = get(&server, &format!("{PODS}/a?resourceVersion={future}")).await;
    assert_eq!(ahead.0, 504);
    assert_eq!(get(&server, &format!("{PODS}/a?resourceVersion=0")).await.0, 200);
}

/// A list is sent in pieces, and is the same as what was written.
#[tokio::test]
async fn a_long_list_comes_whole() {
    let server = Server::start(&[]);
    let path = "/api/v1/namespaces/default/configmaps";
    for map in 0..200 {
        let text = "x\"\\\u{e4}".repeat(300);
        let body = serde_json::json!({
            "metadata": {"name": format!("m{map:03}")}, "data": {"text": text},
        });
        let (answer, _) = send(&server, "POST", path, "application/json", body.to_string()).await;
        assert_eq!(answer.status(), 201);
    }
    let (code, list) = get(&server, path).await;
    let items = list["items"].as_array().unwrap();
    assert_eq!((code, items.len(), &list["kind"]), (200, 200, &"ConfigMapList".into()));
    for (at, item) in items.iter().enumerate() {
        let one = get(&server, &format!("{path}/m{at:03}")).await.1;
        assert_eq!(*item, one);
    }
    let (_, empty) = get(&server, "/api/v1/namespaces/none/configmaps").await;
    assert_eq!(empty["items"], serde_json::json!([]));
}
