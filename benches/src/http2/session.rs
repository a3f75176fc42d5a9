//! The protocol without its input and output: frames in, frames out.

use std::collections::{HashMap, VecDeque};

use super::frame::{self, Frame, MAX_PAYLOAD};
use super::hpack::{Decoder, Field};
use super::requests::{Method, Requests};
use super::{Broken, status};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a window has before anybody says anything.
const DEFAULT_WINDOW: u32 = 65_535;
/// Ours are as large as they can be, so that an answer of 30 MB never waits for us.
const WINDOW: u32 = u32::MAX >> 1;
/// After so many bytes the peer is given as many anew.
const REPLENISH: u32 = 1 << 30;
/// The size of the peer's table of header fields, unless it says otherwise.
const HEADER_TABLE: u32 = 4096;

/// Who is told what the peer answers. Tokens are those that streams were opened with.
pub trait Sink {
    /// A part of the answer's body.
    fn data(&mut self, token: usize, bytes: &[u8]);
    /// The stream has ended, for better or worse.
    fn end(&mut self, token: usize, how: Result<(), Failure>);
}

/// A call that failed: gRPC's status and what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// As gRPC numbers them, see [`status`].
    pub status: u8,
    /// The server's words, or ours.
    pub message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", status::name(self.status), self.message)
    }
}

impl std::error::Error for Failure {}

#[derive(Debug)]
struct Stream {
    token: usize,
    /// What the peer lets us send. It may be negative after the peer has made windows smaller.
    window: i64,
    /// What waits for a window, and whether the stream is closed behind it.
    waiting: Vec<u8>,
    close: bool,
    received: u32,
    answered: Answered,
}

/// What the header fields of an answer have said so far.
#[derive(Debug, Default)]
struct Answered {
    http: u16,
    grpc: Option<u8>,
    message: String,
}

impl Answered {
    fn note(&mut self, field: &Field) {
        match field {
            Field::HttpStatus(status) => self.http = *status,
            Field::GrpcStatus(status) => self.grpc = Some(*status),
            Field::GrpcMessage(message) => self.message.clone_from(message),
            Field::Other => {}
        }
    }

    fn outcome(self) -> Result<(), Failure> {
        match self.grpc {
            Some(status::OK) => Ok(()),
            Some(status) => Err(Failure { status, message: self.message }),
            None => {
                let message = format!("no gRPC status, HTTP status {}", self.http);
                Err(Failure { status: status::UNKNOWN, message })
            }
        }
    }
}

/// One connection's state.
#[derive(Debug)]
pub struct Session {
    authority: String,
    out: Vec<u8>,
    requests: Option<Requests>,
    fields: Decoder,
    streams: HashMap<u32, Stream>,
    next_id: u32,
    /// What the peer lets us send on all streams together.
    window: i64,
    initial_window: u32,
    max_streams: usize,
    received: u32,
    /// Streams with something that waits.
    blocked: VecDeque<u32>,
}

impl Session {
    /// A session with `authority` that has said its first words.
    pub(super) fn new(authority: String) -> Self {
        let mut out = PREFACE.to_vec();
        frame::head(&mut out, 12, frame::SETTINGS, 0, 0);
        for (setting, value) in [(frame::ENABLE_PUSH, 0), (frame::INITIAL_WINDOW_SIZE, WINDOW)] {
            out.extend_from_slice(&setting.to_be_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
        frame::window_update(&mut out, 0, WINDOW - DEFAULT_WINDOW);
        Self {
            authority,
            out,
            requests: None,
            fields: Decoder::new(),
            streams: HashMap::new(),
            next_id: 1,
            window: DEFAULT_WINDOW.into(),
            initial_window: DEFAULT_WINDOW,
            max_streams: usize::MAX,
            received: 0,
            blocked: VecDeque::new(),
        }
    }

    /// Whether the peer has said what it can take.
    pub(super) fn is_ready(&self) -> bool {
        self.requests.is_some()
    }

    /// What is to be written; the writer takes off what it has written.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether the peer takes another stream now.
    #[must_use]
    pub fn can_open(&self) -> bool {
        self.streams.len() < self.max_streams
    }

    /// Streams that have not ended.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// Calls `method` with a framed message, the last one if `close`. Returns the stream's id.
    ///
    /// # Errors
    /// If the connection has no ids left.
    pub fn open(
        &mut self,
        method: Method,
        token: usize,
        message: &[u8],
        close: bool,
    ) -> Result<u32, Broken> {
        let requests = self.requests.as_mut().ok_or(Broken("not ready"))?;
        let id = self.next_id;
        self.next_id = id.checked_add(2).filter(|id| *id <= WINDOW).ok_or(Broken("no ids left"))?;
        let start = self.out.len();
        frame::head(&mut self.out, 0, frame::HEADERS, frame::END_HEADERS, id);
        requests.append(method, &mut self.out);
        let [.., a, b, c] = (self.out.len() - start - frame::HEAD).to_be_bytes();
        self.out[start..start + 3].copy_from_slice(&[a, b, c]);
        let stream = Stream {
            token,
            window: self.initial_window.into(),
            waiting: Vec::new(),
            close: false,
            received: 0,
            answered: Answered::default(),
        };
        self.streams.insert(id, stream);
        self.send(id, message, close);
        Ok(id)
    }

    /// Sends another framed message on a stream; nothing if it has ended.
    pub fn send(&mut self, id: u32, message: &[u8], close: bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.close = close;
        let sent = if stream.waiting.is_empty() {
            emit(&mut self.out, &mut self.window, id, stream, message)
        } else {
            0
        };
        if sent < message.len() {
            if stream.waiting.is_empty() {
                self.blocked.push_back(id);
            }
            stream.waiting.extend_from_slice(&message[sent..]);
        }
    }

    /// Sends what waited for a window, the oldest first.
    fn unblock(&mut self) {
        for _ in 0..self.blocked.len() {
            let Some(id) = self.blocked.pop_front() else { return };
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let mut waiting = std::mem::take(&mut stream.waiting);
            let sent = emit(&mut self.out, &mut self.window, id, stream, &waiting);
            waiting.drain(..sent);
            if !waiting.is_empty() {
                stream.waiting = waiting;
                self.blocked.push_back(id);
            }
        }
    }

    /// Takes what has arrived; returns how much of it were whole frames.
    pub(super) fn receive(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize, Broken> {
        let mut taken = 0;
        while let Some(frame) = Frame::first(&bytes[taken..]) {
            taken += frame.len();
            self.take(frame, sink)?;
        }
        Ok(taken)
    }

    fn take(&mut self, frame: Frame<'_>, sink: &mut impl Sink) -> Result<(), Broken> {
        match frame.kind {
            frame::DATA => return self.data(frame, sink),
            frame::HEADERS => return self.headers(frame, sink),
            frame::RST_STREAM => self.reset(frame, sink),
            frame::SETTINGS if !frame.has(frame::ACK) => self.settings(frame),
            frame::PING if !frame.has(frame::ACK) => {
                let len = frame.payload.len();
                frame::head(&mut self.out, len, frame::PING, frame::ACK, 0);
                self.out.extend_from_slice(frame.payload);
            }
            frame::WINDOW_UPDATE => self.window_update(frame),
            frame::GOAWAY => return Err(Broken("the server has closed the connection")),
            frame::PUSH_PROMISE | frame::CONTINUATION => return Err(Broken("an unexpected frame")),
            _ => {}
        }
        Ok(())
    }

    fn data(&mut self, frame: Frame<'_>, sink: &mut impl Sink) -> Result<(), Broken> {
        let content = frame.content().ok_or(Broken("padding"))?;
        let len = u32::try_from(frame.payload.len()).map_err(|_| Broken("a frame's length"))?;
        replenish(&mut self.out, &mut self.received, 0, len);
        if let Some(stream) = self.streams.get_mut(&frame.stream) {
            replenish(&mut self.out, &mut stream.received, frame.stream, len);
            sink.data(stream.token, content);
        }
        self.end_if(frame, sink);
        Ok(())
    }

    fn headers(&mut self, frame: Frame<'_>, sink: &mut impl Sink) -> Result<(), Broken> {
        if !frame.has(frame::END_HEADERS) {
            return Err(Broken("header fields in more than one frame"));
        }
        let content = frame.content().ok_or(Broken("padding"))?;
        let mut answered = self.streams.get_mut(&frame.stream).map(|stream| &mut stream.answered);
        // Those of a stream that is gone are decoded as well: they may be indexed for others.
        self.fields.decode(content, |field| {
            if let Some(answered) = &mut answered {
                answered.note(field);
            }
        })?;
        self.end_if(frame, sink);
        Ok(())
    }

    fn end_if(&mut self, frame: Frame<'_>, sink: &mut impl Sink) {
        if frame.has(frame::END_STREAM)
            && let Some(stream) = self.streams.remove(&frame.stream)
        {
            sink.end(stream.token, stream.answered.outcome());
        }
    }

    fn reset(&mut self, frame: Frame<'_>, sink: &mut impl Sink) {
        if let Some(stream) = self.streams.remove(&frame.stream) {
            let code = frame.number().unwrap_or_default();
            // REFUSED_STREAM says that nothing was done.
            let status = if code == 7 { status::UNAVAILABLE } else { status::INTERNAL };
            let message = format!("the stream was reset with code {code}");
            sink.end(stream.token, Err(Failure { status, message }));
        }
    }

    fn settings(&mut self, frame: Frame<'_>) {
        let mut indexing = true;
        for (setting, value) in frame.settings() {
            match setting {
                frame::HEADER_TABLE_SIZE => indexing = value >= HEADER_TABLE,
                frame::MAX_CONCURRENT_STREAMS => self.max_streams = value as usize,
                frame::INITIAL_WINDOW_SIZE => {
                    let more = i64::from(value) - i64::from(self.initial_window);
                    self.initial_window = value;
                    self.streams.values_mut().for_each(|stream| stream.window += more);
                }
                // Frames of ours never have more than every peer takes.
                _ => {}
            }
        }
        if self.requests.is_none() {
            self.requests = Some(Requests::new(std::mem::take(&mut self.authority), indexing));
        }
        frame::head(&mut self.out, 0, frame::SETTINGS, frame::ACK, 0);
        self.unblock();
    }

    fn window_update(&mut self, frame: Frame<'_>) {
        let more = i64::from(frame.number().unwrap_or_default() & WINDOW);
        if frame.stream == 0 {
            self.window += more;
        } else if let Some(stream) = self.streams.get_mut(&frame.stream) {
            stream.window += more;
        }
        if !self.blocked.is_empty() {
            self.unblock();
        }
    }

    /// Ends all streams of a connection that is lost.
    pub(super) fn fail(&mut self, why: &str, sink: &mut impl Sink) {
        for (_, stream) in self.streams.drain() {
            let failure = Failure { status: status::UNAVAILABLE, message: why.to_owned() };
            sink.end(stream.token, Err(failure));
        }
    }
}

/// Appends as much of a message as the windows let through, and says how much that was.
fn emit(
    out: &mut Vec<u8>,
    window: &mut i64,
    id: u32,
    stream: &mut Stream,
    message: &[u8],
) -> usize {
    let mut sent = 0;
    while sent < message.len() {
        let free = usize::try_from(stream.window.min(*window)).unwrap_or_default();
        let len = free.min(MAX_PAYLOAD).min(message.len() - sent);
        if len == 0 {
            break;
        }
        let last = sent + len == message.len();
        let flags = if last && stream.close { frame::END_STREAM } else { 0 };
        frame::head(out, len, frame::DATA, flags, id);
        out.extend_from_slice(&message[sent..sent + len]);
        sent += len;
        // A frame has 16 KiB at most.
        let len = i64::try_from(len).unwrap_or_default();
        stream.window -= len;
        *window -= len;
    }
    sent
}

/// Counts what was received, and gives the peer a new window before the last one is used up.
fn replenish(out: &mut Vec<u8>, received: &mut u32, stream: u32, len: u32) {
    *received += len;
    if *received >= REPLENISH {
        frame::window_update(out, stream, *received);
        *received = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<(usize, Vec<u8>)>, Vec<(usize, Result<(), Failure>)>);

    impl Sink for Seen {
        fn data(&mut self, token: usize, bytes: &[u8]) {
            self.0.push((token, bytes.to_vec()));
        }

        fn end(&mut self, token: usize, how: Result<(), Failure>) {
            self.1.push((token, how));
        }
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::head(&mut bytes, payload.len(), kind, flags, stream);
        bytes.extend_from_slice(payload);
        bytes
    }

    /// A session that has had the peer's settings and written its own.
    fn ready(settings: &[u8]) -> Session {
        let mut session = Session::new("e".to_owned());
        let settings = frame(frame::SETTINGS, 0, 0, settings);
        session.receive(&settings, &mut Seen::default()).unwrap();
        assert!(session.is_ready());
        session.out().clear();
        session
    }

    const TRAILERS: &[u8] = b"\x40\x0bgrpc-status\x010";

    #[test]
    fn a_call_is_answered_in_parts_and_ends_with_its_status() {
        let mut session = ready(b"");
        let id = session.open(Method::Put, 42, b"message", true).unwrap();
        let mut answer = frame(frame::HEADERS, frame::END_HEADERS, id, b"\x88");
        answer.extend(frame(frame::DATA, 0, id, b"body"));
        let end = frame::END_HEADERS | frame::END_STREAM;
        answer.extend(frame(frame::HEADERS, end, id, TRAILERS));
        let mut seen = Seen::default();
        let cut = answer.len() - 3;
        let taken = session.receive(&answer[..cut], &mut seen).unwrap();
        assert_eq!((&seen.0[..], seen.1.len()), (&[(42, b"body".to_vec())][..], 0));
        session.receive(&answer[taken..], &mut seen).unwrap();
        assert_eq!(seen.1, [(42, Ok(()))]);
        assert_eq!(session.open_streams(), 0);
    }

    #[test]
    fn failures_carry_their_status() {
        let mut session = ready(b"");
        let ids = [1, 2, 3].map(|token| session.open(Method::Put, token, b"m", true).unwrap());
        let end = frame::END_HEADERS | frame::END_STREAM;
        let mut answer = frame(frame::HEADERS, end, ids[0], b"\x88\0\x0bgrpc-status\x018");
        answer.extend(frame(frame::RST_STREAM, 0, ids[1], &[0, 0, 0, 7]));
        let mut seen = Seen::default();
        session.receive(&answer, &mut seen).unwrap();
        session.fail("lost", &mut seen);
        let statuses: Vec<_> = seen.1.into_iter().map(|(_, how)| how.unwrap_err().status).collect();
        assert_eq!(statuses, [8, status::UNAVAILABLE, status::UNAVAILABLE]);
    }

    #[test]
    fn a_message_waits_for_the_windows() {
        // MAX_CONCURRENT_STREAMS 1, INITIAL_WINDOW_SIZE 10.
        let mut session = ready(b"\0\x03\0\0\0\x01\0\x04\0\0\0\x0a");
        assert!(session.can_open());
        let id = session.open(Method::Put, 0, &[7; 25], true).unwrap();
        assert!(!session.can_open());
        assert!(session.out().ends_with(&frame(frame::DATA, 0, id, &[7; 10])));
        session.out().clear();
        let mut seen = Seen::default();
        let update = frame(frame::WINDOW_UPDATE, 0, id, &[0, 0, 0, 20]);
        session.receive(&update, &mut seen).unwrap();
        assert_eq!(*session.out(), frame(frame::DATA, frame::END_STREAM, id, &[7; 15]));
    }

    #[test]
    fn pings_are_answered_and_a_farewell_ends_the_session() {
        let mut session = ready(b"");
        let mut seen = Seen::default();
        session.receive(&frame(frame::PING, 0, 0, b"12345678"), &mut seen).unwrap();
        assert_eq!(*session.out(), frame(frame::PING, frame::ACK, 0, b"12345678"));
        assert!(session.receive(&frame(frame::GOAWAY, 0, 0, &[0; 8]), &mut seen).is_err());
    }
}
