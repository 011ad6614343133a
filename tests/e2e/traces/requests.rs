//! The spans of requests: their tree, their phases, and how they ended.

use serde_json::{Value, json};

use super::{CLIENT_SPAN, SAMPLED, TRACE_ID, call_sampled, traced};
use crate::support::collector::{CollectedSpan, Collector, print_tree};
use crate::support::peer::{
    ASYNC_REQUEST, DEADLINE_EXCEEDED, INTERNAL_ERROR, METHOD_NOT_FOUND, PLUGIN_PANICKED, V1_1,
};
use crate::support::wait::wait_for;
use crate::support::{HostBuilder, HostProcess, Peer};

fn host(collector: &Collector, plugins: &[&str]) -> HostBuilder {
    let builder = HostProcess::builder().config(&collector.config());
    plugins.iter().fold(builder, |builder, plugin| builder.plugin(plugin))
}

/// Returns the only span with this name.
#[track_caller]
fn named<'s>(spans: &'s [CollectedSpan], name: &str) -> &'s CollectedSpan {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {spans:?}");
    found[0]
}

/// Checks the span of the request and that of the nested call below it.
fn check_tree(spans: &[CollectedSpan], outer: &str, isolation: &str) {
    let (request, nested) = (named(spans, outer), named(spans, "fixture.echo_blocking"));
    for span in [request, nested] {
        assert_eq!(span.trace_id, TRACE_ID);
        assert_eq!(span.trace_state.as_deref(), Some("v=1"));
        assert_eq!(span.attributes["rpc.system"], "jackfield");
        assert_eq!(span.attributes["rpc.method"], span.name.as_str());
        assert_eq!(span.attributes["jackfield.outcome"], "ok");
        assert_eq!(span.attributes["rpc.jsonrpc.request_id"], "r");
        assert_eq!(
            span.attributes["jackfield.listener"].as_str().map(|path| path.ends_with(".sock")),
            Some(true)
        );
        assert_eq!(span.attributes["jackfield.peer.pid"], std::process::id());
        assert_eq!(span.attributes["jackfield.peer.uid"], rustix::process::geteuid().as_raw());
        assert_eq!(span.resource["service.name"], "jackfield");
        assert!(span.attributes["jackfield.generation"].as_u64() > Some(0));
        assert_eq!(span.error, None);

        let [(begun, event)] = &span.events[..] else { panic!("{:?}", span.events) };
        assert_eq!(event, "run");
        assert!((span.start..=span.end).contains(begun), "{span:?}");
        let micros = |name: &str| span.attributes[name].as_u64().unwrap();
        assert!(micros("jackfield.queued_us") + micros("jackfield.run_us") <= (span.end - span.start) / 1000);
    }

    assert_eq!((request.kind, request.parent_id.as_deref()), (2, Some(CLIENT_SPAN)));
    assert_eq!((nested.kind, nested.parent_id.as_ref()), (1, Some(&request.span_id)));
    assert_eq!((request.flags & 0x300, nested.flags & 0x300), (0x300, 0x100), "whose parent is remote");
    assert_eq!(request.attributes["jackfield.plugin"], "calls");
    assert_eq!(nested.attributes["jackfield.plugin"], "echoes");
    assert_eq!(nested.attributes["jackfield.isolation"], isolation);
    assert!(request.start <= nested.start && nested.end <= request.end, "{spans:?}");
}

#[test]
fn exports_the_tree_of_a_request_through_two_plugins() {
    let nested = json!({"method": "fixture.echo_blocking", "params": 7});
    for outer in ["calls.chain", "calls.wait"] {
        let collector = Collector::start();
        let host = host(&collector, &["calls", "echoes"]).start();

        assert_eq!(call_sampled(&mut host.peer(), outer, &nested).result(), 7);

        let spans = collector.wait_for(2);
        print_tree(&spans);
        assert_eq!(spans.len(), 2, "{spans:?}");
        check_tree(&spans, outer, "in-process");
    }
}

#[test]
fn exports_the_tree_of_a_request_through_workers() {
    let collector = Collector::start();
    let host = host(&collector, &["calls", "echoes"])
        .config("[plugin.calls]\nisolation = \"worker\"\n[plugin.echoes]\nisolation = \"worker\"")
        .start();

    let nested = json!({"method": "fixture.echo_blocking", "params": 7});
    assert_eq!(call_sampled(&mut host.peer(), "calls.wait", &nested).result(), 7);

    check_tree(&collector.wait_for(2), "calls.wait", "worker");
}

#[test]
fn records_an_inline_call_of_an_inline_method() {
    let collector = Collector::start();
    let host = host(&collector, &["calls", "echoes"]).start();

    let nested = json!({"method": "fixture.echo", "params": 7});
    assert_eq!(call_sampled(&mut host.peer(), "calls.inline", &nested).result(), 7);

    let spans = collector.wait_for(2);
    let (request, nested) = (named(&spans, "calls.inline"), named(&spans, "fixture.echo"));
    assert_eq!(nested.parent_id.as_ref(), Some(&request.span_id));
    assert_eq!(nested.attributes["jackfield.queued_us"], 0);
}

/// Plugins and workers see the span of the host as their parent, also in nested calls.
#[test]
fn passes_the_spans_of_the_host_on_to_plugins() {
    let nested = json!({"method": "ctx.trace_blocking"});
    for isolation in ["in-process", "worker"] {
        let collector = Collector::start();
        let config = format!("[plugin.reports_context]\nisolation = \"{isolation}\"");
        let host = host(&collector, &["calls", "reports_context"]).config(&config).start();
        let mut peer = host.peer();

        for (method, params) in [("ctx.trace_async", &Value::Null), ("calls.wait", &nested)] {
            let seen = call_sampled(&mut peer, method, params).result();
            let reporting = if method == "calls.wait" { "ctx.trace_blocking" } else { method };
            let span_id = wait_for("the span", || {
                collector
                    .wait_for(1)
                    .iter()
                    .find(|span| span.name == reporting)
                    .map(|span| span.span_id.clone())
            });
            assert_eq!(seen["traceparent"], format!("00-{TRACE_ID}-{span_id}-01"));
            assert_eq!(seen["tracestate"], "v=1");
        }
    }
}

#[test]
fn records_how_a_request_failed() {
    let collector = Collector::start();
    let host = host(&collector, &["calls", "errors", "panics", "sleeps"])
        .config("[[route]]\nmethod = \"sleep.*\"\nplugin = \"sleeps\"\ntimeout = \"50ms\"")
        .start();
    let mut peer = host.peer();

    call_sampled(&mut peer, "nowhere.at_all", &Value::Null).error(METHOD_NOT_FOUND);
    call_sampled(&mut peer, "sleep.forever", &Value::Null).error(DEADLINE_EXCEEDED);
    call_sampled(&mut peer, "panics.panic", &Value::Null).error(PLUGIN_PANICKED);
    let unknown = json!({"method": "nowhere.nested"});
    call_sampled(&mut peer, "calls.chain", &unknown).error(INTERNAL_ERROR);

    let spans = collector.wait_for(5);
    for (name, outcome, code) in [
        ("nowhere.at_all", "method_not_found", METHOD_NOT_FOUND),
        ("sleep.forever", "deadline_exceeded", DEADLINE_EXCEEDED),
        ("panics.panic", "plugin_panicked", PLUGIN_PANICKED),
        ("nowhere.nested", "method_not_found", METHOD_NOT_FOUND),
        ("calls.chain", "internal_error", INTERNAL_ERROR),
    ] {
        let span = named(&spans, name);
        assert_eq!(span.error.as_deref(), Some(outcome), "{name}");
        assert_eq!(span.attributes["jackfield.outcome"], outcome, "{name}");
        assert_eq!(span.attributes["rpc.jsonrpc.error_code"], code, "{name}");
    }
    let rejected = named(&spans, "nowhere.at_all");
    assert!(!rejected.attributes.contains_key("jackfield.plugin") && rejected.events.is_empty());
    let (caller, nested) = (named(&spans, "calls.chain"), named(&spans, "nowhere.nested"));
    assert_eq!(nested.parent_id.as_ref(), Some(&caller.span_id));
}

#[test]
fn records_a_request_whose_client_has_gone() {
    let collector = Collector::start();
    let host = host(&collector, &["sleeps"]).start();
    let mut peer = host.peer();
    peer.send_frame(V1_1, ASYNC_REQUEST, traced("a", "sleep.forever", &Value::Null, SAMPLED));
    let mut other = host.peer();
    crate::support::wait_until("the method runs", || other.result("sleep.begun", &Value::Null) == 1);

    drop(peer);

    let spans = collector.wait_for(1);
    assert_eq!(spans[0].attributes["jackfield.outcome"], "abandoned");
    assert_eq!(spans[0].error.as_deref(), Some("abandoned"));
}

#[test]
fn leaves_out_the_credentials_of_a_proxy() {
    let collector = Collector::start();
    let host = host(&collector, &["echoes"])
        .config("[[listener]]\n[[listener]]\nsocket = \"run/remote.sock\"\nremote = true")
        .start();

    call_sampled(&mut Peer::connect(&host.path("run/remote.sock")), "fixture.echo", &json!(1)).result();

    let span = &collector.wait_for(1)[0];
    assert!(span.attributes["jackfield.listener"].as_str().unwrap().ends_with("run/remote.sock"));
    assert!(!span.attributes.contains_key("jackfield.peer.uid"), "{span:?}");
}
