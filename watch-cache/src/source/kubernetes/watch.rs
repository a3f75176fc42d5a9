//! A watch that goes on over the ends of its requests.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::time::{Duration, Instant};

use super::super::{Events, SourceEvent};
use super::Asked;
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
    body: BoxStream<'static, Result<Bytes>>,
    /// What came of lines that are not told yet; up to `searched` there is no end of a line.
    came: BytesMut,
    searched: usize,
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
    let body = open(&asked, after).await?;
    let watch = Watch {
        asked,
        prefix,
        position: after,
        body,
        came: BytesMut::new(),
        searched: 0,
        opened: Instant::now(),
        said: false,
    };
    let events = stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(event) => Some((Ok(event), Some(watch))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(events.boxed())
}

async fn open(asked: &Asked, after: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
    let secs = asked.config.watch_timeout.as_secs();
    let query =
        format!("watch=1&allowWatchBookmarks=true&resourceVersion={after}&timeoutSeconds={secs}");
    asked.get(&query).await
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
            Line::Bookmark(revision) if revision < self.position => {
                return Err(self.out_of_order(revision));
            }
            Line::Bookmark(revision) => {
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
            if let Some(line) = self.take_line() {
                return Ok(line);
            }
            if self.came.len() > self.asked.config.event_bytes {
                let message = "an event is larger than `event_bytes`: raise that";
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            let silence = self.asked.config.watch_timeout + self.asked.config.answer_timeout;
            match self.asked.within(silence, self.body.next()).await? {
                Some(piece) => self.came.extend_from_slice(&piece?),
                None => self.reopen().await?,
            }
        }
    }

    fn take_line(&mut self) -> Option<Bytes> {
        loop {
            let rest = self.came.get(self.searched..)?;
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.came.len();
                return None;
            };
            let line = self.came.split_to(self.searched + end).freeze();
            self.came.advance(1);
            self.searched = 0;
            if !line.is_empty() {
                self.said = true;
                return Some(line);
            }
        }
    }

    /// The server ends each watch after some time.
    async fn reopen(&mut self) -> Result<()> {
        if !self.came.is_empty() {
            let message = "a watch was cut within an event: watch again";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        if !self.said && self.opened.elapsed() < SOON {
            let message = "the API server ends the watch at once: watch again later";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        self.body = open(&self.asked, self.position).await?;
        (self.opened, self.said) = (Instant::now(), false);
        Ok(())
    }
}
