//! The shutdown during a reload: no further step of a reload begins, and every operator who waits
//! gets a reply.

use rustix::process::Signal;
use serde_json::json;

use crate::support::peer::INTERNAL_ERROR;
use crate::support::slow_start::Marks;
use crate::support::{HostProcess, Peer, admin, wait_until};

/// Reloads that wait when the host receives the signal, the one that is executed included.
const RELOADS: usize = 4;

/// Starts a host whose plugin `slow` hangs in its next `start`, in the probe or in the host.
fn with_hanging_plugin(process: &str) -> (HostProcess, Marks) {
    // No time-out ends the reload.
    let builder = HostProcess::builder().config("[plugins]\nprobe = \"10m\"\n[timeouts]\nrequest = \"10m\"");
    let marks = Marks::below(builder.directory());
    marks.set("go.probe");
    marks.set("go.host");
    let host = marks.add(builder, "slow", &["go"]).start();

    marks.remove(&format!("go.{process}"));
    marks.remove("slow.probe");
    marks.remove("slow.host");
    (host, marks)
}

/// Sends reloads of the plugin, which are executed one after another.
fn send_reloads(host: &HostProcess) -> Peer {
    let mut operator = admin::connect(host);
    for number in 0..RELOADS {
        operator.send_async(&number.to_string(), "admin.plugin.reload", &json!({ "name": "slow" }));
    }
    operator
}

/// Asserts that the reload in progress was refused because the host ends, and that the others were
/// answered with an error.
fn assert_answered(operator: &mut Peer, host: &HostProcess) {
    let mut replies = operator.receive_until_close();
    replies.sort_by_key(|reply| reply.id());
    assert_eq!(replies.len(), RELOADS, "{replies:?}");

    let refused = replies[0].result()[0]["refused"].clone();
    assert_eq!(refused["reason"], "host-ends", "{refused}");
    for reply in &replies[1..] {
        reply.error(INTERNAL_ERROR);
    }
    assert!(!host.log_contains("refused"), "no plugin is at fault: {}", host.log());
}

#[test]
fn ends_the_running_probe_and_begins_none_of_the_waiting_reloads() {
    let (mut host, marks) = with_hanging_plugin("probe");
    let mut operator = send_reloads(&host);
    let probe = marks.wait_for("slow.probe");

    host.signal(Signal::TERM);

    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    assert_answered(&mut operator, &host);
    wait_until("the probe process has ended", || !probe.exists());
    assert!(!marks.is_set("slow.host"), "the plugin was not started");
}

#[test]
fn gives_up_a_start_and_begins_none_of_the_waiting_reloads() {
    for has_second_signal in [false, true] {
        let (mut host, marks) = with_hanging_plugin("host");
        let mut operator = send_reloads(&host);
        marks.wait_for("slow.host");
        marks.remove("slow.probe");

        host.signal(Signal::TERM);
        host.wait_for_log("stopping on SIGTERM");
        if has_second_signal {
            host.signal(Signal::TERM);
        }

        assert_eq!(host.wait().code(), Some(0), "{}", host.log());
        if !has_second_signal {
            assert_answered(&mut operator, &host);
        }
        assert!(!marks.is_set("slow.probe"), "no further probe began");
        assert!(host.log_contains("still started when the host ended"), "{}", host.log());
    }
}
