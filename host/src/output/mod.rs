//! What plugins write to stdout and stderr, in the log: both lead to a file that a thread reads as it grows.
//!
//! A file and no pipe: nobody who writes ever waits for the reader, and what a process writes last, as it dies, is there
//! for the next host. What was read is given back to the system at once, so that the file stays small.

mod line_splitter;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{FallocateFlags, fallocate, inotify};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio::{dup2_stderr, dup2_stdout, stderr, stdout};

use self::line_splitter::{DroppedOutput, LineSplitter, WINDOW};
use crate::crash_record::{CrashRecord, OutputAttribution};
use crate::log::printable;
use crate::metrics::Metrics;

/// How much is read at a time, in bytes; also how much is given back at least.
const READ: usize = 64 * 1024;
/// How often it is read in a row: whoever ends the host does not wait for somebody who goes on writing.
const ROUNDS: usize = 64;
/// Further behind than this, in bytes, what lies between is dropped unread.
const BEHIND_MAX: u64 = 1 << 20;
/// A line that nobody has gone on with for so long is whole.
const PAUSE: Duration = Duration::from_millis(200);
/// How often the file is looked at where the system does not tell of its growth.
const LOOK: Duration = Duration::from_millis(50);

/// stdout and stderr of this process, led into the log; dropped, they lead where they led before.
pub(crate) struct OutputCapture {
    before: [OwnedFd; 2],
    end: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl OutputCapture {
    /// From here on, whatever is written to descriptors 1 and 2 is a line in the log. The log itself must not go there.
    ///
    /// # Errors
    /// The system has no file, thread or descriptor for it; nothing is changed.
    pub(crate) fn begin(crash_record: &Arc<CrashRecord>, metrics: Arc<Metrics>) -> io::Result<Self> {
        let file = crash_record.output()?;
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        // Of a file that is in memory alone the kernel tells nothing, though it can be asked to.
        let tells =
            crash_record.is_kept() && inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY).is_ok();
        let end = eventfd(0, EventfdFlags::CLOEXEC)?;
        let before = [fcntl_dupfd_cloexec(stdout(), 3)?, fcntl_dupfd_cloexec(stderr(), 3)?];
        let reader = OutputReader {
            file: file.try_clone()?,
            watch,
            tells,
            end: end.try_clone()?,
            writers: OutputAttribution::new(Arc::clone(crash_record)),
            lines: LineSplitter::new(Instant::now()),
            metrics,
            at: 0,
            given_back: 0,
        };
        let thread = Builder::new().name("output".into()).spawn(move || reader.run())?;
        let captured = Self { before, end, thread: Some(thread) };
        dup2_stdout(&file)?;
        dup2_stderr(&file)?;
        Ok(captured)
    }
}

impl Drop for OutputCapture {
    fn drop(&mut self) {
        // Neither fails: both descriptors are open.
        let _ = dup2_stdout(&self.before[0]);
        let _ = dup2_stderr(&self.before[1]);
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // It reads what is there, and ends.
            let _ = thread.join();
        }
    }
}

/// The thread that reads.
struct OutputReader {
    file: File,
    watch: OwnedFd,
    /// Whether the system tells of the file's growth.
    tells: bool,
    end: OwnedFd,
    writers: OutputAttribution,
    lines: LineSplitter,
    metrics: Arc<Metrics>,
    /// Up to here the file was read.
    at: u64,
    /// Up to here it has no content any more.
    given_back: u64,
}

impl OutputReader {
    fn run(mut self) {
        loop {
            let ends = self.wait();
            if let Err(error) = self.read() {
                tracing::error!(%error, "what plugins write to stdout and stderr cannot be read any more");
                return;
            }
            let now = Instant::now();
            if let Some(dropped) = self.lines.take_dropped(now, ends) {
                self.tell_dropped(dropped);
            }
            if ends {
                self.end_line();
                return;
            }
        }
    }

    /// Waits until there may be something to read or to say; `true` when it is the last time.
    fn wait(&mut self) -> bool {
        // Also when a round of reading was not the whole: its events are gone.
        let mut limit =
            (!self.tells || self.at < self.file.metadata().map_or(0, |facts| facts.len())).then_some(LOOK);
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
                let ends = !polled[0].revents().is_empty();
                // What happened is seen in the file; that it happened is taken note of.
                let mut events = [0; 4096];
                while rustix::io::read(&self.watch, &mut events).is_ok_and(|read| read > 0) {}
                ends
            }
            Err(_) => false,
        }
    }

    /// Reads what is there; of one who writes without end, as much as is bearable.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; READ];
        for round in 0..ROUNDS {
            let behind = self.file.metadata()?.len().saturating_sub(self.at);
            if behind > BEHIND_MAX {
                let skipped = behind - READ as u64;
                self.lines.drop_bytes(skipped, 0);
                self.at += skipped;
            }
            let read = self.file.read_at(&mut buffer, self.at)?;
            if read == 0 {
                break;
            }
            self.at += read as u64;
            // What comes while this is read may be somebody else's.
            let who = self.writers.look(round > 0);
            self.lines.take(&buffer[..read], Instant::now(), |line| tell(who, line));
            self.writers.read_to(self.at);
            self.give_back();
        }
        Ok(())
    }

    fn end_line(&mut self) {
        let who = self.writers.last();
        self.lines.end_line(Instant::now(), |line| tell(who, line));
    }

    /// The file's pages up to here are needed no more.
    fn give_back(&mut self) {
        let done = self.at - self.at % READ as u64;
        if done > self.given_back {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Where that cannot be done the file grows, which is said nowhere: it is as large as what was written.
            if fallocate(self.file.as_fd(), flags, self.given_back, done - self.given_back).is_ok() {
                self.given_back = done;
            }
        }
    }

    fn tell_dropped(&self, dropped: DroppedOutput) {
        let DroppedOutput { lines, bytes } = dropped;
        self.metrics.counters.output_dropped.add(bytes);
        tracing::warn!(
            target: "jackfield::output",
            lines,
            bytes,
            "more was written to stdout and stderr than goes to the log: dropped"
        );
    }
}

fn tell(plugin: &str, line: &str) {
    tracing::info!(target: "jackfield::output", plugin, "{}", printable(line));
}
