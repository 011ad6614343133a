//! The process as the client libraries of Prometheus report it: the `process_*` families.
//!
//! A value that the system does not provide is left out.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use rustix::process::{Resource, getrlimit};

use super::metrics_page::{MetricsPage, Seconds};
use crate::clock::Time;

/// Writes all families. It reads files of /proc, so only the control thread calls it.
pub(super) fn write_process(page: &mut MetricsPage) {
    if let Some(time) = cpu_time() {
        page.counter("process_cpu_seconds_total", "Seconds of user and system CPU time of the process.")
            .sample(&[], Seconds(time.as_nanos()));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them belongs to this listing.
        page.gauge("process_open_fds", "Open file descriptors.").sample(&[], open.count().saturating_sub(1));
    }
    let limit = getrlimit(Resource::Nofile).current;
    page.gauge("process_max_fds", "The most file descriptors that may be open.")
        .sample(&[], limit.map_or_else(|| "+Inf".to_owned(), |limit| limit.to_string()));

    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let gauges = [
        ("process_virtual_memory_bytes", "Bytes of virtual memory.", "VmSize:", 1024),
        ("process_resident_memory_bytes", "Bytes of resident memory.", "VmRSS:", 1024),
        ("process_threads", "Threads of the process.", "Threads:", 1),
    ];
    for (name, help, field, unit) in gauges {
        if let Some(number) = number_in(&status, field) {
            page.gauge(name, help).sample(&[], number * unit);
        }
    }

    page.gauge("process_start_time_seconds", "When the process started, in seconds since 1970.")
        .sample(&[], Seconds(started().as_nanos()));
}

/// Returns the time that all threads have used, those that have ended included.
fn cpu_time() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let micros = |time: TimeVal| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    };
    Some(micros(usage.user_time()) + micros(usage.system_time()))
}

/// Returns the number in a field of `/proc/self/status`, such as `VmRSS:  1234 kB`.
fn number_in(status: &str, field: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    value.split_whitespace().next()?.parse().ok()
}

/// Returns when the process started, since 1970. It is computed once, because a clock that is set
/// must not look like a restart.
fn started() -> Duration {
    static STARTED: OnceLock<Duration> = OnceLock::new();
    *STARTED.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // The clock of the process starts at zero.
        now.saturating_sub(Time::now().since(Time(0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_every_family_with_a_plausible_value() {
        let mut page = MetricsPage::default();
        write_process(&mut page);

        let value = |name: &str| -> f64 {
            let line = page.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in {}", page.0)).parse().unwrap()
        };
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_open_fds") >= 1.0 && value("process_open_fds") <= value("process_max_fds"));
        assert!(value("process_resident_memory_bytes") > 4096.0);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_threads") >= 1.0);

        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(value("process_start_time_seconds") <= now);
    }

    #[test]
    fn reads_a_number_with_and_without_a_unit() {
        let status = "Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t7\nVmSize:\n";
        let fields = ["VmRSS:", "Threads:", "VmSize:", "VmSwap:"];
        assert_eq!(fields.map(|field| number_in(status, field)), [Some(1234), Some(7), None, None]);
    }
}
