//! How long puts take that come as fast to the one as to the other.

use benches::kv_journal::Outcome;
use benches::report;

use super::figures::{Both, fill};
use super::sides::Sides;
use super::{PUT_100, Settings};

/// Of what etcd can do.
const SHARE: f64 = 0.7;

pub(super) async fn run(settings: &Settings) -> Outcome<()> {
    let sides = Sides::start(settings).await?;
    let (keys, seconds) = (settings.keys, settings.seconds);
    for side in [&sides.own, &sides.etcd] {
        side.load(&fill(keys)).await?;
    }
    let load = format!("{PUT_100} --keys {keys} --warmup 500ms --duration {seconds}s");
    let most = sides.etcd.load(&load).await?.report.ops_per_s;
    let rate = most * SHARE;
    report::line("p99-offered", rate, "1/s");
    let load = format!("{load} --rate {rate}");
    let mut both = Both::default();
    for round in 0..settings.rounds {
        let (own, etcd) = sides.in_turns(round, &load).await?;
        both.add(own.report.p99_ms, etcd.report.p99_ms);
    }
    both.tell("p99", "ms");
    Ok(())
}
