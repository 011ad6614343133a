//! Connecting: which failures are repeated until the deadline, and which are final.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use jackfield_client::{Client, Error, Mode, blocking};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::json;

use crate::support::calls::{Settings, runtime};
use crate::support::{Call, ClientKind, ScratchDirectory, Server, WAIT_LIMIT, wait_until};

const SHORT: Duration = Duration::from_millis(200);

/// Makes a call that fails to connect until its deadline, and returns the kind of the system's
/// error.
#[track_caller]
fn fails_at_its_deadline(client: ClientKind, socket: &Path) -> ErrorKind {
    let call = Call::echo(Mode::Multiplexed, json!(1)).timeout(SHORT);
    let outcome = client.perform_one(socket, Settings::default(), &call);
    assert!(outcome.took >= SHORT && outcome.took < WAIT_LIMIT, "{outcome:?}");

    let error = outcome.result.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    let Error::Connect { source, transient: true, .. } = error else { panic!("{error:?}") };
    source.kind()
}

#[test]
fn a_missing_socket_and_one_without_a_listener_are_tried_until_the_deadline() {
    let scratch = ScratchDirectory::new();
    let (missing, dead) = (scratch.join("missing.sock"), scratch.join("dead.sock"));
    drop(UnixListener::bind(&dead).unwrap());
    for client in ClientKind::BOTH {
        assert_eq!(fails_at_its_deadline(client, &missing), ErrorKind::NotFound);
        assert_eq!(fails_at_its_deadline(client, &dead), ErrorKind::ConnectionRefused);
    }
}

/// Returns a listener with this backlog. The kernel queues one connection more than that.
fn listen(path: &Path, backlog: i32) -> UnixListener {
    let listener =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(path).unwrap()).unwrap();
    rustix::net::listen(&listener, backlog).unwrap();
    listener.into()
}

#[test]
fn a_full_backlog_is_tried_until_it_has_room() {
    for client in ClientKind::BOTH {
        let scratch = ScratchDirectory::new();
        let socket = scratch.join("full.sock");
        let listener = listen(&socket, 0);
        // This client fills the backlog. A blocking connect(2) of the test would wait here instead.
        let filler = blocking::Client::builder(&socket).timeout(SHORT).build();
        assert!(matches!(filler.ping(), Err(Error::Timeout { .. })));
        assert_eq!(fails_at_its_deadline(client, &socket), ErrorKind::WouldBlock);

        let call = Call::echo(Mode::Exclusive, json!(1));
        let (socket, call) = (&socket, &call);
        thread::scope(|scope| {
            let settings = Settings { negotiate: false, ..Settings::default() };
            let call = scope.spawn(move || client.perform_one(socket, settings, call));

            // Connections whose caller gave up are still in the backlog. Only the last one sends a
            // request.
            let mut peer = None;
            let mut header = [0; 7];
            wait_until("the call comes through", || {
                let (stream, _) = listener.accept().unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                let read = std::io::Read::read_exact(&mut &stream, &mut header);
                peer = Some(stream);
                read.is_ok() && header[2] == 1
            });
            drop(peer);

            let error = call.join().unwrap().result.unwrap_err();
            assert!(matches!(error, Error::ConnectionLost { sent: true, .. }), "{error:?}");
        });
    }
}

#[test]
fn a_permanent_connect_error_is_reported_immediately() {
    let scratch = ScratchDirectory::new();
    fs::write(scratch.join("file"), "").unwrap();
    let below_a_file = scratch.join("file").join("host.sock");
    let too_long = scratch.join(&"x".repeat(120));

    for client in ClientKind::BOTH {
        for socket in [&below_a_file, &too_long] {
            let call = Call::echo(Mode::Exclusive, json!(1));
            let outcome = client.perform_one(socket, Settings::default(), &call);
            assert!(outcome.took < Settings::default().timeout, "{outcome:?}");

            let error = outcome.result.unwrap_err();
            assert!(matches!(error, Error::Connect { transient: false, .. }), "{error:?}");
            assert!(!error.is_retryable());
        }
    }
}

#[test]
fn all_callers_share_the_delays_between_connect_attempts() {
    let scratch = ScratchDirectory::new();
    let client =
        blocking::Client::builder(scratch.join("none.sock")).timeout(Duration::from_millis(400)).build();
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| client.ping().unwrap_err());
        }
    });
    // All callers together wait 1, 2, 4, … 64, 100, 100, 100 ms, and each delay is shortened at
    // random by up to a half.
    let failures = client.stats().connect_failures;
    assert!((3..=20).contains(&failures), "{failures} attempts");
}

#[test]
fn a_connect_timeout_of_zero_allows_one_attempt() {
    let scratch = ScratchDirectory::new();
    let client = blocking::Client::builder(scratch.join("none.sock"))
        .connect_timeout(Duration::ZERO)
        .timeout(Duration::from_secs(20))
        .build();

    let began = Instant::now();
    let error = client.ping().unwrap_err();
    assert!(matches!(error, Error::Connect { transient: true, .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(client.stats().connect_failures, 1);
}

#[test]
fn a_host_that_starts_late_is_reached() {
    for client in ClientKind::BOTH {
        let scratch = ScratchDirectory::new();
        let socket = scratch.join("late.sock");
        let call = Call::echo(Mode::Multiplexed, json!("early"));
        thread::scope(|scope| {
            let outcome = scope.spawn(|| client.perform_one(&socket, Settings::default(), &call));
            // The test cannot observe failed attempts, so it gives them some time.
            thread::sleep(Duration::from_millis(30));
            let server = Server::play_at(&socket, &json!([[{"serve": "fifo"}]]));
            assert_eq!(outcome.join().unwrap().result.unwrap().get(), "\"early\"");
            assert_eq!(server.finish().requests().len(), 1);
        });
    }
}

#[test]
fn connect_sends_a_heartbeat() {
    let server = Server::play(&json!([[{"serve": "fifo"}]]));
    let address = format!("unix://{}", server.socket.display());
    let client = blocking::Client::connect(&address).unwrap();
    assert!(client.ping().unwrap() < WAIT_LIMIT);

    runtime().block_on(async {
        let client = Client::connect(&address).await.unwrap();
        assert!(client.ping().await.unwrap() < WAIT_LIMIT);
        client.close();
    });
    client.close();
    assert_eq!(server.finish().kinds(), [[2, 2], [2, 2]]);
}
