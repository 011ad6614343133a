//! What plugins write to stdout and stderr: in the log, bounded, and never where a client reads.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::footprint::{assert_settles_within, idle_footprint};
use crate::support::{HostProcess, Peer, wait_until};

/// The log's lines of output that contain this.
fn output(host: &HostProcess, text: &str) -> Vec<String> {
    let lines = host.log_lines().into_iter();
    lines.filter(|line| line.contains("jackfield::output: ") && line.contains(text)).collect()
}

#[test]
fn a_line_is_in_the_log_with_the_plugins_name_and_nowhere_else() {
    let host = HostProcess::with(&["prints"]);
    // Written by its start, and there is nobody else who could have.
    let said = host.wait_for_log("jackfield::output: the fixture prints. ");
    assert!(said.contains(" INFO ") && said.contains("plugin=\"prints\""), "{said}");
    let probed = host.wait_for_log("jackfield::output: in the probe: ");
    assert!(probed.contains("plugin=\"prints\"") && probed.len() < 8 * 1024, "{probed}");
    let mut peer = host.peer();
    for method in ["prints.line", "prints.line_blocking", "prints.line_async"] {
        // The end of a line comes, or nobody goes on with it.
        assert_eq!(peer.result(method, &json!(format!("written by {method}\u{1b}[31m"))), Value::Null);
        let said = host.wait_for_log(&format!("written by {method}"));
        assert!(said.contains("\\u{1b}[31m") && said.contains("plugin=\"prints\""), "{said}");
    }
    peer.assert_usable();
    assert!(host.log_lines().iter().all(|line| line.contains(" jackfield::")), "{}", host.log());
}

#[test]
fn who_wrote_is_not_guessed_while_several_run() {
    let host = HostProcess::with(&["prints", "sleeps"]);
    let mut peer = host.peer();
    peer.send_async("beside", "sleep.blocking", &json!({ "ms": 60_000 }));
    wait_until("it runs", || host.peer().result("sleep.running", &Value::Null) == 1);
    host.peer().result("prints.line_blocking", &json!("by one of two\n"));
    let said = host.wait_for_log("by one of two");
    assert!(said.contains("plugin=\"?\""), "{said}");
    drop(peer);
    // It does not end in time, and the host does not wait for it.
}

#[test]
fn ten_mebibytes_are_bounded_and_a_bystander_does_not_notice() {
    let host = HostProcess::builder().plugin("prints").plugin("echoes").start();
    let mut peer = host.peer();
    peer.result("prints.much", &json!(1));
    wait_until("what was too much is told", || host.count("output_dropped") > 0);
    drop(peer);
    let before = idle_footprint(host.pid());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let bystander = scope.spawn(|| {
            let (mut accounting, mut peer, mut number) = (ReplyAccounting::default(), host.peer(), 0);
            while !over.load(Ordering::Relaxed) || number < 100 {
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
        over.store(true, Ordering::Relaxed);
        assert_eq!(written.result(), Value::Null);
        assert_eq!(bystander.join().expect("the bystander was served"), (Ok(()), true));
    });
    wait_until("all of it is read", || host.count("output_dropped") > 20 << 20);
    host.wait_for_log("more was written to stdout and stderr than goes to the log: dropped");
    let lines = output(&host, "zzzz");
    assert!(!lines.is_empty() && lines.len() < 5_000, "{} of 22,528 lines", lines.len());
    let file = host.path("run/recorder/output");
    wait_until("the file is small again", || std::fs::metadata(&file).unwrap().blocks() * 512 < 1 << 20);
    assert_settles_within(host.pid(), &before, 2048);
}

#[test]
fn what_is_written_last_is_told_by_the_next_host_if_not_by_this_one() {
    let mut host = HostProcess::with(&["prints"]);
    let mut peer = host.peer();
    peer.send_sync("prints.last", &Value::Null);
    peer.expect_close();
    host.wait();
    let before = host.log();
    host.restart_ready();
    let words = "the last words of the fixture";
    let after = host.log_contains(&format!("the host before wrote as it died: {words}"));
    assert!(before.contains(words) || after, "{before}\n--\n{}", host.log());
}

#[test]
fn without_a_record_it_is_in_the_log_all_the_same() {
    let builder = HostProcess::builder().plugin("prints").config("[plugins.deaths]\nrecord = \"taken\"");
    std::fs::write(builder.directory().join("taken"), "a file where a directory should be").unwrap();
    let host = builder.start();
    Peer::connect(&host.socket()).result("prints.line", &json!("in memory alone\n"));
    host.wait_for_log("jackfield::output: in memory alone");
}
