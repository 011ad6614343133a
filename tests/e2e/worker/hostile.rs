//! Worker processes that send what no worker may send, or nothing: the host ends them, answers
//! their calls, and serves everyone else.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::background::BackgroundThread;
use crate::support::build::{artifacts, program_of};
use crate::support::footprint::{Footprint, idle_footprint};
use crate::support::peer::{DEADLINE_EXCEEDED, PLUGIN_CRASHED, PLUGIN_UNAVAILABLE, UNSUPPORTED_EXTENSION};
use crate::support::wait::poll_within;
use crate::support::{CEILING, HostProcess, Peer, wait_until};

/// A method with a long time-out, and two with a short one. The hostile process does not run them.
const PATIENT: &str = "fixture.echo_blocking";
const BLOCKING: &str = "fixture.large";
const ASYNC: &str = "fixture.echo_async";

/// Memory that the allocator may keep of a flood, in KiB: the host keeps 64 MiB of the params of
/// nested calls, and as much of their replies.
const KEPT_KIB: usize = 128 << 10;

fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    // Built after the others: two concurrent builds would wait for one another.
    PROGRAM.get_or_init(|| {
        artifacts();
        program_of("hostile-worker")
    })
}

/// Starts a host with a hostile plugin, and two neighbours: one in the host, one in a worker.
fn start(settings: &str, config: &str) -> HostProcess {
    let routes = [BLOCKING, ASYNC].map(|method| {
        format!("[[route]]\nmethod = \"{method}\"\nplugin = \"echoes\"\ntimeout = \"300ms\"\n")
    });
    let config = format!(
        "log.level = \"info\"\nlimits.frame = \"1MiB\"\n{config}\n\
        [[listener]]\nsocket = \"run/jackfield.sock\"\n\
        [[listener]]\nsocket = \"run/line.sock\"\nframing = \"line\"\n\
        [plugin.hello]\nisolation = \"worker\"\n\
        [plugin.echoes]\nisolation = \"worker\"\nbreaker = {{ failures = 0 }}\n\
        worker = {{ grace = \"100ms\" }}\n\
        [plugin.echoes.settings]\n{settings}\n{}",
        routes.concat()
    );
    let builder = HostProcess::builder().program(program()).config(&config);
    builder.plugin("echoes").plugin("device").plugin("hello").plugin("sleeps").start()
}

fn act(what: &str) -> Value {
    json!({ "do": what })
}

/// Makes the worker answer a call, so that it is replaced at once when it ends.
#[track_caller]
fn assert_answers(peer: &mut Peer) {
    assert_eq!(peer.result(PATIENT, &act("answer")), "answered");
}

/// Calls both neighbours until it is dropped, and checks each result.
fn call_neighbours(host: &HostProcess) -> BackgroundThread<u64> {
    let mut peer = host.peer();
    BackgroundThread::start(move |stopped| {
        let mut count = 0;
        while !stopped.load(Ordering::Relaxed) {
            assert_eq!(peer.result("device.list", &json!({}))["total"], 0);
            assert_eq!(peer.result("hello.greet", &json!({ "name": "Ada" })), "hello, Ada");
            count += 1;
        }
        count
    })
}

/// Asserts that the descriptors of all workers that ended are closed, and what they sent is gone.
#[track_caller]
fn assert_released(host: &HostProcess, before: &Footprint) {
    let released = poll_within(CEILING, || {
        let now = Footprint::of(host.pid());
        let has_room = now.threads <= before.threads && now.resident <= before.resident + KEPT_KIB;
        (has_room && now.descriptors == before.descriptors).then_some(())
    });
    assert!(released.is_some(), "before {before:?}, after {:?}", Footprint::of(host.pid()));
}

/// Waits until the host has logged these texts in one line after the first `seen` bytes.
#[track_caller]
fn wait_for_line(host: &HostProcess, seen: usize, texts: [&str; 2]) {
    wait_until(format!("the host logs {texts:?}"), || {
        host.log()[seen..].lines().any(|line| texts.iter().all(|text| line.contains(text)))
    });
}

#[test]
fn kills_a_worker_that_violates_its_protocol() {
    let host = start("", "");
    let before = idle_footprint(host.pid());
    let mut peer = host.peer();
    let mut neighbours = call_neighbours(&host);

    for (what, reason) in [
        ("garbage", "unknown version"),
        ("huge-length", "a frame has 4294967295 bytes, more than"),
        ("huge-file", "a frame has 18446744073709551615 bytes, more than"),
        ("no-length", "does not have the length of its memory file"),
        ("unknown-kind", "no message has the kind 0x7f"),
        ("kind-of-the-host", "no message has the kind 0x22"),
        ("truncated", "a field is truncated"),
        ("surplus", "bytes after its last field"),
        ("no-text", "a field has an invalid value"),
        ("unknown-content", "a field has an invalid value"),
        ("unknown-nested-content", "a field has an invalid value"),
        ("large-bytes", "a result is larger than limits.frame"),
        ("bytes-of-a-phase", "opaque bytes as the end of a phase"),
        ("no-json", "a result is not JSON"),
        ("no-utf-8", "a result is not JSON"),
        ("too-large", "a result is larger than limits.frame"),
        ("foreign-end", "the end for a call that it does not have"),
        ("end-of-call-0", "the end for a call that it does not have"),
        ("foreign-nested", "a nested call for a call that it does not have"),
        ("same-nested", "a nested call with a number that is in use"),
        ("unread-replies", "makes nested calls and does not read the replies"),
        ("late-step", "a step of the start, which is not expected now"),
        ("late-ready", "a step of the start, which is not expected now"),
        ("phase-end", "the end of a phase, which is not expected now"),
        ("unsealed", "its memory file is not sealed"),
        ("writable", "its memory file is not sealed"),
        ("own-socket", "its memory file is not sealed"),
        ("other-length", "has 200000 bytes instead of 200001"),
        ("no-file", "a descriptor that did not come with it"),
        ("many-files", "descriptors were lost"),
        ("zeros", "a result is not JSON"),
    ] {
        assert_answers(&mut peer);
        let seen = host.log().len();

        let crashed = peer.call(PATIENT, &act(what)).error(PLUGIN_CRASHED);

        assert_eq!(crashed["data"]["plugin"], "echoes", "{what}: {crashed}");
        wait_for_line(&host, seen, ["violated its protocol", reason]);
    }

    assert_answers(&mut peer);
    assert!(neighbours.stop() > Some(0));
    drop(peer);
    assert_released(&host, &before);
}

#[test]
fn answers_the_calls_of_a_worker_that_ends_in_the_middle() {
    let host = start("", "");
    let mut peer = host.peer();
    let mut neighbours = call_neighbours(&host);

    for (what, code) in [("cut", 0), ("exit", 3), ("heir", 0)] {
        assert_answers(&mut peer);
        peer.send_async("bystander", PATIENT, &act("silence"));
        peer.send_async("subject", PATIENT, &act(what));
        for reply in peer.receive_all(2) {
            assert_eq!(reply.error(PLUGIN_CRASHED)["data"]["exit_code"], code, "{what}");
        }
    }

    assert_answers(&mut peer);
    assert!(neighbours.stop() > Some(0));
}

#[test]
fn answers_at_the_deadline_what_a_worker_does_not_answer() {
    let host = start("", "");
    let before = idle_footprint(host.pid());
    let mut peer = host.peer();
    let mut neighbours = call_neighbours(&host);

    for method in [BLOCKING, ASYNC] {
        for what in ["silence", "cancelled", "stop", "deaf", "flood"] {
            peer.call(method, &act(what)).error(DEADLINE_EXCEEDED);

            // A call that this worker still gets ends with it.
            wait_until("another worker answers", || {
                let reply = peer.call(PATIENT, &act("answer"));
                assert!([None, Some(PLUGIN_CRASHED)].contains(&reply.code()), "{what}: {reply:?}");
                reply.code().is_none()
            });
        }
    }

    assert!(neighbours.stop() > Some(0));
    drop(peer);
    assert_released(&host, &before);
}

#[test]
fn never_waits_for_a_worker_that_does_not_read() {
    let host = start("", "");
    let mut peer = host.peer();
    let mut neighbours = call_neighbours(&host);
    assert_answers(&mut peer);

    // More than its socket holds, in frames and in memory files.
    peer.send_async("deaf", ASYNC, &act("deaf"));
    let padding = ["x".repeat(20_000), "x".repeat(300_000)];
    for number in 0..60 {
        let params = json!({ "do": "answer", "padding": padding[number % 2] });
        peer.send_async(&number.to_string(), ASYNC, &params);
    }

    let replies = peer.receive_all(61);
    // Calls that were not sent to it are answered by the next worker.
    let is_expected = |code| [None, Some(DEADLINE_EXCEEDED), Some(PLUGIN_CRASHED)].contains(&code);
    assert!(replies.iter().all(|reply| is_expected(reply.code())), "{replies:?}");
    let deaf = replies.iter().find(|reply| reply.id().as_deref() == Some("deaf"));
    assert_eq!(deaf.and_then(|reply| reply.code()), Some(DEADLINE_EXCEEDED));
    assert_answers(&mut peer);
    assert!(neighbours.stop() > Some(0));
}

#[test]
fn answers_each_request_once_whatever_a_worker_sends_for_it() {
    let host = start("", "");
    let mut peer = host.peer();
    let mut neighbours = call_neighbours(&host);

    assert_eq!(peer.result(PATIENT, &act("byte-by-byte")), "slowly");
    let seen = host.log().len();
    assert_eq!(peer.result(PATIENT, &act("second-end")), "first");
    wait_for_line(&host, seen, ["violated its protocol", "the end for a call that it does not have"]);
    assert_answers(&mut peer);
    peer.assert_usable();

    // Opaque bytes, which this connection has not asked for.
    let refused = peer.call(PATIENT, &act("bytes")).error(UNSUPPORTED_EXTENSION);
    assert_eq!(refused["data"], json!({ "tag": 133 }));
    assert_answers(&mut peer);

    // Nested calls that are answered, and one whose number is in use.
    assert_eq!(peer.result(PATIENT, &act("many-nested")), "answered");
    assert_answers(&mut peer);

    // A line break in a result does not end the line of the reply.
    let mut lines = host.line_peer("run/line.sock");
    let request = json!({ "id": "1", "method": PATIENT, "params": act("lines-of-json") });
    lines.send(format!("{request}\n"));
    let reply = lines.json();
    assert_eq!(reply["id"], "1");
    assert_eq!(reply["result"], json!([{ "id": "x", "result": 1 }]));
    assert!(neighbours.stop() > Some(0));
}

#[test]
fn refuses_a_plugin_whose_worker_does_not_start_properly() {
    for (settings, reason) in [
        ("garbage", "unknown version"),
        ("huge-length", "a frame has 4294967295 bytes, more than"),
        ("end", "the end for a call that it does not have"),
        ("exit", "ended with exit code 0 in hostility"),
        ("cut", "ended with exit code 0 in hostility"),
        ("described", "a part of a description, which is not expected now"),
        ("silence", "did not start in a worker process within plugins.probe"),
        ("unknown-reason", "and has lines"),
        ("lines", "ended with exit code 0"),
        ("long-text", "long text long text"),
    ] {
        // Only silence lasts as long. The neighbours need a part of the time.
        let probe = if settings == "silence" { "plugins.probe = \"5s\"" } else { "" };
        let host = start(&format!("start = \"{settings}\""), probe);
        let mut peer = host.peer();

        let refused = host.wait_for_log("libechoes.so refused");

        assert!(refused.contains(reason), "{settings}: {refused}");
        peer.call(PATIENT, &act("answer")).error(PLUGIN_UNAVAILABLE);
        assert_eq!(peer.result("hello.greet", &json!({ "name": "Ada" })), "hello, Ada");
        assert!(refused.len() < 30_000, "{settings}: {} bytes", refused.len());
        let log = host.log();
        assert!(!log.contains('\x1b'), "{settings}: {log}");
        assert!(
            !log.lines().any(|line| line.starts_with("of lines") || line.starts_with("and has")),
            "{log}"
        );
    }
}

#[test]
fn starts_a_worker_again_that_describes_itself_wrongly() {
    let host = start("start = \"description\"", "");

    assert_answers(&mut host.peer());
    host.wait_for_log("failed while it described its methods; another one starts");
    let missing = host.wait_for_log(" is unknown: it is ");
    assert!(!missing.contains('\x1b') && missing.contains("and has lines"), "{missing}");
    assert!(host.log_contains("its description lacks "), "{}", host.log());
}

#[test]
fn kills_a_worker_that_is_ready_twice() {
    let host = start("start = \"ready-twice\"", "");
    host.wait_for_log("a step of the start, which is not expected now");
    assert_eq!(host.peer().result("hello.greet", &json!({ "name": "Ada" })), "hello, Ada");
}
