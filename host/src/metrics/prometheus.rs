//! Writes a snapshot in the Prometheus text format, version 0.0.4.
//!
//! No client library is used: such a library counts in cells of its own, which threads share, and
//! our counts would have to be copied into them for each scrape.

use super::gauges::{CrashGauge, Gauges};
use super::metrics_page::{Family, MetricsPage, Seconds};
use super::outcome::{Outcome, RejectionReason, RequestKind};
use super::plugin_metrics::{GenerationCounts, ReloadOutcome};
use super::process_metrics::write_process;
use super::snapshot::{MethodCounts, MetricsSnapshot};
use super::thread_cells::ThreadTotal;

/// The HTTP content type of a page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns all metrics as one page.
pub(crate) fn render_page(snapshot: &MetricsSnapshot, gauges: &Gauges) -> String {
    let mut page = MetricsPage::default();
    write_requests(&mut page, snapshot);
    write_durations(&mut page, snapshot);
    write_rejections(&mut page, snapshot);
    write_connections(&mut page, snapshot, gauges);
    write_generations(&mut page, snapshot);
    write_plugin_health(&mut page, gauges);
    write_workers(&mut page, snapshot, gauges);
    write_crashes(&mut page, gauges);
    write_spans(&mut page, snapshot);
    write_host(&mut page, snapshot, gauges);
    write_process(&mut page);
    page.0
}

fn write_requests(page: &mut MetricsPage, snapshot: &MetricsSnapshot) {
    let by_kind = || snapshot.methods.iter().flat_map(|m| RequestKind::ALL.map(|kind| (m, kind)));
    let mut ended = page.counter("ipc_requests_total", "Requests that ended, by outcome.");
    for (method, kind) in by_kind() {
        for outcome in Outcome::all().filter(|outcome| method.ended(kind, *outcome) > 0) {
            let labels = [("kind", kind.label()), ("method", &*method.name), ("outcome", &*outcome.label())];
            ended.sample(&labels, method.ended(kind, outcome));
        }
    }

    let accepted_by_kind = || by_kind().filter(|(method, kind)| method.accepted(*kind) > 0);
    let mut accepted = page.counter("ipc_requests_accepted_total", "Requests accepted, ended or not.");
    for (method, kind) in accepted_by_kind() {
        accepted.sample(&[("kind", kind.label()), ("method", &method.name)], method.accepted(kind));
    }

    let mut in_flight = page.gauge("ipc_requests_in_flight", "Requests accepted and not ended, by method.");
    for (method, kind) in accepted_by_kind() {
        in_flight.sample(&[("kind", kind.label()), ("method", &method.name)], method.in_flight(kind));
    }
    page.gauge("ipc_in_flight", "Requests accepted and not ended.").sample(&[], snapshot.in_flight());
    let pending = snapshot.in_flight_in(RequestKind::Async);
    page.gauge("ipc_async_pending", "Async requests accepted and not ended.").sample(&[], pending);

    let late = Outcome::of(jackfield_protocol::Code::DeadlineExceeded);
    let late: u64 = snapshot.methods.iter().map(|method| method.ended(RequestKind::Async, late)).sum();
    page.counter("ipc_async_timeout_total", "Async requests answered DEADLINE_EXCEEDED.").sample(&[], late);
}

fn write_durations(page: &mut MetricsPage, snapshot: &MetricsSnapshot) {
    let mut seconds = page.family(
        "ipc_request_seconds",
        "histogram",
        "Seconds from acceptance to reply, for requests that were begun.",
    );
    for method in snapshot.methods.iter().filter(|method| method.seconds.count() > 0) {
        write_duration(&mut seconds, method);
    }
}

fn write_duration(seconds: &mut Family<'_>, method: &MethodCounts) {
    for (bound, count) in method.seconds.doublings() {
        let bound = Seconds(bound.into()).to_string();
        seconds.suffixed("_bucket", &[("method", &method.name), ("le", &bound)], count);
    }
    let count = method.seconds.count();
    seconds.suffixed("_bucket", &[("method", &method.name), ("le", "+Inf")], count);
    seconds.suffixed("_sum", &[("method", &method.name)], Seconds(method.seconds.sum().as_nanos()));
    seconds.suffixed("_count", &[("method", &method.name)], count);
}

fn write_rejections(page: &mut MetricsPage, snapshot: &MetricsSnapshot) {
    let mut rejected =
        page.counter("ipc_rejected_total", "Connections, requests and frames that were rejected, by reason.");
    for reason in RejectionReason::ALL {
        rejected.sample(&[("reason", reason.label())], snapshot.rejected(*reason));
    }
    let dropped = snapshot.counters["late_results"];
    page.counter("ipc_late_results_total", "Results dropped as late, or because their client had gone.")
        .sample(&[], dropped);
}

fn write_connections(page: &mut MetricsPage, snapshot: &MetricsSnapshot, gauges: &Gauges) {
    page.gauge("ipc_connections", "Connections open.").sample(&[], gauges.open_connections);
    page.counter("ipc_connections_total", "Connections accepted.")
        .sample(&[], snapshot.counters["connections"]);
    page.counter("ipc_connections_cut_total", "Connections closed by the host because of their peer.")
        .sample(&[], snapshot.counters["connections_cut"]);

    let mut bytes = page.counter("ipc_bytes_total", "Bytes read from clients, and written to them.");
    for (direction, total) in [("in", ThreadTotal::BytesIn), ("out", ThreadTotal::BytesOut)] {
        bytes.sample(&[("direction", direction)], snapshot.total(total));
    }
    page.counter("ipc_heartbeats_total", "Heartbeats answered.")
        .sample(&[], snapshot.total(ThreadTotal::Heartbeats));
    page.counter("ipc_hellos_total", "Hellos answered.").sample(&[], snapshot.total(ThreadTotal::Hellos));
    let mut cancels =
        page.counter("ipc_cancels_total", "Cancellations, by whether their request was in flight.");
    cancels.sample(&[("request", "in_flight")], snapshot.total(ThreadTotal::Cancels));
    cancels.sample(&[("request", "unknown")], snapshot.total(ThreadTotal::UnknownCancels));
    page.gauge("ipc_buffered_bytes", "Bytes held in memory for clients.").sample(&[], gauges.buffered_bytes);
    let mut limits = page.gauge("ipc_limit", "Limits of the configuration, by key.");
    for (name, most) in &gauges.limits {
        limits.sample(&[("limit", name)], most);
    }
}

fn write_generations(page: &mut MetricsPage, snapshot: &MetricsSnapshot) {
    let mut generation = page.gauge("ipc_plugin_generation", "Number of the generation that serves.");
    for (name, counts) in &snapshot.plugins {
        if let Some(serving) = counts.generations.serving {
            generation.sample(&[("plugin", name)], serving);
        }
    }

    let mut generations = page.gauge("ipc_plugin_generations", "Generations in memory, by state.");
    for (name, counts) in &snapshot.plugins {
        let GenerationCounts { serving, on_probation, draining, retained, .. } = counts.generations;
        let serving = u64::from(serving.is_some());
        let (serving, probation) = if on_probation { (0, serving) } else { (serving, 0) };
        for (state, count) in
            [("serving", serving), ("probation", probation), ("draining", draining), ("retained", retained)]
        {
            generations.sample(&[("plugin", name), ("state", state)], count);
        }
    }

    let mut reloads = page.counter("ipc_plugin_reloads_total", "Attempts to load a plugin, by outcome.");
    for (name, counts) in &snapshot.plugins {
        for outcome in ReloadOutcome::ALL {
            let labels = [("plugin", name.as_str()), ("outcome", outcome.label())];
            reloads.sample(&labels, counts.reloads[outcome as usize]);
        }
    }
}

fn write_plugin_health(page: &mut MetricsPage, gauges: &Gauges) {
    let mut healthy = page.gauge(
        "ipc_plugin_healthy",
        "1 while calls of the plugin are admitted and none blocks an I/O thread, otherwise 0.",
    );
    for plugin in &gauges.plugins {
        healthy.sample(&[("plugin", &plugin.name)], u8::from(plugin.is_healthy));
    }
    let mut lost = page.gauge("ipc_plugin_lost_threads", "Threads that run calls past their deadline.");
    for plugin in &gauges.plugins {
        lost.sample(&[("plugin", &plugin.name)], plugin.lost_threads);
    }
}

fn write_workers(page: &mut MetricsPage, snapshot: &MetricsSnapshot, gauges: &Gauges) {
    let mut isolated = page.gauge(
        "ipc_plugin_isolated",
        "Always 1; the plugin runs in a worker because the host or an operator decided so.",
    );
    for (name, counts) in &snapshot.plugins {
        if let Some(by) = counts.generations.isolated_by {
            isolated.sample(&[("plugin", name), ("by", by)], 1);
        }
    }

    let workers =
        || gauges.plugins.iter().filter_map(|plugin| Some((&*plugin.name, plugin.worker.as_ref()?)));
    let mut restarts = page.counter("ipc_plugin_worker_restarts_total", "Workers replaced, by cause.");
    for (name, worker) in workers() {
        for (cause, count) in &worker.restarts {
            restarts.sample(&[("plugin", name), ("cause", cause)], count);
        }
    }
    let mut resident =
        page.gauge("ipc_plugin_worker_resident_bytes", "Resident memory of the workers of the plugin.");
    for (name, worker) in workers() {
        resident.sample(&[("plugin", name)], worker.resident_bytes);
    }
    let mut calls =
        page.gauge("ipc_plugin_worker_calls_in_flight", "Calls sent to the workers and not ended.");
    for (name, worker) in workers() {
        calls.sample(&[("plugin", name)], worker.calls_in_flight);
    }
}

fn write_crashes(page: &mut MetricsPage, gauges: &Gauges) {
    let mut crashes = page.gauge(
        "ipc_plugin_deaths",
        "Deaths of hosts within plugins.crash.window while the plugin's code ran.",
    );
    for (name, count) in &gauges.crashes {
        crashes.sample(&[("plugin", name)], count);
    }

    let mut last = page.gauge(
        "ipc_last_death_timestamp_seconds",
        "When the last of them was found; what ran is in the labels.",
    );
    for CrashGauge { plugin, generation, method, id, at } in &gauges.last_crash {
        let generation = generation.to_string();
        let labels =
            [("plugin", plugin.as_str()), ("generation", &generation), ("method", method), ("id", id)];
        last.sample(&labels, at);
    }
}

fn write_spans(page: &mut MetricsPage, snapshot: &MetricsSnapshot) {
    let count = |name: &str| snapshot.counters[name];
    page.counter("ipc_spans_exported_total", "Spans that the collector accepted.")
        .sample(&[], count("spans_exported"));
    let mut dropped = page.counter("ipc_spans_dropped_total", "Spans that were not exported, by reason.");
    for reason in ["queue_full", "refused", "unreachable"] {
        dropped.sample(&[("reason", reason)], count(&format!("spans_dropped_{reason}")));
    }
    page.counter("ipc_span_export_failures_total", "Requests to the collector that failed.")
        .sample(&[], count("span_export_failures"));
}

fn write_host(page: &mut MetricsPage, snapshot: &MetricsSnapshot, gauges: &Gauges) {
    page.counter("ipc_process_state_changes_total", "Changes of the state of the process by plugins.")
        .sample(&[], snapshot.counters["process_state_changes"]);
    page.counter(
        "ipc_log_dropped_total",
        "Log lines dropped, because of the rate limit or because the log reader stalled.",
    )
    .sample(&[], gauges.log_dropped);
    let uptime = Seconds(gauges.uptime.as_nanos());
    page.gauge("ipc_uptime_seconds", "Seconds since the host started.").sample(&[], uptime);
    page.gauge("ipc_build_info", "Always 1; the version is in the label.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Metrics;
    use super::*;
    use crate::metrics::{PluginGauges, WorkerGauges};

    #[test]
    fn writes_a_request_in_every_family_that_counts_it() {
        let metrics = Metrics::default();
        let cells = metrics.cells();
        let method = metrics.method_names.intern("a.\"b\"");
        cells.count_accepted(method, RequestKind::Async);
        cells.count_accepted(method, RequestKind::Async);
        cells.count_run(method, Duration::from_micros(2));
        cells.count_ended(method, RequestKind::Async, Outcome::OK);

        let text = render_page(&metrics.snapshot(), &Gauges::default());
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

    #[test]
    fn writes_the_workers_of_a_plugin_and_who_isolated_it() {
        let metrics = Metrics::default();
        let counts = |isolated_by| GenerationCounts { isolated_by, ..GenerationCounts::default() };
        metrics.plugins.set_generations([("a", counts(Some("host"))), ("b", counts(None))].into_iter());
        let worker = WorkerGauges {
            restarts: vec![("crash", 3), ("stuck", 0)],
            resident_bytes: 4096,
            calls_in_flight: 2,
        };
        let plugin = |name: &str, worker| PluginGauges {
            name: name.to_owned(),
            is_healthy: true,
            lost_threads: 0,
            worker,
        };
        let plugins = vec![plugin("a", Some(worker)), plugin("b", None)];

        let text = render_page(&metrics.snapshot(), &Gauges { plugins, ..Gauges::default() });

        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let written =
            |family: &str| samples.iter().copied().filter(|line| line.contains(family)).collect::<Vec<_>>();
        assert_eq!(written("isolated"), [r#"ipc_plugin_isolated{plugin="a",by="host"} 1"#]);
        let expected = [
            r#"ipc_plugin_worker_restarts_total{plugin="a",cause="crash"} 3"#,
            r#"ipc_plugin_worker_restarts_total{plugin="a",cause="stuck"} 0"#,
            r#"ipc_plugin_worker_resident_bytes{plugin="a"} 4096"#,
            r#"ipc_plugin_worker_calls_in_flight{plugin="a"} 2"#,
        ];
        assert_eq!(written("_worker_"), expected);
    }
}
