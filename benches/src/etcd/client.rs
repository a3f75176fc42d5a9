//! One HTTP/2 connection to an etcd, for any number of calls at a time.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::header::{CONTENT_TYPE, HeaderMap, TE};
use hyper::{Request, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{Outcome, message};

/// A gRPC client of etcd's key-value service. Clones share the connection.
#[derive(Clone)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    put: Uri,
    range: Uri,
    txn: Uri,
}

impl Client {
    /// Connects, and spawns the connection's task.
    ///
    /// # Errors
    /// If nobody listens there or it does not speak HTTP/2.
    pub async fn connect(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let uri = |call| format!("http://{address}/etcdserverpb.KV/{call}").parse();
        Ok(Self { sender, put: uri("Put")?, range: uri("Range")?, txn: uri("Txn")? })
    }

    /// Writes one key.
    ///
    /// # Errors
    /// If the call fails or etcd refuses it.
    pub async fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.call(self.put.clone(), message::put(key, value)).await.map(drop)
    }

    /// Writes all of `entries` in one transaction.
    ///
    /// # Errors
    /// If the call fails or etcd refuses it.
    pub async fn put_all(&mut self, entries: &[(&[u8], &[u8])]) -> Outcome<()> {
        self.call(self.txn.clone(), message::puts(entries)).await.map(drop)
    }

    /// How many keys there are.
    ///
    /// # Errors
    /// If the call fails or the answer is malformed.
    pub async fn count_all(&mut self) -> Outcome<u64> {
        let response = self.call(self.range.clone(), message::range(b"\0", b"\0", true)).await?;
        message::count(&response).ok_or_else(|| "etcd: a malformed answer".into())
    }

    /// Reads one key, linearizably, and returns the length of the answer.
    ///
    /// # Errors
    /// If the call fails or etcd refuses it.
    pub async fn get(&mut self, key: &[u8]) -> Outcome<usize> {
        let response = self.call(self.range.clone(), message::range(key, b"", false)).await?;
        Ok(response.len())
    }

    async fn call(&mut self, to: Uri, message: Bytes) -> Outcome<Bytes> {
        let request = Request::post(to)
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .body(Full::new(message))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        check_status(response.headers())?;
        let body = response.into_body().collect().await?;
        if let Some(trailers) = body.trailers() {
            check_status(trailers)?;
        }
        Ok(body.to_bytes())
    }
}

/// gRPC says in the trailers, or at once in the headers, how a call ended.
fn check_status(headers: &HeaderMap) -> Outcome<()> {
    match headers.get("grpc-status") {
        Some(status) if status != "0" => {
            let message = headers.get("grpc-message");
            Err(format!("etcd: status {status:?}, {message:?}").into())
        }
        _ => Ok(()),
    }
}
