//! An etcd of its own for one test, asked over its JSON gateway.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A server process on a free loopback port, ended and forgotten when dropped.
pub(crate) struct Etcd {
    child: Child,
    port: u16,
    connection: BufReader<TcpStream>,
    _data: TempDir,
}

/// What etcd refused: the gRPC code and the sentence.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: u64,
    pub(crate) message: String,
}

impl Etcd {
    /// `None`, said loudly, where etcd is not installed, unless servers are required.
    pub(crate) fn start() -> Option<Self> {
        for _ in 0..5 {
            match Self::try_start() {
                // Another process may have taken a port in between.
                Ok(None) => {}
                Ok(started) => return started,
                Err(error) if std::env::var_os("TRESTLE_REQUIRE_SERVERS").is_some() => {
                    panic!("etcd is required and cannot be started: {error}")
                }
                Err(error) => {
                    eprintln!("SKIPPED: etcd cannot be started: {error}");
                    return None;
                }
            }
        }
        panic!("etcd ended five times before it answered");
    }

    fn try_start() -> io::Result<Option<Self>> {
        let data = TempDir::new()?;
        let (port, peer_port) = (free_port()?, free_port()?);
        let client = format!("http://127.0.0.1:{port}");
        let peer = format!("http://127.0.0.1:{peer_port}");
        let mut child = Command::new("etcd")
            .arg("--data-dir")
            .arg(data.path())
            .args(["--bcrypt-cost", "4"])
            .args(["--name", "one", "--initial-cluster", &format!("one={peer}")])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        while child.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(20));
            // It listens only once it can answer.
            if let Ok(connection) = TcpStream::connect(("127.0.0.1", port)) {
                connection.set_nodelay(true)?;
                let connection = BufReader::new(connection);
                return Ok(Some(Self { child, port, connection, _data: data }));
            }
        }
        Ok(None)
    }

    /// Where it serves clients, on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Posts `request` to `/v3/<path>`.
    pub(crate) fn call(&mut self, path: &str, request: &Value) -> Result<Value, Refused> {
        let (status, body) = self.post(path, &request.to_string()).unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        if status == 200 {
            return Ok(answer);
        }
        let code = answer["code"].as_u64().unwrap();
        let message = answer["message"].as_str().unwrap().to_owned();
        Err(Refused { code, message })
    }

    fn post(&mut self, path: &str, body: &str) -> io::Result<(u16, Vec<u8>)> {
        let head = format!(
            "POST /v3/{path} HTTP/1.1\r\nhost: etcd\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.connection.get_mut().write_all((head + body).as_bytes())?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        let (mut length, mut chunked) = (0, false);
        loop {
            let header = self.line()?.to_ascii_lowercase();
            match header.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(("transfer-encoding", value)) => chunked = value == "chunked",
                Some(_) => {}
                None => break,
            }
        }
        let body = if chunked { self.chunks()? } else { self.bytes(length)? };
        Ok((status.expect("an HTTP status"), body))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line()?, 16).unwrap();
            if length == 0 {
                // After the last chunk come the trailers.
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.bytes(length)?);
            self.line()?;
        }
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.connection.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.connection.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
