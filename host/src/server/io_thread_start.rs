//! The start of I/O threads that replace others, or are the first ones.
//!
//! A thread that starts while a plugin is loaded or unloaded waits for that. No connection may be
//! routed to it before it reports that it runs.

use std::io;
use std::ops::Range;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::io_thread::IoThread;
use crate::routing::Dispatcher;

/// Time in which new threads must run, longer than `plugins.probe` usually permits a constructor.
const START_LIMIT: Duration = Duration::from_secs(15);

/// Interval between two questions whether to wait on.
const START_POLL: Duration = Duration::from_millis(50);

/// Threads that were started together and have not all reported that they run. If they are dropped,
/// each of them ends as soon as it runs.
pub(super) struct StartingThreads {
    threads: Vec<IoThread>,
    reports: mpsc::Receiver<()>,
}

impl StartingThreads {
    /// Starts the threads with these numbers.
    ///
    /// # Errors
    ///
    /// The system provides no thread, reactor or timer.
    pub(super) fn begin(numbers: Range<u64>, dispatcher: &Arc<Dispatcher>) -> io::Result<Self> {
        let (report, reports) = mpsc::channel();
        let start = |number| {
            let report = report.clone();
            let report_running = move || {
                // The receiver is missing if nothing waits for the thread any more.
                let _ = report.send(());
            };
            IoThread::start(number, Arc::clone(dispatcher), report_running)
        };
        Ok(Self { threads: numbers.map(start).collect::<io::Result<_>>()?, reports })
    }

    /// Waits until all threads run, and returns them. Blocks for at most [`START_LIMIT`], and only
    /// as long as `may_wait` returns `true`.
    ///
    /// # Errors
    ///
    /// A thread does not run in time.
    pub(super) fn wait(self, may_wait: impl Fn() -> bool) -> io::Result<Vec<IoThread>> {
        let Self { threads, reports } = self;
        let until = Instant::now() + START_LIMIT;
        let mut missing = threads.len();

        while missing > 0 {
            match reports.recv_timeout(START_POLL) {
                Ok(()) => missing -= 1,
                Err(mpsc::RecvTimeoutError::Timeout) if may_wait() && Instant::now() < until => {}
                Err(_) => {
                    return Err(io::Error::other(
                        "a plugin that is loaded or unloaded meanwhile delays them",
                    ));
                }
            }
        }
        Ok(threads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::crash_record::CrashRecord;
    use crate::routing::ConnectionRules;

    fn dispatcher() -> Arc<Dispatcher> {
        let config = Config::default();
        let crash_record = CrashRecord::open(&config.plugins.crash).unwrap();
        Dispatcher::new(ConnectionRules::of(&config), crash_record)
    }

    #[test]
    fn returns_the_threads_when_all_run() {
        let threads = StartingThreads::begin(3..5, &dispatcher()).unwrap().wait(|| true).unwrap();
        assert_eq!(threads.iter().map(|thread| thread.number).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn gives_up_when_it_may_not_wait_any_longer() {
        let (_never, reports) = mpsc::channel();
        let StartingThreads { threads, .. } = StartingThreads::begin(0..1, &dispatcher()).unwrap();
        assert!(StartingThreads { threads, reports }.wait(|| false).is_err());
    }
}
