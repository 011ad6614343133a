//! The line framing: one request and one reply per line, in order, for clients without headers.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::support::peer::{FRAME_TOO_LARGE, INVALID_REQUEST, METHOD_NOT_FOUND, OVERLOADED, PARSE_ERROR};
use crate::support::{CEILING, HostBuilder, HostProcess, wait_until};

const SOCKET: &str = "run/lines.sock";

fn host_with_lines() -> HostBuilder {
    let config = r#"
        [[listener]]
        socket = "run/jackfield.sock"
        [[listener]]
        socket = "run/lines.sock"
        framing = "line"
        [[listener]]
        socket = "run/once.sock"
        framing = "line"
        close_after_reply = true
        [limits]
        frame = "4KiB"
    "#;
    HostProcess::builder().plugin("echoes").plugin("sleeps").config(config)
}

#[test]
fn answers_each_line_with_one_line() {
    let host = host_with_lines().start();
    let mut peer = host.line_peer(SOCKET);

    for (line, reply) in [
        (r#"{"method":"system.ping"}"#, r#"{"result":"pong"}"#),
        (r#"{"id":"x","method":"system.echo","params":[1, 2]}"#, r#"{"id":"x","result":[1, 2]}"#),
        (
            r#"{"id":18446744073709551616,"method":"fixture.echo_blocking","params":null}"#,
            r#"{"id":18446744073709551616,"result":null}"#,
        ),
        (r#"{"id":1,"method":"fixture.echo_async","params":"é\n"}"#, r#"{"id":1,"result":"é\n"}"#),
        (r#"{"method":"no.such"}"#, r#"{"error":{"code":-32601,"message":"method not found: no.such"}}"#),
    ] {
        for end in ["\n", "\r\n", "\n\n\r\n"] {
            peer.send(format!("{line}{end}"));
            assert_eq!(peer.line().as_deref(), Some(reply));
        }
    }
}

#[test]
fn serves_clients_that_write_and_read_single_bytes() {
    let host = host_with_lines().start();
    let mut peer = host.line_peer(SOCKET);
    for byte in b"{\"method\":\"system.ping\"}\r\n" {
        peer.send([*byte]);
    }
    assert_eq!(peer.line().as_deref(), Some(r#"{"result":"pong"}"#));

    // A client that reads single bytes up to the first line end must not find a line end inside of
    // a reply.
    let mut stream = std::os::unix::net::UnixStream::connect(host.path(SOCKET)).unwrap();
    stream.set_read_timeout(Some(CEILING)).unwrap();

    for _ in 0..3 {
        stream.write_all(b"{\"method\":\"system.echo\",\"params\":\"\\n\\r\"}\n").unwrap();

        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        assert_eq!(line, b"{\"result\":\"\\n\\r\"}\n");
    }
}

#[test]
fn rejects_invalid_lines() {
    let host = host_with_lines().start();
    let mut peer = host.line_peer(SOCKET);

    let binary = b"\x01\x00\x01\x00\x00\x00\x02{}\n".as_slice();
    for (code, line) in [
        (PARSE_ERROR, b"hello\n".as_slice()),
        (PARSE_ERROR, b" \n"),
        (PARSE_ERROR, b"\xff\n"),
        (PARSE_ERROR, b"{\"method\":\"system.ping\"\n"),
        (PARSE_ERROR, binary),
        (INVALID_REQUEST, b"{}\n"),
        (METHOD_NOT_FOUND, b"{\"method\":\"system.ping \"}\n"),
    ] {
        peer.send(line);
        assert_eq!(peer.json()["error"]["code"], code, "{}", line.escape_ascii());
    }

    peer.send("{\"method\":\"system.ping\"}\n");
    assert_eq!(peer.json()["result"], "pong");
}

#[test]
fn rejects_a_long_line_in_order() {
    let host = host_with_lines().start();
    let mut peer = host.line_peer(SOCKET);
    let long = |length: usize| format!("{}\n", "x".repeat(length));
    let slow = format!("{}\n", json!({ "id": 1, "method": "sleep.blocking", "params": { "ms": 100 } }));
    let ping = "{\"id\":2,\"method\":\"system.ping\"}\n";

    // Only the order shows which line a reply belongs to.
    for length in [4097, 16_384] {
        peer.send([&slow, &*long(length), ping].concat());

        assert_eq!(peer.json()["id"], 1);
        let refused = peer.json();
        assert_eq!(refused["error"]["code"], FRAME_TOO_LARGE);
        assert_eq!(refused["error"]["data"], json!({ "limit": 4096 }));
        assert_eq!(peer.json()["id"], 2);
    }

    // Beyond four times the limit the host does not wait for the end of the line.
    peer.send([&slow, &*"x".repeat(16_385)].concat());
    assert_eq!(peer.json()["id"], 1);
    assert_eq!(peer.json()["error"]["code"], FRAME_TOO_LARGE);
    assert_eq!(peer.line(), None);
    wait_until("the closed connection is counted", || host.count("connections_cut") == 1);
}

#[test]
fn answers_lines_in_order() {
    let host = host_with_lines().start();
    let mut peer = host.line_peer(SOCKET);
    let methods = ["fixture.echo_blocking", "system.echo", "no.such", "fixture.echo_async", "fixture.echo"];
    let requests: String = (0..300)
        .map(|number| {
            format!("{}\n", json!({ "id": number, "method": methods[number % 5], "params": number }))
        })
        .collect();

    peer.send(requests);
    peer.half_close();

    for number in 0..300 {
        assert_eq!(peer.json()["id"], number);
    }
    assert_eq!(peer.line(), None, "the connection is closed after every reply");
}

#[test]
fn never_runs_an_unterminated_line() {
    let host = host_with_lines().plugin("counts").start();
    let mut peer = host.line_peer(SOCKET);

    peer.send("{\"method\":\"system.ping\"}\n{\"method\":\"counts.inline\",\"params\":{\"ms\":0}}");
    peer.half_close();

    assert_eq!(peer.json()["result"], "pong");
    assert_eq!(peer.line(), None);
    assert_eq!(host.peer().result("counts.begun", &Value::Null), 0);
}

#[test]
fn closes_after_one_reply_for_one_shot_clients() {
    let host = host_with_lines().start();
    for method in ["system.echo", "fixture.echo_blocking", "fixture.echo_async", "no.such"] {
        let mut stream = std::os::unix::net::UnixStream::connect(host.path("run/once.sock")).unwrap();
        stream.set_read_timeout(Some(CEILING)).unwrap();
        stream.write_all(format!("{}\n", json!({ "method": method, "params": 1 })).as_bytes()).unwrap();

        let mut whole = String::new();
        stream.read_to_string(&mut whole).unwrap();

        let reply: Value = serde_json::from_str(&whole).unwrap();
        assert_eq!(reply.get("result").is_some(), method != "no.such", "{reply}");
        assert_eq!(whole.matches('\n').count(), 1);
    }
}

#[test]
fn counts_long_lines_against_the_buffer_budget() {
    let config = r#"
        [[listener]]
        socket = "run/jackfield.sock"
        [[listener]]
        socket = "run/lines.sock"
        framing = "line"
        [limits]
        frame = "2MiB"
        buffers = "3MiB"
    "#;
    let host = HostProcess::builder().config(config).start();

    let mut first = host.line_peer(SOCKET);
    let (head, tail) = (r#"{"method":"system.echo","params":""#, "\"}\n");
    // A complete line is served, although it uses a large part of the budget.
    let text = "x".repeat(1 << 20);
    first.send([head, &text, tail].concat());
    assert_eq!(first.json()["result"], *text);

    // An incomplete line leaves no room for a second one.
    first.send([head, &text].concat());
    wait_until("the line is buffered", || host.count("buffered_bytes") >= 1 << 20);

    let mut second = host.line_peer(SOCKET);
    second.send([head, &text[..900_000]].concat());
    second.send(&text[..200_000]);

    let refused = second.json();
    assert_eq!(refused["error"]["code"], OVERLOADED, "{refused}");
    assert_eq!(second.line(), None);

    first.send(tail);
    assert_eq!(first.json()["result"], *text);
    drop(first);

    wait_until("nothing is buffered", || host.count("buffered_bytes") == 0);
    host.peer().assert_usable();
}
