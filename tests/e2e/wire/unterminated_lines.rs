//! Lines without a newline: at a half-close, after a pause, and those that never end.

use serde_json::{Value, json};

use crate::support::peer::{DEADLINE_EXCEEDED, FRAME_TOO_LARGE, PARSE_ERROR, SYNC, V1_0, envelope, frame};
use crate::support::{HostBuilder, HostProcess, wait_until};

const SOCKET: &str = "run/lines.sock";

/// Returns a host whose line listener has these options.
fn host_with_lines(options: &str) -> HostBuilder {
    HostProcess::builder().plugin("counts").config(&format!(
        "[[listener]]\nsocket = \"run/jackfield.sock\"\n[[listener]]\nsocket = {SOCKET:?}\nframing = \"line\"\n\
         {options}\n[limits]\nframe = \"4KiB\"\n"
    ))
}

fn request(id: u32, method: &str) -> String {
    json!({ "id": id, "method": method, "params": { "ms": 0 } }).to_string()
}

#[test]
fn runs_a_last_line_without_a_newline_at_a_half_close_if_configured() {
    let host = host_with_lines("run_unterminated = true").start();

    for end in ["", "\r", "\n"] {
        for method in ["counts.inline", "counts.blocking", "counts.async", "no.such"] {
            let mut peer = host.line_peer(SOCKET);
            peer.send(format!("{}\n{}{end}", request(1, "system.ping"), request(2, method)));
            peer.half_close();

            assert_eq!(peer.json(), json!({ "id": 1, "result": "pong" }));
            let reply = peer.json();
            assert_eq!((&reply["id"], reply.get("result").is_some()), (&json!(2), method != "no.such"));
            assert_eq!(peer.line(), None);
        }
    }

    // Each line has one reply, whatever is wrong with it.
    for (line, code) in [("x".repeat(5000), FRAME_TOO_LARGE), ("{".to_owned(), PARSE_ERROR)] {
        let mut peer = host.line_peer(SOCKET);
        peer.send(line);
        peer.half_close();
        assert_eq!(peer.json()["error"]["code"], code);
        assert_eq!(peer.line(), None);
    }

    let mut silent = host.line_peer(SOCKET);
    silent.half_close();
    assert_eq!(silent.line(), None);
}

#[test]
fn never_runs_an_unterminated_line_of_a_disconnected_client() {
    let host = host_with_lines("run_unterminated = true").start();
    let open = || host.info()["connections_open"].as_u64();
    let before = open();

    for _ in 0..20 {
        let mut peer = host.line_peer(SOCKET);
        peer.send(request(1, "counts.inline"));
        drop(peer);
    }

    wait_until("every connection has ended", || open() == before);
    assert_eq!(host.peer().result("counts.begun", &Value::Null), 0);
}

#[test]
fn ends_a_line_by_a_pause_if_configured() {
    let host = host_with_lines("complete_after = \"500ms\"").start();
    let mut peer = host.line_peer(SOCKET);

    // A pause ends a line, also several times on one connection and behind lines with a newline.
    for id in 1..=2 {
        peer.send(format!("{}\n{}", request(0, "system.ping"), request(id, "counts.blocking")));
        assert_eq!(peer.json()["result"], "pong");
        assert_eq!(peer.json(), json!({ "id": id, "result": id }));
    }

    // Bytes that arrive without a pause belong to one line.
    let (head, tail) = ("{\"id\":3,\"method\":\"counts.", "async\",\"params\":{\"ms\":0}}");
    peer.send(head);
    peer.send(tail);
    assert_eq!(peer.json(), json!({ "id": 3, "result": 3 }));

    peer.send("x".repeat(5000));
    assert_eq!(peer.json()["error"]["code"], FRAME_TOO_LARGE);
    peer.send(format!("{}\n", request(4, "system.ping")));
    assert_eq!(peer.json()["id"], 4);
}

#[test]
fn names_the_newline_in_the_error_of_a_line_that_does_not_end() {
    let host = host_with_lines("[timeouts]\nframe = \"300ms\"").start();
    for (line, code) in
        [(request(1, "counts.inline"), DEADLINE_EXCEEDED), ("x".repeat(16_385), FRAME_TOO_LARGE)]
    {
        let mut peer = host.line_peer(SOCKET);
        peer.send(line);

        let error = peer.json()["error"].take();
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains("newline")), "{error}");
        assert_eq!(peer.line(), None);
    }
    assert_eq!(host.peer().result("counts.begun", &Value::Null), 0);
}

#[test]
fn answers_a_binary_frame_without_waiting_for_a_newline() {
    let host = host_with_lines("[timeouts]\nframe = \"24h\"").start();
    let mut peer = host.line_peer(SOCKET);
    peer.send(format!("{}\n", request(1, "system.ping")));
    peer.send(frame(V1_0, SYNC, envelope("system.ping", &Value::Null)));

    assert_eq!(peer.json()["result"], "pong");
    let error = peer.json()["error"].take();
    assert_eq!(error["code"], PARSE_ERROR);
    assert!(
        error["message"].as_str().is_some_and(|text| text.starts_with("this socket speaks lines")),
        "{error}"
    );
    assert_eq!(peer.line(), None);
}
