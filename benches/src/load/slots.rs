//! The clients of one connection, without a task for each: what is answered is counted, and the
//! next call begins.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::course::Course;
use super::tally::Tally;
use super::workload::{Step, Workload};
use crate::etcd::answer::Scanner;
use crate::http2::{Broken, Failure, Session, Sink, status};

/// One client.
#[derive(Debug)]
struct Slot {
    /// When what it does was begun, or due.
    since: Instant,
    scanner: Scanner,
    stream: Option<u32>,
    /// It goes on with what it had begun.
    goes_on: bool,
    /// Its answer is no good, whatever its status says.
    malformed: bool,
}

/// All clients of a connection.
pub(super) struct Slots {
    course: Arc<Course>,
    workload: Box<dyn Workload>,
    all: Vec<Slot>,
    idle: VecDeque<usize>,
    message: Vec<u8>,
    /// The number of the next call that is due here, if calls are due; every `step`th is.
    due: u64,
    step: u64,
    tally: Tally,
    done: u64,
}

impl Slots {
    /// The clients of the connection that is the `place`th of so many.
    pub(super) fn new(
        course: Arc<Course>,
        workload: Box<dyn Workload>,
        clients: usize,
        (place, of): (usize, usize),
    ) -> Self {
        let slot = |_| Slot {
            since: course.origin(),
            scanner: Scanner::default(),
            stream: None,
            goes_on: false,
            malformed: false,
        };
        Self {
            all: (0..clients).map(slot).collect(),
            idle: (0..clients).collect(),
            course,
            workload,
            message: Vec::new(),
            due: place as u64,
            step: of as u64,
            tally: Tally::new(),
            done: 0,
        }
    }

    /// Begins what can begin now.
    pub(super) fn begin(&mut self, session: &mut Session, now: Instant) -> Result<(), Broken> {
        if self.done > 0 {
            self.course.add_done(std::mem::take(&mut self.done));
        }
        while let Some(&client) = self.idle.front() {
            if !self.all[client].goes_on {
                let start = self.course.due(self.due).unwrap_or(now);
                if start > now || !self.may_open(client, session) || !self.course.take(start) {
                    break;
                }
                self.due += self.step;
                self.all[client].since = start;
            } else if !session.can_open() {
                break;
            }
            self.idle.pop_front();
            self.call(client, session)?;
        }
        Ok(())
    }

    fn may_open(&self, client: usize, session: &Session) -> bool {
        self.all[client].stream.is_some() || session.can_open()
    }

    fn call(&mut self, client: usize, session: &mut Session) -> Result<(), Broken> {
        self.message.clear();
        let slot = &mut self.all[client];
        slot.goes_on = false;
        match (self.workload.next(client, &mut self.message), slot.stream) {
            (Step::Send, Some(stream)) => session.send(stream, &self.message, false),
            (Step::Open(method), _) => {
                slot.scanner.clear();
                slot.stream = Some(session.open(method, client, &self.message, false)?);
            }
            (Step::Call(method), _) => {
                slot.scanner.clear();
                session.open(method, client, &self.message, true)?;
            }
            (Step::Send, None) => return Err(Broken("a stream that was not opened")),
        }
        Ok(())
    }

    /// Clients that wait for an answer.
    pub(super) fn busy(&self) -> usize {
        self.all.len() - self.idle.len()
    }

    /// The counts.
    pub(super) fn finish(mut self) -> Tally {
        self.course.add_done(self.done);
        self.tally.found = self.workload.found();
        self.tally
    }

    /// Counts a failure that is no single call's.
    pub(super) fn failed(&mut self, failure: Failure) {
        self.tally.failed(failure);
    }

    fn succeeded(&mut self, client: usize) {
        let now = Instant::now();
        let since = self.all[client].since;
        self.done += 1;
        if self.course.counts(since, now) {
            self.tally.succeeded(now - since, now);
        }
        self.idle.push_back(client);
    }

    fn call_failed(&mut self, client: usize, failure: Failure) {
        self.tally.failed(failure);
        self.workload.failed(client);
        self.idle.push_back(client);
    }
}

impl Sink for Slots {
    fn data(&mut self, client: usize, bytes: &[u8]) {
        self.tally.bytes += bytes.len() as u64;
        let slot = &mut self.all[client];
        let mut answered = false;
        let scanned = slot.scanner.feed(bytes, |part| answered |= self.workload.part(client, part));
        slot.malformed |= scanned.is_err();
        if answered && slot.stream.is_some() {
            self.succeeded(client);
        }
    }

    fn end(&mut self, client: usize, how: Result<(), Failure>) {
        let slot = &mut self.all[client];
        let streamed = slot.stream.take().is_some();
        let malformed = std::mem::take(&mut slot.malformed);
        match how {
            Ok(()) if streamed || malformed => {
                let message = if streamed { "the stream has ended" } else { "a malformed answer" };
                let failure = Failure { status: status::INTERNAL, message: message.to_owned() };
                self.call_failed(client, failure);
            }
            Ok(()) if self.workload.is_last(client) => self.succeeded(client),
            Ok(()) => {
                slot.goes_on = true;
                self.idle.push_front(client);
            }
            Err(failure) => self.call_failed(client, failure),
        }
    }
}
