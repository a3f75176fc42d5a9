//! A session on a TCP connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::session::{Failure, Session, Sink};

/// How much one read takes: a list arrives in few of them, an answer's buffer stays in the cache.
const INPUT: usize = 256 * 1024;

/// A connection that is driven by whoever holds it, in [`turn`](Self::turn)s.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    session: Session,
    input: Box<[u8]>,
    filled: usize,
}

impl Connection {
    /// Connects to `host:port` and waits until the server has said what it can take.
    ///
    /// # Errors
    /// If nobody listens there or it does not speak HTTP/2.
    pub async fn connect(endpoint: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(endpoint).await?;
        stream.set_nodelay(true)?;
        let session = Session::new(endpoint.to_owned());
        let input = vec![0; INPUT].into_boxed_slice();
        let mut connection = Self { stream, session, input, filled: 0 };
        while !connection.session.is_ready() {
            connection.turn(&mut Nobody).await?;
        }
        Ok(connection)
    }

    /// The streams of this connection. What is sent on them is written in the next turn.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Writes what is to be written, waits until something was read, and hands it to `sink`.
    /// Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// If the connection is lost or the server breaks the protocol.
    pub async fn turn(&mut self, sink: &mut impl Sink) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_turn(cx, sink)).await
    }

    /// Ends all streams, after an error.
    pub fn fail(&mut self, why: &str, sink: &mut impl Sink) {
        self.session.fail(why, sink);
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, sink: &mut impl Sink) -> Poll<io::Result<()>> {
        self.poll_write(cx)?;
        let mut buffer = ReadBuf::new(&mut self.input[self.filled..]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.filled += read;
        let received = self.session.receive(&self.input[..self.filled], sink);
        let taken = received.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if taken == 0 && self.filled == self.input.len() {
            let error = io::Error::new(io::ErrorKind::InvalidData, "a frame that is too long");
            return Poll::Ready(Err(error));
        }
        self.input.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        Poll::Ready(Ok(()))
    }

    /// Writes as much as the socket takes; the task is woken when it takes more.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut written = 0;
        let out = self.session.out();
        while written < out.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &out[written..]) {
                Poll::Ready(more) => written += more?,
                Poll::Pending => break,
            }
        }
        out.drain(..written);
        Ok(())
    }
}

/// For whom nothing can arrive.
struct Nobody;

impl Sink for Nobody {
    fn data(&mut self, _: usize, _: &[u8]) {}

    fn end(&mut self, _: usize, _: Result<(), Failure>) {}
}
