//! The lines that a process writes to its stderr.
//!
//! A thread reads continuously, so that the process never blocks on a full pipe. A caller that asks
//! for the lines reads the pipe first. So the lines that a host wrote before a reply are visible to
//! everyone who has that reply, even if the thread is late.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio};

use super::wait::CEILING;

struct Shared {
    state: Mutex<State>,
    grown: Condvar,
}

struct State {
    /// The reading end, which is non-blocking.
    pipe: File,
    lines: Vec<String>,
    /// A line whose end has not arrived yet.
    partial: Vec<u8>,
    ended: bool,
}

impl State {
    /// Reads everything that is in the pipe.
    fn drain_pipe(&mut self) {
        let mut chunk = [0; 64 * 1024];
        while !self.ended {
            match self.pipe.read(&mut chunk) {
                Ok(count @ 1..) => {
                    self.take(&chunk[..count]);
                    // A read that does not fill the buffer has emptied the pipe.
                    if count < chunk.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    self.ended = true;
                    if !self.partial.is_empty() {
                        self.take(b"\n");
                    }
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if self.partial.pop_if(|byte| *byte == b'\n').is_some() {
                self.lines.push(String::from_utf8_lossy(&self.partial).into_owned());
                self.partial.clear();
            }
        }
    }
}

impl Shared {
    /// Returns the state after everything in the pipe was read.
    fn drained(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap();
        state.drain_pipe();
        self.grown.notify_all();
        state
    }
}

/// The lines so far. A separate thread reads them.
pub(crate) struct Log {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    pub(crate) fn follow(stderr: impl Into<OwnedFd>) -> Self {
        let pipe = File::from(stderr.into());

        ioctl_fionbio(&pipe, true).expect("a pipe that does not wait");
        let watched = pipe.try_clone().expect("another descriptor");
        let state = State { pipe, lines: Vec::new(), partial: Vec::new(), ended: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), grown: Condvar::new() });

        let kept = Arc::clone(&shared);

        let reader = thread::spawn(move || {
            while !kept.drained().ended {
                match poll(&mut [PollFd::new(&watched, PollFlags::IN)], None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => panic!("waiting for the log: {error}"),
                }
            }
        });

        Self { shared, reader: Some(reader) }
    }

    /// Stops reading until the returned value is dropped. Until then the lines cannot be requested,
    /// either.
    pub(crate) fn pause(&self) -> impl Drop + '_ {
        self.shared.state.lock().unwrap()
    }

    /// Returns the text so far.
    pub(crate) fn text(&self) -> String {
        self.shared.drained().lines.join("\n")
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.shared.drained().lines.clone()
    }

    /// Waits for a line for which `wanted` holds and returns the first one.
    ///
    /// # Panics
    ///
    /// If there is none within [`CEILING`] or before the log ends.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + CEILING;
        let mut state = self.shared.drained();
        loop {
            if let Some(line) = state.lines.iter().find(|line| wanted(line)) {
                return line.clone();
            }

            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || state.ended {
                let (why, text) = (if state.ended { "ended" } else { "stayed" }, state.lines.join("\n"));
                drop(state);
                panic!("the log {why} without {what}:\n{text}");
            }
            state = self.shared.grown.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits for the end of the log, which is the end of the process and of all others that share
    /// its stderr.
    pub(crate) fn wait_for_end(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the log is read to its end");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn pipe() -> (Log, File) {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        (Log::follow(reader), File::from(writer))
    }

    #[test]
    fn includes_every_line_that_was_written_before_the_request() {
        let (log, mut writer) = pipe();
        for number in 0..2000 {
            writeln!(writer, "line {number}").unwrap();
            assert_eq!(log.lines().last(), Some(&format!("line {number}")));
        }
        assert_eq!(log.lines().len(), 2000);
    }

    #[test]
    fn completes_a_line_at_its_end_or_at_the_end_of_the_log() {
        let (mut log, mut writer) = pipe();
        write!(writer, "a\n\nhalf").unwrap();
        assert_eq!(log.lines(), ["a", ""]);

        write!(writer, " and half\nno end").unwrap();
        assert_eq!(log.wait_for("the line", |line| line.contains("and")), "half and half");

        drop(writer);
        log.wait_for_end();
        assert_eq!(log.text(), "a\n\nhalf and half\nno end");
    }
}
