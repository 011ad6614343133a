//! Servers that answer wrongly, for tests of programs that check replies: mostly a proxy before a
//! host that changes replies.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use crate::support::HostProcess;
use crate::support::peer::{Frame, frame, take_frame};
use crate::support::scratch::Scratch;

/// Changes a frame, and returns whether it did.
pub(super) type Change = fn(&mut Frame) -> bool;

/// Replaces a text in the payload of a frame.
pub(super) fn replace(frame: &mut Frame, from: &str, to: &str) -> bool {
    let found = frame.payload.windows(from.len()).position(|part| part == from.as_bytes());
    if let Some(at) = found {
        frame.payload.splice(at..at + from.len(), to.bytes());
    }
    found.is_some()
}

/// Runs `check` with the socket of a proxy that changes the first reply of each connection for
/// which `change` returns true.
pub(super) fn with_faulty_proxy<T>(host: &HostProcess, change: Change, check: impl FnOnce(&Path) -> T) -> T {
    with_server(|client| carry(client, host, change), check)
}

/// Runs `check` with the socket of a server that serves each connection on a thread.
pub(super) fn with_server<T>(
    serve: impl Fn(&UnixStream) + Copy + Send + Sync,
    check: impl FnOnce(&Path) -> T,
) -> T {
    let scratch = Scratch::new();
    let socket = scratch.join("server.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let has_ended = AtomicBool::new(false);

    thread::scope(|scope| {
        scope.spawn(|| {
            for client in listener.incoming().map_while(Result::ok) {
                if has_ended.load(SeqCst) {
                    break;
                }
                scope.spawn(move || serve(&client));
            }
        });
        let _end = ServerEnd { has_ended: &has_ended, socket: &socket };
        check(&socket)
    })
}

/// Ends the server when the check ends, also by a panic.
struct ServerEnd<'a> {
    has_ended: &'a AtomicBool,
    socket: &'a Path,
}

impl Drop for ServerEnd<'_> {
    fn drop(&mut self) {
        self.has_ended.store(true, SeqCst);
        // The server waits for a connection.
        let _ = UnixStream::connect(self.socket);
    }
}

fn carry(client: &UnixStream, host: &HostProcess, change: Change) {
    let server = UnixStream::connect(host.socket()).expect("the host takes connections");
    thread::scope(|scope| {
        scope.spawn(|| carry_requests(client, &server));
        carry_replies(&server, client, change);
        // The thread of the other direction ends with this.
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
}

fn carry_requests(mut from: &UnixStream, mut to: &UnixStream) {
    let mut chunk = [0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn carry_replies(mut from: &UnixStream, mut to: &UnixStream, change: fn(&mut Frame) -> bool) {
    let (mut bytes, mut chunk, mut is_changed) = (Vec::new(), [0; 64 * 1024], false);

    while let Ok(count @ 1..) = from.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..count]);
        while let Some(mut reply) = take_frame(&mut bytes) {
            is_changed = is_changed || change(&mut reply);
            // The check ends at the first fault.
            if to.write_all(&frame(reply.version, reply.kind, &reply.payload)).is_err() {
                return;
            }
        }
    }
}
