//! Deadlines of clients that pass while methods run: no plugin is blamed for them, in contrast to
//! time-outs of the host.

use serde_json::{Value, json};

use crate::reload::image::Image;
use crate::reload::operator::Operator;
use crate::reload::put;
use crate::support::hello::start_neighbour;
use crate::support::peer::{ASYNC_REQUEST, DEADLINE_EXCEEDED, PLUGIN_UNAVAILABLE, V1_1, frame};
use crate::support::{HostProcess, Peer, is_soak, wait_until};

/// Requests in flight at once. Some start and are late while they run, some wait meanwhile.
const WINDOW: usize = 20;

/// Breaker and probation are on, and take effect after few failures.
const CONFIG: &str = "timeouts.inline = \"10m\"\n\
    [plugins]\nwatch = false\n[plugins.probation]\ncalls = 1000000\nfailures = 10\n";

/// Text in the log of a host that blames a plugin.
const BLAME: [&str; 5] =
    ["circuit breaker", "rolled back", "past its deadline", "on the threads", "worker process"];

/// Starts a host with `calls` and `counts`, and reloads both, so that they are on probation.
fn start_reloaded(workers: &[&str], more: &str) -> (HostProcess, Operator) {
    let mut config = format!("{CONFIG}{more}");
    for plugin in ["calls", "counts"] {
        let isolation = if workers.contains(&plugin) { "worker" } else { "in-process" };
        config += &format!("[plugin.{plugin}]\nisolation = \"{isolation}\"\nbreaker = {{ failures = 10 }}\n");
    }
    let host = HostProcess::builder().plugin("calls").plugin("counts").config(&config).start();

    let mut operator = Operator::connect(&host);
    for plugin in ["calls", "counts"] {
        // Bytes behind the sections of the file make it another content with the same code.
        let image = [&Image::of(plugin).0[..], b"second"].concat();
        put(&host.path("plugins"), &image, &format!("lib{plugin}.so"));
        let verdict = operator.reload(plugin);
        assert_eq!(verdict["outcome"], "published", "{verdict}");
    }
    (host, operator)
}

/// Sends `count` requests for a method and returns the codes of the replies that are not
/// DEADLINE_EXCEEDED.
fn send(peer: &mut Peer, count: usize, method: &str, params: &Value, deadline_ms: u32) -> Vec<Option<i64>> {
    let request = |id: usize| {
        let mut envelope = json!({ "id": id, "method": method, "params": params });
        if deadline_ms > 0 {
            envelope["deadline_ms"] = deadline_ms.into();
        }
        frame(V1_1, ASYNC_REQUEST, envelope.to_string())
    };
    let mut others = Vec::new();
    for first in (0..count).step_by(WINDOW) {
        peer.send((first..first + WINDOW).flat_map(request).collect::<Vec<_>>());
        let codes = peer.receive_all(WINDOW).into_iter().map(|reply| reply.code());
        others.extend(codes.filter(|code| *code != Some(DEADLINE_EXCEEDED)));
    }
    others
}

/// Methods that take 3 ms, each in another way, and their params.
fn slow_methods() -> Vec<(&'static str, Value)> {
    let length = json!({ "ms": 3 });
    let nested = |method: &str| json!({ "method": method, "params": length });
    vec![
        ("counts.inline", length.clone()),
        ("counts.blocking", length.clone()),
        ("counts.async", length.clone()),
        ("calls.chain", nested("counts.async")),
        ("calls.chain", nested("counts.blocking")),
        ("calls.wait", nested("counts.blocking")),
        ("calls.wait", nested("counts.async")),
    ]
}

#[test]
fn leaves_a_reloaded_plugin_available_after_any_number_of_them() {
    let count = if is_soak() { 10_000 } else { 200 };
    for workers in [&[][..], &["calls", "counts"]] {
        let (host, mut operator) = start_reloaded(workers, "");
        let rows = ["calls", "counts"].map(|plugin| operator.row(plugin));
        let mut neighbour = start_neighbour(&host);
        let mut peer = host.peer();

        for (method, params) in &slow_methods() {
            let others = send(&mut peer, count, method, params, 1);
            assert_eq!(others, [], "{workers:?}: {method}");
        }

        // The requests of clients that wait longer are served as before.
        wait_until("nothing is in flight", || host.count("in_flight") == 0);
        for (method, params) in &slow_methods() {
            let reply = peer.call(method, params);
            assert!(reply.code().is_none(), "{workers:?}: {method}: {reply:?}");
        }
        for (plugin, before) in ["calls", "counts"].into_iter().zip(&rows) {
            let row = operator.row(plugin);
            for key in ["generation", "hash", "state", "refused"] {
                assert_eq!(row[key], before[key], "{workers:?}: {row}");
            }
            assert_eq!(row["state"], "probation", "{row}");
        }
        assert_eq!((host.count("plugins_rolled_back"), host.count("crashes")), (0, 0));
        let lines = host.log_lines();
        let is_blame =
            |line: &&String| !line.contains("INFO") && BLAME.iter().any(|text| line.contains(text));
        let blaming: Vec<_> = lines.iter().filter(is_blame).collect();
        assert!(blaming.is_empty(), "{workers:?}: {blaming:?}");
        assert!(neighbour.stop() > Some(0));
    }
}

#[test]
fn blames_a_plugin_for_the_time_outs_of_the_host() {
    let route = "[[route]]\nmethod = \"counts.*\"\nplugin = \"counts\"\ntimeout = \"1ms\"\n";
    for workers in [&[][..], &["counts"]] {
        let (host, mut operator) = start_reloaded(workers, route);
        let before = operator.row("counts");
        let others = send(&mut host.peer(), 200, "counts.blocking", &json!({ "ms": 3 }), 0);
        assert!(others.iter().all(|code| *code == Some(PLUGIN_UNAVAILABLE)), "{others:?}");
        wait_until("the previous content is back", || operator.row("counts")["hash"] != before["hash"]);
    }
}
