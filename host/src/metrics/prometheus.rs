//! A snapshot in Prometheus' text format, version 0.0.4.
//!
//! Written here and not by a client library: those count in cells of their own, which threads share, and what is in
//! ours would have to be copied into them for each scrape.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};

use super::{
    GenerationCounts, MetricsSnapshot, Outcome, RejectionReason, ReloadOutcome, RequestKind, ThreadTotal,
};

/// What a scrape is to be served as.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is not counted but looked up in its moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauges {
    /// Connections open.
    pub(crate) connections: u64,
    /// Bytes buffered for clients.
    pub(crate) buffered: u64,
    /// By name, what `[limits]` allows.
    pub(crate) limits: Vec<(&'static str, u64)>,
    pub(crate) plugins: Vec<PluginGauges>,
    /// Deaths of hosts that are remembered, by the plugins that ran then.
    pub(crate) deaths: BTreeMap<String, u64>,
    /// What ran at the last of them.
    pub(crate) last_death: Vec<CrashGauge>,
    /// Log lines that were not written: too many, or nobody read them.
    pub(crate) log_dropped: u64,
    /// Since the host started.
    pub(crate) uptime: std::time::Duration,
}

/// How a plugin that serves is.
#[derive(Debug, Clone)]
pub(crate) struct PluginGauges {
    pub(crate) name: String,
    pub(crate) is_well: bool,
    pub(crate) lost_threads: usize,
}

/// A call that ran when a host died.
#[derive(Debug, Clone)]
pub(crate) struct CrashGauge {
    pub(crate) plugin: String,
    pub(crate) generation: u64,
    pub(crate) method: String,
    /// The request's id; empty when it had none.
    pub(crate) id: String,
    /// When the death was found, in seconds since 1970.
    pub(crate) at: u64,
}

/// The text under construction.
#[derive(Default)]
struct MetricsPage(String);

impl MetricsPage {
    /// The head of a family; its samples follow.
    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        // Writing into memory fails never.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { page: &mut self.0, name }
    }

    fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }
}

struct Family<'p> {
    page: &'p mut String,
    name: &'static str,
}

impl Family<'_> {
    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.suffixed("", labels, value);
    }

    fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.page, "{}{suffix}", self.name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let opening = if place == 0 { '{' } else { ',' };
            let _ = write!(self.page, "{opening}{label}=\"{}\"", Escaped(text));
        }
        let closing = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.page, "{closing} {value}");
    }
}

/// A label's value, as the format wants it.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

/// Nanoseconds as seconds, exactly.
struct Seconds(u128);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        f.write_str(format!("{whole}.{rest:09}").trim_end_matches('0'))
    }
}

/// All of it, as one page.
pub(crate) fn page(snapshot: &MetricsSnapshot, gauges: &Gauges) -> String {
    let mut page = MetricsPage::default();
    requests(&mut page, snapshot);
    clients(&mut page, snapshot, gauges);
    plugins(&mut page, snapshot, gauges);
    host(&mut page, gauges);
    page.0
}

fn requests(page: &mut MetricsPage, snapshot: &MetricsSnapshot) {
    let of_kinds = || snapshot.methods.iter().flat_map(|m| RequestKind::ALL.map(|kind| (m, kind)));
    let mut ended = page.counter("ipc_requests_total", "Requests that ended, by how.");
    for (method, kind) in of_kinds() {
        for outcome in Outcome::all().filter(|outcome| method.ended(kind, *outcome) > 0) {
            let labels = [("kind", kind.label()), ("method", &*method.name), ("outcome", &*outcome.label())];
            ended.sample(&labels, method.ended(kind, outcome));
        }
    }
    let seen = || of_kinds().filter(|(method, kind)| method.accepted(*kind) > 0);
    let mut accepted = page.counter("ipc_requests_accepted_total", "Requests accepted, ended or not.");
    for (method, kind) in seen() {
        accepted.sample(&[("kind", kind.label()), ("method", &method.name)], method.accepted(kind));
    }
    let mut in_flight = page.gauge("ipc_requests_in_flight", "Requests accepted and not ended, by method.");
    for (method, kind) in seen() {
        in_flight.sample(&[("kind", kind.label()), ("method", &method.name)], method.in_flight(kind));
    }
    page.gauge("ipc_in_flight", "Requests accepted and not ended.").sample(&[], snapshot.in_flight());
    let pending = snapshot.in_flight_in(RequestKind::Async);
    page.gauge("ipc_async_pending", "Async requests accepted and not ended.").sample(&[], pending);
    let late = Outcome::of(jackfield_protocol::Code::DeadlineExceeded);
    let late: u64 = snapshot.methods.iter().map(|method| method.ended(RequestKind::Async, late)).sum();
    page.counter("ipc_async_timeout_total", "Async requests answered DEADLINE_EXCEEDED.").sample(&[], late);
    let mut seconds = page.family(
        "ipc_request_seconds",
        "histogram",
        "From acceptance to reply, of requests that were begun.",
    );
    for method in snapshot.methods.iter().filter(|method| method.seconds.count() > 0) {
        for (end, count) in method.seconds.doublings() {
            let end = Seconds(end.into()).to_string();
            seconds.suffixed("_bucket", &[("method", &method.name), ("le", &end)], count);
        }
        let count = method.seconds.count();
        seconds.suffixed("_bucket", &[("method", &method.name), ("le", "+Inf")], count);
        seconds.suffixed("_sum", &[("method", &method.name)], Seconds(method.seconds.sum().as_nanos()));
        seconds.suffixed("_count", &[("method", &method.name)], count);
    }
    let mut rejected =
        page.counter("ipc_rejected_total", "What was turned away before it was begun, by why.");
    for why in RejectionReason::ALL {
        rejected.sample(&[("reason", why.label())], snapshot.rejected(*why));
    }
    let dropped = snapshot.counters["late_results"];
    page.counter("ipc_late_results_total", "Results dropped: too late, or their client had gone.")
        .sample(&[], dropped);
}

fn clients(page: &mut MetricsPage, snapshot: &MetricsSnapshot, gauges: &Gauges) {
    page.gauge("ipc_connections", "Connections open.").sample(&[], gauges.connections);
    page.counter("ipc_connections_total", "Connections accepted.")
        .sample(&[], snapshot.counters["connections"]);
    page.counter("ipc_connections_cut_total", "Connections ended by the host for what their peer did.")
        .sample(&[], snapshot.counters["connections_cut"]);
    let mut bytes = page.counter("ipc_bytes_total", "Bytes read from clients, and written to them.");
    for (direction, total) in [("in", ThreadTotal::BytesIn), ("out", ThreadTotal::BytesOut)] {
        bytes.sample(&[("direction", direction)], snapshot.total(total));
    }
    page.counter("ipc_heartbeats_total", "Heartbeats answered.")
        .sample(&[], snapshot.total(ThreadTotal::Heartbeats));
    page.gauge("ipc_buffered_bytes", "Bytes held in memory for clients.").sample(&[], gauges.buffered);
    let mut limits = page.gauge("ipc_limit", "What [limits] allows.");
    for (name, most) in &gauges.limits {
        limits.sample(&[("limit", name)], most);
    }
}

fn plugins(page: &mut MetricsPage, snapshot: &MetricsSnapshot, gauges: &Gauges) {
    let mut generation = page.gauge("ipc_plugin_generation", "The generation that serves.");
    for (name, numbers) in &snapshot.plugins {
        if let Some(serving) = numbers.generations.serving {
            generation.sample(&[("plugin", name)], serving);
        }
    }
    let mut generations = page.gauge("ipc_plugin_generations", "Generations in memory, by what they do.");
    for (name, numbers) in &snapshot.plugins {
        let GenerationCounts { serving, on_probation, draining, retained } = numbers.generations;
        let serves = u64::from(serving.is_some());
        let (serving, probation) = if on_probation { (0, serves) } else { (serves, 0) };
        for (state, count) in
            [("serving", serving), ("probation", probation), ("draining", draining), ("retained", retained)]
        {
            generations.sample(&[("plugin", name), ("state", state)], count);
        }
    }
    let mut reloads =
        page.counter("ipc_plugin_reloads_total", "Attempts to load a plugin, by how they ended.");
    for (name, numbers) in &snapshot.plugins {
        for outcome in ReloadOutcome::ALL {
            let labels = [("plugin", name.as_str()), ("outcome", outcome.label())];
            reloads.sample(&labels, numbers.reloads[outcome as usize]);
        }
    }
    let mut healthy = page
        .gauge("ipc_plugin_healthy", "1 while its calls are begun and none holds up an I/O thread, else 0.");
    for plugin in &gauges.plugins {
        healthy.sample(&[("plugin", &plugin.name)], u8::from(plugin.is_well));
    }
    let mut lost = page.gauge("ipc_plugin_lost_threads", "Threads lost to calls that do not end.");
    for plugin in &gauges.plugins {
        lost.sample(&[("plugin", &plugin.name)], plugin.lost_threads);
    }
    let mut deaths = page.gauge(
        "ipc_plugin_deaths",
        "Deaths of hosts within plugins.crash.window while the plugin's code ran.",
    );
    for (name, count) in &gauges.deaths {
        deaths.sample(&[("plugin", name)], count);
    }
    let mut last = page.gauge(
        "ipc_last_death_timestamp_seconds",
        "When the last of them was found; what ran is in the labels.",
    );
    for CrashGauge { plugin, generation, method, id, at } in &gauges.last_death {
        let generation = generation.to_string();
        let labels =
            [("plugin", plugin.as_str()), ("generation", &generation), ("method", method), ("id", id)];
        last.sample(&labels, at);
    }
}

fn host(page: &mut MetricsPage, gauges: &Gauges) {
    page.counter(
        "ipc_log_dropped_total",
        "Log lines that were counted and not written: too many, or nobody read them.",
    )
    .sample(&[], gauges.log_dropped);
    let uptime = Seconds(gauges.uptime.as_nanos());
    page.gauge("ipc_uptime_seconds", "Since the host started.").sample(&[], uptime);
    page.gauge("ipc_build_info", "1; the version is in the label.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::Metrics;
    use super::*;

    #[test]
    fn labels_and_lengths_are_written_as_the_format_wants_them() {
        assert_eq!(Escaped("a\"b\\c\nd").to_string(), "a\\\"b\\\\c\\nd");
        let seconds = [0, 1024, 1_000_000_000, 68_719_476_736, 1_500_000_000];
        let written = seconds.map(|nanos| Seconds(nanos).to_string());
        assert_eq!(written, ["0", "0.000001024", "1", "68.719476736", "1.5"]);
    }

    #[test]
    fn a_request_is_in_every_family_that_it_belongs_to() {
        let metrics = Arc::<Metrics>::default();
        let cells = metrics.cells();
        let method = metrics.names.intern("a.\"b\"");
        cells.accepted(method, RequestKind::Async);
        cells.accepted(method, RequestKind::Async);
        cells.ran(method, Duration::from_micros(2));
        cells.ended(method, RequestKind::Async, Outcome::OK);
        let text = page(&metrics.snapshot(), &Gauges::default());
        for line in [
            r#"ipc_requests_total{kind="async",method="a.\"b\"",outcome="ok"} 1"#,
            r#"ipc_requests_accepted_total{kind="async",method="a.\"b\""} 2"#,
            r#"ipc_request_seconds_bucket{method="a.\"b\"",le="0.000001024"} 0"#,
            r#"ipc_request_seconds_bucket{method="a.\"b\"",le="0.000002048"} 1"#,
            r#"ipc_request_seconds_bucket{method="a.\"b\"",le="+Inf"} 1"#,
            r#"ipc_request_seconds_sum{method="a.\"b\""} 0.000002"#,
            "ipc_in_flight 1",
            "ipc_async_pending 1",
            r#"ipc_rejected_total{reason="queue"} 0"#,
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
    }
}
