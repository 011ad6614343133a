//! No thread of the host uses a thread-local with a destructor for the first time once it works.
//! Such a use takes the lock of the dynamic loader, which the code of a plugin may hold.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::admin::{self, plugin_row};
use crate::support::http::{address, get};
use crate::support::peer::{DEADLINE_EXCEEDED, METHOD_NOT_FOUND, PLUGIN_PANICKED};
use crate::support::program::{command, finish};
use crate::support::{HostProcess, Peer, wait_until};

/// The library that reports the uses.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/containment/thread_locals.c");

const PLUGINS: [&str; 8] =
    ["services", "panics", "echoes", "uses_threads", "calls", "errors", "ready_at_once", "sleeps"];

const CONFIG: &str = "[[listener]]\nsocket = \"run/jackfield.sock\"\n\
    [[listener]]\nsocket = \"run/lines.sock\"\nframing = \"line\"\n\
    [metrics]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"trace\"\n\
    [timeouts]\ninline = \"20ms\"\n\
    [[route]]\nmethod = \"sleep.*\"\nplugin = \"sleeps\"\ntimeout = \"100ms\"\n";

/// Compiles the library into the directory of the host.
fn compile(into: PathBuf) -> PathBuf {
    let mut cc = command("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&into).args([SOURCE, "-ldl"]);
    let finished = finish(&mut cc);
    assert_eq!(finished.code, 0, "{finished:?}");
    into
}

/// Makes the plugin of each thread register a destructor, so that the thread works from then on.
fn use_each_thread(peer: &mut Peer) {
    for method in ["threads.inline", "threads.blocking", "threads.async"] {
        peer.result(method, &Value::Null);
    }
}

/// Sends requests of all kinds: results, errors, panics, log lines, nested calls, late calls.
fn send_requests(host: &HostProcess) {
    let mut peer = host.peer();
    use_each_thread(&mut peer);

    for method in ["fixture.echo", "fixture.echo_blocking", "fixture.echo_async"] {
        assert_eq!(peer.result(method, &json!("x")), "x");
        for caller in ["calls.chain", "calls.wait", "calls.inline"] {
            peer.call(caller, &json!({ "method": method, "params": 1 }));
        }
    }
    for method in ["panics.panic", "panics.panic_inline", "panics.panic_async"] {
        peer.call(method, &Value::Null).error(PLUGIN_PANICKED);
    }
    for level in ["error", "warn", "info", "debug", "trace"] {
        peer.result("services.log", &json!({ "level": level, "line": "a line" }));
    }
    peer.result("services.sleep", &json!({ "ms": 1 }));
    (0..200).for_each(|_| drop(peer.result("ready_at_once.run", &json!({}))));
    peer.call("ready_at_once.run", &json!({ "panic": true }));

    peer.call("errors.fail", &json!({ "code": -32603, "message": "m", "data": null }));
    peer.call("no.such", &Value::Null).error(METHOD_NOT_FOUND);
    peer.call("sleep.blocking", &json!({ "ms": 150 })).error(DEADLINE_EXCEEDED);
    peer.send_async("abandoned", "sleep.forever", &Value::Null);
    drop(peer);

    let mut lines = host.line_peer("run/lines.sock");
    lines.send("{\"id\":1,\"method\":\"fixture.echo\",\"params\":1}\nno json\n");
    assert!(lines.line().is_some() && lines.line().is_some());
}

/// Makes every plugin reload, which replaces the I/O threads, and waits for the retirements.
fn reload(host: &HostProcess) {
    let mut operator = admin::connect(host);
    operator.result("admin.plugin.reload", &json!({}));
    operator.call("admin.plugin.rollback", &json!({ "name": "echoes" }));
    for method in ["admin.stats", "admin.slowlog", "admin.plugin.list"] {
        operator.call(method, &Value::Null);
    }
    wait_until("the previous generations have ended", || {
        PLUGINS.iter().all(|plugin| plugin_row(host, plugin)["draining"] == json!([]))
    });
}

#[test]
fn are_used_on_each_thread_before_it_works() {
    let builder = HostProcess::builder().config(CONFIG);
    let shim = compile(builder.directory().join("thread_locals.so"));
    let report = builder.directory().join("destructors");
    let builder = builder
        .variable("LD_PRELOAD", shim.to_str().expect("a path of the test"))
        .variable("JACKFIELD_TEST_DESTRUCTORS", report.to_str().expect("a path of the test"));
    let mut host = PLUGINS.iter().fold(builder, |builder, plugin| builder.plugin(plugin)).start();
    let metrics = address(&host);

    for _ in 0..2 {
        send_requests(&host);
        for page in ["/metrics", "/healthz", "/readyz"] {
            assert_eq!(get(&metrics, page).status, 200);
        }
        reload(&host);
    }
    fs::write(host.path("config.toml"), format!("{CONFIG}[limits]\nconnections = 77\n")).expect("a change");
    host.wait_for_log("config.toml applied");
    send_requests(&host);
    host.signal(Signal::HUP);
    host.terminate();

    let report = fs::read_to_string(report).expect("the report");
    let early: BTreeSet<_> = report.lines().filter_map(|line| line.strip_prefix("early ")).collect();
    for thread in ["io:0", "control", "plugins", "output", "retire", "uses_thre:async"] {
        assert!(early.contains(thread), "{thread} is not among {early:?}");
    }
    // The library `notify` starts its threads itself. If they wait, a change is noticed later.
    let is_late = |line: &&str| line.strip_prefix("late ").is_some_and(|name| !name.starts_with("notify-"));
    let late: Vec<_> = report.lines().filter(is_late).collect();
    assert!(late.is_empty(), "{late:?}\n{report}");
}
