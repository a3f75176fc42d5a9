//! Those who watch a prefix, and what they are told of the puts to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::course::Course;
use super::drive::DRAIN;
use super::tally::Tally;
use super::workload::STAMP;
use crate::etcd::Outcome;
use crate::etcd::answer::{self, Part, Scanner};
use crate::etcd::message;
use crate::http2::{Connection, Failure, Method, Sink, status};

/// `WatchResponse.created`, `.canceled` and `.events`.
const CREATED: u64 = 3;
const CANCELED: u64 = 4;
const EVENTS: u64 = 11;
/// `Event.kv`.
const KV: u64 = 2;
/// `KeyValue.value`.
const VALUE: u64 = 5;

/// How long the watches may take to be created.
const CREATION: Duration = Duration::from_secs(60);

/// The watchers on one connection.
pub(super) struct Watchers {
    connection: Connection,
    told: Told,
}

/// What the watchers of a connection were told.
struct Told {
    watchers: u64,
    created: u64,
    events: u64,
    /// From when on events count.
    course: Option<Arc<Course>>,
    streams: Vec<Scanner>,
    tally: Tally,
}

impl Watchers {
    /// Creates so many watchers of `prefix` on so many streams.
    pub(super) async fn create(
        mut connection: Connection,
        prefix: &[u8],
        watchers: usize,
        streams: usize,
    ) -> Outcome<Self> {
        let end = message::prefix_end(prefix);
        let mut message = Vec::new();
        message::watch(&mut message, prefix, &end);
        let session = connection.session();
        for stream in 0..streams.min(watchers) {
            let id = session.open(Method::Watch, stream, &message, false)?;
            for _ in (stream..watchers).step_by(streams).skip(1) {
                session.send(id, &message, false);
            }
        }
        let mut told = Told {
            watchers: watchers as u64,
            created: 0,
            events: 0,
            course: None,
            streams: (0..streams).map(|_| Scanner::default()).collect(),
            tally: Tally::new(),
        };
        let creation = async {
            while told.created < told.watchers && told.tally.errors.is_empty() {
                connection.turn(&mut told).await?;
            }
            Ok::<_, std::io::Error>(())
        };
        tokio::time::timeout(CREATION, creation).await??;
        match told.tally.first_error.take() {
            Some(failure) => Err(failure.into()),
            None => Ok(Self { connection, told }),
        }
    }

    /// Counts what they are told until that is all of the puts, whose number is known once all
    /// were made, or no more is to be expected. Returns the counts, and how many events are missing.
    pub(super) async fn receive(
        mut self,
        course: Arc<Course>,
        mut puts: watch::Receiver<Option<u64>>,
    ) -> (Tally, u64) {
        self.told.course = Some(course);
        let mut known = None;
        while self.told.tally.errors.is_empty() {
            if known.is_some_and(|(expected, _)| self.told.events >= expected) {
                break;
            }
            let deadline = known.map(|(_, deadline)| deadline);
            tokio::select! {
                biased;
                turned = self.connection.turn(&mut self.told) => if let Err(error) = turned {
                    self.connection.fail(&error.to_string(), &mut self.told);
                },
                _ = puts.changed(), if known.is_none() => {
                    let expected = puts.borrow().unwrap_or_default() * self.told.watchers;
                    known = Some((expected, Instant::now() + DRAIN));
                }
                () = passed(deadline) => break,
            }
        }
        let expected = known.map_or(0, |(expected, _)| expected);
        (self.told.tally, expected.saturating_sub(self.told.events))
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

impl Sink for Told {
    fn data(&mut self, stream: usize, bytes: &[u8]) {
        self.tally.bytes += bytes.len() as u64;
        let Self { created, events, course, streams, tally, .. } = self;
        let now = Instant::now();
        let mut canceled = false;
        let scanned = streams[stream].feed(bytes, |part| match part {
            Part::Number(CREATED, 1) => *created += 1,
            Part::Number(CANCELED, 1) => canceled = true,
            Part::Bytes(EVENTS, event) => {
                *events += 1;
                if let Some(course) = course {
                    count(course, event, now, tally);
                }
            }
            _ => {}
        });
        if canceled || scanned.is_err() {
            let message = if canceled { "a watch was canceled" } else { "a malformed answer" };
            tally.failed(Failure { status: status::INTERNAL, message: message.to_owned() });
        }
    }

    fn end(&mut self, _: usize, how: Result<(), Failure>) {
        let ended =
            || Failure { status: status::INTERNAL, message: "a watch has ended".to_owned() };
        self.tally.failed(how.err().unwrap_or_else(ended));
    }
}

/// Counts an event, by the stamp that its value begins with.
fn count(course: &Course, event: &[u8], now: Instant, tally: &mut Tally) {
    let value = answer::bytes_of(answer::bytes_of(event, KV), VALUE);
    if let Some(stamp) = value.first_chunk::<STAMP>() {
        let put = course.origin() + Duration::from_nanos(u64::from_le_bytes(*stamp));
        if course.counts(put, now) {
            tally.succeeded(now.saturating_duration_since(put), now);
        }
    }
}
