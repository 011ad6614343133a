//! Threads that run plugin code: registered in the crash record, and always joined.
//!
//! Code that has run on a thread cannot be unloaded before that thread has ended, because the
//! thread drops the code's thread-local values at its end. Plugin code therefore runs only on
//! threads that can be joined: the threads of its generation, joined threads for its lifecycle
//! phases (start, stop, export, import), and I/O threads, which are replaced before the code is
//! closed. The host's other threads never run any of it.

use std::io;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::awaited_result::{GIVE_UP_POLL, NotReceived, receive_unless};
use super::failure_log::touch_thread_locals;
use crate::crash_record::{CrashRecord, RecordSlot};
use crate::host_thread::HostThread;
use crate::log::ShortDuration;
use crate::system_failure::WithRemedy;

/// Linux shows this many bytes of a thread's name.
const MAX_NAME: usize = 15;

/// Time that a joined thread has to end after it has returned its result, at least.
const END_LIMIT: Duration = Duration::from_millis(500);

/// Starts the threads of one generation.
pub(super) struct ThreadSpawner {
    pub(super) plugin: Arc<str>,
    pub(super) generation: u64,
    pub(super) crash_record: Arc<CrashRecord>,
}

impl ThreadSpawner {
    /// Starts a thread named `PLUGIN:SUFFIX`, with a slot in the crash record if one is free.
    ///
    /// # Errors
    ///
    /// The system cannot start another thread.
    pub(super) fn spawn(&self, suffix: &str, work: impl FnOnce() + Send + 'static) -> io::Result<HostThread> {
        let slot = self.crash_record.claim_slot();
        HostThread::spawn(&thread_name(&self.plugin, suffix), move || {
            RecordSlot::attach(slot);
            touch_thread_locals();
            work();
        })
    }
}

/// Returns `PLUGIN:SUFFIX`, with the plugin's name cut so that Linux shows the whole suffix.
pub(super) fn thread_name(plugin: &str, suffix: &str) -> String {
    let room = MAX_NAME.saturating_sub(suffix.len() + 1);
    format!("{}:{suffix}", &plugin[..plugin.floor_char_boundary(room)])
}

/// Why a joined thread returned no result. Its text ends up in the
/// [`LoadError`](crate::loader::LoadError) of the plugin or in the reason why its code is retained.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinedRunError {
    /// The system cannot start another thread.
    #[error("cannot start a thread: {}", WithRemedy(.0))]
    NoThread(io::Error),

    /// The thread continues to run, with everything that was passed to it.
    #[error("the plugin did not return within {}", ShortDuration(*.0))]
    TimedOut(Duration),

    /// As [`JoinedRunError::TimedOut`], but the limit was not reached: the host ends.
    #[error("the plugin had not returned when the host ended")]
    GivenUp,

    /// The plugin returned, but its thread continues to run destructors of thread-local values.
    #[error("the plugin returned, but its thread did not end within {}", ShortDuration(*.0))]
    ThreadRunning(Duration),

    /// The thread panicked outside of plugin code: panics of a plugin do not leave its code.
    #[error("the thread panicked outside of plugin code")]
    Ended,
}

/// Runs `work` on a joined thread with a slot in the crash record, and returns its result after the
/// thread has been joined. Blocks for at most `limit`, and for half a second while the thread ends.
///
/// # Errors
///
/// See [`JoinedRunError`]. A result whose thread does not end is leaked: it may hold code of the
/// plugin.
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
    let until = Instant::now() + limit;
    let (sender, result) = mpsc::sync_channel(1);
    let slot = crash_record.claim_slot();
    let run = move || {
        RecordSlot::attach(slot);
        touch_thread_locals();
        // After the limit nothing receives the result, and it is dropped on this thread.
        let _ = sender.send(work());
    };
    let thread = HostThread::spawn(name, run).map_err(JoinedRunError::NoThread)?;

    let result = receive_unless(gives_up, &result, limit).map_err(|why| match why {
        NotReceived::Ended => JoinedRunError::Ended,
        NotReceived::TimedOut => JoinedRunError::TimedOut(limit),
        NotReceived::GivenUp => JoinedRunError::GivenUp,
    })?;
    let until = until.max(Instant::now() + END_LIMIT);
    match join_unless(gives_up, thread, until, limit) {
        Ok(()) => Ok(result),
        Err(error) => {
            std::mem::forget(result);
            Err(error)
        }
    }
}

/// Joins a thread that has returned its result, and asks `gives_up` meanwhile.
fn join_unless(
    gives_up: &dyn Fn() -> bool,
    mut thread: HostThread,
    until: Instant,
    limit: Duration,
) -> Result<(), JoinedRunError> {
    loop {
        match thread.join_before(until.min(Instant::now() + GIVE_UP_POLL)) {
            Ok(_) => return Ok(()),
            Err(_) if gives_up() => return Err(JoinedRunError::GivenUp),
            Err(_) if Instant::now() >= until => return Err(JoinedRunError::ThreadRunning(limit)),
            Err(running) => thread = running,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

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
    fn leaves_a_joined_thread_whose_destructor_blocks() {
        thread_local! {
            static BLOCKS: RefCell<Option<BlocksWhenDropped>> = const { RefCell::new(None) };
        }
        struct BlocksWhenDropped(mpsc::Receiver<()>);
        impl Drop for BlocksWhenDropped {
            fn drop(&mut self) {
                let _ = self.0.recv();
            }
        }

        let crash_record = memory_crash_record();
        let (resume, blocks) = mpsc::channel();
        let returned = run_joined("a", &crash_record, Duration::from_millis(1), move || {
            BLOCKS.set(Some(BlocksWhenDropped(blocks)));
        });
        // The limit is so short that a busy machine may not even run the thread within it.
        assert!(
            matches!(returned, Err(JoinedRunError::ThreadRunning(_) | JoinedRunError::TimedOut(_))),
            "{returned:?}"
        );
        drop(resume);
    }

    #[test]
    fn cuts_the_plugin_name_so_that_the_suffix_is_visible() {
        assert_eq!(thread_name("device", "async"), "device:async");
        assert_eq!(thread_name("configuration", "async"), "configura:async");
        assert_eq!(thread_name("configuration", "12"), "configuratio:12");
    }
}
