//! The UDP upstream against name servers that lie, are late, or cut their answers.
#![allow(clippy::disallowed_methods, reason = "a test spawns what it tests")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dns_cache::upstream::{MemoryUpstream, UdpUpstream, UdpUpstreamConfig, Upstream};
use dns_cache::wire::{Message, Query, RecordType};
use dns_cache::{ErrorKind, Result};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

fn internet() -> MemoryUpstream {
    let upstream = MemoryUpstream::new();
    upstream.add_address("www.example.com", 60, "192.0.2.1".parse().unwrap());
    upstream
}

fn query() -> Bytes {
    Query::new("www.example.com".parse().unwrap(), RecordType::A).encode(0x0102)
}

fn upstream(servers: Vec<SocketAddr>, attempt_timeout_ms: u64) -> UdpUpstream {
    let mut config = UdpUpstreamConfig::new(servers);
    config.attempt_timeout_ms = attempt_timeout_ms;
    UdpUpstream::new(config).unwrap()
}

/// A name server that sends what `replies` makes of the query and its true answer.
async fn server(
    mut replies: impl FnMut(&[u8], &[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut datagram = [0; 512];
        while let Ok((len, peer)) = socket.recv_from(&mut datagram).await {
            let query = &datagram[..len];
            let answer = internet().exchange(Bytes::copy_from_slice(query)).await.unwrap();
            for reply in replies(query, &answer) {
                socket.send_to(&reply, peer).await.unwrap();
            }
        }
    });
    address
}

fn flipped(answer: &[u8], at: usize) -> Vec<u8> {
    let mut answer = answer.to_vec();
    answer[at] ^= 1;
    answer
}

fn addresses(answer: &Result<Bytes>) -> usize {
    Message::parse(answer.as_ref().unwrap()).unwrap().addresses().count()
}

#[tokio::test]
async fn it_keeps_waiting_after_spoofed_and_malformed_datagrams() {
    let address = server(|query, answer| {
        vec![
            flipped(answer, 1),
            flipped(answer, 13),
            flipped(answer, 2 + 12 + 15),
            query.to_vec(),
            answer[..20].to_vec(),
            Vec::new(),
            answer.to_vec(),
        ]
    })
    .await;
    let upstream = upstream(vec![address], 5000);
    let answer = upstream.exchange(query()).await;
    assert_eq!(addresses(&answer), 1);
    assert_eq!(Message::parse(answer.as_ref().unwrap()).unwrap().id(), 0x0102);
    assert_eq!((upstream.stats().mismatched, upstream.stats().retries), (6, 0));
}

#[tokio::test]
async fn a_datagram_from_another_source_is_never_seen() {
    let spoofer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let upstream = Arc::new(upstream(vec![socket.local_addr().unwrap()], 5000));
    let asking = tokio::spawn({
        let upstream = Arc::clone(&upstream);
        async move { upstream.exchange(query()).await }
    });
    let mut datagram = [0; 512];
    let (len, peer) = socket.recv_from(&mut datagram).await.unwrap();
    let lying = MemoryUpstream::new();
    let lie = lying.exchange(Bytes::copy_from_slice(&datagram[..len])).await.unwrap();
    let truth = internet().exchange(Bytes::copy_from_slice(&datagram[..len])).await.unwrap();
    spoofer.send_to(&lie, peer).await.unwrap();
    socket.send_to(&truth, peer).await.unwrap();
    assert_eq!(addresses(&asking.await.unwrap()), 1);
    assert_eq!(upstream.stats().mismatched, 0);
}

#[tokio::test]
async fn ids_and_ports_are_fresh_for_each_query() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn({
        let seen = Arc::clone(&seen);
        async move {
            let mut datagram = [0; 512];
            while let Ok((len, peer)) = socket.recv_from(&mut datagram).await {
                seen.lock().push((peer.port(), [datagram[0], datagram[1]]));
                let answer = internet().exchange(Bytes::copy_from_slice(&datagram[..len])).await;
                socket.send_to(&answer.unwrap(), peer).await.unwrap();
            }
        }
    });
    let upstream = upstream(vec![address], 5000);
    for _ in 0..64 {
        upstream.exchange(query()).await.unwrap();
    }
    let seen = seen.lock();
    let ids: HashSet<_> = seen.iter().map(|(_, id)| id).collect();
    let ports: HashSet<_> = seen.iter().map(|(port, _)| port).collect();
    // Birthdays allow a few that meet; a counter or a fixed port would not pass.
    assert!(ids.len() > 55 && ports.len() > 50, "{} ids, {} ports", ids.len(), ports.len());
    let steps: HashSet<_> = seen
        .windows(2)
        .map(|pair| u16::from_be_bytes(pair[1].1).wrapping_sub(u16::from_be_bytes(pair[0].1)))
        .collect();
    assert!(steps.len() > 50, "the ids follow each other");
}

#[tokio::test]
async fn silence_is_a_timeout_after_every_attempt_and_the_next_server_helps() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent_address = silent.local_addr().unwrap();
    let lonely = upstream(vec![silent_address], 20);
    let error = lonely.exchange(query()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!((lonely.stats().sent, lonely.stats().retries), (3, 2));
    let good = server(|_, answer| vec![answer.to_vec()]).await;
    let helped = upstream(vec![silent_address, good], 500);
    assert_eq!(addresses(&helped.exchange(query()).await), 1);
    assert_eq!(helped.stats().retries, 1);
}

/// A name server over UDP as above, and over TCP with the true answers.
async fn server_with_tcp(replies: fn(&[u8], &[u8]) -> Vec<Vec<u8>>) -> SocketAddr {
    let (listener, address) = loop {
        let address = server(replies).await;
        if let Ok(listener) = TcpListener::bind(address).await {
            break (listener, address);
        }
    };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let len = stream.read_u16().await.unwrap();
            let mut query = vec![0; len.into()];
            stream.read_exact(&mut query).await.unwrap();
            let answer = internet().exchange(query.into()).await.unwrap();
            // In two pieces, as a network may deliver it.
            let framed =
                [&u16::try_from(answer.len()).unwrap().to_be_bytes(), &answer[..]].concat();
            let (first, second) = framed.split_at(9);
            stream.write_all(first).await.unwrap();
            stream.flush().await.unwrap();
            stream.write_all(second).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_truncated_answer_is_asked_again_over_tcp() {
    let address = server_with_tcp(|_, answer| {
        let mut cut = answer[..12 + 21].to_vec();
        cut[2] |= 2;
        cut[6..12].fill(0);
        vec![cut]
    })
    .await;
    let upstream = upstream(vec![address], 5000);
    assert_eq!(addresses(&upstream.exchange(query()).await), 1);
    assert_eq!((upstream.stats().tcp, upstream.stats().retries), (1, 0));
}

/// Who floods an exchange with guesses of its id would be right once if it went on for long.
#[tokio::test]
async fn a_flood_of_wrong_ids_moves_the_exchange_to_tcp() {
    let address = server_with_tcp(|_, answer| vec![flipped(answer, 0); 64]).await;
    let upstream = upstream(vec![address], 5000);
    assert_eq!(addresses(&upstream.exchange(query()).await), 1);
    let stats = upstream.stats();
    assert_eq!((stats.mismatched, stats.tcp, stats.retries), (64, 1, 0));
}

#[tokio::test]
async fn settings_out_of_their_range_are_refused() {
    let none = UdpUpstream::new(UdpUpstreamConfig::new(Vec::new())).unwrap_err();
    assert_eq!(none.to_string(), "config: servers is empty: name one");
    let mut config = UdpUpstreamConfig::new(vec!["127.0.0.1:53".parse().unwrap()]);
    config.attempts = 0;
    assert_eq!(UdpUpstream::new(config).unwrap_err().kind(), ErrorKind::Invalid);
}
