//! Threads of the host: they touch their thread-locals first, and are joined only once they have
//! really ended.
//!
//! `JoinHandle::is_finished` is true as soon as the function of a thread has returned. The thread
//! then drops its thread-local values, which runs destructors of plugins, and `join` waits for
//! them without a limit. A thread has ended when the kernel does not list it any more; then `join`
//! returns at once.
//!
//! ```text
//! started ──► touched its thread-locals ──► working ──► returned ──► ended ──► joined
//!                                                           │
//!                                                           └── a destructor blocks: never joined
//! ```

use std::fs;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::thread_locals;

/// Bounds of the interval between two checks whether a thread has ended.
const MIN_POLL: Duration = Duration::from_micros(50);
const MAX_POLL: Duration = Duration::from_millis(5);

/// A thread of this process as the kernel lists it. The kernel reuses a thread id, but not with the
/// same start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TaskId {
    tid: u32,

    /// In clock ticks since the machine was started.
    start_time: u64,
}

impl TaskId {
    /// Returns the id of the current thread; `None` if procfs cannot be read.
    fn current() -> Option<Self> {
        Self::parse(&fs::read("/proc/thread-self/stat").ok()?)
    }

    /// Parses the content of `/proc/PID/task/TID/stat`, whose fields proc(5) lists.
    fn parse(stat: &[u8]) -> Option<Self> {
        // The name, in parentheses, may contain anything. The start time is field 22, the twentieth
        // one behind the name.
        let name_end = stat.iter().rposition(|byte| *byte == b')')?;
        let fields = str::from_utf8(stat.get(name_end + 1..)?).ok()?;
        let start_time = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;

        let tid = stat.split(|byte| *byte == b' ').next()?;
        Some(Self { tid: str::from_utf8(tid).ok()?.parse().ok()?, start_time })
    }

    /// Returns whether the kernel still lists the thread.
    fn is_listed(self) -> bool {
        match fs::read(format!("/proc/self/task/{}/stat", self.tid)) {
            Ok(stat) => Self::parse(&stat) == Some(self),
            // `ESRCH`: the thread ended while its file was read.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => false,
            // Without a free descriptor nothing is known about the thread, so it may still run.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// A thread of the host that ends with a value.
pub(crate) struct HostThread<T = ()> {
    handle: JoinHandle<T>,

    /// Set by the thread when it starts; `None` inside if procfs cannot be read.
    task: Arc<OnceLock<Option<TaskId>>>,
}

impl<T: Send + 'static> HostThread<T> {
    /// Starts a thread that touches its thread-locals and then runs `work`.
    ///
    /// # Errors
    ///
    /// The system cannot start another thread.
    pub(crate) fn spawn(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let task: Arc<OnceLock<Option<TaskId>>> = Arc::default();
        let own_task = Arc::clone(&task);

        let handle = Builder::new().name(name.to_owned()).spawn(move || {
            own_task.get_or_init(TaskId::current);
            thread_locals::touch();
            work()
        })?;
        Ok(Self { handle, task })
    }

    /// Returns the thread id; `None` if the thread has not started, or procfs cannot be read.
    pub(crate) fn tid(&self) -> Option<u32> {
        self.task.get().copied().flatten().map(|task| task.tid)
    }

    /// Returns whether the function of the thread has returned. The thread may still drop its
    /// thread-local values, which takes as long as the destructors of plugins do.
    pub(crate) fn has_returned(&self) -> bool {
        self.handle.is_finished()
    }

    /// Returns whether the thread has left the process.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_returned() && !self.task.get().is_some_and(|task| task.is_some_and(TaskId::is_listed))
    }

    /// Joins the thread when it ends, if it does before `until`. Blocks until then at most.
    ///
    /// # Errors
    ///
    /// The thread itself, if it has not ended.
    pub(crate) fn join_before(self, until: Instant) -> Result<thread::Result<T>, Self> {
        let mut pause = MIN_POLL;
        while !self.has_ended() {
            if Instant::now() >= until {
                return Err(self);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(MAX_POLL);
        }
        Ok(self.handle.join())
    }
}

/// Joins the threads that end before `until` and returns the number of the others, which continue
/// to run. Blocks.
pub(crate) fn join_all_before<T: Send + 'static>(
    threads: impl IntoIterator<Item = HostThread<T>>,
    until: Instant,
) -> usize {
    // The threads do not panic: panics of a plugin do not leave its code.
    threads.into_iter().filter_map(|thread| thread.join_before(until).err()).count()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Waits in its destructor until the sender is dropped.
    struct BlocksWhenDropped(Receiver<()>);

    impl Drop for BlocksWhenDropped {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    thread_local! {
        static BLOCKS: RefCell<Option<BlocksWhenDropped>> = const { RefCell::new(None) };
    }

    #[test]
    fn returns_the_value_of_a_thread_that_has_ended() {
        let thread = HostThread::spawn("a", || 7).unwrap();
        let Ok(joined) = thread.join_before(Instant::now() + LIMIT) else { panic!("it has not ended") };
        assert_eq!(joined.unwrap(), 7);
    }

    #[test]
    fn does_not_join_a_thread_whose_destructor_blocks() {
        let (resume, blocks) = channel();
        let thread = HostThread::spawn("a", move || BLOCKS.set(Some(BlocksWhenDropped(blocks)))).unwrap();
        while !thread.has_returned() {
            thread::yield_now();
        }

        assert!(!thread.has_ended());
        let Err(thread) = thread.join_before(Instant::now()) else { panic!("it was joined") };
        drop(resume);
        assert!(thread.join_before(Instant::now() + LIMIT).is_ok());
    }

    #[test]
    fn counts_the_threads_that_do_not_end_in_time() {
        let (resume, blocks) = channel::<()>();
        let running = HostThread::spawn("a", move || {
            let _ = blocks.recv();
        })
        .unwrap();
        let ended = HostThread::spawn("b", || ()).unwrap();
        while !ended.has_ended() {
            thread::yield_now();
        }

        assert_eq!(join_all_before([running, ended], Instant::now()), 1);
        drop(resume);
    }

    #[test]
    fn tells_threads_with_the_same_id_apart_by_their_start_times() {
        let stat = |start| format!("42 (a) b) S 1 42 42 0 -1 64 0 0 0 0 0 0 0 0 20 0 3 0 {start} 9 9");
        let (old, new) = (TaskId::parse(stat(500).as_bytes()), TaskId::parse(stat(501).as_bytes()));
        assert_eq!(old, Some(TaskId { tid: 42, start_time: 500 }));
        assert_ne!(old, new);
        assert_eq!(TaskId::parse(b"42 (a) S"), None);

        let own = TaskId::current().unwrap();
        assert!(own.is_listed());
        assert!(!TaskId { start_time: own.start_time + 1, ..own }.is_listed());
    }
}
