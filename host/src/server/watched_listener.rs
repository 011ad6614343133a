//! A listening socket whose file is watched: if the file is removed or replaced, no client can
//! reach the socket any more, so it is bound again.
//!
//! ```text
//!            file removed or replaced
//! reachable ──────────────────────────► lost ──(inherited)──► reported
//!     ▲                                  │ ▲
//!     │ bound again; the queue of the    │ │ name taken by another process,
//!     └──── old socket is served first ◄─┘ └─ or a system call failed: reported, tried again
//! ```
//!
//! Connections are not concerned, because they do not need the file.

use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::time::{Duration, Instant};

use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::bind_error::BindFault;
use super::listener::BoundSocket;
use super::socket_file::SocketFileLoss;
use crate::log::ShortDuration;

/// Time between two checks of the file.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Time until the name is claimed again although the file that is in the way is still the same. The
/// process that has bound it may have ended, which only a connection can find out.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// A failed attempt to bind the socket again.
struct FailedAttempt {
    at: Instant,
    loss: SocketFileLoss,
    error: String,
}

/// A listening socket. Dropping it removes its file, if this host created the file.
pub(super) struct WatchedListener {
    listener: UnixListener,
    bound: BoundSocket,
    checks: Interval,
    failed: Option<FailedAttempt>,

    /// Whether it was reported that the file of an inherited socket is lost.
    is_reported: bool,

    /// The socket that was bound before, until its queue is empty.
    previous: Option<StdUnixListener>,
}

impl WatchedListener {
    /// Registers the socket with the reactor of the current runtime.
    ///
    /// # Errors
    ///
    /// The reactor cannot watch the socket.
    pub(super) fn new(mut bound: BoundSocket) -> io::Result<Self> {
        let listener = UnixListener::from_std(bound.take_listener()?)?;
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { listener, bound, checks, failed: None, is_reported: false, previous: None })
    }

    pub(super) fn bound(&self) -> &BoundSocket {
        &self.bound
    }

    /// Accepts the next connection, and checks the file while it waits. A call that is dropped
    /// loses no connection.
    ///
    /// # Errors
    ///
    /// Those of `accept(2)`.
    pub(super) async fn accept(&mut self) -> io::Result<UnixStream> {
        loop {
            if let Some(stream) = self.previous.as_ref().and_then(next_queued) {
                return Ok(stream);
            }
            self.previous = None;

            tokio::select! {
                biased;
                _ = self.checks.tick() => self.check(),
                accepted = self.listener.accept() => return Ok(accepted?.0),
            }
        }
    }

    /// Removes the file, and returns the connections that are queued.
    ///
    /// The queue of an inherited socket is left to the next host.
    pub(super) fn close(self) -> (BoundSocket, impl Iterator<Item = UnixStream>) {
        self.bound.unlink();
        let own = if self.bound.is_inherited() { None } else { self.listener.into_std().ok() };
        let sockets = [self.previous, own];
        let queued =
            sockets.into_iter().flatten().flat_map(|socket| std::iter::from_fn(move || next_queued(&socket)));
        (self.bound, queued)
    }

    /// Checks whether clients reach the socket by its path, and binds it again if they do not.
    fn check(&mut self) {
        let Some(loss) = self.bound.loss() else {
            self.failed = None;
            self.is_reported = false;
            return;
        };

        if self.bound.is_inherited() {
            self.report_inherited(loss);
        } else if self.is_attempt_due(loss) {
            match self.bind_again() {
                Ok(()) => self.report_bound_again(loss),
                Err(error) => self.report_failure(loss, &error),
            }
        }
    }

    /// Returns whether to try again. A socket of another process is not connected to at each check.
    fn is_attempt_due(&self, loss: SocketFileLoss) -> bool {
        self.failed.as_ref().is_none_or(|failed| {
            loss == SocketFileLoss::Removed || loss != failed.loss || failed.at.elapsed() >= RETRY_INTERVAL
        })
    }

    fn bind_again(&mut self) -> Result<(), BindFault> {
        let socket = self.bound.bind_again()?;
        let listener = UnixListener::from_std(socket).map_err(|source| {
            self.bound.unlink();
            let path = self.bound.path().to_owned();
            BindFault::System { path, what: "watch the socket", source }
        })?;

        let previous = std::mem::replace(&mut self.listener, listener);
        self.previous = previous.into_std().ok();
        self.failed = None;
        Ok(())
    }

    #[cold]
    fn report_bound_again(&self, loss: SocketFileLoss) {
        let (socket, verb) = (self.bound.path().display(), loss.verb());
        tracing::warn!(
            %socket,
            "{socket}: the socket file was {verb} while the host serves; it is bound again, and open \
             connections continue"
        );
    }

    /// Logs a failure, unless it is the one that was logged last.
    #[cold]
    fn report_failure(&mut self, loss: SocketFileLoss, error: &BindFault) {
        let (socket, verb) = (self.bound.path().display(), loss.verb());
        let text = error.to_string();
        let is_news = self.failed.as_ref().is_none_or(|failed| failed.error != text);
        if is_news {
            let detail = text.strip_prefix(&format!("{socket}: ")).unwrap_or(&text);
            let interval = ShortDuration(CHECK_INTERVAL);
            tracing::error!(
                %socket,
                "{socket}: the socket file was {verb} while the host serves and cannot be bound again: \
                 {detail}; new clients cannot connect; the host checks every {interval}"
            );
        }
        self.failed = Some(FailedAttempt { at: Instant::now(), loss, error: text });
    }

    #[cold]
    fn report_inherited(&mut self, loss: SocketFileLoss) {
        if std::mem::replace(&mut self.is_reported, true) {
            return;
        }
        let (socket, verb) = (self.bound.path().display(), loss.verb());
        tracing::error!(
            %socket,
            "{socket}: the file of this inherited socket was {verb} while the host serves; new clients \
             cannot connect; restart its .socket unit"
        );
    }
}

/// Accepts a connection from the queue of a socket that is not watched any more. Any failure ends
/// the queue.
fn next_queued(socket: &StdUnixListener) -> Option<UnixStream> {
    let (stream, _) = socket.accept().ok()?;
    stream.set_nonblocking(true).ok()?;
    UnixStream::from_std(stream).ok()
}
