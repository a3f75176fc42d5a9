//! A client that pings too often: what it is told, byte by byte, and by a real etcd.

use kv_journal::etcd_server::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::etcd::Etcd;
use super::peer;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

struct Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

/// Fields that are in no table (RFC 7541, section 6.2.2).
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [&[0], &*text(name), &*text(value)].concat()).collect()
}

async fn read(stream: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    stream.read_exact(&mut payload).await.ok()?;
    Some(Frame { kind: head[3], flags: head[4], payload })
}

/// Opens a watch that asks for nothing, and pings as soon as the ping before is answered: how many
/// were, and the last stream, the code and the text that it is sent away with.
async fn ping_without_end(port: u16) -> (usize, u32, u32, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let call = fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/etcdserverpb.Watch/Watch"),
        (":authority", "a"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]);
    let ping = frame(PING, 0, 0, b"abcdefgh");
    let hello =
        [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END_HEADERS, 1, &call), &ping];
    stream.write_all(&hello.concat()).await.unwrap();
    let mut answered = 0;
    while let Some(Frame { kind, flags, payload }) = read(&mut stream).await {
        match (kind, flags & ACK) {
            // grpc-go measures the connection with pings of its own.
            (PING, 0) => stream.write_all(&frame(PING, ACK, 0, &payload)).await.unwrap(),
            (PING, _) => {
                assert_eq!(payload, b"abcdefgh");
                answered += 1;
                // It may have closed by now.
                let _sent = stream.write_all(&ping).await;
            }
            (SETTINGS, 0) => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await.unwrap(),
            (GOAWAY, _) => {
                let number = |at| u32::from_be_bytes(*payload[at..].first_chunk().unwrap());
                let text = String::from_utf8(payload[8..].to_vec()).unwrap();
                assert!(read(&mut stream).await.is_none(), "nothing follows");
                return (answered, number(0), number(4), text);
            }
            _ => {}
        }
    }
    panic!("the connection ended without a word after {answered} pings");
}

#[tokio::test]
async fn who_pings_too_often_is_sent_away_as_by_etcd() {
    const ENHANCE_YOUR_CALM: u32 = 11;
    let told = (1, ENHANCE_YOUR_CALM, "too_many_pings".to_owned());
    let own = peer::port_of(ServerConfig::default()).await;
    let (answered, last, code, text) = ping_without_end(own).await;
    assert_eq!((last, code, text), told);
    assert!((3..=4).contains(&answered), "{answered}");

    let Some(etcd) = Etcd::start() else { return };
    let (answered, last, code, text) = ping_without_end(etcd.port()).await;
    assert_eq!((last, code, text), told);
    assert!((3..=4).contains(&answered), "{answered}");
}

#[tokio::test]
async fn a_server_may_let_clients_ping_as_often_as_they_will() {
    let mut config = ServerConfig::default();
    config.keep_alive_min_time = std::time::Duration::ZERO;
    let own = peer::port_of(config).await;
    let mut stream = TcpStream::connect(("127.0.0.1", own)).await.unwrap();
    let pings = frame(PING, 0, 0, b"abcdefgh").repeat(100);
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &pings].concat();
    stream.write_all(&hello).await.unwrap();
    let mut answered = 0;
    while answered < 100 {
        let frame = read(&mut stream).await.unwrap();
        assert_ne!(frame.kind, GOAWAY);
        answered += usize::from(frame.kind == PING);
    }
}
