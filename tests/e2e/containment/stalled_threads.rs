//! An `inline` method that does not return, noticed while it holds a thread that serves
//! connections.

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::admin::plugin_row;
use crate::support::footprint::{Footprint, assert_settles, connections, idle_footprint};
use crate::support::peer::DEADLINE_EXCEEDED;
use crate::support::threads::threads;
use crate::support::{HostProcess, wait_until};

const CONFIG: &str = "[timeouts]\ninline = \"20ms\"\ndrain = \"100ms\"\n";

/// Threads of the host that serve connections.
fn io_threads(host: &HostProcess) -> usize {
    threads(host.pid()).iter().filter(|thread| thread.name.starts_with("io:")).count()
}

#[test]
fn one_that_never_returns_is_told_with_its_name_moved_and_its_thread_replaced() {
    let config = format!(
        "{CONFIG}[[route]]\nmethod = \"crash.hold\"\nplugin = \"crashes\"\ntimeout = \"200ms\"\n\
         [plugin.crashes.breaker]\nfailures = 0"
    );
    let host = HostProcess::builder().plugin("crashes").plugin("echoes").config(&config).start();
    let threads = io_threads(&host);
    let mut held = host.peer();
    held.send_async("held", "crash.hold", &Value::Null);
    let told = host.wait_for_log("inline, and holds an I/O thread, for ");
    for field in ["plugin=\"crashes\"", "method=\"crash.hold\"", "generation="] {
        assert!(told.contains(field), "{field} in {told}");
    }
    let told = host.wait_for_log("the thread's connections are not served meanwhile");
    assert!(told.contains("replaced=true"), "{told}");
    let moved = host.wait_for_log("it is blocking from now on");
    assert!(moved.contains("method=\"crash.hold\""), "{moved}");
    wait_until("another has taken its place", || io_threads(&host) == threads + 1);
    let crashes = plugin_row(&host, "crashes");
    assert_eq!(
        (&crashes["state"], &crashes["held_threads"], &crashes["moved"]),
        (&json!("unhealthy"), &json!(1), &json!(["crash.hold"]))
    );

    // Whoever comes now is served; also who asks for that very method is answered.
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
    // It is told again, ever more rarely.
    wait_until("it is told again", || host.log().matches("not served meanwhile").count() == 2);
    assert_eq!(host.log().matches("inline, and holds an I/O thread, for ").count(), 3, "{}", host.log());
}

#[test]
fn one_that_returns_late_hands_its_connections_on_and_leaves_nothing() {
    // Too long for its thread, and in time for its client.
    let host = HostProcess::builder().plugin("counts").plugin("echoes").config(CONFIG).start();
    let (mut held, mut other) = (host.peer(), host.peer());
    other.assert_usable();
    drop(other);
    assert_eq!(plugin_row(&host, "counts")["state"], "serving");
    let (threads, before) = (io_threads(&host), at_rest_but(&host, 1));
    // Long enough to be noticed also by a machine that is busy with something else.
    held.send_async("held", "counts.inline", &json!({ "ms": 2000 }));
    held.send_async("behind", "fixture.echo", &json!(1));
    host.wait_for_log("the thread's connections are not served meanwhile");
    assert_eq!(plugin_row(&host, "counts")["held_threads"], 1);
    let replies = held.receive_all(2);
    assert_eq!(replies.iter().map(|reply| reply.id().unwrap()).collect::<Vec<_>>(), ["held", "behind"]);
    assert!(replies.iter().all(|reply| reply.code().is_none()), "{replies:?}");
    // The connection lives on elsewhere, and the method runs elsewhere from now on.
    held.assert_usable();
    wait_until("the plugin is well again", || plugin_row(&host, "counts")["state"] == "serving");
    assert_eq!(plugin_row(&host, "counts")["moved"], json!(["counts.inline"]));
    wait_until("the thread has gone", || io_threads(&host) == threads);
    drop(held);
    idle_footprint(host.pid());
    // The two threads that a blocking method needs are there from now on, with their stacks.
    let expected = Footprint { threads: before.threads + 2, mappings: before.mappings + 8, ..before };
    assert_settles(host.pid(), &expected);
}

/// What the host holds while so many connections of ours are open.
fn at_rest_but(host: &HostProcess, open: usize) -> Footprint {
    wait_until("nobody else is connected", || connections(host.pid()) == open);
    let now = Footprint::of(host.pid());
    Footprint { descriptors: now.descriptors - open, ..now }
}
