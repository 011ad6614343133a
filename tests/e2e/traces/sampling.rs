//! Which requests are recorded.

use serde_json::{Value, json};

use super::{UNSAMPLED, apply, call_sampled, call_with};
use crate::support::collector::{CollectedSpan, Collector};
use crate::support::wait::wait_for;
use crate::support::{HostProcess, Peer};

#[test]
fn follows_the_flag_of_the_client() {
    let collector = Collector::start();
    // The ratio applies to requests without a traceparent alone.
    let config = format!("{}sample = 1\n", collector.config());
    let host = HostProcess::builder().plugin("echoes").config(&config).start();
    let mut peer = host.peer();

    for _ in 0..20 {
        call_with(&mut peer, "fixture.echo", &json!(0), UNSAMPLED).result();
        call_with(&mut peer, "fixture.echo_async", &json!(0), UNSAMPLED).result();
    }
    call_sampled(&mut peer, "fixture.echo_blocking", &json!(1)).result();

    let names: Vec<_> = collector.wait_for(1).into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["fixture.echo_blocking"]);
}

/// Sends a request that is recorded in any case, and returns all spans once this is the last of
/// `count` such requests. The spans of a connection are exported in the order of their ends.
fn after_marker(collector: &Collector, peer: &mut Peer, count: usize) -> Vec<CollectedSpan> {
    call_sampled(peer, "fixture.echo_blocking", &json!(1)).result();
    wait_for("the marker", || {
        let spans = collector.wait_for(count);
        let markers = spans.iter().filter(|span| span.name == "fixture.echo_blocking").count();
        (markers == count).then_some(spans)
    })
}

#[test]
fn records_a_part_of_the_requests_without_a_trace() {
    const CALLS: usize = 1000;
    let collector = Collector::start();
    let config = |sample: &str| format!("{}sample = {sample}\n", collector.config());
    let host = HostProcess::builder().plugin("echoes").config(&config("0.25")).start();
    let mut peer = host.peer();
    let call = |peer: &mut Peer, count: usize| {
        (0..count).for_each(|number| assert_eq!(peer.result("fixture.echo", &json!(number)), number));
    };

    call(&mut peer, CALLS);
    // The host's own methods begin no trace.
    peer.result("system.info", &Value::Null);
    let recorded = after_marker(&collector, &mut peer, 1).len() - 1;
    assert!((CALLS / 8..CALLS / 2).contains(&recorded), "{recorded}");

    apply(&host, &format!("{}\n[io]\nthreads = 2\n", config("\"parent\"")));
    call(&mut peer, CALLS);
    let mut spans = after_marker(&collector, &mut peer, 2);
    assert_eq!(spans.len(), recorded + 2, "a reload applies the new rule");

    spans.truncate(recorded);
    let roots = spans;
    assert!(roots.iter().all(|span| span.parent_id.is_none() && span.name == "fixture.echo"));
    let mut traces: Vec<_> = roots.iter().map(|span| &span.trace_id).collect();
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), recorded, "each has a trace of its own");
    assert!(roots.iter().all(|span| span.flags & 0x301 == 1));
}

#[test]
fn records_nothing_without_a_collector() {
    let host = HostProcess::builder().plugin("echoes").config("[trace]\nsample = 1.0").start();
    call_sampled(&mut host.peer(), "fixture.echo", &json!(1)).result();
    assert_eq!((host.count("spans_exported"), host.count("spans_dropped_queue_full")), (0, 0));
    let is_exporter = |name: &String| name == "trace";
    let threads = std::fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap();
    let names = threads.flatten().map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        name.trim().to_owned()
    });
    assert_eq!(names.filter(is_exporter).count(), 0);
}

#[test]
fn warns_that_a_new_collector_requires_a_restart() {
    let collector = Collector::start();
    let host = HostProcess::builder().config(&collector.config()).start();
    apply(&host, "[trace]\notlp = \"http://127.0.0.1:1\"\n[io]\nthreads = 2\n");
    host.wait_for_log("[trace] changed; restart the host to apply it");
}
