//! One UDP socket: hits are answered where they are read, misses wait beside.

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::net::UdpSocket;

use super::{Context, count};
use crate::error::Result;
use crate::resolver::{Outcome, Resolver, Transport};

/// Queries answered before other work has its turn.
const BATCH: usize = 64;
/// A query is a question and a few options.
const QUERY_BYTES: usize = 4096;

type Waiting = FuturesUnordered<BoxFuture<'static, (Option<Bytes>, SocketAddr)>>;

struct Listener {
    context: Context,
    socket: UdpSocket,
    waiting: Waiting,
    query: Vec<u8>,
    response: Vec<u8>,
}

/// Answers queries until the server's handles are gone, and then those that wait.
pub(super) async fn serve(context: Context, socket: UdpSocket) -> Result<()> {
    let mut stop = context.clone();
    let (query, response) = (vec![0; QUERY_BYTES], Vec::with_capacity(QUERY_BYTES));
    let waiting = Waiting::new();
    let mut listener = Listener { context, socket, waiting, query, response };
    let stopped = stop.stopped();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            Some((response, peer)) = listener.waiting.next() => listener.answer_late(response, peer),
            // An error here is one of the system's; the next read tells what it is.
            _ = listener.socket.readable() => listener.read_batch(),
        }
    }
    while let Some((response, peer)) = listener.waiting.next().await {
        listener.answer_late(response, peer);
    }
    Ok(())
}

impl Listener {
    fn read_batch(&mut self) {
        for _ in 0..BATCH {
            match self.socket.try_recv_from(&mut self.query) {
                Ok((len, peer)) => self.take(len, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP error about an earlier response; the socket itself is well.
                Err(_) => {}
            }
        }
    }

    fn take(&mut self, len: usize, peer: SocketAddr) {
        count(&self.context.counters.udp_queries);
        // No client sends from port 0; an answer to it serves nobody but a reflector.
        let query = self.query.get(..len).unwrap_or_default();
        if peer.port() == 0 {
            return;
        }
        let resolver = &self.context.resolver;
        match resolver.answer_now(query, resolver.now(), Transport::Udp, &mut self.response) {
            Outcome::Answered(_) => self.send(peer),
            Outcome::Miss if self.waiting.len() < self.context.config.max_waiting => {
                self.waiting.push(wait(&self.context, query, peer));
            }
            Outcome::Miss => {
                count(&self.context.counters.overloads);
                if resolver.servfail(query, &mut self.response) {
                    self.send(peer);
                }
            }
            Outcome::Drop => {}
        }
    }

    fn answer_late(&mut self, response: Option<Bytes>, peer: SocketAddr) {
        if let Some(response) = response {
            self.response.clear();
            self.response.extend_from_slice(&response);
            self.send(peer);
        }
    }

    /// Sends the response. A full send buffer loses it, as a full wire does: the client asks again.
    fn send(&self, peer: SocketAddr) {
        if self.socket.try_send_to(&self.response, peer).is_err() {
            count(&self.context.counters.udp_unsent);
        }
    }
}

fn wait(
    context: &Context,
    query: &[u8],
    peer: SocketAddr,
) -> BoxFuture<'static, (Option<Bytes>, SocketAddr)> {
    let (resolver, query) = (context.resolver.clone(), BytesMut::from(query).freeze());
    Box::pin(async move {
        // It fails only when the resolver's driver is gone, and then nobody has an answer.
        let response = resolver.fetch(&query, Transport::Udp).await.ok();
        (response.or_else(|| servfail(&resolver, &query)), peer)
    })
}

pub(super) fn servfail(resolver: &Resolver, query: &[u8]) -> Option<Bytes> {
    let mut response = Vec::new();
    resolver.servfail(query, &mut response).then(|| response.into())
}
