//! Streams and waits without an end of their own: they end when the server is shut down, so that
//! nobody waits for them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tonic::Status;

use super::serve::{Stop, stopped};
use super::status::STOPPED;

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A stream until it fails, or the server is shut down. Then it fails once, with what etcd says.
pub(super) fn until_stopped<T: 'static>(
    stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
    mut stop: Stop,
) -> Boxed<T> {
    let stop = Box::pin(async move { stopped(&mut stop).await });
    Box::pin(Ending { stream: Some(Box::pin(stream)), stop })
}

/// A wait until the server is shut down.
pub(super) async fn unless_stopped<T>(
    wait: impl Future<Output = Result<T, Status>>,
    mut stop: Stop,
) -> Result<T, Status> {
    tokio::select! {
        done = wait => done,
        () = stopped(&mut stop) => Err(STOPPED.into()),
    }
}

struct Ending<T> {
    /// `None` once it has failed.
    stream: Option<Boxed<T>>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<T> Stream for Ending<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        // What is there already is told first.
        if let Poll::Ready(told) = stream.as_mut().poll_next(cx) {
            if !matches!(told, Some(Ok(_))) {
                self.stream = None;
            }
            return Poll::Ready(told);
        }
        match self.stop.as_mut().poll(cx) {
            Poll::Ready(()) => {
                self.stream = None;
                Poll::Ready(Some(Err(STOPPED.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
