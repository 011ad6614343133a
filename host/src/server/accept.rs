//! Accepts connections, and rejects those without permission or capacity with an error frame.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jackfield_protocol::{Framing, Kind, ReplyForm, Version};
use rustix::io::Errno;
use tokio::net::unix::UCred;
use tokio::sync::watch;

use super::io_command::Successors as _;
use super::io_threads::IoThreads;
use super::io_work::{AcceptedConnection, IoThreadWork};
use super::listener::BoundSocket;
use super::watched_listener::WatchedListener;
use crate::metrics::PeerIdentity;
use crate::routing::{Dispatcher, ExhaustedResource, ReplyContext, RequestError};
use crate::shutdown::ShutdownStage;
use crate::worker::sandboxed_groups;

/// Pause after a failed accept, usually for want of a descriptor. Connections end in the meantime.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The number of the next connection, for the log.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// Accepts from one socket.
pub(super) struct Acceptor {
    socket: WatchedListener,
    admission: ConnectionAdmission,
}

/// Admits the connections of a host.
struct ConnectionAdmission {
    dispatcher: Arc<Dispatcher>,
    threads: Arc<IoThreads>,
}

impl Acceptor {
    /// Registers the socket with the reactor of the current runtime.
    ///
    /// # Errors
    ///
    /// The reactor cannot watch the socket.
    pub(super) fn new(
        bound: BoundSocket,
        dispatcher: Arc<Dispatcher>,
        threads: Arc<IoThreads>,
    ) -> io::Result<Self> {
        let socket = WatchedListener::new(bound)?;
        Ok(Self { socket, admission: ConnectionAdmission { dispatcher, threads } })
    }

    /// Accepts connections until `shutdown` leaves [`ShutdownStage::Serve`], and returns itself.
    pub(super) async fn run(mut self, mut shutdown: watch::Receiver<ShutdownStage>) -> Self {
        tokio::select! {
            () = self.accept_all() => {}
            // A dropped sender also ends the host.
            _ = shutdown.wait_for(|stage| *stage > ShutdownStage::Serve) => {}
        }
        self
    }

    /// Accepts connections and never returns.
    async fn accept_all(&mut self) {
        let mut is_failing = false;

        loop {
            match self.socket.accept().await.and_then(into_std) {
                Ok((stream, peer)) => {
                    is_failing = false;
                    self.admission.admit(self.socket.bound(), stream, peer);
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    if !is_failing {
                        let socket = self.socket.bound().path().display();
                        let remedy = if is_out_of_descriptors(&error) {
                            "; raise LimitNOFILE= or lower limits.connections"
                        } else {
                            ""
                        };
                        tracing::error!(
                            %socket,
                            %error,
                            "{socket}: cannot accept connections: {error}; retrying{remedy}"
                        );
                    }
                    is_failing = true;
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }

    /// Removes the socket's name, then accepts and admits the connections that are queued.
    ///
    /// The queue of an inherited socket is left alone: the next host serves it.
    pub(super) fn close(self) {
        let (bound, queued) = self.socket.close();

        // The first failed accept ends the queue; a connection that cannot be served does not.
        for stream in queued {
            if let Ok((stream, peer)) = into_std(stream) {
                self.admission.admit(&bound, stream, peer);
            }
        }
    }
}

impl ConnectionAdmission {
    fn admit(&self, bound: &BoundSocket, stream: UnixStream, peer: Option<PeerIdentity>) {
        let counters = &self.dispatcher.metrics.counters;
        let manner = bound.options();

        // Access comes before capacity: a user without access must not take the place of another
        // one.
        let is_sandboxed = || peer.is_some_and(|peer| sandboxed_groups::contain(peer.pid));
        if !self.dispatcher.acls.allows(bound.path(), peer) || (manner.admin && is_sandboxed()) {
            counters.connections_denied.add(1);
            self.dispatcher.acls.log_denied_connection(bound.path(), manner.admin, peer);
            reject(&stream, manner.framing, &RequestError::PermissionDenied);
            return;
        }

        let permits =
            if manner.admin { &self.dispatcher.admin_connections } else { &self.dispatcher.connections };
        let Some(permit) = permits.take() else {
            counters.connections_refused.add(1);
            reject(&stream, manner.framing, &RequestError::Overloaded(ExhaustedResource::Connections));
            return;
        };

        counters.connections.add(1);
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let accepted = AcceptedConnection { number, stream, manner: manner.clone(), peer, permit };
        // The I/O threads end after the acceptors. If all of them have ended nevertheless, the
        // connection is dropped, which closes it.
        let _ = self.threads.send(IoThreadWork::Serve(accepted));
    }
}

/// Returns the plain socket and the identity of its peer, if the kernel reports one.
fn into_std(stream: tokio::net::UnixStream) -> io::Result<(UnixStream, Option<PeerIdentity>)> {
    let credentials = stream.peer_cred().ok();
    // A process outside this PID namespace has no number here; it is reported as 0.
    let pid = |peer: &UCred| peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
    let peer = credentials.map(|peer| PeerIdentity { pid: pid(&peer), uid: peer.uid(), gid: peer.gid() });
    Ok((stream.into_std()?, peer))
}

/// Writes an error frame to a connection that is not served. Nothing that the client sent is read.
fn reject(mut stream: &UnixStream, framing: Framing, error: &RequestError) {
    let mut frame = Vec::new();
    let context = ReplyContext::plain(ReplyForm::plain(framing, Version::V1_0, Kind::Error), None);
    context.fail(&mut frame, error);

    // The empty buffer of a new socket has room for the frame. If the client is gone, it needs
    // none.
    let _ = stream.write_all(&frame);
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Returns whether an accept failed because of its connection or a signal, so that the socket
/// itself is sound.
fn concerns_one_connection(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::PERM))
}
