//! `/readyz`: it reports the reason while plugins are loading, while the host drains, and while a
//! plugin is unhealthy.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::http::{address, get};
use crate::support::peer::PLUGIN_UNAVAILABLE;
use crate::support::scrape::Scrape;
use crate::support::{HostProcess, wait_until};

#[track_caller]
fn assert_not_ready(address: &str, why: &str) {
    let response = get(address, "/readyz");
    assert_eq!((response.status, response.body.as_str()), (503, format!("{why}\n").as_str()));
    assert_eq!(get(address, "/healthz").status, 200, "the host is alive");
}

#[test]
fn is_not_ready_while_plugins_are_loading() {
    let config = "[metrics]\nlisten = \"127.0.0.1:0\"\n[plugins]\nprobe = \"3s\"";
    let config = format!("{config}\n[plugin.start_faults.settings]\nfault = \"hang\"");
    let host = HostProcess::builder().plugin("start_faults").config(&config).spawn();
    let address = address(&host);

    assert_not_ready(&address, "the host is starting: plugins are being loaded");
    Scrape::of(&address);

    wait_until("the host is ready", || get(&address, "/readyz").status == 200);
    host.peer().assert_usable();
}

#[test]
fn is_not_ready_while_draining() {
    let mut host = super::host(&["sleeps"], "");
    let address = address(&host);
    let mut peer = host.peer();

    peer.send_sync("sleep.forever", &Value::Null);
    wait_until("the request is in flight", || Scrape::of(&address).value("ipc_in_flight", &[]) == 1);
    host.signal(Signal::TERM);

    wait_until("the host drains", || get(&address, "/readyz").status == 503);
    assert_not_ready(&address, "the host is draining: it answers requests in flight and accepts no new ones");

    let scrape = Scrape::of(&address);
    assert_eq!((scrape.value("ipc_in_flight", &[]), scrape.value("ipc_connections", &[])), (1, 1));

    host.signal(Signal::TERM);
    assert!(host.wait().success());
    peer.receive();
}

#[test]
fn is_not_ready_while_a_circuit_breaker_is_open() {
    let config = "[plugins.probation]\ncalls = 0\n[plugin.panics.breaker]\nfailures = 3\nopen = \"1m\"";
    let host = super::host(&["panics", "echoes"], config);
    let address = address(&host);
    assert_eq!(get(&address, "/readyz").status, 200);

    let mut peer = host.peer();
    wait_until("the circuit breaker is open", || {
        peer.call("panics.panic_inline", &Value::Null).code() == Some(PLUGIN_UNAVAILABLE)
    });

    let response = get(&address, "/readyz");
    assert_eq!(response.status, 503);
    assert!(response.body.starts_with("plugin panics: generation "), "{response:?}");
    assert!(
        response.body.ends_with(": the circuit breaker is open because too many calls failed\n"),
        "{response:?}"
    );

    let scrape = Scrape::of(&address);
    let healthy = |plugin| scrape.value("ipc_plugin_healthy", &[("plugin", plugin)]);
    assert_eq!((healthy("panics"), healthy("echoes")), (0, 1));
    assert!(scrape.value("ipc_rejected_total", &[("reason", "plugin_unavailable")]) >= 1);
}

#[test]
fn is_not_ready_while_a_plugin_has_no_thread() {
    let config = r#"
        [plugin.counts]
        threads = 1
        spare_threads = 0
        [plugin.counts.breaker]
        failures = 0
        [[route]]
        method = "counts.held"
        plugin = "counts"
        timeout = "50ms"
    "#;
    let host = super::host(&["counts"], config);
    let address = address(&host);
    let mut peer = host.peer();

    wait_until("the thread is lost", || {
        // On a busy machine the deadline may pass before a thread starts the call. Then no thread
        // is lost.
        peer.call("counts.held", &json!(null));
        get(&address, "/readyz").status == 503
    });

    let response = get(&address, "/readyz");
    assert!(response.body.starts_with("plugin counts: generation "), "{response:?}");
    assert!(response.body.ends_with(": every thread is stuck in a call past its deadline\n"), "{response:?}");
    assert_eq!(Scrape::of(&address).value("ipc_plugin_lost_threads", &[("plugin", "counts")]), 1);

    peer.result("counts.release", &Value::Null);
    wait_until("the host is ready again", || get(&address, "/readyz").status == 200);
}
