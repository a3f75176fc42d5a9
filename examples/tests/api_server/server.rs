//! The example's process, and clients of it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube_client::api::PostParams;
use kube_client::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// The example's binary, which `cargo test` builds beside the tests.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join("examples/api-server");
    assert!(binary.exists(), "{} is missing: run `cargo build --examples`", binary.display());
    binary
}

/// Runs until dropped.
pub(crate) struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// A server that is ready.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(["--listen", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("serving on ").expect("an address").to_owned();
        Self { child, url }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// kube-rs's client.
    pub(crate) fn client(&self) -> Client {
        Client::try_from(Config::new(self.url.parse().unwrap())).unwrap()
    }

    /// Ends it as an operator does, and waits for the end.
    pub(crate) fn terminate(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Sends a request over a connection of its own, and returns the answer and its JSON. kube-rs's
/// client would try again what it is told to.
pub(crate) async fn send(
    server: &Server,
    method: &str,
    path: &str,
    media: &str,
    body: impl Into<Bytes>,
) -> (Response<()>, Value) {
    let address = server.url.strip_prefix("http://").unwrap();
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    let request = Request::builder().method(method).uri(path).header("host", address);
    let request = request.header("content-type", media).body(Full::new(body.into())).unwrap();
    let answered = async move {
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        (Response::from_parts(parts, ()), body.collect().await.unwrap().to_bytes())
    };
    // A server that refuses a body may end the connection before it was sent.
    let ((answer, bytes), _) = tokio::join!(answered, connection);
    (answer, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

pub(crate) async fn get(server: &Server, path: &str) -> (u16, Value) {
    let (answer, json) = send(server, "GET", path, "application/json", "").await;
    (answer.status().as_u16(), json)
}

/// A pod with a label, on a node.
pub(crate) fn pod(name: &str, app: &str, node: &str) -> Pod {
    let spec = json!({"nodeName": node, "containers": [{"name": "main", "image": "i"}]});
    let metadata = json!({"name": name, "labels": {"app": app}});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

/// Creates pods of these names; returns the last version.
pub(crate) async fn create(pods: &Api<Pod>, names: &[&str], app: &str, node: &str) -> u64 {
    let mut last = 0;
    for name in names {
        let created = pods.create(&PostParams::default(), &pod(name, app, node)).await.unwrap();
        last = version(&created);
    }
    last
}

pub(crate) fn version(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_ref().unwrap().parse().unwrap()
}

pub(crate) fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap()
}

/// The reason of an error of the API, and its code.
pub(crate) fn reason<T: std::fmt::Debug>(answer: Result<T, kube_client::Error>) -> (String, u16) {
    match answer.unwrap_err() {
        kube_client::Error::Api(status) => (status.reason.clone(), status.code),
        other => panic!("{other}"),
    }
}
