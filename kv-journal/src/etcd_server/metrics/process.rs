//! The process that the server runs in, as Linux tells of it.

use std::fs;

use super::exposition::Exposition;

/// Writes what can be found out; elsewhere than on Linux that is nothing.
pub(super) fn write(out: &mut Exposition) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::of) {
        let ticks = rustix::param::clock_ticks_per_second();
        #[expect(clippy::cast_precision_loss, reason = "ticks of a lifetime are below 2^52")]
        let seconds = |of: u64| of as f64 / ticks as f64;
        out.counter("process_cpu_seconds_total", seconds(stat.cpu_ticks));
        out.gauge("process_virtual_memory_bytes", stat.virtual_bytes);
        let page = rustix::param::page_size() as u64;
        out.gauge("process_resident_memory_bytes", stat.resident_pages * page);
        if let Some(booted) = booted() {
            let at = seconds(stat.started_ticks) + booted;
            out.gauge("process_start_time_seconds", at);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is this directory.
        let open = open.count().saturating_sub(1);
        out.gauge("process_open_fds", open);
        out.gauge("os_fd_used", open);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        if let Some(limit) = limit.current {
            out.gauge("process_max_fds", limit);
            out.gauge("os_fd_limit", limit);
        }
    }
}

/// When the machine was started, in seconds of Unix time.
fn booted() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Of `/proc/self/stat`, whose fields `proc_pid_stat(5)` numbers.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    /// Since the machine was started.
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn of(text: &str) -> Option<Self> {
        // A name may hold anything, so the fields are counted from its end: the first is the third.
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_the_end_of_the_name() {
        let text = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 110 12 13 14 15 16 17 18 190 2000 21 22\n";
        let expected = Stat {
            cpu_ticks: 110 + 12,
            started_ticks: 190,
            virtual_bytes: 2000,
            resident_pages: 21,
        };
        assert_eq!(Stat::of(text), Some(expected));
        assert_eq!(Stat::of("7 (a) S 1"), None);
        assert_eq!(Stat::of(""), None);
    }
}
