//! Spans of requests, and spans that clients hand over, as a collector receives them.

mod outages;
mod php;
mod reported;
mod requests;
mod sampling;

use serde_json::{Value, json};

use crate::support::{HostProcess, Peer};

/// The client's span, without the flags.
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT_SPAN: &str = "b7ad6b7169203331";

const SAMPLED: &str = "-01";
const UNSAMPLED: &str = "-00";

/// Returns a request whose client has the given trace flags.
fn traced(id: &str, method: &str, params: &Value, flags: &str) -> String {
    let traceparent = format!("{TRACE}{flags}");
    json!({"id": id, "method": method, "params": params, "traceparent": traceparent, "tracestate": "v=1"})
        .to_string()
}

/// Sends a request whose client records it, and receives the reply.
#[track_caller]
fn call_sampled(peer: &mut Peer, method: &str, params: &Value) -> crate::support::Frame {
    call_with(peer, method, params, SAMPLED)
}

#[track_caller]
fn call_with(peer: &mut Peer, method: &str, params: &Value, flags: &str) -> crate::support::Frame {
    use crate::support::peer::{SYNC, V1_1};

    peer.send_frame(V1_1, SYNC, traced("r", method, params, flags));
    peer.receive()
}

/// Replaces the configuration of a host, and waits until it is applied.
#[track_caller]
fn apply(host: &HostProcess, config: &str) {
    let count = || host.log_lines().iter().filter(|line| line.contains("config.toml applied")).count();
    let before = count();
    host.scratch().write("config.toml.new", config);
    std::fs::rename(host.path("config.toml.new"), host.path("config.toml")).expect("it is renamed");
    crate::support::wait_until("the configuration is applied", || count() > before);
}
