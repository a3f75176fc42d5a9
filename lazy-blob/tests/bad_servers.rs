//! The HTTP source against servers that answer wrongly, slowly or in part.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and spawns what a caller would"
)]

use std::net::SocketAddr;
use std::time::Duration;

use lazy_blob::{ErrorKind, HttpClient, HttpConfig, HttpSource, Source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    Hang,
    /// A byte each ten milliseconds, without end.
    Trickle,
}

/// Answers the request for the first byte well, and every other with these bytes.
async fn serve(answer: String, then: Then) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap_or(0));
                }
                if request.windows(10).any(|bytes| bytes == b"bytes=0-0\r") {
                    let probe = "HTTP/1.1 206 OK\r\netag: \"v0\"\r\nconnection: close\r\n\
                        content-range: bytes 0-0/100\r\ncontent-length: 1\r\n\r\nx";
                    return drop(stream.write_all(probe.as_bytes()).await);
                }
                drop(stream.write_all(answer.as_bytes()).await);
                match then {
                    Then::Close => {}
                    Then::Hang => std::future::pending().await,
                    Then::Trickle => {
                        while stream.write_all(b"x").await.is_ok() {
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    }
                }
            });
        }
    });
    address
}

/// What a read of ten bytes of a hundred gives.
async fn read(head: &str, body: &str, then: Then, timeout_ms: u64) -> Result<usize, ErrorKind> {
    let address = serve(format!("HTTP/1.1 {head}\r\n\r\n{body}"), then).await;
    let mut config = HttpConfig::default();
    config.request_timeout = Duration::from_millis(timeout_ms);
    let client = HttpClient::new(config).unwrap();
    let source = HttpSource::new(client, &format!("http://{address}/blob")).unwrap();
    let read = source.read(10..20).await;
    read.map(|bytes| bytes.len()).map_err(|error| error.kind())
}

const RIGHT: &str = "206 OK\r\netag: \"v0\"\r\ncontent-range: bytes 10-19/100";

#[tokio::test]
async fn every_bad_answer_has_its_kind() {
    use ErrorKind::{Changed, Corrupt, Unavailable};
    let chunked = format!("{RIGHT}\r\ntransfer-encoding: chunked");
    let length = |length: usize| format!("{RIGHT}\r\ncontent-length: {length}");
    let tagged = "206 OK\r\netag: \"v1\"\r\ncontent-range: bytes 10-19/100\r\ncontent-length: 10";
    let whole = "200 OK\r\ncontent-length: 100";
    let other = |range: &str| {
        format!("206 OK\r\netag: \"v0\"\r\ncontent-range: {range}\r\ncontent-length: 10")
    };
    let ten = "0123456789";
    for (what, head, body, then, expected) in [
        ("right", length(10), ten, Then::Close, Ok(10)),
        ("no tag on a part", RIGHT.replace("etag: \"v0\"\r\n", ""), ten, Then::Close, Ok(10)),
        ("all there, no end", chunked.clone(), "a\r\n0123456789\r\n", Then::Hang, Ok(10)),
        ("all there in two", chunked.clone(), "5\r\n01234\r\n5\r\n56789\r\n", Then::Hang, Ok(10)),
        ("cut", length(10), "0123", Then::Close, Err(Unavailable)),
        ("cut chunk", chunked.clone(), "a\r\n0123", Then::Close, Err(Unavailable)),
        ("no header", "206 OK\r\nconten".to_owned(), "", Then::Hang, Err(Unavailable)),
        ("stopped", length(10), "0123", Then::Hang, Err(Unavailable)),
        ("slow", chunked.clone(), "1;", Then::Trickle, Err(Unavailable)),
        ("short chunks", chunked, "4\r\n0123\r\n0\r\n\r\n", Then::Close, Err(Unavailable)),
        ("told short", length(4), "0123", Then::Close, Err(Corrupt)),
        ("told long", length(11), "0123456789a", Then::Close, Err(Corrupt)),
        ("no range", "206 OK\r\ncontent-length: 10".to_owned(), ten, Then::Close, Err(Corrupt)),
        ("other range", other("bytes 11-20/100"), ten, Then::Close, Err(Corrupt)),
        ("other size", other("bytes 10-19/101"), ten, Then::Close, Err(Changed)),
        ("no size", other("bytes 10-19/*"), ten, Then::Close, Err(Corrupt)),
        ("other tag", tagged.to_owned(), ten, Then::Close, Err(Changed)),
        ("whole, no tag", whole.to_owned(), &"x".repeat(100), Then::Close, Err(Changed)),
        ("no HTTP", "no".to_owned(), "\0", Then::Close, Err(Unavailable)),
    ] {
        // Short only where the whole time is waited for.
        let timeout_ms = if matches!(what, "stopped" | "slow") { 300 } else { 60_000 };
        assert_eq!(read(&head, body, then, timeout_ms).await, expected, "{what}");
    }
}
