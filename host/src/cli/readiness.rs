//! Reports to the service manager that the host makes progress and is ready, and then that it is
//! alive, for as long as its health check passes.
//!
//! The reports come from a thread of their own, which uses the host as a client would. A report of
//! the main thread would not prove that the I/O threads work. Without a notify socket there is no
//! such thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use jackfield::log::Counted;
use jackfield::{HealthCheck, Host, StartProgress, Status};

use super::sd_notify::{SdNotify, watchdog_timeout};

/// Time between two reports, if the watchdog does not need them more often.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Time-out of one health check before the host is ready.
const START_CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// Time before a failed health check, or a failed notification, is repeated at start.
const START_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Reports the states of the host to systemd.
pub(super) struct ReadinessReporter {
    notifier: Arc<SdNotify>,

    /// Dropping it ends the thread.
    thread: Option<Sender<()>>,

    /// Whether the host is stopping. The thread holds this lock while it reports, so that it
    /// reports nothing after `STOPPING=1`.
    is_stopping: Arc<Mutex<bool>>,
}

/// The state of the thread.
struct ReporterThread<S> {
    notifier: Arc<SdNotify>,
    health_check: Arc<HealthCheck>,
    status: S,
    is_stopping: Arc<Mutex<bool>>,
}

impl ReadinessReporter {
    /// Returns a reporter for a host that starts.
    pub(super) fn new(notifier: SdNotify) -> Self {
        Self { notifier: Arc::new(notifier), thread: None, is_stopping: Arc::default() }
    }

    /// Returns a function that reports the progress of the start. The service manager extends the
    /// time-out of the start with each report, and so only as long as there is progress.
    pub(super) fn progress(&self) -> impl Fn(StartProgress) + Send + Sync + 'static {
        let notifier = Arc::clone(&self.notifier);
        let is_stopping = Arc::clone(&self.is_stopping);

        move |StartProgress { finished, total, next_within }| {
            let is_stopping = lock(&is_stopping);
            if !*is_stopping {
                let status = format!("STATUS=starting: {finished} of {total} plugins");
                notifier.notify(&[&extend_timeout(next_within), &status]);
            }
        }
    }

    /// Starts the health checks, and reports `READY=1` when one has passed.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(super) fn watch(&mut self, host: &Host) -> std::io::Result<()> {
        if self.notifier.is_connected() {
            let reporter = ReporterThread {
                notifier: Arc::clone(&self.notifier),
                health_check: host.health_check(),
                status: host.status(),
                is_stopping: Arc::clone(&self.is_stopping),
            };
            let (end, ended) = channel();
            thread::Builder::new().name("readiness".into()).spawn(move || reporter.run(&ended))?;
            self.thread = Some(end);
        }
        Ok(())
    }

    pub(super) fn report_reloading(&self) {
        self.notifier.notify_reloading();
    }

    pub(super) fn report_reloaded(&self) {
        self.notifier.notify(&["READY=1"]);
    }

    /// Reports that the host stops, which may take up to `limit`.
    pub(super) fn report_stopping(&mut self, limit: Duration) {
        self.thread = None;
        *lock(&self.is_stopping) = true;

        let status = "STATUS=stopping: finishing the requests in flight";
        self.notifier.notify(&["STOPPING=1", &extend_timeout(limit), status]);
    }
}

impl<S: Fn() -> Option<Status>> ReporterThread<S> {
    fn run(self, ended: &Receiver<()>) {
        // Loading a plugin must not delay the reports.
        jackfield::touch_thread_locals();
        if self.report_ready(ended).is_some() {
            self.report_health(ended);
        }
    }

    /// Reports `READY=1` once a health check has passed. Returns `None` if the reporter ends first.
    fn report_ready(&self, ended: &Receiver<()>) -> Option<()> {
        let mut is_logged = false;
        // The status is read before the health check, so that the connection of the check is not
        // counted.
        let status = (self.status)();

        while let Err(error) = self.health_check.check(START_CHECK_TIMEOUT) {
            if !std::mem::replace(&mut is_logged, true) {
                tracing::warn!(
                    %error,
                    "health check failed at start: {error}; readiness is not reported to systemd yet"
                );
            }
            wait(ended, START_RETRY_INTERVAL)?;
        }
        while !self.report(&["READY=1"], status) {
            wait(ended, START_RETRY_INTERVAL)?;
        }
        Some(())
    }

    /// Reports the status and, while the health check passes, `WATCHDOG=1`, until the reporter
    /// ends.
    fn report_health(&self, ended: &Receiver<()>) {
        let watchdog = watchdog_timeout();
        // A check that takes longer than a quarter of the watchdog's time-out fails, so that even
        // the report after a slow check arrives in time.
        let period = watchdog.map_or(REPORT_INTERVAL, |limit| REPORT_INTERVAL.min(limit / 2));
        let check_timeout = watchdog.map_or(REPORT_INTERVAL, |limit| limit / 4);
        let mut is_failing = false;

        while wait(ended, if is_failing { period / 4 } else { period }).is_some() {
            let status = (self.status)();
            let checked = watchdog.map_or(Ok(()), |_| self.health_check.check(check_timeout));
            if self.is_stopping() {
                return;
            }

            match checked {
                Ok(()) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("health check passed again; watchdog reports resume");
                    }
                    self.report(if watchdog.is_some() { &["WATCHDOG=1"] } else { &[] }, status);
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::error!(
                            %error,
                            "health check failed: {error}; watchdog reports stop, \
                             and systemd restarts the host unless it recovers"
                        );
                    }
                }
            }
        }
    }

    fn is_stopping(&self) -> bool {
        *lock(&self.is_stopping)
    }

    /// Sends the assignments and the status, unless the host is stopping. Returns `false` if the
    /// service manager did not receive them.
    fn report(&self, assignments: &[&str], status: Option<Status>) -> bool {
        let is_stopping = lock(&self.is_stopping);
        let Some(Status { connections, in_flight, plugins, unhealthy }) = status.filter(|_| !*is_stopping)
        else {
            return true;
        };

        let mut status = format!(
            "STATUS={connections} connections, {in_flight} in flight, {}",
            Counted(plugins, "plugin")
        );
        if unhealthy > 0 {
            status += &format!(", {unhealthy} of them unhealthy");
        }
        self.notifier.notify(&[assignments, &[&status]].concat())
    }
}

/// Returns the assignment that extends the time-out of the current state to `limit` from now.
fn extend_timeout(limit: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", limit.as_micros())
}

/// Waits for `timeout`. Returns `None` at once if the reporter ends.
fn wait(ended: &Receiver<()>, timeout: Duration) -> Option<()> {
    (ended.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout)).then_some(())
}

/// Locks the flag, also after a thread panicked with the lock: a flag is always consistent.
fn lock(flag: &Mutex<bool>) -> MutexGuard<'_, bool> {
    flag.lock().unwrap_or_else(PoisonError::into_inner)
}
