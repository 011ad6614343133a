//! What a plugin is offered while it is probed: log, clock and sleeps are real, other methods are not there.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use jackfield_plugin_api::abi::{CallFacts, CallReply, ReplyFuture, Services, SleepFuture};
use jackfield_plugin_api::{Error, Level};

use super::child::Reporter;
use super::report::ProbeReport;
use crate::sync::lock;

/// How many log lines are reported; a plugin that writes more is heard up to here.
const LINES_MAX: usize = 100;
/// The longest log line that is reported, in bytes.
const LINE_MAX: usize = 1024;
/// PLUGIN_UNAVAILABLE of the protocol: there are no other plugins here.
const PLUGIN_UNAVAILABLE: i64 = -32005;

/// How many sleeps have a thread just now.
static SLEEPERS: AtomicUsize = AtomicUsize::new(0);

pub(super) fn sleepers() -> usize {
    SLEEPERS.load(Ordering::Relaxed)
}

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

fn unavailable(method: &str) -> Error {
    Error::from_wire(PLUGIN_UNAVAILABLE, format!("{method} cannot be called while a plugin is probed"), None)
}

impl Services for ProbeServices {
    fn log_enabled(&self, level: Level) -> bool {
        level <= Level::Debug && self.lines.load(Ordering::Relaxed) < LINES_MAX
    }

    fn log(&self, level: Level, line: &str) {
        if self.lines.fetch_add(1, Ordering::Relaxed) < LINES_MAX {
            let line = line[..line.floor_char_boundary(LINE_MAX)].to_owned();
            self.reporter.send(&ProbeReport::Log { level: level as u8, line });
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, until: u64) -> SleepFuture {
        let left = Duration::from_nanos(until.saturating_sub(self.now()));
        Box::pin(Sleep { until: Instant::now().checked_add(left), waker: Arc::default(), begun: false })
    }

    fn call(&self, _: &CallFacts<'_>, method: &str, _: &[u8], _: Option<Duration>) -> ReplyFuture {
        let error = unavailable(method);
        Box::pin(async move { Err(error) })
    }

    fn call_wait(&self, _: &CallFacts<'_>, method: &str, _: &[u8], _: Option<Duration>) -> CallReply {
        Err(unavailable(method))
    }
}

/// A sleep with a thread of its own: a probe has few of them, and no runtime.
struct Sleep {
    /// `None` is further away than the clock reaches.
    until: Option<Instant>,
    waker: Arc<Mutex<Option<Waker>>>,
    begun: bool,
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
        if !self.begun {
            self.begun = true;
            let waker = Arc::clone(&self.waker);
            SLEEPERS.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || {
                thread::sleep(left);
                if let Some(waker) = lock(&waker).take() {
                    waker.wake();
                }
                SLEEPERS.fetch_sub(1, Ordering::Relaxed);
            });
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        // The waker is the plugin's: it must not be left with the thread when the plugin's code goes.
        lock(&self.waker).take();
    }
}
