//! What the page contains.

use std::time::Duration;

use super::super::Metrics;
use super::*;

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
    let worker =
        WorkerGauges { restarts: vec![("crash", 3), ("stuck", 0)], resident_bytes: 4096, calls_in_flight: 2 };
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
