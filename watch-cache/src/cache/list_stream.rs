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
use crate::core::root::JUDGED;
use crate::core::view::{View, expired};
use crate::error::Result;

/// Objects of one revision, some at a time. Other tasks have their turn between.
///
/// Until it is dropped it keeps one version of each object of its revision in memory, outside of all limits
/// in [`Config`](crate::Config), and costs the cache nothing else.
///
/// # Cancel safety
///
/// Waiting for the next objects may be given up, and nothing is lost.
pub struct ListStream {
    view: Arc<View>,
    _pin: Pin,
    predicate: Predicate,
    revision: u64,
    after: Option<Bytes>,
    /// How many more objects may come.
    left: usize,
    ended: bool,
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
            view,
            _pin: pin,
            predicate,
            revision,
            after: request.continue_token.map(|token| token.after().clone()),
            left: request.limit.unwrap_or(usize::MAX),
            ended: false,
            took: false,
        })
    }
}

impl Stream for ListStream {
    type Item = Result<Vec<Object>>;

    fn poll_next(mut self: Pinned<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut self.took) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.took = true;
        let Self { view, predicate, after, left, revision, .. } = &*self;
        let Ok(step) = view.root.step(predicate, after.as_ref(), *revision, *left, JUDGED) else {
            // What is pinned is not lost.
            self.ended = true;
            return Poll::Ready(Some(Err(expired(self.revision, self.view.log_floor))));
        };
        self.left -= step.objects.len();
        self.ended = step.after.is_none() || self.left == 0;
        self.after = step.after;
        if !step.objects.is_empty() {
            return Poll::Ready(Some(Ok(step.objects)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        // Much was judged and nothing selected.
        self.took = false;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl fmt::Debug for ListStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListStream").field("revision", &self.revision).finish_non_exhaustive()
    }
}
