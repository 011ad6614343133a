//! The frames of protocol/vectors: the clients write the same bytes and refuse the invalid ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use jackfield_client::{Error, Mode, ProtocolError};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::support::calls::Settings;
use crate::support::{Call, ClientKind, ScratchDirectory};

struct Vector {
    name: String,
    headers: BTreeMap<String, String>,
    bytes: Vec<u8>,
}

impl Vector {
    fn read(path: &Path) -> Vector {
        let text = fs::read_to_string(path).unwrap();
        let mut headers = BTreeMap::new();
        let mut bytes = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(": ") {
                Some((key, value)) => drop(headers.insert(key.to_owned(), value.to_owned())),
                None => bytes.extend(line.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap())),
            }
        }
        Vector { name: path.file_stem().unwrap().to_str().unwrap().to_owned(), headers, bytes }
    }

    fn is(&self, key: &str, value: &str) -> bool {
        self.headers.get(key).is_some_and(|found| found == value)
    }
}

fn vectors() -> Vec<Vector> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocol/vectors");
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == "hex"))
        .map(|path| Vector::read(&path))
        .collect()
}

/// Reads a whole frame.
fn read_frame(peer: &mut UnixStream) -> Vec<u8> {
    let mut frame = vec![0; 7];
    peer.read_exact(&mut frame).unwrap();
    let length = u32::from_be_bytes(frame[3..].try_into().unwrap()) as usize;
    frame.resize(7 + length, 0);
    peer.read_exact(&mut frame[7..]).unwrap();
    frame
}

/// Calls a host that answers with these bytes, and returns the frame of the request and the
/// outcome.
fn exchange(client: ClientKind, call: &Call, answer: &[u8]) -> (Vec<u8>, Result<Box<RawValue>, Error>) {
    let scratch = ScratchDirectory::new();
    let listener = UnixListener::bind(scratch.join("host.sock")).unwrap();
    thread::scope(|scope| {
        let host = scope.spawn(|| {
            let (mut peer, _) = listener.accept().unwrap();
            let frame = read_frame(&mut peer);
            peer.write_all(answer).unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = peer.read_to_end(&mut Vec::new());
            frame
        });
        let settings = Settings { negotiate: false, ..Settings::default() };
        let outcome = client.perform_one(&scratch.join("host.sock"), settings, call);
        (host.join().unwrap(), outcome.result)
    })
}

/// Returns the frame of a vector with the random id and the deadline of the client's frame.
fn with_id_and_deadline(vector: &Vector, frame: &[u8]) -> Vec<u8> {
    const ID: std::ops::Range<usize> = 7..br#"{"id":"00000000-0000-0000-0000-000000000000""#.len() + 7;
    let payload = &vector.bytes[7..];
    let own = vector.headers.get("id").map_or(0, |id| r#""id":"#.len() + id.len() + 1);
    // The deadline follows the method: a comma, the name and five digits.
    let method = br#""method":"#.len() + vector.headers["method"].len();
    let (method, rest) = payload[1 + own..].split_at(method);
    let at = ID.end + 1 + method.len();
    let deadline = &frame[at..at + br#","deadline_ms":20000"#.len()];
    assert!(deadline.starts_with(br#","deadline_ms":"#), "{}", String::from_utf8_lossy(frame));
    let mut bytes = [&vector.bytes[..3], &[0; 4], &frame[ID], b",", method, deadline, rest].concat();
    let length = u32::try_from(bytes.len() - 7).unwrap();
    bytes[3..7].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// Compares every request that the clients can send: sync in 1.0, async in 1.1, params other than
/// null.
#[test]
fn the_clients_write_the_bytes_of_the_vectors() {
    let modes = [("sync", "1.0", Mode::Exclusive), ("async-request", "1.1", Mode::Multiplexed)];
    let mut compared = 0;
    for vector in vectors() {
        let mode =
            modes.iter().find(|(kind, version, _)| vector.is("kind", kind) && vector.is("version", version));
        let Some((_, _, mode)) = mode.filter(|_| {
            vector.is("request", "accepted")
                && vector.is("canonical", "yes")
                && !vector.is("params", "null")
                && !["timestamp", "deadline_ms", "traceparent", "meta"]
                    .iter()
                    .any(|member| vector.headers.contains_key(*member))
        }) else {
            continue;
        };
        // The params are raw JSON, because a number in them may be too large for a Value.
        let params = vector.headers.get("params").map_or("null", String::as_str);
        let mut call = Call::echo(*mode, Value::Null);
        call.params = RawValue::from_string(params.to_owned()).unwrap();
        call.method = serde_json::from_str(&vector.headers["method"]).unwrap();
        for client in ClientKind::BOTH {
            let (frame, _) = exchange(client, &call, &[]);
            assert_eq!(
                frame,
                with_id_and_deadline(&vector, &frame),
                "{} by the {client:?} client",
                vector.name
            );
            compared += 1;
        }
    }
    assert!(compared >= 20, "only {compared} frames were compared");
}

#[test]
fn a_heartbeat_has_the_bytes_of_its_vector() {
    let vector = vectors().into_iter().find(|vector| vector.name == "heartbeat-1.0").unwrap();
    let scratch = ScratchDirectory::new();
    let listener = UnixListener::bind(scratch.join("host.sock")).unwrap();
    thread::scope(|scope| {
        let host = scope.spawn(|| {
            let (mut peer, _) = listener.accept().unwrap();
            let frame = read_frame(&mut peer);
            peer.write_all(&frame).unwrap();
            frame
        });
        let client = jackfield_client::blocking::Client::builder(scratch.join("host.sock"));
        client.negotiate(false).build().ping().unwrap();
        assert_eq!(host.join().unwrap(), vector.bytes);
    });
}

/// Sends each vector as the reply: its header is refused, it is no valid reply, or the connection
/// ends before it is complete. A payload that is read away is not complete either.
#[test]
fn the_clients_refuse_what_the_vectors_refuse() {
    let mut refused = 0;
    let mut invalid = 0;
    // Frames of version 1.2 have no meaning for a client that was granted nothing.
    for vector in vectors().into_iter().filter(|vector| !vector.is("negotiated", "yes")) {
        for client in ClientKind::BOTH {
            let mode = if vector.is("kind", "async-response") { Mode::Multiplexed } else { Mode::Exclusive };
            let (_, result) = exchange(client, &Call::echo(mode, Value::Null), &vector.bytes);
            let error = result.expect_err(&vector.name);
            let shown = || format!("{} by the {client:?} client: {error:?}", vector.name);
            let is_discarded = vector.is("fatal", "no");
            if vector.is("expect", "refused") && !is_discarded {
                assert!(matches!(error, Error::Protocol(ProtocolError::Header(_))), "{}", shown());
                refused += 1;
            } else if vector.is("reply", "invalid") {
                assert!(matches!(error, Error::Protocol(ProtocolError::Reply(_))), "{}", shown());
                invalid += 1;
            } else if vector.is("expect", "incomplete") || is_discarded {
                assert!(matches!(error, Error::ConnectionLost { sent: true, .. }), "{}", shown());
            }
            assert!(!error.is_retryable() || error.remote().is_some(), "{}", shown());
        }
    }
    assert!(refused >= 10 && invalid >= 4, "only {refused} refused headers and {invalid} invalid replies");
}
