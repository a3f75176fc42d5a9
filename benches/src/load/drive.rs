//! One connection under load, from its first call to the last answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::interval;

use super::course::Course;
use super::slots::Slots;
use super::tally::Tally;
use crate::http2::{Connection, Failure, status};

/// How often a connection on which nothing arrives looks at the clock.
const TICK: Duration = Duration::from_millis(20);
/// How long calls under way are awaited after the end.
pub(super) const DRAIN: Duration = Duration::from_secs(10);
/// How often calls fall due. tokio's timers tell milliseconds apart, which is too coarse.
const PACE: Duration = Duration::from_micros(250);

/// Drives a connection. What begins now and then, at `pace`, begins in time.
pub(super) async fn drive(
    mut connection: Connection,
    mut slots: Slots,
    course: Arc<Course>,
    pace: Option<Arc<Notify>>,
) -> Tally {
    let mut tick = interval(TICK);
    let mut over_since = None;
    loop {
        let now = Instant::now();
        if let Err(error) = slots.begin(connection.session(), now) {
            lost(&mut connection, &mut slots, &error.to_string());
            break;
        }
        if course.is_over(now) && slots.busy() == 0 {
            break;
        }
        let turned = tokio::select! {
            biased;
            turned = connection.turn(&mut slots) => turned,
            () = paced(pace.as_deref()) => Ok(()),
            _ = tick.tick() => {
                if course.is_over(now) && now - *over_since.get_or_insert(now) > DRAIN {
                    let message = "no answer after the end".to_owned();
                    let failure = Failure { status: status::DEADLINE_EXCEEDED, message };
                    (0..slots.busy()).for_each(|_| slots.failed(failure.clone()));
                    break;
                }
                Ok(())
            }
        };
        if let Err(error) = turned {
            lost(&mut connection, &mut slots, &error.to_string());
            break;
        }
    }
    slots.finish()
}

/// A lost connection is one failure, and one of each call under way.
fn lost(connection: &mut Connection, slots: &mut Slots, why: &str) {
    connection.fail(why, slots);
    slots.failed(Failure { status: status::UNAVAILABLE, message: why.to_owned() });
}

async fn paced(pace: Option<&Notify>) {
    match pace {
        Some(pace) => pace.notified().await,
        None => std::future::pending().await,
    }
}

/// Wakes each connection when a call of its own falls due, from a thread that sleeps more exactly
/// than a runtime.
pub(super) fn pace(course: &Arc<Course>, connections: usize) -> Vec<Arc<Notify>> {
    let paces: Vec<_> = (0..connections).map(|_| Arc::new(Notify::new())).collect();
    let (course, woken) = (Arc::clone(course), paces.clone());
    std::thread::spawn(move || {
        let mut turns = (0..).zip(woken.iter().cycle()).peekable();
        while !course.is_over(Instant::now()) {
            std::thread::sleep(PACE);
            let now = Instant::now();
            let is_due = |(n, _): &(u64, _)| course.due(*n).is_some_and(|due| due <= now);
            while let Some((_, pace)) = turns.next_if(is_due) {
                pace.notify_one();
            }
        }
    });
    paces
}
