//! The signals that a serving host handles: SIGTERM and SIGINT stop it, SIGHUP reloads it.

use std::io;
use std::pin::pin;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The request that a signal makes.
pub(super) enum SignalAction {
    /// Stop; with the name of the signal.
    Stop(&'static str),
    Reload,
}

/// The signals of this process, watched from [`Signals::watch`] on.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,

    /// Whether SIGHUP arrived during [`Signals::unless_stopped`] and is still to be reported.
    is_reload_pending: bool,
}

impl Signals {
    /// # Errors
    ///
    /// The signals cannot be watched.
    pub(super) fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            is_reload_pending: false,
        })
    }

    pub(super) async fn next(&mut self) -> SignalAction {
        if std::mem::take(&mut self.is_reload_pending) {
            return SignalAction::Reload;
        }
        tokio::select! {
            _ = self.terminate.recv() => SignalAction::Stop("SIGTERM"),
            _ = self.interrupt.recv() => SignalAction::Stop("SIGINT"),
            _ = self.hang_up.recv() => SignalAction::Reload,
        }
    }

    /// Runs `work`, which may take as long as a plugin takes to start.
    ///
    /// # Errors
    ///
    /// The name of the signal, if one to stop arrived before `work` was done. `work` is dropped.
    pub(super) async fn unless_stopped<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, &'static str> {
        let mut work = pin!(work);
        let mut reload_arrived = false;

        loop {
            tokio::select! {
                done = &mut work => {
                    // The files may have changed after `work` read them, so they are read again.
                    self.is_reload_pending = reload_arrived;
                    return Ok(done);
                }
                action = self.next() => match action {
                    SignalAction::Stop(name) => return Err(name),
                    SignalAction::Reload => reload_arrived = true,
                },
            }
        }
    }
}
