//! A progress bar, where somebody sees it.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::load::Course;
use tokio::time::interval;

const TICK: Duration = Duration::from_millis(200);
const WIDTH: usize = 30;

/// Takes the bar away, whatever ends the load.
struct Line;

impl Drop for Line {
    fn drop(&mut self) {
        eprint!("\r\x1b[K");
    }
}

/// Shows how far a load of so many calls, or of a time, is; for ever.
pub(crate) async fn show(course: Arc<Course>, total: Option<u64>) {
    if !stderr().is_terminal() {
        return std::future::pending().await;
    }
    let _line = Line;
    let mut ticks = interval(TICK);
    let mut before = 0;
    loop {
        ticks.tick().await;
        let done = course.done();
        let part = total.map_or_else(|| time_part(&course), |total| share(done, total));
        let filled = (0..WIDTH).filter(|i| share(*i as u64, WIDTH as u64) < part).count();
        let per_s = (done - before) * 5;
        eprint!("\r\x1b[K[{:-<WIDTH$}] {done} done, {per_s}/s", "#".repeat(filled));
        // A bar that cannot be shown is no reason to end.
        let _unseen = stderr().flush();
        before = done;
    }
}

fn time_part(course: &Course) -> f64 {
    let from = course.measured_from();
    let Some(end) = course.end() else { return 0.0 };
    Instant::now().saturating_duration_since(from).as_secs_f64() / (end - from).as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a bar has few steps")]
fn share(part: u64, of: u64) -> f64 {
    part as f64 / of as f64
}
