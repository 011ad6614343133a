//! Accepting connections, and refusing those there is no room for in words they understand.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jackfield_protocol::{Kind, Version};
use rustix::io::Errno;
use tokio::net::UnixListener;
use tokio::net::unix::UCred;

use super::io_thread::{AcceptedConnection, IoThreadCommand};
use super::io_threads::IoThreads;
use super::listener::BoundSocket;
use crate::connection::ListenerOptions;
use crate::metrics::PeerIdentity;
use crate::routing::{Dispatcher, ExhaustedResource, ReplyContext, RequestError};

/// How long to wait when the process or the system has no descriptor left: connections end in the meantime.
const BREATHER: Duration = Duration::from_millis(50);

/// Counts connections, for logs.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// One socket that is accepted from.
pub(super) struct Acceptor {
    listener: UnixListener,
    bound: BoundSocket,
    dispatcher: Arc<Dispatcher>,
    threads: Arc<IoThreads>,
}

impl Acceptor {
    /// Must be called inside the runtime that will accept.
    pub(super) fn new(
        mut bound: BoundSocket,
        dispatcher: Arc<Dispatcher>,
        threads: Arc<IoThreads>,
    ) -> io::Result<Self> {
        let listener = UnixListener::from_std(bound.take_listener()?)?;
        Ok(Self { listener, bound, dispatcher, threads })
    }

    /// Accepts for ever.
    pub(super) async fn run(&self) {
        let mut starving = false;
        loop {
            // Its own reactor is the I/O thread's: what was accepted here is handed over as a plain socket.
            match self.listener.accept().await.and_then(|(stream, _)| seen(stream)) {
                Ok((stream, peer)) => {
                    starving = false;
                    self.place(stream, peer);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if !starving {
                        let socket = self.bound.path().display();
                        tracing::error!(%socket, %error, "connections cannot be accepted; trying again");
                    }
                    starving = true;
                    tokio::time::sleep(BREATHER).await;
                }
            }
        }
    }

    /// No further client can come; those who came already are accepted, and told what they must know. The queue of
    /// an inherited socket is left alone: the next host answers it.
    pub(super) async fn close(self) {
        if self.bound.is_inherited() {
            return;
        }
        self.bound.unlink();
        let queue = async {
            while let Ok((stream, _)) = self.listener.accept().await {
                if let Ok((stream, peer)) = seen(stream) {
                    self.place(stream, peer);
                }
            }
        };
        tokio::select! {
            biased;
            // All of it in one go: tokio would have a task pause after some, and take the pause for the end.
            () = tokio::task::unconstrained(queue) => {}
            // Polled only once the queue is empty.
            () = std::future::ready(()) => {}
        }
    }

    fn place(&self, stream: UnixStream, peer: Option<PeerIdentity>) {
        let counters = &self.dispatcher.metrics.counters;
        let manner = self.bound.manner();
        // Before it takes a place: whoever may not come in must not keep others out.
        if !self.dispatcher.acls.allows(self.bound.path(), peer) {
            counters.connections_denied.add(1);
            self.dispatcher.acls.log_denied_connection(self.bound.path(), peer);
            send_away(&stream, manner, &RequestError::PermissionDenied);
            return;
        }
        let permits =
            if manner.admin { &self.dispatcher.admin_connections } else { &self.dispatcher.connections };
        let Some(permit) = permits.take() else {
            counters.connections_refused.add(1);
            send_away(&stream, manner, &RequestError::Overloaded(ExhaustedResource::Connections));
            return;
        };
        counters.connections.add(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Dropped, and so closed, when the host has ended: it was the last moment to come.
        let _ = self.threads.send(IoThreadCommand::Serve(AcceptedConnection {
            number,
            stream,
            manner,
            peer,
            permit,
        }));
    }
}

/// The plain socket, and who is at its other end; `None` when the kernel would not say.
fn seen(stream: tokio::net::UnixStream) -> io::Result<(UnixStream, Option<PeerIdentity>)> {
    let known = stream.peer_cred().ok();
    // Without a number in this process's namespace it is 0.
    let pid = |known: &UCred| known.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
    let peer = known.map(|known| PeerIdentity { pid: pid(&known), uid: known.uid(), gid: known.gid() });
    Ok((stream.into_std()?, peer))
}

/// Says why, and nothing of what the client may have sent is read.
fn send_away(mut stream: &UnixStream, manner: ListenerOptions, why: &RequestError) {
    let mut notice = Vec::new();
    let asked = ReplyContext { framing: manner.framing, version: Version::V1_0, kind: Kind::Error, id: None };
    asked.fail(&mut notice, why);
    // A new socket's buffer has room for a line; a client that is gone already needs none.
    let _ = stream.write_all(&notice);
}

/// The client went before it was accepted, or a signal came: nothing is wrong with the socket.
fn is_of_one_connection(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::PERM))
}
