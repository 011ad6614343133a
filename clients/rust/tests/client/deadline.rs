//! One deadline over a whole call, whatever it is doing when it passes.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use jackfield_client::{Client, Error, Mode, Phase, blocking};
use serde_json::{Value, json};

use crate::support::calls::{Settings, runtime};
use crate::support::{CEILING, Call, Front, Outcome, Scratch, Server};

const SHORT: Duration = Duration::from_millis(200);
const MODES: [Mode; 2] = [Mode::Multiplexed, Mode::Exclusive];

/// What the call was doing, and whether its request may have arrived.
#[track_caller]
fn late(Outcome { result, took }: Outcome) -> (Phase, bool) {
    assert!(took >= SHORT && took < CEILING, "{took:?}");
    match result.unwrap_err() {
        Error::Timeout { phase, sent } => (phase, sent),
        error => panic!("{error:?}"),
    }
}

/// Every way to make a call.
fn ways() -> impl Iterator<Item = (Front, Mode)> {
    Front::BOTH.into_iter().flat_map(|front| MODES.map(|mode| (front, mode)))
}

#[test]
fn while_it_writes() {
    for (front, mode) in ways() {
        // The kernel takes the connection and a buffer full, and nobody ever reads it.
        let scratch = Scratch::new();
        let socket = scratch.join("deaf.sock");
        let _deaf = UnixListener::bind(&socket).unwrap();
        let call = Call::echo(mode, "x".repeat(4 << 20).into()).timeout(SHORT);
        let (phase, sent) = late(front.one(&socket, Settings::default(), &call));
        // An exclusive call ends its connection, so that the rest is never sent; a shared one goes on.
        assert_eq!((phase, sent), (Phase::Write, mode == Mode::Multiplexed));
    }
}

#[test]
fn while_it_waits_for_the_reply() {
    for (front, mode) in ways() {
        let server = Server::play(&json!([[{"silence": true}]]));
        let call = Call::echo(mode, json!(1)).timeout(SHORT);
        assert_eq!(late(front.one(&server.socket, Settings::default(), &call)), (Phase::Reply, true));
    }
}

#[test]
fn while_it_reads() {
    for (front, mode) in ways() {
        let server = Server::play(&json!([[{"expect": "any"}, {"send": "010101"}, {"silence": true}]]));
        let call = Call::echo(mode, json!(1)).timeout(SHORT);
        assert_eq!(late(front.one(&server.socket, Settings::default(), &call)), (Phase::Reply, true));
    }
}

#[test]
fn a_call_without_time_is_not_sent() {
    for (front, mode) in ways() {
        let server = Server::play(&json!([[{"serve": "fifo"}]]));
        let call = Call::echo(mode, json!(1)).timeout(Duration::ZERO);
        let error = front.one(&server.socket, Settings::default(), &call).result.unwrap_err();
        assert!(matches!(error, Error::Timeout { phase: Phase::Connect, sent: false }), "{error:?}");
        assert!(server.finish().requests().is_empty());
    }
}

#[test]
fn a_silent_host_does_not_keep_the_next_call_waiting() {
    for (front, mode) in ways() {
        let server = Server::play(&json!([[{"silence": true}], [{"serve": "fifo"}]]));
        let mut first = Call::echo(mode, json!("first")).timeout(SHORT);
        let mut second = Call::echo(mode, json!("second"));
        (first.name, second.name, second.alone) = ("first".into(), "second".into(), true);
        let settings = Settings { connections: 1, ..Settings::default() };
        let mut outcomes = front.perform(&server.socket, settings, &[first, second]);
        late(outcomes.remove("first").unwrap());
        assert_eq!(outcomes.remove("second").unwrap().result.unwrap().get(), "\"second\"");
    }
}

#[test]
fn a_heartbeat_that_is_not_answered() {
    let server = Server::play(&json!([[{"expect": "heartbeat"}, {"silence": true}]]));
    let client = blocking::Client::builder(&server.socket).timeout(SHORT).build();
    assert!(matches!(client.ping(), Err(Error::Timeout { phase: Phase::Reply, .. })));
    runtime().block_on(async {
        let client = Client::builder(&server.socket).timeout(SHORT).build();
        assert!(matches!(client.ping().await, Err(Error::Timeout { phase: Phase::Reply, .. })));
    });
}

/// A host that closes with bytes unread resets the connection (ECONNRESET), one that has closed breaks the pipe
/// (EPIPE): both are a connection lost, and the second is known not to have the request.
#[test]
fn what_the_kernel_says_of_a_lost_connection() {
    let scratch = Scratch::new();
    let listener = UnixListener::bind(scratch.join("host.sock")).unwrap();
    for (front, mode) in ways() {
        let large = Call::echo(mode, "x".repeat(1 << 20).into());
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut peer, _) = listener.accept().unwrap();
                peer.read_exact(&mut [0; 1]).unwrap();
            });
            let settings = Settings { timeout: SHORT, ..Settings::default() };
            let error = front.one(&scratch.join("host.sock"), settings, &large).result.unwrap_err();
            // Half of it was sent: it is tried again, until the deadline, at a listener that accepts no more.
            assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
            assert!(mode == Mode::Multiplexed || error.is_retryable(), "{error:?}");
        });
        // What it left in the backlog.
        listener.set_nonblocking(true).unwrap();
        while listener.accept().is_ok() {}
        listener.set_nonblocking(false).unwrap();

        let small = Call::echo(mode, json!(1));
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut peer, _) = listener.accept().unwrap();
                peer.read_exact(&mut [0; 1]).unwrap();
            });
            let error =
                front.one(&scratch.join("host.sock"), Settings::default(), &small).result.unwrap_err();
            let Error::ConnectionLost { sent: true, source: Some(source), then: None } = error else {
                panic!("{error:?}")
            };
            assert_eq!(source.kind(), std::io::ErrorKind::ConnectionReset);
        });
    }
}

/// A refusal says how long to wait; a deadline before that is not waited for.
#[test]
fn a_wait_beyond_the_deadline_is_not_begun() {
    let scratch = Scratch::new();
    let listener = UnixListener::bind(scratch.join("host.sock")).unwrap();
    let reply = br#"{"error":{"code":-32002,"message":"busy","data":{"retry_after_ms":60000}}}"#;
    for front in Front::BOTH {
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut peer, _) = listener.accept().unwrap();
                peer.read_exact(&mut [0; 7]).unwrap();
                let length = u32::try_from(reply.len()).unwrap().to_be_bytes();
                peer.write_all(&[&[1, 0, 1][..], &length, reply].concat()).unwrap();
                peer.read_to_end(&mut Vec::new()).unwrap();
            });
            let call = Call::echo(Mode::Exclusive, json!(1));
            let outcome = front.one(&scratch.join("host.sock"), Settings::default(), &call);
            assert!(outcome.took < Settings::default().timeout, "{outcome:?}");
            let error = outcome.result.unwrap_err();
            assert_eq!(error.code(), Some(-32002));
            let data: Value =
                serde_json::from_str(error.remote().unwrap().data.as_ref().unwrap().get()).unwrap();
            assert_eq!(data, json!({"retry_after_ms": 60_000}));
        });
    }
}
