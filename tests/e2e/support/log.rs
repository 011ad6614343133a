//! What a process writes to its stderr, line by line while it runs.
//!
//! A thread reads it all the while, so that nobody waits for room in the pipe. Whoever asks for the lines takes first what
//! the pipe holds: what a host wrote before it replied is there for whoever has the reply, however late that thread is.

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
    /// Its end that is read, and does not wait.
    pipe: File,
    lines: Vec<String>,
    /// A line whose end has not come yet.
    begun: Vec<u8>,
    ended: bool,
}

impl State {
    /// Takes what the pipe holds.
    fn catch_up(&mut self) {
        let mut chunk = [0; 64 * 1024];
        while !self.ended {
            match self.pipe.read(&mut chunk) {
                Ok(count @ 1..) => {
                    self.take(&chunk[..count]);
                    // Less than there was room for was all.
                    if count < chunk.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    self.ended = true;
                    if !self.begun.is_empty() {
                        self.take(b"\n");
                    }
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if self.begun.pop_if(|byte| *byte == b'\n').is_some() {
                self.lines.push(String::from_utf8_lossy(&self.begun).into_owned());
                self.begun.clear();
            }
        }
    }
}

impl Shared {
    /// The lines, with all that the pipe holds among them.
    fn caught_up(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap();
        state.catch_up();
        self.grown.notify_all();
        state
    }
}

/// The lines so far, read by a thread of its own.
pub(crate) struct Log {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    pub(crate) fn follow(stderr: impl Into<OwnedFd>) -> Self {
        let pipe = File::from(stderr.into());
        ioctl_fionbio(&pipe, true).expect("a pipe that does not wait");
        let watched = pipe.try_clone().expect("another descriptor");
        let state = State { pipe, lines: Vec::new(), begun: Vec::new(), ended: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), grown: Condvar::new() });
        let kept = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            while !kept.caught_up().ended {
                match poll(&mut [PollFd::new(&watched, PollFlags::IN)], None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => panic!("waiting for the log: {error}"),
                }
            }
        });
        Self { shared, reader: Some(reader) }
    }

    /// Nothing more is read, nor can be asked for, until what this gives back is dropped.
    pub(crate) fn unread(&self) -> impl Drop + '_ {
        self.shared.state.lock().unwrap()
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        self.shared.caught_up().lines.join("\n")
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.shared.caught_up().lines.clone()
    }

    /// The first line for which `wanted` holds, when there is one.
    ///
    /// # Panics
    /// There is none within the ceiling, or before the log ends.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + CEILING;
        let mut state = self.shared.caught_up();
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

    /// Waits for the end of the log: that of the process and of everybody who shares its stderr.
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
    fn what_was_written_before_the_lines_were_asked_for_is_among_them() {
        let (log, mut writer) = pipe();
        for number in 0..2000 {
            writeln!(writer, "line {number}").unwrap();
            assert_eq!(log.lines().last(), Some(&format!("line {number}")));
        }
        assert_eq!(log.lines().len(), 2000);
    }

    #[test]
    fn a_line_is_one_when_its_end_has_come_or_that_of_the_log() {
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
