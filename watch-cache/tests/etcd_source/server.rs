//! A real etcd of the test's own, and a way to write into it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use watch_cache::conformance::Writer;
use watch_cache::{EtcdConfig, EtcdSource, Write};

/// A process of etcd, which ends with this.
pub(crate) struct Etcd {
    child: Child,
    data: TempDir,
    pub(crate) gateway: Gateway,
    peer: u16,
    scheme: &'static str,
    extra: Vec<String>,
}

/// Whether a command is there; where servers are required it has to be.
fn skip(command: &str, error: &std::io::Error) {
    assert!(
        std::env::var_os("TRESTLE_REQUIRE_SERVERS").is_none(),
        "{command} is required and cannot be started: {error}"
    );
    eprintln!("SKIPPED: {command} cannot be started: {error}");
}

/// Runs a command to its end; `None`, said loudly, where it is not installed.
pub(crate) fn run(folder: &Path, command: &str, args: &[&str]) -> Option<String> {
    let done = Command::new(command).args(args).current_dir(folder).output();
    match done {
        Ok(done) => {
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            Some(String::from_utf8_lossy(&done.stdout).into_owned())
        }
        Err(error) => {
            skip(command, &error);
            None
        }
    }
}

impl Etcd {
    /// `None`, said loudly, where etcd is not installed, unless servers are required.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with("http", &[]).await
    }

    pub(crate) async fn start_with(scheme: &'static str, extra: &[String]) -> Option<Self> {
        for _ in 0..5 {
            let data = TempDir::new().unwrap();
            let (client, peer) = (free_port(), free_port());
            let extra = extra.to_vec();
            match spawn(data.path(), scheme, client, peer, &extra) {
                Ok(child) => {
                    let gateway = Gateway { port: client };
                    let mut etcd = Self { child, data, gateway, peer, scheme, extra };
                    if etcd.is_ready().await {
                        return Some(etcd);
                    }
                }
                Err(error) => {
                    skip("etcd", &error);
                    return None;
                }
            }
        }
        panic!("etcd ended five times before it was ready");
    }

    /// Whether it got so far; somebody else may have taken its port.
    async fn is_ready(&mut self) -> bool {
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            let ready = match self.scheme {
                "http" => exchange(self.gateway.port, "GET", "/health", "", "").await,
                _ => TcpStream::connect(("127.0.0.1", self.gateway.port))
                    .await
                    .map(|_| "true".into()),
            };
            if ready.is_ok_and(|said| said.contains("true")) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// As by a power failure of the machine's processes.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on what it has kept.
    pub(crate) async fn restart(&mut self) {
        let data = self.data.path();
        self.child = spawn(data, self.scheme, self.gateway.port, self.peer, &self.extra).unwrap();
        assert!(self.is_ready().await, "etcd does not start again");
    }

    /// Starts an empty one in its place, of which everything is new.
    pub(crate) async fn replace(&mut self, extra: &[String]) {
        self.kill();
        self.data = TempDir::new().unwrap();
        self.extra = extra.to_vec();
        self.restart().await;
    }

    /// It does not run, but its connections are there.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.gateway.port)
    }

    pub(crate) fn source(&self) -> EtcdSource {
        source_of(EtcdConfig::new([self.url()]))
    }

    pub(crate) async fn put(&self, key: &str, value: &str) -> u64 {
        self.txn(vec![Write::Put(key.to_owned().into(), value.to_owned().into())]).await
    }

    pub(crate) async fn delete(&self, key: &str) -> u64 {
        self.txn(vec![Write::Delete(key.to_owned().into())]).await
    }
}

/// A client of etcd's JSON gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gateway {
    pub(crate) port: u16,
}

impl Gateway {
    pub(crate) async fn post(self, path: &str, body: &str) -> String {
        exchange(self.port, "POST", path, "", body).await.unwrap()
    }

    /// The same as a user who has logged in.
    pub(crate) async fn post_as(self, token: &str, path: &str, body: &str) -> String {
        let headers = format!("Authorization: {token}\r\n");
        exchange(self.port, "POST", path, &headers, body).await.unwrap()
    }

    /// The revision that wrote a key, if it is there.
    pub(crate) async fn written_at(self, key: &str) -> Option<u64> {
        let body = format!("{{\"key\":\"{}\"}}", base64(key.as_bytes()));
        let answer = self.post("/v3/kv/range", &body).await;
        answer.contains("mod_revision").then(|| field(&answer, "mod_revision").parse().unwrap())
    }

    /// The revision of a transaction, or why nobody knows whether it was done.
    pub(crate) async fn txn(self, writes: Vec<Write>) -> std::io::Result<u64> {
        let answer = exchange(self.port, "POST", "/v3/kv/txn", "", &txn_body(&writes)).await?;
        revision_in(&answer).ok_or_else(|| std::io::Error::other(answer))
    }

    /// The number behind a name in etcd's metrics.
    pub(crate) async fn metric(self, name: &str) -> u64 {
        let metrics = exchange(self.port, "GET", "/metrics", "", "").await.unwrap();
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap().parse().unwrap()
    }
}

#[async_trait]
impl Writer for Etcd {
    async fn txn(&self, writes: Vec<Write>) -> u64 {
        self.gateway.txn(writes).await.unwrap()
    }

    async fn compact(&self, revision: u64) {
        let body = format!("{{\"revision\":\"{revision}\",\"physical\":true}}");
        let answer = self.gateway.post("/v3/kv/compaction", &body).await;
        assert!(answer.contains("header"), "{answer}");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test spawns what a caller does")]
pub(crate) fn source_of(config: EtcdConfig) -> EtcdSource {
    EtcdSource::new(config, |connection| drop(tokio::spawn(connection))).unwrap()
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn spawn(
    data: &Path,
    scheme: &str,
    client: u16,
    peer: u16,
    extra: &[String],
) -> std::io::Result<Child> {
    let client = format!("{scheme}://127.0.0.1:{client}");
    let peer = format!("http://127.0.0.1:{peer}");
    Command::new("etcd")
        .args(["--name", "m", "--initial-cluster", &format!("m={peer}")])
        .arg("--data-dir")
        .arg(data.join("etcd"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(extra)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// One exchange over HTTP/1.1, which is all that a gateway's answer takes.
async fn exchange(
    port: u16,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let len = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n{headers}Content-Length: {len}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn txn_body(writes: &[Write]) -> String {
    let one = |write: &Write| match write {
        Write::Put(key, value) => {
            format!(
                "{{\"requestPut\":{{\"key\":\"{}\",\"value\":\"{}\"}}}}",
                base64(key),
                base64(value)
            )
        }
        Write::Delete(key) => {
            format!("{{\"requestDeleteRange\":{{\"key\":\"{}\"}}}}", base64(key))
        }
    };
    let writes: Vec<String> = writes.iter().map(one).collect();
    format!("{{\"success\":[{}]}}", writes.join(","))
}

/// The revision in the header of a gateway's answer.
fn revision_in(answer: &str) -> Option<u64> {
    let (_, rest) = answer.split_once("\"revision\":\"")?;
    rest.split('"').next()?.parse().ok()
}

/// The text in a field of a gateway's answer.
pub(crate) fn field(answer: &str, name: &str) -> String {
    let (_, rest) = answer.split_once(&format!("\"{name}\":\"")).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits =
            (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(*three.get(at).unwrap_or(&0)));
        let digit = |at: usize| {
            if at <= three.len() { char::from(DIGITS[bits >> (18 - 6 * at) & 63]) } else { '=' }
        };
        (0..4).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}
