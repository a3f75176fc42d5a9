//! Every figure of the bar runs, tiny, and its last line is what it promises.
#![allow(clippy::unwrap_used, reason = "tests unwrap")]

mod bar;

fn check(figure: &str, unit: &str) {
    bar::check(env!("CARGO_BIN_EXE_watch-bar"), &[figure], unit);
}

#[test]
fn figures_in_bytes_end_with_their_line() {
    for (figure, unit) in [("revision-bytes", "B"), ("watcher-bytes", "B"), ("memory", "x")] {
        bar::check(env!("CARGO_BIN_EXE_watch-bytes"), &[figure], unit);
    }
}

#[test]
fn figures_end_with_their_line() {
    check("apply", "events/s");
    check("list-1m", "s");
    check("page-500", "us");
    check("first-byte", "ms");
    check("consistent-100", "ms");
    check("consistent-10k", "ms");
    check("reflector", "x");
    check("memory", "x");
    check("fan-out", "ms");
    check("one-of", "x");
    check("deliveries", "deliveries/s");
    check("restart", "s");
}
