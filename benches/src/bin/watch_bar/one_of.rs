//! An event for one of very many.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use benches::kv_journal::{Outcome, runtime};
use benches::report;
use benches::settings::Settings;
use benches::watch_cache::{PODS, Script, Stack, node_name};
use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use watch_cache::{Config, WatchRequest};

use super::fan_out::WATCHERS;
use super::tally::{Keep, Tally};

/// Events of a round.
const EVENTS: usize = 2_000;
/// Between two of them, so that the threads go to sleep.
const PAUSE: Duration = Duration::from_micros(200);

/// From a thread outside until the sink has it, in turns with a bare channel to a task.
pub(crate) fn run(settings: &Settings) -> Outcome<()> {
    let runtime = runtime()?;
    let _guard = runtime.enter();
    let count = settings.count(WATCHERS);
    let nodes = u32::try_from(count)?;
    let stack = runtime.block_on(Stack::of(Script::new(nodes, nodes), Config::default()))?;
    let (tally, told) = Tally::new(1, 1);
    let mut watches = Vec::with_capacity(count);
    for node in 0..nodes {
        let keep = Keep { ticket: tally.ticket(0), last: None };
        let request = WatchRequest::new(PODS).index("spec.nodeName", node_name(node));
        watches.push(stack.cache.watch_into(request, keep)?);
    }
    let (bare, bare_told) = Tally::new(1, 1);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(10)).unzip();
    for mut receiver in receivers {
        let ticket = bare.ticket(0);
        tokio::spawn(async move {
            while let Some(()) = receiver.recv().await {
                ticket.count();
            }
        });
    }
    let woken = stack.cache.stats().wakes;
    let mut ratios = Vec::new();
    let mut sent = 0_u32;
    for _ in 0..settings.rounds {
        let (mut ours, mut theirs) = (histogram()?, histogram()?);
        for _ in 0..settings.count(EVENTS) {
            let node = sent.wrapping_mul(7919) % nodes;
            sent += 1;
            let revision = stack.script.write_to(node);
            let tell = || {
                stack.script.tell(&revision);
            };
            ours.record(micros(&tally, &told, tell)?)?;
            theirs.record(micros(&bare, &bare_told, || {
                // None is full: a round ends when it was taken.
                let _ = senders[node as usize].try_send(());
            })?)?;
        }
        for (name, of) in [("one-of-sink", &ours), ("one-of-channel", &theirs)] {
            let at = |quantile| of.value_at_quantile(quantile) as f64 / 1e3;
            eprintln!("{name}: median {:.1}, p99 {:.1} us", at(0.5), at(0.99));
        }
        let p99 = |of: &Histogram<u64>| of.value_at_quantile(0.99) as f64;
        ratios.push(p99(&ours) / p99(&theirs));
    }
    let woken = stack.cache.stats().wakes - woken;
    report::line("one-of-woken", woken as f64 / f64::from(sent), "watchers/event");
    report::line("one-of", report::median(&ratios), "x");
    Ok(())
}

fn histogram() -> Outcome<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

/// Nanoseconds, at least 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive time")]
fn micros(tally: &Arc<Tally>, told: &Receiver<()>, tell: impl FnOnce()) -> Outcome<u64> {
    std::thread::sleep(PAUSE);
    Ok((tally.round(told, tell)? * 1e6) as u64 + 1)
}
