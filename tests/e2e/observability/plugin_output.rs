//! Output of plugins to stdout and stderr: it is logged within limits, and never reaches a client.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::footprint::{assert_settles_within, idle_footprint};
use crate::support::{HostProcess, Peer, wait_until};

/// Returns the logged lines of output that contain this text.
fn output(host: &HostProcess, text: &str) -> Vec<String> {
    let lines = host.log_lines().into_iter();
    lines.filter(|line| line.contains("jackfield::output: ") && line.contains(text)).collect()
}

#[test]
fn logs_output_with_the_name_of_the_plugin() {
    let host = HostProcess::with(&["prints"]);

    // Written in `start`, when no other plugin could have written it.
    let line = host.wait_for_log("jackfield::output: the fixture prints. ");
    assert!(line.contains(" INFO ") && line.contains("plugin=\"prints\""), "{line}");

    let probed = host.wait_for_log("jackfield::output: plugin prints: output in the probe: ");
    assert!(probed.contains("plugin=\"prints\"") && probed.len() < 8 * 1024, "{probed}");

    let mut peer = host.peer();
    for method in ["prints.line", "prints.line_blocking", "prints.line_async"] {
        // Each method either completes the line or is the last one to write on it.
        assert_eq!(peer.result(method, &json!(format!("written by {method}\u{1b}[31m"))), Value::Null);
        let line = host.wait_for_log(&format!("written by {method}"));
        assert!(line.contains("\\u{1b}[31m") && line.contains("plugin=\"prints\""), "{line}");
    }

    peer.assert_usable();
    assert!(host.log_lines().iter().all(|line| line.contains(" jackfield::")), "{}", host.log());
}

#[test]
fn names_no_plugin_while_several_run() {
    let host = HostProcess::with(&["prints", "sleeps"]);
    let mut peer = host.peer();

    peer.send_async("beside", "sleep.blocking", &json!({ "ms": 60_000 }));
    wait_until("the other method runs", || host.peer().result("sleep.running", &Value::Null) == 1);

    host.peer().result("prints.line_blocking", &json!("by one of two\n"));
    let line = host.wait_for_log("by one of two");
    assert!(line.contains("plugin=\"?\""), "{line}");

    drop(peer);
    // The call does not end in time, and the host does not wait for it.
}

#[test]
fn limits_the_logged_output_of_a_plugin() {
    let host = HostProcess::builder().plugin("prints").plugin("echoes").start();
    let mut peer = host.peer();
    peer.result("prints.much", &json!(1));
    wait_until("dropped output is counted", || host.count("output_dropped") > 0);
    drop(peer);

    let before = idle_footprint(host.pid());
    let is_over = AtomicBool::new(false);

    thread::scope(|scope| {
        let neighbour = scope.spawn(|| {
            let (mut accounting, mut peer, mut number) = (ReplyAccounting::default(), host.peer(), 0);
            while !is_over.load(Ordering::Relaxed) || number < 100 {
                let id = number.to_string();
                accounting.record_request(&id);
                peer.send_async(&id, "fixture.echo", &json!(number));
                let reply = peer.receive();
                assert_eq!(reply.result(), number);
                accounting.record_reply(&reply);
                number += 1;
            }
            (accounting.check(), accounting.count(None) == number)
        });

        let written = host.peer().call("prints.much", &json!(10));
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(written.result(), Value::Null);
        assert_eq!(neighbour.join().expect("the neighbour was served"), (Ok(()), true));
    });

    wait_until("all output is read", || host.count("output_dropped") > 20 << 20);
    host.wait_for_log("of plugin output dropped: more than 200 lines or 128 KiB in a second");
    let lines = output(&host, "zzzz");
    assert!(!lines.is_empty() && lines.len() < 5_000, "{} of 22,528 lines", lines.len());

    let file = host.path("run/recorder/output");
    wait_until("the file is small again", || std::fs::metadata(&file).unwrap().blocks() * 512 < 1 << 20);
    assert_settles_within(host.pid(), &before, 2048);
}

#[test]
fn logs_the_output_before_a_crash() {
    let mut host = HostProcess::with(&["prints"]);
    let mut peer = host.peer();

    peer.send_sync("prints.last", &Value::Null);
    peer.expect_close();
    host.wait();

    let before = host.log();
    host.restart_ready();

    let last_words = "the last words of the fixture";
    let after = host.log_contains(&format!("last output of the previous host: {last_words}"));
    assert!(before.contains(last_words) || after, "{before}\n--\n{}", host.log());
}

#[test]
fn logs_output_without_a_crash_record() {
    let builder = HostProcess::builder().plugin("prints").config("[plugins.crash]\nrecord = \"taken\"");
    std::fs::write(builder.directory().join("taken"), "a file where a directory should be").unwrap();
    let host = builder.start();

    Peer::connect(&host.socket()).result("prints.line", &json!("in memory alone\n"));
    host.wait_for_log("jackfield::output: in memory alone");
}
