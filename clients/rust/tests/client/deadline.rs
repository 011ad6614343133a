//! One deadline for a whole call, in whatever phase it passes.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use jackfield_client::{Client, Error, Mode, Phase, blocking};
use serde_json::{Value, json};

use crate::support::calls::{Settings, runtime};
use crate::support::{Call, ClientKind, Outcome, ScratchDirectory, Server, WAIT_LIMIT};

const SHORT: Duration = Duration::from_millis(200);
const MODES: [Mode; 2] = [Mode::Multiplexed, Mode::Exclusive];

/// Returns the phase of a call that timed out, and whether its request may have arrived.
#[track_caller]
fn timed_out(Outcome { result, took }: Outcome) -> (Phase, bool) {
    assert!(took >= SHORT && took < WAIT_LIMIT, "{took:?}");
    match result.unwrap_err() {
        Error::Timeout { phase, sent } => (phase, sent),
        error => panic!("{error:?}"),
    }
}

/// Returns both clients, each in both modes.
fn combinations() -> impl Iterator<Item = (ClientKind, Mode)> {
    ClientKind::BOTH.into_iter().flat_map(|client| MODES.map(|mode| (client, mode)))
}

#[test]
fn a_call_times_out_while_it_writes() {
    for (client, mode) in combinations() {
        // The kernel accepts the connection and a buffer of data, which no server reads.
        let scratch = ScratchDirectory::new();
        let socket = scratch.join("host.sock");
        let _listener = UnixListener::bind(&socket).unwrap();

        let call = Call::echo(mode, "x".repeat(4 << 20).into()).timeout(SHORT);
        let (phase, sent) = timed_out(client.perform_one(&socket, Settings::default(), &call));
        // An exclusive call closes its connection, so that the rest is never sent. A shared
        // connection sends it.
        assert_eq!((phase, sent), (Phase::Write, mode == Mode::Multiplexed));
    }
}

#[test]
fn a_call_times_out_while_it_waits_for_the_reply() {
    for (client, mode) in combinations() {
        let server = Server::play(&json!([[{"silence": true}]]));
        let call = Call::echo(mode, json!(1)).timeout(SHORT);
        let outcome = client.perform_one(&server.socket, Settings::default(), &call);
        assert_eq!(timed_out(outcome), (Phase::Reply, true));
    }
}

#[test]
fn a_call_times_out_while_it_reads() {
    for (client, mode) in combinations() {
        let server = Server::play(&json!([[{"expect": "any"}, {"send": "010101"}, {"silence": true}]]));
        let call = Call::echo(mode, json!(1)).timeout(SHORT);
        let outcome = client.perform_one(&server.socket, Settings::default(), &call);
        assert_eq!(timed_out(outcome), (Phase::Reply, true));
    }
}

#[test]
fn a_call_without_time_is_not_sent() {
    for (client, mode) in combinations() {
        let server = Server::play(&json!([[{"serve": "fifo"}]]));
        let call = Call::echo(mode, json!(1)).timeout(Duration::ZERO);
        let error = client.perform_one(&server.socket, Settings::default(), &call).result.unwrap_err();
        assert!(matches!(error, Error::Timeout { phase: Phase::Connect, sent: false }), "{error:?}");
        assert!(server.finish().requests().is_empty());
    }
}

#[test]
fn a_silent_host_does_not_delay_the_next_call() {
    for (client, mode) in combinations() {
        let server = Server::play(&json!([[{"silence": true}], [{"serve": "fifo"}]]));
        let first = Call { name: "first".into(), ..Call::echo(mode, json!("first")).timeout(SHORT) };
        let second = Call { name: "second".into(), alone: true, ..Call::echo(mode, json!("second")) };

        let settings = Settings { connections: 1, ..Settings::default() };
        let mut outcomes = client.perform(&server.socket, settings, &[first, second]);
        timed_out(outcomes.remove("first").unwrap());
        assert_eq!(outcomes.remove("second").unwrap().result.unwrap().get(), "\"second\"");
    }
}

#[test]
fn an_unanswered_heartbeat_times_out() {
    let server = Server::play(&json!([[{"expect": "heartbeat"}, {"silence": true}]]));
    let client = blocking::Client::builder(&server.socket).timeout(SHORT).build();
    assert!(matches!(client.ping(), Err(Error::Timeout { phase: Phase::Reply, .. })));

    runtime().block_on(async {
        let client = Client::builder(&server.socket).timeout(SHORT).build();
        assert!(matches!(client.ping().await, Err(Error::Timeout { phase: Phase::Reply, .. })));
    });
}

/// Returns the failure of a call to a host that closes its connection after one byte.
fn call_to_a_closing_host(
    client: ClientKind,
    listener: &UnixListener,
    socket: &ScratchDirectory,
    call: &Call,
) -> Error {
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut peer, _) = listener.accept().unwrap();
            peer.read_exact(&mut [0; 1]).unwrap();
        });
        let outcome = client.perform_one(&socket.join("host.sock"), Settings::default(), call);
        outcome.result.unwrap_err()
    })
}

/// A host that closes a connection with unread bytes resets it (ECONNRESET). One that had closed it
/// before breaks the pipe (EPIPE). Both are a lost connection, but in the second case the host
/// certainly does not have the request.
#[test]
fn a_lost_connection_reports_whether_the_request_was_sent() {
    let scratch = ScratchDirectory::new();
    let listener = UnixListener::bind(scratch.join("host.sock")).unwrap();
    for (client, mode) in combinations() {
        // An incomplete request is sent again until the deadline; this listener accepts no second
        // connection.
        let large = Call::echo(mode, "x".repeat(1 << 20).into()).timeout(SHORT);
        let error = call_to_a_closing_host(client, &listener, &scratch, &large);
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        assert!(mode == Mode::Multiplexed || error.is_retryable(), "{error:?}");

        // The second attempt left a connection in the backlog.
        listener.set_nonblocking(true).unwrap();
        while listener.accept().is_ok() {}
        listener.set_nonblocking(false).unwrap();

        let small = Call::echo(mode, json!(1));
        let error = call_to_a_closing_host(client, &listener, &scratch, &small);
        let Error::ConnectionLost { sent: true, source: Some(source), then: None } = error else {
            panic!("{error:?}")
        };
        assert_eq!(source.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

/// The error reply asks for a delay that ends after the deadline.
#[test]
fn a_retry_delay_beyond_the_deadline_is_not_awaited() {
    let scratch = ScratchDirectory::new();
    let listener = UnixListener::bind(scratch.join("host.sock")).unwrap();
    let reply = br#"{"error":{"code":-32002,"message":"busy","data":{"retry_after_ms":60000}}}"#;
    for client in ClientKind::BOTH {
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut peer, _) = listener.accept().unwrap();
                peer.read_exact(&mut [0; 7]).unwrap();
                let length = u32::try_from(reply.len()).unwrap().to_be_bytes();
                peer.write_all(&[&[1, 0, 1][..], &length, reply].concat()).unwrap();
                peer.read_to_end(&mut Vec::new()).unwrap();
            });
            let call = Call::echo(Mode::Exclusive, json!(1));
            let outcome = client.perform_one(&scratch.join("host.sock"), Settings::default(), &call);
            assert!(outcome.took < Settings::default().timeout, "{outcome:?}");

            let error = outcome.result.unwrap_err();
            assert_eq!(error.code(), Some(-32002));
            let data: Value =
                serde_json::from_str(error.remote().unwrap().data.as_ref().unwrap().get()).unwrap();
            assert_eq!(data, json!({"retry_after_ms": 60_000}));
        });
    }
}
