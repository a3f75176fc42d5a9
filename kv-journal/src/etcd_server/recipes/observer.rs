//! What the leaders of an election say, one after the other.

use futures_core::Stream;
use futures_util::stream::unfold;
use tonic::Status;

use super::line::Visitor;
use crate::core::{
    EventKind, KeyRange, KeyValue, RangeRequest, RangeResponse, SortOrder, SortTarget,
};
use crate::etcd_api::stored;
use crate::etcd_api::v3electionpb::LeaderResponse;
use crate::kv_store::{Consistency, Watching};
use crate::store::{WatchMessage, WatchRequest};

/// The first key of a line.
pub(super) async fn first_in(visitor: &Visitor, line: &KeyRange) -> Result<RangeResponse, Status> {
    let first = RangeRequest::new(line.clone())
        .limit(1)
        .sort(SortTarget::CreateRevision, SortOrder::Ascending);
    visitor.api.range(&visitor.caller, first, Consistency::Linearizable).await
}

/// Follows the leaders. Not every word of theirs is told, but always the last.
pub(super) struct Observer {
    visitor: Visitor,
    line: KeyRange,
    following: Following,
}

enum Following {
    /// Who leads is to be found out.
    Nobody,
    /// There was no candidate: whoever comes first leads.
    FirstComer(Watching),
    Leader(Watching),
}

impl Observer {
    pub(super) fn new(visitor: Visitor, line: KeyRange) -> Self {
        Self { visitor, line, following: Following::Nobody }
    }

    pub(super) fn leaders(self) -> impl Stream<Item = Result<LeaderResponse, Status>> + Send {
        unfold(Some(self), |observer| async {
            let mut observer = observer?;
            match observer.next().await {
                Ok(leader) => Some((Ok(leader), Some(observer))),
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<LeaderResponse, Status> {
        loop {
            let told = match &mut self.following {
                Following::Nobody => self.look().await?,
                Following::FirstComer(watching) => {
                    let put = next_event(&self.visitor, watching).await?;
                    match put {
                        Some((revision, EventKind::Put, kv)) => {
                            self.follow(&kv, revision).await?;
                            Some((revision, kv))
                        }
                        _ => self.lost(),
                    }
                }
                Following::Leader(watching) => match next_event(&self.visitor, watching).await? {
                    Some((revision, EventKind::Put, kv)) => Some((revision, kv)),
                    _ => self.lost(),
                },
            };
            if let Some((revision, kv)) = told {
                let header = self.visitor.api.header(revision);
                return Ok(LeaderResponse { header, kv: Some(stored::KeyValue::Stored(kv)) });
            }
        }
    }

    fn lost<T>(&mut self) -> Option<T> {
        self.following = Following::Nobody;
        None
    }

    async fn look(&mut self) -> Result<Option<(u64, KeyValue)>, Status> {
        let found = first_in(&self.visitor, &self.line).await?;
        if let Some(kv) = found.kvs.into_iter().next() {
            self.follow(&kv, found.revision).await?;
            return Ok(Some((found.revision, kv)));
        }
        let line = WatchRequest::new(self.line.clone());
        let watching = self.visitor.watch([line], found.revision + 1).await?;
        self.following = Following::FirstComer(watching);
        Ok(None)
    }

    /// From the revision after the one at which the leader was found.
    async fn follow(&mut self, leader: &KeyValue, revision: u64) -> Result<(), Status> {
        let key = WatchRequest::new(KeyRange::key(leader.key_bytes()));
        let watching = self.visitor.watch([key], revision + 1).await?;
        self.following = Following::Leader(watching);
        Ok(())
    }
}

/// The last event of the next revision, of which a watched key has one; `None` if what comes next
/// cannot be told any more.
async fn next_event(
    visitor: &Visitor,
    watching: &mut Watching,
) -> Result<Option<(u64, EventKind, KeyValue)>, Status> {
    loop {
        match visitor.next(watching).await? {
            WatchMessage::Events { batch, .. } => {
                // Of several who come at once, the first is before the others.
                let Some(event) = batch.events.first() else { continue };
                return Ok(Some((batch.revision, event.kind, event.kv.clone())));
            }
            WatchMessage::Canceled { .. } => return Ok(None),
            WatchMessage::Created { .. } | WatchMessage::Progress { .. } => {}
        }
    }
}
