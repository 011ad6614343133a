//! `inline` methods that block their I/O thread: the host replaces the thread and demotes the
//! method.

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::admin::plugin_row;
use crate::support::footprint::{Footprint, assert_released, connections, idle_footprint};
use crate::support::peer::DEADLINE_EXCEEDED;
use crate::support::threads::threads;
use crate::support::{HostProcess, wait_until};

const CONFIG: &str = "[timeouts]\ninline = \"20ms\"\ndrain = \"100ms\"\n";

/// Returns the number of I/O threads of the host.
fn io_threads(host: &HostProcess) -> usize {
    threads(host.pid()).iter().filter(|thread| thread.name.starts_with("io:")).count()
}

#[test]
fn replaces_a_stalled_thread_and_demotes_the_method() {
    let config = format!(
        "{CONFIG}[[route]]\nmethod = \"crash.hold\"\nplugin = \"crashes\"\ntimeout = \"200ms\"\n\
         [plugin.crashes.breaker]\nfailures = 0"
    );

    let host = HostProcess::builder().plugin("crashes").plugin("echoes").config(&config).start();
    let threads = io_threads(&host);

    let mut held = host.peer();
    held.send_async("held", "crash.hold", &Value::Null);

    let line = host.wait_for_log("crash.hold (inline, plugin crashes) has blocked I/O thread ");
    for field in ["plugin=\"crashes\"", "method=\"crash.hold\"", "generation="] {
        assert!(line.contains(field), "{field} in {line}");
    }

    let line = host.wait_for_log("another thread takes its place");
    assert!(line.contains("replaced=true"), "{line}");

    assert!(line.contains("method=\"crash.hold\""), "{line}");
    assert!(line.contains("later calls run on the threads of plugin crashes"), "{line}");

    wait_until("another thread takes over", || io_threads(&host) == threads + 1);

    let crashes = plugin_row(&host, "crashes");
    assert_eq!(
        (&crashes["state"], &crashes["held_threads"], &crashes["moved"]),
        (&json!("unhealthy"), &json!(1), &json!(["crash.hold"]))
    );

    // New connections are served, and a call of that method is answered as well.
    let mut accounting = ReplyAccounting::default();
    let mut peers: Vec<_> = (0..4 * threads).map(|_| host.peer()).collect();

    for (number, peer) in peers.iter_mut().enumerate() {
        let id = number.to_string();
        accounting.record_request(&id);
        peer.send_async(&id, "fixture.echo", &json!(number));
        accounting.record_reply(&peer.receive());
    }

    assert_eq!((accounting.check(), accounting.count(None)), (Ok(()), peers.len()));

    peers[0].call("crash.hold", &Value::Null).error(DEADLINE_EXCEEDED);
    peers[0].assert_usable();

    // The stall is reported repeatedly, at growing intervals.
    wait_until("the stall is reported again", || {
        host.log().matches("clients of the blocked thread").count() == 2
    });
    assert_eq!(host.log().matches("has blocked I/O thread").count(), 3, "{}", host.log());
    assert_eq!(host.log().matches("another thread takes its place").count(), 2, "{}", host.log());
}

#[test]
fn migrates_connections_of_a_thread_that_returns_late() {
    // The call takes longer than `timeouts.inline`, but ends before the time-out of its request.
    let host = HostProcess::builder().plugin("counts").plugin("echoes").config(CONFIG).start();

    let (mut held, mut other) = (host.peer(), host.peer());
    other.assert_usable();
    drop(other);

    assert_eq!(plugin_row(&host, "counts")["state"], "serving");
    let (threads, before) = (io_threads(&host), footprint_without(&host, 1));

    // Two seconds are long enough for the host to detect the stall on a busy machine, too.
    held.send_async("held", "counts.inline", &json!({ "ms": 2000 }));
    held.send_async("behind", "fixture.echo", &json!(1));

    host.wait_for_log("another thread takes its place");
    assert_eq!(plugin_row(&host, "counts")["held_threads"], 1);

    let replies = held.receive_all(2);
    assert_eq!(replies.iter().map(|reply| reply.id().unwrap()).collect::<Vec<_>>(), ["held", "behind"]);
    assert!(replies.iter().all(|reply| reply.code().is_none()), "{replies:?}");

    // The connection continues on another I/O thread, and the method runs on a thread of its plugin
    // now.
    held.assert_usable();
    wait_until("the plugin is healthy again", || plugin_row(&host, "counts")["state"] == "serving");
    assert_eq!(plugin_row(&host, "counts")["moved"], json!(["counts.inline"]));
    wait_until("the thread has ended", || io_threads(&host) == threads);

    drop(held);
    idle_footprint(host.pid());
    // The two threads of the plugin for blocking methods exist from now on, with their stacks.
    let expected = Footprint { threads: before.threads + 2, mappings: before.mappings + 8, ..before };
    assert_released(host.pid(), &expected);
}

/// Returns the footprint of the host without the `open` connections of this test.
fn footprint_without(host: &HostProcess, open: usize) -> Footprint {
    wait_until("there are no other connections", || connections(host.pid()) == open);
    let now = Footprint::of(host.pid());
    Footprint { descriptors: now.descriptors - open, ..now }
}
