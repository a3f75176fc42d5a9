//! A watch that goes on over the ends of its requests.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Duration, Instant};

use super::super::{Events, SourceEvent};
use super::Asked;
use super::lines::Lines;
use super::wire::{self, Line};
use crate::error::{Error, ErrorKind, Result};
use crate::object::{Change, Revision};

/// A request that ends sooner and said nothing is not followed by another at once.
const SOON: Duration = Duration::from_secs(1);

struct Watch {
    asked: Asked,
    prefix: Bytes,
    /// Everything up to here was told.
    position: u64,
    lines: Lines,
    opened: Instant,
    /// Whether this request said something.
    said: bool,
}

/// The revisions above `after` that touch `prefix`.
pub(super) async fn watch(asked: Asked, prefix: Bytes, after: u64) -> Result<Events> {
    if after == 0 {
        // The version 0 means whatever there is now, without what led there.
        let message = "no API server has its history from the beginning: list first";
        return Err(Error::new(ErrorKind::Expired { oldest_revision: 1 }, message));
    }
    let lines = open(&asked, after).await?;
    let watch =
        Watch { asked, prefix, position: after, lines, opened: Instant::now(), said: false };
    let events = stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(event) => Some((Ok(event), Some(watch))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(events.boxed())
}

async fn open(asked: &Asked, after: u64) -> Result<Lines> {
    let secs = asked.config.watch_timeout.as_secs();
    let query =
        format!("watch=1&allowWatchBookmarks=true&resourceVersion={after}&timeoutSeconds={secs}");
    asked.get(&query).await.map(Lines::new)
}

impl Watch {
    /// The next event within the prefix.
    async fn next(&mut self) -> Result<SourceEvent> {
        loop {
            let line = self.line().await?;
            if let Some(event) = self.event(wire::line(&line)?)? {
                return Ok(event);
            }
        }
    }

    fn event(&mut self, line: Line) -> Result<Option<SourceEvent>> {
        let (revision, change) = match line {
            Line::Put(object) => (object.mod_revision, Change::Put(object)),
            Line::Delete { key, revision } => (revision, Change::Delete(key)),
            Line::Bookmark { revision, .. } if revision < self.position => {
                return Err(self.out_of_order(revision));
            }
            Line::Bookmark { revision, .. } => {
                self.position = revision;
                return Ok(Some(SourceEvent::Progress(revision)));
            }
            Line::Failed(error) => return Err(error),
        };
        // Of two objects at one version the second would be lost to one who goes on from there.
        if revision <= self.position {
            return Err(self.out_of_order(revision));
        }
        self.position = revision;
        let within = change.key().starts_with(&self.prefix);
        let whole = || SourceEvent::Revision(Revision { revision, changes: vec![change] });
        Ok(within.then(whole))
    }

    fn out_of_order(&self, revision: u64) -> Error {
        let position = self.position;
        let message =
            format!("a watch that is at {position} has an event at {revision}: list again");
        Error::new(ErrorKind::Corrupt, message)
    }

    /// The next line, of this request or of one that goes on from where it ended.
    async fn line(&mut self) -> Result<Bytes> {
        loop {
            let silence = self.asked.config.watch_timeout + self.asked.config.answer_timeout;
            if let Some(line) = self.lines.next(&self.asked, silence).await? {
                self.said = true;
                return Ok(line);
            }
            self.reopen().await?;
        }
    }

    /// The server ends each watch after some time.
    async fn reopen(&mut self) -> Result<()> {
        if !self.said && self.opened.elapsed() < SOON {
            let message = "the API server ends the watch at once: watch again later";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        self.lines = open(&self.asked, self.position).await?;
        (self.opened, self.said) = (Instant::now(), false);
        Ok(())
    }
}
