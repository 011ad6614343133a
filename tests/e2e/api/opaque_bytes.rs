//! Params and results that are opaque bytes: methods of every kind, in the host and in a worker,
//! nested calls, and plugins that do not know them.

use serde_json::{Value, json};

use crate::support::build::root;
use crate::support::hello::{BLOCK, CAN_EXTEND, V1_2, agree};
use crate::support::host::install;
use crate::support::peer::{INTERNAL_ERROR, INVALID_PARAMS, SYNC, envelope};
use crate::support::{Frame, HostProcess, Peer};

const UNSUPPORTED_EXTENSION: i64 = -32010;
/// An extension block with the content type "bytes".
const BYTES: &[u8] = b"\0\x03\x85\x01\x03";
const KINDS: [&str; 3] = ["", "_blocking", "_async"];

/// Starts a host with the fixtures `opaque_bytes` and `calls`, both in the host or in workers.
fn start(isolation: &str) -> HostProcess {
    let mut builder = HostProcess::builder();
    for plugin in ["opaque_bytes", "calls"] {
        builder = builder.plugin(plugin).config(&format!("[plugin.{plugin}]\nisolation = \"{isolation}\"\n"));
    }
    builder.start()
}

fn connect(host: &HostProcess) -> Peer {
    let mut peer = host.peer();
    agree(&mut peer, CAN_EXTEND);
    peer
}

fn send_bytes(peer: &mut Peer, method: &str, bytes: &[u8]) -> Frame {
    let envelope = json!({ "id": "b", "method": method }).to_string();
    let length = u32::try_from(envelope.len()).unwrap();
    let payload = [BYTES, &length.to_be_bytes(), envelope.as_bytes(), bytes].concat();
    peer.send_frame(V1_2, SYNC | BLOCK, payload);
    peer.receive()
}

/// Returns the bytes of a result.
#[track_caller]
fn bytes_of(reply: &Frame) -> &[u8] {
    assert_eq!((reply.version, reply.kind), (V1_2, SYNC | BLOCK), "{reply:?}");
    let rest = reply.payload.strip_prefix(BYTES).expect("a block with the content type");
    rest.strip_prefix(b"\0\0\0\x0A{\"id\":\"b\"}").expect("an envelope with the id")
}

/// Bytes that are no UTF-8, no JSON, and contain what a frame may begin with.
fn samples() -> Vec<Vec<u8>> {
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    vec![Vec::new(), b"null".to_vec(), b"\xFF\0\n".to_vec(), all]
}

fn check_exchange(isolation: &str) {
    let host = start(isolation);
    let mut peer = connect(&host);
    for bytes in samples() {
        for kind in KINDS {
            let echo = format!("bytes.echo{kind}");
            assert_eq!(bytes_of(&send_bytes(&mut peer, &echo, &bytes)), bytes, "{echo}");
            for caller in ["calls.bytes", "calls.bytes_wait"] {
                let nested = [echo.as_bytes(), b"\n", &bytes].concat();
                assert_eq!(bytes_of(&send_bytes(&mut peer, caller, &nested)), bytes, "{caller} -> {echo}");
            }
        }
        for method in ["bytes.len", "bytes.len_blocking"] {
            assert_eq!(send_bytes(&mut peer, method, &bytes).result(), json!(bytes.len()), "{method}");
            let nested = [method.as_bytes(), b"\n", &bytes].concat();
            assert_eq!(send_bytes(&mut peer, "calls.bytes", &nested).result(), json!(bytes.len()));
        }
        assert_eq!(bytes_of(&send_bytes(&mut peer, "bytes.echo_any", &bytes)), bytes);
    }

    assert_eq!(peer.result("bytes.echo_any", &json!([1])), json!([1]));
    let error = send_bytes(&mut peer, "bytes.fail", b"abc").error(7);
    assert_eq!((&error["message"], &error["data"]), (&json!("on purpose"), &json!(3)));
    peer.assert_usable();
}

fn check_mismatches(isolation: &str) {
    let host = start(isolation);
    let mut peer = connect(&host);
    let reason = |error: &Value| error["data"]["reason"].as_str().unwrap_or_default().to_owned();

    for method in ["bytes.echo", "bytes.echo_blocking", "bytes.echo_async", "bytes.len"] {
        let error = peer.call(method, &json!([1])).error(INVALID_PARAMS);
        assert_eq!(reason(&error), "invalid type: JSON, expected opaque bytes", "{method}");
    }
    for method in ["bytes.make", "calls.wait", "calls.chain", "calls.inline", "calls.waiting"] {
        let error = send_bytes(&mut peer, method, b"null").error(INVALID_PARAMS);
        assert_eq!(reason(&error), "invalid type: opaque bytes, expected JSON", "{method}");
    }

    // A caller that expects JSON gets an error, and the log the reason.
    let make = json!({ "method": "bytes.make", "params": { "bytes": 3 } });
    for caller in ["calls.wait", "calls.chain"] {
        peer.call(caller, &make).error(INTERNAL_ERROR);
        host.wait_for_log(&format!("{caller} failed: invalid type: opaque bytes, expected JSON"));
    }

    // Bytes are for connections that agreed on them.
    let mut old = host.peer();
    let error = old.call("bytes.make", &json!({ "bytes": 3 })).error(UNSUPPORTED_EXTENSION);
    assert_eq!(error["data"], json!({ "tag": 133 }));
    old.assert_usable();
    peer.assert_usable();
}

#[test]
fn exchanges_bytes_with_methods_of_each_kind_in_the_host() {
    check_exchange("in-process");
}

#[test]
fn exchanges_bytes_with_methods_of_each_kind_in_a_worker() {
    check_exchange("worker");
}

#[test]
fn refuses_bytes_for_json_and_json_for_bytes_in_the_host() {
    check_mismatches("in-process");
}

#[test]
fn refuses_bytes_for_json_and_json_for_bytes_in_a_worker() {
    check_mismatches("worker");
}

#[test]
fn returns_bytes_for_params_of_json() {
    let host = start("in-process");
    let mut peer = connect(&host);
    peer.send_frame(
        V1_2,
        SYNC,
        json!({ "id": "b", "method": "bytes.make", "params": { "bytes": 3 } }).to_string(),
    );
    assert_eq!(bytes_of(&peer.receive()), [0xA5; 3]);

    // Without an id, the envelope is empty.
    peer.send_frame(V1_2, SYNC, envelope("bytes.make", &json!({ "bytes": 1 })));
    assert_eq!(peer.receive().payload, [BYTES, b"\0\0\0\x02{}\xA5"].concat());
}

#[test]
fn never_passes_bytes_to_a_plugin_of_the_first_api() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    for isolation in ["in-process", "worker"] {
        let config = format!("[plugin.frozen]\nisolation = \"{isolation}\"\n");
        let builder = HostProcess::builder().plugin("opaque_bytes").config(&config);
        install(
            &root().join("tests/frozen/libfrozen-api-0.1.so"),
            &builder.directory().join("plugins/libfrozen.so"),
        );
        let host = builder.start();
        let mut peer = connect(&host);

        for method in ["frozen.add", "frozen.greet", "frozen.forward_async"] {
            let error = send_bytes(&mut peer, method, b"41").error(INVALID_PARAMS);
            assert_eq!(error["data"]["reason"], "invalid type: opaque bytes, expected JSON", "{method}");
        }
        assert_eq!(peer.result("frozen.add", &json!(1)), 1, "nothing was added");

        // A result of bytes is no JSON for such a plugin.
        let make = json!({ "method": "bytes.make", "params": { "bytes": 3 } });
        for caller in ["frozen.forward", "frozen.forward_async"] {
            peer.call(caller, &make).error(INTERNAL_ERROR);
        }
        peer.assert_usable();
    }
}
