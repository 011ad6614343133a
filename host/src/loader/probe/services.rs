//! The host services for a plugin during its probe. Log, clock and sleeps work; calls to other
//! methods fail.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use jackfield_plugin_api::abi::{
    CallFacts, CallReply, OutgoingCall, PANIC_LINE, ReplyFuture, Services, SleepFuture,
};
use jackfield_plugin_api::{Error, Level};

use super::report::{ProbeReport, Reporter};
use crate::loader::backtrace;
use crate::sync::lock;

/// Log lines that are reported. Further lines of the plugin are dropped.
const LINES_MAX: usize = 100;
/// Errors and warnings that are reported beyond [`LINES_MAX`]: the debug messages of a library must
/// not hide why a plugin fails.
const URGENT_LINES_MAX: usize = 50;
/// The longest log line that is reported, in bytes.
const LINE_LENGTH_MAX: usize = 1024;
/// The longest line of a panic with its backtrace, in bytes.
const PANIC_LENGTH_MAX: usize = 2048;
/// PLUGIN_UNAVAILABLE of the protocol: there are no other plugins during a probe.
const PLUGIN_UNAVAILABLE: i64 = -32005;

/// The number of sleeps that have a thread now.
static SLEEP_THREADS: AtomicUsize = AtomicUsize::new(0);

/// Returns the number of threads that these services have started.
pub(super) fn sleep_threads() -> usize {
    SLEEP_THREADS.load(Ordering::Relaxed)
}

/// The services that a probed plugin gets.
pub(super) struct ProbeServices {
    reporter: Reporter,
    began: Instant,
    lines: AtomicUsize,
}

impl ProbeServices {
    pub(super) fn new(reporter: Reporter) -> Self {
        Self { reporter, began: Instant::now(), lines: AtomicUsize::new(0) }
    }
}

fn lines_max(level: Level) -> usize {
    if level <= Level::Warn { LINES_MAX + URGENT_LINES_MAX } else { LINES_MAX }
}

fn unavailable(method: &str) -> Error {
    Error::from_wire(PLUGIN_UNAVAILABLE, format!("{method} cannot be called while a plugin is probed"), None)
}

impl Services for ProbeServices {
    fn log_enabled(&self, level: Level) -> bool {
        level <= Level::Debug && self.lines.load(Ordering::Relaxed) < lines_max(level)
    }

    fn log(&self, level: Level, line: &str) {
        if self.lines.fetch_add(1, Ordering::Relaxed) < lines_max(level) {
            let is_panic = level == Level::Error && line.starts_with(PANIC_LINE);
            let (line, length_max) = if is_panic {
                (backtrace::append_to(line), PANIC_LENGTH_MAX)
            } else {
                (line.into(), LINE_LENGTH_MAX)
            };
            let line = line[..line.floor_char_boundary(length_max)].to_owned();
            self.reporter.send(&ProbeReport::Log { level: level as u8, line });
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, until: u64) -> SleepFuture {
        let left = Duration::from_nanos(until.saturating_sub(self.now()));
        Box::pin(Sleep { until: Instant::now().checked_add(left), waker: Arc::default(), has_thread: false })
    }

    fn call(&self, _: &CallFacts<'_>, call: OutgoingCall<'_>) -> ReplyFuture {
        let error = unavailable(call.method);
        Box::pin(async move { Err(error) })
    }

    fn call_wait(&self, _: &CallFacts<'_>, call: OutgoingCall<'_>) -> CallReply {
        Err(unavailable(call.method))
    }
}

/// A sleep with a thread of its own. A probe has few sleeps, and no runtime.
struct Sleep {
    /// `None` is later than the clock can represent.
    until: Option<Instant>,
    waker: Arc<Mutex<Option<Waker>>>,
    has_thread: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Pending };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Poll::Ready(());
        }

        *lock(&self.waker) = Some(cx.waker().clone());
        if !self.has_thread {
            self.has_thread = true;
            let waker = Arc::clone(&self.waker);
            SLEEP_THREADS.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || {
                thread::sleep(left);
                if let Some(waker) = lock(&waker).take() {
                    waker.wake();
                }
                SLEEP_THREADS.fetch_sub(1, Ordering::Relaxed);
            });
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        // The waker is code of the plugin. The thread must not hold it when that code is closed.
        lock(&self.waker).take();
    }
}
