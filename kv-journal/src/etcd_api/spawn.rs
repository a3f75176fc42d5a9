//! Who runs the futures of connections.

use std::future::Future;
use std::pin::Pin;

/// Runs a future: a connection, or a call on one.
///
/// The library spawns nothing by itself. `|task| drop(tokio::spawn(task))` will do.
pub trait Spawn: Send + Sync + 'static {
    /// Sees to it that `task` is polled until it ends.
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>);
}

impl<F: Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync + 'static> Spawn for F {
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self(task);
    }
}
