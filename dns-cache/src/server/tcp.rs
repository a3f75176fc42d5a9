//! The TCP listener (RFC 7766): pipelined queries, answered in the order they become ready.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::udp::servfail;
use super::{Context, count};
use crate::error::Result;
use crate::resolver::{Outcome, Transport};

/// How long to wait before accepting again after the system refused, as when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Less than a header is no query.
const LEAST_QUERY_BYTES: u16 = 12;

/// Accepts and serves connections until the server's handles are gone, and then finishes them.
pub(super) async fn serve(context: Context, listener: TcpListener) -> Result<()> {
    let mut connections: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut stop = context.clone();
    let stopped = stop.stopped();
    tokio::pin!(stopped);
    loop {
        let room = connections.len() < context.config.tcp_connections;
        tokio::select! {
            () = &mut stopped => break,
            Some(()) = connections.next() => {}
            stream = accept(&listener), if room => {
                count(&context.counters.tcp_connections);
                connections.push(Box::pin(connection(context.clone(), stream)));
            }
        }
    }
    drop(listener);
    while connections.next().await.is_some() {}
    Ok(())
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves one connection. The reader stops at the first fault, at the end of the stream, or when
/// the server stops; what it has taken is still answered.
async fn connection(context: Context, stream: TcpStream) {
    // Without it the last response of a batch would wait for an acknowledgement.
    _ = stream.set_nodelay(true);
    let (input, output) = stream.into_split();
    let (queries, taken) = mpsc::channel(1);
    tokio::join!(read(context.clone(), input, queries), write(context, output, taken));
}

/// Reads queries and hands them on; the channel holds one, so that a client that does not read
/// its answers is not read from either.
async fn read(mut context: Context, mut input: OwnedReadHalf, queries: mpsc::Sender<Vec<u8>>) {
    let idle = Duration::from_millis(context.config.tcp_idle_ms);
    let whole = Duration::from_millis(context.config.tcp_message_ms);
    let stopped = context.stopped();
    tokio::pin!(stopped);
    loop {
        let query = tokio::select! {
            () = &mut stopped => return,
            () = queries.closed() => return,
            query = read_query(&mut input, idle, whole) => query,
        };
        let Some(query) = query else { return };
        if queries.send(query).await.is_err() {
            return;
        }
    }
}

/// One message behind its length. The first byte may take `idle`, all of it `whole` from there.
async fn read_query(input: &mut OwnedReadHalf, idle: Duration, whole: Duration) -> Option<Vec<u8>> {
    let first = timeout(idle, input.read_u8()).await.ok()?.ok()?;
    let rest = async {
        let len = u16::from_be_bytes([first, input.read_u8().await.ok()?]);
        if len < LEAST_QUERY_BYTES {
            return None;
        }
        // Grows with what arrives, so that a length alone reserves nothing.
        let mut query = Vec::new();
        let read = input.take(len.into()).read_to_end(&mut query).await.ok()?;
        (read == usize::from(len)).then_some(query)
    };
    timeout(whole, rest).await.ok()?
}

/// Answers queries, many at a time, and writes each response when it is ready.
async fn write(context: Context, mut output: OwnedWriteHalf, mut queries: mpsc::Receiver<Vec<u8>>) {
    let whole = Duration::from_millis(context.config.tcp_message_ms);
    let mut waiting = FuturesUnordered::new();
    let mut open = true;
    while open || !waiting.is_empty() {
        let room = open && waiting.len() < context.config.tcp_pipeline;
        let response = tokio::select! {
            Some(response) = waiting.next() => response,
            query = queries.recv(), if room => {
                if let Some(query) = query {
                    count(&context.counters.tcp_queries);
                    waiting.push(answer(&context, query));
                } else {
                    open = false;
                }
                continue;
            }
        };
        let Some(response) = response else { continue };
        let written = timeout(whole, write_response(&mut output, &response)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

async fn answer(context: &Context, query: Vec<u8>) -> Option<Bytes> {
    let (resolver, mut response) = (&context.resolver, Vec::new());
    match resolver.answer_now(&query, resolver.now(), Transport::Tcp, &mut response) {
        Outcome::Answered(_) => Some(response.into()),
        Outcome::Drop => None,
        Outcome::Miss => match resolver.fetch(&query, Transport::Tcp).await {
            Ok(response) => Some(response),
            Err(_) => servfail(resolver, &query),
        },
    }
}

async fn write_response(output: &mut OwnedWriteHalf, response: &[u8]) -> std::io::Result<()> {
    let len = u16::try_from(response.len()).unwrap_or(u16::MAX);
    // One write, so that the length and the message share a segment (RFC 7766 section 8).
    output.write_all(&[&len.to_be_bytes(), response].concat()).await
}
