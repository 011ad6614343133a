//! The envelope: ids are echoed byte for byte, params are forwarded unchanged, and invalid requests
//! are rejected.

use serde_json::{Value, json};

use crate::support::peer::{
    ASYNC_REQUEST, ASYNC_RESPONSE, ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, SYNC, V1_0, V1_1,
    envelope_with, frame,
};
use crate::support::{Frame, HostProcess, Peer, wait_until};

/// Sends an envelope as a sync and as an async request and returns both replies.
fn send_both(peer: &mut Peer, envelope: &[u8]) -> (Frame, Frame) {
    peer.send_frame(V1_0, SYNC, envelope);
    peer.send_frame(V1_1, ASYNC_REQUEST, envelope);
    let (sync, asynchronous) = (peer.receive(), peer.receive());
    assert_eq!((sync.version, sync.kind), (V1_0, SYNC), "{sync:?}");
    assert_eq!(asynchronous.version, V1_1);
    (sync, asynchronous)
}

#[test]
fn echoes_ids_unchanged() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();

    let long_string = format!("\"{}\"", "x".repeat(126));
    let long_integer = "9".repeat(128);
    let ids = [
        r#""4f9c2a7be1d84036a5c07d1e93b8f264""#,
        r#""3f2504e0-4f89-41d3-9a0c-0305e82c3301""#,
        r#""""#,
        r#""\u00e9\/\ud83d\ude00 \" \\ \n""#,
        r#""é/😀""#,
        r#""\ud800""#,
        r#""\u0000""#,
        "0",
        "-0",
        "-1",
        "9007199254740993",
        "18446744073709551616",
        "-340282366920938463463374607431768211457",
        &long_string,
        &long_integer,
    ];

    for id in ids {
        let envelope = format!(r#"{{"method":"system.ping","id":{id}}}"#);
        let wanted = format!(r#"{{"id":{id},"result":"pong"}}"#);

        let (sync, asynchronous) = send_both(&mut peer, envelope.as_bytes());
        assert_eq!(sync.text(), wanted);
        assert_eq!((asynchronous.kind, asynchronous.text()), (ASYNC_RESPONSE, &*wanted));

        // An error echoes the id, too.
        let envelope = format!(r#"{{"id":{id},"method":"no.such"}}"#);

        let (sync, asynchronous) = send_both(&mut peer, envelope.as_bytes());

        let begins = format!(r#"{{"id":{id},"error":{{"code":-32601,"#);
        assert!(sync.text().starts_with(&begins), "{sync:?}");
        assert!(asynchronous.text().starts_with(&begins), "{asynchronous:?}");
    }

    peer.assert_usable();
}

#[test]
fn rejects_invalid_ids() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();

    let too_long = format!("\"{}\"", "x".repeat(127));
    let huge = format!("\"{}\"", "x".repeat(1 << 20));
    let digits = "9".repeat(129);
    for id in ["null", "true", "1.0", "1e3", "[1]", r#"{"a":1}"#, &too_long, &huge, &digits] {
        let envelope = format!(r#"{{"id":{id},"method":"system.ping"}}"#);

        let (sync, asynchronous) = send_both(&mut peer, envelope.as_bytes());
        for reply in [&sync, &asynchronous] {
            reply.error(INVALID_REQUEST);
            assert_eq!(reply.json().get("id"), None, "{reply:?}");
        }
        // A reply without an id cannot be assigned to an async request, so it is an error frame.
        assert_eq!(asynchronous.kind, ERROR);
    }

    // A missing id is permitted for a sync request of either version, but not for an async one.
    for version in [V1_0, V1_1] {
        peer.send_frame(version, SYNC, r#"{"method":"system.ping"}"#);
        let reply = peer.receive();
        assert_eq!((reply.version, reply.kind, reply.text()), (version, SYNC, r#"{"result":"pong"}"#));
        peer.send_frame(version, ASYNC_REQUEST, r#"{"method":"system.ping"}"#);
        let reply = peer.receive();
        assert_eq!((reply.version, reply.kind), (version, ERROR));
        reply.error(INVALID_REQUEST);
    }
    peer.assert_usable();
}

/// Returns a request whose params are nested arrays of this depth.
fn nested(depth: usize) -> Vec<u8> {
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    format!(r#"{{"id":1,"method":"system.ping","params":{open}{close}}}"#).into_bytes()
}

#[test]
fn rejects_invalid_requests_and_keeps_the_connection() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();

    let deep_member = format!(r#"{{"id":1,"method":"m","x":{}1{}}}"#, "[".repeat(128), "]".repeat(128));
    let unclosed = "[".repeat(100_000);

    let cases: &[(i64, &[u8])] = &[
        (PARSE_ERROR, b""),
        (PARSE_ERROR, b" \n"),
        (PARSE_ERROR, b"{"),
        (PARSE_ERROR, b"{]"),
        (PARSE_ERROR, br#"{"method":"m"}}"#),
        (PARSE_ERROR, br#"{"method":"m"} {"method":"m"}"#),
        (PARSE_ERROR, br#"{"method":"m",}"#),
        (PARSE_ERROR, br#"{'method':'m'}"#),
        (PARSE_ERROR, br#"{"method":"m","params":NaN}"#),
        (PARSE_ERROR, br#"{"method":"m","params":Infinity}"#),
        (PARSE_ERROR, br#"{"method":"m","params":01}"#),
        (PARSE_ERROR, b"{\"method\":\"m\"}\0"),
        (PARSE_ERROR, b"{\"method\":\"m\0\"}"),
        (PARSE_ERROR, b"{\"method\":\"m\n\"}"),
        (PARSE_ERROR, b"\xef\xbb\xbf{\"method\":\"m\"}"),
        (PARSE_ERROR, b"{\"method\":\"m\",\"params\":\"\xff\"}"),
        (PARSE_ERROR, b"{\"method\":\"m\",\"params\":\"\xed\xa0\x80\"}"),
        (PARSE_ERROR, b"{\"method\":\"m\",\"params\":\"\xc0\xaf\"}"),
        (PARSE_ERROR, b"\x80\x02}q\x00"),
        (INVALID_REQUEST, unclosed.as_bytes()),
        (INVALID_REQUEST, b"[]"),
        (INVALID_REQUEST, b"null"),
        (INVALID_REQUEST, b"1"),
        (INVALID_REQUEST, br#""{\"method\":\"m\"}""#),
        (INVALID_REQUEST, br#"[{"method":"m"}]"#),
        (INVALID_REQUEST, b"{}"),
        (INVALID_REQUEST, br#"{"method":null}"#),
        (INVALID_REQUEST, br#"{"method":1}"#),
        (INVALID_REQUEST, br#"{"method":["m"]}"#),
        (INVALID_REQUEST, br#"{"method":""}"#),
        (INVALID_REQUEST, br#"{"method":"\ud800"}"#),
        (INVALID_REQUEST, br#"{"method":"m","method":"m"}"#),
        (INVALID_REQUEST, br#"{"method":"m","\u006dethod":"m"}"#),
        (INVALID_REQUEST, br#"{"method":"m","params":1,"params":2}"#),
        (INVALID_REQUEST, br#"{"id":1,"method":"m","id":2}"#),
        (INVALID_REQUEST, deep_member.as_bytes()),
    ];
    for (code, payload) in cases {
        let (sync, asynchronous) = send_both(&mut peer, payload);
        for reply in [sync, asynchronous] {
            let error = reply.error(*code);
            assert!(!error["message"].as_str().unwrap().is_empty());
        }
        peer.assert_usable();
    }

    let requests = 3 * cases.len() as u64;
    assert_eq!(host.count("errors"), 2 * cases.len() as u64);
    assert!(host.count("requests") >= requests);
}

#[test]
fn limits_nesting_exactly() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();

    // The envelope is the first of 128 levels.
    for depth in [1, 100, 127] {
        peer.send_frame(V1_0, SYNC, nested(depth));
        assert_eq!(peer.receive().result(), "pong", "{depth}");
    }

    for depth in [128, 129, 1000, 100_000] {
        peer.send_frame(V1_0, SYNC, nested(depth));
        let reply = peer.receive();
        reply.error(INVALID_REQUEST);
        assert_eq!(reply.json()["id"], 1, "the id is known: {reply:?}");
    }

    peer.assert_usable();
}

#[test]
fn forwards_params_unchanged() {
    let host = HostProcess::with(&["echoes"]);
    let mut peer = host.peer();

    let written = [
        "9007199254740993",
        "18446744073709551616",
        "-9223372036854775809",
        "1e400",
        "-0",
        "-0.0",
        "0.1000000000000000055511151231257827",
        "1E+2",
        r#""\u0041\/\ud83d\ude00""#,
        r#"{"a":1,"a":2}"#,
        r#"[ 1 , 2,	3 ]"#,
        "null",
        "true",
    ];

    for method in ["system.echo", "fixture.echo", "fixture.echo_blocking", "fixture.echo_async"] {
        for params in written {
            peer.send_frame(V1_0, SYNC, format!(r#"{{"method":"{method}","params":{params}}}"#));
            assert_eq!(peer.receive().text(), format!(r#"{{"result":{params}}}"#), "{method}");
        }
    }
}

#[test]
fn ignores_unknown_members_and_the_order() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    for envelope in [
        r#"{"jsonrpc":"2.0","method":"system.ping","id":1,"timestamp":1700000000.5}"#,
        r#" { "params" : {} , "x":{"method":"y","id":2}, "id" : 1 , "method" : "system.ping" } "#,
        r#"{"id":1,"\u006dethod":"system.\u0070ing","ID":7,"Method":"no","params":null}"#,
    ] {
        peer.send_frame(V1_0, SYNC, envelope);
        assert_eq!(peer.receive().text(), r#"{"id":1,"result":"pong"}"#, "{envelope}");
    }
}

#[test]
fn rejects_unknown_method_names() {
    let host = HostProcess::builder()
        .plugin("echoes")
        .config("[[route]]\nmethod = \"fixture.large\"\nplugin = \"echoes\"\nenabled = false")
        .start();
    let mut peer = host.peer();

    let longest = "m".repeat(256);

    for method in [
        "no.such",
        "fixture.large",
        "system",
        "system.",
        ".system.ping",
        "system..ping",
        "system.ping.",
        "System.Ping",
        "system.PING",
        " system.ping",
        "system.ping ",
        "system.ping\0",
        "../system.ping",
        "system/ping",
        "*",
        "fixture.*",
        "%s%n",
        "\u{1b}[31m",
        &longest,
    ] {
        let reply = peer.call(method, &Value::Null);
        assert_eq!(reply.error(METHOD_NOT_FOUND)["message"], format!("method not found: {method}"));
    }

    peer.call(&"m".repeat(257), &Value::Null).error(INVALID_REQUEST);
    assert!(!host.log_contains("\u{1b}"), "what a client sends must not reach a terminal");
    peer.assert_usable();
}

#[test]
fn rejects_an_id_that_is_in_flight() {
    let host = HostProcess::with(&["sleeps"]);
    let mut peer = host.peer();

    let latch = host.latch("first");
    peer.send_async("a", "sleep.async_until", &latch.params());
    peer.send_async("a", "sleep.async", &json!({ "ms": 0 }));
    peer.send_async("a", "system.ping", &Value::Null);

    // A sync request with the same id is rejected as well. Another spelling is another id.
    peer.send_frame(V1_0, SYNC, envelope_with("a", "system.ping", &Value::Null));
    peer.send_frame(V1_1, ASYNC_REQUEST, r#"{"id":"\u0061","method":"system.ping"}"#);

    let early = peer.receive_all(4);
    for refused in &early[..3] {
        refused.error(INVALID_REQUEST);
        assert_eq!(refused.id().as_deref(), Some("a"));
    }

    assert_eq!((early[2].kind, early[3].kind), (SYNC, ASYNC_RESPONSE));
    assert_eq!(early[3].text(), r#"{"id":"\u0061","result":"pong"}"#);

    latch.open();
    let first = peer.receive();
    assert_eq!((first.kind, first.id().as_deref(), first.result()), (ASYNC_RESPONSE, Some("a"), json!(true)));

    // After the reply the id can be used again.
    peer.send_async("a", "sleep.async", &json!({ "ms": 0 }));
    assert_eq!(peer.receive().result(), 0);
}

#[test]
fn separates_equal_ids_of_two_connections() {
    const TRIALS: usize = 20_000;
    const BATCH: usize = 200;
    let host = HostProcess::with(&["echoes"]);
    let mut peers = [host.peer(), host.peer()];

    for batch in 0..TRIALS / BATCH {
        let ids = (0..BATCH).map(|at| batch * BATCH + at);
        for (number, peer) in peers.iter_mut().enumerate() {
            let requests = ids.clone().flat_map(|id| {
                let method = if id % 8 == 0 { "fixture.echo_blocking" } else { "fixture.echo_async" };
                frame(V1_1, ASYNC_REQUEST, envelope_with(&id.to_string(), method, &json!([number, id])))
            });
            peer.send(requests.collect::<Vec<u8>>());
        }

        for (number, peer) in peers.iter_mut().enumerate() {
            let mut seen: Vec<usize> = peer
                .receive_all(BATCH)
                .iter()
                .map(|reply| {
                    let id: usize = reply.id().unwrap().parse().unwrap();
                    assert_eq!(reply.result(), json!([number, id]), "an answer for the other connection");
                    id
                })
                .collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(ids.clone()), "each id once");
        }
    }
    wait_until("nothing is in flight", || host.count("in_flight") == 0);
}
