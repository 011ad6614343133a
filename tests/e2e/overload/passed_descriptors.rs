//! Descriptors pushed into the host with SCM_RIGHTS: the host asks for none, so that the kernel
//! closes them, and with sockets that hold each other it is the kernel's collector that does.

use std::fs::File;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pipe::pipe;
use serde_json::{Value, json};

use super::allow_descriptors;
use crate::support::footprint::{Footprint, assert_settles, idle_footprint};
use crate::support::peer::{ASYNC_REQUEST, SYNC, V1_0, V1_1, envelope, envelope_with, frame, header};
use crate::support::{HostProcess, Peer, wait_until};

/// As many as the kernel passes at once (SCM_MAX_FD).
const AT_ONCE: usize = 253;

/// Sends bytes with descriptors on top.
fn push(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut on_top = SendAncillaryBuffer::new(&mut space);
    assert!(on_top.push(SendAncillaryMessage::ScmRights(descriptors)));
    let sent = sendmsg(stream, &[IoSlice::new(bytes)], &mut on_top, SendFlags::empty());
    assert_eq!(sent, Ok(bytes.len()));
}

/// The other end of a pipe says when nobody holds this one any more.
#[track_caller]
fn expect_closed(end: OwnedFd) {
    // It blocks until the last writer has gone.
    let mut left = Vec::new();
    File::from(end).read_to_end(&mut left).expect("the end of the pipe");
    assert!(left.is_empty());
}

#[test]
fn pushed_descriptors_do_not_stay() {
    allow_descriptors(3000);
    let host = HostProcess::with(&["sleeps"]);
    host.peer().assert_usable();
    let before = idle_footprint(host.pid());
    let mut peers = vec![host.peer(), host.peer()];
    let ping = frame(V1_0, SYNC, envelope("system.ping", &Value::Null));
    for round in 0..50 {
        let peer = &mut peers[round % 2];
        let (reader, writer) = pipe().expect("a pipe");
        let descriptors = vec![writer.as_fd(); AT_ONCE];
        // On top of a header, of a body and of a whole frame.
        let cut = [3, 20, ping.len()][round % 3];
        push(peer.stream(), &ping[..cut], &descriptors);
        drop(writer);
        // As soon as the bytes under them are read.
        expect_closed(reader);
        peer.send(&ping[cut..]);
        assert_eq!(peer.receive().result(), "pong");
    }
    let open = Footprint::of(host.pid()).descriptors;
    assert_eq!(open, before.descriptors + peers.len(), "only the connections themselves");
    drop(peers);
    assert_settles(host.pid(), &before);
}

#[test]
fn descriptors_on_what_is_not_read_go_with_the_connection() {
    let config = "[limits]\nin_flight_per_connection = 1\n[timeouts]\nrequest = \"10m\"";
    let host = HostProcess::builder().plugin("sleeps").config(config).start();
    let (reader, writer) = pipe().expect("a pipe");
    let round = || {
        let peer = host.peer();
        let deaf = frame(V1_1, ASYNC_REQUEST, envelope_with("1", "sleep.deaf", &Value::Null));
        push(peer.stream(), &deaf, &[writer.as_fd()]);
        // The connection is full: this stays in the socket.
        for _ in 0..5 {
            push(peer.stream(), &header(V1_0, SYNC, 10), &[writer.as_fd(); 20]);
        }
        wait_until("it is in flight", || host.count("in_flight") >= 1);
        drop(peer);
        wait_until("it is given up", || host.count("in_flight") == 0);
    };
    round();
    let before = idle_footprint(host.pid());
    (0..20).for_each(|_| round());
    drop(writer);
    expect_closed(reader);
    assert_settles(host.pid(), &before);
}

#[test]
fn sockets_sent_through_themselves_are_collected() {
    const CYCLES: usize = 200;
    // The host must not read what holds the cycle before the client has gone.
    let config = "[limits]\nin_flight_per_connection = 1\n[timeouts]\nrequest = \"500ms\"";
    let host = HostProcess::builder().plugin("sleeps").config(config).start();
    let round = || {
        let deaf = frame(V1_1, ASYNC_REQUEST, envelope_with("1", "sleep.deaf", &json!(null)));
        let before = host.count("requests");
        for _ in 0..CYCLES {
            let mut peer: Peer = host.peer();
            peer.send(&deaf);
            // The client's end waits in a queue that only its own other end can read.
            push(peer.stream(), &header(V1_0, SYNC, 10), &[peer.stream().as_fd(), peer.stream().as_fd()]);
        }
        wait_until("each has asked", || host.count("requests") >= before + CYCLES as u64);
        // At the deadline each is read on, and that opens the cycle: the client has gone.
        wait_until("nothing is in flight", || host.count("in_flight") == 0);
    };
    round();
    let before = idle_footprint(host.pid());
    round();
    assert_settles(host.pid(), &before);
    host.peer().assert_usable();
}
