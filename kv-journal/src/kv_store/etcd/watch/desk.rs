//! Where watchers are created and canceled, without waiting.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Result};
use crate::kv_store::WatchDesk;
use crate::kv_store::etcd::calls::Calls;
use crate::store::WatchRequest;

/// What the owner of a stream wants.
#[derive(Debug)]
pub(super) enum Wish {
    Create(i64, WatchRequest),
    Cancel(i64),
    /// A notice of how far the stream is.
    Progress,
}

pub(super) struct Desk {
    calls: Calls,
    book: Mutex<Book>,
    changed: Notify,
}

#[derive(Default)]
struct Book {
    /// The numbers that are taken, and whether the watcher is still wanted.
    taken: HashMap<i64, bool>,
    next: i64,
    wishes: VecDeque<Wish>,
    /// A request for progress waits.
    progress: bool,
    closed: bool,
}

impl Desk {
    pub(super) fn new(calls: Calls) -> Self {
        Self { calls, book: Mutex::default(), changed: Notify::new() }
    }

    /// Waits until there may be a wish.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn wishes(&self) -> VecDeque<Wish> {
        let mut book = self.book.lock();
        book.progress = false;
        std::mem::take(&mut book.wishes)
    }

    /// The end of a watcher is told: its number is free.
    pub(super) fn release(&self, watch_id: i64) {
        self.book.lock().taken.remove(&watch_id);
    }

    /// Nobody takes wishes any more.
    pub(super) fn close(&self) {
        self.book.lock().closed = true;
    }
}

impl Book {
    fn number_for(&mut self, request: &WatchRequest, most: usize) -> Result<i64> {
        if self.closed {
            let message = "the stream of these watchers has ended: open another";
            return Err(Error::new(ErrorKind::Closed, message));
        }
        if self.taken.len() >= most {
            let message = format!("the stream has {most} watchers: open another stream");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        if request.watch_id == 0 {
            return Ok(self.free_number());
        }
        if self.taken.contains_key(&request.watch_id) {
            let message = "the stream has a watcher of this number: choose another or 0";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(request.watch_id)
    }

    fn free_number(&mut self) -> i64 {
        while self.taken.contains_key(&self.next) {
            self.next += 1;
        }
        self.next
    }
}

impl WatchDesk for Desk {
    fn create(&self, request: WatchRequest) -> Result<i64> {
        request.check()?;
        let mut book = self.book.lock();
        let number = book.number_for(&request, self.calls.config().watch_stream_len)?;
        book.taken.insert(number, true);
        book.wishes.push_back(Wish::Create(number, request));
        drop(book);
        self.changed.notify_one();
        Ok(number)
    }

    fn cancel(&self, watch_id: i64) -> bool {
        let mut book = self.book.lock();
        let Some(wanted) = book.taken.get_mut(&watch_id).filter(|wanted| **wanted) else {
            return false;
        };
        *wanted = false;
        book.wishes.push_back(Wish::Cancel(watch_id));
        drop(book);
        self.changed.notify_one();
        true
    }

    fn request_progress(&self) {
        let mut book = self.book.lock();
        if !book.progress {
            book.progress = true;
            book.wishes.push_back(Wish::Progress);
            drop(book);
            self.changed.notify_one();
        }
    }

    fn revision(&self) -> u64 {
        self.calls.newest()
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("watchers", &self.book.lock().taken.len())
            .finish_non_exhaustive()
    }
}
