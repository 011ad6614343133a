//! Captures what plugins write to stdout and stderr into the log.
//!
//! Both descriptors lead to a file that a thread reads while it grows. It is a file and not a pipe,
//! so that no writer ever waits for the reader, and so that the last output of a crashing process
//! is kept for the next host. Pages that were read are returned to the file system at once, which
//! keeps the file small.

mod line_splitter;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{FallocateFlags, fallocate, inotify};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio::{dup2_stderr, dup2_stdout, stderr, stdout};

use self::line_splitter::{DroppedOutput, LineSplitter, MAX_BYTES, MAX_LINES, WINDOW};
use crate::crash_record::{CrashRecord, OutputAttribution};
use crate::host_thread::HostThread;
use crate::log::{ShortDuration, printable};
use crate::metrics::Metrics;

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

/// Redirects stdout and stderr of this process into the log. Dropping it restores both.
pub(crate) struct OutputCapture {
    original: [OwnedFd; 2],
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
        let file = crash_record.create_output()?;
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        // inotify accepts a watch on a memory file, but never reports anything about it.
        let is_notified = crash_record.is_persistent()
            && inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY).is_ok();

        let end = eventfd(0, EventfdFlags::CLOEXEC)?;
        let original = [fcntl_dupfd_cloexec(stdout(), 3)?, fcntl_dupfd_cloexec(stderr(), 3)?];
        let reader = OutputReader {
            file: file.try_clone()?,
            watch,
            is_notified,
            end: end.try_clone()?,
            attribution: OutputAttribution::new(Arc::clone(crash_record)),
            lines: LineSplitter::new(Instant::now()),
            metrics,
            read_to: 0,
            returned_to: 0,
        };
        let thread = HostThread::spawn("output", move || reader.run())?;

        // From here on, dropping `capture` after a failure restores both descriptors.
        let capture = Self { original, end, thread: Some(thread) };
        dup2_stdout(&file)?;
        dup2_stderr(&file)?;
        Ok(capture)
    }
}

impl Drop for OutputCapture {
    fn drop(&mut self) {
        // This cannot fail, because both descriptors are open.
        let _ = dup2_stdout(&self.original[0]);
        let _ = dup2_stderr(&self.original[1]);
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
    watch: OwnedFd,
    /// Whether the kernel reports that the file grows.
    is_notified: bool,
    end: OwnedFd,
    attribution: OutputAttribution,
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
        }
    }

    /// Waits until there may be output to read or to report, and returns whether the capture ends.
    fn wait(&mut self) -> bool {
        // The last round may have left output unread, whose notifications were already taken.
        let is_behind = self.read_to < self.file.metadata().map_or(0, |metadata| metadata.len());
        let mut limit = (!self.is_notified || is_behind).then_some(POLL_INTERVAL);
        if self.lines.has_dropped() {
            limit = Some(WINDOW);
        }
        if self.lines.is_pending() {
            limit = Some(PAUSE);
        }

        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut polled = [PollFd::new(&self.end, PollFlags::IN), PollFd::new(&self.watch, PollFlags::IN)];
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
                while rustix::io::read(&self.watch, &mut events).is_ok_and(|read| read > 0) {}
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
