//! The methods of a plugin see the same of a request in the host, in a worker, and through calls
//! from plugin to plugin.

use serde_json::{Value, json};

use crate::support::hello::{BLOCK, CAN_EXTEND, V1_2, agree};
use crate::support::peer::{SYNC, V1_1};
use crate::support::{HostProcess, Peer};

/// The plugins that run in workers.
const PLACES: [&[&str]; 4] = [&[], &["calls"], &["subject"], &["calls", "subject"]];

/// Lengths of which the last one travels to and from a worker in a memory file.
const LENGTHS: [usize; 4] = [0, 1, 5_000, 1 << 20];

fn start(subject: &str, workers: &[&str], config: &str) -> HostProcess {
    let isolation = |name| if workers.contains(&name) { "worker" } else { "in-process" };
    let config = format!(
        "{config}\n[plugin.calls]\nisolation = \"{}\"\n[plugin.{subject}]\nisolation = \"{}\"\n",
        isolation("calls"),
        isolation("subject")
    );
    HostProcess::builder().plugin("calls").plugin(subject).config(&config).start()
}

/// Calls `method` with everything that a request may carry, and returns its result.
#[track_caller]
fn result(peer: &mut Peer, method: &str, params: &Value) -> Value {
    let envelope = json!({
        "method": method,
        "params": params,
        "deadline_ms": 20_000,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "vendor=value",
        "meta": { "tenant": "seven", "é": "\"" },
    });
    peer.send_frame(V1_1, SYNC, envelope.to_string());
    peer.receive().result()
}

#[test]
fn shows_a_method_who_asks_and_what_came_with_the_request() {
    let [uid, gid] = [rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()];
    for workers in PLACES {
        let host = start("reports_context", workers, "");
        let mut peer = host.peer();
        let listener = host.socket();
        let credentials = json!({ "listener": listener, "uid": uid, "gid": gid, "pid": std::process::id() });
        let expected = [
            ("ctx.caller", json!({ "local": credentials })),
            ("ctx.meta", json!({ "tenant": "seven", "é": "\"" })),
            (
                "ctx.trace",
                json!({
                    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                    "tracestate": "vendor=value",
                }),
            ),
        ];
        for (report, expected) in expected {
            for kind in ["", "_blocking", "_async"] {
                let method = format!("{report}{kind}");
                assert_eq!(result(&mut peer, &method, &Value::Null), expected, "{method}: {workers:?}");
                for through in ["calls.wait", "calls.chain"] {
                    let nested = json!({ "method": method, "params": null });
                    assert_eq!(result(&mut peer, through, &nested), expected, "{method}: {workers:?}");
                }
            }
        }

        let nested = json!({ "method": "ctx.remaining_blocking", "params": null });
        let remaining = result(&mut peer, "calls.wait", &nested);
        assert!(remaining.as_u64().is_some_and(|ms| ms <= 20_000), "{remaining}");
        // A request without all that follows on the same connection.
        assert_eq!(peer.result("ctx.meta_blocking", &Value::Null), json!({}));
        let none = json!({ "traceparent": null, "tracestate": null });
        assert_eq!(peer.result("ctx.trace_blocking", &Value::Null), none);
    }
}

#[test]
fn tells_the_callers_of_many_connections_apart() {
    let config = "[[listener]]\nsocket = \"run/jackfield.sock\"\n\
        [[listener]]\nsocket = \"run/other.sock\"\n\
        [[listener]]\nsocket = \"run/remote.sock\"\nremote = true\n";
    let host = start("reports_context", &["subject"], config);
    let sockets = ["run/jackfield.sock", "run/other.sock", "run/remote.sock"].map(|name| host.path(name));
    let mut peers: Vec<_> =
        (0..300).map(|number| (number % 3, Peer::connect(&sockets[number % 3]))).collect();
    for _ in 0..2 {
        for (number, peer) in &mut peers {
            let caller = peer.result("ctx.caller_blocking", &Value::Null);
            let place = if *number == 2 { "remote" } else { "local" };
            assert_eq!(caller[place]["listener"], json!(sockets[*number]), "{caller}");
        }
    }
}

/// Sends a request with opaque bytes and returns the content type and the body of its reply.
#[track_caller]
fn call_bytes(peer: &mut Peer, method: &str, bytes: &[u8]) -> (u8, Vec<u8>) {
    let envelope = json!({ "id": "7", "method": method }).to_string();
    let mut payload = vec![0, 3, 0x85, 1, 3];
    payload.extend_from_slice(&u32::try_from(envelope.len()).unwrap().to_be_bytes());
    payload.extend_from_slice(envelope.as_bytes());
    payload.extend_from_slice(bytes);
    peer.send_frame(V1_2, SYNC | BLOCK, payload);

    let reply = peer.receive();
    if reply.kind == SYNC {
        return (0, reply.payload);
    }
    assert_eq!((reply.kind, &reply.payload[..5]), (SYNC | BLOCK, &[0, 3, 0x85, 1, 3][..]));
    let (length, rest) = reply.payload[5..].split_first_chunk::<4>().unwrap();
    let (envelope, bytes) = rest.split_at(u32::from_be_bytes(*length) as usize);
    assert_eq!(envelope, br#"{"id":"7"}"#);
    (3, bytes.to_vec())
}

#[test]
fn carries_opaque_bytes_into_workers_and_back() {
    for workers in [&[][..], &["subject"]] {
        let host = start("opaque_bytes", workers, "");
        let mut peer = host.peer();
        agree(&mut peer, CAN_EXTEND);
        for length in LENGTHS {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            for method in ["bytes.echo", "bytes.echo_blocking", "bytes.echo_async", "bytes.echo_any"] {
                assert_eq!(call_bytes(&mut peer, method, &bytes), (3, bytes.clone()), "{method}");
            }
            let expected = json!({ "id": "7", "result": length }).to_string();
            let (content, reply) = call_bytes(&mut peer, "bytes.len_blocking", &bytes);
            assert_eq!((content, String::from_utf8(reply).unwrap()), (0, expected));
        }

        let (content, reply) = call_bytes(&mut peer, "bytes.fail", b"1234");
        let reply: Value = serde_json::from_slice(&reply).unwrap();
        assert_eq!((content, &reply["error"]["code"], &reply["error"]["data"]), (0, &json!(7), &json!(4)));
    }
}
