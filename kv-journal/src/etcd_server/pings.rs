//! Keep-alive enforcement: a client that pings too often is told so, and is gone.
//!
//! The rule is grpc-go's, which etcd's server runs with (gRPC proposal A8): a ping that comes sooner
//! than allowed is a strike, what the server sends in a call forgives all strikes, and the third
//! strike ends the connection with `ENHANCE_YOUR_CALM` and `too_many_pings`, by which gRPC's clients
//! know that they must ask less often.
//!
//! The HTTP/2 library answers pings without telling of them, so they are seen in the bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::in_line::Running;
use super::metrics::Counter;

const MAX_STRIKES: u8 = 2;

/// How seldom a client may ping that has no call: grpc-go's `defaultPingTimeout`.
const WITHOUT_CALLS: Duration = Duration::from_secs(2 * 3600);

/// What a connection of HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Kinds of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;

const ENHANCE_YOUR_CALM: u32 = 0xb;
const REASON: &[u8] = b"too_many_pings";

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    kind: u8,
    flags: u8,
    stream: u32,
}

const HEAD_BYTES: usize = 9;

/// Finds the frames in what goes one way, in pieces of any size.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD_BYTES],
    /// How much of `head` there is.
    have: usize,
    /// What of the frame is still to come.
    rest: usize,
}

impl Frames {
    fn walk(&mut self, mut bytes: &[u8], mut found: impl FnMut(Head)) {
        while !bytes.is_empty() {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = &bytes[skipped..];
            let taken = bytes.len().min(HEAD_BYTES - self.have);
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD_BYTES {
                let [l1, l2, l3, kind, flags, s1, s2, s3, s4] = self.head;
                self.rest = u32::from_be_bytes([0, l1, l2, l3]) as usize;
                self.have = 0;
                found(Head { kind, flags, stream: u32::from_be_bytes([s1, s2, s3, s4]) });
            }
        }
    }

    fn between_frames(&self) -> bool {
        self.have == 0 && self.rest == 0
    }
}

/// Counts strikes.
#[derive(Debug)]
struct Umpire {
    min_time: Duration,
    last: Option<Instant>,
    forgiven: bool,
    strikes: u8,
}

impl Umpire {
    fn new(min_time: Duration) -> Self {
        Self { min_time, last: None, forgiven: false, strikes: 0 }
    }

    /// Something of a call was sent.
    fn forgive(&mut self) {
        self.forgiven = true;
    }

    /// Whether the client may go on after a ping.
    fn ping(&mut self, now: Instant, has_calls: bool) -> bool {
        let before = self.last.replace(now);
        if std::mem::take(&mut self.forgiven) {
            self.strikes = 0;
            return true;
        }
        let allowed = if has_calls { self.min_time } else { WITHOUT_CALLS };
        if before.is_some_and(|before| now.duration_since(before) < allowed) {
            self.strikes += 1;
        }
        self.strikes <= MAX_STRIKES
    }
}

#[derive(Debug)]
enum Protocol {
    /// So much of the preface has come.
    Unknown(usize),
    Http2,
    /// There are no pings.
    Other,
}

/// The transport of a connection whose pings are counted.
#[derive(Debug)]
pub(super) struct Guarded<T> {
    io: T,
    protocol: Protocol,
    read: Frames,
    written: Frames,
    last_stream: u32,
    umpire: Umpire,
    running: Running,
    dismissed: Arc<Counter>,
}

impl<T> Guarded<T> {
    /// Pings may come every `min_time` while calls run, or as often as they will if that is zero.
    /// Whoever is dismissed is counted.
    pub(super) fn new(
        io: T,
        min_time: Duration,
        running: Running,
        dismissed: Arc<Counter>,
    ) -> Self {
        Self {
            io,
            protocol: if min_time.is_zero() { Protocol::Other } else { Protocol::Unknown(0) },
            read: Frames::default(),
            written: Frames::default(),
            last_stream: 0,
            umpire: Umpire::new(min_time),
            running,
            dismissed,
        }
    }

    /// Whether the client may go on after it has sent `bytes`.
    fn received(&mut self, mut bytes: &[u8]) -> bool {
        if let Protocol::Unknown(have) = &mut self.protocol {
            let expected = &PREFACE[*have..];
            let compared = expected.len().min(bytes.len());
            if bytes[..compared] != expected[..compared] {
                self.protocol = Protocol::Other;
                return true;
            }
            *have += compared;
            bytes = &bytes[compared..];
            if *have == PREFACE.len() {
                self.protocol = Protocol::Http2;
            }
        }
        if !matches!(self.protocol, Protocol::Http2) {
            return true;
        }
        let Self { read, umpire, last_stream, running, .. } = self;
        let mut may_go_on = true;
        read.walk(bytes, |head| match head.kind {
            HEADERS => *last_stream = head.stream.max(*last_stream),
            PING if head.flags & ACK == 0 => {
                may_go_on &= umpire.ping(Instant::now(), running.any());
            }
            _ => {}
        });
        may_go_on
    }

    fn sent(&mut self, bytes: &[u8]) {
        if matches!(self.protocol, Protocol::Http2) {
            let umpire = &mut self.umpire;
            self.written.walk(bytes, |head| {
                if matches!(head.kind, DATA | HEADERS) {
                    umpire.forgive();
                }
            });
        }
    }

    fn goodbye(&self) -> Vec<u8> {
        let len = 8 + REASON.len();
        let mut frame = vec![0, 0, u8::try_from(len).unwrap_or_default(), GOAWAY, 0, 0, 0, 0, 0];
        frame.extend_from_slice(&self.last_stream.to_be_bytes());
        frame.extend_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
        frame.extend_from_slice(REASON);
        frame
    }
}

impl<T: AsyncWrite + Unpin> Guarded<T> {
    /// Says goodbye, if the client reads, and fails with what the connection ends with.
    fn dismiss(&mut self, cx: &mut Context<'_>) -> io::Error {
        self.dismissed.add(1);
        if self.written.between_frames() {
            let frame = self.goodbye();
            // Who does not read it finds the connection closed.
            let _written = Pin::new(&mut self.io).poll_write(cx, &frame);
            let _flushed = Pin::new(&mut self.io).poll_flush(cx);
        }
        io::Error::new(io::ErrorKind::ConnectionAborted, "the client pings too often")
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if self.received(&buf.filled()[before..]) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(self.dismiss(cx)))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.sent(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
        let mut left = written;
        for slice in slices {
            let of_it = left.min(slice.len());
            self.sent(&slice[..of_it]);
            left -= of_it;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![len[1], len[2], len[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    proptest! {
        #[test]
        fn frames_are_found_in_pieces_of_any_size(
            frames in prop::collection::vec(
                (0u8..10, any::<u8>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..40)),
                0..20,
            ),
            piece in 1usize..50,
        ) {
            let bytes: Vec<u8> = frames
                .iter()
                .flat_map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload))
                .collect();
            let mut walker = Frames::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(piece) {
                walker.walk(piece, |head| found.push(head));
            }
            let heads = frames.iter().map(|(kind, flags, stream, _)| {
                Head { kind: *kind, flags: *flags, stream: *stream }
            });
            prop_assert_eq!(found, heads.collect::<Vec<_>>());
            prop_assert!(walker.between_frames());
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// How many of the pings are heard before the client is dismissed.
    fn heard(pings: impl IntoIterator<Item = u32>, has_calls: bool) -> usize {
        let mut umpire = Umpire::new(5 * SECOND);
        let began = Instant::now();
        pings.into_iter().take_while(|at| umpire.ping(began + *at * SECOND, has_calls)).count()
    }

    #[test]
    fn the_third_strike_is_the_last() {
        assert_eq!(heard(0..10, true), 3);
        assert_eq!(heard((0..10).map(|n| n * 4), true), 3);
        assert_eq!(heard((0..100).map(|n| n * 5), true), 100);
        // Without a call there is nothing to be kept alive.
        assert_eq!(heard((0..100).map(|n| n * 5), false), 3);
        assert_eq!(heard((0..10).map(|n| n * 7200), false), 10);
    }

    #[test]
    fn what_a_call_sends_forgives_all_strikes() {
        let mut umpire = Umpire::new(5 * SECOND);
        let now = Instant::now();
        for _ in 0..100 {
            assert!(umpire.ping(now, true));
            assert!(umpire.ping(now, true));
            umpire.forgive();
        }
    }

    #[test]
    fn only_http2_has_pings() {
        let ping = frame(PING, 0, 0, &[0; 8]);
        let pings = ping.repeat(4);
        let guarded = |min_time| Guarded::new((), min_time, Running::default(), Arc::default());
        assert!(guarded(SECOND).received(&[b"GET / HTTP/1.1\r\n", &*pings].concat()));
        assert!(!guarded(SECOND).received(&[PREFACE, &pings].concat()));
        assert!(guarded(Duration::ZERO).received(&[PREFACE, &pings].concat()));
        assert!(guarded(SECOND).received(&[PREFACE, &ping.repeat(3)].concat()));
        // Answers to the server's own.
        let answers = frame(PING, ACK, 0, &[0; 8]).repeat(9);
        assert!(guarded(SECOND).received(&[PREFACE, &answers].concat()));
        let mut in_pieces = guarded(SECOND);
        let bytes = [PREFACE, &pings].concat();
        assert!(!bytes.chunks(1).all(|byte| in_pieces.received(byte)));
    }
}
