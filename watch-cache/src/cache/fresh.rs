//! Asks the source how new its state is.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Duration, timeout};

use super::feed::list_all;
use super::verify::{Prints, prints};
use super::wait::Reply;
use crate::core::object::Object;
use crate::core::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::object::SourceObject;
use crate::source::{Freshness, RevisionDigest, Source};

/// What the source said to a question.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its current revision.
    Revision(u64),
    /// Its current state, from a source that can only list.
    State(Held),
}

/// A listing that some wait for: until the cache has reached its revision, or holds the same. The
/// second is for sources that do not say that they are done: the listing is never applied, so that
/// watchers still get every step from the watch.
#[derive(Debug)]
pub(super) struct Held {
    revision: u64,
    /// The keys and the revisions that wrote them.
    objects: Vec<(Bytes, u64)>,
    pub(super) waiters: Vec<Reply>,
}

impl Held {
    pub(super) fn is_reached(&self, view: &View) -> bool {
        view.ready && (view.revision >= self.revision || self.is_same(view))
    }

    fn is_same(&self, view: &View) -> bool {
        let same = |(ours, (key, revision)): (Object, &(Bytes, u64))| {
            ours.key() == key && ours.mod_revision() == *revision
        };
        view.root.len() == self.objects.len() && view.root.newest().zip(&self.objects).all(same)
    }
}

/// What an outstanding call to the source came to.
#[derive(Debug)]
pub(super) enum Asked {
    Answer(u64, Result<Answer>),
    Progress(Result<()>),
    Digest(Result<Option<RevisionDigest>>),
    /// Somebody was told the source's state.
    Told,
}

impl Asked {
    pub(super) fn question(&self) -> Option<u64> {
        match self {
            Self::Answer(question, _) => Some(*question),
            Self::Progress(_) | Self::Digest(_) | Self::Told => None,
        }
    }
}

pub(super) async fn ask(
    source: Arc<dyn Source>,
    prefixes: Vec<Bytes>,
    question: u64,
    patience: Duration,
) -> Asked {
    let answer = timeout(patience, answer(&*source, &prefixes)).await;
    let late = || {
        let message = "the source did not say its current revision in time: retry later";
        Err(Error::new(ErrorKind::Unavailable, message))
    };
    Asked::Answer(question, answer.unwrap_or_else(|_| late()))
}

async fn answer(source: &dyn Source, prefixes: &[Bytes]) -> Result<Answer> {
    let revision = match source.freshness() {
        Freshness::Pushed(current) => current.current_revision().await?,
        Freshness::OnRequest(current) => current.current_revision().await?,
        Freshness::ListOnly => {
            let named = |object: SourceObject, _| {
                // Not the source's memory.
                Ok::<_, Error>((Bytes::copy_from_slice(&object.key), object.mod_revision))
            };
            let (revision, objects) = list_all(source, prefixes, named).await?;
            return Ok(Answer::State(Held { revision, objects, waiters: Vec::new() }));
        }
    };
    Ok(Answer::Revision(revision))
}

/// Lists the source for somebody who compares it.
pub(super) async fn tell_prints(
    source: Arc<dyn Source>,
    prefixes: Vec<Bytes>,
    reply: oneshot::Sender<Result<Prints>>,
) -> Asked {
    let told = prints(&*source, &prefixes).await;
    // A caller that gave up does not need it.
    let _ = reply.send(told);
    Asked::Told
}

pub(super) async fn request_progress(source: Arc<dyn Source>) -> Asked {
    Asked::Progress(match source.freshness() {
        Freshness::OnRequest(source) => source.request_progress().await,
        Freshness::Pushed(_) | Freshness::ListOnly => Ok(()),
    })
}
