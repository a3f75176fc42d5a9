//! How long lists take.

use std::time::Instant;

use benches::kv_journal::{Outcome, runtime};
use benches::report;
use benches::settings::Settings;
use benches::watch_cache::{PODS, Stack};
use futures_util::TryStreamExt;
use watch_cache::{At, ListRequest};

const OBJECTS: usize = 1_000_000;
/// Fewer than the log keeps.
const EVENTS: usize = 100_000;
const PAGE: usize = 500;
/// Pages of a round.
const PAGES: f64 = 400.0;

/// All objects, to the last byte of each.
pub(crate) fn whole(settings: &Settings) -> Outcome<()> {
    runtime()?.block_on(async {
        let stack = Stack::open(settings.count(OBJECTS)).await?;
        let (mut collected, mut read) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            let start = Instant::now();
            let list = stack.cache.list(ListRequest::new(PODS).at(At::Any)).await?;
            collected.push(start.elapsed().as_secs_f64());
            let bytes: u64 = list.objects.iter().map(|pod| sum(pod.key()) + sum(pod.value())).sum();
            read.push(start.elapsed().as_secs_f64());
            if bytes == 0 {
                return Err("the objects are empty".into());
            }
        }
        report::rounds("list, ms", &read.iter().map(|secs| secs * 1e3).collect::<Vec<_>>());
        report::line("list-1m-collected", report::median(&collected), "s");
        report::line("list-1m", report::median(&read), "s");
        Ok(())
    })
}

/// Until the first byte of a list of all objects can be read.
pub(crate) fn first(settings: &Settings) -> Outcome<()> {
    runtime()?.block_on(async {
        let stack = Stack::open(settings.count(OBJECTS)).await?;
        let (mut first, mut whole) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            let start = Instant::now();
            let mut list = stack.cache.list_stream(ListRequest::new(PODS).at(At::Any)).await?;
            let mut bytes = 0;
            while let Some(pods) = list.try_next().await? {
                bytes += pods.first().map_or(0, |pod| sum(pod.key()) + sum(pod.value()));
                if first.len() == whole.len() {
                    first.push(start.elapsed().as_secs_f64() * 1e3);
                }
                bytes += pods.iter().map(|pod| sum(pod.key()) + sum(pod.value())).sum::<u64>();
            }
            whole.push(start.elapsed().as_secs_f64());
            if bytes == 0 {
                return Err("the objects are empty".into());
            }
        }
        report::line("list-streamed", report::median(&whole), "s");
        // The slowest, since a list has one first byte.
        report::line("first-byte", first.into_iter().fold(0.0, f64::max), "ms");
        Ok(())
    })
}

/// Reads a word of each cache line.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().step_by(64).map(|byte| u64::from(*byte)).sum()
}

/// Pages from all over the keys, of the newest revision and of older ones.
pub(crate) fn page(settings: &Settings) -> Outcome<()> {
    runtime()?.block_on(async {
        let stack = Stack::open(settings.count(OBJECTS)).await?;
        let oldest = stack.cache.revision();
        let last =
            stack.script.tell(&stack.script.revisions(u32::try_from(settings.count(EVENTS))?));
        stack.cache.wait_for(last).await?;
        let mut slowest = 0.0_f64;
        for (name, at) in [("newest", last), ("middle", oldest.midpoint(last)), ("oldest", oldest)]
        {
            let micros = pages(&stack, settings, at).await?;
            report::rounds(&format!("page at the {name} revision, us"), &micros);
            report::line(&format!("page-500-{name}"), report::median(&micros), "us");
            slowest = slowest.max(report::median(&micros));
        }
        report::line("page-500", slowest, "us");
        Ok(())
    })
}

/// The mean time of a page, for each round: pages one after the other from the first key on.
async fn pages(stack: &Stack, settings: &Settings, at: u64) -> Outcome<Vec<f64>> {
    let mut micros = Vec::new();
    for _ in 0..settings.rounds {
        let list = ListRequest::new(PODS).limit(PAGE);
        let mut next = list.clone().at(At::Exactly(at));
        let (mut spent, mut pages) = (0.0, 0.0);
        while pages < PAGES {
            let start = Instant::now();
            let page = stack.cache.list(next).await?;
            spent += start.elapsed().as_secs_f64() * 1e6;
            pages += 1.0;
            let Some(token) = page.continue_token else { break };
            next = list.clone().continue_from(token);
        }
        micros.push(spent / pages);
    }
    Ok(micros)
}
