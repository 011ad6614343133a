//! Whether the host answers: found out as a client would, by a request on each of its sockets.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use jackfield_protocol::{Code, Framing, Outcome};
use rustix::net::SocketAddrUnix;

use super::io_threads::IoThreads;
use super::listener::BoundSocket;
use crate::blocking_request::{BlockingReply, ask};
use crate::sync::lock;

/// Why a host seems not to answer.
#[derive(Debug, thiserror::Error)]
pub enum HealthCheckError {
    /// A request on a socket came to nothing.
    #[error("{socket}: {source}")]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// What happened instead.
        source: io::Error,
    },
    /// A request was answered with what `system.ping` never says.
    #[error("{socket}: system.ping was answered with {answer}")]
    Answer {
        /// The socket.
        socket: PathBuf,
        /// The answer.
        answer: String,
    },
    /// Every socket is inherited, and none is for the host's own user.
    #[error(
        "none of the sockets can be reached by the host itself; give its user the right to connect to one"
    )]
    NoSocket,
    /// A thread that serves connections hears nothing.
    #[error("a thread that serves connections is held up; some clients are not answered")]
    Thread,
    /// The host has ended.
    #[error("the host has ended")]
    Ended,
}

/// One socket as a client sees it.
struct CheckedSocket {
    address: SocketAddrUnix,
    path: PathBuf,
    framing: Framing,
    inherited: bool,
}

/// Finds out whether a host answers.
pub struct HealthCheck {
    doors: Vec<CheckedSocket>,
    threads: Weak<IoThreads>,
    /// Inherited sockets that the host itself cannot connect to, which is no fault of it: said once.
    left_out: Mutex<BTreeSet<PathBuf>>,
}

impl HealthCheck {
    pub(super) fn of(sockets: &[BoundSocket], threads: &Arc<IoThreads>) -> Self {
        let door = |bound: &BoundSocket| CheckedSocket {
            address: bound.address.clone(),
            path: bound.path().to_owned(),
            framing: bound.framing(),
            inherited: bound.is_inherited(),
        };
        let doors = sockets.iter().map(door).collect();
        Self { doors, threads: Arc::downgrade(threads), left_out: Mutex::default() }
    }

    /// Connects to every socket, asks `system.ping`, and asks each thread that serves connections whether it hears;
    /// all of it within `limit`. Blocks.
    ///
    /// A refusal for load or for want of permission is an answer, too: whoever says no is there. An inherited socket
    /// whose file was removed, or that is for others alone, is logged and left out: starting anew would not help.
    ///
    /// # Errors
    /// The first thing that was not as it should be.
    pub fn beat(&self, limit: Duration) -> Result<(), HealthCheckError> {
        let until = Instant::now() + limit;
        let left = || until.saturating_duration_since(Instant::now());
        let mut answers = 0;
        for door in &self.doors {
            match ask(&door.address, door.framing, "system.ping", "null", left()) {
                Ok(answer) => is_good(&answer)
                    .map_err(|answer| HealthCheckError::Answer { socket: door.path.clone(), answer })?,
                Err(error) if door.inherited && is_closed_to_us(&error) => {
                    self.leave_out(door, &error);
                    continue;
                }
                Err(source) => return Err(HealthCheckError::Socket { socket: door.path.clone(), source }),
            }
            answers += 1;
        }
        if answers == 0 {
            return Err(HealthCheckError::NoSocket);
        }
        let threads = self.threads.upgrade().ok_or(HealthCheckError::Ended)?;
        if threads.obey(left()) { Ok(()) } else { Err(HealthCheckError::Thread) }
    }

    fn leave_out(&self, door: &CheckedSocket, error: &io::Error) {
        let mut left_out = lock(&self.left_out);
        if left_out.insert(door.path.clone()) {
            let socket = door.path.display();
            tracing::error!(%socket, %error, "the host cannot reach this inherited socket, and cannot say whether clients can");
        }
    }
}

/// Whether the path leads to no socket, or to another one, or not this user to it.
fn is_closed_to_us(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | ConnectionRefused | PermissionDenied)
}

fn is_good(answer: &BlockingReply) -> Result<(), String> {
    let words = || String::from_utf8_lossy(answer.payload()).into_owned();
    match answer.reply().map_err(|_| words())?.outcome {
        Outcome::Result(result) if result.get() == "\"pong\"" => Ok(()),
        Outcome::Error(error)
            if matches!(error.known_code(), Some(Code::Overloaded | Code::PermissionDenied)) =>
        {
            Ok(())
        }
        Outcome::Result(_) | Outcome::Error(_) => Err(words()),
    }
}
