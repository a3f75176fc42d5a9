//! A connection's writes, gathered for as long as its task runs.
//!
//! HTTP/2 writes each frame of data by itself, of 16 KiB at most, and flushes it. Here a flush is put
//! off until the task has nothing more to do ([`Gathered::send`]), or there is much: then a thousand
//! events go out with a few calls of the system, and as few wake-ups of who reads them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// With so much, writing does not wait.
const MUCH: usize = 64 << 10;
/// HTTP/2's frames are not larger unless a client asks for it (RFC 9113, section 4.2).
const FRAME: usize = 16 << 10;
/// What an idle connection keeps.
const KEPT: usize = 4 << 10;

/// A transport whose writes are gathered. Clones are handles of the same one.
#[derive(Debug)]
pub(super) struct Gathered<T>(Arc<Mutex<Gather<T>>>);

#[derive(Debug)]
struct Gather<T> {
    io: T,
    waiting: Vec<u8>,
    /// So much of that is sent.
    sent: usize,
    /// The transport may hold back what it was given, as TLS does.
    flushed: bool,
}

impl<T> Clone for Gathered<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: AsyncWrite + Unpin> Gathered<T> {
    pub(super) fn new(io: T) -> Self {
        Self(Arc::new(Mutex::new(Gather { io, waiting: Vec::new(), sent: 0, flushed: true })))
    }

    /// Sends what was gathered; ready when that is done.
    pub(super) fn send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gather = self.0.lock();
        ready!(gather.write_out(cx))?;
        if !gather.flushed {
            ready!(Pin::new(&mut gather.io).poll_flush(cx))?;
            gather.flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> Gather<T> {
    /// Where there is more than a little, much may follow: it is not moved while it grows.
    fn make_room(&mut self, len: usize) {
        if self.waiting.capacity() - self.waiting.len() < len && self.waiting.len() + len > KEPT {
            self.waiting.reserve(len.max((MUCH + FRAME).saturating_sub(self.waiting.len())));
        }
    }

    fn write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.flushed = false;
        while self.sent < self.waiting.len() {
            let written =
                ready!(Pin::new(&mut self.io).poll_write(cx, &self.waiting[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.sent = 0;
        self.waiting.clear();
        if self.waiting.capacity() > KEPT {
            self.waiting = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gathered<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gathered<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut gather = self.0.lock();
        if gather.waiting.len() >= MUCH {
            ready!(gather.write_out(cx))?;
        }
        gather.make_room(bytes.len());
        gather.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gather = self.0.lock();
        if gather.waiting.len() >= MUCH {
            ready!(gather.write_out(cx))?;
        }
        let before = gather.waiting.len();
        gather.make_room(slices.iter().map(|slice| slice.len()).sum());
        for slice in slices {
            gather.waiting.extend_from_slice(slice);
        }
        Poll::Ready(Ok(gather.waiting.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Put off.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gather = self.0.lock();
        ready!(gather.write_out(cx))?;
        Pin::new(&mut gather.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    async fn send(gathered: &Gathered<impl AsyncWrite + Unpin>) -> io::Result<()> {
        poll_fn(|cx| gathered.send(cx)).await
    }

    #[tokio::test]
    async fn nothing_is_sent_before_there_is_nothing_more_to_do() {
        let (near, mut far) = duplex(1 << 20);
        let mut gathered = Gathered::new(near);
        send(&gathered).await.unwrap();
        gathered.write_all(b"one ").await.unwrap();
        gathered.flush().await.unwrap();
        let slices = [io::IoSlice::new(b"two "), io::IoSlice::new(b"three")];
        assert_eq!(gathered.write_vectored(&slices).await.unwrap(), 9);
        let mut bytes = [0; 64];
        tokio::select! {
            biased;
            read = far.read(&mut bytes) => panic!("{read:?}"),
            () = std::future::ready(()) => {}
        }
        send(&gathered).await.unwrap();
        let read = far.read(&mut bytes).await.unwrap();
        assert_eq!(&bytes[..read], b"one two three");
        far.write_all(b"four").await.unwrap();
        assert_eq!(gathered.read(&mut bytes).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_reader_that_is_slow_holds_the_writer_up_and_loses_nothing() {
        const PIECES: usize = 100;
        let (near, mut far) = duplex(1000);
        let mut gathered = Gathered::new(near);
        let piece = |n: usize| vec![u8::try_from(n).unwrap(); 10_000];
        let writer = async move {
            let mut most = 0;
            for n in 0..PIECES {
                gathered.write_all(&piece(n)).await.unwrap();
                most = most.max(gathered.0.lock().waiting.len());
            }
            send(&gathered).await.unwrap();
            assert!(gathered.0.lock().waiting.capacity() <= KEPT);
            gathered.shutdown().await.unwrap();
            most
        };
        let mut read = Vec::new();
        let (most, _) = tokio::join!(writer, far.read_to_end(&mut read));
        assert!((MUCH..MUCH + 10_000).contains(&most), "{most}");
        assert_eq!(read, (0..PIECES).flat_map(piece).collect::<Vec<_>>());
    }

    /// Takes everything, and sends it when it is flushed a second time.
    #[derive(Default)]
    struct HoldsBack {
        held: Vec<u8>,
        sent: Vec<u8>,
        flushes: usize,
    }

    impl AsyncWrite for HoldsBack {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.held.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            if self.flushes.is_multiple_of(2) {
                let held = std::mem::take(&mut self.held);
                self.sent.extend(held);
                return Poll::Ready(Ok(()));
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    #[tokio::test]
    async fn a_transport_that_holds_back_is_flushed_to_the_end() {
        let mut gathered = Gathered::new(HoldsBack::default());
        for n in 1..=3 {
            gathered.write_all(b"abc").await.unwrap();
            send(&gathered).await.unwrap();
            send(&gathered).await.unwrap();
            let gather = gathered.0.lock();
            assert_eq!((gather.io.sent.len(), gather.io.flushes), (3 * n, 2 * n));
        }
    }

    #[tokio::test]
    async fn what_is_left_goes_before_the_end() {
        let (near, mut far) = duplex(10);
        let mut gathered = Gathered::new(near);
        gathered.write_all(&[7; 100]).await.unwrap();
        let mut read = Vec::new();
        let (ended, _) = tokio::join!(gathered.shutdown(), far.read_to_end(&mut read));
        ended.unwrap();
        assert_eq!(read, [7; 100]);
    }

    #[tokio::test]
    async fn a_client_that_is_gone_is_told_of() {
        let (near, far) = duplex(10);
        let mut gathered = Gathered::new(near);
        gathered.write_all(b"lost").await.unwrap();
        drop(far);
        assert_eq!(send(&gathered).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
