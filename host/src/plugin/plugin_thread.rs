//! Threads that run plugin code: registered in the crash record, and always joined.
//!
//! Code that has run on a thread cannot be unloaded before that thread has ended, because the
//! thread drops the code's thread-local values at its end. Plugin code therefore runs only on
//! threads that can be joined: the threads of its generation, joined threads for its lifecycle
//! phases (start, stop, export, import), and I/O threads, which are replaced before the code is
//! closed. The host's other threads never run any of it.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::crash_record::{CrashRecord, RecordSlot, SlotSampler};
use crate::log::ShortDuration;

/// Linux shows this many bytes of a thread's name.
const MAX_NAME: usize = 15;

/// Interval at which a thread that waits for a joined one checks whether to give up.
const GIVE_UP_POLL: Duration = Duration::from_millis(20);

/// A thread that was started, and the reader of its slot in the crash record, if it has one.
pub(super) type StartedThread = (JoinHandle<()>, Option<SlotSampler>);

/// Starts the threads of one generation.
pub(super) struct ThreadSpawner {
    pub(super) plugin: Arc<str>,
    pub(super) generation: u64,
    pub(super) crash_record: Arc<CrashRecord>,
}

impl ThreadSpawner {
    /// Starts a thread named `PLUGIN:SUFFIX` with a slot in the crash record. Returns a reader of
    /// the slot as well; `None` if there is no free slot.
    ///
    /// # Errors
    ///
    /// The system cannot start another thread.
    pub(super) fn spawn(
        &self,
        suffix: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<StartedThread> {
        let slot = self.crash_record.claim_slot();
        let sampler = slot.as_ref().map(RecordSlot::sampler);

        let thread = Builder::new().name(thread_name(&self.plugin, suffix)).spawn(move || {
            RecordSlot::attach(slot);
            work();
        })?;
        Ok((thread, sampler))
    }
}

/// Returns `PLUGIN:SUFFIX`, with the plugin's name cut so that Linux shows the whole suffix.
fn thread_name(plugin: &str, suffix: &str) -> String {
    let room = MAX_NAME.saturating_sub(suffix.len() + 1);
    format!("{}:{suffix}", &plugin[..plugin.floor_char_boundary(room)])
}

/// Joins the threads that end before `until` and returns the number of the others, which continue
/// to run.
pub(super) fn join_until(mut threads: Vec<JoinHandle<()>>, until: Instant) -> usize {
    let mut pause = Duration::from_micros(50);

    loop {
        let (ended, running): (Vec<_>, Vec<_>) = threads.into_iter().partition(JoinHandle::is_finished);
        for thread in ended {
            // The threads do not panic: panics of a plugin do not leave its code.
            let _ = thread.join();
        }
        if running.is_empty() || Instant::now() >= until {
            return running.len();
        }

        threads = running;
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// Why a joined thread returned no result. Its text ends up in the
/// [`LoadError`](crate::loader::LoadError) of the plugin or in the reason why its code is retained.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinedRunError {
    /// The system cannot start another thread.
    #[error("cannot start a thread: {0}")]
    NoThread(io::Error),

    /// The thread continues to run, with everything that was passed to it.
    #[error("the plugin did not return within {}", ShortDuration(*.0))]
    TimedOut(Duration),

    /// As [`JoinedRunError::TimedOut`], but the limit was not reached: the host ends.
    #[error("the plugin had not returned when the host ended")]
    GivenUp,

    /// The thread panicked outside of plugin code: panics of a plugin do not leave its code.
    #[error("the thread panicked outside of plugin code")]
    Ended,
}

/// Runs `work` on a joined thread with a slot in the crash record, and returns its result after the
/// thread has been joined. Blocks for at most `limit`.
///
/// # Errors
///
/// See [`JoinedRunError`].
pub(crate) fn run_joined<T: Send + 'static>(
    name: &str,
    crash_record: &CrashRecord,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinedRunError> {
    run_joined_unless(&|| false, name, crash_record, limit, work)
}

/// As [`run_joined`], but returns [`JoinedRunError::GivenUp`] soon after `gives_up` returns `true`.
///
/// # Errors
///
/// See [`JoinedRunError`].
pub(crate) fn run_joined_unless<T: Send + 'static>(
    gives_up: &dyn Fn() -> bool,
    name: &str,
    crash_record: &CrashRecord,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinedRunError> {
    let (sender, result) = mpsc::sync_channel(1);
    let slot = crash_record.claim_slot();
    let run = move || {
        RecordSlot::attach(slot);
        // After the limit nothing receives the result, and it is dropped on this thread.
        let _ = sender.send(work());
    };
    let thread = Builder::new().name(name.to_owned()).spawn(run).map_err(JoinedRunError::NoThread)?;

    match receive_unless(gives_up, &result, limit) {
        Ok(result) => {
            // The thread has nothing left to do, so this does not block.
            let _ = thread.join();
            Ok(result)
        }
        Err(error) => Err(error),
    }
}

/// Waits for a result, and asks `gives_up` meanwhile.
fn receive_unless<T>(
    gives_up: &dyn Fn() -> bool,
    result: &mpsc::Receiver<T>,
    limit: Duration,
) -> Result<T, JoinedRunError> {
    let began = Instant::now();
    loop {
        let left = limit.saturating_sub(began.elapsed());
        match result.recv_timeout(left.min(GIVE_UP_POLL)) {
            Ok(result) => return Ok(result),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(JoinedRunError::Ended),
            Err(mpsc::RecvTimeoutError::Timeout) if gives_up() => return Err(JoinedRunError::GivenUp),
            Err(mpsc::RecvTimeoutError::Timeout) if left.is_zero() => {
                return Err(JoinedRunError::TimedOut(limit));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::memory_crash_record;
    use super::*;

    #[test]
    fn returns_the_result_of_a_joined_run() {
        let crash_record = memory_crash_record();
        assert_eq!(run_joined("a", &crash_record, Duration::from_secs(30), || 7).unwrap(), 7);
    }

    #[test]
    fn leaves_a_joined_thread_that_exceeds_its_limit() {
        let crash_record = memory_crash_record();
        let (resume, hangs) = mpsc::channel::<()>();
        let hung = run_joined("a", &crash_record, Duration::from_millis(1), move || hangs.recv());
        assert!(matches!(hung, Err(JoinedRunError::TimedOut(_))));
        drop(resume);
    }

    #[test]
    fn gives_a_joined_thread_up_before_its_limit() {
        let crash_record = memory_crash_record();
        let (resume, hangs) = mpsc::channel::<()>();
        let limit = Duration::from_secs(3600);
        let hung = run_joined_unless(&|| true, "a", &crash_record, limit, move || hangs.recv());
        assert!(matches!(hung, Err(JoinedRunError::GivenUp)));
        drop(resume);
    }

    #[test]
    fn counts_the_threads_that_do_not_end_in_time() {
        let (resume, hangs) = mpsc::channel::<()>();
        let running = thread::spawn(move || {
            let _ = hangs.recv();
        });
        let ended = thread::spawn(|| ());
        while !ended.is_finished() {
            thread::yield_now();
        }

        assert_eq!(join_until(vec![running, ended], Instant::now()), 1);
        drop(resume);
    }

    #[test]
    fn cuts_the_plugin_name_so_that_the_suffix_is_visible() {
        assert_eq!(thread_name("device", "async"), "device:async");
        assert_eq!(thread_name("configuration", "async"), "configura:async");
        assert_eq!(thread_name("configuration", "12"), "configuratio:12");
    }
}
