//! Cancelling a call that the host has: by dropping it, or by its handle.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jackfield_client::{CancelHandle, Client, Error, Mode, Stats, blocking};
use jackfield_protocol::{Capabilities, Code, parse_cancel};
use serde_json::Value;

use crate::support::calls::runtime;
use crate::support::host::{ALL, ClientFrame, Host, Peer};
use crate::support::{ScratchDirectory, Server, wait_until, yield_until};

const LONG: Duration = Duration::from_secs(20);

/// Reads a cancellation and asserts that it is that of this request.
#[track_caller]
fn read_cancel(peer: &mut Peer, request: &ClientFrame) {
    let frame = peer.read().unwrap();
    assert_eq!(frame.kind, 6);
    assert_eq!(parse_cancel(&frame.payload).unwrap().as_json(), request.id());
}

#[test]
fn dropping_a_call_asks_the_host_to_cancel_it_and_its_reply_frees_its_id() {
    let host = Host::new();
    let (was_read, is_read) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = host.accept_and_grant(ALL);
            let first = peer.read_request();
            peer.answer_json(&first, "1");
            let dropped = peer.read_request();
            was_read.send(()).unwrap();
            read_cancel(&mut peer, &dropped);

            let kept = peer.read_request();
            peer.answer_json(&kept, "2");
            peer.answer_error(&dropped, Code::Cancelled, None);
            assert!(peer.read().is_none());
        });

        runtime().block_on(async {
            let client = Client::builder(host.socket()).timeout(LONG).build();
            assert_eq!(client.call::<_, u32>("m", &()).await.unwrap(), 1);
            let dropped = tokio::spawn(client.call::<_, Value>("m", &()));
            yield_until("the host has the request", || is_read.try_recv().is_ok()).await;
            dropped.abort();
            assert!(dropped.await.unwrap_err().is_cancelled());
            assert_eq!(client.stats().in_flight, 1, "its id is occupied");

            assert_eq!(client.call::<_, u32>("m", &()).await.unwrap(), 2);
            yield_until("the late reply is dropped", || client.stats().in_flight == 0).await;
            let Stats { connections, late_replies, stray_frames, .. } = client.stats();
            assert_eq!((connections, late_replies, stray_frames), (1, 1, 0));
            client.close();
        });
    });
}

#[test]
fn dropping_an_exclusive_call_cancels_it_and_closes_its_connection() {
    let host = Host::new();
    let (was_read, is_read) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = host.accept_and_grant(ALL);
            let first = peer.read_request();
            peer.answer_json(&first, "1");
            let dropped = peer.read_request();
            was_read.send(()).unwrap();
            read_cancel(&mut peer, &dropped);
            assert!(peer.read().is_none());
        });

        runtime().block_on(async {
            let client = Client::builder(host.socket()).timeout(LONG).mode(Mode::Exclusive).build();
            assert_eq!(client.call::<_, u32>("m", &()).await.unwrap(), 1);
            let dropped = tokio::spawn(client.call::<_, Value>("m", &()));
            yield_until("the host has the request", || is_read.try_recv().is_ok()).await;
            dropped.abort();
            assert!(dropped.await.unwrap_err().is_cancelled());
            assert_eq!(client.stats().connections, 0);
        });
    });
}

/// Plays a host that has the request when it is cancelled, and then sends its one reply.
fn serve_until_cancelled(
    host: &Host,
    grant: Capabilities,
    handle: &CancelHandle,
    reply: fn(&mut Peer, &ClientFrame),
) {
    let mut peer = host.accept_and_grant(grant);
    let first = peer.read_request();
    peer.answer_json(&first, "1");
    let request = peer.read_request();
    handle.cancel();
    if grant.contains(Capabilities::CANCEL) {
        read_cancel(&mut peer, &request);
        reply(&mut peer, &request);
        let next = peer.read_request();
        peer.answer_json(&next, "3");
    }
    while peer.read().is_some() {}
}

/// Returns the outcome of a call that is cancelled while the host has it, and of the next call.
fn cancel_in_flight(
    is_async: bool,
    mode: Mode,
    grant: Capabilities,
    reply: fn(&mut Peer, &ClientFrame),
) -> (Result<u32, Error>, Option<u32>) {
    let (host, handle) = (Host::new(), CancelHandle::new());
    let has_next = grant.contains(Capabilities::CANCEL);
    thread::scope(|scope| {
        scope.spawn(|| serve_until_cancelled(&host, grant, &handle, reply));
        if is_async {
            return runtime().block_on(async {
                let client = Client::builder(host.socket()).timeout(LONG).mode(mode).build();
                client.call::<_, u32>("m", &()).await.unwrap();
                let outcome = client.request("m", &()).cancel_with(&handle).send().await;
                let next = if has_next { Some(client.call("m", &()).await.unwrap()) } else { None };
                client.close();
                (outcome, next)
            });
        }

        let client = blocking::Client::builder(host.socket()).timeout(LONG).mode(mode).build();
        client.call::<_, u32>("m", &()).unwrap();
        let outcome = client.request("m", &()).cancel_with(&handle).send();
        let next = has_next.then(|| client.call("m", &()).unwrap());
        client.close();
        (outcome, next)
    })
}

#[test]
fn a_cancelled_call_returns_the_one_reply_of_the_host() {
    for (is_async, mode) in [
        (true, Mode::Multiplexed),
        (true, Mode::Exclusive),
        (false, Mode::Multiplexed),
        (false, Mode::Exclusive),
    ] {
        let (outcome, next) =
            cancel_in_flight(is_async, mode, ALL, |peer, request| peer.answer_json(request, "2"));
        assert_eq!((outcome.unwrap(), next), (2, Some(3)), "the method was faster");

        let (outcome, next) = cancel_in_flight(is_async, mode, ALL, |peer, request| {
            peer.answer_error(request, Code::Cancelled, None);
        });
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::Cancelled { sent: true }) && !error.is_retryable(), "{error:?}");
        assert_eq!(next, Some(3));

        let grant = ALL.without(Capabilities::CANCEL);
        let (outcome, _) = cancel_in_flight(is_async, mode, grant, |_, _| ());
        assert!(matches!(outcome, Err(Error::Cancelled { sent: true })), "{outcome:?}");
    }
}

#[test]
fn a_call_that_is_cancelled_before_it_is_sent_is_never_sent() {
    let server = Server::play(&serde_json::json!([[{"serve": "fifo"}]]));
    let handle = CancelHandle::new();
    handle.cancel();
    let client = blocking::Client::builder(&server.socket).timeout(LONG).build();
    let error = client.request("m", &()).cancel_with(&handle).send::<Value>().unwrap_err();
    assert!(matches!(error, Error::Cancelled { sent: false }) && error.is_retryable(), "{error:?}");

    runtime().block_on(async {
        let client = Client::builder(&server.socket).timeout(LONG).build();
        let error = client.request("m", &()).cancel_with(&handle).send::<Value>().await.unwrap_err();
        assert!(matches!(error, Error::Cancelled { sent: false }), "{error:?}");
    });
    assert!(server.finish().requests().is_empty());
}

#[test]
fn a_call_that_waits_is_cancelled_at_once() {
    // The socket has no listener, so that the calls wait for one.
    let scratch = ScratchDirectory::new();
    let socket = scratch.join("none.sock");
    let handle = CancelHandle::new();
    let client = blocking::Client::builder(&socket).timeout(LONG).build();
    thread::scope(|scope| {
        let call = scope.spawn(|| client.request("m", &()).cancel_with(&handle).send::<Value>().unwrap_err());
        wait_until("the call waits", || client.stats().waiting == 1);
        handle.cancel();
        let error = call.join().unwrap();
        assert!(matches!(error, Error::Cancelled { sent: false }), "{error:?}");
    });
}
