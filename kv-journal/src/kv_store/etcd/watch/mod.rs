//! Watchers on a remote etcd.
//!
//! A [`Desk`] takes what its owner wants. The stream of messages is a [`Session`]: whoever polls it
//! does the work, and who does not read is not read for. It holds a [`Follower`] for each watcher,
//! which knows how far its owner has been told, and at most one [`Wire`], a stream of the server's.
//! When that breaks every follower is created on the next one, where it had come to.

mod desk;
mod follower;
mod session;
mod wire;

use std::sync::Arc;

use futures_util::stream;

use self::desk::Desk;
use self::session::Session;
use super::calls::Calls;
use crate::kv_store::Watching;

pub(super) fn watching(calls: Calls) -> Watching {
    let desk = Arc::new(Desk::new(calls.clone()));
    let session = Some(Session::new(calls, Arc::clone(&desk)));
    let messages = stream::unfold(session, |session| async {
        let mut session = session?;
        let message = session.next().await;
        // A failure is the last that is told.
        let rest = message.is_ok().then_some(session);
        Some((message, rest))
    });
    Watching { messages: Box::pin(messages), desk }
}
