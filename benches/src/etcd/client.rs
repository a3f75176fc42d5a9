//! One HTTP/2 connection to an etcd, for any number of calls at a time.

use std::collections::HashMap;
use std::net::SocketAddr;

use tokio::sync::{mpsc, oneshot};

use super::Outcome;
use super::answer::{self, Malformed, Part, Scanner};
use super::message::{self, Range};
use crate::http2::{Connection, Failure, Method, Sink, status};

/// A client of etcd's key-value service. Clones share the connection.
#[derive(Clone)]
pub struct Client {
    calls: mpsc::UnboundedSender<Call>,
}

struct Call {
    method: Method,
    message: Vec<u8>,
    answer: oneshot::Sender<Result<Vec<u8>, Failure>>,
}

impl Client {
    /// Connects, and spawns the connection's task.
    ///
    /// # Errors
    /// If nobody listens there or it does not speak HTTP/2.
    pub async fn connect(address: SocketAddr) -> Outcome<Self> {
        let connection = Connection::connect(&address.to_string()).await?;
        let (calls, receiver) = mpsc::unbounded_channel();
        tokio::spawn(serve(connection, receiver));
        Ok(Self { calls })
    }

    /// Writes one key.
    ///
    /// # Errors
    /// If the call fails or etcd refuses it.
    pub async fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.call(Method::Put, |out| message::put(out, key, value)).await.map(drop)
    }

    /// Writes all of `entries` in one transaction.
    ///
    /// # Errors
    /// If the call fails or etcd refuses it.
    pub async fn put_all(&mut self, entries: &[(&[u8], &[u8])]) -> Outcome<()> {
        self.call(Method::Txn, |out| message::puts(out, entries)).await.map(drop)
    }

    /// How many keys there are.
    ///
    /// # Errors
    /// If the call fails or the answer is malformed.
    pub async fn count_all(&mut self) -> Outcome<u64> {
        let range = Range { key: b"\0", end: b"\0", count_only: true, ..Range::default() };
        let answer = self.call(Method::Range, |out| range.encode(out)).await?;
        let mut count = 0;
        Scanner::default().feed(&answer, |part| {
            if let Part::Number(answer::COUNT, number) = part {
                count = number;
            }
        })?;
        Ok(count)
    }

    /// Reads one key, linearizably, and returns the length of the answer.
    ///
    /// # Errors
    /// If the call fails or etcd refuses it.
    pub async fn get(&mut self, key: &[u8]) -> Outcome<usize> {
        let range = Range { key, ..Range::default() };
        Ok(self.call(Method::Range, |out| range.encode(out)).await?.len())
    }

    async fn call(&self, method: Method, encode: impl FnOnce(&mut Vec<u8>)) -> Outcome<Vec<u8>> {
        let mut message = Vec::new();
        encode(&mut message);
        let (answer, receiver) = oneshot::channel();
        let lost = |_| "the connection is lost";
        self.calls.send(Call { method, message, answer }).map_err(|_| "the connection is lost")?;
        let answer = receiver.await.map_err(lost)??;
        if answer.is_empty() { Err(Malformed.into()) } else { Ok(answer) }
    }
}

/// The calls that wait for their answers.
#[derive(Default)]
struct Waiting {
    next: usize,
    calls: HashMap<usize, (Reply, Vec<u8>)>,
}

/// Who waits for an answer.
type Reply = oneshot::Sender<Result<Vec<u8>, Failure>>;

impl Sink for Waiting {
    fn data(&mut self, token: usize, bytes: &[u8]) {
        if let Some((_, body)) = self.calls.get_mut(&token) {
            body.extend_from_slice(bytes);
        }
    }

    fn end(&mut self, token: usize, how: Result<(), Failure>) {
        if let Some((answer, body)) = self.calls.remove(&token) {
            // Who has lost interest needs no answer.
            let _uninterested = answer.send(how.map(|()| body));
        }
    }
}

/// Drives the connection until it is lost or all clients are gone and answered.
async fn serve(mut connection: Connection, mut calls: mpsc::UnboundedReceiver<Call>) {
    let mut waiting = Waiting::default();
    loop {
        let can_open = connection.session().can_open();
        tokio::select! {
            biased;
            call = calls.recv(), if can_open => match call {
                Some(call) => start(&mut connection, &mut waiting, call),
                None => return,
            },
            turned = connection.turn(&mut waiting) => if let Err(error) = turned {
                return connection.fail(&error.to_string(), &mut waiting);
            },
        }
    }
}

fn start(connection: &mut Connection, waiting: &mut Waiting, call: Call) {
    let token = waiting.next;
    waiting.next += 1;
    waiting.calls.insert(token, (call.answer, Vec::new()));
    if let Err(error) = connection.session().open(call.method, token, &call.message, true) {
        let failure = Failure { status: status::UNAVAILABLE, message: error.to_string() };
        waiting.end(token, Err(failure));
    }
}
