//! File descriptors passed with SCM_RIGHTS: the host does not receive them, so the kernel closes
//! them. Cycles of sockets that hold each other are collected by the kernel.

use std::fs::File;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pipe::pipe;
use serde_json::{Value, json};

use super::allow_descriptors;
use crate::support::footprint::{Footprint, assert_released, idle_footprint};
use crate::support::peer::{ASYNC_REQUEST, SYNC, V1_0, V1_1, envelope, envelope_with, frame, header};
use crate::support::{HostProcess, Peer, wait_until};

/// Maximum number of descriptors that the kernel passes at once (SCM_MAX_FD).
const MAX_DESCRIPTORS: usize = 253;

/// Sends bytes with attached descriptors.
fn send_with_descriptors(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));

    let sent = sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::empty());
    assert_eq!(sent, Ok(bytes.len()));
}

/// Asserts that all copies of the writing end of the pipe of `reader` are closed.
#[track_caller]
fn expect_closed(reader: OwnedFd) {
    // Reading blocks until the last writer is closed.
    let mut remaining = Vec::new();
    File::from(reader).read_to_end(&mut remaining).expect("the pipe is readable");
    assert!(remaining.is_empty());
}

#[test]
fn closes_passed_descriptors_when_their_bytes_are_read() {
    allow_descriptors(3000);
    let host = HostProcess::with(&["sleeps"]);
    host.peer().assert_usable();
    let before = idle_footprint(host.pid());

    let mut peers = vec![host.peer(), host.peer()];
    let ping = frame(V1_0, SYNC, envelope("system.ping", &Value::Null));

    for round in 0..50 {
        let peer = &mut peers[round % 2];
        let (reader, writer) = pipe().expect("the pipe is created");
        let descriptors = vec![writer.as_fd(); MAX_DESCRIPTORS];

        // They are attached to part of a header, to part of a payload, or to a complete frame.
        let cut = [3, 20, ping.len()][round % 3];
        send_with_descriptors(peer.stream(), &ping[..cut], &descriptors);

        drop(writer);
        // The descriptors are closed as soon as their bytes are read.
        expect_closed(reader);
        peer.send(&ping[cut..]);
        assert_eq!(peer.receive().result(), "pong");
    }

    let open = Footprint::of(host.pid()).descriptors;
    assert_eq!(open, before.descriptors + peers.len(), "only the connections themselves are open");

    drop(peers);
    assert_released(host.pid(), &before);
}

#[test]
fn closes_passed_descriptors_of_unread_bytes_with_the_connection() {
    let config = "[limits]\nin_flight_per_connection = 1\n[timeouts]\nrequest = \"10m\"";
    let host = HostProcess::builder().plugin("sleeps").config(config).start();
    let (reader, writer) = pipe().expect("the pipe is created");

    let round = || {
        let peer = host.peer();
        let request = frame(V1_1, ASYNC_REQUEST, envelope_with("1", "sleep.forever", &Value::Null));
        send_with_descriptors(peer.stream(), &request, &[writer.as_fd()]);
        // The connection is at its limit, so these bytes stay in the socket.
        for _ in 0..5 {
            send_with_descriptors(peer.stream(), &header(V1_0, SYNC, 10), &[writer.as_fd(); 20]);
        }

        wait_until("the request is in flight", || host.count("in_flight") >= 1);
        drop(peer);
        wait_until("the request is abandoned", || host.count("in_flight") == 0);
    };
    round();

    let before = idle_footprint(host.pid());
    (0..20).for_each(|_| round());

    drop(writer);
    expect_closed(reader);

    assert_released(host.pid(), &before);
}

#[test]
fn releases_cycles_of_passed_sockets() {
    const CYCLES: usize = 200;
    // The host must not read the bytes that hold the cycle before the client is closed.
    let config = "[limits]\nin_flight_per_connection = 1\n[timeouts]\nrequest = \"500ms\"";
    let host = HostProcess::builder().plugin("sleeps").config(config).start();

    let round = || {
        let request = frame(V1_1, ASYNC_REQUEST, envelope_with("1", "sleep.forever", &json!(null)));
        let before = host.count("requests");

        for _ in 0..CYCLES {
            let mut peer: Peer = host.peer();
            peer.send(&request);
            // The client passes its own socket. That socket then waits in the receive queue of the
            // host's end, so it stays open until the host's end reads or closes.
            send_with_descriptors(
                peer.stream(),
                &header(V1_0, SYNC, 10),
                &[peer.stream().as_fd(), peer.stream().as_fd()],
            );
        }

        wait_until("each request is read", || host.count("requests") >= before + CYCLES as u64);
        // After the deadline the host reads on, which breaks the cycle, and notices that the client
        // is closed.
        wait_until("nothing is in flight", || host.count("in_flight") == 0);
    };
    round();

    let before = idle_footprint(host.pid());
    round();

    assert_released(host.pid(), &before);
    host.peer().assert_usable();
}
