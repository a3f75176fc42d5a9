//! Lists whose first objects come at once, however many follow.

use std::fmt;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use super::Cache;
use super::list::{At, ListRequest};
use crate::core::object::Object;
use crate::core::pins::Pin;
use crate::core::predicate::Predicate;
use crate::core::root::{JUDGED, Root};
use crate::core::view::expired;
use crate::error::Result;

/// Objects of one revision, some at a time. Other tasks have their turn between.
///
/// Until its end it keeps one version of each object of its revision in memory, outside of all limits
/// in [`Config`](crate::Config), and costs the cache nothing else.
///
/// # Cancel safety
///
/// Waiting for the next objects may be given up, and nothing is lost.
pub struct ListStream {
    /// Until its end.
    root: Option<(Arc<Root>, Pin)>,
    predicate: Predicate,
    revision: u64,
    after: Option<Bytes>,
    /// How many more objects may come.
    left: usize,
    /// Whether other tasks are to have their turn.
    took: bool,
}

impl ListStream {
    /// The revision that all objects are of.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

impl Cache {
    /// Lists objects at one revision as a stream: in the order of their keys, none of it read before it is
    /// asked for. What comes is what [`list`](Self::list) has, all pages of it or, with a limit, the first
    /// objects.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use futures_util::TryStreamExt;
    /// # use watch_cache::{Cache, Config, ListRequest, MemorySource};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> watch_cache::Result<()> {
    /// # let source = Arc::new(MemorySource::new());
    /// # let (cache, driver) = Cache::open(source.clone(), vec![], Config::default())?;
    /// # tokio::spawn(driver);
    /// source.put("/pods/a", "running");
    /// let mut pods = cache.list_stream(ListRequest::new("/pods/")).await?;
    /// assert_eq!(pods.revision(), 2);
    /// while let Some(some) = pods.try_next().await? {
    ///     for pod in some {
    ///         println!("{:?}", pod.key());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As those of [`list`](Self::list), before the first object.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn list_stream(&self, request: ListRequest) -> Result<ListStream> {
        let (predicate, at) = self.planned(&request)?;
        self.view_at(at).await?;
        let (view, pin) = match at {
            At::Exactly(revision) => self.shared.pinned_at(revision)?,
            _ => self.shared.pinned(),
        };
        let revision = if let At::Exactly(revision) = at { revision } else { view.revision };
        Ok(ListStream {
            root: Some((Arc::clone(&view.root), pin)),
            predicate,
            revision,
            after: request.continue_token.map(|token| token.after().clone()),
            left: request.limit.unwrap_or(usize::MAX),
            took: false,
        })
    }
}

impl Stream for ListStream {
    type Item = Result<Vec<Object>>;

    fn poll_next(mut self: Pinned<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.took) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some((root, _)) = &self.root else { return Poll::Ready(None) };
        let (after, revision, left) = (self.after.as_ref(), self.revision, self.left);
        let Ok(step) = root.step(&self.predicate, after, revision, left, JUDGED) else {
            // What is pinned is not lost.
            self.root = None;
            return Poll::Ready(Some(Err(expired(revision, revision))));
        };
        self.left -= step.objects.len();
        self.after = step.after;
        let ended = self.after.is_none() || self.left == 0;
        if ended {
            self.root = None;
        }
        self.took = !ended && !step.objects.is_empty();
        if !step.objects.is_empty() {
            return Poll::Ready(Some(Ok(step.objects)));
        }
        if ended {
            return Poll::Ready(None);
        }
        // Much was judged and nothing selected.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl fmt::Debug for ListStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListStream").field("revision", &self.revision).finish_non_exhaustive()
    }
}
