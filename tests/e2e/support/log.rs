//! What a process writes to its stderr, line by line while it runs.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::wait::CEILING;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

/// The lines so far, read by a thread of its own.
pub(crate) struct Log {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    pub(crate) fn follow(stderr: impl Read + Send + 'static) -> Self {
        let shared: Arc<Shared> = Arc::default();
        let kept = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n') {
                let Ok(line) = line else { break };
                kept.state.lock().unwrap().lines.push(String::from_utf8_lossy(&line).into_owned());
                kept.grown.notify_all();
            }
            kept.state.lock().unwrap().ended = true;
            kept.grown.notify_all();
        });
        Self { shared, reader: Some(reader) }
    }

    /// Nothing more is read, nor can be asked for, until what this gives back is dropped.
    pub(crate) fn unread(&self) -> impl Drop + '_ {
        self.shared.state.lock().unwrap()
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        self.shared.state.lock().unwrap().lines.join("\n")
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().lines.clone()
    }

    /// The first line for which `wanted` holds, when there is one.
    ///
    /// # Panics
    /// There is none within the ceiling, or before the log ends.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + CEILING;
        let mut state = self.shared.state.lock().unwrap();
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
