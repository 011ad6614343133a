//! Checks whether the host answers, as a client would find out: by a request on each of its
//! sockets.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use jackfield_protocol::{Code, Framing, Outcome};
use rustix::net::SocketAddrUnix;

use super::blocking_request::{BlockingReply, send_request, wait_for_end};
use super::io_threads::IoThreads;
use super::listener::BoundSocket;
use crate::sync::lock;

/// The reason why a host fails its health check.
#[derive(Debug, thiserror::Error)]
pub enum HealthCheckError {
    /// A request on a socket failed.
    #[error("{socket}: {source}")]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// A request was answered with something that `system.ping` never returns.
    #[error("{socket}: system.ping was answered with {answer}")]
    Answer {
        /// The socket.
        socket: PathBuf,
        /// The payload of the reply.
        answer: String,
    },
    /// Every socket is inherited, and the host's own user may connect to none of them.
    #[error("the host cannot connect to any of its sockets; allow its user to connect to one of them")]
    NoSocket,
    /// An I/O thread does not respond.
    #[error("an I/O thread does not respond; its clients get no answers")]
    Thread,
    /// The host has ended.
    #[error("the host has ended")]
    Ended,
}

/// One socket of the host.
struct CheckedSocket {
    address: SocketAddrUnix,
    path: PathBuf,
    framing: Framing,
    /// Whether every line that the socket receives runs a method of a plugin.
    runs_each_line: bool,
    is_inherited: bool,
}

/// Checks whether a host answers on all of its sockets and I/O threads.
pub struct HealthCheck {
    sockets: Vec<CheckedSocket>,
    threads: Weak<IoThreads>,
    /// Inherited sockets that the host itself cannot reach. Each is reported once.
    unreachable: Mutex<BTreeSet<PathBuf>>,
}

impl HealthCheck {
    pub(super) fn new(sockets: &[BoundSocket], threads: &Arc<IoThreads>) -> Self {
        let checked = |bound: &BoundSocket| CheckedSocket {
            address: bound.address.clone(),
            path: bound.path().to_owned(),
            framing: bound.options().framing,
            runs_each_line: bound.options().line.method.is_some(),
            is_inherited: bound.is_inherited(),
        };
        Self {
            sockets: sockets.iter().map(checked).collect(),
            threads: Arc::downgrade(threads),
            unreachable: Mutex::default(),
        }
    }

    /// Sends `system.ping` to every socket and waits until each I/O thread responds, within `limit`
    /// in all. Blocks.
    ///
    /// A rejection for overload or missing permission counts as an answer. A socket on which every
    /// line runs a method of a plugin is only closed for writing, and answers by the end of the
    /// connection. An inherited socket
    /// whose file was removed, or that only other users can reach, is logged and left out: a
    /// restart would not change it.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub fn check(&self, limit: Duration) -> Result<(), HealthCheckError> {
        let until = Instant::now() + limit;
        let left = || until.saturating_duration_since(Instant::now());

        let mut answers = 0;
        for socket in &self.sockets {
            let replied = if socket.runs_each_line {
                wait_for_end(&socket.address, left()).map(|()| None)
            } else {
                send_request(&socket.address, socket.framing, "system.ping", "null", left()).map(Some)
            };
            match replied {
                Ok(reply) => {
                    let unexpected =
                        |answer| HealthCheckError::Answer { socket: socket.path.clone(), answer };
                    reply.as_ref().map_or(Ok(()), expect_pong).map_err(unexpected)?;
                    answers += 1;
                }
                Err(error) if socket.is_inherited && is_unreachable(&error) => {
                    self.report_unreachable(socket, &error);
                }
                Err(source) => return Err(HealthCheckError::Socket { socket: socket.path.clone(), source }),
            }
        }
        if answers == 0 {
            return Err(HealthCheckError::NoSocket);
        }

        let threads = self.threads.upgrade().ok_or(HealthCheckError::Ended)?;
        if threads.respond_within(left()) { Ok(()) } else { Err(HealthCheckError::Thread) }
    }

    fn report_unreachable(&self, socket: &CheckedSocket, error: &io::Error) {
        if lock(&self.unreachable).insert(socket.path.clone()) {
            let socket = socket.path.display();
            tracing::error!(
                %socket,
                %error,
                "{socket}: the host cannot connect to this inherited socket: {error}; the health check skips \
                 it (if clients cannot connect either, restart its .socket unit)"
            );
        }
    }
}

/// Returns whether the path leads to no socket, to another one, or to one that this user may not
/// use.
fn is_unreachable(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | ConnectionRefused | PermissionDenied)
}

/// Checks that a reply shows a working host.
///
/// # Errors
///
/// Returns the payload of any other reply.
fn expect_pong(reply: &BlockingReply) -> Result<(), String> {
    let payload = || String::from_utf8_lossy(reply.payload()).into_owned();

    match reply.reply().map_err(|_| payload())?.outcome {
        Outcome::Result(result) if result.get() == "\"pong\"" => Ok(()),
        Outcome::Error(error)
            if matches!(error.known_code(), Some(Code::Overloaded | Code::PermissionDenied)) =>
        {
            Ok(())
        }
        Outcome::Result(_) | Outcome::Bytes(_) | Outcome::Error(_) => Err(payload()),
    }
}
