//! A host that shuts down: callers do not notice, whatever their method is.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jackfield_client::{Client, Mode, Stats, blocking};
use jackfield_protocol::{Code, write_going_away};

use crate::support::calls::{Settings, runtime};
use crate::support::host::{ALL, Host, Peer};
use crate::support::{Call, ClientKind, yield_until};

const LONG: Duration = Duration::from_secs(20);
const MODES: [Mode; 2] = [Mode::Multiplexed, Mode::Exclusive];

fn send_notice(peer: &mut Peer) {
    let mut notice = Vec::new();
    write_going_away(&mut notice, "shutdown", 30_000);
    peer.send(&notice);
}

/// Plays a host that announces its shutdown with a request in flight, and its successor.
fn serve_with_successor(host: &Host) {
    let mut peer = host.accept_and_grant(ALL);
    let first = peer.read_request();
    send_notice(&mut peer);
    peer.answer_json(&first, "1");
    assert!(peer.read().is_none(), "the client closes the connection after the reply");

    let mut successor = host.accept_and_grant(ALL);
    let second = successor.read_request();
    successor.answer_json(&second, "2");
    while successor.read().is_some() {}
}

#[test]
fn replies_that_are_due_are_taken_and_the_next_call_uses_a_new_connection() {
    for mode in MODES {
        let host = Host::new();
        thread::scope(|scope| {
            scope.spawn(|| serve_with_successor(&host));
            let client = blocking::Client::builder(host.socket()).timeout(LONG).mode(mode).build();
            for n in 1..=2 {
                assert_eq!(client.call::<_, u32>("m", &()).unwrap(), n);
            }
            let Stats { connections, retries, .. } = client.stats();
            assert_eq!((connections, retries), (1, 0));
            client.close();
        });

        let host = Host::new();
        thread::scope(|scope| {
            scope.spawn(|| serve_with_successor(&host));
            runtime().block_on(async {
                let client = Client::builder(host.socket()).timeout(LONG).mode(mode).build();
                for n in 1..=2 {
                    assert_eq!(client.call::<_, u32>("m", &()).await.unwrap(), n);
                }
                let Stats { connections, retries, .. } = client.stats();
                assert_eq!((connections, retries), (1, 0));
                client.close();
            });
        });
    }
}

#[test]
fn an_idle_connection_is_closed_by_the_notice() {
    let host = Host::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = host.accept_and_grant(ALL);
            let first = peer.read_request();
            peer.answer_json(&first, "1");
            send_notice(&mut peer);
            assert!(peer.read().is_none());
        });
        runtime().block_on(async {
            let client = Client::builder(host.socket()).timeout(LONG).build();
            assert_eq!(client.call::<_, u32>("m", &()).await.unwrap(), 1);
            yield_until("the connection is closed", || client.stats().connections == 0).await;
        });
    });
}

/// A request that crosses with the notice was never begun, so that even a call that is not
/// idempotent is sent again, more often than `max_tries`.
#[test]
fn a_refused_request_is_sent_again_until_a_successor_answers() {
    for (client, mode) in ClientKind::BOTH.into_iter().flat_map(|client| MODES.map(|mode| (client, mode))) {
        let host = Host::new();
        thread::scope(|scope| {
            let call = Call::echo(mode, 1.into());
            let socket = host.socket();
            let outcome = scope.spawn(move || client.perform_one(&socket, Settings::default(), &call));

            for _ in 0..5 {
                let mut peer = host.accept_and_grant(ALL);
                send_notice(&mut peer);
                let request = peer.read_request();
                peer.answer_error(&request, Code::GoingAway, Some(r#"{"retry_after_ms":1}"#));
                assert!(peer.read().is_none(), "nothing else is sent on this connection");
            }
            let mut successor = host.accept_and_grant(ALL);
            let request = successor.read_request();
            successor.answer_json(&request, "7");
            assert_eq!(outcome.join().unwrap().result.unwrap().get(), "7");
        });
    }
}

/// With socket activation, the socket listens before there is a host: connections wait in the
/// backlog, longer than any health check.
#[test]
fn a_call_waits_in_the_backlog_of_a_host_that_starts() {
    for (client, mode) in ClientKind::BOTH.into_iter().flat_map(|client| MODES.map(|mode| (client, mode))) {
        let host = Host::new();
        thread::scope(|scope| {
            let call = Call::echo(mode, 1.into());
            let socket = host.socket();
            let outcome = scope.spawn(move || client.perform_one(&socket, Settings::default(), &call));
            // A starting host takes its time.
            thread::sleep(Duration::from_millis(1_200));
            assert!(!outcome.is_finished());

            let mut peer = host.accept_and_grant(ALL);
            let request = peer.read_request();
            peer.answer_json(&request, "7");
            assert_eq!(outcome.join().unwrap().result.unwrap().get(), "7");
        });
    }
}

#[test]
fn a_blocking_client_does_not_use_an_idle_connection_with_a_notice() {
    let host = Host::new();
    let (was_sent, is_sent) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = host.accept_and_grant(ALL);
            let first = peer.read_request();
            peer.answer_json(&first, "1");
            send_notice(&mut peer);
            was_sent.send(()).unwrap();

            let mut successor = host.accept_and_grant(ALL);
            assert!(peer.read().is_none());
            let second = successor.read_request();
            successor.answer_json(&second, "2");
        });
        let client = blocking::Client::builder(host.socket()).timeout(LONG).build();
        assert_eq!(client.call::<_, u32>("m", &()).unwrap(), 1);
        is_sent.recv().unwrap();
        assert_eq!(client.call::<_, u32>("m", &()).unwrap(), 2);
        assert_eq!(client.stats().connections, 1);
    });
}
