//! A line writer that never blocks its caller for longer than a grace period.
//!
//! I/O threads write log lines. If the log is a pipe or socket whose reader has stalled, a blocking
//! write would stop every connection of the thread. This writer therefore drops and counts lines
//! while the reader is stalled:
//!
//! - The first line that finds the descriptor full waits, for at most [`GRACE`] in total. This
//!   absorbs bursts that are faster than the reader.
//! - Later lines are dropped without waiting, until the descriptor becomes writable again.
//! - A line is written completely or not at all. If the descriptor fills up in the middle of a
//!   line, the remainder is kept and written before the next line.
//!
//! There is no queue: if the process crashes, every line that was not dropped has reached the
//! descriptor, except for the remainder of at most one line.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::rate_limit::RateLimiter;

/// Time that the first line of a stall waits for the descriptor to become writable, as the sum of
/// all its waits. 50 ms is below what a client notices and above the scheduling delay of a healthy
/// reader.
pub(super) const GRACE: Duration = Duration::from_millis(50);

/// Bytes per `write(2)`. A pipe that polls as writable accepts this many without blocking
/// (`PIPE_BUF`, pipe(7)).
const CHUNK: usize = 4096;

/// The waits of one line. Its deadline is set by the first of them, so that a line that need not
/// wait reads no clock.
#[derive(Default)]
struct LineWait {
    deadline: Option<Instant>,
}

impl LineWait {
    /// Returns the part of [`GRACE`] that is left.
    fn remaining(&mut self) -> Duration {
        let now = Instant::now();
        self.deadline.get_or_insert(now + GRACE).saturating_duration_since(now)
    }
}

/// Writes log lines to a pipe, socket or file without blocking.
pub(super) struct NonblockingWriter {
    file: File,
    /// Remainder of a partially written line.
    unfinished: Vec<u8>,
    /// Whether the last attempt found the descriptor full.
    is_stalled: bool,
    limiter: RateLimiter,
}

impl NonblockingWriter {
    pub(super) fn new(file: File, limiter: RateLimiter) -> Self {
        Self { file, unfinished: Vec::new(), is_stalled: false, limiter }
    }

    /// Waits until the descriptor is writable, for at most the remaining time of the line, and
    /// returns whether it is. While the descriptor is stalled, it does not wait.
    ///
    /// A signal does not end the wait, because the following `write(2)` could block. Other errors
    /// of `poll(2)` count as writable, so that `write(2)` reports them.
    fn wait_writable(&mut self, line_wait: &mut LineWait) -> bool {
        let may_wait = !self.is_stalled;
        let mut timeout = Duration::ZERO;

        self.is_stalled = loop {
            let mut fds = [PollFd::new(&self.file, PollFlags::OUT)];
            let limit = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
            if !matches!(poll(&mut fds, Some(&limit)), Ok(0) | Err(Errno::INTR)) {
                break false;
            }

            timeout = if may_wait { line_wait.remaining() } else { Duration::ZERO };
            if timeout.is_zero() {
                break true;
            }
        };
        !self.is_stalled
    }

    /// Writes as much of `bytes` as the descriptor accepts and returns the number of bytes written.
    ///
    /// # Errors
    ///
    /// Errors of `write(2)` other than `EINTR` and `EAGAIN`.
    fn write_available(&mut self, bytes: &[u8], line_wait: &mut LineWait) -> io::Result<usize> {
        let mut written = 0;

        while written < bytes.len() && self.wait_writable(line_wait) {
            let end = bytes.len().min(written + CHUNK);

            match self.file.write(&bytes[written..end]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Another process that shares this descriptor may have set O_NONBLOCK on it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_stalled = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }

        Ok(written)
    }
}

impl Write for NonblockingWriter {
    /// Accepts a whole line, and writes or drops it.
    ///
    /// # Errors
    ///
    /// As [`NonblockingWriter::write_available`]. The line is dropped and counted.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = self.write_or_drop(line);
        written.inspect_err(|_| self.limiter.count_stall_drop())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NonblockingWriter {
    fn write_or_drop(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut line_wait = LineWait::default();
        let unfinished = std::mem::take(&mut self.unfinished);
        let written = self.write_available(&unfinished, &mut line_wait)?;
        if written < unfinished.len() {
            self.unfinished = unfinished[written..].to_vec();
            self.limiter.count_stall_drop();
            return Ok(line.len());
        }

        match self.write_available(line, &mut line_wait)? {
            0 => self.limiter.count_stall_drop(),
            written => self.unfinished = line[written..].to_vec(),
        }
        Ok(line.len())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// Returns the reader of a pipe that holds `chunks` times [`CHUNK`] bytes, and a writer to it.
    fn pipe(chunks: usize) -> (File, NonblockingWriter, RateLimiter) {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        assert_eq!(rustix::pipe::fcntl_setpipe_size(&writer, chunks * CHUNK).unwrap(), chunks * CHUNK);
        let limiter = RateLimiter::default();
        (File::from(reader), NonblockingWriter::new(File::from(writer), limiter.clone()), limiter)
    }

    /// Returns a line of `bytes` bytes, its newline included.
    fn line(letter: &str, bytes: usize) -> String {
        format!("{}\n", letter.repeat(bytes - 1))
    }

    fn read(reader: &mut File, count: usize) -> String {
        let mut bytes = vec![0; count];
        reader.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn read_all(reader: &mut File) -> String {
        let mut left = String::new();
        reader.read_to_string(&mut left).unwrap();
        left
    }

    #[test]
    fn drops_and_counts_lines_while_the_pipe_is_full() {
        let (mut reader, mut writer, limiter) = pipe(4);
        for letter in ["a", "b", "c", "d", "e", "f"] {
            writer.write_all(line(letter, CHUNK).as_bytes()).unwrap();
        }
        assert_eq!(limiter.stall_dropped_lines(), 2);
        let received = read(&mut reader, 4 * CHUNK);
        assert!(received == ["a", "b", "c", "d"].map(|letter| line(letter, CHUNK)).concat());
        writer.write_all(line("g", CHUNK).as_bytes()).unwrap();
        drop(writer);
        assert!(read_all(&mut reader) == line("g", CHUNK));
        assert_eq!(limiter.stall_dropped_lines(), 2);
    }

    #[test]
    fn finishes_a_partially_written_line_before_the_next() {
        let (mut reader, mut writer, limiter) = pipe(2);
        let long = line("x", 3 * CHUNK + 1);
        writer.write_all(long.as_bytes()).unwrap();
        writer.write_all(b"no room\n").unwrap();
        assert_eq!(limiter.stall_dropped_lines(), 1);
        let mut received = read(&mut reader, CHUNK);
        writer.write_all(b"still none\n").unwrap();
        assert_eq!(limiter.stall_dropped_lines(), 2);
        received += &read(&mut reader, 2 * CHUNK);
        writer.write_all(b"after it\n").unwrap();
        drop(writer);
        received += &read_all(&mut reader);
        assert!(received == long + "after it\n");
        assert_eq!(limiter.stall_dropped_lines(), 2);
    }

    #[test]
    fn waits_no_longer_than_the_grace_period_for_all_chunks_of_a_line() {
        const CHUNKS: usize = 40;
        let (mut reader, mut writer, _) = pipe(1);

        // Each chunk alone becomes writable within the grace period.
        let slow_reader = std::thread::spawn(move || {
            let mut chunk = [0; CHUNK];
            while reader.read(&mut chunk).unwrap() > 0 {
                std::thread::sleep(GRACE / 2);
            }
        });
        let started = Instant::now();
        writer.write_all(line("x", CHUNKS * CHUNK).as_bytes()).unwrap();
        let elapsed = started.elapsed();

        assert!(elapsed >= GRACE && elapsed < 10 * GRACE, "{elapsed:?}");
        assert!(!writer.unfinished.is_empty() && writer.is_stalled);
        drop(writer);
        slow_reader.join().unwrap();
    }

    #[test]
    fn reports_and_counts_a_closed_pipe_without_waiting() {
        let (reader, mut writer, limiter) = pipe(1);
        drop(reader);
        let error = writer.write_all(b"a line\n").unwrap_err();
        assert_eq!((error.kind(), limiter.stall_dropped_lines()), (io::ErrorKind::BrokenPipe, 1));
    }
}
