//! The lines of a body, as they come.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{BoxStream, StreamExt};
use tokio::time::Duration;

use super::Asked;
use crate::error::{Error, ErrorKind, Result};

/// The lines of one body.
pub(super) struct Lines {
    body: BoxStream<'static, Result<Bytes>>,
    /// What came of lines that are not told yet; up to `searched` there is no end of a line.
    came: BytesMut,
    searched: usize,
}

impl Lines {
    pub(super) fn new(body: BoxStream<'static, Result<Bytes>>) -> Self {
        Self { body, came: BytesMut::new(), searched: 0 }
    }

    /// The next line that is not empty; none if the body ends behind the one before.
    ///
    /// # Errors
    ///
    /// `Unavailable` if nothing comes for as long as `silence`, or the body ends within a line; `Invalid`
    /// if a line is larger than an event may be.
    pub(super) async fn next(&mut self, asked: &Asked, silence: Duration) -> Result<Option<Bytes>> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            if self.came.len() > asked.config.event_bytes {
                let message = "an event is larger than `event_bytes`: raise that";
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            match asked.within(silence, self.body.next()).await? {
                Some(piece) => self.came.extend_from_slice(&piece?),
                None if self.came.is_empty() => return Ok(None),
                None => {
                    let message = "a watch was cut within an event: watch again";
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
            }
        }
    }

    fn take(&mut self) -> Option<Bytes> {
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
                return Some(line);
            }
        }
    }
}
