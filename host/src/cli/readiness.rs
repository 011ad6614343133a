//! The thread that says, for as long as it is true, that the host answers: ready, and then alive.
//!
//! A thread of its own, so that it finds out what a client would: a main thread that is well says nothing about the
//! threads that serve. Where nobody listens there is no such thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use jackfield::{HealthCheck, Host, Status};

use super::sd_notify::{SdNotify, watchdog};

/// How often the status is told.
const OFTEN: Duration = Duration::from_secs(5);
/// How long the host may take to answer itself before it is ready; it is asked again and again.
const FIRST_ANSWER: Duration = Duration::from_secs(1);
/// How soon it is asked again when it did not answer.
const AGAIN: Duration = Duration::from_millis(20);

/// The one who tells the supervisor how the host is.
pub(super) struct ReadinessReporter {
    notifier: Arc<SdNotify>,
    /// Gone, the thread ends.
    thread: Option<Sender<()>>,
    /// Held while something is told that must not be mixed with the thread's words.
    silence: Arc<Mutex<bool>>,
}

/// The thread's own.
struct ReporterThread<S> {
    notifier: Arc<SdNotify>,
    health_check: Arc<HealthCheck>,
    status: S,
    silence: Arc<Mutex<bool>>,
}

impl ReadinessReporter {
    /// Begins to ask the host, and says `READY=1` when it answers.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(notifier: SdNotify, host: &Host) -> std::io::Result<Self> {
        let notifier = Arc::new(notifier);
        let silence: Arc<Mutex<bool>> = Arc::default();
        let thread = if notifier.is_heard() {
            let watch = ReporterThread {
                notifier: Arc::clone(&notifier),
                health_check: host.health_check(),
                status: host.status(),
                silence: Arc::clone(&silence),
            };
            let (end, ended) = channel();
            thread::Builder::new().name("keeper".into()).spawn(move || watch.run(&ended))?;
            Some(end)
        } else {
            None
        };
        Ok(Self { notifier, thread, silence })
    }

    pub(super) fn reloading(&self) {
        self.notifier.reloading();
    }

    pub(super) fn reloaded(&self) {
        self.notifier.say(&["READY=1"]);
    }

    /// The host stops, and may take `limit` for that.
    pub(super) fn stopping(&mut self, limit: Duration) {
        self.thread = None;
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let limit = format!("EXTEND_TIMEOUT_USEC={}", limit.as_micros());
        self.notifier.say(&["STOPPING=1", &limit, "STATUS=answering what is in flight"]);
    }
}

impl<S: Fn() -> Option<Status>> ReporterThread<S> {
    fn run(self, ended: &Receiver<()>) {
        let mut complained = false;
        // Looked up before the host is asked, which is a connection, too.
        let mut status = (self.status)();
        while let Err(error) = self.health_check.check(FIRST_ANSWER) {
            if !std::mem::replace(&mut complained, true) {
                tracing::warn!(%error, "not ready yet");
            }
            if ended.recv_timeout(AGAIN) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
        while !self.tell(&["READY=1"], status) {
            if ended.recv_timeout(AGAIN) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
        let watchdog = watchdog();
        // Fed at half the time that it allows or more often; an answer that takes longer than a quarter is none, so
        // that a late one is still in time.
        let period = watchdog.map_or(OFTEN, |limit| OFTEN.min(limit / 2));
        let patience = watchdog.map_or(OFTEN, |limit| limit / 4);
        let mut fails = false;
        loop {
            let wait = if fails { period / 4 } else { period };
            if ended.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            status = (self.status)();
            let beat = watchdog.map_or(Ok(()), |_| self.health_check.check(patience));
            if self.is_silenced() {
                return;
            }
            match beat {
                Ok(()) => {
                    if std::mem::take(&mut fails) {
                        tracing::info!("the host answers itself again");
                    }
                    self.tell(if watchdog.is_some() { &["WATCHDOG=1"] } else { &[] }, status);
                }
                Err(error) => {
                    if !std::mem::replace(&mut fails, true) {
                        tracing::error!(%error, "the host does not answer itself; the watchdog is not fed");
                    }
                }
            }
        }
    }

    fn is_silenced(&self) -> bool {
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells this, and how the host is; nothing once it stops. `false` when it was not heard.
    fn tell(&self, assignments: &[&str], status: Option<Status>) -> bool {
        let silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Status { connections, in_flight, plugins, unhealthy }) = status.filter(|_| !*silence) else {
            return true;
        };
        let mut status =
            format!("STATUS={connections} connections, {in_flight} in flight, {plugins} plugins");
        if unhealthy > 0 {
            status += &format!(", {unhealthy} of them unhealthy");
        }
        self.notifier.say(&[assignments, &[&status]].concat())
    }
}
