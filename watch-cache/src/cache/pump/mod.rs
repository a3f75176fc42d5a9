//! Pumps: each serves a part of the sinks.

mod group;
mod work;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use super::cursor::{Backlog, Cursor};
use super::run::Command;
use super::shared::Shared;
use super::sink::Member;
use crate::core::predicate::Predicate;

use work::Work;

/// What a pump is asked to do.
pub(super) enum Errand {
    /// Serve one more.
    Join(Box<Joining>),
    /// Go on with one who was parked.
    Resume { id: u64 },
    /// Let go of one.
    Leave { id: u64 },
    /// There may be something to read for a group.
    Look { group: u32 },
    /// The cache is closed: nothing more comes.
    Close,
}

/// One who is to be served from a place in the log on, after what is to be told before.
pub(super) struct Joining {
    pub(super) predicate: Arc<Predicate>,
    pub(super) member: Member,
    pub(super) cursor: Cursor,
    pub(super) backlog: Option<Backlog>,
}

/// The work of putting events into a part of the sinks, for [`watch_into`](super::Cache::watch_into).
/// It ends when the cache's driver does. Dropping it ends the watches of its sinks.
#[must_use = "its sinks get nothing until it is spawned"]
pub struct Pump {
    run: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Pump {
    pub(super) fn new(
        shared: Arc<Shared>,
        commands: mpsc::WeakUnboundedSender<Command>,
        errands: (mpsc::UnboundedSender<Errand>, mpsc::UnboundedReceiver<Errand>),
    ) -> Self {
        let work = Work::new(shared, commands, errands);
        Self { run: Box::pin(work.run()) }
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.run.as_mut().poll(cx)
    }
}

impl fmt::Debug for Pump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump").finish_non_exhaustive()
    }
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(joining) => f.debug_tuple("Join").field(&joining.member.id).finish(),
            Self::Resume { id } => f.debug_tuple("Resume").field(id).finish(),
            Self::Leave { id } => f.debug_tuple("Leave").field(id).finish(),
            Self::Look { group } => f.debug_tuple("Look").field(group).finish(),
            Self::Close => f.write_str("Close"),
        }
    }
}
