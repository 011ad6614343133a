//! Connecting: what is tried again until the deadline, and what is told at once.

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
use crate::support::{CEILING, Call, Front, Scratch, Server, until};

const SHORT: Duration = Duration::from_millis(200);

/// The kind of the system's error; it must be told when the deadline has passed, and not much later.
#[track_caller]
fn fails_at_its_deadline(front: Front, socket: &Path) -> ErrorKind {
    let outcome =
        front.one(socket, Settings::default(), &Call::echo(Mode::Multiplexed, json!(1)).timeout(SHORT));
    assert!(outcome.took >= SHORT && outcome.took < CEILING, "{outcome:?}");
    let error = outcome.result.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    let Error::Connect { source, transient: true, .. } = error else { panic!("{error:?}") };
    source.kind()
}

#[test]
fn a_missing_socket_and_one_that_nobody_listens_on_are_tried_until_the_deadline() {
    let scratch = Scratch::new();
    let (missing, dead) = (scratch.join("missing.sock"), scratch.join("dead.sock"));
    drop(UnixListener::bind(&dead).unwrap());
    for front in Front::BOTH {
        assert_eq!(fails_at_its_deadline(front, &missing), ErrorKind::NotFound);
        assert_eq!(fails_at_its_deadline(front, &dead), ErrorKind::ConnectionRefused);
    }
}

/// A listener with room for one more connection than it says.
fn listen(path: &Path, backlog: i32) -> UnixListener {
    let listener =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(path).unwrap()).unwrap();
    rustix::net::listen(&listener, backlog).unwrap();
    listener.into()
}

#[test]
fn a_full_backlog_is_tried_until_there_is_room() {
    for front in Front::BOTH {
        let scratch = Scratch::new();
        let socket = scratch.join("full.sock");
        let listener = listen(&socket, 0);
        // A blocking connect would wait here, so one that the client makes has to fill it.
        let filler = blocking::Client::builder(&socket).timeout(SHORT).build();
        assert!(matches!(filler.ping(), Err(Error::Timeout { .. })));
        assert_eq!(fails_at_its_deadline(front, &socket), ErrorKind::WouldBlock);

        let call = Call::echo(Mode::Exclusive, json!(1));
        thread::scope(|scope| {
            let call = scope.spawn(|| front.one(&socket, Settings::default(), &call));
            // Those that gave up are in the backlog still; the last one has something to say.
            let (mut peer, mut header) = (None, [0; 7]);
            until("the call comes through", || {
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
fn what_waiting_cannot_mend_is_told_at_once() {
    let scratch = Scratch::new();
    fs::write(scratch.join("file"), "").unwrap();
    let socket = scratch.join("file").join("host.sock");
    let too_long = scratch.join(&"x".repeat(120));
    for front in Front::BOTH {
        for socket in [&socket, &too_long] {
            let outcome = front.one(socket, Settings::default(), &Call::echo(Mode::Exclusive, json!(1)));
            assert!(outcome.took < Settings::default().timeout, "{outcome:?}");
            let error = outcome.result.unwrap_err();
            assert!(matches!(error, Error::Connect { transient: false, .. }), "{error:?}");
            assert!(!error.is_retryable());
        }
    }
}

#[test]
fn attempts_to_connect_come_at_growing_distances() {
    let scratch = Scratch::new();
    let client =
        blocking::Client::builder(scratch.join("none.sock")).timeout(Duration::from_millis(400)).build();
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| client.ping().unwrap_err());
        }
    });
    // 1, 2, 4, … 64, 100, 100, 100 ms apart, each by up to a half less: however many wait for it.
    let failures = client.stats().connect_failures;
    assert!((3..=20).contains(&failures), "{failures} attempts");
}

#[test]
fn a_connect_timeout_of_zero_is_one_attempt() {
    let scratch = Scratch::new();
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
fn a_host_that_comes_late_is_found() {
    for front in Front::BOTH {
        let scratch = Scratch::new();
        let socket = scratch.join("late.sock");
        let call = Call::echo(Mode::Multiplexed, json!("early"));
        thread::scope(|scope| {
            let outcome = scope.spawn(|| front.one(&socket, Settings::default(), &call));
            // Attempts leave no trace in the file system: some time has to pass for there to be any.
            thread::sleep(Duration::from_millis(30));
            let server = Server::play_at(&socket, &json!([[{"serve": "fifo"}]]));
            assert_eq!(outcome.join().unwrap().result.unwrap().get(), "\"early\"");
            assert_eq!(server.finish().requests().len(), 1);
        });
    }
}

#[test]
fn connect_asks_whether_the_host_is_there() {
    let server = Server::play(&json!([[{"serve": "fifo"}]]));
    let address = format!("unix://{}", server.socket.display());
    let client = blocking::Client::connect(&address).unwrap();
    assert!(client.ping().unwrap() < CEILING);
    runtime().block_on(async {
        let client = Client::connect(&address).await.unwrap();
        assert!(client.ping().await.unwrap() < CEILING);
        client.close();
    });
    client.close();
    assert_eq!(server.finish().kinds(), [[2, 2], [2, 2]]);
}
