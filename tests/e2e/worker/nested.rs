//! Methods that call methods of other plugins, across the borders of processes: replies arrive
//! although every thread waits for one, and deadlines, cancellation and crashes have the same
//! effect.

use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{add_in_worker, in_worker, signal};
use crate::reload::image::Image;
use crate::reload::put;
use crate::support::peer::{DEADLINE_EXCEEDED, INTERNAL_ERROR, METHOD_NOT_FOUND, PLUGIN_CRASHED};
use crate::support::processes::children;
use crate::support::{HostBuilder, HostProcess, wait_until};

/// Calls of each client while all threads of the plugins are busy.
const CALLS: usize = 300;

fn call_of(method: &str, params: Value) -> Value {
    json!({ "method": method, "params": params })
}

/// Asserts that a plugin's error contains the code of the failed nested call.
#[track_caller]
fn assert_reports_code(error: &Value, code: i64) {
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(&format!("({code})")), "{code} in {error}");
}

/// Adds a second copy of the fixture `calls`, whose methods begin with `cally.`.
fn add_second(builder: HostBuilder) -> HostBuilder {
    let image = Image::of("calls").with_name_of_method("calls.", "cally.");
    put(&builder.directory().join("plugins"), &image.0, "libcally.so");
    builder
}

/// Starts a host with two plugins that call, of which these run in workers, and with others.
fn start(workers: &[&str], config: &str) -> HostProcess {
    let mut builder = HostProcess::builder();
    builder = add_second(builder);
    for plugin in ["calls", "echoes", "sleeps", "errors", "device", "crashes_host"] {
        builder = builder.plugin(plugin);
    }
    for plugin in workers {
        builder = builder.config(&in_worker(plugin, "", ""));
    }
    builder.config(config).start()
}

/// The ways in which two plugins can be separated.
const SEPARATIONS: [&[&str]; 3] = [&["calls"], &["cally"], &["calls", "cally"]];

#[test]
fn replies_arrive_although_every_thread_waits_for_one() {
    for workers in SEPARATIONS {
        let host = start(workers, "");

        // Both threads of each plugin that calls wait for a nested call at the same time.
        let latch = host.latch("inner");
        let inner = call_of("cally.wait", call_of("sleep.blocking_until", latch.params()));
        let mut peer = host.peer();
        for number in 0..2 {
            peer.send_async(&number.to_string(), "calls.wait", &inner);
        }
        let mut other = host.peer();
        wait_until("every thread waits", || other.result("sleep.running", &Value::Null) == 2);
        // The async thread is free, and its calls are answered meanwhile.
        let chain = call_of("cally.chain", call_of("fixture.echo_async", json!([1])));
        assert_eq!(other.result("calls.chain", &chain), json!([1]), "{workers:?}");

        latch.open();
        peer.receive_all(2).iter().for_each(|reply| assert_eq!(reply.result(), true, "{workers:?}"));
    }
}

#[test]
fn nested_calls_of_all_kinds_are_answered_under_load() {
    let targets = ["fixture.echo", "fixture.echo_blocking", "fixture.echo_async", "system.echo"];
    for workers in [&["calls", "cally", "echoes"][..], &["calls", "echoes"], &["cally", "echoes"]] {
        let host = start(workers, "");

        thread::scope(|scope| {
            for (number, (outer, inner)) in
                [("calls.wait", "cally.wait"), ("calls.chain", "cally.wait"), ("calls.wait", "cally.chain")]
                    .into_iter()
                    .enumerate()
            {
                let mut peer = host.peer();
                scope.spawn(move || {
                    for call in 0..CALLS {
                        let target = targets[(call + number) % targets.len()];
                        let params = json!({ "number": call, "text": "x".repeat(call % 7 * 20_000) });
                        let nested = call_of(inner, call_of(target, params.clone()));
                        assert_eq!(peer.result(outer, &nested), params, "{outer} -> {inner} -> {target}");
                    }
                });
            }
        });
        wait_until("every call of a call has ended", || host.count("in_flight") == 0);
    }
}

#[test]
fn a_plugin_can_be_called_by_those_that_it_calls() {
    for workers in SEPARATIONS {
        let host = start(workers, "");
        let mut peer = host.peer();

        for back in ["calls.wait", "calls.chain"] {
            let there_and_back = call_of("cally.wait", call_of(back, call_of("system.echo", json!(3))));
            assert_eq!(peer.result("calls.wait", &there_and_back), 3, "{workers:?} {back}");
        }

        let error = peer.call("calls.loop", &json!({})).error(INTERNAL_ERROR);
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains("more than 16 deep"), "{message}");
    }
}

#[test]
fn an_inline_method_of_the_same_plugin_runs_on_another_of_its_threads() {
    let host = add_in_worker(HostProcess::builder(), "calls").start();

    // The calling method occupies one of two threads.
    assert_eq!(host.peer().result("calls.wait", &call_of("calls.waiting", Value::Null)), 0);
}

#[test]
fn errors_pass_through_workers_unchanged() {
    for workers in [&[][..], &["calls", "errors", "device"]] {
        let host = start(workers, "");
        let mut peer = host.peer();

        for caller in ["calls.chain", "calls.wait"] {
            let own = call_of("errors.fail", json!({ "code": 7, "message": "seven", "data": { "a": 1 } }));
            let error = peer.call(caller, &own).error(7);
            assert_eq!((&error["message"], &error["data"]), (&json!("seven"), &json!({ "a": 1 })));

            let missing = peer.call(caller, &call_of("no.such", Value::Null)).error(INTERNAL_ERROR);
            assert_reports_code(&missing, METHOD_NOT_FOUND);
        }
    }
}

#[test]
fn the_earlier_deadline_applies_across_workers() {
    let routes = "[[route]]\nmethod = \"sleep.*\"\nplugin = \"sleeps\"\ntimeout = \"100ms\"";
    for workers in [&["calls"][..], &["sleeps"], &["calls", "sleeps"]] {
        let host = start(workers, routes);
        let mut peer = host.peer();

        for (caller, slow) in [("calls.chain", "sleep.async"), ("calls.wait", "sleep.blocking")] {
            // The inner time-out expires while the outer call has time left to report it.
            let error = peer.call(caller, &call_of(slow, json!({ "ms": 700 }))).error(INTERNAL_ERROR);
            assert_reports_code(&error, DEADLINE_EXCEEDED);
        }
    }
}

#[test]
fn the_end_of_a_call_cancels_the_calls_that_it_has_made() {
    let routes = "[[route]]\nmethod = \"calls.*\"\nplugin = \"calls\"\ntimeout = \"300ms\"";
    for workers in [&["calls"][..], &["sleeps"], &["calls", "sleeps"]] {
        let host = start(workers, routes);
        let mut peer = host.peer();

        for caller in ["calls.chain", "calls.wait"] {
            let dropped = peer.result("sleep.dropped", &Value::Null).as_u64();
            wait_until("the inner call is dropped", || {
                // Repeated, because on a busy machine the deadline may pass before the inner call
                // starts.
                let forever = call_of("sleep.forever", Value::Null);
                peer.call(caller, &forever).error(DEADLINE_EXCEEDED);
                peer.result("sleep.dropped", &Value::Null).as_u64() > dropped
            });
        }
        wait_until("every call of a call has ended", || host.count("in_flight") == 0);
    }
}

#[test]
fn a_crash_ends_the_calls_that_wait_for_it_and_those_that_it_has_made() {
    let host = start(&["calls", "crashes_host"], "");
    let mut peer = host.peer();

    for caller in ["calls.chain", "calls.wait"] {
        for method in ["crashes_host.inline", "crashes_host.blocking", "crashes_host.async"] {
            let crash = call_of(method, json!({ "how": "abort" }));
            let error = peer.call(caller, &crash).error(INTERNAL_ERROR);
            assert_reports_code(&error, PLUGIN_CRASHED);
        }
    }

    // The worker of the caller crashes while the calls that it has made run in the host.
    let host = add_in_worker(HostProcess::builder().plugin("sleeps"), "calls").start();
    let (mut peer, mut other) = (host.peer(), host.peer());
    for (number, caller) in ["calls.chain", "calls.wait"].into_iter().enumerate() {
        peer.send_async(&number.to_string(), caller, &call_of("sleep.forever", Value::Null));
    }
    wait_until("the inner calls run", || other.result("sleep.begun", &Value::Null) == 2);
    let [worker] = &children(host.pid())[..] else { panic!("one worker") };
    signal(worker.pid, Signal::ABORT);

    for reply in peer.receive_all(2) {
        assert_eq!(reply.error(PLUGIN_CRASHED)["data"]["signal_name"], "SIGABRT");
    }
    wait_until("the inner calls are dropped", || other.result("sleep.dropped", &Value::Null) == 2);
}
