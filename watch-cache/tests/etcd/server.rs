//! An etcd of its own for one test, written to by `etcdctl`.

use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use watch_cache::Write;
use watch_cache::conformance::Writer;

/// A server on a free loopback port, killed when dropped.
pub(crate) struct Etcd {
    child: Mutex<Child>,
    url: Mutex<String>,
    peer: String,
    data: TempDir,
}

impl Etcd {
    /// `None`, said loudly, where etcd is not installed, unless servers are required.
    pub(crate) fn start() -> Option<Self> {
        let required = std::env::var_os("TRESTLE_REQUIRE_SERVERS").is_some();
        let data = TempDir::new().unwrap();
        for _ in 0..5 {
            let [url, peer] = [Self::elsewhere(), Self::elsewhere()];
            match spawn(&url, &peer, &data) {
                // Another process may have taken a port in between.
                Ok(mut child) => {
                    if listens(&mut child, &url) {
                        let (child, url) = (Mutex::new(child), Mutex::new(url));
                        return Some(Self { child, url, peer, data });
                    }
                }
                Err(error) if required => panic!("etcd is required and cannot start: {error}"),
                Err(error) => {
                    eprintln!("SKIPPED: etcd cannot be started: {error}");
                    return None;
                }
            }
        }
        panic!("etcd ended five times before it answered");
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again on what it had, at the same port.
    pub(crate) fn restart(&self) {
        let url = self.url();
        for _ in 0..50 {
            let mut child = spawn(&url, &self.peer, &self.data).unwrap();
            if listens(&mut child, &url) {
                *self.child.lock() = child;
                return;
            }
        }
        panic!("etcd does not start again");
    }

    /// Where it serves clients.
    pub(crate) fn url(&self) -> String {
        self.url.lock().clone()
    }

    /// Kills it and starts it again elsewhere, where those who knew it do not find it.
    pub(crate) fn move_to(&self, url: String) {
        self.kill();
        *self.url.lock() = url;
        self.restart();
    }

    /// A place that is free.
    pub(crate) fn elsewhere() -> String {
        format!("http://127.0.0.1:{}", free_port())
    }

    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url())
            .unwrap()
            .connect_timeout(Duration::from_secs(1))
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_while_idle(true)
            .connect_lazy()
    }

    /// What `etcdctl` prints, after it was told this on standard input.
    pub(crate) fn ctl(&self, arguments: &[&str], input: &str) -> io::Result<String> {
        let mut child = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.url()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().unwrap().write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// Applies all writes at one revision.
    pub(crate) fn write(&self, writes: &[Write]) -> io::Result<u64> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let lines = writes.iter().map(|write| match write {
            Write::Put(key, value) => format!("put {} \"{}\"\n", text(key), text(value)),
            Write::Delete(key) => format!("del {}\n", text(key)),
        });
        // No conditions; then what is done, and what is done otherwise.
        let input = format!("\n{}\n\n", lines.collect::<String>());
        let answer = self.ctl(&["-w", "json", "txn"], &input)?;
        let revision = answer.split("\"revision\":").nth(1).unwrap_or_default();
        let digits: String = revision.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().map_err(|_| io::Error::other(answer))
    }
}

#[async_trait]
impl Writer for Etcd {
    async fn txn(&self, writes: Vec<Write>) -> u64 {
        self.write(&writes).unwrap()
    }

    async fn compact(&self, revision: u64) {
        self.ctl(&["compact", &revision.to_string()], "").unwrap();
    }
}

fn spawn(url: &str, peer: &str, data: &TempDir) -> io::Result<Child> {
    Command::new("etcd")
        .arg("--data-dir")
        .arg(data.path())
        .args(["--name", "one", "--initial-cluster", &format!("one={peer}")])
        .args(["--bcrypt-cost", "4"])
        .args(["--listen-client-urls", url, "--advertise-client-urls", url])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Whether it comes to listen, which it does once it can answer.
#[expect(clippy::disallowed_methods, reason = "a test waits for another process")]
fn listens(child: &mut Child, url: &str) -> bool {
    let address = url.trim_start_matches("http://");
    while child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(20));
        if TcpStream::connect(address).is_ok() {
            return true;
        }
    }
    false
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}
