//! What the run is doing, shown while it does it.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Counts that tasks raise and that the end waits for.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) started: Instant,
    phase: Mutex<&'static str>,
    pub(crate) nodes: AtomicUsize,
    pub(crate) written: AtomicUsize,
    pub(crate) bound: AtomicUsize,
    pub(crate) running: AtomicUsize,
    /// What went wrong without ending the run; any entry fails it.
    failures: Mutex<Vec<String>>,
    moved: watch::Sender<()>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            phase: Mutex::new("opening"),
            nodes: AtomicUsize::default(),
            written: AtomicUsize::default(),
            bound: AtomicUsize::default(),
            running: AtomicUsize::default(),
            failures: Mutex::default(),
            moved: watch::Sender::new(()),
        }
    }

    /// Says what comes next.
    pub(crate) fn phase(&self, phase: &'static str) {
        *self.phase.lock() = phase;
    }

    /// Raises a count by one.
    pub(crate) fn count(&self, counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::AcqRel);
        self.moved.send_replace(());
    }

    /// Remembers what went wrong.
    pub(crate) fn failed(&self, what: String) {
        self.failures.lock().push(what);
        self.moved.send_replace(());
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lock().clone()
    }

    /// Waits until the condition holds or something failed.
    pub(crate) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut moved = self.moved.subscribe();
        while !condition(self) && self.failures.lock().is_empty() {
            if moved.changed().await.is_err() {
                return;
            }
        }
    }

    /// Shows it on standard error until dropped: a line that is rewritten on a terminal, a line
    /// every few seconds elsewhere.
    pub(crate) async fn show(&self, pods: usize) {
        let terminal = std::io::stderr().is_terminal();
        let pause = if terminal { Duration::from_millis(200) } else { Duration::from_secs(2) };
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut line = self.line(pods);
            if terminal {
                line = format!("\r\x1b[K{line}");
            } else {
                line.push('\n');
            }
            // Nobody may be reading it.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn line(&self, pods: usize) -> String {
        let phase = *self.phase.lock();
        let mut line = format!("{:6.1} s  {phase}", self.started.elapsed().as_secs_f64());
        let counts = [
            ("nodes", &self.nodes),
            ("written", &self.written),
            ("bound", &self.bound),
            ("running", &self.running),
        ];
        for (name, count) in counts {
            let count = count.load(Ordering::Acquire);
            let of = if name == "nodes" { String::new() } else { format!("/{pods}") };
            let _ = write!(line, "  {name} {count}{of}");
        }
        line
    }
}

/// Ends the line that [`Progress::show`] rewrites.
pub(crate) fn clear_line() {
    if std::io::stderr().is_terminal() {
        let _ = std::io::stderr().write_all(b"\r\x1b[K");
    }
}
