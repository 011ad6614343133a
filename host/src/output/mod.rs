//! Captures what plugins write to stdout and stderr into the log.
//!
//! Both descriptors lead to a file that a thread reads while it grows. It is a file and not a pipe,
//! so that no writer ever waits for the reader, and so that the last output of a crashing process
//! is kept for the next host. Pages that were read are returned to the file system at once, which
//! keeps the file small. Writing to the file does not fail (`storage.rs`).

mod line_splitter;
mod storage;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{FallocateFlags, fallocate, inotify};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio::{dup2_stderr, dup2_stdout, stderr, stdout};

pub(crate) use self::line_splitter::LineSplitter;
use self::line_splitter::{DroppedOutput, MAX_BYTES, MAX_LINES, WINDOW};
use self::storage::OutputStorage;
use crate::crash_record::{CrashRecord, PluginAttribution};
use crate::host_thread::HostThread;
use crate::log::{ShortDuration, printable};
use crate::metrics::Metrics;
use crate::sync::lock;

/// Bytes per read, and the unit in which read pages are returned to the file system.
const CHUNK: usize = 64 * 1024;

/// Reads in a row. It bounds the end of the host while a plugin keeps writing.
const MAX_ROUNDS: usize = 64;

/// Bytes that the reader may be behind. If it is further behind, the bytes between are dropped
/// unread.
const MAX_BEHIND: u64 = 1 << 20;

/// Time without further output after which an unfinished line is logged.
const PAUSE: Duration = Duration::from_millis(200);

/// Time for the last output to be logged when the capture ends.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Polling interval where the kernel does not report that the file grows.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Interval between two looks at the room of the record directory, also without any output.
const ROOM_INTERVAL: Duration = Duration::from_secs(1);

/// Leads stdout and stderr of the process to a file, until it is restored.
struct Redirection {
    original: [OwnedFd; 2],
    is_restored: Mutex<bool>,
}

impl Redirection {
    /// Leads both descriptors to `file`. Returns `false` if they were restored, or the system
    /// cannot do it.
    fn lead_to(&self, file: &File) -> bool {
        let is_restored = lock(&self.is_restored);
        !*is_restored && dup2_stdout(file).and_then(|()| dup2_stderr(file)).is_ok()
    }

    fn restore(&self) {
        *lock(&self.is_restored) = true;
        // This cannot fail, because both descriptors are open.
        let _ = dup2_stdout(&self.original[0]);
        let _ = dup2_stderr(&self.original[1]);
    }
}

/// Redirects stdout and stderr of this process into the log. Dropping it restores both.
pub(crate) struct OutputCapture {
    redirection: Arc<Redirection>,
    end: OwnedFd,
    thread: Option<HostThread>,
}

impl OutputCapture {
    /// Captures whatever is written to descriptors 1 and 2 from now on. The log itself must use
    /// another descriptor.
    ///
    /// # Errors
    ///
    /// The system provides no file, thread or descriptor. Nothing is changed then.
    pub(crate) fn begin(crash_record: &Arc<CrashRecord>, metrics: Arc<Metrics>) -> io::Result<Self> {
        let (storage, file) = OutputStorage::open(crash_record)?;
        // Without an instance, of which each user has few, the file is polled.
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok();
        let end = eventfd(0, EventfdFlags::CLOEXEC)?;
        let original = [fcntl_dupfd_cloexec(stdout(), 3)?, fcntl_dupfd_cloexec(stderr(), 3)?];
        let redirection = Arc::new(Redirection { original, is_restored: Mutex::default() });
        let mut reader = OutputReader {
            file: file.try_clone()?,
            storage,
            redirection: Arc::clone(&redirection),
            watch,
            is_notified: false,
            end: end.try_clone()?,
            attribution: PluginAttribution::new(Arc::clone(crash_record)),
            lines: LineSplitter::new(Instant::now()),
            metrics,
            read_to: 0,
            returned_to: 0,
        };
        reader.watch_file();
        let thread = HostThread::spawn("output", move || reader.run())?;

        // From here on, dropping `capture` after a failure restores both descriptors.
        let capture = Self { redirection, end, thread: Some(thread) };
        dup2_stdout(&file)?;
        dup2_stderr(&file)?;
        Ok(capture)
    }
}

impl Drop for OutputCapture {
    fn drop(&mut self) {
        self.redirection.restore();
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
        // The thread reads the rest of the file, then ends. It may have to wait for the log.
        let until = Instant::now() + END_LIMIT;
        if self.thread.take().is_some_and(|thread| thread.join_before(until).is_err()) {
            tracing::warn!("the last output of plugins was not logged within {}", ShortDuration(END_LIMIT));
        }
    }
}

/// The state of the thread `output`.
struct OutputReader {
    file: File,
    storage: OutputStorage,
    redirection: Arc<Redirection>,
    /// `None` if the system provides no inotify instance.
    watch: Option<OwnedFd>,
    /// Whether the kernel reports that the file grows.
    is_notified: bool,
    end: OwnedFd,
    attribution: PluginAttribution,
    lines: LineSplitter,
    metrics: Arc<Metrics>,
    /// Position up to which the file was read.
    read_to: u64,
    /// Position up to which the pages were returned to the file system.
    returned_to: u64,
}

impl OutputReader {
    fn run(mut self) {
        loop {
            let is_end = self.wait();
            if let Err(error) = self.read() {
                tracing::error!(
                    %error,
                    "cannot read the output of plugins: {error}; \
                     their stdout and stderr stay out of the log until a restart"
                );
                return;
            }

            let now = Instant::now();
            if let Some(dropped) = self.lines.take_dropped(now, is_end) {
                self.report_dropped(dropped);
            }
            if is_end {
                self.end_line();
                return;
            }
            if let Some(next) = self.storage.next_file(&self.file) {
                self.move_to(next);
            }
        }
    }

    /// Asks the kernel to report that the file grows.
    fn watch_file(&mut self) {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.file));
        // inotify accepts a watch on a memory file, but never reports anything about it.
        let watch = self.watch.as_ref().filter(|_| self.storage.is_in_directory());
        self.is_notified =
            watch.is_some_and(|watch| inotify::add_watch(watch, path, inotify::WatchFlags::MODIFY).is_ok());
    }

    /// Captures into another file, and reads the rest of the current one.
    fn move_to(&mut self, next: File) {
        if !self.redirection.lead_to(&next) {
            return;
        }
        self.storage.report_place();
        // The next round reports a file that cannot be read.
        let _ = self.read();

        self.file = next;
        (self.read_to, self.returned_to) = (0, 0);
        self.attribution.set_logged(0);
        self.watch_file();
    }

    /// Waits until there may be output to read or to report, and returns whether the capture ends.
    fn wait(&mut self) -> bool {
        // The last round may have left output unread, whose notifications were already taken.
        let is_behind = self.read_to < self.file.metadata().map_or(0, |metadata| metadata.len());
        let mut limit = self.storage.can_move().then_some(ROOM_INTERVAL);
        if !self.is_notified || is_behind {
            limit = Some(POLL_INTERVAL);
        }
        if self.lines.has_dropped() {
            limit = Some(WINDOW);
        }
        if self.lines.is_pending() {
            limit = Some(PAUSE);
        }

        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        // Without an instance, the same descriptor is polled twice.
        let watch = self.watch.as_ref().unwrap_or(&self.end);
        let mut polled = [PollFd::new(&self.end, PollFlags::IN), PollFd::new(watch, PollFlags::IN)];
        match poll(&mut polled, limit.as_ref()) {
            Ok(0) => {
                if self.lines.is_pending() {
                    self.end_line();
                }
                false
            }
            Ok(_) => {
                let is_end = !polled[0].revents().is_empty();
                // The events say nothing that the file does not show; they are only consumed.
                let mut events = [0; 4096];
                if let Some(watch) = &self.watch {
                    while rustix::io::read(watch, &mut events).is_ok_and(|read| read > 0) {}
                }
                is_end
            }
            Err(_) => false,
        }
    }

    /// Reads and logs the new output, in at most [`MAX_ROUNDS`] rounds.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; CHUNK];
        for round in 0..MAX_ROUNDS {
            let behind = self.file.metadata()?.len().saturating_sub(self.read_to);
            if behind > MAX_BEHIND {
                let skipped = behind - CHUNK as u64;
                self.lines.drop_bytes(skipped, 0);
                self.read_to += skipped;
            }

            let read = self.file.read_at(&mut buffer, self.read_to)?;
            if read == 0 {
                break;
            }
            self.read_to += read as u64;

            // After the first round, the output may have been written by another plugin meanwhile.
            let plugin = self.attribution.update(round > 0);
            self.lines.take(&buffer[..read], Instant::now(), |line| log(plugin, line));
            self.attribution.set_logged(self.read_to);
            self.return_pages();
        }
        Ok(())
    }

    fn end_line(&mut self) {
        let plugin = self.attribution.current();
        self.lines.end_line(Instant::now(), |line| log(plugin, line));
    }

    /// Returns the pages that were read to the file system.
    fn return_pages(&mut self) {
        let done = self.read_to - self.read_to % CHUNK as u64;
        if done > self.returned_to {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // On a file system without holes the file grows to the size of all output.
            if fallocate(self.file.as_fd(), flags, self.returned_to, done - self.returned_to).is_ok() {
                self.returned_to = done;
            }
        }
    }

    fn report_dropped(&self, dropped: DroppedOutput) {
        let DroppedOutput { lines, bytes } = dropped;
        self.metrics.counters.output_dropped.add(bytes);
        tracing::warn!(
            target: "jackfield::output",
            lines,
            bytes,
            "{bytes} bytes of plugin output dropped: more than {MAX_LINES} lines or {} KiB in a second",
            MAX_BYTES / 1024
        );
    }
}

fn log(plugin: &str, line: &str) {
    tracing::info!(target: "jackfield::output", plugin, "{}", printable(line));
}
